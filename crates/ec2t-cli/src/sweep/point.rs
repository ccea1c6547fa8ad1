//! A point of a sweep: a run of its own in `sweep/<point>/` of the run that is swept.
//!
//! It has the run's settings but for those that are its name, the run's architecture and
//! the run's float network. The stages after that one train and write what they do in
//! any run, and so go on where they were stopped, and refuse what was made with other
//! settings. All points leave out the same validation images as the float network has:
//! with others, it would have been trained on some of those that it is judged by.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use ec2t_quant::ec2t::{Ec2tOptions, Method};
use toml::Value;

use super::results::Row;
use crate::commands::train::{HowArgs, Trained};
use crate::config::{Config, Setting};
use crate::engine::{Content, EngineArgs, Task, are_there};
use crate::exit::Usage;
use crate::run_dir::RunDir;

/// Files that a point has from its run, and whether the run may lack them.
const SHARED: [(&str, bool); 4] = [
    ("data.json", false),
    ("arch.json", false),
    ("pretrain/best.safetensors", false),
    ("pretrain/summary.json", true),
];

/// What the stages of a point write, the last one last.
const OUTPUTS: [&str; 3] = ["ternarize/summary.json", "finetune/summary.json", "model.ec2t"];

/// The settings of a point.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Point {
    /// Hyper-parameters, of which the method's own decide the point.
    pub(crate) method: Ec2tOptions,
    pub(crate) seed: u64,
}

impl Point {
    /// The settings of a run.
    pub(crate) fn of(config: &Config) -> Self {
        Self { method: config.ternarize.ec2t, seed: config.run.seed }
    }

    /// All that the point is known by, the seed last.
    fn settings(&self) -> Vec<Setting> {
        let Ec2tOptions { method, gamma, init_scale, threshold, .. } = self.method;
        let ternarize = |key, value: Value| Setting { section: "ternarize", key, value };
        let mut settings = vec![ternarize("method", method.to_string().into())];
        match method {
            Method::Ec2t | Method::Reference => {
                settings.push(ternarize("gamma", gamma.into()));
                settings.push(ternarize("init_scale", init_scale.into()));
            }
            Method::Ttq | Method::Twn => settings.push(ternarize("threshold", threshold.into())),
        }
        // A seed that a file of settings holds fits.
        settings.push(Setting::new("run", "seed", self.seed as i64));
        settings
    }

    /// The settings by their keys.
    pub(crate) fn values(&self) -> BTreeMap<&'static str, Value> {
        self.settings().into_iter().map(|setting| (setting.key, setting.value)).collect()
    }

    /// The settings in words, such as `gamma=0.1,init_scale=0.3,seed=1`.
    pub(crate) fn name(&self) -> String {
        format!("{},seed={}", self.name_without_seed(), self.seed)
    }

    /// The same for all seeds.
    pub(crate) fn name_without_seed(&self) -> String {
        let Ec2tOptions { method, gamma, init_scale, threshold, .. } = self.method;
        match method {
            Method::Ec2t => format!("gamma={gamma},init_scale={init_scale}"),
            Method::Reference => format!("method={method},gamma={gamma},init_scale={init_scale}"),
            Method::Ttq | Method::Twn => format!("method={method},threshold={threshold}"),
        }
    }

    /// The text of the point's `config.toml`.
    ///
    /// # Errors
    /// Where a setting is out of range.
    pub(crate) fn config(&self, run: &RunDir) -> Result<String> {
        let path = run.join("config.toml");
        let mut text = fs::read_to_string(&path).with_context(|| path.display().to_string())?;
        for setting in self.settings() {
            setting.replace_in(&mut text).map_err(Usage)?;
        }
        let split_seed = run.config.split_seed();
        if self.seed != split_seed {
            let setting = Setting::new("data", "split_seed", split_seed as i64);
            setting.put_in(&mut text).map_err(Usage)?;
        }
        let config = Config::parse(&text).map_err(Usage)?;
        config.ternarize.validate()?;
        config.finetune.validate()?;
        Ok(text)
    }

    /// What it takes to train the point, with all that its stages begin with in its folder.
    ///
    /// # Errors
    /// Where a setting is out of range or a file can't be written.
    pub(crate) fn task(&self, run: &RunDir, how: &HowArgs, engine: &EngineArgs) -> Result<Task> {
        let folder = run.join(self.folder());
        let export = ["export", "--run-dir", &folder.to_string_lossy()].map(str::to_owned).to_vec();
        let stage = |stage| how.command(stage, &folder, engine);
        let commands = [stage("ternarize"), stage("finetune"), export];
        let commands = commands.map(|words| run.with_data_dir(words)).to_vec();
        let task = Task { name: self.name(), folder: folder.clone(), commands, outputs: &OUTPUTS };
        if how.restarts() {
            task.reopen()?;
        }
        for (file, optional) in SHARED {
            let from = run.join(file);
            if !optional || from.exists() {
                task.put(file, &Content::Same(from))?;
            }
        }
        task.put("config.toml", &Content::Bytes(self.config(run)?.into_bytes()))?;
        Ok(task)
    }

    /// Whether the point has been trained.
    pub(crate) fn is_finished(&self, run: &RunDir) -> bool {
        are_there(&run.join(self.folder()), &OUTPUTS)
    }

    /// What came of the point, once it is finished.
    ///
    /// # Errors
    /// Where a file that its stages write can't be used.
    pub(crate) fn row(&self, run: &RunDir) -> Result<Row> {
        let folder = run.join(self.folder());
        let [ternarized, tuned] =
            ["ternarize", "finetune"].map(|stage| Trained::read(&folder, stage));
        let (ternarized, tuned) = (ternarized?, tuned?);
        let path = folder.join("model.ec2t");
        let file = fs::read(&path).with_context(|| path.display().to_string())?;
        let entropy_bits = ec2t_format::read(&file)?.entropy_bits();
        Ok(Row {
            point: *self,
            sparsity: tuned.sparsity,
            validation_top1: tuned.best.top1,
            entropy_bits: entropy_bits.context("the file has no ternary layer")?,
            bytes: file.len(),
            seconds: ternarized.seconds + tuned.seconds,
        })
    }

    /// The point's folder inside that of the run.
    pub(crate) fn folder(&self) -> PathBuf {
        Path::new("sweep").join(self.name())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn point() -> Point {
        let method = Ec2tOptions { gamma: 0.25, init_scale: 0.3, ..Ec2tOptions::default() };
        Point { method, seed: 7 }
    }

    #[test]
    fn names_tell_what_the_method_reads() {
        assert_eq!(point().name(), "gamma=0.25,init_scale=0.3,seed=7");
        let mut ttq = point();
        (ttq.method.method, ttq.method.threshold) = (Method::Ttq, 0.05);
        assert_eq!(ttq.name(), "method=ttq,threshold=0.05,seed=7");
        assert_eq!(ttq.name_without_seed(), "method=ttq,threshold=0.05");
        let keys = |point: Point| point.values().into_keys().collect::<Vec<_>>();
        assert_eq!(keys(point()), ["gamma", "init_scale", "method", "seed"]);
        assert_eq!(keys(ttq), ["method", "seed", "threshold"]);
    }
}
