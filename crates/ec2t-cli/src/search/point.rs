//! A point of a search: a run of its own in `search/<point>/` of the run.
//!
//! It has the run's settings but for the multipliers, which are its name, and the images
//! of the run. `ec2t train` trains it as it would any run, and so goes on where it was
//! stopped and refuses what was made with other settings.

use std::fmt;
use std::fs;
use std::path::PathBuf;
use std::str::FromStr;

use anyhow::{Context, Result};
use ec2t_format::Graph;
use ec2t_scale::{CostTable, Scaling};

use super::results::Row;
use crate::commands::scale::run_graph;
use crate::commands::train::{HowArgs, Trained};
use crate::config::{Arch, Config, Setting};
use crate::engine::{Content, EngineArgs, Task};
use crate::exit::Usage;
use crate::output::to_json;
use crate::run_dir::RunDir;

/// What training a point writes, the last one last.
const OUTPUTS: [&str; 2] = ["pretrain/best.safetensors", "pretrain/summary.json"];

/// Multipliers of depth and width, and their exponent.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Point {
    pub(crate) depth: f64,
    pub(crate) width: f64,
    pub(crate) phi: f64,
}

impl From<Scaling> for Point {
    fn from(scaling: Scaling) -> Self {
        let Scaling { depth, width, phi, .. } = scaling;
        Self { depth, width, phi }
    }
}

/// `DEPTH:WIDTH`, at φ = 1.
impl FromStr for Point {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let number = |text: &str| text.parse().ok().filter(|value: &f64| *value > 0.0);
        let pair = text.split_once(':');
        match pair.and_then(|(depth, width)| Some((number(depth)?, number(width)?))) {
            Some((depth, width)) => Ok(Self { depth, width, phi: 1.0 }),
            None => Err("expected DEPTH:WIDTH, two numbers above 0".into()),
        }
    }
}

impl fmt::Display for Point {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "depth={},width={},phi={}", self.depth, self.width, self.phi)
    }
}

impl Point {
    /// Whether scaling it further makes it larger.
    pub(crate) fn grows(&self) -> bool {
        self.depth.max(self.width) > 1.0
    }

    /// The point's network.
    ///
    /// # Errors
    /// Where the architecture can't be scaled so.
    fn graph(&self, run: &RunDir) -> Result<Graph> {
        let &Self { depth, width, phi } = self;
        let arch = Arch { depth, width, phi, ..run.config.arch.clone() };
        run_graph(&arch, &run.data()?)
    }

    /// The text of the point's `config.toml`.
    fn config(&self, run: &RunDir) -> Result<String> {
        let path = run.join("config.toml");
        let mut text = fs::read_to_string(&path).with_context(|| path.display().to_string())?;
        for (key, value) in [("depth", self.depth), ("width", self.width), ("phi", self.phi)] {
            Setting::new("arch", key, value).replace_in(&mut text).map_err(Usage)?;
        }
        Config::parse(&text).map_err(Usage)?;
        Ok(text)
    }

    /// What it takes to train the point, with all that training begins with in its folder.
    ///
    /// # Errors
    /// Where the architecture can't be scaled so, or a file can't be written.
    pub(crate) fn task(&self, run: &RunDir, how: &HowArgs, engine: &EngineArgs) -> Result<Task> {
        let graph = self.graph(run)?;
        let folder = self.folder(run);
        let train = run.with_data_dir(how.command("train", &folder, engine));
        let task =
            Task { name: self.to_string(), folder, commands: vec![train], outputs: &OUTPUTS };
        if how.restarts() {
            task.reopen()?;
        }
        task.put("data.json", &Content::Same(run.join("data.json")))?;
        task.put("arch.json", &Content::Bytes(to_json(&graph)?))?;
        task.put("config.toml", &Content::Bytes(self.config(run)?.into_bytes()))?;
        Ok(task)
    }

    /// What came of the point, once it is finished.
    ///
    /// # Errors
    /// Where a file that training writes can't be used.
    pub(crate) fn row(&self, run: &RunDir) -> Result<Row> {
        let trained = Trained::read(&self.folder(run), "pretrain")?;
        let cost = CostTable::of(&self.graph(run)?)?.total;
        Ok(Row {
            point: *self,
            params: cost.params,
            macs: cost.macs,
            validation_top1: trained.best.top1,
            seconds: trained.seconds,
        })
    }

    fn folder(&self, run: &RunDir) -> PathBuf {
        run.join("search").join(self.to_string())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn points_are_written_as_pairs() {
        let point: Point = "1.4:1.2".parse().unwrap();
        assert_eq!(point, Point { depth: 1.4, width: 1.2, phi: 1.0 });
        assert_eq!(point.to_string(), "depth=1.4,width=1.2,phi=1");
        for text in ["1.4", "1.4:", "0:1", "-1:1", "a:b", "1:1:1", "NaN:1"] {
            assert!(text.parse::<Point>().is_err(), "{text}");
        }
    }

    #[test]
    fn the_unscaled_network_does_not_grow() {
        assert!(!"1:1".parse::<Point>().unwrap().grows());
        assert!("1:1.4".parse::<Point>().unwrap().grows());
    }
}
