//! Growing a trained network into a wider and deeper one that computes the same.
//!
//! Width grows by copies (Net2WiderNet; Chen, Goodfellow and Shlens 2016): a channel
//! of the larger network is a copy of one of the smaller, and what reads a channel
//! that has several copies shares its weight out between them. Depth grows by residual
//! blocks whose last normalisation has scale and shift 0, so that the sum is what the
//! shortcut gives (Goyal et al. 2017).
//!
//! Equal copies with equal shares would have equal gradients, and stay equal. So the
//! shares are drawn at random, anew for each output, and then add up to 1: the copies
//! part in the first step, and no noise is added to what the network computes.
//!
//! | module | what it does |
//! |---|---|
//! | `matching` | which layers of the larger network compute what the smaller has, and which blocks are new |
//! | `channels` | which channel each channel is a copy of |
//! | `shares` | the random shares |
//!
//! Both networks are found to agree edge by edge before anything is copied; nothing
//! depends on the name of an architecture. Layers are matched by their own names, so
//! families that number their blocks through, such as MobileNetV2, grow in width only.

mod channels;
mod matching;
mod shares;

use std::collections::BTreeMap;

use ec2t_format::graph::{GraphError, Param, ParamKind, Shape};
use ec2t_format::network::NetworkError;
use ec2t_format::tensor::TensorError;
use ec2t_format::{DenseTensor, Network, NodeId, Op, Tensor};

use channels::Copies;
use matching::Matching;
use shares::Shares;

/// Networks of which one is not the other, grown.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum GrowError {
    /// A graph is malformed.
    #[error(transparent)]
    Graph(#[from] GraphError),
    /// The images are not of one shape.
    #[error("the smaller network takes images of {small}, the larger of {large}")]
    Input {
        /// Images of the smaller network.
        small: Shape,
        /// Images of the larger network.
        large: Shape,
    },
    /// Layers of one name that differ in more than their width.
    #[error("layer `{0}` is another operation, or reads another layer, in the smaller network")]
    Unlike(String),
    /// The larger network's last layer is not the smaller's.
    #[error(
        "layer `{0}` gives nothing that the smaller network has; \
         added layers must be residual blocks that end in batch normalisation"
    )]
    Unmatched(String),
    /// A layer has fewer channels than in the smaller network, or not a whole set of copies.
    #[error(
        "layer `{layer}`: {large} channels can't be copies of {small}, as the layers that it is \
         added to need them"
    )]
    Channels {
        /// Name of the layer.
        layer: String,
        /// Its channels in the smaller network.
        small: usize,
        /// Its channels in the larger network.
        large: usize,
    },
    /// A tensor could not be made.
    #[error(transparent)]
    Tensor(#[from] TensorError),
    /// The tensors do not fit the larger network.
    #[error(transparent)]
    Network(#[from] NetworkError),
}

/// The larger network with weights that make it compute what the smaller one does.
///
/// `large` gives the layers, and the weights inside of added blocks. The copies of a
/// channel differ in their shares by up to `1 + spread` to `1 − spread`; `spread` is
/// from 0 to below 1, and `seed` decides the shares.
///
/// ```
/// use ec2t_scale::{ArchOptions, Scaling, build, grow};
/// # use ec2t_format::{DenseTensor, Graph, Network, Tensor};
/// # fn ones(graph: Graph) -> Network {
/// #     let tensors = graph.params().into_iter().map(|param| {
/// #         let ones = vec![1.0; param.numel()];
/// #         (param.name, Tensor::from(DenseTensor::new(param.shape, ones).unwrap()))
/// #     });
/// #     let tensors = tensors.collect();
/// #     Network::new(graph, tensors).unwrap()
/// # }
/// let small = ones(build("resnet20", &ArchOptions::default())?);
/// let scaling = Scaling { depth: 1.4, width: 1.5, ..Scaling::default() };
/// let large = ones(build("resnet20", &ArchOptions { scaling, ..ArchOptions::default() })?);
/// let grown = grow(&small, &large, 0.5, 1)?;
/// let values = |name: &str| grown.tensor(name).unwrap().to_f32();
/// assert_eq!(values("layer3.4.bn2.weight"), [0.0; 96]);
/// // 16 channels have become 24: the first eight have two copies each.
/// let first = &values("layer1.0.conv1.weight")[..24 * 9];
/// assert_eq!((first[8 * 9], (first[0] + first[16 * 9])), (1.0, 1.0));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
///
/// # Errors
/// Where the larger network is not the smaller one with more channels and more blocks.
pub fn grow(
    small: &Network,
    large: &Network,
    spread: f32,
    seed: u64,
) -> Result<Network, GrowError> {
    let (from, to) = (small.graph(), large.graph());
    if from.input != to.input {
        return Err(GrowError::Input { small: from.input, large: to.input });
    }
    let matching = Matching::new(from, to)?;
    let copies = Copies::new(from, to, &matching)?;
    let surgery = Surgery { small, large, matching, copies };
    let mut shares = Shares::new(spread, seed);
    let mut tensors = BTreeMap::new();
    for param in to.params() {
        let values = surgery.values(&param, &mut shares);
        tensors.insert(param.name, DenseTensor::new(param.shape, values)?.into());
    }
    Ok(Network::new(to.clone(), tensors)?)
}

struct Surgery<'a> {
    small: &'a Network,
    large: &'a Network,
    matching: Matching,
    copies: Copies,
}

impl Surgery<'_> {
    /// The values of a tensor of the larger network.
    fn values(&self, param: &Param, shares: &mut Shares) -> Vec<f32> {
        let is_closed = self.matching.closed.contains(&param.node);
        let trained = matches!(param.kind, ParamKind::NormWeight | ParamKind::NormBias);
        if is_closed && trained {
            return vec![0.0; param.numel()];
        }
        match self.small.tensor(&param.name) {
            None => self.large.tensor(&param.name).map(Tensor::to_f32).unwrap_or_default(),
            Some(tensor) => self.widened(param, tensor, shares),
        }
    }

    /// The copies of a tensor's values.
    fn widened(&self, param: &Param, tensor: &Tensor, shares: &mut Shares) -> Vec<f32> {
        let outputs = self.copies.of(param.node);
        let values = tensor.to_f32();
        let row = values.len() / tensor.shape()[0];
        let rows = outputs.iter().map(|&output| &values[output * row..][..row]);
        match self.shared_input(param) {
            None => rows.flatten().copied().collect(),
            Some(input) => {
                let inputs = self.copies.of(input);
                let taps = row / tensor.shape()[1];
                rows.flat_map(|row| widened_row(row, inputs, taps, &shares.draw(inputs))).collect()
            }
        }
    }

    /// The node whose channels a weight sums over; none where it has one value, or one
    /// kernel, for each channel.
    fn shared_input(&self, param: &Param) -> Option<NodeId> {
        let node = &self.large.graph().nodes[param.node.index()];
        let sums = match &node.op {
            Op::Conv2d(conv) => conv.groups == 1,
            Op::Linear(_) => true,
            _ => false,
        };
        (sums && param.kind == ParamKind::Weight).then(|| node.inputs[0])
    }
}

/// The weights of one output: each input's kernel times the share of that copy.
fn widened_row(row: &[f32], inputs: &[usize], taps: usize, shares: &[f32]) -> Vec<f32> {
    let kernel = |(&input, &share): (&usize, &f32)| {
        row[input * taps..][..taps].iter().map(move |weight| weight * share)
    };
    inputs.iter().zip(shares).flat_map(kernel).collect()
}
