//! Checks that a graph is well formed before anybody relies on it.

use alloc::collections::BTreeSet;
use alloc::format;
use alloc::string::{String, ToString};

use super::{Graph, Node, NodeId, Op, ShapeError};

/// Largest value of any dimension; keeps every product of two in 64 bits.
pub(crate) const MAX_DIM: usize = 1 << 24;
/// Largest number of values in one tensor or activation.
pub(crate) const MAX_NUMEL: usize = 1 << 31;
/// Largest number of nodes.
pub(crate) const MAX_NODES: usize = 1 << 14;
/// Longest name of a graph, node or class, in bytes.
pub(crate) const MAX_NAME_LEN: usize = 1 << 10;

/// A graph that breaks one of its rules.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum GraphError {
    /// The first node is not the input, or another one is.
    #[error("layer `{0}`: exactly the first layer must be the input")]
    MisplacedInput(String),
    /// Two nodes share a name, or a name is empty.
    #[error("layer name `{0}` is empty or used twice")]
    BadName(String),
    /// The name of the graph, a node or a class is too long.
    #[error("name `{start}…` has {found} bytes, at most {MAX_NAME_LEN} are allowed")]
    LongName {
        /// How the name starts.
        start: String,
        /// Its length.
        found: usize,
    },
    /// There are too many nodes.
    #[error("{found} layers, at most {MAX_NODES} are allowed")]
    TooManyNodes {
        /// Number of nodes.
        found: usize,
    },
    /// A node reads too few or too many others, or one that comes later.
    #[error("layer `{node}`: {reason}")]
    BadEdge {
        /// Name of the node.
        node: String,
        /// What was expected and what was found.
        reason: String,
    },
    /// A node's own numbers contradict each other or exceed the limits.
    #[error("layer `{node}`: {reason}")]
    BadOp {
        /// Name of the node.
        node: String,
        /// What was expected and what was found.
        reason: String,
    },
    /// Shapes do not fit along an edge.
    #[error(transparent)]
    Shape(#[from] ShapeError),
    /// Preprocessing does not have one mean and deviation per channel.
    #[error("preprocessing: expected {expected} finite means and positive deviations")]
    Preprocess {
        /// Channels of the input.
        expected: usize,
    },
    /// The number of class names differs from that of the outputs.
    #[error("{classes} class names for {outputs} outputs")]
    Classes {
        /// Names given.
        classes: usize,
        /// Outputs of the last layer.
        outputs: usize,
    },
}

impl Op {
    /// How many nodes this operation reads.
    pub fn arity(&self) -> usize {
        match self {
            Op::Input => 0,
            Op::Add | Op::Multiply => 2,
            _ => 1,
        }
    }

    /// Checks the operation's own numbers.
    fn check(&self) -> Result<(), String> {
        let within = |what: &str, values: &[usize], low: usize| match values
            .iter()
            .find(|&&v| v < low || v > MAX_DIM)
        {
            Some(v) => Err(format!("{what} is {v}, allowed are {low} to {MAX_DIM}")),
            None => Ok(()),
        };
        match self {
            Op::Conv2d(conv) => {
                within("channels", &[conv.in_channels, conv.out_channels, conv.groups], 1)?;
                within("kernel, stride or dilation", &conv.kernel, 1)?;
                within("kernel, stride or dilation", &conv.stride, 1)?;
                within("kernel, stride or dilation", &conv.dilation, 1)?;
                if let super::Padding::Explicit(pads) = conv.padding {
                    within("padding", &pads, 0)?;
                }
                if conv.in_channels % conv.groups != 0 || conv.out_channels % conv.groups != 0 {
                    return Err(format!(
                        "{} groups do not divide {} input and {} output channels",
                        conv.groups, conv.in_channels, conv.out_channels
                    ));
                }
                Ok(())
            }
            Op::Linear(linear) => within("features", &[linear.in_features, linear.out_features], 1),
            Op::BatchNorm(norm) => {
                within("channels", &[norm.channels], 1)?;
                match norm.eps.is_finite() && norm.eps >= 0.0 && norm.momentum.is_finite() {
                    true => Ok(()),
                    false => Err(format!(
                        "eps {} or momentum {} is out of range",
                        norm.eps, norm.momentum
                    )),
                }
            }
            Op::MaxPool(pool) | Op::AvgPool(pool) => {
                within("kernel or stride", &pool.kernel, 1)?;
                within("kernel or stride", &pool.stride, 1)?;
                let [kh, kw] = pool.kernel;
                let [top, left, bottom, right] = pool.padding;
                match top.max(bottom) < kh && left.max(right) < kw {
                    true => Ok(()),
                    false => Err("padding reaches past the window".to_string()),
                }
            }
            Op::PadShortcut(pad) => {
                within("channels or stride", &[pad.stride, pad.out_channels], 1)
            }
            Op::Dropout { p } => match (0.0..1.0).contains(p) {
                true => Ok(()),
                false => Err(format!("dropout probability {p} is not in 0..1")),
            },
            _ => Ok(()),
        }
    }
}

impl Graph {
    /// Checks every rule of a graph: names, edges, numbers, shapes, limits.
    ///
    /// # Errors
    /// The first rule that is broken, with the layer that breaks it.
    pub fn validate(&self) -> Result<(), GraphError> {
        self.check_limits()?;
        let mut names = BTreeSet::new();
        for (id, node) in self.iter() {
            if (node.op == Op::Input) != (id == NodeId::INPUT) {
                return Err(GraphError::MisplacedInput(node.name.clone()));
            }
            if node.name.is_empty() || !names.insert(node.name.as_str()) {
                return Err(GraphError::BadName(node.name.clone()));
            }
            check_edges(id, node)?;
            node.op
                .check()
                .map_err(|reason| GraphError::BadOp { node: node.name.clone(), reason })?;
        }
        if self.nodes.is_empty() {
            return Err(GraphError::MisplacedInput(self.name.clone()));
        }
        self.check_sizes()?;
        self.check_labels()
    }

    fn check_limits(&self) -> Result<(), GraphError> {
        if self.nodes.len() > MAX_NODES {
            return Err(GraphError::TooManyNodes { found: self.nodes.len() });
        }
        let nodes = self.nodes.iter().map(|node| &node.name);
        let mut names = nodes.chain(&self.classes).chain([&self.name]);
        match names.find(|name| name.len() > MAX_NAME_LEN) {
            Some(name) => {
                let start = name.chars().take(32).collect();
                Err(GraphError::LongName { start, found: name.len() })
            }
            None => Ok(()),
        }
    }

    fn check_sizes(&self) -> Result<(), GraphError> {
        let shapes = self.shapes()?;
        let too_large = |node: &Node, what: String| GraphError::BadOp {
            node: node.name.clone(),
            reason: format!("{what} is empty or exceeds {MAX_NUMEL} values"),
        };
        for ((id, node), shape) in self.iter().zip(&shapes) {
            if shape.numel() == 0 || shape.numel() > MAX_NUMEL {
                return Err(too_large(node, format!("output {shape}")));
            }
            for param in node.params(id) {
                let numel = param.shape.iter().try_fold(1usize, |n, &dim| n.checked_mul(dim));
                if numel.is_none_or(|n| n > MAX_NUMEL) {
                    return Err(too_large(node, param.name));
                }
            }
        }
        Ok(())
    }

    fn check_labels(&self) -> Result<(), GraphError> {
        let Preprocessed { means, stds } = Preprocessed::of(self);
        if means != self.input.channels || stds != self.input.channels {
            return Err(GraphError::Preprocess { expected: self.input.channels });
        }
        let outputs = self.output_shape()?.numel();
        if !self.classes.is_empty() && self.classes.len() != outputs {
            return Err(GraphError::Classes { classes: self.classes.len(), outputs });
        }
        Ok(())
    }
}

/// How many usable means and deviations the preprocessing has.
struct Preprocessed {
    means: usize,
    stds: usize,
}

impl Preprocessed {
    fn of(graph: &Graph) -> Self {
        let prep = &graph.preprocess;
        let usable = |values: &[f32], ok: fn(&f32) -> bool| match values.iter().all(ok) {
            true => values.len(),
            false => usize::MAX,
        };
        Self {
            means: usable(&prep.mean, |v| v.is_finite()),
            stds: usable(&prep.std, |v| v.is_finite() && *v > 0.0),
        }
    }
}

fn check_edges(id: NodeId, node: &Node) -> Result<(), GraphError> {
    let bad = |reason: String| GraphError::BadEdge { node: node.name.clone(), reason };
    if node.inputs.len() != node.op.arity() {
        return Err(bad(format!(
            "expected {} inputs, found {}",
            node.op.arity(),
            node.inputs.len()
        )));
    }
    match node.inputs.iter().find(|input| **input >= id) {
        Some(input) => Err(bad(format!("reads node {}, which does not come before it", input.0))),
        None => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::super::{GraphBuilder, Shape};
    use super::*;

    fn small() -> Graph {
        let mut g = GraphBuilder::new("t", Shape::new(1, 4, 4));
        let x = g.conv("c", g.input(), 2, 3, 1);
        let x = g.relu("r", x);
        let x = g.global_avg_pool("p", x);
        let x = g.flatten("f", x);
        g.linear("l", x, 3);
        g.finish().unwrap()
    }

    #[test]
    fn a_built_graph_is_valid() {
        assert_eq!(small().validate(), Ok(()));
    }

    #[test]
    fn each_broken_rule_is_named() {
        let mut forward = small();
        forward.nodes[1].inputs[0] = NodeId(2);
        assert!(matches!(forward.validate(), Err(GraphError::BadEdge { node, .. }) if node == "c"));

        let mut cycle = small();
        cycle.nodes[2].inputs[0] = NodeId(2);
        assert!(matches!(cycle.validate(), Err(GraphError::BadEdge { node, .. }) if node == "r"));

        let mut dangling = small();
        dangling.nodes[5].inputs[0] = NodeId(99);
        let error = dangling.validate().unwrap_err();
        let message = "layer `l`: reads node 99, which does not come before it";
        assert_eq!(error.to_string(), message);

        let mut twice = small();
        twice.nodes[2].name = "c".into();
        assert_eq!(twice.validate(), Err(GraphError::BadName("c".into())));

        let mut second = small();
        second.nodes[2].op = Op::Input;
        assert_eq!(second.validate(), Err(GraphError::MisplacedInput("r".into())));

        let mut groups = small();
        let Op::Conv2d(conv) = &mut groups.nodes[1].op else { panic!() };
        conv.groups = 2;
        assert!(matches!(groups.validate(), Err(GraphError::BadOp { node, .. }) if node == "c"));

        let mut shape = small();
        let Op::Linear(linear) = &mut shape.nodes[5].op else { panic!() };
        linear.in_features = 7;
        assert!(matches!(shape.validate(), Err(GraphError::Shape(e)) if e.node == "l"));

        let mut prep = small();
        prep.preprocess.std[0] = 0.0;
        assert_eq!(prep.validate(), Err(GraphError::Preprocess { expected: 1 }));

        let mut classes = small();
        classes.classes = alloc::vec!["only".into()];
        assert_eq!(classes.validate(), Err(GraphError::Classes { classes: 1, outputs: 3 }));

        let mut long = small();
        long.nodes[1].name = "é".repeat(513);
        let start = "é".repeat(32);
        assert_eq!(long.validate(), Err(GraphError::LongName { start, found: 1026 }));

        let mut many = small();
        many.nodes.resize(MAX_NODES + 1, many.nodes[2].clone());
        assert_eq!(many.validate(), Err(GraphError::TooManyNodes { found: MAX_NODES + 1 }));

        let mut huge = small();
        huge.input = Shape::new(1, 1 << 23, 1 << 23);
        assert!(matches!(huge.validate(), Err(GraphError::BadOp { .. })));
    }
}
