//! The buffers in which a model computes one image after the other.

use crate::aligned::Aligned;
use crate::error::{RunError, check_length};
use crate::layout::{Operand, Operands, Source};
use crate::model::Model;
use crate::plan::Step;

/// Buffers for one image at a time.
///
/// A session allocates once and then runs any number of images; each thread
/// has its own.
#[derive(Debug)]
pub struct Session<'m> {
    model: &'m Model,
    buffers: Vec<Aligned>,
    workspace: Vec<f32>,
    /// Normalised pixels.
    image: Vec<f32>,
    logits: Vec<f32>,
}

impl<'m> Session<'m> {
    pub(crate) fn new(model: &'m Model) -> Self {
        let plan = model.plan();
        Self {
            model,
            buffers: plan.buffers.iter().map(|len| Aligned::new(*len)).collect(),
            workspace: vec![0.0; plan.workspace],
            image: vec![0.0; model.input_len()],
            logits: vec![0.0; model.output_len()],
        }
    }

    /// Logits of one normalised image `[C, H, W]`.
    ///
    /// # Errors
    /// [`RunError::InputLength`].
    pub fn run(&mut self, input: &[f32]) -> Result<&[f32], RunError> {
        self.run_with(input, |_, compute| compute())
    }

    /// Logits of one image of pixels, `[C, H, W]`, normalised as the model
    /// needs it.
    ///
    /// # Errors
    /// [`RunError::InputLength`].
    pub fn run_pixels(&mut self, pixels: &[u8]) -> Result<&[f32], RunError> {
        let mut image = std::mem::take(&mut self.image);
        let result = self.model.preprocess(pixels, &mut image).and_then(|()| {
            self.run(&image)?;
            Ok(())
        });
        self.image = image;
        result.map(|()| self.logits.as_slice())
    }

    /// As [`run`](Self::run), with each step called through `observe`, which
    /// gets the position of the step and what computes it.
    pub(crate) fn run_with(
        &mut self,
        input: &[f32],
        mut observe: impl FnMut(usize, &mut dyn FnMut()),
    ) -> Result<&[f32], RunError> {
        check_length(1, self.model.input_len(), input.len())?;
        let plan = self.model.plan();
        for (position, step) in plan.steps.iter().enumerate() {
            observe(position, &mut || compute(step, input, &mut self.buffers, &mut self.workspace));
        }
        self.logits.copy_from_slice(read(plan.output, input, &self.buffers));
        Ok(&self.logits)
    }
}

fn compute(step: &Step, image: &[f32], buffers: &mut [Aligned], workspace: &mut [f32]) {
    let Operands { copied, input, residual, output, output_len } = step.operands;
    // The output is taken out, so that the operands can be read beside it.
    let mut buffer = std::mem::take(&mut buffers[output]);
    let values = buffer.first_mut(output_len);
    if let Some(operand) = copied {
        values.copy_from_slice(read(operand, image, buffers));
    }
    let input = input.map_or(&[][..], |operand| read(operand, image, buffers));
    let residual = residual.map(|operand| read(operand, image, buffers));
    step.kernel.run(input, residual, values, workspace);
    buffers[output] = buffer;
}

fn read<'a>(operand: Operand, image: &'a [f32], buffers: &'a [Aligned]) -> &'a [f32] {
    match operand.source {
        Source::Image => image,
        Source::Buffer(buffer) => buffers[buffer].first(operand.len),
    }
}
