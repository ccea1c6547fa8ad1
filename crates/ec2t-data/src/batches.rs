//! Batches in a seeded order that can be resumed at any step.
//!
//! The order of an epoch depends on (length, seed, epoch) only, and the
//! variation of a sample on (seed, epoch, index of the sample) only. So a run
//! that starts at step 17 of epoch 3 sees what an uninterrupted run sees
//! there.

use rayon::prelude::*;
use serde::{Deserialize, Serialize};

use crate::augment::{AugmentOptions, Augmenter};
use crate::dataset::Dataset;
use crate::error::DataError;
use crate::images::{Images, in_pool};
use crate::normalize;
use crate::random::{Purpose, Stream};

/// The indices 0…`len` − 1 in the random order of an epoch (Fisher–Yates).
///
/// ```
/// assert_eq!(ec2t_data::epoch_order(6, 42, 0), ec2t_data::epoch_order(6, 42, 0));
/// assert_ne!(ec2t_data::epoch_order(6, 42, 0), ec2t_data::epoch_order(6, 42, 1));
/// ```
///
/// # Panics
/// Where `len` exceeds 32 bits.
pub fn epoch_order(len: usize, seed: u64, epoch: u64) -> Vec<u32> {
    let mut order = file_order(len);
    shuffle(&mut order, seed, epoch);
    order
}

fn shuffle(order: &mut [u32], seed: u64, epoch: u64) {
    Stream::new(Purpose::Order, seed, epoch, 0).shuffle(order);
}

fn file_order(len: usize) -> Vec<u32> {
    (0..u32::try_from(len).expect("at most 2³² images")).collect()
}

/// Normalized images and their classes.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Batch {
    /// N × C × H × W values.
    pub images: Vec<f32>,
    /// The class of each image.
    pub labels: Vec<u32>,
}

/// How training images are batched.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct BatchOptions {
    /// Images per batch.
    pub size: usize,
    /// Leave out a last batch that is not full.
    pub drop_last: bool,
    /// Seed of order and variation.
    pub seed: u64,
    /// Random variation of the images.
    pub augment: AugmentOptions,
}

/// The batches of one pass over a dataset, and of further ones.
///
/// ```
/// use ec2t_data::{Batches, Dataset};
///
/// let classes = vec!["dark".to_string(), "bright".to_string()];
/// let data = Dataset::new("d", [1, 1, 1], vec![0, 255, 51], vec![0, 1, 0], classes)?;
/// let batches: Vec<_> = Batches::in_order(&data, &[0.0], &[1.0], 2)?.collect::<Result<_, _>>()?;
/// assert_eq!(batches[0].images, [0.0, 1.0]);
/// assert_eq!(batches[1].images, [0.2]);
/// # Ok::<(), ec2t_data::DataError>(())
/// ```
pub struct Batches<'a> {
    data: &'a Dataset,
    mean: &'a [f32],
    std: &'a [f32],
    options: BatchOptions,
    /// The epoch, of a training pass.
    epoch: Option<u64>,
    order: Vec<u32>,
    step: usize,
}

impl<'a> Batches<'a> {
    /// One epoch of training: shuffled and varied.
    ///
    /// # Errors
    /// [`DataError::Option`] where the batch size is 0, the variation does not
    /// fit the images, or there is no usable mean and deviation per channel.
    pub fn train(
        data: &'a Dataset,
        mean: &'a [f32],
        std: &'a [f32],
        options: &BatchOptions,
        epoch: u64,
    ) -> Result<Self, DataError> {
        let order = epoch_order(data.len(), options.seed, epoch);
        let (options, epoch) = (options.clone(), Some(epoch));
        Self::checked(Self { data, mean, std, options, epoch, order, step: 0 })
    }

    /// All images for evaluation: in the order of the dataset, unvaried.
    ///
    /// # Errors
    /// [`DataError::Option`] as for [`Batches::train`].
    pub fn in_order(
        data: &'a Dataset,
        mean: &'a [f32],
        std: &'a [f32],
        size: usize,
    ) -> Result<Self, DataError> {
        let augment = AugmentOptions::default();
        let options = BatchOptions { size, drop_last: false, seed: 0, augment };
        let order = file_order(data.len());
        Self::checked(Self { data, mean, std, options, epoch: None, order, step: 0 })
    }

    fn checked(self) -> Result<Self, DataError> {
        if self.options.size == 0 {
            let (expected, found) = ("at least 1".into(), "0".into());
            return Err(DataError::Option { option: "batch size", expected, found });
        }
        let augment = &self.options.augment;
        augment.check(self.data.shape())?;
        if augment.resized_crop > 0.0 && matches!(self.data.store(), Images::Bytes(_)) {
            let expected = "0, as its images are not in files".into();
            let found = augment.resized_crop.to_string();
            return Err(DataError::Option { option: "resized_crop", expected, found });
        }
        normalize::check(self.data.shape()[0], self.mean, self.std)?;
        Ok(self)
    }

    /// Begins at batch `step` instead of 0, without making those before it.
    pub fn starting_at(mut self, step: usize) -> Self {
        self.step = step;
        self
    }

    /// Number of batches of the whole pass.
    pub fn steps(&self) -> usize {
        match self.options.drop_last {
            true => self.order.len() / self.options.size,
            false => self.order.len().div_ceil(self.options.size),
        }
    }

    /// Begins the next pass: in training the next epoch, with its own order.
    pub fn next_pass(&mut self) {
        self.step = 0;
        if let Some(epoch) = &mut self.epoch {
            *epoch += 1;
            self.order.iter_mut().zip(0..).for_each(|(place, index)| *place = index);
            shuffle(&mut self.order, self.options.seed, *epoch);
        }
    }

    /// An empty batch with room for a full one.
    pub fn room(&self) -> Batch {
        let size = self.options.size.min(self.order.len());
        Batch {
            images: Vec::with_capacity(size * self.data.image_len()),
            labels: Vec::with_capacity(size),
        }
    }

    /// Makes the next batch in the memory of an old one; `false`, and the batch
    /// as it was, at the end of the pass.
    ///
    /// # Errors
    /// [`DataError::Picture`] where a file cannot be decoded.
    pub fn fill(&mut self, batch: &mut Batch) -> Result<bool, DataError> {
        if self.step >= self.steps() {
            return Ok(false);
        }
        let size = self.options.size;
        let start = self.step * size;
        let indices = &self.order[start..self.order.len().min(start.saturating_add(size))];
        batch.images.resize(indices.len() * self.data.image_len(), 0.0);
        self.fill_images(indices, &mut batch.images)?;
        batch.labels.clear();
        batch.labels.extend(indices.iter().map(|&index| self.data.label(index as usize)));
        self.step += 1;
        Ok(true)
    }

    /// The images at `indices`, varied and normalized.
    fn fill_images(&self, indices: &[u32], images: &mut [f32]) -> Result<(), DataError> {
        let augmenter = Augmenter {
            options: &self.options.augment,
            mean: self.mean,
            std: self.std,
            seed: self.options.seed,
            epoch: self.epoch.unwrap_or_default(),
        };
        let (shape, len) = (self.data.shape(), self.data.image_len());
        match self.data.store() {
            Images::Bytes(bytes) => {
                for (out, &index) in images.chunks_exact_mut(len).zip(indices) {
                    augmenter.apply(index, &bytes[index as usize * len..][..len], shape, out);
                }
                Ok(())
            }
            Images::Files(files) => in_pool(|| {
                let images = images.par_chunks_exact_mut(len).zip(indices);
                images
                    .try_for_each(|(out, &index)| augmenter.apply_to_file(index, files, shape, out))
            }),
        }
    }
}

impl Iterator for Batches<'_> {
    type Item = Result<Batch, DataError>;

    fn next(&mut self) -> Option<Self::Item> {
        let mut batch = self.room();
        self.fill(&mut batch).map(|filled| filled.then_some(batch)).transpose()
    }

    fn size_hint(&self) -> (usize, Option<usize>) {
        let left = self.steps().saturating_sub(self.step);
        (left, Some(left))
    }
}

impl ExactSizeIterator for Batches<'_> {}

#[cfg(test)]
mod tests {
    use super::*;

    const MEAN: [f32; 3] = [0.5; 3];
    const STD: [f32; 3] = [0.25; 3];

    fn data(len: usize) -> Dataset {
        let images = (0..len * 3 * 64).map(|i| (i * 7 % 256) as u8).collect();
        let labels = (0..len as u32).collect();
        let classes = (0..len).map(|class| class.to_string()).collect();
        Dataset::new("noise", [3, 8, 8], images, labels, classes).unwrap()
    }

    fn options(size: usize) -> BatchOptions {
        let augment = AugmentOptions { crop_pad: 2, cutout: 4, ..AugmentOptions::cifar() };
        BatchOptions { size, drop_last: false, seed: 5, augment }
    }

    fn epoch(data: &Dataset, epoch: u64) -> Vec<Batch> {
        Batches::train(data, &MEAN, &STD, &options(4), epoch).unwrap().map(Result::unwrap).collect()
    }

    #[test]
    fn the_order_is_fixed_for_all_time() {
        assert_eq!(epoch_order(10, 42, 3), [2, 5, 8, 9, 0, 7, 1, 3, 4, 6]);
        assert!(epoch_order(0, 1, 1).is_empty());
    }

    /// A run that a later version resumes must see the same images. The values
    /// are those of an independent computation in double precision.
    #[test]
    fn the_variation_is_fixed_for_all_time() {
        let data = data(1);
        let images = &epoch(&data, 0)[0].images;
        let thousandths = |value: &f32| (value * 1000.0).round() as i32;
        let found: Vec<i32> = images.iter().step_by(19).map(thousandths).collect();
        assert_eq!(found, [-1821, -1381, 669, -803, 1205, -740, 0, -1821, 0, 0, 950]);
    }

    #[test]
    fn an_epoch_shows_every_image_once() {
        let data = data(10);
        let batches = epoch(&data, 0);
        assert_eq!(batches.iter().map(|b| b.labels.len()).collect::<Vec<_>>(), [4, 4, 2]);
        let mut labels: Vec<u32> = batches.iter().flat_map(|b| b.labels.clone()).collect();
        assert_eq!(labels, epoch_order(10, 5, 0));
        labels.sort_unstable();
        assert_eq!(labels, data.labels());
        assert_ne!(epoch(&data, 0), epoch(&data, 1));
    }

    #[test]
    fn resuming_continues_exactly() {
        let data = data(10);
        let whole = epoch(&data, 2);
        for step in 0..=4 {
            let train = Batches::train(&data, &MEAN, &STD, &options(4), 2).unwrap();
            let rest: Vec<Batch> = train.starting_at(step).map(Result::unwrap).collect();
            assert_eq!(rest, whole[step.min(3)..]);
        }
    }

    #[test]
    fn passes_follow_each_other_in_the_same_memory() {
        let data = data(10);
        let mut train = Batches::train(&data, &MEAN, &STD, &options(4), 1).unwrap();
        let mut batch = train.room();
        let place = batch.images.as_ptr();
        for expected in [epoch(&data, 1), epoch(&data, 2)] {
            for expected in expected {
                assert!(train.fill(&mut batch).unwrap());
                assert_eq!(batch, expected);
            }
            assert!(!train.fill(&mut batch).unwrap());
            train.next_pass();
        }
        assert_eq!(batch.images.as_ptr(), place);

        let mut all = Batches::in_order(&data, &MEAN, &STD, 10).unwrap();
        let first = all.next().unwrap().unwrap();
        all.next_pass();
        assert_eq!(all.next().unwrap().unwrap(), first);
    }

    #[test]
    fn a_sample_does_not_depend_on_its_batch() {
        let data = data(6);
        let images = |size| -> Vec<f32> {
            let batches = Batches::train(&data, &MEAN, &STD, &options(size), 0).unwrap();
            batches.flat_map(|batch| batch.unwrap().images).collect()
        };
        assert_eq!(images(1), images(4));
    }

    #[test]
    fn a_part_batch_is_dropped_on_request() {
        let data = data(10);
        let options = BatchOptions { drop_last: true, ..options(4) };
        let batches = Batches::train(&data, &MEAN, &STD, &options, 0).unwrap();
        assert_eq!((batches.steps(), batches.len(), batches.count()), (2, 2, 2));
    }

    #[test]
    fn evaluation_equals_the_bare_formula() {
        let data = data(3);
        let batch = Batches::in_order(&data, &MEAN, &STD, 3).unwrap().next().unwrap().unwrap();
        assert_eq!(batch.labels, [0, 1, 2]);
        let mut expected = vec![0.0; data.image_len()];
        crate::normalize_into(&data.image(1).unwrap(), &MEAN, &STD, &mut expected);
        assert_eq!(batch.images[192..384], expected);
        assert_eq!(expected[0], (f32::from(data.image(1).unwrap()[0]) / 255.0 - 0.5) / 0.25);
    }

    #[test]
    fn unusable_options_are_refused() {
        let data = data(3);
        assert!(Batches::in_order(&data, &MEAN, &STD, 0).is_err());
        assert!(Batches::in_order(&data, &MEAN[..1], &STD, 1).is_err());
        let part = AugmentOptions { resized_crop: 0.5, ..AugmentOptions::default() };
        let parts = BatchOptions { augment: part, ..options(1) };
        assert!(Batches::train(&data, &MEAN, &STD, &parts, 0).is_err(), "images in memory");
        let wide = AugmentOptions { cutout: 9, ..AugmentOptions::default() };
        let options = BatchOptions { augment: wide, ..options(1) };
        assert!(Batches::train(&data, &MEAN, &STD, &options, 0).is_err());
    }
}
