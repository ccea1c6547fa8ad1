//! Which layers of a larger network compute what a smaller one computes.
//!
//! A layer with the name of one of the smaller network is its twin, if it is the same
//! operation but for the number of channels, and reads what the twin reads. Other layers
//! are new. Of these two kinds pass on what the smaller network has: a sum of such a
//! value and of a new branch whose normalisation gives 0, and a rectifier of what has
//! been rectified. As the inputs of every twin are checked, the two networks then
//! compute the same, if the last layers are twins.

use std::collections::BTreeMap;

use ec2t_format::graph::{Activation, BatchNorm, Conv2d};
use ec2t_format::{Graph, Node, NodeId, Op};

use super::GrowError;

/// What the layers of the larger network are to the smaller.
pub(super) struct Matching {
    /// For each node of the larger network, the one of the smaller whose value it has.
    pub(super) same: Vec<Option<NodeId>>,
    /// Normalisations that have to give 0.
    pub(super) closed: Vec<NodeId>,
}

impl Matching {
    /// Compares two networks.
    ///
    /// # Errors
    /// Where they are not of one family; the first layer that differs is named.
    pub(super) fn new(small: &Graph, large: &Graph) -> Result<Self, GrowError> {
        let twins: BTreeMap<&str, NodeId> =
            small.iter().map(|(id, node)| (node.name.as_str(), id)).collect();
        let mut matching = Self { same: Vec::new(), closed: Vec::new() };
        for node in &large.nodes {
            let same = match twins.get(node.name.as_str()) {
                Some(&twin) => Some(matching.check_twin(node, twin, &small.nodes[twin.index()])?),
                None => matching.passed_on(node, small, large),
            };
            matching.same.push(same);
        }
        let last = small.nodes.len() - 1;
        match matching.same.last() {
            Some(Some(id)) if id.index() == last => Ok(matching),
            _ => {
                let name = large.nodes.last().map(|node| node.name.clone());
                Err(GrowError::Unmatched(name.unwrap_or_default()))
            }
        }
    }

    /// The values of the smaller network that a node reads.
    fn inputs(&self, node: &Node) -> Vec<Option<NodeId>> {
        node.inputs.iter().map(|input| self.same[input.index()]).collect()
    }

    fn check_twin(&self, node: &Node, id: NodeId, twin: &Node) -> Result<NodeId, GrowError> {
        let read: Vec<_> = twin.inputs.iter().copied().map(Some).collect();
        if !equal_but_for_width(&twin.op, &node.op) {
            return Err(GrowError::Unlike(node.name.clone()));
        }
        match self.inputs(node) {
            inputs if inputs == read => Ok(id),
            inputs if inputs.contains(&None) => Err(GrowError::Unmatched(node.name.clone())),
            _ => Err(GrowError::Unlike(node.name.clone())),
        }
    }

    /// What a new node passes on of the smaller network, if anything.
    fn passed_on(&mut self, node: &Node, small: &Graph, large: &Graph) -> Option<NodeId> {
        match (&node.op, self.inputs(node).as_slice()) {
            (Op::Add, &[Some(same), None]) => self.close(node.inputs[1], large).then_some(same),
            (Op::Add, &[None, Some(same)]) => self.close(node.inputs[0], large).then_some(same),
            (op @ Op::Activation(Activation::Relu | Activation::Relu6), &[Some(same)]) => {
                (small.nodes[same.index()].op == *op).then_some(same)
            }
            _ => None,
        }
    }

    /// Makes a new branch give 0, if it ends in a normalisation.
    fn close(&mut self, branch: NodeId, large: &Graph) -> bool {
        let can_close = matches!(large.nodes[branch.index()].op, Op::BatchNorm(_));
        if can_close {
            self.closed.push(branch);
        }
        can_close
    }
}

/// Whether two operations differ in their channels at most.
fn equal_but_for_width(small: &Op, large: &Op) -> bool {
    match (small, large) {
        (Op::Conv2d(a), Op::Conv2d(b)) => {
            let Conv2d { in_channels, out_channels, groups, .. } = *b;
            let widened = Conv2d { in_channels, out_channels, groups, ..a.clone() };
            let plain = (a.groups, b.groups) == (1, 1);
            widened == *b && (plain || is_depthwise(a) && is_depthwise(b))
        }
        (Op::Linear(a), Op::Linear(b)) => a.bias == b.bias,
        (Op::BatchNorm(a), Op::BatchNorm(b)) => {
            BatchNorm { channels: b.channels, ..a.clone() } == *b
        }
        (Op::PadShortcut(a), Op::PadShortcut(b)) => a.stride == b.stride,
        (a, b) => a == b,
    }
}

/// Whether there is one kernel for each channel.
pub(super) fn is_depthwise(conv: &Conv2d) -> bool {
    conv.groups > 1 && conv.groups == conv.in_channels && conv.groups == conv.out_channels
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{ArchOptions, Scaling, build};

    fn scaled(name: &str, depth: f64, width: f64) -> Graph {
        let scaling = Scaling { depth, width, ..Scaling::default() };
        build(name, &ArchOptions { scaling, ..ArchOptions::default() }).unwrap()
    }

    fn matching(small: &Graph, large: &Graph) -> Result<Matching, GrowError> {
        Matching::new(small, large)
    }

    #[test]
    fn added_blocks_are_closed_at_their_last_normalisation() {
        let (small, large) = (scaled("resnet20", 1.0, 1.0), scaled("resnet32", 1.0, 1.0));
        let found = matching(&small, &large).unwrap();
        let names: Vec<_> =
            found.closed.iter().map(|id| large.nodes[id.index()].name.as_str()).collect();
        let expected = ["layer1.3", "layer1.4", "layer2.3", "layer2.4", "layer3.3", "layer3.4"]
            .map(|block| format!("{block}.bn2"));
        assert_eq!(names, expected);
        let same = |name: &str| found.same[large.find(name).unwrap().0.index()];
        assert_eq!(same("layer1.4.relu2"), Some(small.find("layer1.2.relu2").unwrap().0));
        assert_eq!(same("layer1.4.bn2"), None);
    }

    #[test]
    fn families_that_number_their_blocks_grow_in_width_alone() {
        let small = scaled("mobilenet_v2", 1.0, 1.0);
        assert!(matching(&small, &scaled("mobilenet_v2", 1.0, 1.4)).is_ok());
        assert!(matching(&small, &scaled("mobilenet_v2", 1.5, 1.0)).is_err());
        let small = scaled("efficientnet_b0", 1.0, 1.0);
        assert!(matching(&small, &scaled("efficientnet_b0", 1.4, 1.2)).is_ok());
    }

    #[test]
    fn other_networks_are_refused_by_name_of_a_layer() {
        let (resnet, micronet) = (scaled("resnet20", 1.0, 1.0), scaled("micronet", 1.0, 1.0));
        let error = matching(&resnet, &micronet).err().unwrap();
        assert!(error.to_string().contains("layer1.0"), "{error}");
        let error = matching(&scaled("resnet32", 1.0, 1.0), &resnet).err().unwrap();
        assert_eq!(error, GrowError::Unlike("layer2.0.conv1".into()));
    }

    #[test]
    fn kernels_and_strides_have_to_agree() {
        let (small, mut large) = (scaled("resnet20", 1.0, 1.0), scaled("resnet20", 1.0, 2.0));
        let (id, _) = large.find("layer1.0.conv1").unwrap();
        let Op::Conv2d(conv) = &mut large.nodes[id.index()].op else { panic!() };
        conv.kernel = [1, 1];
        let error = matching(&small, &large).err().unwrap();
        assert_eq!(error, GrowError::Unlike("layer1.0.conv1".into()));
    }
}
