//! `ec2t compare`: show how much two models differ on the same images.

use std::fmt::Write;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use clap::Args;
use ec2t_data::Dataset;
use ec2t_format::container::MAGIC;
use ec2t_format::{Graph, Network};
use ec2t_infer::{ClassCounts, Comparison, LayerDrift, Model, compare};
use ec2t_scale::{ArchOptions, Scaling};
use serde::Serialize;

use super::eval::{check_fit, test_images};
use super::scale::read_graph;
use crate::exit::Usage;
use crate::fit::fit;
use crate::output::{columns, grouped, print, print_json};
use crate::precision::Precision;
use crate::progress::Progress;

/// Show how much two models differ on a dataset's test images.
///
/// A is what one starts from, such as a float network, and B what it became. The interval is
/// Newcombe's for paired proportions (1998, method 10), p that of McNemar's exact test; KL is
/// how much B's probabilities miss of A's; drift is ‖B − A‖ ∕ ‖A‖ of each layer's output.
#[derive(Args)]
pub(crate) struct CompareArgs {
    /// A model file, or a PyTorch or safetensors checkpoint.
    #[arg(value_name = "A")]
    first: PathBuf,
    /// Another one, or the same.
    #[arg(value_name = "B")]
    second: PathBuf,
    /// Name of the dataset.
    #[arg(long, value_name = "NAME")]
    dataset: String,
    /// Folder that holds the dataset's own folder.
    #[arg(long, value_name = "DIR")]
    data_dir: Option<PathBuf>,
    /// What A's activations are computed in.
    #[arg(long, value_enum, default_value_t = Precision::F32, value_name = "TYPE")]
    precision_a: Precision,
    /// What B's are computed in.
    #[arg(long, value_enum, default_value_t = Precision::F32, value_name = "TYPE")]
    precision_b: Precision,
    /// Architecture of checkpoints: a name, which takes preprocessing from the model file, or
    /// an arch.json, which has its own [default: that of the model file].
    #[arg(long, value_name = "ARCH")]
    arch: Option<String>,
    /// Print the result as JSON.
    #[arg(long)]
    json: bool,
}

/// What `ec2t compare --json` prints. Accuracies and their difference are in percent and
/// points; numbers of two are A's and B's.
#[derive(Serialize)]
struct Compared<'a> {
    files: [&'a Path; 2],
    dataset: &'a str,
    images: usize,
    correct: [usize; 2],
    top1: [f64; 2],
    difference: f64,
    difference_interval: [f64; 2],
    p_value: f64,
    agreement: f64,
    /// Images that A has right and B wrong.
    lost: usize,
    /// Images that A has wrong and B right.
    gained: usize,
    kl_nats: f64,
    kl_nats_error: f64,
    kl_bits: f64,
    kl_bits_error: f64,
    classes: Vec<Class>,
    layers: Vec<Layer>,
}

#[derive(Serialize)]
struct Class {
    name: String,
    images: usize,
    correct: [usize; 2],
    top1: [f64; 2],
}

#[derive(Serialize)]
struct Layer {
    name: String,
    values: usize,
    drift: f64,
}

impl CompareArgs {
    pub(crate) fn run(self) -> Result<()> {
        let [first, second] = self.models()?;
        let data = test_images(&first, &self.dataset, self.data_dir.as_deref())?;
        check_fit(&second, &data)?;
        if fit(&first)? != fit(&second)? {
            let text = "the models take different parts of a picture (metadata `crop`)";
            return Err(Usage(text.to_owned()).into());
        }
        let comparison = measure([&first, &second], &data)?;
        let compared = self.describe(comparison, data.classes());
        match self.json {
            true => print_json(&compared),
            false => print(&text(&compared)),
        }
    }

    fn models(&self) -> Result<[Model; 2]> {
        let files = [read(&self.first)?, read(&self.second)?];
        let [first, second] = self.networks(files)?;
        let plan = |network, precision: Precision, path: &Path| {
            Model::with_precision(network, precision.into())
                .with_context(|| path.display().to_string())
        };
        Ok([
            plan(first, self.precision_a, &self.first)?,
            plan(second, self.precision_b, &self.second)?,
        ])
    }

    /// The networks of two files; a checkpoint, which is `None`, is read with the graph of
    /// --arch or of the other file.
    fn networks(&self, files: [Option<Network>; 2]) -> Result<[Network; 2]> {
        let known = files.iter().flatten().next().map(|network| network.graph().clone());
        let imported = |path: &Path| -> Result<Network> {
            Ok(ec2t_interop::import(path, self.graph(known.as_ref())?)?.network)
        };
        let [first, second] = files;
        Ok([
            first.map_or_else(|| imported(&self.first), Ok)?,
            second.map_or_else(|| imported(&self.second), Ok)?,
        ])
    }

    /// The graph of a checkpoint beside a model file with a graph that is `known`.
    fn graph(&self, known: Option<&Graph>) -> Result<Graph> {
        match (&self.arch, known) {
            (Some(arch), _) if arch.ends_with(".json") => read_graph(Path::new(arch)),
            (Some(arch), Some(known)) => {
                let (classes, input) = (known.output_shape()?.numel(), Some(known.input));
                let options = ArchOptions { classes, input, scaling: Scaling::default() };
                let graph = ec2t_scale::build(arch, &options)?;
                Ok(Graph { preprocess: known.preprocess.clone(), ..graph })
            }
            (None, Some(known)) => Ok(known.clone()),
            (_, None) => {
                let text = "of two checkpoints, --arch has to name an arch.json";
                Err(Usage(text.to_owned()).into())
            }
        }
    }

    fn describe(&self, comparison: Comparison, names: &[String]) -> Compared<'_> {
        let Comparison { counts, agreeing, divergence, classes, layers } = comparison;
        let images = counts.images();
        let bits = |nats: f64| nats / std::f64::consts::LN_2;
        Compared {
            files: [&self.first, &self.second],
            dataset: &self.dataset,
            images,
            correct: counts.correct(),
            top1: counts.correct().map(|correct| percent(correct, images)),
            difference: 100.0 * counts.difference(),
            difference_interval: counts.interval().map(|end| 100.0 * end),
            p_value: counts.p_value(),
            agreement: percent(agreeing, images),
            lost: counts.first,
            gained: counts.second,
            kl_nats: divergence.mean,
            kl_nats_error: divergence.standard_error,
            kl_bits: bits(divergence.mean),
            kl_bits_error: bits(divergence.standard_error),
            classes: names.iter().zip(classes).map(Class::from).collect(),
            layers: layers.into_iter().map(Layer::from).collect(),
        }
    }
}

impl From<(&String, ClassCounts)> for Class {
    fn from((name, counts): (&String, ClassCounts)) -> Self {
        let ClassCounts { images, correct } = counts;
        let top1 = correct.map(|correct| percent(correct, images));
        Self { name: name.clone(), images, correct, top1 }
    }
}

impl From<LayerDrift> for Layer {
    fn from(drift: LayerDrift) -> Self {
        Self { name: drift.name, values: drift.values, drift: drift.relative }
    }
}

/// The network of a model file; `None` where the file is something else.
fn read(path: &Path) -> Result<Option<Network>> {
    let name = || path.display().to_string();
    let file = std::fs::read(path).with_context(name)?;
    match file.starts_with(&MAGIC) || path.extension().is_some_and(|end| end == "ec2t") {
        true => ec2t_format::read(&file).with_context(name).map(Some),
        false => Ok(None),
    }
}

fn measure(models: [&Model; 2], data: &Dataset) -> Result<Comparison> {
    let mut progress = Progress::new(data.len() as u64, "images");
    let images = |range| Ok::<_, anyhow::Error>(data.images(range)?);
    let comparison = compare(models, data.labels(), images, |done| {
        progress.set(done as u64, "");
    })?;
    progress.finish();
    Ok(comparison)
}

fn percent(count: usize, all: usize) -> f64 {
    100.0 * count as f64 / all.max(1) as f64
}

/// Two digits, also of a small one.
fn probability(value: f64) -> String {
    match value < 0.01 {
        true => format!("{value:.1e}"),
        false => format!("{value:.2}"),
    }
}

/// The result for people: a summary, and tables of classes and layers.
fn text(compared: &Compared) -> String {
    let Compared { files, images, top1, difference, .. } = compared;
    let [low, high] = compared.difference_interval;
    let mut text = String::new();
    for (letter, file, top1) in [("A", files[0], top1[0]), ("B", files[1], top1[1])] {
        let _ = writeln!(text, "{letter}: top-1 {top1:.2} %  {}", file.display());
    }
    let _ = writeln!(
        text,
        "B − A: {difference:+.2} points, 95 % interval {low:+.2} to {high:+.2} (p = {}), {} images",
        probability(compared.p_value),
        grouped(images),
    );
    let _ = writeln!(
        text,
        "same answer {:.2} %; right → wrong {}, wrong → right {}",
        compared.agreement,
        grouped(compared.lost),
        grouped(compared.gained),
    );
    let _ = writeln!(
        text,
        "KL(A‖B) {:.5} ± {:.5} nats, {:.5} ± {:.5} bits\n",
        compared.kl_nats, compared.kl_nats_error, compared.kl_bits, compared.kl_bits_error,
    );
    text + &classes(&compared.classes) + "\n" + &layers(&compared.layers)
}

fn classes(classes: &[Class]) -> String {
    let head = ["class", "images", "A %", "B %", "B − A"].map(str::to_owned);
    let row = |class: &Class| {
        let [first, second] = class.top1;
        [
            class.name.clone(),
            grouped(class.images),
            format!("{first:.2}"),
            format!("{second:.2}"),
            format!("{:+.2}", second - first),
        ]
    };
    table(head, classes.iter().map(row))
}

fn layers(layers: &[Layer]) -> String {
    let head = ["layer", "values", "drift"].map(str::to_owned);
    let row =
        |layer: &Layer| [layer.name.clone(), grouped(layer.values), format!("{:.5}", layer.drift)];
    table(head, layers.iter().map(row))
}

fn table<const N: usize>(head: [String; N], rows: impl Iterator<Item = [String; N]>) -> String {
    let lines: Vec<_> = std::iter::once(head).chain(rows).map(|cells| ("", cells)).collect();
    columns(&lines)
}
