//! A run that begins with a command line instead of a preset.
//!
//! `ec2t train --arch NAME --dataset NAME` makes the folder of a run, with all
//! settings in its `config.toml`: those of the dataset's preset, or else of that
//! for CIFAR-10, with a short training. A folder of pictures is brought to the size that
//! the network is made for. Called again it goes on with the run.
//! Settings on the command line must then be those of the run.

use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use clap::Args;
use ec2t_data::{LoadOptions, Summary};
use ec2t_scale::ArchOptions;
use toml::Value;

use crate::commands::data::find;
use crate::commands::scale::run_graph;
use crate::config::{Config, Setting};
use crate::exit::Usage;
use crate::output::{tell, write_file, write_json};
use crate::run_dir::RunDir;

const DIGITS: &str = include_str!("../../../xtask/pipelines/digits.toml");
const CIFAR10: &str = include_str!("../../../xtask/pipelines/cifar10.toml");

/// What to train, and settings that are not the usual ones.
#[derive(Args)]
#[command(next_help_heading = "A run of its own")]
pub(crate) struct NewRunArgs {
    /// Train this network, in the folder runs/ARCH-DATASET unless --run-dir
    /// names another; the same command again goes on.
    #[arg(long, requires = "dataset")]
    pub(crate) arch: Option<String>,
    /// Name of the dataset to train on.
    #[arg(long, requires = "arch", value_name = "NAME")]
    dataset: Option<String>,
    /// Passes over the training images [default: 12]
    #[arg(long, requires = "arch")]
    epochs: Option<u32>,
    /// Images per step.
    #[arg(long, requires = "arch")]
    batch: Option<u32>,
    /// The optimizer.
    #[arg(long, requires = "arch", value_parser = ["sgd", "adam"])]
    optimizer: Option<String>,
    /// The full learning rate [default: 0.2]
    #[arg(long, requires = "arch")]
    lr: Option<f64>,
    /// How the learning rate changes [default: one-cycle]
    #[arg(long, requires = "arch", value_parser = ["constant", "cosine", "one-cycle"])]
    schedule: Option<String>,
    /// L2 penalty, added to the gradient.
    #[arg(long, requires = "arch")]
    weight_decay: Option<f64>,
    /// Share of each label that is spread over all classes.
    #[arg(long, requires = "arch")]
    label_smoothing: Option<f64>,
    /// Seed of everything random.
    #[arg(long, requires = "arch")]
    seed: Option<u32>,
    /// Use so many of the training images, a fifth of them for validation.
    #[arg(long, requires = "arch", value_name = "IMAGES", value_parser = clap::value_parser!(u32).range(5..))]
    subset: Option<u32>,
}

impl NewRunArgs {
    /// Opens the run, and makes it first where there is none. `restart` changes
    /// the settings of one that is there.
    pub(crate) fn open(
        &self,
        run_dir: Option<PathBuf>,
        data_dir: Option<PathBuf>,
        restart: bool,
    ) -> Result<RunDir> {
        let (Some(arch), Some(dataset)) = (&self.arch, &self.dataset) else {
            return RunDir::open(&run_dir.unwrap_or_default(), data_dir);
        };
        let folder = run_dir.unwrap_or_else(|| Path::new("runs").join(format!("{arch}-{dataset}")));
        let file = folder.join("config.toml");
        let (text, new) = match file.exists() {
            true => self.agree(&file, restart)?,
            false => (self.settings(arch, dataset, data_dir.as_deref())?, true),
        };
        if new {
            make(&folder, &text, data_dir.as_deref())?;
        }
        tell(format_args!("settings: {}", file.display()));
        RunDir::open(&folder, data_dir)
    }

    /// Names of the architecture and the dataset.
    pub(crate) fn names(&self) -> (Option<&str>, Option<&str>) {
        (self.arch.as_deref(), self.dataset.as_deref())
    }

    /// The settings of the command line.
    fn given(&self) -> Vec<Setting> {
        let text = |value: &Option<String>| value.clone().map(Value::String);
        let whole = |value: Option<u32>| value.map(|value| Value::Integer(value.into()));
        let real = |value: Option<f64>| value.map(Value::Float);
        let given = [
            ("data", "dataset", text(&self.dataset)),
            ("arch", "name", text(&self.arch)),
            ("pretrain", "epochs", whole(self.epochs)),
            ("pretrain", "batch", whole(self.batch)),
            ("pretrain", "optimizer", text(&self.optimizer)),
            ("pretrain", "lr", real(self.lr)),
            ("pretrain", "schedule", text(&self.schedule)),
            ("pretrain", "weight_decay", real(self.weight_decay)),
            ("pretrain", "label_smoothing", real(self.label_smoothing)),
            ("run", "seed", whole(self.seed)),
            ("data", "validation", whole(self.subset.map(|images| images / 5))),
            ("data", "subset", whole(self.subset)),
        ];
        let setting = |(section, key, value): (_, _, Option<Value>)| {
            Some(Setting { section, key, value: value? })
        };
        given.into_iter().filter_map(setting).collect()
    }

    /// All settings of a new run, as the text of its file.
    fn settings(&self, arch: &str, dataset: &str, data_dir: Option<&Path>) -> Result<String> {
        let (preset, measured) = match dataset {
            "digits" => (DIGITS, Vec::new()),
            "cifar10" => (CIFAR10, Vec::new()),
            "folder" => (CIFAR10, of_folder(arch, data_dir)?),
            _ => (CIFAR10, measured(dataset, &found(dataset, data_dir, None)?)),
        };
        let sections = preset.find("[run]").map_or(preset, |start| &preset[start..]);
        let mut text = format!("# {arch} on {dataset}, begun by `ec2t train`.\n\n{sections}");
        let short = [
            Setting::new("pretrain", "epochs", 12),
            Setting::new("pretrain", "lr", 0.2),
            Setting::new("pretrain", "schedule", "one-cycle"),
        ];
        for setting in measured.into_iter().chain(short).chain(self.given()) {
            setting.put_in(&mut text).map_err(Usage)?;
        }
        Ok(text)
    }

    /// The settings of a run that is there, and whether they have changed, which
    /// only a restart may do.
    fn agree(&self, file: &Path, restart: bool) -> Result<(String, bool)> {
        Config::read(file)?;
        let name = || file.display().to_string();
        let mut text = std::fs::read_to_string(file).with_context(name)?;
        let mut differences = Vec::new();
        for setting in self.given() {
            let old = setting.put_in(&mut text).map_err(Usage)?;
            if !old.as_ref().is_some_and(|old| same(old, &setting.value)) {
                let old = old.map_or("none".to_owned(), |old| old.to_string());
                differences.push(format!("{}: {old} → {}", setting.name(), setting.value));
            }
        }
        if !differences.is_empty() && !restart {
            let differences = differences.join(", ");
            return Err(Usage(format!(
                "{} has other settings ({differences}); give the same to continue, --restart to \
                 begin again with these, or another --run-dir",
                name()
            ))
            .into());
        }
        Ok((text, !differences.is_empty()))
    }
}

/// Whether two values mean the same: 1 and 1.0 do.
fn same(a: &Value, b: &Value) -> bool {
    let number = |value: &Value| match value {
        Value::Integer(whole) => Some(*whole as f64),
        other => other.as_float(),
    };
    a == b || number(a).is_some_and(|a| number(b) == Some(a))
}

/// A dataset as it was published.
fn found(
    dataset: &str,
    data_dir: Option<&Path>,
    image_size: Option<[usize; 3]>,
) -> Result<Summary> {
    let data_dir = data_dir.map(Path::to_owned);
    let options = LoadOptions { data_dir, image_size, ..LoadOptions::default() };
    find(dataset, &options)
}

/// Settings of a dataset without a preset.
fn measured(dataset: &str, data: &Summary) -> Vec<Setting> {
    let mut settings = vec![
        Setting::new("data", "validation", (data.counts.train / 10) as i64),
        Setting::new("arch", "classes", data.classes.len() as i64),
        Setting::new("arch", "preprocess", "measured"),
    ];
    if dataset == "mnist" {
        // Mirrored digits are others.
        let stages = ["pretrain", "ternarize", "finetune"];
        settings.extend(stages.map(|stage| Setting::new(stage, "hflip", false)));
    }
    settings
}

/// Settings of a folder of pictures.
fn of_folder(arch: &str, data_dir: Option<&Path>) -> Result<Vec<Setting>> {
    let own = ec2t_scale::build(arch, &ArchOptions::default())?.input;
    let size = [own.channels, own.height, own.width];
    let mut settings = measured("folder", &found("folder", data_dir, Some(size))?);
    let size: Vec<i64> = size.map(|side| side as i64).into();
    settings.push(Setting::new("data", "image_size", size));
    Ok(settings)
}

/// Writes what a run begins with, once everything is known to fit.
fn make(folder: &Path, text: &str, data_dir: Option<&Path>) -> Result<()> {
    let config = Config::parse(text).map_err(Usage)?;
    config.pretrain.validate()?;
    let data = find(&config.data.dataset, &config.load_options(data_dir)?)?;
    let graph = run_graph(&config.arch, &data)?;
    write_json(&folder.join("data.json"), &data)?;
    write_json(&folder.join("arch.json"), &graph)?;
    write_file(&folder.join("config.toml"), text.as_bytes())
}

#[cfg(test)]
mod tests {
    use clap::Parser;
    use ec2t_data::{ChannelStats, Counts};

    use super::*;

    #[derive(Parser)]
    struct Line {
        #[command(flatten)]
        new: NewRunArgs,
    }

    fn parse(words: &str) -> NewRunArgs {
        Line::parse_from([""].into_iter().chain(words.split_whitespace())).new
    }

    fn config(text: &str) -> toml::Table {
        Config::parse(text).unwrap();
        text.parse().unwrap()
    }

    #[test]
    fn a_new_run_has_the_presets_settings_and_those_given() {
        let args = parse(
            "--arch resnet32 --dataset cifar10 --epochs 3 --batch 64 --optimizer adam --lr 1 \
             --schedule constant --weight-decay 0 --label-smoothing 0.1 --seed 7",
        );
        let found = config(&args.settings("resnet32", "cifar10", None).unwrap());
        let mut expected = config(CIFAR10);
        for setting in args.given() {
            let section = expected[setting.section].as_table_mut().unwrap();
            assert!(section.insert(setting.key.into(), setting.value).is_some());
        }
        assert_eq!(found, expected);
        assert_eq!((&found["run"]["seed"], &found["pretrain"]["lr"]), (&7.into(), &1.0.into()));
    }

    #[test]
    fn a_new_run_is_short() {
        let args = parse("--arch resnet20 --dataset cifar10");
        let text = args.settings("resnet20", "cifar10", None).unwrap();
        assert!(text.starts_with("# resnet20 on cifar10, begun by `ec2t train`.\n\n[run]\n"));
        let found = &config(&text)["pretrain"];
        let keys = ["epochs", "lr", "schedule"].map(|key| found[key].to_string());
        assert_eq!(keys, ["12", "0.2", "\"one-cycle\""]);
    }

    #[test]
    fn a_dataset_without_a_preset_is_measured() {
        let stats = ChannelStats { mean: vec![0.1], std: vec![0.3] };
        let data = Summary {
            name: "mnist".into(),
            shape: [1, 28, 28],
            classes: vec![String::new(); 11],
            counts: Counts { train: 60_000, validation: 0, test: 10_000 },
            stats,
            files: Vec::new(),
        };
        for (dataset, hflip) in [("mnist", false), ("fashion-mnist", true)] {
            let mut text = CIFAR10.to_owned();
            for setting in measured(dataset, &data) {
                setting.replace_in(&mut text).unwrap();
            }
            let found = config(&text);
            assert_eq!(found["data"]["validation"], 6_000.into());
            assert_eq!(found["arch"]["classes"], 11.into());
            assert_eq!(found["arch"]["preprocess"], "measured".into());
            for stage in ["pretrain", "ternarize", "finetune"] {
                assert_eq!(found[stage]["hflip"], hflip.into());
            }
        }
    }

    #[test]
    fn equal_numbers_are_the_same() {
        let [whole, real, text] = [Value::from(1), Value::from(1.0), Value::from("1")];
        assert!(same(&whole, &real) && same(&text, &text));
        assert!(!same(&whole, &text) && !same(&whole, &Value::from(2.0)));
    }
}
