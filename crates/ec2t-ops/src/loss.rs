//! Softmax cross entropy with label smoothing (Szegedy et al. 2016) and with a
//! teacher (Hinton, Vinyals & Dean, "Distilling the Knowledge in a Neural Network",
//! 2015).
//!
//! With K classes and smoothing ε, the target of a sample is ε/K for each class
//! and 1 − ε more for its label, and its loss is `−Σ target · log softmax(logits)`.
//! A teacher with share α and temperature T makes it
//!
//! ```text
//! (1 − α) · cross entropy + α · T² · KL(softmax(teacher / T) ‖ softmax(logits / T))
//! ```
//!
//! The loss of a batch is the mean. All sums are `f64`.
//!
//! ```
//! use ec2t_ops::loss::{Target, cross_entropy};
//!
//! let mut gradient = [0.0; 3];
//! let loss = cross_entropy(&[1.0, 2.0, 3.0], &Target::labels(&[2]), &mut gradient);
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

/// What the logits of a batch should be.
#[derive(Clone, Copy, Debug)]
pub struct Target<'a> {
    /// The class of each sample.
    pub labels: &'a [u32],
    /// Share of each label that is spread over all classes (ε), from 0 to 1.
    pub smoothing: f32,
    /// Another network's answers, to be learnt as well.
    pub teacher: Option<Teacher<'a>>,
}

/// Answers of another network to the same samples.
#[derive(Clone, Copy, Debug)]
pub struct Teacher<'a> {
    /// `[N, K]`.
    pub logits: &'a [f32],
    /// Share of the loss that is the distance from the teacher (α), from 0 to 1.
    pub share: f32,
    /// What both sides' logits are divided by (T), above 0: the higher, the more
    /// the teacher's order of wrong classes counts.
    pub temperature: f32,
}

impl<'a> Target<'a> {
    /// Labels alone.
    pub fn labels(labels: &'a [u32]) -> Self {
        Self { labels, smoothing: 0.0, teacher: None }
    }
}

/// The loss of `logits`, `[N, K]`, and in the same pass the gradient of its mean.
///
/// # Panics
///
/// If the logits are not equally many for each label, more than any label, or the
/// gradients or the teacher's logits are not as many.
pub fn cross_entropy(logits: &[f32], target: &Target, gradient: &mut [f32]) -> Loss {
    let &Target { labels, smoothing, teacher } = target;
    assert_eq!(logits.len(), gradient.len(), "gradients");
    assert!(teacher.is_none_or(|teacher| teacher.logits.len() == logits.len()), "teacher");
    let batch = labels.len();
    let classes = logits.len().checked_div(batch).unwrap_or_default().max(1);
    let mut losses = [Loss::default(); CHUNKS];
    let taught = split(teacher.map_or(&[][..], |teacher| teacher.logits), batch);
    let parts = (split(logits, batch), split(labels, batch), taught, split_mut(gradient, batch));
    (&mut losses, parts).into_par_iter().for_each(|(loss, (logits, labels, taught, gradient))| {
        let rows = logits.chunks_exact(classes).zip(gradient.chunks_exact_mut(classes));
        for (row, ((logits, gradient), &label)) in rows.zip(labels).enumerate() {
            let label = label as usize;
            let mut mean = sample(logits, label, smoothing.into(), gradient);
            if let Some(teacher) = teacher {
                let taught = &taught[row * classes..][..classes];
                let share = f64::from(teacher.share);
                let distance = distance(logits, taught, teacher, gradient);
                mean = (1.0 - share) * mean + share * distance;
            }
            gradient.iter_mut().for_each(|gradient| *gradient /= batch as f32);
            loss.mean += mean / batch as f64;
            loss.correct += usize::from(largest(logits) == label);
        }
    });
    losses.iter().fold(Loss::default(), |total, part| Loss {
        mean: total.mean + part.mean,
        correct: total.correct + part.correct,
    })
}

/// The loss of one sample by its label alone, and its gradient.
fn sample(logits: &[f32], label: usize, smoothing: f64, gradient: &mut [f32]) -> f64 {
    let top = greatest(logits);
    let shifted = || logits.iter().map(|&logit| f64::from(logit) - top);
    let sum: f64 = shifted().map(f64::exp).sum();
    let shared = smoothing / logits.len() as f64;
    let target = |class| shared + if class == label { 1.0 - smoothing } else { 0.0 };
    for (class, (gradient, logit)) in gradient.iter_mut().zip(shifted()).enumerate() {
        *gradient = (logit.exp() / sum - target(class)) as f32;
    }
    let hit = (1.0 - smoothing) * (f64::from(logits[label]) - top);
    sum.ln() - hit - shared * shifted().sum::<f64>()
}

/// T² · KL of one sample; mixes its gradient into that of the label's loss.
fn distance(logits: &[f32], taught: &[f32], teacher: Teacher, gradient: &mut [f32]) -> f64 {
    let (share, temperature) = (f64::from(teacher.share), f64::from(teacher.temperature));
    let [(top, log_sum), (taught_top, taught_log_sum)] = [logits, taught].map(|logits| {
        let top = greatest(logits);
        let scaled = logits.iter().map(|&logit| (f64::from(logit) - top) / temperature);
        (top, scaled.map(f64::exp).sum::<f64>().ln())
    });
    let mut sum = 0.0;
    for ((gradient, &logit), &taught) in gradient.iter_mut().zip(logits).zip(taught) {
        let log = (f64::from(logit) - top) / temperature - log_sum;
        let taught_log = (f64::from(taught) - taught_top) / temperature - taught_log_sum;
        let probability = taught_log.exp();
        sum += probability * (taught_log - log);
        let by_teacher = temperature * (log.exp() - probability);
        *gradient = ((1.0 - share) * f64::from(*gradient) + share * by_teacher) as f32;
    }
    temperature * temperature * sum
}

fn greatest(logits: &[f32]) -> f64 {
    f64::from(logits.iter().copied().fold(f32::NEG_INFINITY, f32::max))
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

    fn smooth(labels: &[u32], smoothing: f32) -> Target<'_> {
        Target { smoothing, ..Target::labels(labels) }
    }

    /// Numbers that `torch.nn.functional.cross_entropy(label_smoothing=0.1)` of
    /// PyTorch 2.15 prints with `set_printoptions(precision=8)`.
    #[test]
    fn a_small_batch_is_that_of_pytorch() {
        let mut gradient = [f32::NAN; 6];
        let logits = [1.0, 2.0, 3.0, 0.5, -1.0, 0.25];
        let loss = cross_entropy(&logits, &smooth(&[2, 1], 0.1), &mut gradient);
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
                let loss =
                    cross_entropy(&logits, &smooth(&labels, smoothing as f32), &mut gradient);
                (loss, gradient)
            });
            assert!((loss.mean - defined(&wide(&logits))).abs() < 1e-6);
            assert_close(&found, &gradient(&wide(&logits), defined));
        }
    }

    /// Numbers that PyTorch 2.15 prints for
    /// `0.25 * cross_entropy(z, y) + 0.75 * 9 * kl_div((z / 3).log_softmax(1),
    /// (t / 3).softmax(1), reduction="batchmean")`.
    #[test]
    fn a_teacher_is_that_of_pytorch() {
        let logits = [1.0, 2.0, 3.0, 0.5, -1.0, 0.25];
        let teacher =
            Teacher { logits: &[0.0, 4.0, 1.0, 0.5, -2.0, 2.5], share: 0.75, temperature: 3.0 };
        let target = Target { teacher: Some(teacher), ..Target::labels(&[2, 1]) };
        let mut gradient = [f32::NAN; 6];
        let loss = cross_entropy(&logits, &target, &mut gradient);
        assert!((loss.mean - 1.273_473_26).abs() < 1e-6, "{loss:?}");
        let expected =
            [0.088_504_82, -0.297_481_15, 0.208_976_36, 0.175_095_8, 0.014_448_14, -0.189_543_9];
        assert_close(&gradient, &expected);
    }

    #[test]
    fn gradients_of_a_taught_loss_are_those_of_the_definition() {
        for (batch, classes, share, temperature) in [(1, 2, 1.0, 1.0), (5, 7, 0.5, 4.0)] {
            let logits = random(batch * classes, 1);
            let taught: Vec<f32> = random(batch * classes, 2).iter().map(|x| 5.0 * x).collect();
            let labels: Vec<u32> = (0..batch as u32).map(|i| i * 5 % classes as u32).collect();
            let teacher = Teacher { logits: &taught, share, temperature };
            let target = Target { teacher: Some(teacher), ..Target::labels(&labels) };
            let (loss, found) = in_pools(|| {
                let mut gradient = vec![f32::NAN; logits.len()];
                let loss = cross_entropy(&logits, &target, &mut gradient);
                (loss, gradient)
            });
            let log_softmax = |row: &[f64], t: f64| -> Vec<f64> {
                let log_sum = row.iter().map(|x| (x / t).exp()).sum::<f64>().ln();
                row.iter().map(|x| x / t - log_sum).collect()
            };
            let (share, t) = (f64::from(share), f64::from(temperature));
            let defined = |logits: &[f64]| -> f64 {
                let rows = logits.chunks(classes).zip(taught.chunks(classes)).zip(&labels);
                let losses = rows.map(|((row, taught), &label)| {
                    let (soft, taught) = (log_softmax(row, t), log_softmax(&wide(taught), t));
                    let distances = taught.iter().zip(soft).map(|(p, q)| p.exp() * (p - q));
                    let distance = t * t * distances.sum::<f64>();
                    share * distance - (1.0 - share) * log_softmax(row, 1.0)[label as usize]
                });
                losses.sum::<f64>() / batch as f64
            };
            assert!((loss.mean - defined(&wide(&logits))).abs() < 1e-6);
            assert_close(&found, &gradient(&wide(&logits), defined));
        }
    }

    #[test]
    fn large_logits_do_not_overflow_and_ties_count_for_the_first() {
        let mut gradient = [f32::NAN; 6];
        let logits = [1000.0, 0.0, 0.0, 5.0, 5.0, 5.0];
        let loss = cross_entropy(&logits, &Target::labels(&[0, 1]), &mut gradient);
        assert!((loss.mean - 3f64.ln() / 2.0).abs() < 1e-9);
        assert_eq!(loss.correct, 1);
        assert_eq!(gradient[..3], [0.0; 3]);
    }

    #[test]
    fn what_is_not_a_number_shows() {
        for bad in [f32::NAN, f32::INFINITY] {
            let (mut gradient, target) = ([0.0; 2], Target::labels(&[0]));
            assert!(cross_entropy(&[0.0, bad], &target, &mut gradient).mean.is_nan());
        }
    }
}
