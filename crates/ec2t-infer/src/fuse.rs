//! Which nodes of a graph one kernel computes together.
//!
//! A convolution or matrix product takes along what follows it, a sum with
//! another value, an activation, or both in this order, where nobody else reads
//! what lies between: its epilogue computes them while the sums are at hand.
//!
//! A group stands where its last node stood, so that all it reads comes before
//! it, wherever the other operand of its sum was computed. Of two layers that
//! meet in a sum, the later one takes it: the other one's value is needed
//! before.
//!
//! Nodes that compute nothing (dropout, flatten) are in no group. Who reads
//! them reads what they read; a value is named by the node that computes it.

use ec2t_format::graph::{Activation, Graph, Node, NodeId, Op};

/// All groups of a graph, in the order in which they are computed.
#[derive(Debug)]
pub(crate) struct Groups {
    pub(crate) list: Vec<Group>,
    /// The value of the whole graph.
    pub(crate) output: NodeId,
}

/// A node, with those that are fused into it.
#[derive(Debug, PartialEq)]
pub(crate) struct Group {
    /// The node that the kernel is chosen for.
    pub(crate) node: NodeId,
    /// The values that this node reads.
    pub(crate) inputs: Vec<NodeId>,
    /// What is added to the node's value.
    pub(crate) residual: Option<NodeId>,
    /// What the sum ends in.
    pub(crate) activation: Option<Activation>,
    /// The value that the group computes: its last node.
    pub(crate) value: NodeId,
}

impl Groups {
    /// Fuses what can be fused.
    pub(crate) fn new(graph: &Graph) -> Self {
        let values = values(graph);
        let output = *values.last().expect("a graph has an input");
        let mut fusing = Fusing {
            graph,
            readers: readers(graph, &values, output),
            groups: graph.iter().map(|(id, node)| Group::single(id, node, &values)).collect(),
        };
        for (layer, node) in graph.iter().collect::<Vec<_>>().into_iter().rev() {
            if matches!(node.op, Op::Conv2d(_) | Op::Linear(_)) {
                fusing.fuse(layer);
            }
        }
        Self { list: fusing.groups.into_iter().flatten().collect(), output }
    }
}

impl Group {
    /// A node alone; `None` for one that computes nothing.
    fn single(id: NodeId, node: &Node, values: &[NodeId]) -> Option<Self> {
        let inputs = node.inputs.iter().map(|input| values[input.index()]).collect();
        let group = Self { node: id, inputs, residual: None, activation: None, value: id };
        (node.op != Op::Input && computes(&node.op)).then_some(group)
    }

    /// Every value that is read, as often as it is read.
    pub(crate) fn reads(&self) -> impl Iterator<Item = NodeId> {
        self.inputs.iter().copied().chain(self.residual)
    }
}

/// The groups while they are being fused.
struct Fusing<'g> {
    graph: &'g Graph,
    /// For each value, who reads it.
    readers: Vec<Vec<Reader>>,
    /// Each group at its last node.
    groups: Vec<Option<Group>>,
}

/// Who reads a value.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Reader {
    Node(NodeId),
    /// The caller, who wants the graph's output.
    Caller,
}

impl Fusing<'_> {
    /// Takes what follows a layer into its group.
    fn fuse(&mut self, layer: NodeId) {
        let group = self.groups[layer.index()].take();
        let mut group = group.expect("a layer is not fused into another");
        if let Some(sum) = self.follower(group.value, |op| *op == Op::Add) {
            group.residual = sum.inputs.into_iter().find(|operand| *operand != group.value);
            group.value = sum.value;
        }
        if let Some(end) = self.follower(group.value, |op| matches!(op, Op::Activation(_)))
            && let Op::Activation(function) = self.graph.nodes[end.node.index()].op
        {
            group.activation = Some(function);
            group.value = end.value;
        }
        let last = group.value.index();
        self.groups[last] = Some(group);
    }

    /// Takes out the group of the one node that reads a value, where it has
    /// this operation and is not yet fused with another.
    fn follower(&mut self, value: NodeId, wanted: impl Fn(&Op) -> bool) -> Option<Group> {
        let &[Reader::Node(reader)] = self.readers[value.index()].as_slice() else { return None };
        let is_wanted = wanted(&self.graph.nodes[reader.index()].op);
        self.groups[reader.index()].take_if(|group| is_wanted && group.node == reader)
    }
}

fn computes(op: &Op) -> bool {
    !matches!(op, Op::Dropout { .. } | Op::Flatten)
}

/// For each node, the one that computes its value: mostly itself.
fn values(graph: &Graph) -> Vec<NodeId> {
    let mut values: Vec<NodeId> = Vec::with_capacity(graph.nodes.len());
    for (id, node) in graph.iter() {
        let read = node.inputs.first().map(|input| values[input.index()]);
        values.push(read.filter(|_| !computes(&node.op)).unwrap_or(id));
    }
    values
}

/// For each value, its readers, once for every operand that it is.
fn readers(graph: &Graph, values: &[NodeId], output: NodeId) -> Vec<Vec<Reader>> {
    let mut readers = vec![Vec::new(); graph.nodes.len()];
    for (id, node) in graph.iter().filter(|(_, node)| computes(&node.op)) {
        for input in &node.inputs {
            readers[values[input.index()].index()].push(Reader::Node(id));
        }
    }
    readers[output.index()].push(Reader::Caller);
    readers
}

#[cfg(test)]
mod tests {
    use super::*;
    use ec2t_format::graph::{GraphBuilder, Shape};

    /// The groups of a graph, each as the names of what it fuses and reads.
    fn groups(build: impl Fn(&mut GraphBuilder)) -> Vec<String> {
        let mut g = GraphBuilder::new("t", Shape::new(4, 6, 6));
        build(&mut g);
        let graph = g.finish().unwrap();
        let name = |id: NodeId| graph.nodes[id.index()].name.as_str();
        let describe = |group: Group| {
            let residual = group.residual.map(|id| format!(" + {}", name(id)));
            let activation = group.activation.map(|function| format!(" {function:?}"));
            let [residual, activation] = [residual, activation].map(Option::unwrap_or_default);
            format!("{} = {}{residual}{activation}", name(group.value), name(group.node))
        };
        Groups::new(&graph).list.into_iter().map(describe).collect()
    }

    #[test]
    fn a_layer_takes_a_sum_and_an_activation() {
        let found = groups(|g| {
            let a = g.conv("a", g.input(), 4, 3, 1);
            let a_relu = g.relu("a_relu", a);
            let b = g.conv("b", a_relu, 4, 3, 1);
            let short = g.pad_shortcut("short", a_relu, 4, 1); // after the layer
            let sum = g.add("sum", short, b); // the layer as second operand
            let x = g.relu("sum_relu", sum);
            let c = g.conv("c", x, 4, 3, 1);
            let c_sum = g.add("c_sum", c, x);
            let flat = g.flatten("flat", c_sum);
            let fc = g.linear("fc", flat, 3);
            let dropout = g.dropout("dropout", fc, 0.5);
            g.activation("gate", dropout, Activation::Sigmoid);
        });
        let expected = [
            "a_relu = a Relu",
            "short = short",
            "sum_relu = b + short Relu",
            "c_sum = c + sum_relu",
            "gate = fc Sigmoid",
        ];
        assert_eq!(found, expected);
    }

    #[test]
    fn of_two_layers_in_a_sum_the_later_one_takes_it() {
        let found = groups(|g| {
            let a = g.conv("a", g.input(), 4, 3, 1);
            let b = g.conv("b", g.input(), 4, 1, 1);
            let sum = g.add("sum", a, b);
            g.relu("relu", sum);
        });
        assert_eq!(found, ["a = a", "relu = b + a Relu"]);
    }

    #[test]
    fn a_second_sum_is_not_fused() {
        let found = groups(|g| {
            let kept = g.relu("kept", g.input());
            let a = g.conv("a", kept, 4, 3, 1);
            let one = g.add("one", a, kept);
            g.add("two", one, kept);
        });
        assert_eq!(found, ["kept = kept", "one = a + kept", "two = two"]);
    }

    #[test]
    fn a_sum_after_an_activation_is_not_fused() {
        let found = groups(|g| {
            let a = g.conv("a", g.input(), 4, 3, 1);
            let relu = g.relu("relu", a);
            let again = g.relu("again", relu);
            g.add("sum", again, g.input());
        });
        assert_eq!(found, ["relu = a Relu", "again = again", "sum = sum"]);
    }

    #[test]
    fn what_others_read_is_not_fused() {
        let found = groups(|g| {
            let a = g.conv("a", g.input(), 4, 3, 1);
            let twice = g.add("twice", a, a);
            let b = g.conv("b", twice, 4, 3, 1);
            let b_relu = g.relu("b_relu", b);
            let gated = g.multiply("gated", b_relu, b);
            let c = g.conv("c", gated, 4, 3, 1);
            let sum = g.add("sum", c, gated);
            let relu = g.relu("relu", sum);
            g.add("end", relu, sum);
        });
        let expected = [
            "a = a",
            "twice = twice",
            "b = b",
            "b_relu = b_relu",
            "gated = gated",
            "sum = c + gated",
            "relu = relu",
            "end = end",
        ];
        assert_eq!(found, expected);
    }

    #[test]
    fn the_output_is_not_fused_away() {
        let found = groups(|g| {
            let a = g.conv("a", g.input(), 4, 3, 1);
            g.relu("unread", a);
            g.flatten("out", a);
        });
        assert_eq!(found, ["a = a", "unread = unread"]);
    }
}
