//! What part a layer with weights plays, read off the graph's structure.
//!
//! EC2T ternarizes by role: the layers in the body, but not
//! the first, the last, the shortcuts or the depthwise ones. A role follows
//! from the edges alone, so imported networks have roles as well.

use alloc::vec;
use alloc::vec::Vec;

use super::{Graph, NodeId, Op};

/// The part that a layer with weights plays.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Role {
    /// Reads the image: no layer with weights comes before it.
    Stem,
    /// Between the first and the last layer.
    Body,
    /// 1×1 convolution on the short branch of a residual sum.
    Shortcut,
    /// One kernel per channel.
    Depthwise,
    /// Computes the factors of a squeeze-and-excitation product.
    SqueezeExcite,
    /// Gives the logits: no layer with weights comes after it.
    Classifier,
}

impl Graph {
    /// Role of every convolution and linear layer; `None` for other nodes.
    pub fn roles(&self) -> Vec<Option<Role>> {
        let reach = Reach::of(self);
        self.iter()
            .map(|(id, node)| match &node.op {
                Op::Conv2d(_) | Op::Linear(_) => Some(reach.role(id)),
                _ => None,
            })
            .collect()
    }
}

/// Which layers with weights lie before and after each node.
struct Reach<'g> {
    graph: &'g Graph,
    /// A layer with weights is among the node's ancestors.
    weighted_before: Vec<bool>,
    /// A layer with weights is among the node's descendants.
    weighted_after: Vec<bool>,
    consumers: Vec<Vec<NodeId>>,
}

impl<'g> Reach<'g> {
    fn of(graph: &'g Graph) -> Self {
        let n = graph.nodes.len();
        let weighted =
            |id: NodeId| matches!(graph.nodes[id.index()].op, Op::Conv2d(_) | Op::Linear(_));
        let mut consumers = vec![Vec::new(); n];
        let mut weighted_before = vec![false; n];
        for (id, node) in graph.iter() {
            for &input in &node.inputs {
                consumers[input.index()].push(id);
                weighted_before[id.index()] |= weighted(input) || weighted_before[input.index()];
            }
        }
        let mut weighted_after = vec![false; n];
        for index in (0..n).rev() {
            weighted_after[index] =
                consumers[index].iter().any(|&c| weighted(c) || weighted_after[c.index()]);
        }
        Self { graph, weighted_before, weighted_after, consumers }
    }

    fn role(&self, id: NodeId) -> Role {
        if let Op::Conv2d(conv) = &self.graph.nodes[id.index()].op
            && conv.groups > 1
            && conv.groups == conv.in_channels
        {
            return Role::Depthwise;
        }
        if !self.weighted_after[id.index()] {
            Role::Classifier
        } else if self.feeds_factor(id) {
            Role::SqueezeExcite
        } else if !self.weighted_before[id.index()] {
            Role::Stem
        } else if self.is_shortcut(id) {
            Role::Shortcut
        } else {
            Role::Body
        }
    }

    /// Whether everything that the layer computes ends, on a map of 1×1
    /// pixels, in the second operand of a product.
    fn feeds_factor(&self, id: NodeId) -> bool {
        let consumers = &self.consumers[id.index()];
        !consumers.is_empty()
            && consumers.iter().all(|&consumer| {
                let node = &self.graph.nodes[consumer.index()];
                match node.op {
                    Op::Multiply => node.inputs[1] == id && node.inputs[0] != id,
                    Op::Activation(_) | Op::Conv2d(_) | Op::Linear(_) | Op::BatchNorm(_) => {
                        self.feeds_factor(consumer)
                    }
                    _ => false,
                }
            })
    }

    /// Whether a 1×1 convolution ends in a sum, through batch normalisation at
    /// most, whose other operand also starts from the convolution's own input.
    fn is_shortcut(&self, id: NodeId) -> bool {
        let node = &self.graph.nodes[id.index()];
        let Op::Conv2d(conv) = &node.op else { return false };
        if conv.kernel != [1, 1] {
            return false;
        }
        let mut end = id;
        loop {
            let &[consumer] = self.consumers[end.index()].as_slice() else { return false };
            let next = &self.graph.nodes[consumer.index()];
            match next.op {
                Op::BatchNorm(_) => end = consumer,
                Op::Add => {
                    let other = next.inputs.iter().copied().find(|&input| input != end);
                    return other.is_some_and(|other| self.is_ancestor(node.inputs[0], other));
                }
                _ => return false,
            }
        }
    }

    fn is_ancestor(&self, ancestor: NodeId, of: NodeId) -> bool {
        let mut open = vec![of];
        while let Some(id) = open.pop() {
            if id == ancestor {
                return true;
            }
            open.extend(
                self.graph.nodes[id.index()].inputs.iter().filter(|&&input| input >= ancestor),
            );
        }
        false
    }
}

#[cfg(test)]
mod tests {
    use super::super::{Activation, GraphBuilder, Shape};
    use super::*;

    fn role(graph: &Graph, name: &str) -> Role {
        graph.roles()[graph.find(name).unwrap().0.index()].unwrap()
    }

    #[test]
    fn a_residual_net_with_projection_shortcut() {
        let mut g = GraphBuilder::new("t", Shape::new(3, 8, 8));
        let stem = g.conv("stem", g.input(), 4, 3, 1);
        let x = g.conv("body1", stem, 8, 1, 2);
        let x = g.batch_norm("bn1", x);
        let x = g.relu("relu1", x);
        let x = g.conv("body2", x, 8, 1, 1);
        let short = g.conv("short", stem, 8, 1, 2);
        let short = g.batch_norm("bn_short", short);
        let x = g.add("add", x, short);
        let x = g.global_avg_pool("pool", x);
        let x = g.flatten("flat", x);
        g.linear("fc", x, 2);
        let graph = g.finish().unwrap();
        assert_eq!(role(&graph, "stem"), Role::Stem);
        assert_eq!(role(&graph, "body1"), Role::Body);
        assert_eq!(role(&graph, "body2"), Role::Body);
        assert_eq!(role(&graph, "short"), Role::Shortcut);
        assert_eq!(role(&graph, "fc"), Role::Classifier);
    }

    #[test]
    fn squeeze_and_excitation_is_told_from_swish() {
        let mut g = GraphBuilder::new("t", Shape::new(3, 8, 8));
        let x = g.conv("stem", g.input(), 4, 3, 1);
        let x = g.conv("body", x, 4, 1, 1);
        let gate = g.push("swish", Op::Activation(Activation::Sigmoid), &[x]);
        let x = g.push("swished", Op::Multiply, &[x, gate]);
        let s = g.global_avg_pool("squeeze", x);
        let s = g.conv("reduce", s, 2, 1, 1);
        let s = g.relu("relu", s);
        let s = g.conv("expand", s, 4, 1, 1);
        let s = g.push("gate", Op::Activation(Activation::Sigmoid), &[s]);
        let x = g.push("scaled", Op::Multiply, &[x, s]);
        let x = g.global_avg_pool("pool", x);
        let x = g.flatten("flat", x);
        g.linear("fc", x, 2);
        let graph = g.finish().unwrap();
        assert_eq!(role(&graph, "body"), Role::Body);
        assert_eq!(role(&graph, "reduce"), Role::SqueezeExcite);
        assert_eq!(role(&graph, "expand"), Role::SqueezeExcite);
    }
}
