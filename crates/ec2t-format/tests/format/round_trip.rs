//! What is written is read back, for any network.

use std::collections::BTreeMap;

use crate::networks::{Random, every_feature};
use crate::pieces::Pieces;
use ec2t_format::codec::{CodecId, Effort, Kernels};
use ec2t_format::graph::{
    Activation, BatchNorm, Conv2d, Graph, GraphBuilder, Linear, PadShortcut, Padding, ParamKind,
    Pool2d, Shape,
};
use ec2t_format::stats::file_stats;
use ec2t_format::{
    Limits, Network, Node, NodeId, Op, Storage, Tensor, TernaryTensor, fold_batch_norm, layout,
    read, verify, write, write_with,
};
use proptest::prelude::*;

/// Some operation for an input of this shape; it need not fit.
fn operation(random: &mut Random, shape: Shape) -> Op {
    let mut size = |end| random.below(end) as usize;
    let flags = size(4);
    match size(12) {
        0 | 1 => Op::Conv2d(Conv2d {
            in_channels: shape.channels,
            out_channels: shape.channels * (1 + size(3)),
            kernel: [1 + size(3), 1 + size(3)],
            stride: [1 + size(2), 1 + size(2)],
            padding: match size(2) {
                0 => Padding::Same,
                _ => Padding::Explicit([size(3), size(3), size(3), size(3)]),
            },
            dilation: [1 + size(2), 1],
            groups: if size(2) == 0 { shape.channels } else { 1 },
            bias: flags & 1 == 0,
            scale: flags & 2 == 0,
        }),
        2 => Op::Linear(Linear {
            in_features: shape.numel(),
            out_features: 1 + size(20),
            bias: flags & 1 == 0,
        }),
        3 => Op::BatchNorm(BatchNorm {
            channels: shape.channels,
            eps: size(9) as f32 / 1000.0,
            momentum: size(9) as f32 / 10.0,
        }),
        4 => Op::Activation(match size(5) {
            0 => Activation::Relu,
            1 => Activation::Relu6,
            2 => Activation::Swish,
            3 => Activation::HardSwish,
            _ => Activation::Sigmoid,
        }),
        5 => Op::Add,
        6 => Op::Multiply,
        7 => Op::MaxPool(Pool2d { kernel: [2, 1], stride: [1, 1], padding: [0, 0, 1, 0] }),
        8 => Op::AvgPool(Pool2d::square(1 + size(2))),
        9 => Op::PadShortcut(PadShortcut { stride: 1 + size(2), out_channels: 8 }),
        10 => Op::Dropout { p: size(8) as f32 / 8.0 },
        _ if size(2) == 0 => Op::GlobalAvgPool,
        _ => Op::Flatten,
    }
}

/// A graph of those of `names` layers that fit, each reading any earlier ones.
fn random_graph(random: &mut Random, names: &[String]) -> Graph {
    let mut side = |end: u64| 1 + random.below(end) as usize;
    let mut g = GraphBuilder::new(&names[0], Shape::new(side(4), side(9), side(9)));
    let mut nodes = vec![NodeId::INPUT];
    for (position, name) in names.iter().enumerate() {
        let recent = |random: &mut Random| {
            nodes[nodes.len() - 1 - random.below(nodes.len().min(3) as u64) as usize]
        };
        let inputs = [recent(random), recent(random)];
        let op = operation(random, g.shape(inputs[0]));
        let mut longer = g.clone();
        let id = longer.push(&format!("{name}{position}"), op.clone(), &inputs[..op.arity()]);
        if longer.clone().finish().is_ok() {
            nodes.push(id);
            g = longer;
        }
    }
    let mut graph = g.finish().unwrap();
    if random.below(2) == 0 {
        let outputs = graph.output_shape().unwrap().numel();
        graph.classes = (0..outputs).map(|class| format!("{}{class}", names[0])).collect();
    }
    for value in &mut graph.preprocess.mean {
        *value = random.below(1000) as f32 / 7.0;
    }
    graph
}

fn random_network(seed: u64, names: &[String]) -> Network {
    let mut random = Random(seed);
    let graph = random_graph(&mut random, names);
    let mut tensors = BTreeMap::new();
    for param in graph.params() {
        let storage = if random.below(2) == 0 { Storage::F16 } else { Storage::F32 };
        let tensor: Tensor = match param.kind {
            ParamKind::Weight if random.below(3) > 0 => {
                let zeros = random.below(257);
                random.ternary(&param.shape, zeros).into()
            }
            _ => random.dense(&param.shape, storage).into(),
        };
        tensors.insert(param.name, tensor);
    }
    let mut network = Network::new(graph, tensors).unwrap();
    network.metadata = names.iter().map(|name| (name.clone(), name.repeat(3))).collect();
    network
}

fn names() -> impl Strategy<Value = Vec<String>> {
    prop::collection::vec("\\PC{1,12}", 1..12)
}

proptest! {
    #[test]
    fn any_network_is_read_back(seed: u64, names in names()) {
        let network = random_network(seed, &names);
        for effort in [Effort::Balanced, Effort::Max, Effort::Ready] {
            let file = write_with(&network, effort);
            let back = read(&file).unwrap();
            prop_assert_eq!(&back, &network);
            prop_assert!(write_with(&back, effort) == file);
            prop_assert_eq!(verify(&file, &Limits::default()), Ok(back));
            prop_assert!(Pieces::of(&file).file() == file);
        }
    }

    #[test]
    fn any_shape_and_density_is_read_back(
        seed: u64,
        inputs in 1usize..70,
        outputs in 1usize..70,
        zeros_of_256 in 0u64..=256,
    ) {
        let mut g = GraphBuilder::new("t", Shape::new(inputs, 1, 1));
        g.linear("fc", g.input(), outputs);
        let mut random = Random(seed);
        let weight = random.ternary(&[outputs, inputs], zeros_of_256);
        let bias = random.dense(&[outputs], Storage::F16);
        let tensors = [("fc.weight".into(), weight.into()), ("fc.bias".into(), bias.into())];
        let network = Network::new(g.finish().unwrap(), tensors.into()).unwrap();
        prop_assert_eq!(verify(&write(&network), &Limits::default()), Ok(network));
    }

    #[test]
    fn every_byte_has_one_owner(seed: u64, names in names()) {
        let network = random_network(seed, &names);
        let file = write(&network);
        let layout = layout(&file).unwrap();
        let mut end = layout.header_len + layout.toc_len;
        for section in &layout.sections {
            prop_assert_eq!(section.offset, end);
            end += section.len;
        }
        prop_assert_eq!(end, file.len());

        let stats = file_stats(&network, &layout);
        let layers: usize = stats.layers.iter().map(|layer| layer.bytes).sum();
        let rest: usize = stats.rest.iter().map(|part| part.bytes).sum();
        prop_assert_eq!(layers + rest, file.len());
        prop_assert_eq!(stats.total_bytes, file.len());
        let params: usize = stats.layers.iter().map(|layer| layer.params).sum();
        prop_assert_eq!(params, network.graph().parameter_count());
    }

    #[test]
    fn folding_keeps_every_shape(seed: u64, names in names()) {
        let network = random_network(seed, &names);
        let folded = fold_batch_norm(&network);
        let shape = |network: &Network| network.graph().output_shape().unwrap();
        prop_assert_eq!(shape(&folded), shape(&network));
        let dropout = |node: &Node| matches!(node.op, Op::Dropout { .. });
        prop_assert!(!folded.graph().nodes.iter().any(dropout));
        prop_assert!(write(&fold_batch_norm(&folded)) == write(&folded), "folding twice differs");
    }
}

#[test]
fn statistics_of_a_known_network() {
    let network = every_feature();
    let file = write(&network);
    let stats = file_stats(&network, &layout(&file).unwrap());
    let body = stats.layers.iter().find(|layer| layer.name == "body.conv").unwrap();
    assert_eq!((body.op, body.shape.as_slice()), ("conv2d", [8, 4, 3, 3].as_slice()));
    assert_eq!(body.params, 288 + 8 + 8);
    assert_eq!(body.encoding, "order-0");
    assert_eq!(body.macs, 4 * 5 * 288);
    let Some(Tensor::Ternary(weight)) = network.tensor("body.conv.weight") else { panic!() };
    let counts = weight.counts();
    assert_eq!(body.entropy_bits, Some(counts.entropy_bits()));
    let kernels = Kernels::of_shape(weight.shape());
    let codes = CodecId::Order0.encode(weight.codes(), kernels).len();
    assert_eq!(body.bytes, (4 + 4 + codes) + 8 * 2 + 8 * 4);

    let head = stats.layers.last().unwrap();
    assert_eq!((head.entropy_bits, head.encoding, head.macs), (None, "f32", 36));
    let parts: Vec<&str> = stats.rest.iter().map(|part| part.name.as_str()).collect();
    assert_eq!(parts, ["header", "toc", "graph", "map of f32", "map of f16", "metadata"]);
    // Of 18 tensors 5 are `f16`, 3 ternary.
    assert_eq!([0, 3, 4].map(|part: usize| stats.rest[part].bytes), [36, 3, 1]);
    assert_eq!(stats.overhead_bytes, stats.rest.iter().map(|part| part.bytes).sum::<usize>());
    assert_eq!(stats.overhead_bytes + stats.payload_bytes + stats.side_bytes, file.len());
    assert_eq!(body.stored_bits, 8.0 * codes as f64 / 288.0);
}

#[test]
fn a_single_value_is_read_back() {
    let mut g = GraphBuilder::new("t", Shape::new(1, 1, 1));
    let fc = Linear { in_features: 1, out_features: 1, bias: false };
    g.push("fc", Op::Linear(fc), &[NodeId::INPUT]);
    let graph = g.finish().unwrap();
    for code in [-1, 0, 1] {
        let weight = TernaryTensor::new(vec![1, 1], vec![code], 0.0, f32::MAX).unwrap();
        let tensors = BTreeMap::from([("fc.weight".into(), weight.into())]);
        let network = Network::new(graph.clone(), tensors).unwrap();
        assert_eq!(read(&write(&network)), Ok(network));
    }
}
