//! Networks that several tests share.

use std::collections::BTreeMap;

use ec2t_format::codec::CodecId;
use ec2t_format::graph::{
    Activation, BatchNorm, Conv2d, Graph, GraphBuilder, Linear, Padding, ParamKind, Pool2d,
    Preprocess, Shape,
};
use ec2t_format::{DenseTensor, Network, NodeId, Op, Storage, Tensor, TernaryTensor};

/// SplitMix64.
pub(crate) struct Random(pub(crate) u64);

impl Random {
    pub(crate) fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    pub(crate) fn below(&mut self, end: u64) -> u64 {
        self.next() % end
    }

    /// Any float but NaN, which equals nothing, not even itself.
    pub(crate) fn float(&mut self) -> f32 {
        let value = f32::from_bits(self.next() as u32);
        if value.is_nan() { -0.0 } else { value }
    }

    pub(crate) fn ternary(&mut self, shape: &[usize], zeros_of_256: u64) -> TernaryTensor {
        let code = |random: &mut Self| match random.next() {
            word if word & 0xff < zeros_of_256 => 0,
            word if word & 0x100 == 0 => -1,
            _ => 1,
        };
        let codes = (0..shape.iter().product()).map(|_| code(self)).collect();
        let mut centroid = || self.below(1 << 20) as f32 / 1000.0;
        TernaryTensor::new(shape.to_vec(), codes, centroid(), centroid()).unwrap()
    }

    pub(crate) fn dense(&mut self, shape: &[usize], storage: Storage) -> DenseTensor {
        let data = (0..shape.iter().product()).map(|_| self.float()).collect();
        DenseTensor::new(shape.to_vec(), data).unwrap().with_storage(storage)
    }
}

/// The smallest useful network: four features, one linear layer of two outputs.
pub(crate) fn tiny() -> Network {
    let mut g = GraphBuilder::new("t", Shape::new(4, 1, 1));
    g.linear("fc", g.input(), 2);
    let weight = TernaryTensor::new(vec![2, 4], vec![0, 0, 1, -1, 0, 0, 0, 0], 0.5, 0.75).unwrap();
    let bias = DenseTensor::new(vec![2], vec![0.5, 0.25]).unwrap();
    let tensors =
        BTreeMap::from([("fc.weight".into(), weight.into()), ("fc.bias".into(), bias.into())]);
    let mut network = Network::new(g.finish().unwrap(), tensors).unwrap();
    network.metadata.insert("a".into(), "b".into());
    network
}

/// A network with every operation, activation, padding, codec and storage: the
/// one in the files of `golden`.
pub(crate) fn every_feature() -> Network {
    let graph = every_operation();
    let mut random = Random(1);
    let mut tensor = |name: &str, kind: ParamKind, shape: &[usize]| -> Tensor {
        match (name, kind) {
            ("body.conv.weight" | "neck.weight", _) => random.ternary(shape, 200).into(),
            ("body.depthwise.weight", _) => random.ternary(shape, 10).into(),
            ("stem.conv.weight", _) => random.dense(shape, Storage::F16).into(),
            (_, ParamKind::RunningMean | ParamKind::Scale) => {
                random.dense(shape, Storage::F16).into()
            }
            _ => random.dense(shape, Storage::F32).into(),
        }
    };
    let tensors = graph
        .params()
        .into_iter()
        .map(|param| {
            let tensor = tensor(&param.name, param.kind, &param.shape);
            (param.name, tensor)
        })
        .collect();
    let mut network = Network::new(graph, tensors).unwrap();
    network.metadata.insert("source".into(), "golden file of version 1".into());
    network.metadata.insert("größe".into(), "".into());
    network
}

/// The codecs of version 1.1.
pub(crate) const CODECS_OF_1_1: [CodecId; 6] = [
    CodecId::TwoBit,
    CodecId::Trits,
    CodecId::MaskSign,
    CodecId::Balanced,
    CodecId::Max,
    CodecId::Order0,
];

/// A convolution for each codec of version 1.1, all with the same smooth weights, which
/// lack one output and one input channel: [12, 10, 3, 3].
pub(crate) fn layer_per_codec() -> Network {
    let mut g = GraphBuilder::new("codecs", Shape::new(10, 3, 3));
    let mut tensors = BTreeMap::new();
    let mut random = Random(7);
    let shape = [12, 10, 3, 3];
    let slopes: Vec<[i64; 3]> =
        (0..120).map(|_| [0; 3].map(|_| random.below(9) as i64 - 4)).collect();
    let code = |at: usize| {
        let (kernel, row, col) = (at / 9, (at % 9 / 3) as i64 - 1, (at % 3) as i64 - 1);
        let [offset, down, right] = slopes[kernel];
        match kernel {
            _ if kernel / 10 == 5 || kernel % 10 == 3 => 0,
            _ => ((offset + down * row + right * col) / 4).signum() as i8,
        }
    };
    let codes: Vec<i8> = (0..1080).map(code).collect();
    for codec in CODECS_OF_1_1 {
        let name = codec.name();
        let x = conv(10, 12, 3);
        g.push(name, Op::Conv2d(Conv2d { bias: false, ..x }), &[NodeId::INPUT]);
        let weight = TernaryTensor::new(shape.to_vec(), codes.clone(), 0.25, 0.5).unwrap();
        tensors.insert(format!("{name}.weight"), weight.into());
    }
    Network::new(g.finish().unwrap(), tensors).unwrap()
}

fn every_operation() -> Graph {
    let mut g = GraphBuilder::new("golden", Shape::new(3, 8, 9));
    let stem = Conv2d { bias: true, ..conv(3, 4, 3) };
    let x = g.push("stem.conv", Op::Conv2d(stem), &[NodeId::INPUT]);
    let x = g.batch_norm("stem.bn", x);
    let stem = g.relu("stem.relu", x);

    let body =
        Conv2d { stride: [2, 2], padding: Padding::Same, bias: true, scale: true, ..conv(4, 8, 3) };
    let x = g.push("body.conv", Op::Conv2d(body), &[stem]);
    let short = g.pad_shortcut("body.short", stem, 8, 2);
    let x = g.add("body.add", x, short);
    let depthwise = Conv2d { groups: 8, dilation: [2, 1], ..conv(8, 8, 3) };
    let depthwise = Conv2d { padding: Padding::Explicit([2, 1, 2, 0]), ..depthwise };
    let x = g.push("body.depthwise", Op::Conv2d(depthwise), &[x]);
    let norm = BatchNorm { channels: 8, eps: 1e-3, momentum: 0.01 };
    let mut x = g.push("body.bn", Op::BatchNorm(norm), &[x]);
    for (name, function) in [
        ("body.relu6", Activation::Relu6),
        ("body.swish", Activation::Swish),
        ("body.hard_swish", Activation::HardSwish),
    ] {
        x = g.push(name, Op::Activation(function), &[x]);
    }

    let s = g.global_avg_pool("squeeze.pool", x);
    let s = g.conv("squeeze.conv", s, 8, 1, 1);
    let s = g.push("squeeze.sigmoid", Op::Activation(Activation::Sigmoid), &[s]);
    let x = g.push("squeeze.scale", Op::Multiply, &[x, s]);

    let pool = Pool2d { kernel: [3, 2], stride: [2, 1], padding: [1, 0, 1, 1] };
    let x = g.push("pool.avg", Op::AvgPool(pool), &[x]);
    let x = g.max_pool("pool.max", x, 2);
    let x = g.dropout("drop", x, 0.25);
    let x = g.flatten("flatten", x);
    let neck = Linear { in_features: g.shape(x).numel(), out_features: 12, bias: false };
    let x = g.push("neck", Op::Linear(neck), &[x]);
    g.linear("head", x, 3);

    let mut graph = g.finish().unwrap();
    graph.preprocess =
        Preprocess { mean: vec![0.485, 0.456, 0.406], std: vec![0.229, 0.224, 0.225] };
    graph.classes = ["cat", "Köter", "bird"].map(String::from).to_vec();
    graph
}

/// A square convolution that keeps the size of the image.
fn conv(in_channels: usize, out_channels: usize, kernel: usize) -> Conv2d {
    Conv2d {
        in_channels,
        out_channels,
        kernel: [kernel; 2],
        stride: [1; 2],
        padding: Padding::all(kernel / 2),
        dilation: [1; 2],
        groups: 1,
        bias: false,
        scale: false,
    }
}
