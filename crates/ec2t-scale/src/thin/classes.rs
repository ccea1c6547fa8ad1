//! Which channels of different layers are the same one.

use ec2t_format::graph::{Conv2d, NodeId, Shape};
use ec2t_format::{Graph, Op};

/// The classes of all channels of a graph.
///
/// Each node has *slots*: its channels or, behind a flattening, groups of as many
/// features as a channel had pixels. A class is a set of slots, found by union-find.
pub(super) struct Classes {
    shapes: Vec<Shape>,
    /// First slot of each node, and the number of all.
    first: Vec<usize>,
    /// Channels of each slot, by node.
    width: Vec<usize>,
    /// Another slot of the same class, nearer to its root; a root is its own.
    parent: Vec<usize>,
    /// Slots that have to stay.
    pinned: Vec<usize>,
}

/// How the channels of a convolution's input and output belong together.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Grouping {
    /// Each output reads all inputs.
    Full,
    /// Each output reads the one input of its number.
    Depthwise,
    /// Anything else.
    Other,
}

impl Grouping {
    pub(super) fn of(conv: &Conv2d) -> Self {
        match conv.groups {
            1 => Grouping::Full,
            groups if groups == conv.in_channels && groups == conv.out_channels => {
                Grouping::Depthwise
            }
            _ => Grouping::Other,
        }
    }
}

impl Classes {
    pub(super) fn of(graph: &Graph) -> Self {
        let shapes = graph.shapes().expect("the graph of a network is valid");
        let mut classes = Self {
            shapes,
            first: vec![0],
            width: Vec::new(),
            parent: Vec::new(),
            pinned: Vec::new(),
        };
        for (id, _) in graph.iter() {
            classes.add_slots(graph, id);
        }
        for (id, _) in graph.iter() {
            classes.link(graph, id);
        }
        classes.pin(NodeId::INPUT);
        classes.pin(NodeId(graph.nodes.len() as u32 - 1));
        classes
    }

    fn add_slots(&mut self, graph: &Graph, id: NodeId) {
        let node = &graph.nodes[id.index()];
        let mut widths = node.inputs.iter().map(|input| self.width[input.index()]);
        let width = match node.op {
            Op::Input | Op::Conv2d(_) | Op::Linear(_) | Op::PadShortcut(_) => 1,
            Op::Flatten => {
                let read = self.shapes[node.inputs[0].index()];
                self.width[node.inputs[0].index()] * read.height * read.width
            }
            Op::Add | Op::Multiply => match (widths.next(), widths.next()) {
                (Some(a), Some(b)) if a == b => a,
                _ => 1,
            },
            _ => widths.next().unwrap_or(1),
        };
        self.width.push(width);
        let end = self.parent.len() + self.shapes[id.index()].channels / width;
        self.parent.extend(self.parent.len()..end);
        self.first.push(end);
    }

    fn link(&mut self, graph: &Graph, id: NodeId) {
        let node = &graph.nodes[id.index()];
        let grouping = match &node.op {
            Op::Input | Op::Linear(_) => return,
            Op::Conv2d(conv) => Grouping::of(conv),
            Op::PadShortcut(_) => Grouping::Other,
            _ => Grouping::Depthwise,
        };
        for &input in &node.inputs {
            match grouping {
                Grouping::Full => {}
                Grouping::Depthwise => self.unite(id, input),
                Grouping::Other => {
                    self.pin(id);
                    self.pin(input);
                }
            }
        }
    }

    /// Makes the values of two nodes the same, one by one.
    fn unite(&mut self, a: NodeId, b: NodeId) {
        let [slots_a, slots_b] = [a, b].map(|id| self.slots(id).len());
        for part in 0..slots_a.max(slots_b) {
            let at = |id: NodeId, slots: usize| {
                self.first[id.index()] + part * slots / slots_a.max(slots_b)
            };
            let [a, b] = [at(a, slots_a), at(b, slots_b)].map(|slot| self.class(slot));
            self.parent[a.max(b)] = a.min(b);
        }
    }

    fn pin(&mut self, id: NodeId) {
        self.pinned.extend(self.slots(id));
    }

    /// All slots of a node.
    pub(super) fn slots(&self, id: NodeId) -> std::ops::Range<usize> {
        self.first[id.index()]..self.first[id.index() + 1]
    }

    /// Slots of all nodes.
    pub(super) fn slot_count(&self) -> usize {
        self.parent.len()
    }

    /// The slot that stands for a slot's class.
    pub(super) fn class(&self, mut slot: usize) -> usize {
        while self.parent[slot] != slot {
            slot = self.parent[slot];
        }
        slot
    }

    /// Slots that have to stay.
    pub(super) fn pinned(&self) -> &[usize] {
        &self.pinned
    }

    /// Shape of a node's output.
    pub(super) fn shape(&self, id: NodeId) -> Shape {
        self.shapes[id.index()]
    }

    /// The slot of a node's channel.
    pub(super) fn of_channel(&self, id: NodeId, channel: usize) -> usize {
        self.first[id.index()] + channel / self.width[id.index()]
    }

    /// The slot of one of a node's values, `[C, H, W]`.
    pub(super) fn of_value(&self, id: NodeId, position: usize) -> usize {
        let shape = self.shape(id);
        self.of_channel(id, position / (shape.height * shape.width))
    }
}
