//! Where the time of a run goes.

use std::time::Instant;

use crate::error::{RunError, check_length};
use crate::model::Model;
use crate::session::Session;

/// Time of each layer of a model for one image on one thread.
#[derive(Clone, Debug, PartialEq)]
pub struct Profile {
    /// The layers that compute something, in the order of execution.
    pub layers: Vec<LayerProfile>,
}

/// Time of one layer, with what is fused into it.
#[derive(Clone, Debug, PartialEq)]
pub struct LayerProfile {
    /// Name of the layer.
    pub name: String,
    /// Its operation.
    pub op: &'static str,
    /// The kernel that computes it and what is fused into it, such as
    /// `ternary-conv + add + relu`.
    pub kernel: String,
    /// Least time of all runs.
    pub seconds: f64,
}

impl Profile {
    /// Time of all layers.
    pub fn seconds(&self) -> f64 {
        self.layers.iter().map(|layer| layer.seconds).sum()
    }
}

impl Model {
    /// Runs one normalised image `runs` times and takes the least time of each
    /// layer.
    ///
    /// # Errors
    /// [`RunError::InputLength`].
    pub fn profile(&self, input: &[f32], runs: usize) -> Result<Profile, RunError> {
        let layer = |step: &crate::plan::Step| LayerProfile {
            name: step.name.clone(),
            op: step.op,
            kernel: step.label.clone(),
            seconds: f64::INFINITY,
        };
        let mut layers: Vec<LayerProfile> = self.plan().steps.iter().map(layer).collect();
        let mut session = self.session();
        for _ in 0..runs.max(1) {
            time_steps(&mut session, input, |step, seconds| {
                layers[step].seconds = layers[step].seconds.min(seconds);
            })?;
        }
        Ok(Profile { layers })
    }
}

/// Runs one normalised image and gives `record` the position and the time of
/// each step, in seconds; of one that is computed in parts, that of all parts.
pub(crate) fn time_steps(
    session: &mut Session<'_>,
    input: &[f32],
    mut record: impl FnMut(usize, f64),
) -> Result<(), RunError> {
    check_length(1, session.model().input_len(), input.len())?;
    let mut times = vec![0.0; session.model().plan().steps.len()];
    session.run_with(input, |step, compute| {
        let start = Instant::now();
        compute();
        times[step] += start.elapsed().as_secs_f64();
    });
    times.into_iter().enumerate().for_each(|(step, seconds)| record(step, seconds));
    Ok(())
}
