//! `ec2t scale`: build an architecture and count its costs.

use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use clap::{Args, Subcommand};
use ec2t_data::Summary;
use ec2t_format::Graph;
use ec2t_format::graph::{Preprocess, Shape};
use ec2t_scale::{ArchOptions, CostTable, Scaling};
use serde::Serialize;

use super::search::SearchArgs;
use crate::command_log::noted;
use crate::config::{Arch, Preprocessing};
use crate::exit::{BadFile, Usage};
use crate::output::{print, print_json, write_json};
use crate::run_dir::{RunArgs, RunDir};

/// Build an architecture and count its costs.
#[derive(Args)]
#[command(args_conflicts_with_subcommands = true, subcommand_negates_reqs = true)]
pub(crate) struct ScaleArgs {
    #[command(subcommand)]
    command: Option<ScaleCommand>,
    /// Take the architecture from this run's settings and write arch.json there.
    #[arg(long, value_name = "DIR", conflicts_with_all = ["arch", "depth", "width", "resolution", "phi", "classes", "output"])]
    run_dir: Option<PathBuf>,
    /// Name of the architecture.
    #[arg(long, required_unless_present = "run_dir", value_name = "NAME")]
    arch: Option<String>,
    #[command(flatten)]
    scaling: ScalingArgs,
    /// Number of classes.
    #[arg(long, default_value_t = 10)]
    classes: usize,
    /// Write the graph to this file.
    #[arg(short, long, value_name = "FILE")]
    output: Option<PathBuf>,
    /// Print the cost table as JSON.
    #[arg(long)]
    json: bool,
}

#[derive(Subcommand)]
enum ScaleCommand {
    /// Find out how to scale an architecture, and how far.
    ///
    /// Trains every point of a grid of multipliers in a run of its own, RUN/search/POINT,
    /// and then the best of them scaled by φ = 2, 3, …; the table is in
    /// RUN/search/search.json too. Points are compared by validation accuracy; test images
    /// are not looked at.
    Search(Box<SearchArgs>),
}

/// How to scale an architecture.
#[derive(Args)]
pub(crate) struct ScalingArgs {
    /// Base multiplier of depth.
    #[arg(long, default_value_t = 1.0)]
    depth: f64,
    /// Base multiplier of width.
    #[arg(long, default_value_t = 1.0)]
    width: f64,
    /// Base multiplier of the sides of images.
    #[arg(long, default_value_t = 1.0)]
    resolution: f64,
    /// Exponent of all multipliers.
    #[arg(long, default_value_t = 1.0)]
    phi: f64,
}

impl From<&ScalingArgs> for Scaling {
    fn from(args: &ScalingArgs) -> Self {
        let &ScalingArgs { depth, width, resolution, phi } = args;
        Self { depth, width, resolution, phi }
    }
}

/// What `ec2t scale --json` prints.
#[derive(Serialize)]
struct Scaled {
    scaling: Scaling,
    input: Shape,
    #[serde(flatten)]
    costs: CostTable,
}

impl ScaleArgs {
    pub(crate) fn run(self) -> Result<()> {
        match self.command {
            Some(ScaleCommand::Search(search)) => search.run(),
            None => self.count(),
        }
    }

    fn count(&self) -> Result<()> {
        let (graph, scaling) = match &self.run_dir {
            Some(run_dir) => {
                let args = RunArgs { run_dir: run_dir.clone(), data_dir: None };
                let run = args.open()?;
                (noted(run_dir, "scale", false, || write_graph(&run))?, run.config.arch.scaling())
            }
            None => (self.named_graph()?, Scaling::from(&self.scaling)),
        };
        if let Some(path) = &self.output {
            write_json(path, &graph)?;
        }
        let costs = CostTable::of(&graph)?;
        match self.json {
            true => print_json(&Scaled { scaling, input: graph.input, costs }),
            false => print(&format!("{}{costs}", describe(&graph, &scaling))),
        }
    }

    fn named_graph(&self) -> Result<Graph> {
        let scaling = (&self.scaling).into();
        let options = ArchOptions { classes: self.classes, input: None, scaling };
        let name = self.arch.as_deref().unwrap_or_default();
        Ok(ec2t_scale::build(name, &options)?)
    }
}

/// Writes the graph of a run's settings.
fn write_graph(run: &RunDir) -> Result<Graph> {
    let graph = run_graph(&run.config.arch, &run.data()?)?;
    write_json(&run.join("arch.json"), &graph)?;
    Ok(graph)
}

/// The name of a network, and what it was multiplied by if it was; one line each.
fn describe(graph: &Graph, scaling: &Scaling) -> String {
    let head = format!("{}, images of {}\n", graph.name, graph.input);
    if scaling.is_identity() {
        return head;
    }
    let [depth, width, resolution] = [
        ("depth", scaling.depth, scaling.depth_multiplier()),
        ("width", scaling.width, scaling.width_multiplier()),
        ("resolution", scaling.resolution, scaling.resolution_multiplier()),
    ]
    .map(|(name, base, effective)| format!("{name} {base}^{} = {effective:.3}", scaling.phi));
    format!("{head}{depth}, {width}, {resolution}\n")
}

/// The architecture of that name, or the one in a file whose name ends in `.json`.
pub(crate) fn graph_of(arch: &str, options: &ArchOptions) -> Result<Graph> {
    match arch.ends_with(".json") {
        true => read_graph(Path::new(arch)),
        false => Ok(ec2t_scale::build(arch, options)?),
    }
}

/// Reads a graph from a file, as `ec2t scale` writes it.
pub(crate) fn read_graph(path: &Path) -> Result<Graph> {
    let text =
        std::fs::read_to_string(path).with_context(|| format!("cannot read {}", path.display()))?;
    let bad = |error: String| BadFile(format!("{}: {error}", path.display()));
    let graph: Graph = serde_json::from_str(&text).map_err(|error| bad(error.to_string()))?;
    graph.validate().map_err(|error| bad(error.to_string()))?;
    Ok(graph)
}

/// The architecture of a run, for its images and with their class names.
pub(crate) fn run_graph(arch: &Arch, data: &Summary) -> Result<Graph> {
    let [channels, height, width] = data.shape;
    let scaling = arch.scaling();
    let input = Some(Shape::new(channels, height, width));
    let options = ArchOptions { classes: arch.classes, input, scaling };
    let mut graph = ec2t_scale::build(&arch.name, &options)?;
    if data.classes.len() != arch.classes {
        let (name, expected) = (&data.name, data.classes.len());
        let text = format!("arch.classes is {}, but {name} has {expected} classes", arch.classes);
        return Err(Usage(text).into());
    }
    graph.classes = data.classes.clone();
    graph.preprocess = match arch.preprocess {
        Preprocessing::Measured => Preprocess {
            mean: data.stats.mean.iter().map(|&mean| mean as f32).collect(),
            std: data.stats.std.iter().map(|&std| std as f32).collect(),
        },
        named => preprocess(named, channels),
    };
    graph.validate()?;
    Ok(graph)
}

/// The statistics of that name.
pub(super) fn preprocess(name: Preprocessing, channels: usize) -> Preprocess {
    match name {
        Preprocessing::Cifar10 => Preprocess::cifar10(),
        Preprocessing::Imagenet => Preprocess::imagenet(),
        Preprocessing::Signed => Preprocess::signed(channels),
        Preprocessing::None | Preprocessing::Measured => Preprocess::none(channels),
    }
}
