//! Every way in which a network and an ONNX model can fail to become each other.

use ec2t_format::graph::GraphError;
use ec2t_format::network::NetworkError;
use prost::DecodeError;

/// A network that is no ONNX model, or the reverse.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum OnnxError {
    /// A model of more bytes than any reader of the format takes.
    #[error("the model has {bytes} bytes, ONNX allows at most {limit}", limit = i32::MAX)]
    TooLarge {
        /// Its length.
        bytes: usize,
    },
    /// The bytes are no protocol buffer of the kind expected.
    #[error("no ONNX model: {0}")]
    Decode(#[from] DecodeError),
    /// The bytes have groups, which no version of ONNX does.
    #[error("no ONNX model: a field at offset {offset} is of a kind that ONNX does not use")]
    Wire {
        /// Where the field is in the message that holds it.
        offset: usize,
    },
    /// More nodes, constants and settings than any real model has.
    #[error("more than {limit} nodes, constants and settings")]
    Crowded {
        /// The limit.
        limit: usize,
    },
    /// Something that every model has is not there or not of one kind.
    #[error("{what}: expected {expected}, found {found}")]
    Model {
        /// What it is.
        what: &'static str,
        /// What there should be.
        expected: &'static str,
        /// What there is.
        found: String,
    },
    /// A constant that contradicts itself, or whose values are not in the file.
    #[error("constant `{name}`: {reason}")]
    Constant {
        /// Its name.
        name: String,
        /// What is wrong with it.
        reason: String,
    },
    /// A node reads a value that no node before it computes.
    #[error("node `{node}`: no input, constant or earlier node is called `{value}`")]
    Value {
        /// Name of the node.
        node: String,
        /// The value that it reads.
        value: String,
    },
    /// A node computes what no layer does.
    #[error("node `{node}`: {operator} is not supported: {reason}")]
    Unsupported {
        /// Name of the node.
        node: String,
        /// What it computes.
        operator: String,
        /// What about it.
        reason: String,
    },
    /// The layers do not fit each other.
    #[error(transparent)]
    Graph(#[from] GraphError),
    /// The layers and their weights do not fit.
    #[error(transparent)]
    Network(#[from] NetworkError),
}
