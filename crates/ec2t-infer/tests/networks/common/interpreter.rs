//! Computes node after node by the definitions; nothing is folded or reused.

use ec2t_format::graph::{Activation, Conv2d, Pool2d, Shape};
use ec2t_format::{Network, Op, Tensor};
use ec2t_kernels::{ConvShape, PoolShape, elementwise, reference, spatial};

/// The logits of one image.
pub(crate) fn interpret(network: &Network, image: &[f32]) -> Vec<f32> {
    interpret_all(network, image).pop().unwrap()
}

/// The values of all nodes for one image.
pub(crate) fn interpret_all(network: &Network, image: &[f32]) -> Vec<Vec<f32>> {
    let graph = network.graph();
    let shapes = graph.shapes().unwrap();
    let mut values: Vec<Vec<f32>> = Vec::new();
    for (node, shape) in graph.nodes.iter().zip(&shapes) {
        let operand = |i: usize| values[node.inputs[i].index()].clone();
        let input_shape = |i: usize| shapes[node.inputs[i].index()];
        let tensor =
            |suffix: &str| network.tensor(&format!("{}.{suffix}", node.name)).map(Tensor::to_f32);
        let mut output = vec![0.0; shape.numel()];
        match &node.op {
            Op::Input => output.copy_from_slice(image),
            Op::Conv2d(conv) => {
                let weights = tensor("weight").unwrap();
                let conv = conv_shape(conv, input_shape(0));
                reference::conv2d(&conv, &weights, &operand(0), &mut output);
                let plane = conv.output_plane();
                if let Some(scale) = tensor("scale") {
                    elementwise::multiply_channels(&mut output, plane, &scale);
                }
                add_bias(&mut output, plane, tensor("bias"));
            }
            Op::Linear(_) => {
                reference::linear(&tensor("weight").unwrap(), &operand(0), &mut output);
                add_bias(&mut output, 1, tensor("bias"));
            }
            Op::BatchNorm(norm) => {
                let [weight, bias, mean, var] = ["weight", "bias", "running_mean", "running_var"]
                    .map(|suffix| tensor(suffix).unwrap());
                let plane = shape.height * shape.width;
                for (i, (value, x)) in output.iter_mut().zip(operand(0)).enumerate() {
                    let c = i / plane;
                    let deviation = (var[c] + norm.eps).sqrt();
                    *value = (x - mean[c]) / deviation * weight[c] + bias[c];
                }
            }
            Op::Activation(function) => {
                let function = match function {
                    Activation::Relu => elementwise::relu,
                    Activation::Relu6 => elementwise::relu6,
                    Activation::Swish => elementwise::swish,
                    Activation::HardSwish => elementwise::hard_swish,
                    Activation::Sigmoid => elementwise::sigmoid,
                };
                output = operand(0);
                elementwise::map(&mut output, function);
            }
            Op::Add => {
                output = operand(0);
                elementwise::add(&mut output, &operand(1));
            }
            Op::Multiply => {
                let plane = shape.numel() / input_shape(1).numel();
                let factors = operand(1);
                output = operand(0);
                for (i, value) in output.iter_mut().enumerate() {
                    *value *= factors[i / plane];
                }
            }
            Op::MaxPool(pool) => {
                spatial::max_pool(&pool_shape(pool, input_shape(0)), &operand(0), &mut output);
            }
            Op::AvgPool(pool) => {
                spatial::avg_pool(&pool_shape(pool, input_shape(0)), &operand(0), &mut output);
            }
            Op::GlobalAvgPool => {
                let plane = input_shape(0).height * input_shape(0).width;
                spatial::global_avg_pool(plane, &operand(0), &mut output);
            }
            Op::PadShortcut(pad) => {
                let size = [input_shape(0).height, input_shape(0).width];
                spatial::pad_shortcut(size, pad.stride, &operand(0), &mut output);
            }
            Op::Dropout { .. } | Op::Flatten => output = operand(0),
        }
        values.push(output);
    }
    values
}

fn add_bias(output: &mut [f32], plane: usize, bias: Option<Vec<f32>>) {
    for (i, value) in output.iter_mut().enumerate() {
        *value += bias.as_ref().map_or(0.0, |bias| bias[i / plane]);
    }
}

fn conv_shape(conv: &Conv2d, input: Shape) -> ConvShape {
    let input = [input.height, input.width];
    let geometry = conv.geometry(input).unwrap();
    ConvShape {
        in_channels: conv.in_channels,
        out_channels: conv.out_channels,
        input,
        kernel: conv.kernel,
        stride: conv.stride,
        dilation: conv.dilation,
        padding: geometry.padding,
        groups: conv.groups,
        output: geometry.output,
    }
}

fn pool_shape(pool: &Pool2d, input: Shape) -> PoolShape {
    let size = [input.height, input.width];
    let geometry = pool.geometry(size).unwrap();
    PoolShape {
        channels: input.channels,
        input: size,
        kernel: pool.kernel,
        stride: pool.stride,
        padding: geometry.padding,
        output: geometry.output,
    }
}
