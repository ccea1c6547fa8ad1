//! The folder of a run: which file is where, and who writes it.

use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use clap::Args;
use ec2t_data::{DataError, LoadOptions, Splits, Summary};
use ec2t_format::{Graph, Network};
use ec2t_scale::{ArchOptions, Scaling};
use serde::de::DeserializeOwned;

use crate::config::Config;
use crate::exit::BadFile;

/// Where a stage works and where its images are.
#[derive(Args)]
pub(crate) struct RunArgs {
    /// Folder of the run; holds config.toml.
    #[arg(long, value_name = "DIR")]
    pub(crate) run_dir: PathBuf,
    /// Folder that holds the dataset's own folder.
    #[arg(long, value_name = "DIR")]
    pub(crate) data_dir: Option<PathBuf>,
}

impl RunArgs {
    /// Opens the run.
    pub(crate) fn open(&self) -> Result<RunDir> {
        RunDir::open(&self.run_dir, self.data_dir.clone())
    }
}

/// A run with its settings.
pub(crate) struct RunDir {
    path: PathBuf,
    data_dir: Option<PathBuf>,
    pub(crate) config: Config,
}

impl RunDir {
    /// Reads the settings, and sets the number of threads, once for the whole program.
    pub(crate) fn open(path: &Path, data_dir: Option<PathBuf>) -> Result<Self> {
        let config = Config::read(&path.join("config.toml"))?;
        rayon::ThreadPoolBuilder::new().num_threads(config.run.threads).build_global()?;
        Ok(Self { path: path.to_owned(), data_dir, config })
    }

    /// The run's folder.
    pub(crate) fn path(&self) -> &Path {
        &self.path
    }

    /// The words of a command that finds images where this run does.
    pub(crate) fn with_data_dir(&self, mut words: Vec<String>) -> Vec<String> {
        if let Some(folder) = &self.data_dir {
            words.extend(["--data-dir".to_owned(), folder.to_string_lossy().into_owned()]);
        }
        words
    }

    /// A file or folder of the run.
    pub(crate) fn join(&self, name: impl AsRef<Path>) -> PathBuf {
        self.path.join(name)
    }

    /// The dataset and its splits.
    pub(crate) fn splits(&self) -> Result<Splits> {
        Ok(ec2t_data::load(&self.config.data.dataset, &self.load_options()?)?)
    }

    /// How the dataset is found and split.
    pub(crate) fn load_options(&self) -> Result<LoadOptions, DataError> {
        self.config.load_options(self.data_dir.as_deref())
    }

    /// What `ec2t data prepare` wrote.
    pub(crate) fn data(&self) -> Result<Summary> {
        self.read_json("data.json", "data prepare")
    }

    /// The graph that `ec2t scale` wrote.
    pub(crate) fn graph(&self) -> Result<Graph> {
        let graph: Graph = self.read_json("arch.json", "scale")?;
        let path = self.join("arch.json");
        graph.validate().map_err(|error| BadFile(format!("{}: {error}", path.display())))?;
        Ok(graph)
    }

    /// The graph of a teacher that is no network of this run.
    pub(crate) fn teacher_graph(&self) -> Result<Graph> {
        let own = self.graph()?;
        let scaling = Scaling::default();
        let options = ArchOptions { classes: self.config.arch.classes, input: None, scaling };
        let graph = ec2t_scale::build(&self.config.teacher.arch, &options)?;
        Ok(Graph { preprocess: own.preprocess, classes: own.classes, ..graph })
    }

    /// The network that a training stage left, written by `command`.
    pub(crate) fn network(&self, stage: &str, command: &str) -> Result<Network> {
        let path = self.join(stage).join("best.safetensors");
        let imported = ec2t_interop::import(&path, self.graph()?);
        Ok(imported.with_context(|| format!("`ec2t {command}` writes this file"))?.network)
    }

    fn read_json<T: DeserializeOwned>(&self, name: &str, command: &str) -> Result<T> {
        let path = self.join(name);
        let text = std::fs::read_to_string(&path).with_context(|| {
            format!("cannot read {}, which `ec2t {command}` writes", path.display())
        })?;
        serde_json::from_str(&text)
            .map_err(|error| BadFile(format!("{}: {error}", path.display())).into())
    }
}
