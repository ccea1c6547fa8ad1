//! `ec2t explain`: show how a model file is run, and what each step takes.

use std::fmt::Write;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use clap::Args;
use ec2t_format::graph::Shape;
use ec2t_infer::{ExplainedStep, ExplainedWeights, Explanation, explain};
use serde::Serialize;

use crate::output::{grouped, print, print_json};
use crate::precision::PrecisionArgs;

/// Show how a model file is run, step by step, and time each step.
///
/// Times are medians of one image on one thread, in microseconds, beside what the cost model
/// predicts; `dense` is the time of the dense kernel for the same layer, measured in turn, and
/// `ratio` how many times longer that is.
#[derive(Args)]
pub(crate) struct ExplainArgs {
    /// The model file.
    #[arg(value_name = "FILE")]
    model: PathBuf,
    /// How often each step is timed.
    #[arg(long, value_name = "N", default_value_t = 20)]
    #[arg(value_parser = clap::value_parser!(u32).range(1..))]
    runs: u32,
    #[command(flatten)]
    precision: PrecisionArgs,
    /// Print the table as JSON.
    #[arg(long)]
    json: bool,
}

/// All steps of a file.
#[derive(Serialize)]
struct Explained<'a> {
    file: &'a Path,
    runs: u32,
    steps: Vec<Step<'a>>,
    total: Cost,
}

#[derive(Serialize)]
struct Step<'a> {
    name: &'a str,
    op: &'static str,
    kernel: &'a str,
    /// Channels, rows, columns.
    input: [usize; 3],
    output: [usize; 3],
    #[serde(flatten)]
    cost: Cost,
    /// Why it has that kernel.
    reason: Option<&'a str>,
    predicted_dense_microseconds: Option<f64>,
}

/// What a step or all of them take.
#[derive(Serialize)]
struct Cost {
    #[serde(flatten)]
    weights: Option<Weights>,
    microseconds: f64,
    predicted_microseconds: Option<f64>,
    #[serde(flatten)]
    dense: Option<Dense>,
}

#[derive(Serialize)]
struct Weights {
    weights: usize,
    zeros: usize,
    macs: u64,
    additions: u64,
    packed_bytes: usize,
}

/// The dense kernel in comparison.
#[derive(Serialize)]
struct Dense {
    dense_microseconds: f64,
    ratio: f64,
}

impl ExplainArgs {
    pub(crate) fn run(self) -> Result<()> {
        let explain = || -> Result<Explanation> {
            let network = ec2t_format::read(&std::fs::read(&self.model)?)?;
            Ok(explain(&network, self.precision.into(), self.runs as usize)?)
        };
        let explanation = explain().with_context(|| self.model.display().to_string())?;
        let dense = Some(explanation.dense_seconds());
        let explained = Explained {
            file: &self.model,
            runs: self.runs,
            steps: explanation.steps.iter().map(Step::from).collect(),
            total: Cost::new(Some(explanation.weights()), explanation.seconds(), None, dense),
        };
        match self.json {
            true => print_json(&explained),
            false => print(&table(&explained)),
        }
    }
}

impl<'a> From<&'a ExplainedStep> for Step<'a> {
    fn from(step: &'a ExplainedStep) -> Self {
        let dimensions = |shape: Shape| [shape.channels, shape.height, shape.width];
        Self {
            name: &step.name,
            op: step.op,
            kernel: &step.kernel,
            input: dimensions(step.input),
            output: dimensions(step.output),
            cost: Cost::new(step.weights, step.seconds, step.predicted_seconds, step.dense_seconds),
            reason: step.reason.as_deref(),
            predicted_dense_microseconds: step.predicted_dense_seconds.map(|time| 1e6 * time),
        }
    }
}

impl Cost {
    fn new(
        weights: Option<ExplainedWeights>,
        seconds: f64,
        predicted_seconds: Option<f64>,
        dense_seconds: Option<f64>,
    ) -> Self {
        let dense = |dense: f64| Dense { dense_microseconds: 1e6 * dense, ratio: dense / seconds };
        Self {
            weights: weights.map(Weights::from),
            microseconds: 1e6 * seconds,
            predicted_microseconds: predicted_seconds.map(|time| 1e6 * time),
            dense: dense_seconds.map(dense),
        }
    }
}

impl From<ExplainedWeights> for Weights {
    fn from(weights: ExplainedWeights) -> Self {
        let ExplainedWeights { count, zeros, macs, additions, packed_bytes } = weights;
        Self { weights: count, zeros, macs, additions, packed_bytes }
    }
}

/// Widths of the columns after the names of layer and kernel.
const WIDTHS: [usize; 10] = [12, 12, 7, 13, 13, 11, 10, 10, 10, 6];

/// The steps and their sum as columns of text.
fn table(explained: &Explained) -> String {
    let kernels = explained.steps.iter().map(|step| step.kernel).chain(["kernel"]);
    let names = explained.steps.iter().map(|step| step.name).chain(["layer"]);
    let names = [widest(names), widest(kernels)];
    let head = [
        "input",
        "output",
        "zeros %",
        "MACs",
        "additions",
        "bytes",
        "µs",
        "predicted",
        "dense",
        "ratio",
    ];
    let mut text = row(names, ["layer", "kernel"], &head.map(str::to_owned), "why");
    for step in &explained.steps {
        let shapes = [step.input, step.output].map(|shape| shape.map(|n| n.to_string()).join("×"));
        text += &row(
            names,
            [step.name, step.kernel],
            &cells(shapes, &step.cost),
            step.reason.unwrap_or(""),
        );
    }
    text + &row(names, ["total", ""], &cells([String::new(), String::new()], &explained.total), "")
}

fn widest<'a>(texts: impl Iterator<Item = &'a str>) -> usize {
    texts.map(|text| text.chars().count()).max().unwrap_or(0)
}

fn cells([input, output]: [String; 2], cost: &Cost) -> [String; 10] {
    let weights = cost.weights.as_ref();
    let count =
        |number: fn(&Weights) -> u64| weights.map_or("–".to_owned(), |w| grouped(number(w)));
    let zeros = |w: &Weights| format!("{:.2}", 100.0 * w.zeros as f64 / w.weights.max(1) as f64);
    let dense = cost.dense.as_ref();
    [
        input,
        output,
        weights.map_or("–".to_owned(), zeros),
        count(|w| w.macs),
        count(|w| w.additions),
        count(|w| w.packed_bytes as u64),
        format!("{:.1}", cost.microseconds),
        cost.predicted_microseconds.map_or("–".to_owned(), |time| format!("{time:.1}")),
        dense.map_or("–".to_owned(), |dense| format!("{:.1}", dense.dense_microseconds)),
        dense.map_or("–".to_owned(), |dense| format!("{:.2}", dense.ratio)),
    ]
}

fn row(
    names: [usize; 2],
    [layer, kernel]: [&str; 2],
    cells: &[String; 10],
    reason: &str,
) -> String {
    let mut text = format!("{layer:0$}  {kernel:1$}", names[0], names[1]);
    for (cell, width) in cells.iter().zip(WIDTHS) {
        let _ = write!(text, "  {cell:>width$}");
    }
    let text = format!("{text}  {reason}");
    format!("{}\n", text.trim_end())
}
