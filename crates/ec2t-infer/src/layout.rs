//! Where the operands of each step are.
//!
//! A value's buffer is free again after the last step that reads it, and a
//! kernel that works in place does so where its first operand ends there. All
//! other kernels write to a buffer that none of their operands is in: a
//! convolution reads its input to the end, and the residual is borrowed while
//! the output is written.

use ec2t_format::NodeId;

use crate::buffers::Buffers;
use crate::fuse::{Group, Groups};

/// What a step reads and writes.
#[derive(Debug)]
pub(crate) struct Operands {
    /// What is copied to the output beforehand: the first operand of a kernel
    /// in place that is still needed afterwards.
    pub(crate) copied: Option<Operand>,
    /// What the kernel reads beside its output.
    pub(crate) input: Option<Operand>,
    /// What is added to each sum of a layer.
    pub(crate) residual: Option<Operand>,
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

/// The values that have been computed so far in a plan, and who still reads
/// them.
pub(crate) struct Layout {
    /// For each value that has been computed, where it is.
    places: Vec<Option<Operand>>,
    /// For each value, how many operands of later steps it still is.
    readers: Vec<usize>,
    buffers: Buffers,
}

impl Layout {
    /// Before the first step: there is only the image, of `image_len` values.
    /// `nodes` is the number of nodes of the graph.
    pub(crate) fn new(groups: &Groups, nodes: usize, image_len: usize) -> Self {
        let mut readers = vec![0; nodes];
        let reads = groups.list.iter().flat_map(Group::reads);
        reads.chain([groups.output]).for_each(|value| readers[value.index()] += 1);
        let mut places = vec![None; nodes];
        places[NodeId::INPUT.index()] = Some(Operand { source: Source::Image, len: image_len });
        Self { places, readers, buffers: Buffers::default() }
    }

    /// Places the value of the next step, of `len` values, and finds what the
    /// step reads.
    pub(crate) fn step(&mut self, group: &Group, in_place: bool, len: usize) -> Operands {
        let [first, second] = [0, 1].map(|index| group.inputs.get(index).map(|v| self.place(*v)));
        let residual = group.residual.map(|value| self.place(value));
        let overwritten = match in_place {
            true => group.inputs.first().and_then(|value| self.last_read(*value)),
            false => None,
        };
        let output = overwritten.unwrap_or_else(|| self.buffers.take(len));
        for value in group.reads() {
            self.read(value, output);
        }
        self.places[group.value.index()] = Some(Operand { source: Source::Buffer(output), len });
        if self.readers[group.value.index()] == 0 {
            self.buffers.release(output);
        }
        Operands {
            copied: first.filter(|_| in_place && overwritten.is_none()),
            input: if in_place { second } else { first },
            residual,
            output,
            output_len: len,
        }
    }

    /// Where a value is.
    pub(crate) fn place(&self, value: NodeId) -> Operand {
        self.places[value.index()].expect("groups are in the order of what they read")
    }

    /// Length of every buffer.
    pub(crate) fn into_buffers(self) -> Vec<usize> {
        self.buffers.into_lens()
    }

    /// The buffer of a value that just one operand still reads.
    fn last_read(&self, value: NodeId) -> Option<usize> {
        match self.place(value).source {
            Source::Buffer(buffer) if self.readers[value.index()] == 1 => Some(buffer),
            _ => None,
        }
    }

    /// Counts an operand as read and releases its buffer after the last one,
    /// unless it is that of the result.
    fn read(&mut self, value: NodeId, output: usize) {
        let last = self.last_read(value);
        self.readers[value.index()] -= 1;
        if let Some(buffer) = last.filter(|buffer| *buffer != output) {
            self.buffers.release(buffer);
        }
    }
}
