//! The sequence of kernels and buffers that computes a network.
//!
//! Nodes that compute nothing (dropout, flatten) leave no step: whoever reads
//! them reads what they read. A value's buffer is reused after the last step
//! that reads it, and a kernel that works in place does so where its first
//! operand ends there.

use ec2t_format::graph::{Graph, Node, Shape};
use ec2t_format::{Network, NodeId, Op};

use crate::buffers::Buffers;
use crate::error::LoadError;
use crate::kernel::Kernel;

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
    /// Name of the node.
    pub(crate) name: String,
    /// Name of the node's operation.
    pub(crate) op: &'static str,
    pub(crate) kernel: Kernel,
    /// What is copied to the output beforehand: the first operand of a kernel
    /// in place that is still needed afterwards.
    pub(crate) copied: Option<Operand>,
    /// What the kernel reads beside its output.
    pub(crate) input: Option<Operand>,
    /// Buffer of the result.
    pub(crate) output: usize,
    pub(crate) output_len: usize,
}

/// A value that a step reads.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Operand {
    pub(crate) source: Source,
    pub(crate) len: usize,
}

/// Where a value is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Source {
    /// The image, as the caller gave it.
    Image,
    /// A buffer of the session.
    Buffer(usize),
}

impl Plan {
    /// Packs the weights of a network and lays out its buffers.
    ///
    /// # Errors
    /// Where a layer or all activations together are too large.
    pub(crate) fn new(network: &Network) -> Result<Self, LoadError> {
        let graph = network.graph();
        let shapes = graph.shapes().expect("a network's graph is valid");
        let kernels = pack(network, &shapes)?;
        let mut values = Values::new(graph, &kernels);
        let mut steps = Vec::new();
        for ((node, kernel), shape) in graph.nodes.iter().zip(kernels).zip(&shapes) {
            match kernel {
                Some(kernel) => steps.push(values.step(node, kernel, shape.numel())),
                None => values.alias(node, shape.numel()),
            }
        }
        let plan = Self {
            workspace: steps.iter().map(|step| step.kernel.workspace_len()).max().unwrap_or(0),
            output: *values.operands.last().expect("a graph has an input"),
            buffers: values.buffers.into_lens(),
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

/// The kernel of every node.
fn pack(network: &Network, shapes: &[Shape]) -> Result<Vec<Option<Kernel>>, LoadError> {
    let pack_node = |node: &Node| {
        let inputs: Vec<Shape> = node.inputs.iter().map(|input| shapes[input.index()]).collect();
        Kernel::new(network, node, &inputs)
            .map_err(|source| LoadError::Layer { layer: node.name.clone(), source })
    };
    network.graph().nodes.iter().map(pack_node).collect()
}

/// Values that have been computed so far in the plan, and who still reads them.
struct Values {
    /// For each node, the node that computes its value: mostly itself.
    origins: Vec<usize>,
    /// For each origin, how many operands of later steps it still is.
    readers: Vec<usize>,
    /// For each node so far, where its value is.
    operands: Vec<Operand>,
    buffers: Buffers,
}

impl Values {
    fn new(graph: &Graph, kernels: &[Option<Kernel>]) -> Self {
        let mut origins = Vec::with_capacity(kernels.len());
        let mut readers = vec![0; kernels.len()];
        for (index, (node, kernel)) in graph.nodes.iter().zip(kernels).enumerate() {
            match (kernel, node.inputs.first()) {
                (None, Some(input)) => origins.push(origins[input.index()]),
                _ => origins.push(index),
            }
            if kernel.is_some() {
                node.inputs.iter().for_each(|input| readers[origins[input.index()]] += 1);
            }
        }
        if let Some(&output) = origins.last() {
            readers[output] += 1; // the caller
        }
        Self { origins, readers, operands: Vec::new(), buffers: Buffers::default() }
    }

    /// Adds a node that computes nothing.
    fn alias(&mut self, node: &Node, len: usize) {
        let operand = match node.inputs.first() {
            Some(input) => self.operands[input.index()],
            None => Operand { source: Source::Image, len },
        };
        self.operands.push(operand);
    }

    /// Adds a node that computes `len` values.
    fn step(&mut self, node: &Node, kernel: Kernel, len: usize) -> Step {
        let operand = |input: &NodeId| self.operands[input.index()];
        let [first, second] = [0, 1].map(|position| node.inputs.get(position).map(operand));
        let overwritten = match kernel.is_in_place() {
            true => node.inputs.first().and_then(|input| self.last_read(*input)),
            false => None,
        };
        let output = overwritten.unwrap_or_else(|| self.buffers.take(len));
        for input in &node.inputs {
            self.read(*input, output);
        }
        self.operands.push(Operand { source: Source::Buffer(output), len });
        if self.readers[self.operands.len() - 1] == 0 {
            self.buffers.release(output);
        }
        Step {
            name: node.name.clone(),
            op: op_name(&node.op),
            copied: first.filter(|_| kernel.is_in_place() && overwritten.is_none()),
            input: if kernel.is_in_place() { second } else { first },
            kernel,
            output,
            output_len: len,
        }
    }

    /// The buffer of a node's value where just one operand still reads it.
    fn last_read(&self, node: NodeId) -> Option<usize> {
        match self.operands[node.index()].source {
            Source::Buffer(buffer) if self.readers[self.origins[node.index()]] == 1 => Some(buffer),
            _ => None,
        }
    }

    /// Counts an operand as read and releases its buffer after the last one,
    /// unless it is that of the result.
    fn read(&mut self, node: NodeId, output: usize) {
        let last = self.last_read(node);
        self.readers[self.origins[node.index()]] -= 1;
        if let Some(buffer) = last.filter(|buffer| *buffer != output) {
            self.buffers.release(buffer);
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
    use ec2t_format::graph::GraphBuilder;
    use std::collections::BTreeMap;

    fn plan(build: impl Fn(&mut GraphBuilder)) -> Plan {
        let mut g = GraphBuilder::new("t", Shape::new(4, 6, 6));
        build(&mut g);
        Plan::new(&Network::new(g.finish().unwrap(), BTreeMap::new()).unwrap()).unwrap()
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
        let copied: Vec<bool> = plan.steps.iter().map(|step| step.copied.is_some()).collect();
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
        let copied: Vec<bool> = plan.steps.iter().map(|step| step.copied.is_some()).collect();
        assert_eq!(copied, [true, true, false, true]);
        assert_ne!(plan.steps[3].input.unwrap().source, Source::Buffer(plan.steps[3].output));
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
}
