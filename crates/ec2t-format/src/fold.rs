//! Folds batch normalisation into the layer before it.
//!
//! At inference, batch normalisation is `y = f · x + s` per channel, with
//! `f = weight / √(running_var + eps)` and `s = bias − running_mean · f`. After
//! a convolution or linear layer that nobody else reads, it becomes part of
//! that layer:
//!
//! | weights of the layer | factor f | shift s |
//! |---|---|---|
//! | floats | multiplied into the weights | added to the bias |
//! | ternary, or the layer has a scale already | multiplied into `NAME.scale` | added to the bias |
//!
//! An existing bias b becomes `f · b + s`. Ternary weights keep their two
//! centroids. What cannot be folded stays: a normalisation after anything else
//! (such as the sum that ends a residual block), and one after a ternary linear
//! layer, which has no scale.
//!
//! Numbers are computed in `f64` and rounded once, to `f32`: also where the
//! tensors before were stored in 16 bits, as folding should change nothing.

use alloc::collections::BTreeMap;
use alloc::format;
use alloc::string::String;
use alloc::vec;
use alloc::vec::Vec;

use crate::graph::{BatchNorm, Graph, Node, NodeId, Op};
use crate::network::Network;
use crate::tensor::{DenseTensor, Tensor};

/// The same network with as few batch normalisations as possible, and without
/// dropout, which does nothing at inference.
///
/// Folded layers keep their names and grids. Layers that the output does not depend on
/// are left out as well.
pub fn fold_batch_norm(network: &Network) -> Network {
    let mut folding = Folding::new(network.graph(), network.tensors().clone());
    for (id, node) in network.graph().iter() {
        folding.add(id, node);
    }
    let mut folded = folding.finish(network.graph());
    folded.metadata = network.metadata.clone();
    let names = folded.graph().nodes.iter().map(|node| node.name.as_str());
    let grids = names.filter_map(|name| network.grids().get_key_value(name));
    let grids = grids.map(|(name, grid)| (name.clone(), *grid)).collect();
    folded.with_grids(grids).expect("the same names and scales")
}

/// A network in the middle of being rebuilt, node after node.
struct Folding {
    nodes: Vec<Node>,
    tensors: BTreeMap<String, Tensor>,
    /// Where each node of the old graph has gone.
    images: Vec<Image>,
    /// How often each node of the old graph is read on the way to the output.
    readers: Vec<usize>,
}

/// What a node of the old graph has become.
#[derive(Clone, Copy)]
struct Image {
    /// The new node that computes the same.
    id: NodeId,
    /// Whether the new node can change without anybody noticing but the one
    /// reader of the old.
    private: bool,
}

impl Folding {
    fn new(graph: &Graph, tensors: BTreeMap<String, Tensor>) -> Self {
        Self { nodes: Vec::new(), tensors, images: Vec::new(), readers: count_readers(graph) }
    }

    fn add(&mut self, id: NodeId, node: &Node) {
        let readers = self.readers[id.index()];
        let image = match (&node.op, node.inputs.first()) {
            _ if readers == 0 => Some(Image { id: NodeId::INPUT, private: false }),
            (Op::Dropout { .. }, Some(input)) => Some(self.images[input.index()]),
            (Op::BatchNorm(norm), Some(input)) => self.fold(&node.name, norm, *input),
            _ => None,
        };
        let image = image.unwrap_or_else(|| Image { id: self.push(node), private: true });
        self.images.push(Image { private: image.private && readers == 1, ..image });
    }

    /// Adds a node as it is, reading the images of its inputs.
    fn push(&mut self, node: &Node) -> NodeId {
        let id = NodeId(self.nodes.len() as u32);
        let inputs = node.inputs.iter().map(|input| self.images[input.index()].id).collect();
        self.nodes.push(Node { inputs, ..node.clone() });
        id
    }

    /// Folds a normalisation into its input, where that is possible.
    fn fold(&mut self, name: &str, norm: &BatchNorm, input: NodeId) -> Option<Image> {
        let image = self.images[input.index()];
        if !image.private {
            return None;
        }
        let layer = &mut self.nodes[image.id.index()];
        let weight = format!("{}.weight", layer.name);
        let bias = format!("{}.bias", layer.name);
        let affine = Affine::of(name, norm, &self.tensors);
        match (&mut layer.op, self.tensors.get_mut(&weight)) {
            (Op::Conv2d(conv), Some(Tensor::Dense(dense))) if !conv.scale => {
                *dense = affine.scaled(dense);
                conv.bias = true;
            }
            (Op::Linear(linear), Some(Tensor::Dense(dense))) => {
                *dense = affine.scaled(dense);
                linear.bias = true;
            }
            (Op::Conv2d(conv), Some(_)) => {
                let scale = format!("{}.scale", layer.name);
                let folded = affine.scale(self.tensors.get(&scale));
                self.tensors.insert(scale, folded);
                conv.scale = true;
                conv.bias = true;
            }
            _ => return None,
        }
        let folded = affine.bias(self.tensors.get(&bias));
        self.tensors.insert(bias, folded);
        Some(image)
    }

    fn finish(mut self, old: &Graph) -> Network {
        let graph = Graph {
            name: old.name.clone(),
            input: old.input,
            preprocess: old.preprocess.clone(),
            classes: old.classes.clone(),
            nodes: self.nodes,
        };
        let mut tensors = BTreeMap::new();
        for param in graph.params() {
            tensors.extend(self.tensors.remove_entry(&param.name));
        }
        Network::new(graph, tensors).expect("folding keeps names, shapes and edges valid")
    }
}

/// How often each node is read on the way to the output, which itself is read
/// once, by the user.
fn count_readers(graph: &Graph) -> Vec<usize> {
    let mut readers = vec![0; graph.nodes.len()];
    if let Some(output) = readers.last_mut() {
        *output = 1;
    }
    for (index, node) in graph.nodes.iter().enumerate().rev() {
        if readers[index] > 0 {
            for input in &node.inputs {
                readers[input.index()] += 1;
            }
        }
    }
    readers
}

/// `y = factor · x + shift`, per channel.
struct Affine {
    factor: Vec<f64>,
    shift: Vec<f64>,
}

impl Affine {
    fn of(name: &str, norm: &BatchNorm, tensors: &BTreeMap<String, Tensor>) -> Self {
        let values = |suffix: &str| tensors[&format!("{name}.{suffix}")].to_f32();
        let deviation = |var: f32| libm::sqrt(f64::from(var) + f64::from(norm.eps));
        let factor: Vec<f64> = values("weight")
            .into_iter()
            .zip(values("running_var"))
            .map(|(weight, var)| f64::from(weight) / deviation(var))
            .collect();
        let shift = values("bias")
            .into_iter()
            .zip(values("running_mean"))
            .zip(&factor)
            .map(|((bias, mean), factor)| f64::from(bias) - f64::from(mean) * factor)
            .collect();
        Self { factor, shift }
    }

    /// Weights, whose first dimension is the channel, times the factor.
    fn scaled(&self, weights: &DenseTensor) -> DenseTensor {
        let per_channel = weights.data().len() / self.factor.len();
        let data = weights
            .data()
            .chunks(per_channel)
            .zip(&self.factor)
            .flat_map(|(row, factor)| row.iter().map(move |&w| (f64::from(w) * factor) as f32))
            .collect();
        dense(weights.shape().to_vec(), data)
    }

    /// The factor after a scale, if there is one.
    fn scale(&self, before: Option<&Tensor>) -> Tensor {
        let before = self.or_fill(before, 1.0);
        self.vector(before.iter().zip(&self.factor).map(|(&scale, factor)| scale * factor))
    }

    /// The shift after a bias, if there is one.
    fn bias(&self, before: Option<&Tensor>) -> Tensor {
        let before = self.or_fill(before, 0.0);
        let affine = self.factor.iter().zip(&self.shift);
        self.vector(before.iter().zip(affine).map(|(&bias, (factor, shift))| bias * factor + shift))
    }

    fn or_fill(&self, tensor: Option<&Tensor>, value: f64) -> Vec<f64> {
        match tensor {
            Some(tensor) => tensor.to_f32().into_iter().map(f64::from).collect(),
            None => vec![value; self.factor.len()],
        }
    }

    fn vector(&self, values: impl Iterator<Item = f64>) -> Tensor {
        dense(vec![self.factor.len()], values.map(|value| value as f32).collect()).into()
    }
}

fn dense(shape: Vec<usize>, data: Vec<f32>) -> DenseTensor {
    DenseTensor::new(shape, data).expect("one value for each of the old tensor")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::graph::{Activation, GraphBuilder, Shape};
    use crate::tensor::{Storage, TernaryTensor};

    /// Two channels with f = (2, −1) and s = (3, 0.5).
    const WEIGHT: [f32; 2] = [4.0, -1.0];
    const VAR: [f32; 2] = [3.0, 0.0];
    const EPS: f32 = 1.0;
    const MEAN: [f32; 2] = [-0.5, 0.25];
    const BIAS: [f32; 2] = [2.0, 0.25];

    fn vector(values: &[f32]) -> Tensor {
        DenseTensor::new(vec![values.len()], values.to_vec()).unwrap().into()
    }

    fn norm(g: &mut GraphBuilder, name: &str, x: NodeId) -> NodeId {
        g.push(name, Op::BatchNorm(BatchNorm { channels: 2, eps: EPS, momentum: 0.1 }), &[x])
    }

    /// Fills a graph: normalisations as above, everything else from `given`.
    fn network(g: GraphBuilder, given: &[(&str, Tensor)]) -> Network {
        let graph = g.finish().unwrap();
        let mut tensors: BTreeMap<String, Tensor> = BTreeMap::new();
        for node in &graph.nodes {
            if let Op::BatchNorm(_) = node.op {
                for (suffix, values) in [
                    ("weight", WEIGHT),
                    ("bias", BIAS),
                    ("running_mean", MEAN),
                    ("running_var", VAR),
                ] {
                    tensors.insert(format!("{}.{suffix}", node.name), vector(&values));
                }
            }
        }
        tensors.extend(given.iter().map(|(name, tensor)| (String::from(*name), tensor.clone())));
        Network::new(graph, tensors).unwrap()
    }

    fn dense_conv() -> Tensor {
        DenseTensor::new(vec![2, 2, 1, 1], vec![1.0, 2.0, 3.0, 4.0]).unwrap().into()
    }

    fn ternary_conv() -> Tensor {
        TernaryTensor::new(vec![2, 2, 1, 1], vec![1, 0, -1, 1], 0.5, 0.75).unwrap().into()
    }

    fn input() -> GraphBuilder {
        GraphBuilder::new("t", Shape::new(2, 4, 4))
    }

    fn names(network: &Network) -> Vec<&str> {
        network.graph().nodes.iter().map(|node| node.name.as_str()).collect()
    }

    #[test]
    fn floats_take_the_factor_and_ternary_weights_a_scale() {
        let mut g = input();
        let x = g.conv("a", g.input(), 2, 1, 1);
        let x = norm(&mut g, "a_bn", x);
        let x = g.conv("b", x, 2, 1, 1);
        norm(&mut g, "b_bn", x);
        let mut network = network(g, &[("a.weight", dense_conv()), ("b.weight", ternary_conv())]);
        network.metadata.insert("source".into(), "test".into());
        let folded = fold_batch_norm(&network);

        assert_eq!(names(&folded), ["input", "a", "b"]);
        assert_eq!(folded.tensor("a.weight").unwrap().to_f32(), [2.0, 4.0, -3.0, -4.0]);
        assert_eq!(folded.tensor("a.bias"), Some(&vector(&[3.0, 0.5])));
        assert_eq!(folded.tensor("a.scale"), None);
        assert_eq!(folded.tensor("b.weight"), Some(&ternary_conv()));
        assert_eq!(folded.tensor("b.scale"), Some(&vector(&[2.0, -1.0])));
        assert_eq!(folded.tensor("b.bias"), Some(&vector(&[3.0, 0.5])));
        assert_eq!(folded.metadata, network.metadata);
    }

    #[test]
    fn existing_bias_and_scale_are_combined() {
        let mut g = input();
        let mut x = g.input();
        for name in ["dense", "ternary"] {
            let op = Conv2dWith { bias: true, scale: name == "ternary" }.op();
            x = g.push(name, op, &[x]);
            x = norm(&mut g, &format!("{name}_bn"), x);
        }
        let network = network(
            g,
            &[
                ("dense.weight", dense_conv()),
                ("dense.bias", vector(&[1.0, -2.0])),
                ("ternary.weight", ternary_conv()),
                ("ternary.scale", vector(&[0.5, 4.0])),
                ("ternary.bias", vector(&[1.0, -2.0])),
            ],
        );
        let folded = fold_batch_norm(&network);
        assert_eq!(folded.tensor("dense.bias"), Some(&vector(&[5.0, 2.5])));
        assert_eq!(folded.tensor("ternary.scale"), Some(&vector(&[1.0, -4.0])));
        assert_eq!(folded.tensor("ternary.bias"), Some(&vector(&[5.0, 2.5])));
    }

    /// A 1×1 convolution of two channels.
    struct Conv2dWith {
        bias: bool,
        scale: bool,
    }

    impl Conv2dWith {
        fn op(self) -> Op {
            let mut g = input();
            let id = g.conv("c", g.input(), 2, 1, 1);
            let graph = g.finish().unwrap();
            match &graph.nodes[id.index()].op {
                Op::Conv2d(conv) => Op::Conv2d(crate::graph::Conv2d {
                    bias: self.bias,
                    scale: self.scale,
                    ..conv.clone()
                }),
                _ => unreachable!(),
            }
        }
    }

    #[test]
    fn dense_weights_with_a_scale_stay() {
        let mut g = input();
        let x = g.push("c", Conv2dWith { bias: false, scale: true }.op(), &[NodeId::INPUT]);
        norm(&mut g, "bn", x);
        let network = network(g, &[("c.weight", dense_conv()), ("c.scale", vector(&[3.0, 5.0]))]);
        let folded = fold_batch_norm(&network);
        assert_eq!(folded.tensor("c.weight"), Some(&dense_conv()));
        assert_eq!(folded.tensor("c.scale"), Some(&vector(&[6.0, -5.0])));
        assert_eq!(folded.tensor("c.bias"), Some(&vector(&[3.0, 0.5])));
    }

    #[test]
    fn normalisations_in_a_row_and_behind_dropout_all_fold() {
        let mut g = input();
        let x = g.conv("c", g.input(), 2, 1, 1);
        let x = norm(&mut g, "bn1", x);
        let x = g.dropout("drop", x, 0.5);
        let x = norm(&mut g, "bn2", x);
        g.dropout("last", x, 0.5);
        let folded = fold_batch_norm(&network(g, &[("c.weight", ternary_conv())]));
        assert_eq!(names(&folded), ["input", "c"]);
        assert_eq!(folded.tensor("c.scale"), Some(&vector(&[4.0, 1.0])));
        assert_eq!(folded.tensor("c.bias"), Some(&vector(&[9.0, 0.0])));
    }

    #[test]
    fn a_layer_that_others_read_stays_as_it_is() {
        let mut g = input();
        let c = g.conv("c", g.input(), 2, 1, 1);
        let d = g.dropout("drop", c, 0.5);
        let x = norm(&mut g, "bn", d);
        g.add("add", x, c);
        let network = network(g, &[("c.weight", dense_conv())]);
        let folded = fold_batch_norm(&network);
        assert_eq!(names(&folded), ["input", "c", "bn", "add"]);
        assert_eq!(folded.graph().nodes[3].inputs, [NodeId(2), NodeId(1)]);
        assert_eq!(folded.tensors(), network.tensors());
    }

    #[test]
    fn edges_follow_the_folded_layers() {
        let mut g = input();
        let stem = g.conv("stem", g.input(), 2, 1, 1);
        let stem = norm(&mut g, "stem_bn", stem);
        let x = g.push("swish", Op::Activation(Activation::Swish), &[stem]);
        let x = g.conv("body", x, 2, 1, 1);
        let x = norm(&mut g, "body_bn", x);
        let x = g.add("add", x, stem);
        norm(&mut g, "pre", x);
        let folded = fold_batch_norm(&network(
            g,
            &[("stem.weight", dense_conv()), ("body.weight", ternary_conv())],
        ));
        assert_eq!(names(&folded), ["input", "stem", "swish", "body", "add", "pre"]);
        assert_eq!(folded.graph().nodes[4].inputs, [NodeId(3), NodeId(1)]);
        assert_eq!(folded.tensors().keys().filter(|name| name.starts_with("pre.")).count(), 4);
    }

    #[test]
    fn linear_layers_fold_unless_they_are_ternary() {
        let build = |weight: Tensor| {
            let mut g = GraphBuilder::new("t", Shape::new(2, 1, 1));
            let x = g.linear("fc", g.input(), 2);
            norm(&mut g, "bn", x);
            network(g, &[("fc.weight", weight), ("fc.bias", vector(&[1.0, -2.0]))])
        };
        let weight = DenseTensor::new(vec![2, 2], vec![1.0, 2.0, 3.0, 4.0]).unwrap();
        let folded = fold_batch_norm(&build(weight.into()));
        assert_eq!(names(&folded), ["input", "fc"]);
        assert_eq!(folded.tensor("fc.weight").unwrap().to_f32(), [2.0, 4.0, -3.0, -4.0]);
        assert_eq!(folded.tensor("fc.bias"), Some(&vector(&[5.0, 2.5])));

        let weight = TernaryTensor::new(vec![2, 2], vec![1, 0, -1, 1], 0.5, 0.75).unwrap();
        let ternary = build(weight.into());
        assert_eq!(fold_batch_norm(&ternary), ternary);
    }

    #[test]
    fn layers_that_the_output_does_not_need_are_left_out() {
        let mut g = input();
        let c = g.conv("c", g.input(), 2, 1, 1);
        g.relu("unread", c);
        norm(&mut g, "bn", c);
        let folded = fold_batch_norm(&network(g, &[("c.weight", dense_conv())]));
        assert_eq!(names(&folded), ["input", "c"]);
    }

    #[test]
    fn sixteen_bit_tensors_become_exact() {
        let mut g = input();
        let x = g.conv("c", g.input(), 2, 1, 1);
        norm(&mut g, "bn", x);
        let half = |data: &[f32], shape: &[usize]| {
            let dense = DenseTensor::new(shape.to_vec(), data.to_vec()).unwrap();
            Tensor::from(dense.with_storage(Storage::F16))
        };
        let weight = half(&[1.0, 2.0, 3.0, 4.0], &[2, 2, 1, 1]);
        let shift = half(&[0.1, 0.25], &[2]);
        let folded =
            fold_batch_norm(&network(g, &[("c.weight", weight), ("bn.bias", shift.clone())]));
        let Some(Tensor::Dense(bias)) = folded.tensor("c.bias") else { panic!() };
        assert_eq!(bias.storage(), Storage::F32);
        assert_eq!(bias.data(), [shift.to_f32()[0] + 1.0, 0.5]);
    }
}
