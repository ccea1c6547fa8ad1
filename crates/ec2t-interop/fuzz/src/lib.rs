//! What the fuzz targets share: what they begin with.

use std::collections::BTreeMap;
use std::{env, fs, path::PathBuf};

use ec2t_format::graph::{
    Activation, Conv2d, GraphBuilder, NodeId, Padding, ParamKind, Pool2d, Preprocess, Shape,
};
use ec2t_format::{DenseTensor, Graph, Network, Op, Tensor, TernaryTensor};

/// Names the folder of a target's first inputs.
const SEEDS: &str = "EC2T_SEEDS_DIR";

/// Writes what a fuzzer begins with, where it has been told a folder; it calls this before
/// it reads that folder.
pub fn write_seeds(files: Vec<Vec<u8>>) {
    let Some(folder) = env::var_os(SEEDS).map(PathBuf::from) else { return };
    for (number, file) in files.iter().enumerate() {
        fs::write(folder.join(number.to_string()), file).expect("seeds can be written");
    }
}

/// Small networks that have every kind of layer between them.
pub fn networks() -> Vec<Network> {
    [plain(), residual(), excited(), preprocessed()].map(network).into()
}

/// Convolutions, pooling, matrix products.
fn plain() -> Graph {
    let mut g = GraphBuilder::new("plain", Shape::new(1, 8, 8));
    let x = g.conv("conv", g.input(), 2, 3, 1);
    let x = g.relu("relu", x);
    let x = g.max_pool("max", x, 2);
    let x = g.push("mean", Op::AvgPool(Pool2d { padding: [1; 4], ..Pool2d::square(3) }), &[x]);
    let x = g.flatten("flatten", x);
    let x = g.linear("fc1", x, 3);
    let x = g.dropout("dropout", x, 0.5);
    g.linear("fc2", x, 2);
    finished(g)
}

/// Sums, option-A shortcuts with and without a step, normalisation that can't be folded.
fn residual() -> Graph {
    let mut g = GraphBuilder::new("residual", Shape::new(2, 5, 5));
    let x = g.batch_norm("before", g.input());
    let y = g.conv("conv", x, 5, 3, 2);
    let y = g.batch_norm("norm", y);
    let x = g.pad_shortcut("short", x, 5, 2);
    let x = g.add("sum", y, x);
    let x = g.pad_shortcut("wider", x, 6, 1);
    let x = g.pad_shortcut("smaller", x, 6, 2);
    let x = g.global_avg_pool("pool", x);
    g.linear("fc", x, 2);
    finished(g)
}

/// A gate of each kind, "same" padding, a depthwise convolution.
fn excited() -> Graph {
    let mut g = GraphBuilder::new("excited", Shape::new(2, 4, 4));
    let conv = Conv2d {
        in_channels: 2,
        out_channels: 2,
        kernel: [3, 3],
        stride: [2, 2],
        padding: Padding::Same,
        dilation: [1, 1],
        groups: 2,
        bias: false,
        scale: false,
    };
    let x = g.push("depthwise", Op::Conv2d(conv), &[NodeId::INPUT]);
    let x = g.batch_norm("norm", x);
    let x = g.activation("swish", x, Activation::Swish);
    let s = g.global_avg_pool("squeeze", x);
    let s = g.conv("excite", s, 2, 1, 1);
    let s = g.activation("gate", s, Activation::Sigmoid);
    let x = g.multiply("gated", x, s);
    let x = g.activation("hard", x, Activation::HardSwish);
    let x = g.activation("clipped", x, Activation::Relu6);
    g.global_avg_pool("pool", x);
    finished(g)
}

/// One layer behind preprocessing, and class names.
fn preprocessed() -> Graph {
    let mut g = GraphBuilder::new("preprocessed", Shape::new(3, 1, 1));
    g.linear("fc", g.input(), 2);
    let classes = ["cat", "dog"].map(str::to_owned).into();
    Graph { preprocess: Preprocess::imagenet(), classes, ..finished(g) }
}

fn finished(builder: GraphBuilder) -> Graph {
    builder.finish().expect("the layers fit")
}

/// A graph with weights; those of matrices and kernels are ternary.
fn network(graph: Graph) -> Network {
    let params = graph.params().into_iter();
    let tensors: BTreeMap<String, Tensor> = params
        .map(|param| {
            let (count, shape) = (param.numel(), param.shape);
            let tensor = match param.kind {
                ParamKind::Weight => {
                    let codes = (0..count).map(|at| [1, 0, -1, 0, 1][at % 5]).collect();
                    TernaryTensor::new(shape, codes, 0.25, 0.5).map(Tensor::from)
                }
                _ => {
                    let values = (1..=count).map(|at| at as f32 / 8.0).collect();
                    DenseTensor::new(shape, values).map(Tensor::from)
                }
            };
            (param.name, tensor.expect("as many values as the shape has"))
        })
        .collect();
    Network::new(graph, tensors).expect("each layer has its tensors")
}

/// Every tensor's values, bit by bit, in the order of the names.
pub fn bits(network: &Network) -> Vec<(&str, Vec<u32>)> {
    let tensors = network.tensors().iter();
    tensors
        .map(|(name, t)| (name.as_str(), t.to_f32().iter().map(|v| v.to_bits()).collect()))
        .collect()
}
