//! The sequence of kernels and buffers that computes a network.
//!
//! In [`Precision::U8`] a convolution with ternary weights is computed in integers where
//! the grids of all that it reads and writes are known, and pools and shortcuts follow it
//! on bytes. All else is computed in floats, and between the two, values are brought from
//! one form to the other, at most once each.

use std::collections::BTreeMap;

use ec2t_format::graph::{Graph, Shape};
use ec2t_format::{Network, NodeId, Op};
use ec2t_kernels::int::{Grid, Grids};

use crate::bytes::ByteKernel;
use crate::cost::{self, Prediction};
use crate::error::LoadError;
use crate::fuse::{Group, Groups};
use crate::kernel::{Kernel, activation};
use crate::layout::{Form, Layout, Operand, Operands, Room};
use crate::turns::{Slices, Turn, turns};

/// Most memory for the activations of one image.
const MEMORY_LIMIT: usize = 2 << 30;

/// What a network's activations are computed in.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Precision {
    /// 32-bit floats.
    #[default]
    F32,
    /// 8 bits, between convolutions with ternary weights; floats elsewhere. Needs a
    /// network that has been [calibrated](crate::calibrate).
    U8,
}

/// How a network is computed.
#[derive(Debug)]
pub(crate) struct Plan {
    pub(crate) steps: Vec<Step>,
    /// In which order they are computed, and which of them in parts.
    pub(crate) turns: Vec<Turn>,
    /// Length of each buffer of floats.
    pub(crate) buffers: Vec<usize>,
    /// Length of each buffer of bytes.
    pub(crate) byte_buffers: Vec<usize>,
    /// Length of the scratch space that all steps in floats share.
    pub(crate) workspace: usize,
    /// The logits.
    pub(crate) output: Operand,
}

/// One kernel with its operands.
#[derive(Debug)]
pub(crate) struct Step {
    /// Name of the node that the kernel was chosen for.
    pub(crate) name: String,
    /// The node whose value is computed: the last one that is fused.
    pub(crate) value: NodeId,
    /// Name of the node's operation.
    pub(crate) op: &'static str,
    /// Name of the kernel, with what is fused into it.
    pub(crate) label: String,
    /// About how long it takes, if it has weights.
    pub(crate) prediction: Option<Prediction>,
    /// More threads would not make it faster.
    pub(crate) most_threads: usize,
    pub(crate) kernel: StepKernel,
    pub(crate) operands: Operands,
    /// What the bytes stand for that it writes, if it writes bytes.
    pub(crate) grid: Option<Grid>,
    /// How its value is parted, if the next step takes it part by part.
    pub(crate) slices: Option<Slices>,
}

/// What computes a step.
#[derive(Debug)]
pub(crate) enum StepKernel {
    /// From floats to floats.
    Floats(Box<Kernel>),
    /// From or to bytes.
    Bytes(ByteKernel),
}

impl StepKernel {
    /// Number of floats of scratch space that the kernel needs.
    fn workspace_len(&self) -> usize {
        match self {
            StepKernel::Floats(kernel) => kernel.workspace_len(),
            StepKernel::Bytes(_) => 0,
        }
    }

    /// Bytes of memory that the packed weights of a layer take.
    pub(crate) fn weight_bytes(&self) -> Option<usize> {
        match self {
            StepKernel::Floats(kernel) => kernel.weight_bytes(),
            StepKernel::Bytes(kernel) => kernel.weight_bytes(),
        }
    }

    /// Whether it reads ternary weights.
    pub(crate) fn is_ternary(&self) -> bool {
        match self {
            StepKernel::Floats(kernel) => kernel.is_ternary(),
            StepKernel::Bytes(kernel) => matches!(kernel, ByteKernel::Conv(_)),
        }
    }

    /// Whether a value is brought from one form to the other.
    pub(crate) fn is_conversion(&self) -> bool {
        use ByteKernel::{Dequantize, Quantize};
        matches!(self, StepKernel::Bytes(Quantize(_) | Dequantize(_)))
    }

    fn is_in_place(&self) -> bool {
        matches!(self, StepKernel::Floats(kernel) if kernel.is_in_place())
    }

    /// The forms of what the kernel of a node reads and writes.
    fn forms(&self) -> [Form; 2] {
        match self {
            StepKernel::Floats(_) => [Form::Floats; 2],
            StepKernel::Bytes(kernel) => [Form::Bytes, kernel.writes()],
        }
    }

    fn name(&self) -> &'static str {
        match self {
            StepKernel::Floats(kernel) => kernel.name(),
            StepKernel::Bytes(kernel) => kernel.name(),
        }
    }
}

impl Plan {
    /// Packs the weights of a network and lays out its buffers.
    ///
    /// # Errors
    /// Where a layer or all activations together are too large, or there are no grids for
    /// bytes.
    pub(crate) fn new(network: &Network, precision: Precision) -> Result<Self, LoadError> {
        let graph = network.graph();
        let groups = Groups::new(graph);
        let mut planning = Planning {
            network,
            shapes: graph.shapes().expect("a network's graph is valid"),
            output: groups.output,
            grids: match precision {
                Precision::F32 => BTreeMap::new(),
                Precision::U8 if network.grids().is_empty() => {
                    return Err(LoadError::NotCalibrated);
                }
                Precision::U8 => grids(network),
            },
            on_grids: BTreeMap::new(),
            layout: Layout::new(&groups, graph.nodes.len(), graph.input.numel()),
            steps: Vec::new(),
        };
        for (position, group) in groups.list.iter().enumerate() {
            planning.add(group, groups.list.get(position + 1))?;
        }
        planning.bring(groups.output, Form::Floats);
        let Planning { layout, steps, .. } = planning;
        let output = layout.place(groups.output, Form::Floats);
        let [buffers, byte_buffers] = layout.into_buffers();
        let workspace = steps.iter().map(|step| step.kernel.workspace_len()).max().unwrap_or(0);
        let turns = turns(&steps);
        Self { workspace, output, buffers, byte_buffers, steps, turns }.check_memory()
    }

    fn check_memory(self) -> Result<Self, LoadError> {
        let sum = |lens: &[usize]| lens.iter().fold(0, |sum: usize, len| sum.saturating_add(*len));
        let floats = sum(&self.buffers).saturating_add(self.workspace);
        let needed = floats.saturating_mul(size_of::<f32>());
        let needed = needed.saturating_add(sum(&self.byte_buffers));
        match needed <= MEMORY_LIMIT {
            true => Ok(self),
            false => Err(LoadError::Memory { needed, limit: MEMORY_LIMIT }),
        }
    }
}

/// The grids of a network by the nodes that they are for.
fn grids(network: &Network) -> BTreeMap<NodeId, Grid> {
    let grids = network.grids();
    let of = |(id, name): (NodeId, &String)| {
        let ec2t_format::Grid { scale, zero } = *grids.get(name)?;
        Some((id, Grid { scale, zero }))
    };
    network.graph().iter().map(|(id, node)| (id, &node.name)).filter_map(of).collect()
}

/// A plan while it is made, group after group.
struct Planning<'n> {
    network: &'n Network,
    shapes: Vec<Shape>,
    output: NodeId,
    /// The grids that calibration has found.
    grids: BTreeMap<NodeId, Grid>,
    /// The grids of the values that are in bytes.
    on_grids: BTreeMap<NodeId, Grid>,
    layout: Layout,
    steps: Vec<Step>,
}

impl Planning<'_> {
    /// Adds the step of a group, and what brings its operands to the form that it reads.
    fn add(&mut self, group: &Group, next: Option<&Group>) -> Result<(), LoadError> {
        let kernel = match self.in_bytes(group) {
            Some(kernel) => StepKernel::Bytes(kernel),
            None => StepKernel::Floats(Box::new(self.in_floats(group)?)),
        };
        let forms = kernel.forms();
        for value in group.reads() {
            self.bring(value, forms[0]);
        }
        let slices = match &kernel {
            StepKernel::Floats(_) => next.and_then(|next| self.slices(group, next)),
            StepKernel::Bytes(_) => None,
        };
        let room = match slices {
            Some(slices) => Room::Part(slices.len()),
            None => Room::Whole(self.shapes[group.value.index()].numel()),
        };
        let operands = self.layout.step(group, forms, kernel.is_in_place(), room);
        let graph = self.network.graph();
        let prediction = match &kernel {
            StepKernel::Floats(_) => {
                cost::predict(self.network, &graph.nodes[group.node.index()], &self.shapes)
            }
            StepKernel::Bytes(_) => None,
        };
        let grid = self.on_grids.get(&group.value).copied().filter(|_| forms[1] == Form::Bytes);
        let step = Step::new(graph, group, kernel, operands, prediction);
        self.steps.push(Step { grid, slices, ..step });
        Ok(())
    }

    /// How the value of a group is parted for the next one, if that is its only reader.
    fn slices(&self, group: &Group, next: &Group) -> Option<Slices> {
        match self.layout.readers(group.value) {
            1 => Slices::between(self.network, &self.shapes, group, next),
            _ => None,
        }
    }

    /// The kernel of a group in floats.
    fn in_floats(&self, group: &Group) -> Result<Kernel, LoadError> {
        let node = &self.network.graph().nodes[group.node.index()];
        let inputs: Vec<Shape> =
            node.inputs.iter().map(|input| self.shapes[input.index()]).collect();
        Kernel::new(self.network, node, &inputs, group.activation)
            .map_err(|source| LoadError::Layer { layer: node.name.clone(), source })
    }

    /// The kernel of a group in bytes, if there is one; notes the grid of its value.
    fn in_bytes(&mut self, group: &Group) -> Option<ByteKernel> {
        let node = &self.network.graph().nodes[group.node.index()];
        let input = *group.inputs.first()?;
        let shape = self.shapes[node.inputs.first()?.index()];
        if let Some(grid) = self.on_grids.get(&input).copied()
            && let Some(kernel) = ByteKernel::spatial(&node.op, shape, grid)
        {
            if kernel.writes() == Form::Bytes {
                self.on_grids.insert(group.value, grid);
            }
            return Some(kernel);
        }
        // Nobody rounds what the caller wants.
        let output = *self.grids.get(&group.value).filter(|_| group.value != self.output)?;
        let residual = match group.residual {
            Some(value) => Some(self.grid_of(value)?),
            None => None,
        };
        let grids = Grids { input: self.grid_of(input)?, residual, output };
        let kernel = ByteKernel::conv(self.network, node, shape, group.activation, grids);
        // What integers cannot add up, floats do.
        let kernel = kernel.ok().flatten()?;
        self.on_grids.insert(group.value, output);
        Some(kernel)
    }

    /// The grid that a value has, or is to be brought to.
    fn grid_of(&self, value: NodeId) -> Option<Grid> {
        self.on_grids.get(&value).or_else(|| self.grids.get(&value)).copied()
    }

    /// Has a value in a form.
    fn bring(&mut self, value: NodeId, form: Form) {
        if self.layout.has(value, form) {
            return;
        }
        let grid = self.grid_of(value).expect("values in bytes, or to be, have grids");
        let kernel = match form {
            Form::Floats => ByteKernel::Dequantize(grid),
            Form::Bytes => {
                self.on_grids.insert(value, grid);
                ByteKernel::Quantize(grid)
            }
        };
        let operands = self.layout.convert(value, form);
        self.steps.push(Step {
            name: self.network.graph().nodes[value.index()].name.clone(),
            value,
            op: kernel.name(),
            label: kernel.name().to_string(),
            prediction: None,
            most_threads: 1,
            kernel: StepKernel::Bytes(kernel),
            operands,
            grid: Some(grid).filter(|_| form == Form::Bytes),
            slices: None,
        });
    }
}

impl Step {
    /// Number of values that are computed, whether in parts or not.
    pub(crate) fn value_len(&self) -> usize {
        self.slices.map_or(self.operands.output_len, Slices::value_len)
    }

    fn new(
        graph: &Graph,
        group: &Group,
        kernel: StepKernel,
        operands: Operands,
        prediction: Option<Prediction>,
    ) -> Self {
        let node = &graph.nodes[group.node.index()];
        let sum = group.residual.map(|_| "add");
        let end = group.activation.map(|function| activation(function).name());
        let fused = sum.into_iter().chain(end);
        Self {
            name: node.name.clone(),
            value: group.value,
            op: op_name(&node.op),
            label: fused.fold(kernel.name().to_string(), |label, part| label + " + " + part),
            most_threads: cost::most_threads(prediction),
            prediction,
            kernel,
            operands,
            grid: None,
            slices: None,
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
        Plan::new(&Network::new(graph, tensors).unwrap(), Precision::F32).unwrap()
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
