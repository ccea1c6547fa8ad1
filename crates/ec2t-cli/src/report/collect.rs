//! Computes a report from the files of a run.

use std::collections::BTreeMap;
use std::path::Path;

use anyhow::{Context, Result, ensure};
use ec2t_format::graph::GraphError;
use ec2t_format::stats::{FileStats, file_stats};
use ec2t_format::{Graph, Network, Tensor, TensorEncoding};
use ec2t_scale::score::{Mode, Rules};
use ec2t_scale::{CostTable, Score};

use super::data::{
    Accuracy, Clusters, Command, Epoch, Layer, LayerState, Mistake, OperationStep, Report, STAGES,
    Settings, SizeStep, Ternary, Training,
};
use super::inputs::{
    ARCH, CONFIG, DATA, Dataset, EVAL, EVENTS, Evaluation, Evaluations, FINETUNE, MODEL, PRETRAIN,
    SWEEP, Stamp, Sweep, TERNARIZE, stamp,
};

use crate::command_log::{CommandLog, Noted};

/// Bytes of a 32-bit float.
const FLOAT_BYTES: u64 = 4;

/// Collects the report of the run in `run_dir`; `commit` names the version of
/// the program.
///
/// # Errors
/// Where one of the run's files is missing or malformed.
pub(crate) fn build(run_dir: &Path, commit: &str) -> Result<Report> {
    let (settings, seed) = CONFIG.read(run_dir, |text| settings(&text))?;
    let data: Dataset = DATA.json(run_dir, Ok)?;
    let (graph, cost) = ARCH.json(run_dir, |graph: Graph| {
        graph.validate()?;
        let cost = CostTable::of(&graph)?.total;
        Ok((graph, cost))
    })?;
    let pretrain = PRETRAIN.json(run_dir, Ok)?;
    let ternarize: Training = TERNARIZE.json(run_dir, Ok)?;
    let (finetune, sparsity) = FINETUNE.json(run_dir, |summary: Training| {
        let sparsity = summary.sparsity.or(ternarize.sparsity);
        Ok((summary, sparsity.context("`sparsity` is missing")?))
    })?;
    let training = vec![pretrain, ternarize, finetune];
    let epochs = match EVENTS.exists(run_dir) {
        true => EVENTS.read(run_dir, |text| epochs(&text, &training, &graph))?,
        false => Vec::new(),
    };
    let model = MODEL.read(run_dir, |file| Model::read(&file))?;
    let eval = EVAL.json(run_dir, |eval: Evaluations| {
        check_confusion(&eval.ternary.confusion, data.classes.len())?;
        check_mistakes(&eval.ternary.mistakes, data.classes.len())?;
        Ok(eval)
    })?;
    let sweep = match SWEEP.exists(run_dir) {
        true => SWEEP.json(run_dir, |sweep: Sweep| Ok(sweep.points))?,
        false => Vec::new(),
    };
    let seconds = seconds(run_dir, &training)?;
    let log = CommandLog::read(run_dir)?;

    let float_bytes = FLOAT_BYTES * cost.params;
    let file_bytes = model.stats.total_bytes as u64;
    Ok(Report {
        dataset: data.name,
        images: data.counts,
        classes: data.classes,
        arch: graph.name,
        input: graph.input,
        parameters: cost.params,
        macs: cost.macs,
        float: accuracy(&eval.float),
        ternary: Ternary {
            accuracy: accuracy(&eval.ternary),
            sparsity,
            entropy_bits: model.entropy_bits,
            weights: model.ternary_weights,
        },
        file_bytes,
        float_bytes,
        compression: float_bytes as f64 / file_bytes as f64,
        sizes: model.sizes(float_bytes),
        operations: model.operations,
        layers: model.layers,
        rest: model.stats.rest,
        sweep,
        confusion: eval.ternary.confusion,
        mistakes: eval.ternary.mistakes,
        training,
        epochs,
        seconds,
        commands: log.in_order().map(command).collect(),
        settings,
        seed,
        commit: commit.to_owned(),
    })
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

/// What `model.ec2t` holds.
struct Model {
    layers: Vec<Layer>,
    stats: FileStats,
    operations: Vec<OperationStep>,
    entropy_bits: Option<f64>,
    ternary_weights: u64,
    /// Bytes of all ternary tensors.
    ternary_bytes: u64,
}

impl Model {
    fn read(file: &[u8]) -> Result<Self> {
        let (network, layout) = (ec2t_format::read(file)?, ec2t_format::layout(file)?);
        let stats = file_stats(&network, &layout);
        let is_ternary = |encoding| matches!(encoding, TensorEncoding::Ternary(_));
        let ternary = layout.tensors.iter().filter(|tensor| is_ternary(tensor.encoding));
        let weights = network.tensors().values().map(|tensor| match tensor {
            Tensor::Ternary(ternary) => ternary.codes().len() as u64,
            Tensor::Dense(_) => 0,
        });
        Ok(Self {
            layers: layers(&network, &stats),
            operations: operations(&network)?,
            entropy_bits: network.entropy_bits(),
            ternary_weights: weights.sum(),
            ternary_bytes: ternary.map(|tensor| tensor.len as u64).sum(),
            stats,
        })
    }

    fn sizes(&self, float_bytes: u64) -> Vec<SizeStep> {
        let weights = self.ternary_weights;
        let other_bytes = float_bytes.saturating_sub(FLOAT_BYTES * weights);
        let structure_bytes = self.stats.rest.iter().map(|part| part.bytes as u64).sum();
        let layer_bytes: u64 = self.stats.layers.iter().map(|layer| layer.bytes as u64).sum();
        vec![
            SizeStep {
                name: "every value in 32 bits",
                ternary_bytes: float_bytes - other_bytes,
                other_bytes,
                structure_bytes: 0,
            },
            SizeStep {
                name: "ternary weights in 2 bits",
                ternary_bytes: weights.div_ceil(4),
                other_bytes,
                structure_bytes: 0,
            },
            SizeStep {
                name: "model.ec2t",
                ternary_bytes: self.ternary_bytes,
                other_bytes: layer_bytes - self.ternary_bytes,
                structure_bytes,
            },
        ]
    }
}

/// Operations for one image: of the graph alone, with zeros left out, and with two values for
/// each ternary layer.
fn operations(network: &Network) -> Result<Vec<OperationStep>, GraphError> {
    // What is counted does not depend on the number of bits.
    let rules = Rules::for_network(Mode::Strict, network);
    let step = |name, counts, score: Score| {
        let operations = score.total.operations;
        let (multiplications, additions) = (operations.multiplications, operations.additions);
        OperationStep { name, counts, multiplications, additions }
    };
    Ok(vec![
        step(
            "every weight a float",
            "a product of each weight with each value that it meets, and their sums",
            Score::of_graph(network.graph(), rules)?,
        ),
        step(
            "zeros left out",
            "the same for weights that are not zero",
            Score::of_network(&network.to_dense(), rules)?,
        ),
        step(
            "ternary weights",
            "values summed by sign, then two products for each output of a layer",
            Score::of_network(network, rules)?,
        ),
    ])
}

fn layers(network: &Network, stats: &FileStats) -> Vec<Layer> {
    let clusters = |name: &str| match network.tensor(&format!("{name}.weight"))? {
        Tensor::Ternary(tensor) => {
            let counts = tensor.counts();
            let share = |count: usize| count as f64 / counts.total() as f64;
            Some(Clusters {
                w_neg: tensor.w_neg(),
                w_pos: tensor.w_pos(),
                shares: [counts.neg, counts.zero, counts.pos].map(share),
            })
        }
        Tensor::Dense(_) => None,
    };
    let layers = stats.layers.iter();
    layers.map(|layer| Layer { clusters: clusters(&layer.name), stats: layer.clone() }).collect()
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
