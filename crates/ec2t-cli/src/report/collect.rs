//! Computes a report from the files of a run.

use std::collections::BTreeMap;
use std::path::Path;

use anyhow::{Context, Result, ensure};
use ec2t_format::Graph;
use ec2t_scale::CostTable;

use super::data::{
    Accuracy, Command, Epoch, FLOAT_BYTES, LayerState, Mistake, Model, Report, STAGES, Settings,
    Tested, ToCome, Training,
};
use super::inputs::{
    ARCH, CONFIG, DATA, Dataset, EVAL, EVENTS, Evaluation, Evaluations, FINETUNE, Input, MODEL,
    PRETRAIN, SWEEP, Stamp, Sweep, TERNARIZE, stamp,
};
use super::model;
use crate::command_log::{CommandLog, Noted};
use crate::shell;

/// Collects the report of the run in `run_dir`, as far as it has come after pretraining;
/// `commit` names the version of the program.
///
/// # Errors
/// Where one of the run's files is malformed, or one up to that of pretraining is missing.
pub(crate) fn build(run_dir: &Path, commit: &str) -> Result<Report> {
    let (settings, seed) = CONFIG.read(run_dir, |text| settings(&text))?;
    let data: Dataset = DATA.json(run_dir, Ok)?;
    let (graph, cost) = ARCH.json(run_dir, |graph: Graph| {
        graph.validate()?;
        let cost = CostTable::of(&graph)?.total;
        Ok((graph, cost))
    })?;
    let float_bytes = FLOAT_BYTES * cost.params;
    let pretrain = PRETRAIN.json(run_dir, Ok)?;
    let later = Later::read(run_dir, float_bytes, data.classes.len())?;
    let training: Vec<_> = [pretrain].into_iter().chain(later.training).collect();
    let epochs = match EVENTS.exists(run_dir) {
        true => EVENTS.read(run_dir, |text| epochs(&text, &training, &graph))?,
        false => Vec::new(),
    };
    let sweep = match SWEEP.exists(run_dir) {
        true => SWEEP.json(run_dir, |sweep: Sweep| Ok(sweep.points))?,
        false => Vec::new(),
    };
    Ok(Report {
        dataset: data.name,
        images: data.counts,
        classes: data.classes,
        arch: graph.name,
        input: graph.input,
        parameters: cost.params,
        macs: cost.macs,
        float_bytes,
        model: later.model,
        to_come: later.to_come,
        sweep,
        seconds: seconds(run_dir, &training)?,
        training,
        epochs,
        commands: CommandLog::read(run_dir)?.in_order().map(command).collect(),
        settings,
        seed,
        commit: commit.to_owned(),
    })
}

/// What comes after pretraining, up to the first stage that has not ended.
#[derive(Default)]
struct Later {
    training: Vec<Training>,
    model: Option<Model>,
    to_come: Vec<ToCome>,
}

impl Later {
    fn read(run_dir: &Path, float_bytes: u64, classes: usize) -> Result<Self> {
        const STEPS: [&Input; 4] = [&TERNARIZE, &FINETUNE, &MODEL, &EVAL];
        let there = STEPS.iter().take_while(|file| file.exists(run_dir)).count();
        let to_come = STEPS[there..].iter().map(|file| to_come(run_dir, file)).collect();
        let mut later = Self { to_come, ..Self::default() };
        if there == 0 {
            return Ok(later);
        }
        let ternarize: Training = TERNARIZE.json(run_dir, Ok)?;
        let ternarized = ternarize.sparsity;
        later.training.push(ternarize);
        if there == 1 {
            return Ok(later);
        }
        let (finetune, sparsity) = FINETUNE.json(run_dir, |summary: Training| {
            let sparsity = summary.sparsity.or(ternarized);
            Ok((summary, sparsity.context("`sparsity` is missing")?))
        })?;
        later.training.push(finetune);
        if there == 2 {
            return Ok(later);
        }
        let mut model = MODEL.read(run_dir, |file| model::read(&file, float_bytes, sparsity))?;
        if there == STEPS.len() {
            add_tests(&mut model, EVAL.json(run_dir, |eval| check(eval, classes))?);
        }
        later.model = Some(model);
        Ok(later)
    }
}

fn to_come(run_dir: &Path, file: &Input) -> ToCome {
    let run_dir = run_dir.to_string_lossy();
    let words = file.writer().split(' ').chain(["--run-dir", &*run_dir]);
    ToCome { file: file.path().to_owned(), command: shell::line(words) }
}

fn settings(text: &[u8]) -> Result<(Settings, u64)> {
    let settings: Settings = toml::from_slice(text)?;
    let seed = settings.get("run").and_then(|run| run.get("seed")?.as_integer());
    let seed = seed.and_then(|seed| u64::try_from(seed).ok());
    Ok((settings, seed.context("`run.seed` must be an integer from 0")?))
}

/// The epochs of the training that led to the model. Lines of a stage that was
/// replaced by a checkpoint, or repeated with fewer epochs, are left out.
fn epochs(text: &[u8], training: &[Training], graph: &Graph) -> Result<Vec<Epoch>> {
    let sizes: BTreeMap<String, usize> =
        graph.params().into_iter().map(|param| (param.name.clone(), param.numel())).collect();
    let parse = |line: &str| -> Result<Epoch> {
        let mut epoch: Epoch = serde_json::from_str(line)?;
        epoch.entropy_bits = mean_entropy(&epoch.layers, &sizes)?;
        Ok(epoch)
    };
    let counts = |epoch: &Epoch| {
        training.iter().any(|t| t.stage == epoch.stage && t.epochs >= Some(epoch.epoch))
    };
    let mut epochs = Vec::new();
    for (number, line) in (1..).zip(std::str::from_utf8(text)?.lines()) {
        let epoch = parse(line).with_context(|| format!("line {number}"))?;
        if counts(&epoch) {
            epochs.push(epoch);
        }
    }
    Ok(epochs)
}

/// Mean over the weights of all layers, whose numbers `sizes` tells by name.
fn mean_entropy(layers: &[LayerState], sizes: &BTreeMap<String, usize>) -> Result<Option<f64>> {
    let sized = layers.iter().map(|layer| {
        let size = sizes.get(&layer.name);
        let size = size.with_context(|| format!("arch.json has no weights `{}`", layer.name))?;
        Ok((layer.entropy_bits, *size))
    });
    Ok(weighted_mean(sized.collect::<Result<Vec<_>>>()?))
}

/// Mean of values by their weights; none where there is no weight.
fn weighted_mean(values: impl IntoIterator<Item = (f64, usize)>) -> Option<f64> {
    let (sum, total) = values.into_iter().fold((0.0, 0), |(sum, total), (value, weight)| {
        (sum + value * weight as f64, total + weight)
    });
    (total > 0).then(|| sum / total as f64)
}

fn check(eval: Evaluations, classes: usize) -> Result<Evaluations> {
    check_confusion(&eval.ternary.confusion, classes)?;
    check_mistakes(&eval.ternary.mistakes, classes)?;
    Ok(eval)
}

fn add_tests(model: &mut Model, eval: Evaluations) {
    model.ternary.accuracy = Some(accuracy(&eval.ternary));
    let float = accuracy(&eval.float);
    let Evaluation { confusion, mistakes, .. } = eval.ternary;
    model.tested = Some(Tested { float, confusion, mistakes });
}

fn accuracy(evaluation: &Evaluation) -> Accuracy {
    let &Evaluation { top1, images, correct, seconds, .. } = evaluation;
    Accuracy { top1, images, correct, seconds }
}

fn check_confusion(confusion: &[Vec<u64>], classes: usize) -> Result<()> {
    let is_square = confusion.len() == classes && confusion.iter().all(|row| row.len() == classes);
    ensure!(
        is_square,
        "`ternary.confusion` must have {classes} rows and columns, as many as classes"
    );
    Ok(())
}

fn check_mistakes(mistakes: &[Mistake], classes: usize) -> Result<()> {
    let highest = mistakes.iter().map(|mistake| mistake.class.max(mistake.answer)).max();
    ensure!(
        highest.is_none_or(|class| class < classes),
        "`ternary.mistakes` must have classes below {classes}"
    );
    Ok(())
}

/// Time of each stage. Training counts its time itself, over all sessions; of the others only
/// stamps know.
fn seconds(run_dir: &Path, training: &[Training]) -> Result<BTreeMap<String, f64>> {
    let mut seconds = BTreeMap::new();
    for stage in STAGES {
        let stamp = stamp(stage);
        if stamp.exists(run_dir) {
            let Stamp { seconds: of_stage } = stamp.json(run_dir, Ok)?;
            seconds.insert(stage.to_owned(), of_stage);
        }
    }
    seconds.extend(training.iter().map(|training| (training.stage.clone(), training.seconds)));
    Ok(seconds)
}

fn command((stage, noted): (&'static str, &Noted)) -> Command {
    let (version, commit) = (noted.version.clone(), noted.commit.clone());
    Command { stage, command: noted.line(), version, commit, resumed: noted.resumed }
}
