//! `ec2t eval`: measure the accuracy of a model file.

use std::path::{Path, PathBuf};

use anyhow::Result;
use clap::Args;
use ec2t_data::{Dataset, LoadOptions};
use ec2t_format::Network;
use ec2t_format::graph::Shape;
use ec2t_infer::{Evaluation, Mistake, Model, evaluate};
use serde::Serialize;

use crate::command_log::noted;
use crate::exit::Usage;
use crate::fit::fit;
use crate::output::{grouped, print, print_json, write_json};
use crate::precision::PrecisionArgs;
use crate::progress::Progress;
use crate::run_dir::{RunArgs, RunDir};

/// Wrong answers that are listed, the most probable first.
const LISTED_MISTAKES: usize = 24;

/// Measure the accuracy of a model file on a dataset's test images.
#[derive(Args)]
pub(crate) struct EvalArgs {
    /// The model file.
    #[arg(value_name = "FILE", required_unless_present = "run_dir")]
    model: Option<PathBuf>,
    /// Name of the dataset.
    #[arg(long, required_unless_present = "run_dir", value_name = "NAME")]
    dataset: Option<String>,
    /// Evaluate the float and the ternary network of this run, and write
    /// eval.json there.
    #[arg(long, value_name = "DIR", conflicts_with_all = ["model", "dataset", "precision"])]
    run_dir: Option<PathBuf>,
    /// Folder that holds the dataset's own folder.
    #[arg(long, value_name = "DIR")]
    data_dir: Option<PathBuf>,
    #[command(flatten)]
    precision: PrecisionArgs,
    /// Print the result as JSON.
    #[arg(long)]
    json: bool,
}

/// Accuracy of one model.
#[derive(Serialize)]
struct Accuracy {
    /// Share of right answers in percent.
    top1: f64,
    /// Share of images whose class is among the five most probable, in percent.
    #[serde(skip_serializing_if = "Option::is_none")]
    top5: Option<f64>,
    images: usize,
    correct: usize,
    seconds: f64,
    /// Images by class (rows) and predicted class (columns).
    confusion: Vec<Vec<u32>>,
    /// The wrong answers with the highest probabilities, up to 24.
    mistakes: Vec<Wrong>,
}

/// A wrong answer.
#[derive(Serialize)]
struct Wrong {
    /// Position among the test images.
    image: usize,
    class: usize,
    answer: usize,
    /// Probability of the answer, 0…1.
    probability: f32,
}

impl From<Mistake> for Wrong {
    fn from(mistake: Mistake) -> Self {
        let Mistake { image, label: class, answer, probability } = mistake;
        Self { image, class, answer, probability }
    }
}

/// Result of `ec2t eval FILE`.
#[derive(Serialize)]
struct FileResult<'a> {
    file: &'a Path,
    dataset: &'a str,
    #[serde(flatten)]
    accuracy: Accuracy,
}

/// Result of `ec2t eval --run-dir DIR`: the run's `eval.json`.
#[derive(Serialize)]
struct RunResult<'a> {
    dataset: &'a str,
    float: Accuracy,
    ternary: Accuracy,
}

impl From<Evaluation> for Accuracy {
    fn from(evaluation: Evaluation) -> Self {
        let rows = evaluation.confusion.chunks(evaluation.classes.max(1));
        Self {
            top1: evaluation.top1,
            top5: evaluation.top5,
            images: evaluation.images,
            correct: evaluation.correct,
            seconds: evaluation.seconds,
            confusion: rows.map(<[u32]>::to_vec).collect(),
            mistakes: evaluation
                .mistakes
                .into_iter()
                .take(LISTED_MISTAKES)
                .map(Wrong::from)
                .collect(),
        }
    }
}

impl EvalArgs {
    pub(crate) fn run(self) -> Result<()> {
        let (Some(path), Some(dataset)) = (&self.model, &self.dataset) else {
            let run_dir = self.run_dir.unwrap_or_default();
            let run = RunArgs { run_dir, data_dir: self.data_dir }.open()?;
            return noted(run.path(), "eval", false, || evaluate_run(&run, self.json));
        };
        let model = Model::load_with(path, self.precision.into())?;
        let data = test_images(&model, dataset, self.data_dir.as_deref())?;
        let accuracy = measure(&model, &data)?;
        if self.json {
            return print_json(&FileResult { file: path, dataset, accuracy });
        }
        print(&format!("{}: {}", path.display(), describe(&accuracy)))
    }
}

/// A dataset's test images, of the size that a model takes and cut as it needs them.
pub(super) fn test_images(
    model: &Model,
    dataset: &str,
    data_dir: Option<&Path>,
) -> Result<Dataset> {
    let shape = model.input_shape();
    let options = LoadOptions {
        data_dir: data_dir.map(Path::to_owned),
        image_size: Some([shape.channels, shape.height, shape.width]),
        fit: fit(model)?,
        ..LoadOptions::default()
    };
    let data = ec2t_data::load(dataset, &options)?.test;
    check_fit(model, &data)?;
    Ok(data)
}

fn evaluate_run(run: &RunDir, json: bool) -> Result<()> {
    let data = run.splits()?.test;
    let float = measure(&Model::new(run.network("pretrain", "train")?)?, &data)?;
    let ternary = measure(&Model::load(run.join("model.ec2t"))?, &data)?;
    let result = RunResult { dataset: &run.config.data.dataset, float, ternary };
    write_json(&run.join("eval.json"), &result)?;
    if json {
        return print_json(&result);
    }
    print(&format!("float:   {}\nternary: {}", describe(&result.float), describe(&result.ternary)))
}

/// Share of images, in percent, that a network classifies rightly.
pub(super) fn top1(network: Network, images: &Dataset) -> Result<f64> {
    Ok(measure(&Model::new(network)?, images)?.top1)
}

/// How good a network is on a run's test images, in words.
pub(super) fn describe_test(run: &RunDir, network: Network) -> Result<String> {
    Ok(describe(&measure(&Model::new(network)?, &run.splits()?.test)?))
}

fn describe(accuracy: &Accuracy) -> String {
    let Accuracy { top1, images, seconds, .. } = accuracy;
    format!("top-1 {top1:.2} % of {} test images, {seconds:.1} s", grouped(*images))
}

/// Whether the model is for such images and so many classes.
pub(crate) fn check_fit(model: &Model, data: &Dataset) -> Result<(), Usage> {
    let (name, [channels, height, width]) = (data.name(), data.shape());
    let (shape, found) = (model.input_shape(), Shape::new(channels, height, width));
    if shape != found {
        return Err(Usage(format!("the model takes images of {shape}, {name} has {found}")));
    }
    match (model.output_len(), data.classes().len()) {
        (expected, found) if expected != found => {
            Err(Usage(format!("the model knows {expected} classes, {name} has {found}")))
        }
        _ => Ok(()),
    }
}

fn measure(model: &Model, data: &Dataset) -> Result<Accuracy> {
    check_fit(model, data)?;
    let mut progress = Progress::new(data.len() as u64, "images");
    let images = |range| Ok::<_, anyhow::Error>(data.images(range)?);
    let evaluation = evaluate(model, data.labels(), images, |done| {
        progress.set(done as u64, "");
    })?;
    progress.finish();
    Ok(evaluation.into())
}
