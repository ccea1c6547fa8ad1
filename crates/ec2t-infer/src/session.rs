//! The buffers in which a model computes one image after the other.

use std::borrow::Cow;

use ec2t_format::NodeId;
use ec2t_kernels::int::Scratch;

use crate::aligned::Aligned;
use crate::bytes::{ByteKernel, Output};
use crate::error::{RunError, check_length};
use crate::kernel::Kernel;
use crate::layout::{Form, Operand, Operands, Source};
use crate::model::Model;
use crate::parallel::with_helpers;
use crate::plan::{Step, StepKernel};
use crate::turns::Piece;

/// Buffers for one image at a time.
///
/// A session allocates once and then runs any number of images. It computes them on
/// the thread that calls it, unless it was made for several
/// ([`Model::session_on`]).
#[derive(Debug)]
pub struct Session<'m> {
    model: &'m Model,
    memory: Memory,
    /// Normalised pixels.
    image: Vec<f32>,
}

/// What steps read and write.
#[derive(Debug)]
struct Memory {
    floats: Vec<Aligned>,
    bytes: Vec<Vec<u8>>,
    /// Scratch space of each thread, for kernels in floats.
    workspaces: Vec<Vec<f32>>,
    /// That of kernels on bytes.
    scratch: Scratch,
}

impl<'m> Session<'m> {
    /// For up to `threads` threads: no more than the longest step is worth.
    pub(crate) fn new(model: &'m Model, threads: usize) -> Self {
        let plan = model.plan();
        let most = plan.steps.iter().map(|step| step.most_threads).max().unwrap_or(1);
        let threads = threads.clamp(1, most);
        let mut scratch = Scratch::default();
        for step in &plan.steps {
            if let StepKernel::Bytes(ByteKernel::Conv(conv)) = &step.kernel {
                scratch.fit(conv);
            }
        }
        Self {
            model,
            memory: Memory {
                floats: plan.buffers.iter().map(|len| Aligned::new(*len)).collect(),
                bytes: plan.byte_buffers.iter().map(|len| vec![0; *len]).collect(),
                workspaces: vec![vec![0.0; plan.workspace]; threads],
                scratch,
            },
            image: vec![0.0; model.input_len()],
        }
    }

    pub(crate) fn model(&self) -> &'m Model {
        self.model
    }

    /// Logits of one normalised image `[C, H, W]`.
    ///
    /// # Errors
    /// [`RunError::InputLength`].
    pub fn run(&mut self, input: &[f32]) -> Result<&[f32], RunError> {
        check_length(1, self.model.input_len(), input.len())?;
        self.compute(input);
        Ok(self.logits_of(input))
    }

    /// Logits of one image of pixels, `[C, H, W]`, normalised as the model
    /// needs it.
    ///
    /// # Errors
    /// [`RunError::InputLength`].
    pub fn run_pixels(&mut self, pixels: &[u8]) -> Result<&[f32], RunError> {
        let mut image = std::mem::take(&mut self.image);
        let result = self.model.preprocess(pixels, &mut image);
        if result.is_ok() {
            self.compute(&image);
        }
        self.image = image;
        result.map(|()| self.logits())
    }

    /// Computes all values of an image of the right length.
    fn compute(&mut self, input: &[f32]) {
        match self.memory.workspaces.len() {
            1 => self.run_with(input, |_, compute| compute()),
            threads => with_helpers(threads, &mut || self.run_with(input, |_, compute| compute())),
        }
    }

    /// The logits of an image that is not this session's own.
    fn logits_of(&mut self, input: &[f32]) -> &[f32] {
        if self.model.plan().output.source == Source::Image {
            self.image.copy_from_slice(input);
        }
        self.logits()
    }

    /// Where the last step left them: those of networks of few layers are too large to be
    /// copied for nothing. A network without steps hands the image on.
    fn logits(&self) -> &[f32] {
        self.memory.floats(self.model.plan().output, &self.image)
    }

    /// Computes all values of an image of the right length, each step, or each part of one,
    /// called through `observe`, which gets the position of the step and what computes it.
    pub(crate) fn run_with(
        &mut self,
        input: &[f32],
        mut observe: impl FnMut(usize, &mut dyn FnMut()),
    ) {
        let plan = self.model.plan();
        for turn in &plan.turns {
            let step = &plan.steps[turn.step];
            observe(turn.step, &mut || self.memory.compute(step, turn.piece.as_ref(), input));
        }
    }

    /// As [`run`](Self::run), on one thread; gives `see` every value as it is computed, in
    /// floats whatever it is held in.
    pub(crate) fn run_seeing(
        &mut self,
        input: &[f32],
        mut see: impl FnMut(NodeId, &[f32]),
    ) -> Result<&[f32], RunError> {
        check_length(1, self.model.input_len(), input.len())?;
        see(NodeId::INPUT, input);
        let plan = self.model.plan();
        // What the first of two steps in turn has written: its buffer has the last part.
        let mut parts = Vec::new();
        for turn in &plan.turns {
            let step = &plan.steps[turn.step];
            self.memory.compute(step, turn.piece.as_ref(), input);
            match &turn.piece {
                Some(piece) if step.slices.is_some() => {
                    let written = self.memory.floats[step.operands.output].values();
                    parts.extend_from_slice(&written[piece.output.clone()]);
                    if piece.is_last {
                        see(step.value, &parts);
                        parts.clear();
                    }
                }
                Some(piece) if !piece.is_last => {}
                _ if step.kernel.is_conversion() => {}
                _ => see(step.value, &self.memory.written(step)),
            }
        }
        Ok(self.logits_of(input))
    }
}

impl Memory {
    /// Computes a step, or a part of it.
    fn compute(&mut self, step: &Step, piece: Option<&Piece>, image: &[f32]) {
        match &step.kernel {
            StepKernel::Floats(kernel) => {
                let threads = step.most_threads.min(self.workspaces.len());
                self.compute_floats(kernel, &step.operands, piece, threads, image);
            }
            StepKernel::Bytes(kernel) => self.compute_bytes(kernel, &step.operands, image),
        }
    }

    fn compute_floats(
        &mut self,
        kernel: &Kernel,
        operands: &Operands,
        piece: Option<&Piece>,
        threads: usize,
        image: &[f32],
    ) {
        let Operands { copied, input, residual, output, output_len } = *operands;
        // The output is taken out, so that the operands can be read beside it.
        let mut buffer = std::mem::take(&mut self.floats[output]);
        let written = piece.map_or(0..output_len, |piece| piece.output.clone());
        let values = &mut buffer.values_mut()[written];
        if let Some(operand) = copied {
            values.copy_from_slice(self.floats(operand, image));
        }
        let mut workspaces = std::mem::take(&mut self.workspaces);
        let input = input.map_or(&[][..], |operand| self.floats(operand, image));
        let residual = residual.map(|operand| self.floats(operand, image));
        let threads = &mut workspaces[..threads];
        match piece {
            None => kernel.run(input, residual, values, threads),
            Some(Piece { channels, input: read, .. }) => {
                kernel.run_channels(channels.clone(), &input[read.clone()], values, threads);
            }
        }
        self.workspaces = workspaces;
        self.floats[output] = buffer;
    }

    fn compute_bytes(&mut self, kernel: &ByteKernel, operands: &Operands, image: &[f32]) {
        let Operands { input, residual, output, output_len, .. } = *operands;
        let input = input.expect("a kernel on bytes reads a value");
        match kernel.writes() {
            Form::Floats => {
                let mut buffer = std::mem::take(&mut self.floats[output]);
                let values = Output::Floats(&mut buffer.values_mut()[..output_len]);
                self.run_bytes(kernel, input, residual, values, image);
                self.floats[output] = buffer;
            }
            Form::Bytes => {
                let mut buffer = std::mem::take(&mut self.bytes[output]);
                let values = Output::Bytes(&mut buffer[..output_len]);
                self.run_bytes(kernel, input, residual, values, image);
                self.bytes[output] = buffer;
            }
        }
    }

    fn run_bytes(
        &mut self,
        kernel: &ByteKernel,
        input: Operand,
        residual: Option<Operand>,
        output: Output<'_>,
        image: &[f32],
    ) {
        let Source::Bytes(buffer) = input.source else {
            return kernel.run_on_floats(self.floats(input, image), output);
        };
        let mut scratch = std::mem::take(&mut self.scratch);
        let residual = residual.map(|operand| self.bytes(operand));
        kernel.run(&self.bytes[buffer][..input.len], residual, output, &mut scratch);
        self.scratch = scratch;
    }

    /// What a step has just written, in floats.
    fn written(&self, step: &Step) -> Cow<'_, [f32]> {
        let Operands { output, output_len, .. } = step.operands;
        let Some(grid) = step.grid else {
            return Cow::Borrowed(&self.floats[output].values()[..output_len]);
        };
        let mut values = vec![0.0; output_len];
        grid.dequantize(&self.bytes[output][..output_len], &mut values);
        Cow::Owned(values)
    }

    /// A value that is in floats.
    fn floats<'a>(&'a self, operand: Operand, image: &'a [f32]) -> &'a [f32] {
        match operand.source {
            Source::Image => image,
            Source::Buffer(buffer) => &self.floats[buffer].values()[..operand.len],
            Source::Bytes(_) => unreachable!("a value in bytes, where floats are read"),
        }
    }

    /// A value that is in bytes.
    fn bytes(&self, operand: Operand) -> &[u8] {
        match operand.source {
            Source::Bytes(buffer) => &self.bytes[buffer][..operand.len],
            Source::Image | Source::Buffer(_) => {
                unreachable!("a value in floats, where bytes are read")
            }
        }
    }
}
