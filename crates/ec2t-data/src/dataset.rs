//! Images and their labels.
//!
//! Images are bytes, 0…255, planar: one of shape `[C, H, W]` has C × H × W of
//! them, channel after channel, row after row. Those of a published dataset are
//! in memory; a folder of pictures is decoded as it is used.

use std::borrow::{Borrow, Cow};
use std::fmt;
use std::ops::Range;

use serde::{Deserialize, Serialize};

use crate::error::DataError;
use crate::images::{Files, Images};
use crate::random::{Purpose, Stream};

/// Most pictures in files that [`Dataset::channel_stats`] reads.
const STATS_FILES: usize = 5_000;

/// Images that it asks for at a time.
const STATS_BLOCK: usize = 64;

/// Labelled images, all of one shape.
///
/// Every label is below the number of classes, and there are exactly as many
/// bytes, or files, as the shape and the labels ask for.
///
/// ```
/// use ec2t_data::Dataset;
///
/// let classes = vec!["cat".to_string(), "dog".to_string()];
/// let pets = Dataset::new("pets", [1, 1, 2], vec![0, 255, 7, 8], vec![1, 0], classes)?;
/// assert_eq!((pets.len(), pets.label(0)), (2, 1));
/// assert_eq!(*pets.image(1)?, [7, 8]);
/// # Ok::<(), ec2t_data::DataError>(())
/// ```
#[derive(Clone, PartialEq)]
pub struct Dataset {
    name: String,
    shape: [usize; 3],
    images: Images,
    labels: Vec<u32>,
    classes: Vec<String>,
}

/// Mean and standard deviation of each channel, on the 0…1 scale.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct ChannelStats {
    /// Mean of each channel.
    pub mean: Vec<f64>,
    /// Standard deviation of each channel over all its pixels (divided by their number).
    pub std: Vec<f64>,
}

impl Dataset {
    /// A dataset of its parts.
    ///
    /// # Errors
    /// [`DataError::Inconsistent`] where a dimension is 0, the bytes are not
    /// as many as shape and labels ask for, or a label names no class.
    pub fn new(
        name: impl Into<String>,
        shape: [usize; 3],
        images: Vec<u8>,
        labels: Vec<u32>,
        classes: Vec<String>,
    ) -> Result<Self, DataError> {
        let images = Images::Bytes(images);
        Self { name: name.into(), shape, images, labels, classes }.checked()
    }

    /// A dataset of picture files.
    pub(crate) fn of_files(
        name: impl Into<String>,
        shape: [usize; 3],
        files: Files,
        labels: Vec<u32>,
        classes: Vec<String>,
    ) -> Result<Self, DataError> {
        let images = Images::Files(files);
        Self { name: name.into(), shape, images, labels, classes }.checked()
    }

    fn checked(self) -> Result<Self, DataError> {
        let wrong = |what, expected: String, found: String| DataError::Inconsistent {
            name: self.name.clone(),
            what,
            expected,
            found,
        };
        let pixels = self.shape.iter().try_fold(1usize, |n, &dim| n.checked_mul(dim));
        let Some(pixels) = pixels.filter(|&n| n > 0) else {
            let found = format!("{:?}", self.shape);
            return Err(wrong("shape", "three dimensions above 0".into(), found));
        };
        let (fits, found) = match &self.images {
            Images::Bytes(bytes) => (
                self.labels.len().checked_mul(pixels) == Some(bytes.len()),
                format!("{} bytes", bytes.len()),
            ),
            Images::Files(Files { names, .. }) => {
                (self.labels.len() == names.len(), format!("{} files", names.len()))
            }
        };
        if !fits {
            let expected = format!("{} images of {pixels} bytes", self.labels.len());
            return Err(wrong("images", expected, found));
        }
        match self.labels.iter().find(|&&label| label as usize >= self.classes.len()) {
            Some(label) => {
                let expected = format!("less than {}", self.classes.len());
                Err(wrong("label", expected, label.to_string()))
            }
            None => Ok(self),
        }
    }

    /// Name of the dataset.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Channels, height and width of an image.
    pub fn shape(&self) -> [usize; 3] {
        self.shape
    }

    /// Bytes of an image.
    pub fn image_len(&self) -> usize {
        self.shape.iter().product()
    }

    /// The images of a range, one after the other.
    ///
    /// # Errors
    /// [`DataError::Picture`] where a file cannot be decoded; none for images in
    /// memory, which are borrowed.
    ///
    /// # Panics
    /// Where there are no such images.
    pub fn images(&self, range: Range<usize>) -> Result<Cow<'_, [u8]>, DataError> {
        self.images.range(range, self.shape)
    }

    /// Where the images are.
    pub(crate) fn store(&self) -> &Images {
        &self.images
    }

    /// The files of pictures, as paths below the dataset's folder.
    pub(crate) fn files(&self) -> impl Iterator<Item = &str> {
        let names = match &self.images {
            Images::Bytes(_) => &[][..],
            Images::Files(files) => &files.names,
        };
        names.iter().map(String::as_str)
    }

    /// The class of each image.
    pub fn labels(&self) -> &[u32] {
        &self.labels
    }

    /// Names of the classes.
    pub fn classes(&self) -> &[String] {
        &self.classes
    }

    /// Number of images.
    pub fn len(&self) -> usize {
        self.labels.len()
    }

    /// Whether there are no images.
    pub fn is_empty(&self) -> bool {
        self.labels.is_empty()
    }

    /// The bytes of image `index`.
    ///
    /// # Errors
    /// As [`Dataset::images`].
    ///
    /// # Panics
    /// Where there is no such image.
    pub fn image(&self, index: usize) -> Result<Cow<'_, [u8]>, DataError> {
        self.images(index..index + 1)
    }

    /// The class of image `index`.
    ///
    /// # Panics
    /// Where there is no such image.
    pub fn label(&self, index: usize) -> u32 {
        self.labels[index]
    }

    /// How many images each class has.
    pub fn class_counts(&self) -> Vec<usize> {
        let mut counts = vec![0; self.classes.len()];
        for &label in &self.labels {
            counts[label as usize] += 1;
        }
        counts
    }

    /// The images at `indices`, in that order.
    ///
    /// ```
    /// # let labels = vec![0, 0, 0];
    /// # let data = ec2t_data::Dataset::new("d", [1, 1, 1], vec![7, 8, 9], labels, vec!["".into()])?;
    /// assert_eq!(*data.subset(&[2, 0]).images(0..2)?, [9, 7]);
    /// assert_eq!(*data.subset(0..2).images(0..2)?, [7, 8]);
    /// # Ok::<(), ec2t_data::DataError>(())
    /// ```
    ///
    /// # Panics
    /// Where there is no such image.
    pub fn subset(&self, indices: impl IntoIterator<Item = impl Borrow<usize>>) -> Self {
        let indices: Vec<usize> = indices.into_iter().map(|index| *index.borrow()).collect();
        let labels = indices.iter().map(|&index| self.label(index)).collect();
        let images = self.images.subset(&indices, self.image_len());
        let (name, classes) = (self.name.clone(), self.classes.clone());
        Self { name, shape: self.shape, images, labels, classes }
    }

    /// Mean and standard deviation of each channel; 0 where there are no images.
    ///
    /// The sums are integers, so the result does not depend on any order. Of
    /// pictures in files at most 5,000 are read, evenly spread.
    ///
    /// # Errors
    /// As [`Dataset::images`].
    pub fn channel_stats(&self) -> Result<ChannelStats, DataError> {
        let [channels, height, width] = self.shape;
        let subset;
        let sample = match &self.images {
            Images::Files(_) if self.len() > STATS_FILES => {
                let spread = (0..STATS_FILES).map(|index| index * self.len() / STATS_FILES);
                subset = self.subset(spread);
                &subset
            }
            _ => self,
        };
        let mut sums = vec![(0u64, 0u64); channels];
        for start in (0..sample.len()).step_by(STATS_BLOCK) {
            let block = sample.images(start..sample.len().min(start + STATS_BLOCK))?;
            for (plane, pixels) in block.chunks_exact(height * width).enumerate() {
                let (sum, squares) = &mut sums[plane % channels];
                *sum += pixels.iter().map(|&p| u64::from(p)).sum::<u64>();
                *squares += pixels.iter().map(|&p| u64::from(p).pow(2)).sum::<u64>();
            }
        }
        let count = (sample.len() * height * width).max(1) as f64;
        let moments = |&(sum, squares): &(u64, u64)| {
            let mean = sum as f64 / count;
            (mean / 255.0, (squares as f64 / count - mean * mean).max(0.0).sqrt() / 255.0)
        };
        let (mean, std) = sums.iter().map(moments).unzip();
        Ok(ChannelStats { mean, std })
    }
}

/// Says what there is, without the bytes.
impl fmt::Debug for Dataset {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Dataset")
            .field("name", &self.name)
            .field("shape", &self.shape)
            .field("len", &self.len())
            .field("classes", &self.classes)
            .finish_non_exhaustive()
    }
}

/// The three parts of a dataset, which share no image.
#[derive(Clone, Debug, PartialEq)]
pub struct Splits {
    /// What a network learns from.
    pub train: Dataset,
    /// What the best network is chosen by; empty where none was asked for.
    pub validation: Dataset,
    /// What the chosen network is judged by, once.
    pub test: Dataset,
}

/// Splits `count` images off a training set, the same ones for the same seed.
///
/// The split is stratified: each class gives the same share of its images, as
/// nearly as whole images allow. Both parts keep the order of the original.
///
/// Returns the rest and the part that was split off.
///
/// # Errors
/// [`DataError::Split`] where nothing would be left to train on.
pub fn split_validation(
    train: &Dataset,
    count: usize,
    seed: u64,
) -> Result<(Dataset, Dataset), DataError> {
    if count >= train.len() {
        let (name, available) = (train.name.clone(), train.len());
        return Err(DataError::Split { name, wanted: count, available });
    }
    let mut held = vec![false; train.len()];
    for (class, quota) in quotas(&train.class_counts(), count).into_iter().enumerate() {
        let of_class = |&index: &usize| train.labels[index] as usize == class;
        let mut indices: Vec<usize> = (0..train.len()).filter(of_class).collect();
        Stream::new(Purpose::Split, seed, 0, class as u64).shuffle(&mut indices);
        for &index in &indices[..quota] {
            held[index] = true;
        }
    }
    let (validation, rest): (Vec<_>, Vec<_>) = (0..train.len()).partition(|&index| held[index]);
    Ok((train.subset(rest), train.subset(validation)))
}

/// Splits the test images off a dataset that is published in one piece.
///
/// The seed is a constant: no run can move an image into or out of the test set.
pub(crate) fn split_test(all: &Dataset, count: usize) -> Result<(Dataset, Dataset), DataError> {
    split_validation(all, count, 0)
}

/// How many of `count` images each class gives: its share rounded down, and
/// one more for those with the largest remainders, so that they add up.
fn quotas(class_counts: &[usize], count: usize) -> Vec<usize> {
    let total = class_counts.iter().sum::<usize>().max(1) as u128;
    let share = |&size: &usize| size as u128 * count as u128;
    let mut quotas: Vec<usize> =
        class_counts.iter().map(|size| (share(size) / total) as usize).collect();
    let missing = count - quotas.iter().sum::<usize>();
    let mut by_remainder: Vec<usize> = (0..class_counts.len()).collect();
    by_remainder.sort_by_key(|&class| std::cmp::Reverse(share(&class_counts[class]) % total));
    for &class in &by_remainder[..missing] {
        quotas[class] += 1;
    }
    quotas
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names(count: usize) -> Vec<String> {
        (0..count).map(|class| format!("class {class}")).collect()
    }

    /// Images of one pixel, whose value is their index.
    fn numbered(labels: Vec<u32>, classes: usize) -> Dataset {
        let images = (0..labels.len()).map(|index| index as u8).collect();
        Dataset::new("numbered", [1, 1, 1], images, labels, names(classes)).unwrap()
    }

    #[test]
    fn contradicting_parts_are_refused() {
        let new = |shape, bytes, labels: &[u32]| {
            Dataset::new("d", shape, vec![0; bytes], labels.to_vec(), names(2))
        };
        assert!(new([1, 2, 2], 8, &[0, 1]).is_ok());
        for (shape, bytes, labels, what) in [
            ([1, 2, 2], 7, &[0, 1][..], "images"),
            ([1, 2, 2], 4, &[2], "label"),
            ([0, 2, 2], 0, &[0], "shape"),
            ([usize::MAX, 2, 2], 0, &[0], "shape"),
        ] {
            let error = new(shape, bytes, labels).unwrap_err();
            assert!(matches!(error, DataError::Inconsistent { what: w, .. } if w == what));
        }
    }

    #[test]
    fn the_validation_split_is_stratified_and_disjoint() {
        let labels = (0..100u32).map(|i| u32::from(i % 5 == 0)).collect();
        let data = numbered(labels, 2);
        let (train, validation) = split_validation(&data, 10, 3).unwrap();
        assert_eq!((train.len(), validation.class_counts()), (90, vec![8, 2]));
        let (train, validation) = (train.images(0..90).unwrap(), validation.images(0..10).unwrap());
        assert!(validation.is_sorted() && train.is_sorted());
        let mut all = [train, validation].concat();
        all.sort_unstable();
        assert_eq!(all, *data.images(0..100).unwrap());
    }

    #[test]
    fn the_seed_alone_decides_the_split() {
        let data = numbered(vec![0; 50], 1);
        let split = |seed| split_validation(&data, 5, seed).unwrap().1;
        assert_eq!(split(1), split(1));
        assert_ne!(split(1), split(2));
        assert!(matches!(split_validation(&data, 50, 1), Err(DataError::Split { .. })));
        assert!(split_validation(&data, 0, 1).unwrap().1.is_empty());
    }

    #[test]
    fn quotas_add_up() {
        assert_eq!(quotas(&[3, 3, 3], 4), [2, 1, 1]);
        assert_eq!(quotas(&[90, 9, 1], 10), [9, 1, 0]);
        assert_eq!(quotas(&[0, 5], 4), [0, 4]);
    }

    #[test]
    fn statistics_of_known_pixels() {
        let images = vec![0, 255, 10, 10, 255, 0, 20, 20];
        let data = Dataset::new("s", [2, 1, 2], images, vec![0, 0], names(1)).unwrap();
        let stats = data.channel_stats().unwrap();
        assert_eq!(stats.mean, [0.5, 15.0 / 255.0]);
        assert_eq!(stats.std, [0.5, 5.0 / 255.0]);
    }
}
