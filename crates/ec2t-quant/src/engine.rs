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
use ec2t_format::graph::{GraphError, NodeId};
use ec2t_ops::loss::{Loss, Target, cross_entropy};
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
/// use ec2t_quant::{Backend, Engine, Target, Weights, initialize};
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
/// let (images, target) = ([[0.0f32; 16], [1.0; 16]].concat(), Target::labels(&[0, 1]));
/// let mut losses = Vec::new();
/// for _ in 0..10 {
///     losses.push(engine.train(&mut weights, &images, &target, &mut rng)?.mean);
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
    /// Of the loss, with respect to the answers.
    gradient: Vec<f32>,
}

enum Kind {
    Cpu(Box<CpuEngine>),
    Candle(Box<CandleEngine>),
}

impl Kind {
    fn forward(
        &mut self,
        weights: &mut Weights,
        images: &[f32],
        batch: usize,
        share: Option<f32>,
        rng: &mut ChaCha8Rng,
    ) -> Result<&[f32], QuantError> {
        match self {
            Kind::Cpu(engine) => Ok(engine.forward(weights, images, batch, share, rng)),
            Kind::Candle(engine) => engine.forward(weights, images, batch, share, rng),
        }
    }

    fn backward(&mut self, weights: &Weights, gradient: &[f32]) -> Result<(), QuantError> {
        match self {
            Kind::Cpu(engine) => engine.backward(weights, gradient),
            Kind::Candle(engine) => engine.backward(gradient),
        }
    }
}

impl Engine {
    /// An engine for networks of this graph.
    ///
    /// # Errors
    /// Where the graph is malformed, has a layer that can't be trained, or does not
    /// end in a vector, or the device can't be used.
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
        Self::of(Kind::Candle(Box::new(CandleEngine::new(graph, weights, device))), graph)
    }

    fn of(kind: Kind, graph: &Graph) -> Result<Self, QuantError> {
        let answer = graph.output_shape().map_err(GraphError::from)?;
        if answer.height * answer.width != 1 {
            let name = &graph.name;
            let reason = format!("expected answers of one pixel, {name} gives {answer}");
            return Err(QuantError::Data(reason));
        }
        let (input, outputs) = (graph.input.numel(), answer.channels);
        Ok(Self { kind, input, outputs, gradient: Vec::new() })
    }

    /// Runs one batch forward and backward, and moves the running statistics of
    /// batch normalisation. `images` are `[N, C, H, W]`; the loss is cross entropy
    /// with the target; `rng` decides what dropout zeroes.
    ///
    /// # Errors
    /// Where images and target do not fit each other or the network, or the
    /// device fails.
    pub fn train(
        &mut self,
        weights: &mut Weights,
        images: &[f32],
        target: &Target,
        rng: &mut ChaCha8Rng,
    ) -> Result<Loss, QuantError> {
        let labels = target.labels;
        self.check(images, labels.len())?;
        if let Some(class) = labels.iter().find(|class| **class as usize >= self.outputs) {
            let outputs = self.outputs;
            let reason = format!("expected classes below {outputs}, found {class}");
            return Err(QuantError::Data(reason));
        }
        let expected = labels.len() * self.outputs;
        if let Some(found) = target.teacher.map(|t| t.logits.len()).filter(|len| *len != expected) {
            let reason = format!("expected {expected} answers of the teacher, found {found}");
            return Err(QuantError::Data(reason));
        }
        in_pool(|| {
            let outputs = self.kind.forward(weights, images, labels.len(), None, rng)?;
            self.gradient.resize(outputs.len(), 0.0);
            let loss = cross_entropy(outputs, target, &mut self.gradient);
            self.kind.backward(weights, &self.gradient)?;
            Ok(loss)
        })
    }

    /// Runs N images forward in training form, and moves the running statistics of
    /// batch normalisation. Gives the network's answers, `[N, classes]`; for losses
    /// other than that of [`train`](Self::train), [`backward`](Self::backward)
    /// follows.
    ///
    /// # Errors
    /// Where the images do not fit the network, or the device fails.
    pub fn forward(
        &mut self,
        weights: &mut Weights,
        images: &[f32],
        batch: usize,
        rng: &mut ChaCha8Rng,
    ) -> Result<&[f32], QuantError> {
        self.check(images, batch)?;
        in_pool(|| self.kind.forward(weights, images, batch, None, rng))
    }

    /// Runs N images forward in training form, for the sake of the running statistics
    /// of batch normalisation: those of the batch get this share, from 0 to 1, in them,
    /// whatever the graph says.
    pub(crate) fn measure(
        &mut self,
        weights: &mut Weights,
        images: &[f32],
        batch: usize,
        share: f32,
        rng: &mut ChaCha8Rng,
    ) -> Result<(), QuantError> {
        self.check(images, batch)?;
        in_pool(|| self.kind.forward(weights, images, batch, Some(share), rng)).map(drop)
    }

    /// Computes the gradients of all parameters from that of the answers which
    /// [`forward`](Self::forward) gave; once for each time, with the same weights.
    ///
    /// # Errors
    /// Where no batch of this size has just run forward, or the device fails.
    pub fn backward(&mut self, weights: &Weights, gradient: &[f32]) -> Result<(), QuantError> {
        in_pool(|| self.kind.backward(weights, gradient))
    }

    /// Gradients of the last batch that ran backward.
    pub fn gradients(&mut self) -> &mut Gradients {
        match &mut self.kind {
            Kind::Cpu(engine) => engine.gradients(),
            Kind::Candle(engine) => engine.gradients(),
        }
    }

    /// The first node whose values, in a forward pass of training, are not all
    /// finite: where a loss that is not finite comes from.
    pub(crate) fn not_finite(
        &mut self,
        weights: &Weights,
        images: &[f32],
        batch: usize,
        rng: &mut ChaCha8Rng,
    ) -> Result<Option<NodeId>, QuantError> {
        match &mut self.kind {
            Kind::Cpu(engine) => Ok(engine.not_finite(weights, images, batch, rng)),
            Kind::Candle(engine) => engine.not_finite(weights, images, batch, rng),
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
    ) -> Result<&[f32], QuantError> {
        self.check(images, batch)?;
        in_pool(|| match &mut self.kind {
            Kind::Cpu(engine) => Ok(engine.logits(weights, images, batch)),
            Kind::Candle(engine) => engine.logits(weights, images, batch),
        })
    }

    fn check(&self, images: &[f32], batch: usize) -> Result<(), QuantError> {
        let (values, found) = (self.input, images.len());
        if batch == 0 {
            return Err(QuantError::Data("expected at least one image, found none".into()));
        }
        match found == batch * values {
            true => Ok(()),
            false => Err(QuantError::Data(format!(
                "expected {batch} images of {values} values each, found {found} values"
            ))),
        }
    }
}

/// Does work on a thread of rayon's pool. From outside of it, each of the hundred and
/// more parallel loops of a step would wake a thread and wait for it.
pub(crate) fn in_pool<T: Send>(work: impl FnOnce() -> T + Send) -> T {
    rayon::scope(|_| work())
}

/// The error of a gradient that belongs to no forward pass.
pub(crate) fn no_such_batch(expected: usize, found: usize) -> QuantError {
    QuantError::Data(format!("{expected} answers wait for their gradient, found one of {found}"))
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

#[cfg(test)]
mod tests {
    use super::*;
    use ec2t_format::graph::{GraphBuilder, Shape};
    use ec2t_ops::loss::Teacher;
    use rand_chacha::rand_core::SeedableRng;

    const IMAGES: [f32; 12] = [0.1, -0.4, 0.7, 1.3, -0.9, 0.2, 0.5, 0.8, -1.1, 0.0, 0.6, -0.3];
    const TARGET: Target = Target { labels: &[1, 0, 1], smoothing: 0.0, teacher: None };

    /// Both engines for a small network, with its weights.
    fn engines() -> [(Engine, Weights); 2] {
        let mut g = GraphBuilder::new("t", Shape::new(1, 2, 2));
        let x = g.conv("conv", g.input(), 3, 3, 1);
        let x = g.batch_norm("bn", x);
        let x = g.relu("relu", x);
        let x = g.flatten("flatten", x);
        g.linear("fc", x, 2);
        let graph = g.finish().unwrap();
        let weights = Weights::from_network(&crate::initialize(&graph, 1).unwrap());
        let cpu = Engine::new(Backend::Cpu, &graph, &weights).unwrap();
        let candle = Engine::candle(&graph, &weights, Device::Cpu).unwrap();
        [(cpu, weights.clone()), (candle, weights)]
    }

    fn rng() -> ChaCha8Rng {
        ChaCha8Rng::seed_from_u64(1)
    }

    #[test]
    fn a_loss_of_the_callers_own_trains_too() {
        for ((mut engine, mut weights), (mut other, mut others)) in
            engines().into_iter().zip(engines())
        {
            let loss = other.train(&mut others, &IMAGES, &TARGET, &mut rng()).unwrap();

            // One batch that goes no further leaves no trace but in running statistics.
            let mut unused = weights.clone();
            engine.forward(&mut unused, &IMAGES[..8], 2, &mut rng()).unwrap();
            let answers = engine.forward(&mut weights, &IMAGES, 3, &mut rng()).unwrap();
            let mut gradient = vec![0.0; 6];
            assert_eq!(cross_entropy(answers, &TARGET, &mut gradient), loss);
            engine.backward(&weights, &gradient).unwrap();
            assert!(engine.gradients().iter().eq(other.gradients().iter()));
            assert!(weights.iter().eq(others.iter()), "running statistics");
        }
    }

    #[test]
    fn a_gradient_needs_a_forward_pass() {
        for (mut engine, mut weights) in engines() {
            let mut refused = |engine: &mut Engine, words: &str| {
                let error = engine.backward(&weights.clone(), &[0.0; 6]).unwrap_err().to_string();
                assert!(error.contains(words), "{error}");
                engine.forward(&mut weights, &IMAGES[..8], 2, &mut rng()).unwrap();
            };
            refused(&mut engine, "0 answers wait for their gradient, found one of 6");
            refused(&mut engine, "4 answers wait for their gradient, found one of 6");
            engine.backward(&weights, &[0.0; 4]).unwrap();
            assert!(engine.backward(&weights, &[0.0; 4]).is_err(), "twice");
        }
    }

    #[test]
    fn batches_that_do_not_fit_are_refused() {
        for (mut engine, mut weights) in engines() {
            let mut refused = |images: &[f32], target: &Target, words: &str| {
                let result = engine.train(&mut weights, images, target, &mut rng());
                let error = result.unwrap_err().to_string();
                assert!(error.contains(words), "{error}");
            };
            let two = Target::labels(&[0, 1]);
            refused(&IMAGES, &two, "2 images of 4 values each, found 12 values");
            refused(&[], &Target::labels(&[]), "at least one image");
            let three = Target::labels(&[0, 1, 2]);
            refused(&IMAGES, &three, "expected classes below 2, found 2");
            let teacher = Some(Teacher { logits: &[0.0; 4], share: 0.5, temperature: 1.0 });
            let taught = Target { teacher, ..TARGET };
            refused(&IMAGES, &taught, "expected 6 answers of the teacher, found 4");
        }
    }
}
