//! CIFAR-10 and CIFAR-100 in their binary form.
//!
//! A file is a row of records without a header. A record is one label byte
//! (CIFAR-100: two, the coarse class before the fine one) and 3,072 pixel
//! bytes: 32 × 32 red, then green, then blue, row by row.
//!
//! Source: A. Krizhevsky, "Learning Multiple Layers of Features from Tiny
//! Images", 2009, and <https://www.cs.toronto.edu/~kriz/cifar.html>.

use std::fs::File;
use std::path::Path;

use crate::dataset::Dataset;
use crate::error::DataError;
use crate::source::{Original, SourceFile, read_at_most, read_exactly};

const SHAPE: [usize; 3] = [3, 32, 32];
const IMAGE_BYTES: usize = 3 * 32 * 32;

/// No file of class names is longer than this, in bytes.
const MAX_NAMES_BYTES: u64 = 1 << 16;

/// The files of one of the two datasets, and what is in them.
#[derive(Clone, Debug)]
pub struct Layout {
    name: &'static str,
    train: &'static [&'static str],
    test: &'static str,
    /// Images in each training file.
    train_records: usize,
    /// Images in the test file.
    test_records: usize,
    /// What each label byte is, and how many values it has; the last one is
    /// the class.
    labels: &'static [(&'static str, u8)],
    names_file: &'static str,
    classes: &'static [&'static str],
}

/// CIFAR-10: five training files and one for testing, each of 10,000 images.
pub const CIFAR10: Layout = Layout {
    name: "cifar10",
    train: &[
        "data_batch_1.bin",
        "data_batch_2.bin",
        "data_batch_3.bin",
        "data_batch_4.bin",
        "data_batch_5.bin",
    ],
    test: "test_batch.bin",
    train_records: 10_000,
    test_records: 10_000,
    labels: &[("label", 10)],
    names_file: "batches.meta.txt",
    classes: &[
        "airplane",
        "automobile",
        "bird",
        "cat",
        "deer",
        "dog",
        "frog",
        "horse",
        "ship",
        "truck",
    ],
};

/// CIFAR-100 with its 100 fine classes: 50,000 images for training and 10,000
/// for testing.
pub const CIFAR100: Layout = Layout {
    name: "cifar100",
    train: &["train.bin"],
    test: "test.bin",
    train_records: 50_000,
    test_records: 10_000,
    labels: &[("coarse label", 20), ("fine label", 100)],
    names_file: "fine_label_names.txt",
    classes: &CIFAR100_CLASSES,
};

#[rustfmt::skip]
const CIFAR100_CLASSES: [&str; 100] = [
    "apple", "aquarium_fish", "baby", "bear", "beaver", "bed", "bee", "beetle", "bicycle",
    "bottle", "bowl", "boy", "bridge", "bus", "butterfly", "camel", "can", "castle",
    "caterpillar", "cattle", "chair", "chimpanzee", "clock", "cloud", "cockroach", "couch",
    "crab", "crocodile", "cup", "dinosaur", "dolphin", "elephant", "flatfish", "forest", "fox",
    "girl", "hamster", "house", "kangaroo", "keyboard", "lamp", "lawn_mower", "leopard", "lion",
    "lizard", "lobster", "man", "maple_tree", "motorcycle", "mountain", "mouse", "mushroom",
    "oak_tree", "orange", "orchid", "otter", "palm_tree", "pear", "pickup_truck", "pine_tree",
    "plain", "plate", "poppy", "porcupine", "possum", "rabbit", "raccoon", "ray", "road",
    "rocket", "rose", "sea", "seal", "shark", "shrew", "skunk", "skyscraper", "snail", "snake",
    "spider", "squirrel", "streetcar", "sunflower", "sweet_pepper", "table", "tank",
    "telephone", "television", "tiger", "tractor", "train", "trout", "tulip", "turtle",
    "wardrobe", "whale", "willow_tree", "wolf", "woman", "worm",
];

impl Layout {
    /// Reads the dataset from the folder that holds its files.
    ///
    /// # Errors
    /// Where a file is missing, has another size, or holds a label that is
    /// out of range.
    pub fn read(&self, folder: &Path) -> Result<Original, DataError> {
        let mut files = Vec::new();
        let mut train = Records::default();
        for file in self.train {
            self.read_records(&folder.join(file), self.train_records, &mut train)?;
            files.push(SourceFile::on_disk(folder, *file));
        }
        let mut test = Records::default();
        self.read_records(&folder.join(self.test), self.test_records, &mut test)?;
        files.push(SourceFile::on_disk(folder, self.test));

        let classes = match folder.join(self.names_file) {
            path if path.exists() => {
                files.push(SourceFile::on_disk(folder, self.names_file));
                self.read_names(&path)?
            }
            _ => self.classes.iter().map(|&class| class.to_owned()).collect(),
        };
        let dataset = |records: Records, classes| {
            Dataset::new(self.name, SHAPE, records.images, records.labels, classes)
        };
        Ok(Original {
            train: dataset(train, classes.clone())?,
            test: dataset(test, classes)?,
            files,
        })
    }

    fn read_records(
        &self,
        path: &Path,
        count: usize,
        records: &mut Records,
    ) -> Result<(), DataError> {
        let record_bytes = self.labels.len() + IMAGE_BYTES;
        let bytes = read_exactly(path, (count * record_bytes) as u64)?;
        records.images.reserve(count * IMAGE_BYTES);
        for (index, record) in bytes.chunks_exact(record_bytes).enumerate() {
            let (labels, image) = record.split_at(self.labels.len());
            self.check_labels(path, index * record_bytes, labels)?;
            records.labels.push(u32::from(labels[labels.len() - 1]));
            records.images.extend_from_slice(image);
        }
        Ok(())
    }

    fn check_labels(&self, path: &Path, offset: usize, labels: &[u8]) -> Result<(), DataError> {
        for (position, (&label, &(what, count))) in labels.iter().zip(self.labels).enumerate() {
            if label >= count {
                return Err(DataError::Value {
                    path: path.to_owned(),
                    offset: (offset + position) as u64,
                    what,
                    expected: format!("less than {count}"),
                    found: label.to_string(),
                });
            }
        }
        Ok(())
    }

    fn read_names(&self, path: &Path) -> Result<Vec<String>, DataError> {
        let file = File::open(path).map_err(DataError::io(path))?;
        let text = read_at_most(path, file, MAX_NAMES_BYTES)?;
        let text = String::from_utf8_lossy(&text);
        let names = text.lines().map(str::trim).filter(|line| !line.is_empty());
        let names: Vec<String> = names.map(str::to_owned).collect();
        let (expected, found) = (self.classes.len(), names.len());
        match expected == found {
            true => Ok(names),
            false => Err(DataError::ClassNames { path: path.to_owned(), expected, found }),
        }
    }
}

#[derive(Default)]
struct Records {
    images: Vec<u8>,
    labels: Vec<u32>,
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs;

    /// The official layout with fewer images.
    const TINY10: Layout = Layout { train_records: 2, test_records: 1, ..CIFAR10 };
    const TINY100: Layout = Layout { train_records: 3, test_records: 2, ..CIFAR100 };

    /// Pixel `position` of image `index`, told apart by channel and place.
    fn pixel(index: usize, position: usize) -> u8 {
        ((index * 31 + position / 1024 * 97 + position % 1024) % 256) as u8
    }

    fn record(labels: &[u8], index: usize) -> Vec<u8> {
        labels.iter().copied().chain((0..IMAGE_BYTES).map(|p| pixel(index, p))).collect()
    }

    fn write10(folder: &Path) {
        for (batch, file) in CIFAR10.train.iter().enumerate() {
            let first = record(&[batch as u8], 2 * batch);
            let second = record(&[9 - batch as u8], 2 * batch + 1);
            fs::write(folder.join(file), [first, second].concat()).unwrap();
        }
        fs::write(folder.join(CIFAR10.test), record(&[7], 99)).unwrap();
    }

    #[test]
    fn pixels_and_labels_of_cifar10() {
        let folder = tempfile::tempdir().unwrap();
        write10(folder.path());
        let Original { train, test, files } = TINY10.read(folder.path()).unwrap();
        assert_eq!(train.labels(), [0, 9, 1, 8, 2, 7, 3, 6, 4, 5]);
        assert_eq!((test.labels(), test.shape(), files.len()), (&[7][..], SHAPE, 6));
        assert_eq!(train.classes()[9], "truck");
        for (index, position) in [(0, 0), (0, 1024), (3, 2048), (9, 3071), (4, 31), (4, 32)] {
            assert_eq!(train.image(index).unwrap()[position], pixel(index, position));
        }
        assert_eq!(test.image(0).unwrap()[1025], pixel(99, 1025));
    }

    #[test]
    fn the_fine_label_is_the_class_of_cifar100() {
        let folder = tempfile::tempdir().unwrap();
        let path = |file| folder.path().join(file);
        let train = [record(&[19, 99], 0), record(&[0, 50], 1), record(&[4, 0], 2)].concat();
        fs::write(path("train.bin"), train).unwrap();
        fs::write(path("test.bin"), [record(&[1, 2], 3), record(&[3, 4], 4)].concat()).unwrap();
        let original = TINY100.read(folder.path()).unwrap();
        assert_eq!(original.train.labels(), [99, 50, 0]);
        assert_eq!(original.train.classes()[99], "worm");
        assert_eq!(original.test.labels(), [2, 4]);
        assert_eq!(original.test.image(1).unwrap()[0], pixel(4, 0));

        fs::write(path("test.bin"), [record(&[1, 2], 3), record(&[20, 4], 4)].concat()).unwrap();
        let error = TINY100.read(folder.path()).unwrap_err();
        assert!(matches!(error, DataError::Value { offset: 3074, what: "coarse label", .. }));
    }

    #[test]
    fn names_come_from_the_file_where_there_is_one() {
        let folder = tempfile::tempdir().unwrap();
        write10(folder.path());
        let names = folder.path().join("batches.meta.txt");
        fs::write(&names, "a\nb\nc\nd\ne\nf\ng\nh\ni\nj\n\n").unwrap();
        assert_eq!(TINY10.read(folder.path()).unwrap().train.classes()[9], "j");
        fs::write(&names, "a\nb\n").unwrap();
        let error = TINY10.read(folder.path()).unwrap_err();
        assert!(matches!(error, DataError::ClassNames { expected: 10, found: 2, .. }));
    }

    #[test]
    fn damaged_files_are_named() {
        let folder = tempfile::tempdir().unwrap();
        write10(folder.path());
        let third = folder.path().join("data_batch_3.bin");
        let good = fs::read(&third).unwrap();

        fs::write(&third, &good[..good.len() - 1]).unwrap();
        let short = TINY10.read(folder.path()).unwrap_err().to_string();
        assert!(short.ends_with("data_batch_3.bin: expected 6146 bytes, found 6145"), "{short}");

        fs::write(&third, [&good[..], &[0]].concat()).unwrap();
        assert!(matches!(TINY10.read(folder.path()), Err(DataError::Length { found: 6147, .. })));

        let mut wrong = good.clone();
        wrong[3073] = 10;
        fs::write(&third, wrong).unwrap();
        let label = TINY10.read(folder.path()).unwrap_err().to_string();
        let expected = "data_batch_3.bin: label at byte 3073: expected less than 10, found 10";
        assert!(label.ends_with(expected), "{label}");

        fs::remove_file(&third).unwrap();
        assert!(
            matches!(TINY10.read(folder.path()), Err(DataError::Io { path, .. }) if path == third)
        );
    }
}
