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
use ec2t_format::graph::GraphError;
use ec2t_ops::loss::Loss;
use rand_chacha::ChaCha8Rng;

use crate::candle::CandleEngine;
use crate::cpu::CpuEngine;
use crate::error::QuantError;
use crate::session::Backend;
use crate::weights::Weights;

/// Computes losses, gradients and answers of a network.
///
/// The stages use it behind their loop; with it one can write another loop. What
/// becomes of the gradients is up to the caller:
///
/// ```
/// use ec2t_format::graph::{GraphBuilder, Shape};
/// use ec2t_quant::{Backend, Engine, Weights, initialize};
/// use rand_chacha::{ChaCha8Rng, rand_core::SeedableRng};
///
/// let mut g = GraphBuilder::new("tiny", Shape::new(1, 4, 4));
/// let x = g.conv("conv", g.input(), 8, 3, 1);
/// let x = g.batch_norm("bn", x);
/// let x = g.relu("relu", x);
/// let x = g.flatten("flatten", x);
/// g.linear("fc", x, 2);
/// let graph = g.finish()?;
///
/// let mut weights = Weights::from_network(&initialize(&graph, 7)?);
/// let mut engine = Engine::new(Backend::Cpu, &graph, &weights)?;
/// let mut rng = ChaCha8Rng::seed_from_u64(7); // for dropout
///
/// // Two images of 4×4 pixels, of the classes 0 and 1.
/// let (images, labels) = ([[0.0f32; 16], [1.0; 16]].concat(), [0, 1]);
/// let mut losses = Vec::new();
/// for _ in 0..10 {
///     losses.push(engine.train(&mut weights, &images, &labels, &mut rng)?.mean);
///     for (position, gradient) in engine.gradients().iter() {
///         let values = weights.get_mut(position).iter_mut();
///         values.zip(gradient).for_each(|(value, gradient)| *value -= 0.1 * gradient);
///     }
/// }
/// assert!(losses[9] < losses[0]);
/// let network = weights.to_network(&graph, Default::default())?;
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub struct Engine {
    kind: Kind,
    /// Values of an image and of the network's answer to it.
    input: usize,
    outputs: usize,
}

enum Kind {
    Cpu(Box<CpuEngine>),
    Candle(CandleEngine),
}

impl Engine {
    /// An engine for networks of this graph.
    ///
    /// # Errors
    /// Where the graph is malformed or has a layer that can't be trained, or the
    /// device can't be used.
    pub fn new(backend: Backend, graph: &Graph, weights: &Weights) -> Result<Self, QuantError> {
        match backend {
            Backend::Cpu => Self::of(Kind::Cpu(Box::new(CpuEngine::new(graph, weights)?)), graph),
            Backend::Cuda(ordinal) => Self::candle(graph, weights, Device::new_cuda(ordinal)?),
        }
    }

    /// Candle's, on any device that it knows.
    pub(crate) fn candle(
        graph: &Graph,
        weights: &Weights,
        device: Device,
    ) -> Result<Self, QuantError> {
        Self::of(Kind::Candle(CandleEngine::new(graph, weights, device)), graph)
    }

    fn of(kind: Kind, graph: &Graph) -> Result<Self, QuantError> {
        let outputs = graph.output_shape().map_err(GraphError::from)?.numel();
        Ok(Self { kind, input: graph.input.numel(), outputs })
    }

    /// Runs one batch forward and backward, and moves the running statistics of
    /// batch normalisation. `images` are `[N, C, H, W]`, with a class each; `rng`
    /// decides what dropout zeroes.
    ///
    /// # Errors
    /// Where images and labels do not fit each other or the network, or the
    /// device fails.
    pub fn train(
        &mut self,
        weights: &mut Weights,
        images: &[f32],
        labels: &[u32],
        rng: &mut ChaCha8Rng,
    ) -> Result<Loss, QuantError> {
        self.check(images, labels.len())?;
        if let Some(label) = labels.iter().find(|label| **label as usize >= self.outputs) {
            let outputs = self.outputs;
            return Err(QuantError::Data(format!("class {label} of a network with {outputs}")));
        }
        match &mut self.kind {
            Kind::Cpu(engine) => Ok(engine.train(weights, images, labels, rng)),
            Kind::Candle(engine) => engine.train(weights, images, labels, rng),
        }
    }

    /// Gradients of the last batch that was trained on.
    pub fn gradients(&mut self) -> &mut Gradients {
        match &mut self.kind {
            Kind::Cpu(engine) => engine.gradients(),
            Kind::Candle(engine) => engine.gradients(),
        }
    }

    /// Logits of the network in its evaluation form, `[N, classes]`, of N images.
    ///
    /// # Errors
    /// Where the images do not fit the network, or the device fails.
    pub fn logits(
        &mut self,
        weights: &Weights,
        images: &[f32],
        batch: usize,
    ) -> Result<Vec<f32>, QuantError> {
        self.check(images, batch)?;
        match &mut self.kind {
            Kind::Cpu(engine) => Ok(engine.logits(weights, images, batch)),
            Kind::Candle(engine) => engine.logits(weights, images, batch),
        }
    }

    fn check(&self, images: &[f32], batch: usize) -> Result<(), QuantError> {
        let (expected, found) = (batch * self.input, images.len());
        match batch > 0 && found == expected {
            true => Ok(()),
            false => Err(QuantError::Data(format!(
                "a batch of {batch} images has {expected} values, at least one image's; found {found}"
            ))),
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
pub struct Gradients(pub(crate) Vec<Option<Vec<f32>>>);

impl Gradients {
    /// Zeros for everything that gradients train.
    pub(crate) fn zeros(weights: &Weights) -> Self {
        let zeros = |(param, values): (&ec2t_format::graph::Param, &[f32])| {
            param.kind.is_trainable().then(|| vec![0.0; values.len()])
        };
        Self(weights.iter().map(zeros).collect())
    }

    /// That of the parameter at `position`.
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

    /// Every gradient there is, with its parameter's position.
    pub fn iter(&self) -> impl Iterator<Item = (usize, &[f32])> {
        let gradients = self.0.iter().enumerate();
        gradients.filter_map(|(position, gradient)| Some((position, gradient.as_deref()?)))
    }
}
