//! Random graphs: whatever is fused, folded and done in place, the engine
//! computes what the interpreter does.

use ec2t_format::Graph;
use ec2t_format::graph::{Activation, Conv2d, GraphBuilder, NodeId, Op, Padding, Pool2d, Shape};
use ec2t_infer::Model;
use proptest::prelude::*;

use super::common::{Values, interpret_all, network};

/// Channels of most values, so that many of them can be added.
const CHANNELS: usize = 4;

#[derive(Clone, Copy, Debug)]
enum Layer {
    Conv { stride: usize },
    Pointwise,
    Depthwise,
    Linear,
    BatchNorm,
    Activation(Activation),
    Add,
    Gate,
    SqueezeExcite,
    MaxPool,
    AvgPool,
    PadShortcut { stride: usize },
    Dropout,
    Flatten,
}

/// A layer and its operands: how many values before the latest one they are.
type Choice = (Layer, [usize; 2]);

fn choices() -> impl Strategy<Value = Vec<Choice>> {
    let activation = prop::sample::select(vec![
        Activation::Relu,
        Activation::Relu6,
        Activation::Swish,
        Activation::HardSwish,
        Activation::Sigmoid,
    ]);
    let layer = prop_oneof![
        4 => Just(Layer::Conv { stride: 1 }),
        1 => Just(Layer::Conv { stride: 2 }),
        2 => Just(Layer::Pointwise),
        2 => Just(Layer::Depthwise),
        1 => Just(Layer::Linear),
        2 => Just(Layer::BatchNorm),
        4 => activation.prop_map(Layer::Activation),
        5 => Just(Layer::Add),
        1 => Just(Layer::Gate),
        1 => Just(Layer::SqueezeExcite),
        1 => Just(Layer::MaxPool),
        1 => Just(Layer::AvgPool),
        1 => (1..3usize).prop_map(|stride| Layer::PadShortcut { stride }),
        1 => Just(Layer::Dropout),
        1 => Just(Layer::Flatten),
    ];
    let back = prop_oneof![4 => Just(0usize), 2 => Just(1), 1 => 2..5usize];
    prop::collection::vec((layer, [back.clone(), back]), 1..24)
}

/// Graphs with any such layers.
pub(crate) fn graphs() -> impl Strategy<Value = Graph> {
    choices().prop_map(|choices| {
        let mut growth = Growth::new();
        choices.into_iter().for_each(|choice| growth.add(choice));
        growth.graph.finish().unwrap()
    })
}

/// The graph with these layers; one that does not fit becomes a rectifier.
struct Growth {
    graph: GraphBuilder,
    values: Vec<NodeId>,
}

impl Growth {
    fn new() -> Self {
        let graph = GraphBuilder::new("random", Shape::new(CHANNELS, 6, 5));
        let values = vec![graph.input()];
        Self { graph, values }
    }

    fn add(&mut self, (layer, [first, second]): Choice) {
        let x = *self.values.iter().rev().nth(first).unwrap_or(&self.values[0]);
        let other = self.like(x, second);
        let shape = self.graph.shape(x);
        let g = &mut self.graph;
        let name = format!("n{}", self.values.len());
        let name = name.as_str();
        let fits = shape.height > 1 && shape.width > 1;
        let value = match layer {
            Layer::Conv { stride } => g.conv(name, x, CHANNELS, 3, stride),
            Layer::Pointwise => g.conv(name, x, CHANNELS, 1, 1),
            Layer::Depthwise => g.push(name, depthwise(shape.channels), &[x]),
            Layer::Linear => {
                let flat = g.flatten(&format!("{name}.flat"), x);
                g.linear(name, flat, CHANNELS)
            }
            Layer::BatchNorm => g.batch_norm(name, x),
            Layer::Activation(function) => g.activation(name, x, function),
            Layer::Add => g.add(name, x, other),
            Layer::Gate => {
                let gate = g.activation(&format!("{name}.gate"), other, Activation::Sigmoid);
                g.multiply(name, x, gate)
            }
            Layer::SqueezeExcite => {
                let s = g.global_avg_pool(&format!("{name}.pool"), x);
                let s = g.conv(&format!("{name}.fc"), s, shape.channels, 1, 1);
                let s = g.activation(&format!("{name}.gate"), s, Activation::Sigmoid);
                g.multiply(name, x, s)
            }
            Layer::MaxPool if fits => g.max_pool(name, x, 2),
            Layer::AvgPool if fits => g.push(name, Op::AvgPool(Pool2d::square(2)), &[x]),
            Layer::PadShortcut { stride } => {
                g.pad_shortcut(name, x, shape.channels.max(CHANNELS), stride)
            }
            Layer::Dropout => g.dropout(name, x, 0.5),
            Layer::Flatten => g.flatten(name, x),
            Layer::MaxPool | Layer::AvgPool => g.relu(name, x),
        };
        self.values.push(value);
    }

    /// One of the latest values that have the shape of `x`, which may be `x`.
    fn like(&self, x: NodeId, back: usize) -> NodeId {
        let shape = self.graph.shape(x);
        let fit = |value: &&NodeId| self.graph.shape(**value) == shape;
        let alike: Vec<&NodeId> = self.values.iter().rev().filter(fit).collect();
        // Further back than for the first operand, which is mostly the latest.
        *alike[(back + 1).min(alike.len() - 1)]
    }
}

fn depthwise(channels: usize) -> Op {
    Op::Conv2d(Conv2d {
        in_channels: channels,
        out_channels: channels,
        kernel: [3, 3],
        stride: [1, 1],
        padding: Padding::Same,
        dilation: [1, 1],
        groups: channels,
        bias: true,
        scale: false,
    })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(500))]
    #[test]
    fn random_graphs(graph in graphs(), seed: u64) {
        let network = network(graph);
        let image = Values(seed).floats(network.graph().input.numel());
        let expected = interpret_all(&network, &image);
        // Errors follow the largest value on the way, not that of the output.
        let largest = expected.iter().flatten().fold(1.0f32, |m, v| m.max(v.abs()));

        let model = Model::new(network).unwrap();
        let mut session = model.session();
        for _ in 0..2 {
            let found = session.run(&image).unwrap();
            let expected = expected.last().unwrap();
            prop_assert_eq!(found.len(), expected.len());
            for (a, b) in found.iter().zip(expected) {
                prop_assert!((a - b).abs() <= 1e-5 * largest, "{:?} for {:?}", found, expected);
            }
        }
    }
}
