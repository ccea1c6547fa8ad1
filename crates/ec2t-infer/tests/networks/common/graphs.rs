//! Small graphs of the kinds that the engine has to run.

use ec2t_format::graph::{Activation, Conv2d, GraphBuilder, Padding, Pool2d, Shape};
use ec2t_format::{Graph, Op};

/// A LeNet: plain convolutions, max pools, three matrix products.
pub(crate) fn lenet() -> Graph {
    let mut g = GraphBuilder::new("lenet", Shape::new(1, 16, 16));
    let x = g.conv("conv1", g.input(), 6, 5, 1);
    let x = g.relu("relu1", x);
    let x = g.max_pool("pool1", x, 2);
    let x = g.conv("conv2", x, 12, 5, 1);
    let x = g.relu("relu2", x);
    let x = g.max_pool("pool2", x, 2);
    let x = g.flatten("flatten", x);
    let x = g.linear("fc1", x, 30);
    let x = g.relu("relu3", x);
    let x = g.dropout("dropout", x, 0.5);
    g.linear("fc2", x, 10);
    g.finish().unwrap()
}

/// A residual network with an identity and an option-A shortcut.
pub(crate) fn resnet() -> Graph {
    let mut g = GraphBuilder::new("resnet", Shape::new(3, 9, 9));
    let x = g.conv("stem", g.input(), 4, 3, 1);
    let x = g.batch_norm("bn", x);
    let mut x = g.relu("relu", x);
    for (block, out, stride) in [("a", 4, 1), ("b", 9, 2)] {
        let y = g.conv(&format!("{block}.conv1"), x, out, 3, stride);
        let y = g.batch_norm(&format!("{block}.bn1"), y);
        let y = g.relu(&format!("{block}.relu1"), y);
        let y = g.conv(&format!("{block}.conv2"), y, out, 3, 1);
        let y = g.batch_norm(&format!("{block}.bn2"), y);
        let short = match stride {
            1 => x,
            _ => g.pad_shortcut(&format!("{block}.short"), x, out, stride),
        };
        let sum = g.add(&format!("{block}.add"), y, short);
        x = g.relu(&format!("{block}.relu2"), sum);
    }
    let x = g.global_avg_pool("pool", x);
    let x = g.flatten("flatten", x);
    g.linear("fc", x, 10);
    g.finish().unwrap()
}

/// Inverted residuals with depthwise convolutions, "same" padding and
/// squeeze-and-excitation.
pub(crate) fn efficientnet() -> Graph {
    let mut g = GraphBuilder::new("efficientnet", Shape::new(3, 11, 11));
    let swish = Op::Activation(Activation::Swish);
    let stem = g.conv("stem", g.input(), 6, 3, 2);
    let stem = g.batch_norm("bn0", stem);
    let stem = g.push("swish0", swish.clone(), &[stem]);
    let x = g.conv("expand", stem, 12, 1, 1);
    let x = g.batch_norm("bn1", x);
    let x = g.push("swish1", swish.clone(), &[x]);
    let depthwise = Conv2d {
        in_channels: 12,
        out_channels: 12,
        kernel: [5, 5],
        stride: [1, 1],
        padding: Padding::Same,
        dilation: [1, 1],
        groups: 12,
        bias: false,
        scale: false,
    };
    let x = g.push("depthwise", Op::Conv2d(depthwise), &[x]);
    let x = g.batch_norm("bn2", x);
    let x = g.push("swish2", swish, &[x]);
    let s = g.global_avg_pool("squeeze", x);
    let s = g.conv("reduce", s, 3, 1, 1);
    let s = g.push("hard", Op::Activation(Activation::HardSwish), &[s]);
    let s = g.conv("excite", s, 12, 1, 1);
    let s = g.push("gate", Op::Activation(Activation::Sigmoid), &[s]);
    let x = g.push("scaled", Op::Multiply, &[x, s]);
    let x = g.conv("project", x, 6, 1, 1);
    let x = g.batch_norm("bn3", x);
    let x = g.add("add", x, stem);
    let x = g.push("avg", Op::AvgPool(Pool2d::square(2)), &[x]);
    let x = g.global_avg_pool("pool", x);
    let x = g.flatten("flatten", x);
    g.linear("fc", x, 7);
    g.finish().unwrap()
}

/// Two depthwise convolutions that read more than a mebibyte each, that of a stem, in
/// full precision, and that of ternary weights.
pub(crate) fn expanding() -> Graph {
    let mut g = GraphBuilder::new("expanding", Shape::new(3, 96, 96));
    let depthwise = |channels, kernel, stride| {
        Op::Conv2d(Conv2d {
            in_channels: channels,
            out_channels: channels,
            kernel: [kernel; 2],
            stride: [stride; 2],
            padding: Padding::Same,
            dilation: [1, 1],
            groups: channels,
            bias: false,
            scale: false,
        })
    };
    let x = g.conv("stem", g.input(), 35, 3, 1);
    let x = g.relu("relu0", x);
    let x = g.push("depthwise0", depthwise(35, 3, 2), &[x]);
    let x = g.conv("expand", x, 130, 1, 1);
    let x = g.batch_norm("bn1", x);
    let x = g.push("swish1", Op::Activation(Activation::Swish), &[x]);
    let x = g.push("depthwise", depthwise(130, 5, 1), &[x]);
    let x = g.batch_norm("bn2", x);
    let x = g.conv("project", x, 6, 1, 1);
    let x = g.global_avg_pool("pool", x);
    let x = g.flatten("flatten", x);
    g.linear("fc", x, 7);
    g.finish().unwrap()
}

/// Batch normalisation before a convolution, after a sum, and read twice: none
/// of it can be folded. The same value is also added to and multiplied by
/// itself.
pub(crate) fn micronet() -> Graph {
    let mut g = GraphBuilder::new("micronet", Shape::new(3, 8, 8));
    let x = g.batch_norm("pre", g.input());
    let x = g.conv("conv1", x, 5, 3, 1);
    let twice = g.add("twice", x, x);
    let y = g.batch_norm("post", twice);
    let y = g.push("relu6", Op::Activation(Activation::Relu6), &[y]);
    let y = g.conv("conv2", y, 5, 3, 1);
    let sum = g.add("sum", y, twice);
    let norm = g.batch_norm("norm", sum);
    let square = g.push("square", Op::Multiply, &[norm, norm]);
    let x = g.add("out", square, norm);
    let x = g.global_avg_pool("pool", x);
    let x = g.flatten("flatten", x);
    let x = g.linear("fc1", x, 8);
    g.linear("fc2", x, 6);
    g.finish().unwrap()
}

/// Layers before sums and activations that cannot all be fused: values that
/// others read, an activation before a sum, two layers in one sum, two sums.
pub(crate) fn branches() -> Graph {
    let mut g = GraphBuilder::new("branches", Shape::new(3, 7, 7));
    let stem = g.conv("stem", g.input(), 4, 3, 1);
    let a = g.conv("a", stem, 4, 3, 1);
    let a_relu = g.relu("a_relu", a);
    let x = g.multiply("a_gated", a_relu, a);
    let b = g.conv("b", x, 4, 3, 1);
    let b_relu = g.relu("b_relu", b);
    let b_sum = g.add("b_sum", b_relu, stem);
    let left = g.conv("left", b_sum, 4, 3, 1);
    let right = g.conv("right", b_sum, 4, 1, 1);
    let both = g.add("both", left, right);
    let both_relu = g.relu("both_relu", both);
    let c = g.conv("c", both_relu, 4, 3, 1);
    let c_sum = g.add("c_sum", both_relu, c);
    let twice = g.add("twice", c_sum, both_relu);
    let d = g.conv("d", twice, 4, 3, 1);
    let d_sum = g.add("d_sum", d, stem);
    let d_relu = g.relu("d_relu", d_sum);
    let x = g.add("d_end", d_relu, d_sum);
    let x = g.global_avg_pool("pool", x);
    let fc = g.linear("fc", x, 4);
    let sum = g.add("sum", fc, x);
    g.relu("out", sum);
    g.finish().unwrap()
}
