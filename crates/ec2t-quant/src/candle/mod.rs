//! Training through candle: its operators and its autograd.
//!
//! Activations are NCHW; a vector of n features is `[N, n, 1, 1]`, and logits
//! are `[N, classes]`.

mod ops;

use candle_core::{Device, Error, Tensor, Var};
use ec2t_format::Graph;
use ec2t_format::graph::{Node, NodeId, Op, Param, ParamKind, Shape};
use rand_chacha::ChaCha8Rng;

use self::ops::BatchStatistics;
use crate::engine::{Gradients, no_such_batch};
use crate::error::QuantError;
use crate::weights::Weights;

/// Parameters on the device, in the graph's order.
pub(crate) struct Leaves(Vec<Leaf>);

struct Leaf {
    node: NodeId,
    kind: ParamKind,
    tensor: Tensor,
}

impl Leaves {
    /// For evaluation: nothing is kept for a backward pass.
    pub(crate) fn constants(weights: &Weights, device: &Device) -> candle_core::Result<Self> {
        Self::new(weights, |values, shape, _| Tensor::from_slice(values, shape, device))
    }

    /// For training: everything that gradients train is a variable.
    fn variables(weights: &Weights, device: &Device) -> candle_core::Result<Self> {
        Self::new(weights, |values, shape, kind| match kind.is_trainable() {
            true => Ok(Var::from_slice(values, shape, device)?.into_inner()),
            false => Tensor::from_slice(values, shape, device),
        })
    }

    fn new(
        weights: &Weights,
        tensor: impl Fn(&[f32], &[usize], ParamKind) -> candle_core::Result<Tensor>,
    ) -> candle_core::Result<Self> {
        let leaf = |(param, values): (&Param, &[f32])| {
            let tensor = tensor(values, &param.shape, param.kind)?;
            Ok(Leaf { node: param.node, kind: param.kind, tensor })
        };
        weights.iter().map(leaf).collect::<candle_core::Result<_>>().map(Self)
    }

    /// Those of one node; parameters of a node stand together.
    fn of(&self, node: NodeId) -> &[Leaf] {
        let start = self.0.partition_point(|leaf| leaf.node < node);
        let end = self.0.partition_point(|leaf| leaf.node <= node);
        &self.0[start..end]
    }
}

/// Computes training steps on any device that candle knows.
pub(crate) struct CandleEngine {
    graph: Graph,
    device: Device,
    gradients: Gradients,
    /// The forward pass that may go backward.
    run: Option<Run>,
    /// What the last evaluation gave, on the host.
    logits: Vec<f32>,
}

/// A forward pass, with what its backward pass needs.
struct Run {
    leaves: Leaves,
    answers: Tensor,
    /// The answers, on the host.
    values: Vec<f32>,
}

impl CandleEngine {
    pub(crate) fn new(graph: &Graph, weights: &Weights, device: Device) -> Self {
        let (graph, gradients) = (graph.clone(), Gradients::zeros(weights));
        Self { graph, device, gradients, run: None, logits: Vec::new() }
    }

    /// See [`Engine::forward`](crate::engine::Engine::forward), and for the share of
    /// the batch in running statistics [`Engine::measure`](crate::engine::Engine).
    pub(crate) fn forward(
        &mut self,
        weights: &mut Weights,
        images: &[f32],
        batch: usize,
        share: Option<f32>,
        rng: &mut ChaCha8Rng,
    ) -> Result<&[f32], QuantError> {
        let images = self.tensor(images, batch)?;
        let leaves = Leaves::variables(weights, &self.device)?;
        let mut statistics = Vec::new();
        let mut mode = Mode::Train { rng, statistics: &mut statistics };
        let answers = forward(&self.graph, &leaves, &images, &mut mode)?;
        for (node, batch) in statistics {
            if let Some([mean, var]) = weights.running_statistics_mut(node) {
                batch.update(mean, var, share);
            }
        }
        let values = answers.flatten_all()?.to_vec1()?;
        let run = self.run.insert(Run { leaves, answers, values });
        Ok(&run.values)
    }

    /// See [`Engine::backward`](crate::engine::Engine::backward).
    pub(crate) fn backward(&mut self, gradient: &[f32]) -> Result<(), QuantError> {
        let expected = self.run.as_ref().map_or(0, |run| run.values.len());
        let Some(Run { leaves, answers, .. }) = self.run.take_if(|_| expected == gradient.len())
        else {
            return Err(no_such_batch(expected, gradient.len()));
        };
        let gradient = Tensor::from_slice(gradient, answers.shape(), &self.device)?;
        // Its gradient is what the chain rule asks for.
        let grads = (answers * gradient)?.sum_all()?.backward()?;
        for (position, leaf) in leaves.0.iter().enumerate() {
            let Some(place) = self.gradients.get_mut(position) else { continue };
            match grads.get(&leaf.tensor) {
                Some(gradient) => *place = gradient.flatten_all()?.to_vec1()?,
                None => place.fill(0.0),
            }
        }
        Ok(())
    }

    /// Gradients of the last batch.
    pub(crate) fn gradients(&mut self) -> &mut Gradients {
        &mut self.gradients
    }

    /// See [`Engine::not_finite`](crate::engine::Engine::not_finite).
    pub(crate) fn not_finite(
        &self,
        weights: &Weights,
        images: &[f32],
        batch: usize,
        rng: &mut ChaCha8Rng,
    ) -> Result<Option<NodeId>, QuantError> {
        let images = self.tensor(images, batch)?;
        let leaves = Leaves::constants(weights, &self.device)?;
        let mut mode = Mode::Train { rng, statistics: &mut Vec::new() };
        let outputs = outputs(&self.graph, &leaves, &images, &mut mode)?;
        for ((node, _), output) in self.graph.iter().zip(outputs) {
            let values = output.flatten_all()?.to_vec1::<f32>()?;
            if !values.iter().all(|value| value.is_finite()) {
                return Ok(Some(node));
            }
        }
        Ok(None)
    }

    /// See [`Engine::logits`](crate::engine::Engine::logits).
    pub(crate) fn logits(
        &mut self,
        weights: &Weights,
        images: &[f32],
        batch: usize,
    ) -> Result<&[f32], QuantError> {
        let images = self.tensor(images, batch)?;
        let leaves = Leaves::constants(weights, &self.device)?;
        let logits = forward(&self.graph, &leaves, &images, &mut Mode::Eval)?;
        self.logits = logits.flatten_all()?.to_vec1()?;
        Ok(&self.logits)
    }

    fn tensor(&self, images: &[f32], batch: usize) -> Result<Tensor, QuantError> {
        let Shape { channels, height, width } = self.graph.input;
        Ok(Tensor::from_slice(images, (batch, channels, height, width), &self.device)?)
    }
}

/// How layers behave that differ between training and evaluation.
enum Mode<'a> {
    Train { rng: &'a mut ChaCha8Rng, statistics: &'a mut Vec<(NodeId, BatchStatistics)> },
    Eval,
}

/// The logits.
fn forward(
    graph: &Graph,
    leaves: &Leaves,
    images: &Tensor,
    mode: &mut Mode,
) -> Result<Tensor, QuantError> {
    let logits = outputs(graph, leaves, images, mode)?.pop();
    let logits = logits.ok_or_else(|| QuantError::Data("the graph is empty".into()))?;
    Ok(logits.flatten_from(1)?)
}

/// The output of every node.
fn outputs(
    graph: &Graph,
    leaves: &Leaves,
    images: &Tensor,
    mode: &mut Mode,
) -> Result<Vec<Tensor>, QuantError> {
    let mut outputs: Vec<Tensor> = Vec::with_capacity(graph.nodes.len());
    for (id, node) in graph.iter() {
        let output = apply(id, node, leaves.of(id), images, &outputs, mode);
        outputs.push(output.map_err(|e| e.context(format!("layer `{}`", node.name)))?);
    }
    Ok(outputs)
}

/// Output of one node; the one that has no inputs reads the images.
fn apply(
    id: NodeId,
    node: &Node,
    leaves: &[Leaf],
    images: &Tensor,
    outputs: &[Tensor],
    mode: &mut Mode,
) -> candle_core::Result<Tensor> {
    let operand = |position: usize| {
        node.inputs.get(position).map_or(images, |input: &NodeId| &outputs[input.index()])
    };
    let param = |kind: ParamKind| {
        let leaf = leaves.iter().find(|leaf| leaf.kind == kind);
        leaf.map(|leaf| &leaf.tensor).ok_or_else(|| Error::Msg(format!("has no {kind:?}")))
    };
    let x = operand(0);
    match &node.op {
        Op::Input => Ok(x.clone()),
        Op::Conv2d(conv) => {
            let mut y = ops::conv2d(conv, x, param(ParamKind::Weight)?)?;
            if conv.scale {
                y = y.broadcast_mul(&param(ParamKind::Scale)?.reshape((1, (), 1, 1))?)?;
            }
            if conv.bias {
                y = y.broadcast_add(&param(ParamKind::Bias)?.reshape((1, (), 1, 1))?)?;
            }
            Ok(y)
        }
        Op::Linear(linear) => {
            let mut y = x.flatten_from(1)?.matmul(&param(ParamKind::Weight)?.t()?)?;
            if linear.bias {
                y = y.broadcast_add(param(ParamKind::Bias)?)?;
            }
            y.reshape(((), linear.out_features, 1, 1))
        }
        Op::BatchNorm(norm) => {
            let (weight, bias) = (param(ParamKind::NormWeight)?, param(ParamKind::NormBias)?);
            match mode {
                Mode::Train { statistics, .. } => {
                    let (y, batch) = ops::batch_norm_train(norm, x, weight, bias)?;
                    statistics.push((id, batch));
                    Ok(y)
                }
                Mode::Eval => {
                    let (mean, var) =
                        (param(ParamKind::RunningMean)?, param(ParamKind::RunningVar)?);
                    ops::batch_norm_eval(norm, x, [mean, var], [weight, bias])
                }
            }
        }
        Op::Activation(kind) => ops::activation(*kind, x),
        Op::Add => x + operand(1),
        Op::Multiply => x.broadcast_mul(operand(1)),
        Op::MaxPool(pool) => ops::max_pool(pool, x),
        Op::AvgPool(pool) => ops::avg_pool(pool, x),
        Op::GlobalAvgPool => ops::global_avg_pool(x),
        Op::PadShortcut(pad) => ops::pad_shortcut(pad, x),
        Op::Dropout { p } => match mode {
            Mode::Train { rng, .. } if *p > 0.0 => ops::dropout(x, *p, rng),
            _ => Ok(x.clone()),
        },
        Op::Flatten => x.reshape((x.dim(0)?, (), 1, 1)),
    }
}
