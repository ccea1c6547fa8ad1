//! How much one model differs from another on the same images.
//!
//! Accuracy alone hides most of it: two models may be right equally often, but not on the
//! same images. So beside it are counted the images on which answers change, and how far
//! the probabilities and each layer's values have moved.

use std::borrow::Cow;
use std::collections::HashMap;
use std::ops::Range;

use ec2t_format::NodeId;
use rayon::prelude::*;

use crate::error::{RunError, check_length};
use crate::evaluate::{BLOCK, check_labels, largest_logit};
use crate::model::Model;
use crate::paired::PairedCounts;
use crate::session::Session;

/// What two models, a first and a second, make of the same images.
#[derive(Clone, Debug, PartialEq)]
pub struct Comparison {
    /// Images by which model has them right.
    pub counts: PairedCounts,
    /// Images with the same answer, right or wrong.
    pub agreeing: usize,
    /// What the second model's probabilities miss of the first's.
    pub divergence: Divergence,
    /// The right answers for each class.
    pub classes: Vec<ClassCounts>,
    /// How far the values of each layer are apart, in the order of execution; of the layers
    /// that both models have, which are those of the same name and length.
    pub layers: Vec<LayerDrift>,
}

/// The Kullback–Leibler divergence `Σ p ln(p ∕ q)` of the second model's probabilities `q`
/// from the first's `p`, in nats.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Divergence {
    /// Mean over the images; 0 without images.
    pub mean: f64,
    /// Standard error of the mean; 0 with fewer than two images.
    pub standard_error: f64,
}

/// The images of one class.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ClassCounts {
    /// Images with this label.
    pub images: usize,
    /// Those that each model has right.
    pub correct: [usize; 2],
}

/// How far a layer's values are apart in two models.
#[derive(Clone, Debug, PartialEq)]
pub struct LayerDrift {
    /// Name of the layer.
    pub name: String,
    /// Number of its values for one image, after what is fused into the layer.
    pub values: usize,
    /// `‖second − first‖ ∕ ‖first‖` over the values of all images; infinite where only the
    /// first's are all zero.
    pub relative: f64,
}

/// Runs two models on all images. `images` gives those of a range, `[N, C, H, W]` pixels,
/// range after range; each model normalises them as it needs it. `progress` is called with
/// the number of images done so far.
///
/// ```
/// # use ec2t_format::{DenseTensor, Network, graph::{GraphBuilder, Shape}};
/// # use ec2t_infer::{Model, RunError};
/// # let model = |weight: f32| {
/// #     let mut g = GraphBuilder::new("tiny", Shape::new(2, 1, 1));
/// #     g.linear("fc", g.input(), 2);
/// #     let weight = DenseTensor::new(vec![2, 2], vec![weight, 0.0, 0.0, weight]).unwrap();
/// #     let bias = DenseTensor::new(vec![2], vec![0.0; 2]).unwrap();
/// #     let tensors = [("fc.weight".into(), weight.into()), ("fc.bias".into(), bias.into())];
/// #     Model::new(Network::new(g.finish().unwrap(), tensors.into()).unwrap()).unwrap()
/// # };
/// let models = [&model(1.0), &model(0.5)];
/// let images = [255, 0, 0, 51];
/// let found = ec2t_infer::compare::<RunError>(
///     models,
///     &[0, 1],
///     |range| Ok(images[2 * range.start..2 * range.end].into()),
///     |_| {},
/// )?;
/// assert_eq!((found.counts.both, found.agreeing), (2, 2));
/// assert_eq!((found.layers[0].name.as_str(), found.layers[0].relative), ("fc", 0.5));
/// assert!(found.divergence.mean > 0.0);
/// # Ok::<(), RunError>(())
/// ```
///
/// # Errors
/// Those of `images`; where the models take images of different sizes or know different
/// numbers of classes, the number of pixels does not fit that of labels, or a label is none
/// of the classes.
pub fn compare<'a, E: From<RunError>>(
    models: [&Model; 2],
    labels: &[u32],
    mut images: impl FnMut(Range<usize>) -> Result<Cow<'a, [u8]>, E>,
    mut progress: impl FnMut(usize),
) -> Result<Comparison, E> {
    check_alike(models)?;
    let [first, _] = models;
    check_labels(labels, first.output_len())?;
    let shared = Shared::new(models);
    let mut sums = Sums::new(first.output_len(), shared.layers.len());
    let mut done = 0;
    for labels in labels.chunks(BLOCK) {
        let images = images(done..done + labels.len())?;
        check_length(labels.len(), first.input_len(), images.len())?;
        let seen: Result<Vec<Seen>, RunError> = images
            .par_chunks_exact(first.input_len())
            .map_init(|| Pair::new(models, &shared), Pair::run)
            .collect();
        for (label, seen) in labels.iter().zip(seen?) {
            sums.add(*label as usize, &seen);
        }
        done += labels.len();
        progress(done);
    }
    Ok(sums.finish(shared))
}

fn check_alike([first, second]: [&Model; 2]) -> Result<(), RunError> {
    let [first, second] = [first, second].map(|model| [model.input_len(), model.output_len()]);
    match first == second {
        true => Ok(()),
        false => Err(RunError::Unlike { first, second }),
    }
}

/// The layers that two models share.
struct Shared {
    layers: Vec<(String, usize)>,
    /// For each model, which of the layers gives the value of a node.
    positions: [HashMap<NodeId, usize>; 2],
}

impl Shared {
    fn new([first, second]: [&Model; 2]) -> Self {
        let mut others: HashMap<_, NodeId> = values(second).into_iter().collect();
        let mut shared = Self { layers: Vec::new(), positions: Default::default() };
        for (key, node) in values(first) {
            if let Some(other) = others.remove(&key) {
                let position = shared.layers.len();
                for (positions, node) in shared.positions.iter_mut().zip([node, other]) {
                    positions.insert(node, position);
                }
                let Key { layer, len, .. } = key;
                shared.layers.push((layer.to_owned(), len));
            }
        }
        shared
    }
}

/// What makes values of two models comparable: the layer, the last node that is fused into
/// it, and how many there are.
#[derive(PartialEq, Eq, Hash)]
struct Key<'m> {
    layer: &'m str,
    value: &'m str,
    len: usize,
}

/// The values that a model computes, each once, in order.
fn values(model: &Model) -> Vec<(Key<'_>, NodeId)> {
    let computed = model.plan().steps.iter().filter(|step| !step.kernel.is_conversion());
    computed
        .map(|step| {
            let value = &model.graph().nodes[step.value.index()].name;
            (Key { layer: &step.name, value, len: step.value_len() }, step.value)
        })
        .collect()
}

/// Both models on one thread.
struct Pair<'m> {
    shared: &'m Shared,
    sessions: [Session<'m>; 2],
    /// The normalised image.
    image: Vec<f32>,
    /// The first model's values of the shared layers.
    kept: Vec<Vec<f32>>,
}

/// What one image showed.
struct Seen {
    answers: [usize; 2],
    divergence: f64,
    /// For each shared layer, the sums of squares of the difference and of the first's values.
    squares: Vec<[f64; 2]>,
}

impl<'m> Pair<'m> {
    fn new(models: [&'m Model; 2], shared: &'m Shared) -> Self {
        let kept = shared.layers.iter().map(|(_, len)| vec![0.0; *len]).collect();
        let image = vec![0.0; models[0].input_len()];
        Self { shared, sessions: models.map(Model::session), image, kept }
    }

    fn run(&mut self, pixels: &[u8]) -> Result<Seen, RunError> {
        let Self { shared, sessions: [first, second], image, kept } = self;
        first.model().preprocess(pixels, image)?;
        let expected = first.run_seeing(image, |node, values| {
            if let Some(position) = shared.positions[0].get(&node) {
                kept[*position].copy_from_slice(values);
            }
        })?;
        second.model().preprocess(pixels, image)?;
        let mut squares = vec![[0.0; 2]; kept.len()];
        let found = second.run_seeing(image, |node, values| {
            if let Some(position) = shared.positions[1].get(&node) {
                squares[*position] = distance(&kept[*position], values);
            }
        })?;
        let answers = [largest_logit(expected), largest_logit(found)];
        Ok(Seen { answers, divergence: divergence(expected, found), squares })
    }
}

/// Sums of squares of `second − first`, and of `first`.
fn distance(first: &[f32], second: &[f32]) -> [f64; 2] {
    first.iter().zip(second).fold([0.0; 2], |[difference, size], (first, second)| {
        let (first, second) = (f64::from(*first), f64::from(*second));
        [difference + (second - first).powi(2), size + first.powi(2)]
    })
}

/// `Σ p ln(p ∕ q)` of the probabilities that logits stand for.
fn divergence(first: &[f32], second: &[f32]) -> f64 {
    let (p, q) = (log_softmax(first), log_softmax(second));
    let terms = p.iter().zip(&q).filter(|(p, _)| **p > f64::NEG_INFINITY);
    terms.map(|(p, q)| p.exp() * (p - q)).sum()
}

fn log_softmax(logits: &[f32]) -> Vec<f64> {
    let largest = f64::from(logits.iter().copied().fold(f32::NEG_INFINITY, f32::max));
    let above = logits.iter().map(|logit| f64::from(*logit) - largest);
    let sum: f64 = above.clone().map(f64::exp).sum();
    above.map(|logit| logit - sum.ln()).collect()
}

/// What all images showed so far.
struct Sums {
    counts: PairedCounts,
    agreeing: usize,
    divergences: Vec<f64>,
    classes: Vec<ClassCounts>,
    squares: Vec<[f64; 2]>,
}

impl Sums {
    fn new(classes: usize, layers: usize) -> Self {
        Self {
            counts: PairedCounts::default(),
            agreeing: 0,
            divergences: Vec::new(),
            classes: vec![ClassCounts::default(); classes],
            squares: vec![[0.0; 2]; layers],
        }
    }

    fn add(&mut self, label: usize, seen: &Seen) {
        let right = seen.answers.map(|answer| answer == label);
        self.counts.add(right);
        self.agreeing += usize::from(seen.answers[0] == seen.answers[1]);
        self.divergences.push(seen.divergence);
        let class = &mut self.classes[label];
        class.images += 1;
        for (correct, right) in class.correct.iter_mut().zip(right) {
            *correct += usize::from(right);
        }
        for (sums, squares) in self.squares.iter_mut().zip(&seen.squares) {
            for (sum, square) in sums.iter_mut().zip(squares) {
                *sum += square;
            }
        }
    }

    fn finish(self, shared: Shared) -> Comparison {
        let drift = |((name, values), [difference, size]): ((String, usize), [f64; 2])| {
            let relative = if difference == 0.0 { 0.0 } else { (difference / size).sqrt() };
            LayerDrift { name, values, relative }
        };
        Comparison {
            counts: self.counts,
            agreeing: self.agreeing,
            divergence: Divergence::of(&self.divergences),
            classes: self.classes,
            layers: shared.layers.into_iter().zip(self.squares).map(drift).collect(),
        }
    }
}

impl Divergence {
    fn of(values: &[f64]) -> Self {
        let n = values.len() as f64;
        let mean = values.iter().sum::<f64>() / n.max(1.0);
        let squares: f64 = values.iter().map(|value| (value - mean).powi(2)).sum();
        let variance = squares / (n - 1.0).max(1.0);
        Self { mean, standard_error: (variance / n.max(1.0)).sqrt() }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_divergence_of_logits_is_that_of_their_probabilities() {
        // p = (¾, ¼), q = (½, ½).
        let expected = 0.75 * 1.5f64.ln() + 0.25 * 0.5f64.ln();
        assert!((divergence(&[3f32.ln(), 0.0], &[2.0, 2.0]) - expected).abs() < 1e-7);
        assert_eq!(divergence(&[1000.0, -3.0, 0.5], &[1000.0, -3.0, 0.5]), 0.0);
        assert_eq!(divergence(&[1000.0, f32::NEG_INFINITY], &[0.0, 0.0]), 2f64.ln());
    }

    #[test]
    fn the_error_of_a_mean_shrinks_with_the_number_of_images() {
        let Divergence { mean, standard_error } = Divergence::of(&[1.0, 2.0, 3.0, 6.0]);
        assert_eq!(mean, 3.0);
        assert!((standard_error - (14.0f64 / 3.0 / 4.0).sqrt()).abs() < 1e-15);
        assert_eq!(Divergence::of(&[5.0]), Divergence { mean: 5.0, standard_error: 0.0 });
        assert_eq!(Divergence::of(&[]), Divergence::default());
    }
}
