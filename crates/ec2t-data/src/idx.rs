//! The IDX files of MNIST and its family, gzipped or not.
//!
//! A file begins with two zero bytes, the type of its values (8: bytes) and
//! the number of its dimensions; then comes each dimension as a big-endian
//! 32-bit integer, then the values, the last dimension running fastest. Images
//! are N × H × W, labels N.
//!
//! A folder holds `train-images-idx3-ubyte`, `train-labels-idx1-ubyte`,
//! `t10k-images-idx3-ubyte` and `t10k-labels-idx1-ubyte`, each with or without
//! `.gz`.
//!
//! Source: <http://yann.lecun.com/exdb/mnist/>.

use std::fs::File;
use std::io::{BufReader, Read};
use std::path::{Path, PathBuf};

use flate2::read::MultiGzDecoder;

use crate::dataset::Dataset;
use crate::error::DataError;
use crate::source::{Original, SourceFile};

/// The digits of MNIST.
pub const MNIST_CLASSES: [&str; 10] = ["0", "1", "2", "3", "4", "5", "6", "7", "8", "9"];

/// The garments of Fashion-MNIST.
pub const FASHION_MNIST_CLASSES: [&str; 10] = [
    "T-shirt/top",
    "Trouser",
    "Pullover",
    "Dress",
    "Coat",
    "Sandal",
    "Shirt",
    "Sneaker",
    "Bag",
    "Ankle boot",
];

/// No file holds more values than this.
const MAX_VALUES: u64 = 1 << 31;

/// Reads the four files of a dataset.
///
/// # Errors
/// Where a file is missing, damaged, or another one than its name says; where
/// images and labels, or training and test images, do not fit each other.
pub fn read(name: &str, folder: &Path, classes: &[&str]) -> Result<Original, DataError> {
    let mut files = Vec::new();
    let mut part = |images: &str, labels: &str| {
        let mut open = |stem: &str| {
            let file = existing_name(folder, stem);
            files.push(SourceFile::on_disk(folder, &*file));
            IdxFile::open(folder.join(file))
        };
        read_part(name, open(images)?, open(labels)?, classes)
    };
    let train = part("train-images-idx3-ubyte", "train-labels-idx1-ubyte")?;
    let test = part("t10k-images-idx3-ubyte", "t10k-labels-idx1-ubyte")?;
    if test.shape() != train.shape() {
        return Err(DataError::Inconsistent {
            name: name.to_owned(),
            what: "shape of the test images",
            expected: format!("{:?}", train.shape()),
            found: format!("{:?}", test.shape()),
        });
    }
    Ok(Original { train, test, files })
}

/// The plain file where there is one, else the gzipped one.
fn existing_name(folder: &Path, stem: &str) -> String {
    match folder.join(stem).exists() {
        true => stem.to_owned(),
        false => format!("{stem}.gz"),
    }
}

fn read_part(
    name: &str,
    images: IdxFile,
    labels: IdxFile,
    classes: &[&str],
) -> Result<Dataset, DataError> {
    let ([count, height, width], pixels) = images.read()?;
    let label_path = labels.path.clone();
    let ([label_count], labels) = labels.read()?;
    let wrong = |offset, what, expected, found: usize| DataError::Value {
        path: label_path.clone(),
        offset,
        what,
        expected,
        found: found.to_string(),
    };
    if label_count != count {
        return Err(wrong(4, "number of labels", format!("{count}, as images"), label_count));
    }
    if let Some(at) = labels.iter().position(|&label| usize::from(label) >= classes.len()) {
        let expected = format!("less than {}", classes.len());
        return Err(wrong(8 + at as u64, "label", expected, labels[at].into()));
    }
    let classes = classes.iter().map(|&class| class.to_owned()).collect();
    let labels = labels.into_iter().map(u32::from).collect();
    Dataset::new(name, [1, height, width], pixels, labels, classes)
}

/// An open file and how far it has been read.
struct IdxFile {
    path: PathBuf,
    reader: Box<dyn Read>,
    offset: u64,
}

impl IdxFile {
    fn open(path: PathBuf) -> Result<Self, DataError> {
        let file = BufReader::new(File::open(&path).map_err(DataError::io(&path))?);
        let reader: Box<dyn Read> = match path.extension().is_some_and(|suffix| suffix == "gz") {
            true => Box::new(MultiGzDecoder::new(file)),
            false => Box::new(file),
        };
        Ok(Self { path, reader, offset: 0 })
    }

    /// The dimensions and the values of the whole file.
    fn read<const RANK: usize>(mut self) -> Result<([usize; RANK], Vec<u8>), DataError> {
        let header_bytes = 4 + 4 * RANK as u64;
        let magic = self.take(4, header_bytes)?;
        let expected = [0, 0, 8, RANK as u8];
        if magic != expected {
            let hex = |magic: &[u8]| magic.iter().map(|byte| format!("{byte:02x}")).collect();
            return Err(self.wrong(0, "magic number", hex(&expected), hex(&magic)));
        }
        let dims = self.take(4 * RANK as u64, header_bytes)?;
        let (dims, _) = dims.as_chunks::<4>();
        let dims: [u32; RANK] = std::array::from_fn(|i| u32::from_be_bytes(dims[i]));
        if let Some(i) = dims.iter().position(|&dim| dim == 0) {
            return Err(self.wrong(4 + 4 * i as u64, "dimension", "at least 1".into(), "0".into()));
        }
        let values = dims.iter().try_fold(1u64, |n, &dim| n.checked_mul(dim.into()));
        let Some(values) = values.filter(|&n| n <= MAX_VALUES) else {
            let expected = format!("at most {MAX_VALUES} values");
            return Err(self.wrong(4, "dimensions", expected, format!("{dims:?}")));
        };
        let data = self.take(values, header_bytes + values)?;
        self.end(header_bytes + values)?;
        Ok((dims.map(|dim| dim as usize), data))
    }

    /// The next `count` bytes of a file that should have `total` so far.
    /// Memory grows with what is really there.
    fn take(&mut self, count: u64, total: u64) -> Result<Vec<u8>, DataError> {
        let mut bytes = Vec::new();
        let result = self.reader.by_ref().take(count).read_to_end(&mut bytes);
        self.offset += bytes.len() as u64;
        result.map_err(|source| DataError::Damaged {
            path: self.path.clone(),
            expected: total,
            offset: self.offset,
            source,
        })?;
        match bytes.len() as u64 == count {
            true => Ok(bytes),
            false => Err(self.length(total)),
        }
    }

    /// Checks that nothing is left, and with it a gzipped file's checksum.
    fn end(mut self, total: u64) -> Result<(), DataError> {
        match self.take(1, total) {
            Ok(_) => Err(self.length(total)),
            Err(DataError::Length { .. }) => Ok(()),
            Err(damage) => Err(damage),
        }
    }

    fn length(&self, expected: u64) -> DataError {
        DataError::Length { path: self.path.clone(), expected, found: self.offset }
    }

    fn wrong(&self, offset: u64, what: &'static str, expected: String, found: String) -> DataError {
        DataError::Value { path: self.path.clone(), offset, what, expected, found }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use flate2::Compression;
    use flate2::write::GzEncoder;
    use std::fs;
    use std::io::Write;

    fn idx(dims: &[u32], values: &[u8]) -> Vec<u8> {
        let mut bytes = vec![0, 0, 8, dims.len() as u8];
        bytes.extend(dims.iter().flat_map(|dim| dim.to_be_bytes()));
        bytes.extend_from_slice(values);
        bytes
    }

    fn gzip(bytes: &[u8]) -> Vec<u8> {
        let mut encoder = GzEncoder::new(Vec::new(), Compression::fast());
        encoder.write_all(bytes).unwrap();
        encoder.finish().unwrap()
    }

    /// Two training images and one test image of 2 × 3 pixels.
    fn contents() -> [(&'static str, Vec<u8>); 4] {
        [
            ("train-images-idx3-ubyte", idx(&[2, 2, 3], &(0..12).collect::<Vec<_>>())),
            ("train-labels-idx1-ubyte", idx(&[2], &[7, 9])),
            ("t10k-images-idx3-ubyte", idx(&[1, 2, 3], &[255, 0, 1, 2, 3, 4])),
            ("t10k-labels-idx1-ubyte", idx(&[1], &[0])),
        ]
    }

    fn folder(gzipped: bool) -> tempfile::TempDir {
        let folder = tempfile::tempdir().unwrap();
        for (name, bytes) in contents() {
            match gzipped {
                true => fs::write(folder.path().join(format!("{name}.gz")), gzip(&bytes)).unwrap(),
                false => fs::write(folder.path().join(name), bytes).unwrap(),
            }
        }
        folder
    }

    fn read_mnist(folder: &tempfile::TempDir) -> Result<Original, DataError> {
        read("mnist", folder.path(), &MNIST_CLASSES)
    }

    #[test]
    fn pixels_and_labels_plain_and_gzipped() {
        for gzipped in [false, true] {
            let Original { train, test, files } = read_mnist(&folder(gzipped)).unwrap();
            assert_eq!(train.shape(), [1, 2, 3]);
            assert_eq!(*train.image(1).unwrap(), [6, 7, 8, 9, 10, 11]);
            assert_eq!((train.labels(), test.labels()), (&[7, 9][..], &[0][..]));
            assert_eq!(*test.image(0).unwrap(), [255, 0, 1, 2, 3, 4]);
            assert_eq!(files[0].name.ends_with(".gz"), gzipped);
        }
    }

    /// The error after the training images, or labels, have been replaced.
    fn error_with(stem: &str, bytes: &[u8], gzipped: bool) -> DataError {
        let folder = folder(gzipped);
        let suffix = if gzipped { ".gz" } else { "" };
        fs::write(folder.path().join(format!("{stem}{suffix}")), bytes).unwrap();
        read_mnist(&folder).unwrap_err()
    }

    #[test]
    fn files_of_the_wrong_length_are_named() {
        let [(images, good), ..] = contents();
        for (bytes, expected, found) in [
            (&good[..27], 28, 27),
            (&[&good[..], &[0]].concat(), 28, 29),
            (&good[..10], 16, 10),
            (&good[..3], 16, 3),
            (&[], 16, 0),
        ] {
            for gzipped in [false, true] {
                let bytes = if gzipped { gzip(bytes) } else { bytes.to_vec() };
                match error_with(images, &bytes, gzipped) {
                    DataError::Length { expected: e, found: f, .. } => {
                        assert_eq!((e, f), (expected, found));
                    }
                    other => panic!("{other}"),
                }
            }
        }
    }

    #[test]
    fn hostile_headers_are_refused_before_allocating() {
        let [(images, good), (labels, _), ..] = contents();
        let at = |stem, bytes: &[u8]| match error_with(stem, bytes, false) {
            DataError::Value { offset, what, .. } => (offset, what),
            other => panic!("{other}"),
        };
        let huge = idx(&[u32::MAX, u32::MAX, u32::MAX], &[]);
        assert_eq!(at(images, &huge), (4, "dimensions"));
        assert_eq!(at(images, &idx(&[2, 0, 3], &[])), (8, "dimension"));
        assert_eq!(at(labels, &good), (0, "magic number"));
        assert_eq!(at(labels, &idx(&[3], &[0, 0, 0])), (4, "number of labels"));
        assert_eq!(at(labels, &idx(&[2], &[0, 10])), (9, "label"));
    }

    #[test]
    fn damage_in_a_gzipped_file_is_found() {
        let [(images, good), ..] = contents();
        let packed = gzip(&good);
        let mut wrong_sum = packed.clone();
        let sum = packed.len() - 8;
        wrong_sum[sum] ^= 1;
        for bytes in [&packed[..packed.len() - 1], &wrong_sum] {
            let error = error_with(images, bytes, true);
            assert!(
                matches!(error, DataError::Damaged { expected: 28, offset: 28, .. }),
                "{error}"
            );
        }
        let error = error_with(images, &packed[..packed.len() - 15], true);
        assert!(matches!(error, DataError::Damaged { expected: 28, .. }), "{error}");
    }

    #[test]
    fn a_missing_file_is_named() {
        let folder = folder(false);
        let path = folder.path().join("t10k-labels-idx1-ubyte");
        fs::remove_file(&path).unwrap();
        let error = read_mnist(&folder).unwrap_err().to_string();
        assert!(error.contains("t10k-labels-idx1-ubyte.gz"), "{error}");
    }
}
