//! From logits to named classes.

use crate::error::RunError;
use crate::model::Model;

/// A class that an image may belong to.
#[derive(Clone, Debug, PartialEq)]
pub struct Prediction {
    /// Position of the class among the logits.
    pub class: usize,
    /// Name of the class; `None` where the model has no names.
    pub name: Option<String>,
    /// Probability, 0…1, by softmax over all classes.
    pub probability: f32,
}

impl Model {
    /// The `top` most probable classes of an image of pixels `[C, H, W]`, the
    /// most probable first.
    ///
    /// # Errors
    /// [`RunError::InputLength`].
    pub fn classify(&self, pixels: &[u8], top: usize) -> Result<Vec<Prediction>, RunError> {
        let mut session = self.session();
        let logits = session.run_pixels(pixels)?;
        let probabilities = softmax(logits);
        let mut order: Vec<usize> = (0..logits.len()).collect();
        order.sort_by(|a, b| logits[*b].total_cmp(&logits[*a]));
        order.truncate(top);
        let prediction = |class: usize| Prediction {
            class,
            name: self.graph().classes.get(class).cloned(),
            probability: probabilities[class],
        };
        Ok(order.into_iter().map(prediction).collect())
    }
}

/// `exp(x − max) / Σ exp(x − max)`.
pub(crate) fn softmax(logits: &[f32]) -> Vec<f32> {
    let largest = logits.iter().copied().fold(f32::NEG_INFINITY, f32::max);
    let powers: Vec<f32> = logits.iter().map(|logit| (logit - largest).exp()).collect();
    let sum: f32 = powers.iter().sum();
    powers.iter().map(|power| power / sum).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn softmax_of_large_logits() {
        let [a, b, c] = softmax(&[1000.0, 1000.0, -1000.0])[..] else { panic!() };
        assert_eq!([a, b, c], [0.5, 0.5, 0.0]);
        let sum: f32 = softmax(&[0.1, -3.0, 2.0, 0.0]).iter().sum();
        assert!((sum - 1.0).abs() < 1e-6);
    }
}
