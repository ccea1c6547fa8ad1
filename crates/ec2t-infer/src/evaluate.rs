//! Accuracy of a model on labelled images.

use std::borrow::Cow;
use std::ops::Range;
use std::time::{Duration, Instant};

use crate::classify::softmax;
use crate::error::{RunError, check_length};
use crate::model::Model;

/// Images that are asked for at a time.
pub(crate) const BLOCK: usize = 256;

/// Most classes for which a confusion matrix is counted.
const MAX_CONFUSION: usize = 1024;

/// How well a model does on some images.
#[derive(Clone, Debug, PartialEq)]
pub struct Evaluation {
    /// Number of images.
    pub images: usize,
    /// Images whose largest logit is that of their label.
    pub correct: usize,
    /// Share of correct images in percent; 0 without images.
    pub top1: f64,
    /// Share of images in percent whose label is among the five largest
    /// logits; `None` where there are no more than five classes.
    pub top5: Option<f64>,
    /// Number of classes.
    pub classes: usize,
    /// Images by label (rows) and predicted class (columns), row-major; empty
    /// where there are more than 1,024 classes.
    pub confusion: Vec<u32>,
    /// The images that are not correct, the most probable answers first.
    pub mistakes: Vec<Mistake>,
    /// Time that the model took.
    pub seconds: f64,
}

/// An image that a model takes for another class.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Mistake {
    /// Position of the image.
    pub image: usize,
    /// Its class.
    pub label: usize,
    /// The class of the largest logit.
    pub answer: usize,
    /// Probability of the answer, 0…1, by softmax over all classes.
    pub probability: f32,
}

/// Runs a model on all images and compares with their labels. `images` gives
/// those of a range, `[N, C, H, W]` pixels, range after range; `progress` is
/// called with the number of images done so far.
///
/// # Errors
/// Those of `images`; where the number of pixels does not fit that of labels, or
/// a label is none of the model's classes.
pub fn evaluate<'a, E: From<RunError>>(
    model: &Model,
    labels: &[u32],
    mut images: impl FnMut(Range<usize>) -> Result<Cow<'a, [u8]>, E>,
    mut progress: impl FnMut(usize),
) -> Result<Evaluation, E> {
    let classes = model.output_len();
    check_labels(labels, classes)?;

    let mut time = Duration::ZERO;
    let mut confusion = match classes {
        0..=MAX_CONFUSION => vec![0; classes * classes],
        _ => Vec::new(),
    };
    let (mut correct, mut among_five, mut done) = (0, 0, 0);
    let mut mistakes = Vec::new();
    for labels in labels.chunks(BLOCK) {
        let images = images(done..done + labels.len())?;
        check_length(labels.len(), model.input_len(), images.len())?;
        let start = Instant::now();
        let logits = model.run_pixels(&images, labels.len())?;
        time += start.elapsed();
        for (image, (&label, logits)) in
            (done..).zip(labels.iter().zip(logits.chunks_exact(classes)))
        {
            let (label, predicted) = (label as usize, largest_logit(logits));
            if let Some(count) = confusion.get_mut(label * classes + predicted) {
                *count += 1;
            }
            match predicted == label {
                true => correct += 1,
                false => {
                    let probability = softmax(logits)[predicted];
                    mistakes.push(Mistake { image, label, answer: predicted, probability });
                }
            }
            among_five += usize::from(rank(logits, label) < 5);
        }
        done += labels.len();
        progress(done);
    }
    mistakes.sort_by(|a, b| b.probability.total_cmp(&a.probability));
    let percent = |count: usize| 100.0 * count as f64 / labels.len().max(1) as f64;
    Ok(Evaluation {
        images: labels.len(),
        correct,
        top1: percent(correct),
        top5: (classes > 5).then(|| percent(among_five)),
        classes,
        confusion,
        mistakes,
        seconds: time.as_secs_f64(),
    })
}

/// Checks that every label is one of the classes.
pub(crate) fn check_labels(labels: &[u32], classes: usize) -> Result<(), RunError> {
    match labels.iter().position(|label| *label as usize >= classes) {
        Some(image) => Err(RunError::Label { image, label: labels[image], classes }),
        None => Ok(()),
    }
}

/// Class of the largest logit, the first of equal ones.
pub fn largest_logit(logits: &[f32]) -> usize {
    let classes = 0..logits.len();
    classes.rev().max_by(|a, b| logits[*a].total_cmp(&logits[*b])).unwrap_or(0)
}

/// Number of classes that come before `class`, equal ones in their order.
fn rank(logits: &[f32], class: usize) -> usize {
    let before = |(other, logit): &(usize, &f32)| {
        let order = logit.total_cmp(&logits[class]);
        order.then(class.cmp(other)).is_gt()
    };
    logits.iter().enumerate().filter(before).count()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn equal_logits_rank_in_their_order() {
        let logits = [1.0, 3.0, 3.0, -1.0];
        assert_eq!(largest_logit(&logits), 1);
        assert_eq!([0, 1, 2, 3].map(|class| rank(&logits, class)), [2, 0, 1, 3]);
    }
}
