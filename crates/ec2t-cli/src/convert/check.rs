//! Whether onnxruntime computes with a model what we compute with the network.

use std::path::Path;

use anyhow::Result;
use ec2t_data::Dataset;
use ec2t_infer::{Model, largest_logit};

use super::onnxruntime::Runtime;

/// Images without a dataset: enough that a wrong layer shows.
const NOISE_IMAGES: usize = 64;
/// Values of all images of a batch, 4 MiB: the largest image is a batch of its own.
const BATCH_VALUES: usize = 1 << 20;

/// How far two programs agree on some images.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub(super) struct Agreement {
    pub(super) images: usize,
    /// Images whose largest logit is the same.
    pub(super) same: usize,
    /// The largest difference between two logits.
    pub(super) difference: f32,
    /// The largest magnitude of a logit.
    pub(super) magnitude: f32,
}

/// Compares on the images of a dataset or, where there is none, on noise, the same in
/// every run.
pub(super) fn check(
    runtime: &Runtime,
    file: &Path,
    model: &Model,
    images: Option<&Dataset>,
) -> Result<Agreement> {
    let mut running = runtime.start(file)?;
    let mut noise = Noise(0);
    let mut agreement = Agreement::default();
    let count = images.map_or(NOISE_IMAGES, Dataset::len);
    let batch = (BATCH_VALUES / model.input_len()).max(1);
    for start in (0..count).step_by(batch) {
        let range = start..count.min(start + batch);
        let len = range.len();
        let pixels = match images {
            Some(images) => images.images(range)?.into_owned(),
            None => noise.pixels(len * model.input_len()),
        };
        let ours = model.run(&normalized(model, &pixels)?, len)?;
        let pixels: Vec<f32> = pixels.iter().map(|&pixel| f32::from(pixel) / 255.0).collect();
        let theirs = running.run(&pixels, len, model.output_len())?;
        agreement.add(&ours, &theirs, model.output_len());
    }
    Ok(agreement)
}

impl Agreement {
    fn add(&mut self, ours: &[f32], theirs: &[f32], classes: usize) {
        for (ours, theirs) in ours.chunks_exact(classes).zip(theirs.chunks_exact(classes)) {
            self.images += 1;
            self.same += usize::from(largest_logit(ours) == largest_logit(theirs));
            for (a, b) in ours.iter().zip(theirs) {
                self.difference = max(self.difference, (a - b).abs());
                self.magnitude = max(self.magnitude, a.abs());
            }
        }
    }
}

/// The larger number; not a number where either is none.
fn max(a: f32, b: f32) -> f32 {
    match b.is_nan() || b > a {
        true => b,
        false => a,
    }
}

/// Images of pixels as the model needs them.
fn normalized(model: &Model, pixels: &[u8]) -> Result<Vec<f32>> {
    let mut values = vec![0.0; pixels.len()];
    let images = values.chunks_exact_mut(model.input_len());
    for (image, pixels) in images.zip(pixels.chunks_exact(model.input_len())) {
        model.preprocess(pixels, image)?;
    }
    Ok(values)
}

/// Pixels of the generator SplitMix64.
struct Noise(u64);

impl Noise {
    fn pixels(&mut self, count: usize) -> Vec<u8> {
        (0..count).map(|_| self.byte()).collect()
    }

    fn byte(&mut self) -> u8 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mixed = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        (mixed >> 56) as u8
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn agreement_is_by_image_and_the_largest_difference_counts() {
        let mut agreement = Agreement::default();
        agreement.add(&[1.0, 2.0, -3.0, 0.0], &[1.5, 2.0, -3.0, -4.0], 2);
        let expected = Agreement { images: 2, same: 1, difference: 4.0, magnitude: 3.0 };
        assert_eq!(agreement, expected);
        agreement.add(&[1.0, 2.0], &[2.0, 1.0], 2);
        assert_eq!((agreement.images, agreement.same), (3, 1));
        agreement.add(&[1.0, 2.0], &[f32::NAN, 2.0], 2);
        assert!(agreement.difference.is_nan());
        agreement.add(&[1.0, 2.0], &[1.0, 2.0], 2);
        assert!(agreement.difference.is_nan());
    }
}
