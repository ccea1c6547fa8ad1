//! Softmax cross entropy with label smoothing (Szegedy et al. 2016).
//!
//! With K classes and smoothing ε, the target of a sample is ε/K for each class
//! and 1 − ε more for its label, and its loss is `−Σ target · log softmax(logits)`.
//! The loss of a batch is the mean. All sums are `f64`.
//!
//! ```
//! use ec2t_ops::loss::cross_entropy;
//!
//! let mut gradient = [0.0; 3];
//! let loss = cross_entropy(&[1.0, 2.0, 3.0], &[2], 0.0, &mut gradient);
//! assert!((loss.mean - 0.407_606).abs() < 1e-6);
//! assert_eq!(loss.correct, 1);
//! ```

use rayon::prelude::*;

use crate::chunks::{CHUNKS, split, split_mut};

/// What a batch of logits is worth.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Loss {
    /// Mean over the batch.
    pub mean: f64,
    /// How many logits are largest at the label; of equal ones the first counts.
    pub correct: usize,
}

/// The loss of `logits`, `[N, K]`, and in the same pass the gradient of its mean.
///
/// # Panics
///
/// If the logits are not equally many for each label, more than any label, or the
/// gradients are not as many.
pub fn cross_entropy(logits: &[f32], labels: &[u32], smoothing: f32, gradient: &mut [f32]) -> Loss {
    assert_eq!(logits.len(), gradient.len(), "gradients");
    let batch = labels.len();
    let classes = logits.len().checked_div(batch).unwrap_or_default().max(1);
    let mut losses = [Loss::default(); CHUNKS];
    let parts = (split(logits, batch), split(labels, batch), split_mut(gradient, batch));
    (&mut losses, parts).into_par_iter().for_each(|(loss, (logits, labels, gradient))| {
        let rows = logits.chunks_exact(classes).zip(gradient.chunks_exact_mut(classes));
        for ((logits, gradient), &label) in rows.zip(labels) {
            let label = label as usize;
            loss.mean += sample(logits, label, smoothing.into(), gradient, batch) / batch as f64;
            loss.correct += usize::from(largest(logits) == label);
        }
    });
    losses.iter().fold(Loss::default(), |total, part| Loss {
        mean: total.mean + part.mean,
        correct: total.correct + part.correct,
    })
}

/// The loss of one sample; its gradient is divided by the size of the batch.
fn sample(logits: &[f32], label: usize, smoothing: f64, gradient: &mut [f32], batch: usize) -> f64 {
    let top = f64::from(logits.iter().copied().fold(f32::NEG_INFINITY, f32::max));
    let shifted = || logits.iter().map(|&logit| f64::from(logit) - top);
    let sum: f64 = shifted().map(f64::exp).sum();
    let shared = smoothing / logits.len() as f64;
    let target = |class| shared + if class == label { 1.0 - smoothing } else { 0.0 };
    for (class, (gradient, logit)) in gradient.iter_mut().zip(shifted()).enumerate() {
        *gradient = ((logit.exp() / sum - target(class)) / batch as f64) as f32;
    }
    let hit = (1.0 - smoothing) * (f64::from(logits[label]) - top);
    sum.ln() - hit - shared * shifted().sum::<f64>()
}

/// The first of the largest values.
fn largest(row: &[f32]) -> usize {
    let better = |best: usize, (i, value): (usize, &f32)| if *value > row[best] { i } else { best };
    row.iter().enumerate().fold(0, better)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{assert_close, gradient, in_pools, random, wide};

    /// Numbers that `torch.nn.functional.cross_entropy(label_smoothing=0.1)` of
    /// PyTorch 2.15 prints with `set_printoptions(precision=8)`.
    #[test]
    fn a_small_batch_is_that_of_pytorch() {
        let mut gradient = [f32::NAN; 6];
        let logits = [1.0, 2.0, 3.0, 0.5, -1.0, 0.25];
        let loss = cross_entropy(&logits, &[2, 1], 0.1, &mut gradient);
        assert!((loss.mean - 1.305_025_7).abs() < 1e-6, "{loss:?}");
        assert_eq!(loss.correct, 1);
        let expected =
            [0.028_348_62, 0.105_697_58, -0.134_046_17, 0.233_092_2, -0.410_937_94, 0.177_845_73];
        assert_close(&gradient, &expected);
    }

    #[test]
    fn gradients_are_those_of_the_definition() {
        for (batch, classes, smoothing) in [(1, 1, 0.0), (1, 10, 0.0), (3, 7, 0.1), (33, 5, 0.3)] {
            let logits = random(batch * classes, 1);
            let labels: Vec<u32> = (0..batch as u32).map(|i| i * 5 % classes as u32).collect();
            let defined = |logits: &[f64]| -> f64 {
                let rows = logits.chunks(classes).zip(&labels).map(|(row, &label)| {
                    let log_sum = row.iter().map(|x| x.exp()).sum::<f64>().ln();
                    let target = |class: usize| {
                        let smoothing = f64::from(smoothing as f32);
                        let hit = if class == label as usize { 1.0 - smoothing } else { 0.0 };
                        hit + smoothing / classes as f64
                    };
                    row.iter().enumerate().map(|(i, x)| target(i) * (log_sum - x)).sum::<f64>()
                });
                rows.sum::<f64>() / batch as f64
            };
            let (loss, found) = in_pools(|| {
                let mut gradient = vec![f32::NAN; logits.len()];
                let loss = cross_entropy(&logits, &labels, smoothing as f32, &mut gradient);
                (loss, gradient)
            });
            assert!((loss.mean - defined(&wide(&logits))).abs() < 1e-6);
            assert_close(&found, &gradient(&wide(&logits), defined));
        }
    }

    #[test]
    fn large_logits_do_not_overflow_and_ties_count_for_the_first() {
        let mut gradient = [f32::NAN; 6];
        let loss = cross_entropy(&[1000.0, 0.0, 0.0, 5.0, 5.0, 5.0], &[0, 1], 0.0, &mut gradient);
        assert!((loss.mean - 3f64.ln() / 2.0).abs() < 1e-9);
        assert_eq!(loss.correct, 1);
        assert_eq!(gradient[..3], [0.0; 3]);
    }

    #[test]
    fn what_is_not_a_number_shows() {
        for bad in [f32::NAN, f32::INFINITY] {
            let mut gradient = [0.0; 2];
            assert!(cross_entropy(&[0.0, bad], &[0], 0.0, &mut gradient).mean.is_nan());
        }
    }
}
