//! `--init FILE --grow`: training that begins with a smaller network, grown.
//!
//! The smaller network's layers are those of an architecture by name, or of an
//! `arch.json`: the one of its run, if the checkpoint lies in the folder of a stage.

use std::path::{Path, PathBuf};

use anyhow::Result;
use clap::Args;
use ec2t_format::{Graph, Network};
use ec2t_scale::{ArchOptions, Scaling};

use crate::commands::scale::{graph_of, read_graph};
use crate::commands::train::validation_top1;
use crate::exit::Usage;
use crate::output::tell;
use crate::run_dir::RunDir;

/// How much copies of a channel differ in the share of its weight, up to `1 ± SPREAD`. No
/// choice of it changes what the network computes; at 0 copies would never part.
const SPREAD: f32 = 0.5;

/// Whose weights those of `--init` are.
#[derive(Args)]
pub(crate) struct GrowArgs {
    /// Train, and begin with the weights of --init, which are those of a smaller network of
    /// the same family: with copies of its channels, and more blocks that change nothing at
    /// first. ARCH is the smaller network's name, or its arch.json [default: that of the run
    /// which FILE is from].
    #[arg(long, requires = "init", value_name = "ARCH", num_args = 0..=1)]
    grow: Option<Option<String>>,
}

impl GrowArgs {
    pub(crate) fn is_given(&self) -> bool {
        self.grow.is_some()
    }

    /// The run's network with what `init` has learnt; `initial` gives all else.
    pub(crate) fn grow(&self, run: &RunDir, init: &Path, initial: &Network) -> Result<Network> {
        let graph = self.graph(run, init)?;
        let small = ec2t_interop::import(init, graph)?.network;
        let grown = ec2t_scale::grow(&small, initial, SPREAD, run.config.run.seed)?;
        let [before, after] = [&small, &grown].map(|network| network.graph().parameter_count());
        tell(format_args!("grown from {}: {before} → {after} parameters", init.display()));
        if !run.splits()?.validation.is_empty() {
            tell(format_args!("validation {:.2} % before training", validation_top1(run, &grown)?));
        }
        Ok(grown)
    }

    /// The layers of the smaller network.
    fn graph(&self, run: &RunDir, init: &Path) -> Result<Graph> {
        let own = run.graph()?;
        let graph = match self.grow.as_ref().and_then(Option::as_deref) {
            Some(arch) => {
                let (classes, input) = (run.config.arch.classes, Some(own.input));
                graph_of(arch, &ArchOptions { classes, input, scaling: Scaling::default() })?
            }
            None => read_graph(&run_of(init)?)?,
        };
        Ok(Graph { preprocess: own.preprocess, classes: own.classes, ..graph })
    }
}

/// The `arch.json` of the run that a checkpoint is from.
fn run_of(init: &Path) -> Result<PathBuf, Usage> {
    let run = init.parent().and_then(Path::parent).map(|run| run.join("arch.json"));
    run.filter(|file| file.exists()).ok_or_else(|| {
        Usage(format!(
            "{} is not in a run: --grow ARCH has to name its architecture, or an arch.json",
            init.display()
        ))
    })
}
