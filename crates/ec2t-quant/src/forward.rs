//! A graph as a computation on candle tensors.

use candle_core::{DType, Device, Tensor, Var};
use ec2t_format::Graph;
use ec2t_format::graph::{Node, NodeId, Op};
use rand_chacha::ChaCha8Rng;

use crate::error::QuantError;
use crate::ops::{self, BatchStatistics};
use crate::weights::Weights;

/// Parameters on the device, ready to be differentiated.
pub(crate) struct Leaves(Vec<Var>);

impl Leaves {
    pub(crate) fn new(weights: &Weights, device: &Device) -> Result<Self, QuantError> {
        let leaf = |(position, param): (usize, &ec2t_format::graph::Param)| {
            Var::from_slice(weights.get(position), param.shape.as_slice(), device)
        };
        let leaves: candle_core::Result<Vec<Var>> =
            weights.params().iter().enumerate().map(leaf).collect();
        Ok(Self(leaves?))
    }
}

/// What a pass over a training batch gives.
pub(crate) struct TrainStep {
    /// Mean loss over the batch.
    pub(crate) loss: f64,
    /// Number of right answers.
    pub(crate) correct: usize,
    /// Gradient of every parameter that the loss depends on, by position.
    pub(crate) gradients: Vec<Option<Vec<f32>>>,
}

/// Runs one batch forward and backward, and moves the running statistics of
/// batch normalisation. `rng` decides what dropout zeroes.
pub(crate) fn train_step(
    graph: &Graph,
    weights: &mut Weights,
    images: &Tensor,
    labels: &[u32],
    rng: &mut ChaCha8Rng,
) -> Result<TrainStep, QuantError> {
    let leaves = Leaves::new(weights, images.device())?;
    let mut statistics = Vec::new();
    let mut mode = Mode::Train { rng, statistics: &mut statistics };
    let logits = forward(graph, weights, &leaves, images, &mut mode)?;
    let loss = ops::cross_entropy(&logits, &Tensor::new(labels, images.device())?)?;
    let grads = loss.backward()?;
    let host = |leaf: &Var| grads.get(leaf).map(|g| g.flatten_all()?.to_vec1()).transpose();
    let gradients: candle_core::Result<Vec<_>> = leaves.0.iter().map(host).collect();
    for (id, statistics) in statistics {
        if let Op::BatchNorm(norm) = &graph.nodes[id.index()].op {
            let running_mean = weights.first_of(id) + 2;
            let [mean, var] = weights.pair_mut(running_mean);
            statistics.update(norm, mean, var);
        }
    }
    Ok(TrainStep {
        loss: f64::from(loss.to_scalar::<f32>()?),
        correct: ops::correct(&logits, labels)?,
        gradients: gradients?,
    })
}

/// Number of right answers of the network in its evaluation form.
pub(crate) fn count_correct(
    graph: &Graph,
    weights: &Weights,
    leaves: &Leaves,
    images: &Tensor,
    labels: &[u32],
) -> Result<usize, QuantError> {
    let logits = forward(graph, weights, leaves, images, &mut Mode::Eval)?;
    Ok(ops::correct(&logits.detach(), labels)?)
}

/// How layers behave that differ between training and evaluation.
enum Mode<'a> {
    Train { rng: &'a mut ChaCha8Rng, statistics: &'a mut Vec<(NodeId, BatchStatistics)> },
    Eval,
}

fn forward(
    graph: &Graph,
    weights: &Weights,
    leaves: &Leaves,
    images: &Tensor,
    mode: &mut Mode,
) -> Result<Tensor, QuantError> {
    let mut outputs: Vec<Tensor> = Vec::with_capacity(graph.nodes.len());
    for (id, node) in graph.iter() {
        let params = leaves.0.get(weights.first_of(id)..).unwrap_or(&[]);
        let output = match node.op {
            Op::Input => images.clone(),
            _ => apply(id, node, params, &outputs, mode)
                .map_err(|e| e.context(format!("layer `{}`", node.name)))?,
        };
        outputs.push(output);
    }
    let logits = outputs.pop().ok_or_else(|| QuantError::Data("the graph is empty".into()))?;
    Ok(logits.flatten_from(1)?)
}

/// Output of one node; `params` starts with the node's own parameters.
fn apply(
    id: NodeId,
    node: &Node,
    params: &[Var],
    outputs: &[Tensor],
    mode: &mut Mode,
) -> candle_core::Result<Tensor> {
    let operand = |position: usize| &outputs[node.inputs[position].index()];
    let x = operand(0);
    match &node.op {
        Op::Input => Ok(x.clone()),
        Op::Conv2d(conv) => {
            let mut rest = params.iter();
            let mut next = || rest.next().expect("a convolution has the parameters it names");
            let mut y = ops::conv2d(conv, x, next(), node.inputs[0] != NodeId::INPUT)?;
            if conv.scale {
                y = y.broadcast_mul(&next().reshape((1, (), 1, 1))?)?;
            }
            if conv.bias {
                y = y.broadcast_add(&next().reshape((1, (), 1, 1))?)?;
            }
            Ok(y)
        }
        Op::Linear(linear) => {
            let y = x.flatten_from(1)?.matmul(&params[0].t()?)?;
            let y = if linear.bias { y.broadcast_add(&params[1])? } else { y };
            y.reshape(((), linear.out_features, 1, 1))
        }
        Op::BatchNorm(norm) => match mode {
            Mode::Train { statistics, .. } => {
                let (y, batch) = ops::batch_norm_train(norm, x, &params[0], &params[1])?;
                statistics.push((id, batch));
                Ok(y)
            }
            Mode::Eval => {
                let [weight, bias, mean, var] = [&params[0], &params[1], &params[2], &params[3]];
                ops::batch_norm_eval(norm, x, [mean, var], [weight, bias])
            }
        },
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

/// A batch as a tensor on the device.
pub(crate) fn to_tensor(
    images: Vec<f32>,
    [channels, height, width]: [usize; 3],
    device: &Device,
) -> Result<Tensor, QuantError> {
    let batch = images.len() / (channels * height * width);
    let tensor = Tensor::from_vec(images, (batch, channels, height, width), &Device::Cpu)?;
    Ok(tensor.to_device(device)?.to_dtype(DType::F32)?)
}
