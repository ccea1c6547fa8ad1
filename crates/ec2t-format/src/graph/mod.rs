//! A convolutional network as plain data.
//!
//! A [`Graph`] is a list of [`Node`]s in topological order. Node 0 is always
//! [`Op::Input`], the last node is the output, and every other node names the
//! earlier nodes that it reads. There is no code in a graph: everything that
//! trains, stores, runs or converts a network reads this one description.
//!
//! Parameters are not part of the graph. Each node *names* the tensors that it
//! needs ([`Graph::params`]); a [`Network`](crate::Network) holds them. Names
//! follow PyTorch: node `layer1.0.conv1` owns `layer1.0.conv1.weight`.

mod builder;
mod op;
mod param;
mod role;
mod shape;
mod validate;

use alloc::string::String;
use alloc::vec::Vec;

use serde::{Deserialize, Serialize};

pub use builder::GraphBuilder;
pub use op::{Activation, BatchNorm, Conv2d, Linear, Op, PadShortcut, Padding, Pool2d};
pub use param::{Param, ParamKind};
pub use role::Role;
pub(crate) use shape::output_shape;
pub use shape::{ConvGeometry, Shape, ShapeError};
pub use validate::GraphError;
pub(crate) use validate::{MAX_DIM, MAX_NAME_LEN, MAX_NODES, MAX_NUMEL};

/// Position of a node in [`Graph::nodes`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct NodeId(pub u32);

impl NodeId {
    /// The graph's input, always the first node.
    pub const INPUT: NodeId = NodeId(0);

    /// The position as an index into [`Graph::nodes`].
    pub fn index(self) -> usize {
        self.0 as usize
    }
}

/// One layer: an operation, its name, and the nodes that it reads.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Node {
    /// Unique name; the prefix of the names of the node's parameters.
    pub name: String,
    /// What the node computes.
    pub op: Op,
    /// The nodes that it reads, all of them earlier in the list.
    pub inputs: Vec<NodeId>,
}

/// How pixels become the network's input: `(pixel / 255 − mean) / std`.
///
/// `mean` and `std` have one value per channel, on the 0…1 scale.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Preprocess {
    /// Mean of each channel.
    pub mean: Vec<f32>,
    /// Standard deviation of each channel.
    pub std: Vec<f32>,
}

impl Preprocess {
    /// Leaves pixels at 0…1.
    pub fn none(channels: usize) -> Self {
        Self { mean: alloc::vec![0.0; channels], std: alloc::vec![1.0; channels] }
    }

    /// Brings pixels to −1…1.
    pub fn signed(channels: usize) -> Self {
        Self { mean: alloc::vec![0.5; channels], std: alloc::vec![0.5; channels] }
    }

    /// CIFAR-10 statistics of the EC2T reference: mean (125.3, 123.0, 113.9)
    /// and standard deviation (63.0, 62.1, 66.7), each divided by 255.
    pub fn cifar10() -> Self {
        Self {
            mean: alloc::vec![125.3 / 255.0, 123.0 / 255.0, 113.9 / 255.0],
            std: alloc::vec![63.0 / 255.0, 62.1 / 255.0, 66.7 / 255.0],
        }
    }

    /// ImageNet statistics as torchvision's models use them.
    pub fn imagenet() -> Self {
        Self { mean: alloc::vec![0.485, 0.456, 0.406], std: alloc::vec![0.229, 0.224, 0.225] }
    }
}

/// A network: its layers, its input and the names of its classes.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Graph {
    /// Name of the architecture, such as `resnet20`.
    pub name: String,
    /// Shape of one input image.
    pub input: Shape,
    /// How pixels become the input.
    pub preprocess: Preprocess,
    /// Class names in the order of the logits; empty where they are unknown.
    pub classes: Vec<String>,
    /// The layers in topological order; the first is [`Op::Input`].
    pub nodes: Vec<Node>,
}

impl Graph {
    /// The node at `id`, or `None` past the end.
    pub fn node(&self, id: NodeId) -> Option<&Node> {
        self.nodes.get(id.index())
    }

    /// The node with this name and its position.
    pub fn find(&self, name: &str) -> Option<(NodeId, &Node)> {
        let index = self.nodes.iter().position(|node| node.name == name)?;
        Some((NodeId(index as u32), &self.nodes[index]))
    }

    /// Every node with its position.
    pub fn iter(&self) -> impl Iterator<Item = (NodeId, &Node)> {
        (0u32..).map(NodeId).zip(&self.nodes)
    }
}
