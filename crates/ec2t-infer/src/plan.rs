//! The sequence of kernels and buffers that computes a network.

use ec2t_format::graph::{Graph, Shape};
use ec2t_format::{Network, Op};

use crate::cost::{self, Prediction};
use crate::error::LoadError;
use crate::fuse::{Group, Groups};
use crate::kernel::{Kernel, activation};
use crate::layout::{Layout, Operand, Operands};

/// Most memory for the activations of one image.
const MEMORY_LIMIT: usize = 2 << 30;

/// How a network is computed.
#[derive(Debug)]
pub(crate) struct Plan {
    pub(crate) steps: Vec<Step>,
    /// Length of each buffer.
    pub(crate) buffers: Vec<usize>,
    /// Length of the scratch space that all steps share.
    pub(crate) workspace: usize,
    /// The logits.
    pub(crate) output: Operand,
}

/// One kernel with its operands.
#[derive(Debug)]
pub(crate) struct Step {
    /// Name of the node that the kernel was chosen for.
    pub(crate) name: String,
    /// Name of the node's operation.
    pub(crate) op: &'static str,
    /// Name of the kernel, with what is fused into it.
    pub(crate) label: String,
    /// About how long it takes, if it has weights.
    pub(crate) prediction: Option<Prediction>,
    /// More threads would not make it faster.
    pub(crate) most_threads: usize,
    pub(crate) kernel: Kernel,
    pub(crate) operands: Operands,
}

impl Plan {
    /// Packs the weights of a network and lays out its buffers.
    ///
    /// # Errors
    /// Where a layer or all activations together are too large.
    pub(crate) fn new(network: &Network) -> Result<Self, LoadError> {
        let graph = network.graph();
        let shapes = graph.shapes().expect("a network's graph is valid");
        let groups = Groups::new(graph);
        let mut layout = Layout::new(&groups, graph.nodes.len(), graph.input.numel());
        let mut steps = Vec::new();
        for group in &groups.list {
            let kernel = pack(network, group, &shapes)?;
            let len = shapes[group.value.index()].numel();
            let operands = layout.step(group, kernel.is_in_place(), len);
            let prediction = cost::predict(network, &graph.nodes[group.node.index()], &shapes);
            steps.push(Step::new(graph, group, kernel, operands, prediction));
        }
        let plan = Self {
            workspace: steps.iter().map(|step| step.kernel.workspace_len()).max().unwrap_or(0),
            output: layout.place(groups.output),
            buffers: layout.into_buffers(),
            steps,
        };
        plan.check_memory()
    }

    fn check_memory(self) -> Result<Self, LoadError> {
        let values = self.buffers.iter().fold(self.workspace, |n, len| n.saturating_add(*len));
        let needed = values.saturating_mul(size_of::<f32>());
        match needed <= MEMORY_LIMIT {
            true => Ok(self),
            false => Err(LoadError::Memory { needed, limit: MEMORY_LIMIT }),
        }
    }
}

/// The kernel of a group.
fn pack(network: &Network, group: &Group, shapes: &[Shape]) -> Result<Kernel, LoadError> {
    let node = &network.graph().nodes[group.node.index()];
    let inputs: Vec<Shape> = node.inputs.iter().map(|input| shapes[input.index()]).collect();
    Kernel::new(network, node, &inputs, group.activation)
        .map_err(|source| LoadError::Layer { layer: node.name.clone(), source })
}

impl Step {
    fn new(
        graph: &Graph,
        group: &Group,
        kernel: Kernel,
        operands: Operands,
        prediction: Option<Prediction>,
    ) -> Self {
        let node = &graph.nodes[group.node.index()];
        let sum = group.residual.map(|_| "add");
        let end = group.activation.map(|function| activation(function).name());
        let fused = sum.into_iter().chain(end);
        Self {
            name: node.name.clone(),
            op: op_name(&node.op),
            label: fused.fold(kernel.name().to_string(), |label, part| label + " + " + part),
            most_threads: cost::most_threads(prediction),
            prediction,
            kernel,
            operands,
        }
    }
}

/// Name of an operation, for profiles.
fn op_name(op: &Op) -> &'static str {
    match op {
        Op::Input => "input",
        Op::Conv2d(_) => "conv2d",
        Op::Linear(_) => "linear",
        Op::BatchNorm(_) => "batch_norm",
        Op::Activation(_) => "activation",
        Op::Add => "add",
        Op::Multiply => "multiply",
        Op::MaxPool(_) => "max_pool",
        Op::AvgPool(_) => "avg_pool",
        Op::GlobalAvgPool => "global_avg_pool",
        Op::PadShortcut(_) => "pad_shortcut",
        Op::Dropout { .. } => "dropout",
        Op::Flatten => "flatten",
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::layout::Source;
    use ec2t_format::DenseTensor;
    use ec2t_format::graph::GraphBuilder;

    fn plan(build: impl Fn(&mut GraphBuilder)) -> Plan {
        let mut g = GraphBuilder::new("t", Shape::new(4, 6, 6));
        build(&mut g);
        let graph = g.finish().unwrap();
        let tensor = |shape: Vec<usize>| {
            let values = vec![0.0; shape.iter().product()];
            DenseTensor::new(shape, values).unwrap().into()
        };
        let params = graph.params().into_iter();
        let tensors = params.map(|param| (param.name, tensor(param.shape))).collect();
        Plan::new(&Network::new(graph, tensors).unwrap()).unwrap()
    }

    #[test]
    fn a_chain_of_kernels_in_place_needs_one_buffer() {
        let plan = plan(|g| {
            let x = g.relu("a", g.input());
            let x = g.dropout("skip", x, 0.5);
            let x = g.relu("b", x);
            g.relu("c", x);
        });
        assert_eq!(plan.buffers, [144]);
        let copied: Vec<bool> =
            plan.steps.iter().map(|step| step.operands.copied.is_some()).collect();
        assert_eq!(copied, [true, false, false], "only the image is not overwritten");
    }

    #[test]
    fn a_value_that_is_still_read_is_kept() {
        let plan = plan(|g| {
            let kept = g.relu("kept", g.input());
            let x = g.relu("changed", kept);
            let x = g.add("sum", x, kept);
            g.add("twice", x, x);
        });
        assert_eq!(plan.buffers, [144, 144]);
        let copied: Vec<bool> =
            plan.steps.iter().map(|step| step.operands.copied.is_some()).collect();
        assert_eq!(copied, [true, true, false, true]);
        let sum = &plan.steps[3].operands;
        assert_ne!(sum.input.unwrap().source, Source::Buffer(sum.output));
    }

    #[test]
    fn a_chain_of_transforms_needs_two_buffers() {
        let plan = plan(|g| {
            let x = g.max_pool("a", g.input(), 2);
            let x = g.pad_shortcut("b", x, 10, 1);
            let x = g.max_pool("c", x, 3);
            let x = g.pad_shortcut("d", x, 20, 1);
            g.flatten("out", x);
        });
        assert_eq!(plan.buffers, [36, 90]);
        assert_eq!(plan.output, Operand { source: Source::Buffer(1), len: 20 });
    }

    #[test]
    fn a_layer_writes_beside_all_that_it_reads() {
        let plan = plan(|g| {
            let a = g.conv("a", g.input(), 4, 3, 1);
            let x = g.relu("a_relu", a);
            let b = g.conv("b", x, 4, 3, 1);
            let y = g.relu("b_relu", b);
            let c = g.conv("c", y, 4, 3, 1);
            let sum = g.add("sum", x, c);
            g.relu("sum_relu", sum);
        });
        let labels: Vec<&str> = plan.steps.iter().map(|step| step.label.as_str()).collect();
        assert_eq!(labels, ["dense-conv + relu", "dense-conv + relu", "dense-conv + add + relu"]);
        assert_eq!(plan.buffers, [144; 3]);
        let Operands { input, residual, output, .. } = &plan.steps[2].operands;
        let sources = [input, residual].map(|operand| operand.unwrap().source);
        assert_eq!(sources, [Source::Buffer(1), Source::Buffer(0)]);
        assert_eq!(*output, 2);
    }
}
