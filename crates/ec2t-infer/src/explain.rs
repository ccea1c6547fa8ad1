//! What each step of a network is, what it takes, and what it saves.
//!
//! The network is planned twice, as it is and, in floats, with every ternary tensor turned
//! into floats. Both run the same image in turn, step after step, so that each
//! kernel is timed beside the dense one with caches as they are in a real run.

use std::collections::BTreeMap;

use ec2t_format::graph::{Graph, Shape};
use ec2t_format::{Network, Tensor, fold_batch_norm};

use crate::bench::noise;
use crate::error::LoadError;
use crate::model::Model;
use crate::plan::{Precision, Step};
use crate::profile::time_steps;
use crate::spread::Spread;

/// All steps of a network.
#[derive(Clone, Debug, PartialEq)]
pub struct Explanation {
    /// The steps in the order of execution.
    pub steps: Vec<ExplainedStep>,
}

/// A layer with what is fused into it.
#[derive(Clone, Debug, PartialEq)]
pub struct ExplainedStep {
    /// Name of the layer.
    pub name: String,
    /// Its operation.
    pub op: &'static str,
    /// The kernel that computes it and what is fused into it, such as
    /// `ternary-conv + add + relu`.
    pub kernel: String,
    /// Shape of the layer's first operand.
    pub input: Shape,
    /// Shape of the layer's output.
    pub output: Shape,
    /// What its weights cost, if it has any.
    pub weights: Option<ExplainedWeights>,
    /// Why it has that kernel, such as `64 % zeros: 2.8 times fewer additions`, if it has
    /// weights.
    pub reason: Option<String>,
    /// The time that the cost model expects, for a layer with weights.
    pub predicted_seconds: Option<f64>,
    /// The same of the dense kernel, where the weights are ternary.
    pub predicted_dense_seconds: Option<f64>,
    /// Median time of one image on one thread.
    pub seconds: f64,
    /// The same of the dense kernel, where the weights are ternary.
    pub dense_seconds: Option<f64>,
}

/// What the weights of a layer, or of a network, cost.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ExplainedWeights {
    /// Number of weights.
    pub count: usize,
    /// How many of them are zero.
    pub zeros: usize,
    /// Products of a dense layer: weights times pixels, padding included.
    pub macs: u64,
    /// Additions that are left without the zeros: the other weights times
    /// pixels.
    pub additions: u64,
    /// Bytes of memory that the weights take as the kernel has packed them.
    pub packed_bytes: usize,
}

impl Explanation {
    /// Time of all steps.
    pub fn seconds(&self) -> f64 {
        self.steps.iter().map(|step| step.seconds).sum()
    }

    /// The same with the dense kernel for every layer with ternary weights.
    pub fn dense_seconds(&self) -> f64 {
        self.steps.iter().map(|step| step.dense_seconds.unwrap_or(step.seconds)).sum()
    }

    /// What the weights of all layers cost.
    pub fn weights(&self) -> ExplainedWeights {
        let layers = self.steps.iter().filter_map(|step| step.weights);
        layers.fold(ExplainedWeights::default(), |sum, layer| ExplainedWeights {
            count: sum.count + layer.count,
            zeros: sum.zeros + layer.zeros,
            macs: sum.macs + layer.macs,
            additions: sum.additions + layer.additions,
            packed_bytes: sum.packed_bytes + layer.packed_bytes,
        })
    }
}

/// Plans a network and runs one image of noise `runs` times, beside the same
/// network with dense kernels.
///
/// # Errors
/// As [`Model::with_precision`].
pub fn explain(
    network: &Network,
    precision: Precision,
    runs: usize,
) -> Result<Explanation, LoadError> {
    let network = fold_batch_norm(network);
    let dense = Model::folded(network.to_dense(), Precision::F32)?;
    let model = Model::folded(network.clone(), precision)?;
    let [times, dense_times] = measure([&model, &dense], runs.max(1));
    let shapes = network.graph().shapes().expect("a network's graph is valid");
    // Steps that bring values from one form to another have no dense ones beside them.
    let dense_steps = dense.plan().steps.iter().map(|step| (step.name.as_str(), step.op));
    let dense_times: BTreeMap<_, f64> = dense_steps.zip(dense_times).collect();
    let steps = model.plan().steps.iter().zip(times).map(|(step, seconds)| {
        let dense_seconds = dense_times.get(&(step.name.as_str(), step.op)).copied();
        let weight = network.tensor(&format!("{}.weight", step.name));
        let [input, output] = step_shapes(network.graph(), &shapes, step);
        let weights = step.kernel.weight_bytes().zip(weight).map(|(packed_bytes, weight)| {
            ExplainedWeights::new(weight, output.height * output.width, packed_bytes)
        });
        ExplainedStep {
            name: step.name.clone(),
            op: step.op,
            kernel: step.label.clone(),
            input,
            output,
            weights,
            reason: weights
                .zip(weight)
                .map(|(cost, weight)| cost.reason(is_ternary(&weight), step.kernel.is_ternary())),
            predicted_seconds: step.prediction.map(|times| times.seconds),
            predicted_dense_seconds: step
                .prediction
                .filter(|_| weight.is_some_and(|weight| is_ternary(&weight)))
                .map(|times| times.dense_seconds),
            seconds,
            dense_seconds: dense_seconds.filter(|_| weight.as_ref().is_some_and(is_ternary)),
        }
    });
    Ok(Explanation { steps: steps.collect() })
}

impl ExplainedWeights {
    fn new(weight: &Tensor, pixels: usize, packed_bytes: usize) -> Self {
        let (count, zeros) = (weight.numel(), weight.zeros());
        let times_pixels = |weights: usize| weights as u64 * pixels as u64;
        let (macs, additions) = (times_pixels(count), times_pixels(count - zeros));
        Self { count, zeros, macs, additions, packed_bytes }
    }

    /// Why weights that are ternary, or not, have a ternary kernel, or not.
    fn reason(&self, is_ternary: bool, has_ternary_kernel: bool) -> String {
        let zeros = 100.0 * self.zeros as f64 / self.count.max(1) as f64;
        let fewer = self.count as f64 / self.count.saturating_sub(self.zeros).max(1) as f64;
        match (is_ternary, has_ternary_kernel) {
            (false, _) => "f32 weights".to_owned(),
            (true, false) => "dense: no zeros".to_owned(),
            (true, true) => format!("{zeros:.0} % zeros: {fewer:.1} times fewer additions"),
        }
    }
}

fn is_ternary(tensor: &&Tensor) -> bool {
    matches!(tensor, Tensor::Ternary(_))
}

/// Shapes of a step's layer: first operand and output.
fn step_shapes(graph: &Graph, shapes: &[Shape], step: &Step) -> [Shape; 2] {
    let (id, node) = graph.find(&step.name).expect("a step is named after its node");
    let read = node.inputs.first().copied().filter(|_| !step.kernel.is_conversion());
    let input = read.unwrap_or(id);
    [input, id].map(|id| shapes[id.index()])
}

/// Median time of each step of two models that run in turn. The first run of
/// each warms up and does not count.
fn measure(models: [&Model; 2], runs: usize) -> [Vec<f64>; 2] {
    let image = noise(models[0].input_len());
    let mut sessions = models.map(Model::session);
    let mut times = models.map(|model| vec![Vec::with_capacity(runs); model.plan().steps.len()]);
    for run in 0..=runs {
        for (session, times) in sessions.iter_mut().zip(&mut times) {
            let record = |step: usize, seconds| {
                if run > 0 {
                    times[step].push(seconds);
                }
            };
            time_steps(session, &image, record).expect("the image is as long as the models say");
        }
    }
    times.map(|steps| steps.into_iter().map(|times| Spread::of(&times).median).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reasons() {
        let weights = |zeros| ExplainedWeights { count: 100, zeros, ..Default::default() };
        assert_eq!(weights(64).reason(true, true), "64 % zeros: 2.8 times fewer additions");
        assert_eq!(weights(0).reason(true, false), "dense: no zeros");
        assert_eq!(weights(0).reason(false, false), "f32 weights");
        assert_eq!(weights(100).reason(true, true), "100 % zeros: 100.0 times fewer additions");
    }
}
