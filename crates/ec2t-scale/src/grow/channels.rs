//! Which channel of the smaller network each channel of the larger is a copy of.
//!
//! Layers that work on each channel alone, and sums and products, have one answer for
//! all that they read and give: they tie nodes together. For nodes that are tied the
//! answer is given by
//!
//! - the image and the logits, which have no copies,
//! - an option-A shortcut, which puts the copies that it reads between zeros; channels
//!   among its zeros are copies of ones among the smaller network's zeros,
//! - a flattened map of pixels, in which a channel has several places;
//!
//! and without these, copies go round: channel j is one of channel j modulo the number
//! of channels. Each channel has to have a copy.

use ec2t_format::graph::{GraphError, Shape};
use ec2t_format::{Graph, NodeId, Op};

use super::GrowError;
use super::matching::{Matching, is_depthwise};

/// For each node of the larger network, what its channels are copies of.
pub(super) struct Copies {
    nodes: Vec<Vec<usize>>,
}

impl Copies {
    pub(super) fn new(
        small: &Graph,
        large: &Graph,
        matching: &Matching,
    ) -> Result<Self, GrowError> {
        let mut ties = Ties {
            large,
            matching,
            small_shapes: small.shapes().map_err(GraphError::from)?,
            large_shapes: large.shapes().map_err(GraphError::from)?,
            roots: tied(large, matching),
            found: vec![None; large.nodes.len()],
        };
        let nodes = (0..large.nodes.len()).map(|node| match matching.same[node] {
            Some(_) => ties.copies_at(node),
            None => Ok(Vec::new()),
        });
        Ok(Self { nodes: nodes.collect::<Result<_, _>>()? })
    }

    /// The channels of the smaller network that those of a node are copies of; empty
    /// where the smaller network has no such node.
    pub(super) fn of(&self, node: NodeId) -> &[usize] {
        &self.nodes[node.index()]
    }
}

/// For each node, the first one that it is tied to.
fn tied(large: &Graph, matching: &Matching) -> Vec<usize> {
    let mut roots: Vec<usize> = (0..large.nodes.len()).collect();
    for (id, node) in large.iter() {
        if matching.same[id.index()].is_none() || !keeps_channels(&node.op) {
            continue;
        }
        let matched = node.inputs.iter().filter(|input| matching.same[input.index()].is_some());
        for input in matched {
            let (a, b) = (roots[id.index()], roots[input.index()]);
            let (first, other) = (a.min(b), a.max(b));
            roots.iter_mut().filter(|root| **root == other).for_each(|root| *root = first);
        }
    }
    roots
}

/// Whether each channel of the result depends on that channel alone.
fn keeps_channels(op: &Op) -> bool {
    match op {
        Op::Conv2d(conv) => is_depthwise(conv),
        Op::BatchNorm(_) | Op::Activation(_) | Op::Add | Op::Multiply | Op::Dropout { .. } => true,
        Op::MaxPool(_) | Op::AvgPool(_) | Op::GlobalAvgPool => true,
        Op::Input | Op::Linear(_) | Op::PadShortcut(_) | Op::Flatten => false,
    }
}

/// Nodes that are tied, by the first of them, and what is known about them.
struct Ties<'a> {
    large: &'a Graph,
    matching: &'a Matching,
    small_shapes: Vec<Shape>,
    large_shapes: Vec<Shape>,
    roots: Vec<usize>,
    /// By root: the copies, once they are known.
    found: Vec<Option<Vec<usize>>>,
}

impl Ties<'_> {
    /// What the channels of a node, which the smaller network has, are copies of.
    fn copies_at(&mut self, node: usize) -> Result<Vec<usize>, GrowError> {
        let root = self.roots[node];
        if let Some(copies) = &self.found[root] {
            return Ok(copies.clone());
        }
        let tied: Vec<usize> =
            (0..self.roots.len()).filter(|&other| self.roots[other] == root).collect();
        let mut given: Option<Vec<usize>> = None;
        for &member in &tied {
            if let Some(copies) = self.given_by(member)? {
                if given.as_ref().is_some_and(|others| *others != copies) {
                    return Err(self.impossible(member));
                }
                given = Some(copies);
            }
        }
        let (small, large) = self.channels(root);
        let copies = given.unwrap_or_else(|| (0..large).map(|channel| channel % small).collect());
        let complete = (0..small).all(|channel| copies.contains(&channel));
        if !complete || copies.len() != large {
            return Err(self.impossible(root));
        }
        self.found[root] = Some(copies.clone());
        Ok(copies)
    }

    /// What a node's channels have to be copies of by what it computes; none where that
    /// is free.
    fn given_by(&mut self, node: usize) -> Result<Option<Vec<usize>>, GrowError> {
        let (small, large) = self.channels(node);
        let is_last = node + 1 == self.large.nodes.len();
        let inputs = &self.large.nodes[node].inputs;
        match self.large.nodes[node].op {
            Op::PadShortcut(_) => {
                let input = inputs[0].index();
                let below = self.channels(input).0;
                let copies = padded(&self.copies_at(input)?, below, small, large);
                copies.map(Some).ok_or_else(|| self.impossible(node))
            }
            Op::Flatten => {
                let input = inputs[0].index();
                let pixels = self.large_shapes[input].height * self.large_shapes[input].width;
                let copies = self.copies_at(input)?;
                let place =
                    |&channel: &usize| (0..pixels).map(move |pixel| channel * pixels + pixel);
                Ok(Some(copies.iter().flat_map(place).collect()))
            }
            Op::Input => Ok(Some((0..large).collect())),
            _ if is_last => match small == large {
                true => Ok(Some((0..large).collect())),
                false => Err(self.impossible(node)),
            },
            _ => Ok(None),
        }
    }

    /// Channels of a node in the smaller and in the larger network.
    fn channels(&self, node: usize) -> (usize, usize) {
        let small = self.matching.same[node].map(|id| self.small_shapes[id.index()].channels);
        (small.unwrap_or(0), self.large_shapes[node].channels)
    }

    fn impossible(&self, node: usize) -> GrowError {
        let (small, large) = self.channels(node);
        GrowError::Channels { layer: self.large.nodes[node].name.clone(), small, large }
    }
}

/// The copies that an option-A shortcut gives, from those that it reads: `below` channels
/// of the smaller network, which become `small`, as the copies become `large`. None where
/// the larger shortcut has zeros and the smaller has not.
fn padded(input: &[usize], below: usize, small: usize, large: usize) -> Option<Vec<usize>> {
    let first = (small - below) / 2;
    let zeros: Vec<usize> = (0..first).chain(first + below..small).collect();
    let mut zeros = zeros.iter().copied().cycle();
    let before = large.checked_sub(input.len())? / 2;
    let copy = |channel: usize| {
        let read = channel.checked_sub(before).and_then(|place| input.get(place));
        read.map(|&source| first + source).or_else(|| zeros.next())
    };
    (0..large).map(copy).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{ArchOptions, Scaling, build};

    fn scaled(name: &str, width: f64) -> Graph {
        let scaling = Scaling { width, ..Scaling::default() };
        build(name, &ArchOptions { scaling, ..ArchOptions::default() }).unwrap()
    }

    fn copies(small: &Graph, large: &Graph) -> Result<Copies, GrowError> {
        Copies::new(small, large, &Matching::new(small, large).unwrap())
    }

    #[test]
    fn copies_go_round() {
        let (small, large) = (scaled("micronet", 1.0), scaled("micronet", 1.4));
        let copies = copies(&small, &large).unwrap();
        let of = |name: &str| copies.of(large.find(name).unwrap().0);
        let round: Vec<usize> = (0..16).chain(0..8).collect();
        assert_eq!(of("layer1.0.conv1"), round);
        assert_eq!(of("layer1.0.add"), round);
        assert_eq!(of("layer2.0.shortcut.conv"), of("layer2.6.bn2"));
        assert_eq!(of("input"), [0, 1, 2]);
        assert_eq!(of("linear"), (0..10).collect::<Vec<_>>());
    }

    #[test]
    fn shortcuts_without_parameters_decide_what_they_are_added_to() {
        // 2 channels amid 4, and their 3 copies amid 8.
        assert_eq!(padded(&[0, 1, 0], 2, 4, 8), Some(vec![0, 3, 1, 2, 1, 0, 3, 0]));
        assert_eq!(padded(&[0, 1, 0], 2, 2, 4), None);
        assert_eq!(padded(&[0, 1, 0], 2, 2, 2), None);

        let (small, large) = (scaled("resnet20", 1.0), scaled("resnet20", 1.5));
        let copies = copies(&small, &large).unwrap();
        let of = |name: &str| copies.of(large.find(name).unwrap().0);
        assert_eq!(of("layer2.0.conv2"), of("layer2.0.shortcut"));
        assert_eq!(
            of("layer2.0.shortcut")[12..36],
            of("conv1").iter().map(|c| c + 8).collect::<Vec<_>>()
        );
        assert_eq!(of("layer2.0.conv1"), (0..32).chain(0..16).collect::<Vec<_>>());
    }

    #[test]
    fn a_narrower_network_is_no_grown_one() {
        let (small, large) = (scaled("resnet20", 2.0), scaled("resnet20", 1.0));
        let error = copies(&small, &large).err().unwrap();
        let layer = "conv1".to_owned();
        assert_eq!(error, GrowError::Channels { layer, small: 32, large: 16 });
        let classes =
            |classes| build("resnet20", &ArchOptions { classes, ..ArchOptions::default() });
        let error = copies(&classes(10).unwrap(), &classes(100).unwrap()).err().unwrap();
        let layer = "linear".to_owned();
        assert_eq!(error, GrowError::Channels { layer, small: 10, large: 100 });
    }
}
