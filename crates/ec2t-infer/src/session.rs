//! The buffers in which a model computes one image after the other.

use crate::aligned::Aligned;
use crate::error::{RunError, check_length};
use crate::layout::{Operand, Operands, Source};
use crate::model::Model;
use crate::parallel::with_helpers;
use crate::plan::Step;

/// Buffers for one image at a time.
///
/// A session allocates once and then runs any number of images. It computes them on
/// the thread that calls it, unless it was made for several
/// ([`Model::session_on`]).
#[derive(Debug)]
pub struct Session<'m> {
    model: &'m Model,
    buffers: Vec<Aligned>,
    /// Scratch space of each thread.
    workspaces: Vec<Vec<f32>>,
    /// Normalised pixels.
    image: Vec<f32>,
    logits: Vec<f32>,
}

impl<'m> Session<'m> {
    /// For up to `threads` threads: no more than the longest step is worth.
    pub(crate) fn new(model: &'m Model, threads: usize) -> Self {
        let plan = model.plan();
        let most = plan.steps.iter().map(|step| step.most_threads).max().unwrap_or(1);
        let threads = threads.clamp(1, most);
        Self {
            model,
            buffers: plan.buffers.iter().map(|len| Aligned::new(*len)).collect(),
            workspaces: vec![vec![0.0; plan.workspace]; threads],
            image: vec![0.0; model.input_len()],
            logits: vec![0.0; model.output_len()],
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
        match self.workspaces.len() {
            1 => self.run_with(input, |_, compute| compute()),
            threads => with_helpers(threads, &mut || self.run_with(input, |_, compute| compute())),
        }
        Ok(&self.logits)
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

    /// Computes the logits of an image of the right length, each step called through
    /// `observe`, which gets the position of the step and what computes it.
    pub(crate) fn run_with(
        &mut self,
        input: &[f32],
        mut observe: impl FnMut(usize, &mut dyn FnMut()),
    ) {
        let plan = self.model.plan();
        for (position, step) in plan.steps.iter().enumerate() {
            observe(position, &mut || {
                compute(step, input, &mut self.buffers, &mut self.workspaces)
            });
        }
        self.logits.copy_from_slice(read(plan.output, input, &self.buffers));
    }
}

fn compute(step: &Step, image: &[f32], buffers: &mut [Aligned], workspaces: &mut [Vec<f32>]) {
    let Operands { copied, input, residual, output, output_len } = step.operands;
    // The output is taken out, so that the operands can be read beside it.
    let mut buffer = std::mem::take(&mut buffers[output]);
    let values = &mut buffer.values_mut()[..output_len];
    if let Some(operand) = copied {
        values.copy_from_slice(read(operand, image, buffers));
    }
    let input = input.map_or(&[][..], |operand| read(operand, image, buffers));
    let residual = residual.map(|operand| read(operand, image, buffers));
    let threads = step.most_threads.min(workspaces.len());
    step.kernel.run(input, residual, values, &mut workspaces[..threads]);
    buffers[output] = buffer;
}

fn read<'a>(operand: Operand, image: &'a [f32], buffers: &'a [Aligned]) -> &'a [f32] {
    match operand.source {
        Source::Image => image,
        Source::Buffer(buffer) => &buffers[buffer].values()[..operand.len],
    }
}
