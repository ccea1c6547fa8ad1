//! Settings of a run: the file `config.toml` in its folder.

use std::collections::BTreeMap;
use std::path::Path;

use anyhow::{Context, Result};
use ec2t_data::{DataError, Fit, LoadOptions};
use ec2t_format::codec::Effort;
use ec2t_format::tensor::Storage;
use ec2t_quant::{FinetuneOptions, PretrainOptions, TernarizeOptions};
use ec2t_scale::Scaling;
use serde::{Deserialize, Serialize};
use toml::{Spanned, Value};

use crate::exit::Usage;

/// All settings; a section for each stage.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct Config {
    pub(crate) run: Run,
    pub(crate) data: Data,
    pub(crate) arch: Arch,
    pub(crate) teacher: Teacher,
    pub(crate) pretrain: PretrainOptions,
    pub(crate) ternarize: TernarizeOptions,
    pub(crate) finetune: FinetuneOptions,
    pub(crate) export: Export,
}

/// What concerns all stages.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct Run {
    /// Seed of everything random.
    pub(crate) seed: u64,
    /// Number of threads; 0 is one per processor.
    pub(crate) threads: usize,
}

/// Which images.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct Data {
    /// Name of the dataset.
    pub(crate) dataset: String,
    /// How many of the training images to use, those that are set aside among them;
    /// all unless given.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) subset: Option<usize>,
    /// Training images that are set aside to choose the best epoch.
    pub(crate) validation: usize,
    /// Seed of that choice, where it is another than the run's: so that runs with seeds
    /// of their own, made from one float network, leave out the images that it has left
    /// out.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) split_seed: Option<u64>,
    /// Channels, height and width to which a folder of pictures is brought.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) image_size: Option<[usize; 3]>,
    /// What is taken of a picture where it is not varied: the middle, whose sides are
    /// this share of the picture's; all of it, stretched, where there is none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) crop: Option<f64>,
}

/// Which network.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct Arch {
    pub(crate) name: String,
    pub(crate) classes: usize,
    pub(crate) depth: f64,
    pub(crate) width: f64,
    pub(crate) phi: f64,
    pub(crate) preprocess: Preprocessing,
}

impl Arch {
    /// The multipliers; images stay as the dataset has them.
    pub(crate) fn scaling(&self) -> Scaling {
        let &Self { depth, width, phi, .. } = self;
        Scaling { depth, width, phi, ..Scaling::default() }
    }
}

/// A network to learn from.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct Teacher {
    /// Its architecture, where it is another than the run's own.
    pub(crate) arch: String,
}

/// Where the mean and deviation come from that pixels are normalized with.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, clap::ValueEnum)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Preprocessing {
    /// Statistics of CIFAR-10, as in the EC2T reference.
    Cifar10,
    /// Statistics of ImageNet, as in torchvision.
    Imagenet,
    /// Pixels from −1 to 1, as in most networks that come from TensorFlow.
    Signed,
    /// Pixels from 0 to 1.
    None,
    /// Measured on the training images.
    #[value(skip)]
    Measured,
}

/// What goes into the model file.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct Export {
    /// Merge batch normalisation into the layer before it.
    pub(crate) fold_batch_norm: bool,
    /// Precision of all numbers that are not ternary.
    pub(crate) side: Precision,
    /// How small to make the file, or how quick to read.
    pub(crate) effort: Compression,
}

/// How small to make a model file, or how quick to read.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, clap::ValueEnum)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Compression {
    /// Small, and quick to read.
    Balanced,
    /// One per cent smaller, and some four times slower to read.
    Max,
    /// Ready for kernels: several times larger, and read without decoding.
    Ready,
}

impl From<Compression> for Effort {
    fn from(compression: Compression) -> Self {
        match compression {
            Compression::Balanced => Effort::Balanced,
            Compression::Max => Effort::Max,
            Compression::Ready => Effort::Ready,
        }
    }
}

/// Precision of floats in the model file.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, clap::ValueEnum)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Precision {
    /// 16 bits.
    F16,
    /// 32 bits.
    F32,
}

impl From<Precision> for Storage {
    fn from(precision: Precision) -> Self {
        match precision {
            Precision::F16 => Storage::F16,
            Precision::F32 => Storage::F32,
        }
    }
}

impl Config {
    /// Reads a file; an unknown or missing key is an error.
    pub(crate) fn read(path: &Path) -> Result<Self> {
        let text = std::fs::read_to_string(path)
            .with_context(|| format!("cannot read the settings {}", path.display()))?;
        Self::parse(&text).map_err(|reason| Usage(format!("{}: {reason}", path.display())).into())
    }

    /// How the dataset is found and split.
    pub(crate) fn load_options(&self, data_dir: Option<&Path>) -> Result<LoadOptions, DataError> {
        Ok(LoadOptions {
            data_dir: data_dir.map(Path::to_owned),
            subset: self.data.subset,
            validation: self.data.validation,
            seed: self.split_seed(),
            image_size: self.data.image_size,
            fit: Fit::of_crop(self.data.crop)?,
        })
    }

    /// Seed of the choice of validation images.
    pub(crate) fn split_seed(&self) -> u64 {
        self.data.split_seed.unwrap_or(self.run.seed)
    }

    /// Reads the text of a file.
    pub(crate) fn parse(text: &str) -> Result<Self, String> {
        let table: toml::Table = text.parse().map_err(|error| format!("{error}"))?;
        let config: Config = table.clone().try_into().map_err(|error| format!("{error}"))?;
        // Flattened structs can't refuse unknown keys themselves: whatever
        // does not come back was not understood.
        let known = toml::Table::try_from(&config).map_err(|error| format!("{error}"))?;
        match unknown_key(&table, &known) {
            Some(key) => Err(format!("unknown key `{key}`")),
            None => Ok(config),
        }
    }
}

/// One value of one section.
pub(crate) struct Setting {
    pub(crate) section: &'static str,
    pub(crate) key: &'static str,
    pub(crate) value: Value,
}

impl Setting {
    pub(crate) fn new(section: &'static str, key: &'static str, value: impl Into<Value>) -> Self {
        Self { section, key, value: value.into() }
    }

    /// The section and the key.
    pub(crate) fn name(&self) -> String {
        format!("{}.{}", self.section, self.key)
    }

    /// Puts the value into the text of a file, which keeps its order and its
    /// comments; gives the old one.
    pub(crate) fn replace_in(&self, text: &mut String) -> Result<Value, String> {
        let section = parse_sections(text)?.remove(self.section);
        let old = section.and_then(|mut section| section.remove(self.key));
        let old = old.ok_or_else(|| format!("no setting `{}`", self.name()))?;
        text.replace_range(old.span(), &self.value.to_string());
        Ok(old.into_inner())
    }

    /// Puts the value into the text of a file, at the end of its section where it is not
    /// there yet: for settings that may be left out. Gives the old value, if there was one.
    pub(crate) fn put_in(&self, text: &mut String) -> Result<Option<Value>, String> {
        let sections = parse_sections(text)?;
        let section = sections.get(self.section);
        let section = section.ok_or_else(|| format!("no section `{}`", self.section))?;
        if section.contains_key(self.key) {
            return self.replace_in(text).map(Some);
        }
        let last = section.values().map(|value| value.span().end).max();
        let last = last.ok_or_else(|| format!("nothing in section `{}`", self.section))?;
        let end = text[last..].find('\n').map_or(text.len(), |length| last + length);
        text.insert_str(end, &format!("\n{} = {}", self.key, self.value));
        Ok(None)
    }
}

/// The values of each section by their keys, and where they stand.
type Sections = BTreeMap<String, BTreeMap<String, Spanned<Value>>>;

fn parse_sections(text: &str) -> Result<Sections, String> {
    toml::from_str(text).map_err(|error| format!("{error}"))
}

fn unknown_key(given: &toml::Table, known: &toml::Table) -> Option<String> {
    given.iter().find_map(|(key, value)| match (value, known.get(key)) {
        (_, None) => Some(key.clone()),
        (toml::Value::Table(given), Some(toml::Value::Table(known))) => {
            unknown_key(given, known).map(|inner| format!("{key}.{inner}"))
        }
        _ => None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    const DIGITS: &str = include_str!("../../../xtask/pipelines/digits.toml");

    #[test]
    fn the_presets_are_understood() {
        let presets = [
            DIGITS,
            include_str!("../../../xtask/pipelines/cifar10.toml"),
            include_str!("../../../xtask/pipelines/cifar100.toml"),
            include_str!("../../../xtask/pipelines/fashion-mnist.toml"),
            include_str!("../../../xtask/pipelines/imagenet-efficientnet-b1.toml"),
        ];
        for preset in presets {
            let config = Config::parse(preset).unwrap();
            config.pretrain.validate().unwrap();
            config.load_options(None).unwrap();
        }
    }

    /// What a run that knows less has left out is off.
    #[test]
    fn settings_of_earlier_runs_are_understood() {
        let earlier = include_str!("../../../docs/results/configs/resnet20-64-s1.toml");
        let Config { pretrain, ternarize, finetune, .. } = Config::parse(earlier).unwrap();
        for common in [pretrain.common, ternarize.common, finetune.common] {
            assert_eq!(common.bn_batches, 0);
        }
        assert_eq!(finetune.average, 0.0);
        assert_eq!(ternarize.ec2t.extreme_quantile, 1.0);
        assert_eq!(ternarize.ec2t.share_smoothing, 0.0);
    }

    #[test]
    fn unknown_and_missing_keys_are_named() {
        let unknown = DIGITS.replace("[export]", "[export]\ncolour = 1");
        assert_eq!(Config::parse(&unknown).unwrap_err(), "unknown key `export.colour`");
        let nested = DIGITS.replace("\ngamma =", "\ngama = 1.0\ngamma =");
        assert_eq!(Config::parse(&nested).unwrap_err(), "unknown key `ternarize.gama`");
        let missing = DIGITS.replace("optimizer =", "# ");
        assert!(Config::parse(&missing).unwrap_err().contains("missing field `optimizer`"));
    }

    #[test]
    fn validation_images_may_have_a_seed_of_their_own() {
        let seed = |text: &str| Config::parse(text).unwrap().load_options(None).unwrap().seed;
        let other = DIGITS.replace("seed = 1", "seed = 5");
        assert_eq!((seed(DIGITS), seed(&other)), (1, 5));
        assert_eq!(seed(&other.replace("[data]", "[data]\nsplit_seed = 1")), 1);
    }

    #[test]
    fn a_setting_that_was_left_out_ends_its_section() {
        let mut text = DIGITS.replace("validation = 200", "validation = 200 # of 1437");
        Setting::new("data", "split_seed", 7).put_in(&mut text).unwrap();
        assert!(text.contains("\nvalidation = 200 # of 1437\nsplit_seed = 7\n\n[arch]"), "{text}");
        Setting::new("data", "split_seed", 8).put_in(&mut text).unwrap();
        let config = Config::parse(&text).unwrap();
        assert_eq!((config.split_seed(), config.run.seed), (8, 1));
        let error = Setting::new("date", "split_seed", 7).put_in(&mut text).unwrap_err();
        assert_eq!(error, "no section `date`");
    }
}
