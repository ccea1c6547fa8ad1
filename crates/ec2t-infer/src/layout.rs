//! Where the operands of each step are.
//!
//! A value is in floats, in bytes, or in both, where some steps read one form and some the
//! other. Its buffers are free again after the last step that reads it, and a
//! kernel that works in place does so where its first operand ends there. All
//! other kernels write to a buffer that none of their operands is in: a
//! convolution reads its input to the end, and the residual is borrowed while
//! the output is written.

use ec2t_format::NodeId;

use crate::buffers::Buffers;
use crate::fuse::{Group, Groups};

/// How the numbers of a value are held.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Form {
    /// 32-bit floats.
    Floats,
    /// 8 bits, on a grid.
    Bytes,
}

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
    /// Buffer of the result, among those of its form.
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
    /// The image, as the caller gave it: floats.
    Image,
    /// A buffer of floats of the session.
    Buffer(usize),
    /// A buffer of bytes of the session.
    Bytes(usize),
}

/// Where a value is in each form.
#[derive(Clone, Copy, Debug, Default)]
struct Places {
    floats: Option<Operand>,
    bytes: Option<Operand>,
}

impl Places {
    fn of(&mut self, form: Form) -> &mut Option<Operand> {
        match form {
            Form::Floats => &mut self.floats,
            Form::Bytes => &mut self.bytes,
        }
    }
}

/// Room for what a step writes, in values.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Room {
    /// For all of it.
    Whole(usize),
    /// For a part, which the next step reads before there is another one.
    Part(usize),
}

impl Room {
    fn len(self) -> usize {
        match self {
            Room::Whole(len) | Room::Part(len) => len,
        }
    }
}

/// The values that have been computed so far in a plan, and who still reads
/// them.
pub(crate) struct Layout {
    /// For each value, where it is.
    places: Vec<Places>,
    /// For each value, how many operands of later steps it still is.
    readers: Vec<usize>,
    /// Values that the step before has read and reads again in turn with the next one.
    held: Vec<NodeId>,
    floats: Buffers,
    bytes: Buffers,
}

impl Layout {
    /// Before the first step: there is only the image, of `image_len` values.
    /// `nodes` is the number of nodes of the graph.
    pub(crate) fn new(groups: &Groups, nodes: usize, image_len: usize) -> Self {
        let mut readers = vec![0; nodes];
        let reads = groups.list.iter().flat_map(Group::reads);
        reads.chain([groups.output]).for_each(|value| readers[value.index()] += 1);
        let mut places = vec![Places::default(); nodes];
        let image = Operand { source: Source::Image, len: image_len };
        places[NodeId::INPUT.index()].floats = Some(image);
        let [floats, bytes] = [(); 2].map(|()| Buffers::default());
        Self { places, readers, held: Vec::new(), floats, bytes }
    }

    /// How many operands of later steps a value still is.
    pub(crate) fn readers(&self, value: NodeId) -> usize {
        self.readers[value.index()]
    }

    /// Whether a value is held in this form.
    pub(crate) fn has(&self, value: NodeId, form: Form) -> bool {
        let mut places = self.places[value.index()];
        places.of(form).is_some()
    }

    /// Places a value in the other form too; it has to be in one.
    pub(crate) fn convert(&mut self, value: NodeId, to: Form) -> Operands {
        let from = if to == Form::Floats { Form::Bytes } else { Form::Floats };
        let input = self.place(value, from);
        let output = self.put(value, to, input.len);
        Operands { copied: None, input: Some(input), residual: None, output, output_len: input.len }
    }

    /// Places the value of the next step and finds what the step reads. A step in place
    /// reads and writes floats.
    pub(crate) fn step(
        &mut self,
        group: &Group,
        [reads, writes]: [Form; 2],
        in_place: bool,
        room: Room,
    ) -> Operands {
        let len = room.len();
        let [first, second] =
            [0, 1].map(|index| group.inputs.get(index).map(|value| self.place(*value, reads)));
        let residual = group.residual.map(|value| self.place(value, reads));
        let overwritten = match in_place {
            true => group.inputs.first().and_then(|value| self.last_read(*value)),
            false => None,
        };
        let output = match overwritten {
            Some(buffer) => {
                let source = Source::Buffer(buffer);
                self.places[group.value.index()].floats = Some(Operand { source, len });
                buffer
            }
            None => self.put(group.value, writes, len),
        };
        match room {
            Room::Part(_) => self.held.extend(group.reads()),
            Room::Whole(_) => {
                let held = std::mem::take(&mut self.held);
                held.into_iter().for_each(|value| self.read(value, None));
                group.reads().for_each(|value| self.read(value, overwritten));
            }
        }
        if self.readers[group.value.index()] == 0 {
            self.release(group.value, None);
        }
        Operands {
            copied: first.filter(|_| in_place && overwritten.is_none()),
            input: if in_place { second } else { first },
            residual,
            output,
            output_len: len,
        }
    }

    /// Where a value is in a form that it has.
    pub(crate) fn place(&self, value: NodeId, form: Form) -> Operand {
        let mut places = self.places[value.index()];
        places.of(form).expect("groups are in the order of what they read")
    }

    /// Length of every buffer of floats and of every buffer of bytes.
    pub(crate) fn into_buffers(self) -> [Vec<usize>; 2] {
        [self.floats, self.bytes].map(Buffers::into_lens)
    }

    /// Gives a value a buffer of this form.
    fn put(&mut self, value: NodeId, form: Form, len: usize) -> usize {
        let (buffer, source) = match form {
            Form::Floats => {
                let buffer = self.floats.take(len);
                (buffer, Source::Buffer(buffer))
            }
            Form::Bytes => {
                let buffer = self.bytes.take(len);
                (buffer, Source::Bytes(buffer))
            }
        };
        *self.places[value.index()].of(form) = Some(Operand { source, len });
        buffer
    }

    /// The buffer of floats of a value that just one operand still reads.
    fn last_read(&self, value: NodeId) -> Option<usize> {
        match self.place(value, Form::Floats).source {
            Source::Buffer(buffer) if self.readers[value.index()] == 1 => Some(buffer),
            _ => None,
        }
    }

    /// Counts an operand as read and releases its buffers after the last one, but for the
    /// buffer of floats that the result has taken over.
    fn read(&mut self, value: NodeId, taken: Option<usize>) {
        self.readers[value.index()] -= 1;
        if self.readers[value.index()] == 0 {
            self.release(value, taken);
        }
    }

    fn release(&mut self, value: NodeId, taken: Option<usize>) {
        let Places { floats, bytes } = self.places[value.index()];
        for place in [floats, bytes].into_iter().flatten() {
            match place.source {
                Source::Buffer(buffer) if Some(buffer) != taken => self.floats.release(buffer),
                Source::Bytes(buffer) => self.bytes.release(buffer),
                Source::Image | Source::Buffer(_) => {}
            }
        }
    }
}
