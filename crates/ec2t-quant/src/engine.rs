//! Where a training step is computed.
//!
//! | engine | is for |
//! |---|---|
//! | [`CpuEngine`] | the processor: our own operators and reverse pass |
//! | [`CandleEngine`] | other devices: candle's operators and its autograd |
//!
//! Both take images as `[N, C, H, W]` floats and leave the gradients of all
//! parameters on the host. The second also computes on the processor, slowly, and
//! is what the first is tested against.

use candle_core::Device;
use ec2t_format::Graph;
use ec2t_ops::loss::Loss;
use rand_chacha::ChaCha8Rng;

use crate::candle::CandleEngine;
use crate::cpu::CpuEngine;
use crate::error::QuantError;
use crate::session::Backend;
use crate::weights::Weights;

/// Computes losses, gradients and answers of a network.
pub(crate) enum Engine {
    Cpu(Box<CpuEngine>),
    Candle(CandleEngine),
}

impl Engine {
    pub(crate) fn new(
        backend: Backend,
        graph: &Graph,
        weights: &Weights,
    ) -> Result<Self, QuantError> {
        Ok(match backend {
            Backend::Cpu => Engine::Cpu(Box::new(CpuEngine::new(graph, weights)?)),
            Backend::Cuda(ordinal) => {
                let device = Device::new_cuda(ordinal)?;
                Engine::Candle(CandleEngine::new(graph, weights, device))
            }
        })
    }

    /// Runs one batch forward and backward, and moves the running statistics of
    /// batch normalisation. `rng` decides what dropout zeroes.
    pub(crate) fn train(
        &mut self,
        weights: &mut Weights,
        images: Vec<f32>,
        labels: &[u32],
        rng: &mut ChaCha8Rng,
    ) -> Result<Loss, QuantError> {
        match self {
            Engine::Cpu(engine) => Ok(engine.train(weights, &images, labels, rng)),
            Engine::Candle(engine) => engine.train(weights, images, labels, rng),
        }
    }

    /// Gradients of the last batch that was trained on.
    pub(crate) fn gradients(&mut self) -> &mut Gradients {
        match self {
            Engine::Cpu(engine) => engine.gradients(),
            Engine::Candle(engine) => engine.gradients(),
        }
    }

    /// Logits of the network in its evaluation form, `[N, classes]`.
    pub(crate) fn logits(
        &mut self,
        weights: &Weights,
        images: Vec<f32>,
        batch: usize,
    ) -> Result<Vec<f32>, QuantError> {
        match self {
            Engine::Cpu(engine) => Ok(engine.logits(weights, &images, batch)),
            Engine::Candle(engine) => engine.logits(weights, images, batch),
        }
    }
}

/// How many logits are largest at the label; of equal ones the first counts.
pub(crate) fn correct(logits: &[f32], labels: &[u32]) -> usize {
    let classes = logits.len().checked_div(labels.len()).unwrap_or_default().max(1);
    let largest = |row: &[f32]| {
        let better =
            |best: usize, (i, value): (usize, &f32)| if *value > row[best] { i } else { best };
        row.iter().enumerate().fold(0, better)
    };
    let rows = logits.chunks(classes).zip(labels);
    rows.filter(|(row, label)| largest(row) == **label as usize).count()
}

/// The gradient of every parameter, by position; none of running statistics.
#[derive(Clone, Debug)]
pub(crate) struct Gradients(pub(crate) Vec<Option<Vec<f32>>>);

impl Gradients {
    /// Zeros for everything that gradients train.
    pub(crate) fn zeros(weights: &Weights) -> Self {
        let zeros = |(param, values): (&ec2t_format::graph::Param, &[f32])| {
            param.kind.is_trainable().then(|| vec![0.0; values.len()])
        };
        Self(weights.iter().map(zeros).collect())
    }

    pub(crate) fn get_mut(&mut self, position: usize) -> Option<&mut Vec<f32>> {
        self.0.get_mut(position)?.as_mut()
    }

    /// Two different ones at once.
    pub(crate) fn pair_mut(&mut self, a: usize, b: usize) -> Option<[&mut Vec<f32>; 2]> {
        match self.0.get_disjoint_mut([a, b]) {
            Ok([Some(a), Some(b)]) => Some([a, b]),
            _ => None,
        }
    }

    /// Every gradient there is, with its position.
    pub(crate) fn iter(&self) -> impl Iterator<Item = (usize, &[f32])> {
        let gradients = self.0.iter().enumerate();
        gradients.filter_map(|(position, gradient)| Some((position, gradient.as_deref()?)))
    }
}
