//! The UCI handwritten digits, which are part of the program.
//!
//! 1,797 images of 8 × 8 pixels and ten classes. E. Alpaydin and C. Kaynak,
//! "Optical Recognition of Handwritten Digits", UCI Machine Learning
//! Repository, 1998, <https://doi.org/10.24432/C50P49>, CC BY 4.0.
//! `data/README.md` says where the file comes from.
//!
//! A pixel counts the dark dots in a block of 4 × 4, 0…16. The dataset holds
//! bytes, so v becomes v · 255 / 16, rounded, halves up: 0 stays 0, 16 becomes
//! 255, and no two counts become the same byte.
//!
//! The published set is one piece. 360 images, the same ones always, are for
//! testing and the other 1,437 for training and validation.

use std::path::Path;

use flate2::read::GzDecoder;

use crate::dataset::{Dataset, split_test};
use crate::error::DataError;
use crate::source::{Original, SourceFile, read_at_most};

static CSV: &[u8] = include_bytes!("../data/digits.csv.gz");
const FILE: &str = "digits.csv.gz";
const CSV_BYTES: u64 = 264_712;

const IMAGES: usize = 1797;
const SHAPE: [usize; 3] = [1, 8, 8];
const PIXELS: usize = 64;

/// Images that are for testing.
pub const TEST_IMAGES: usize = 360;

/// Reads the digits.
///
/// # Errors
/// None with the file as it is built in.
pub fn read() -> Result<Original, DataError> {
    let text = read_at_most(Path::new(FILE), GzDecoder::new(CSV), CSV_BYTES)?;
    let mut images = Vec::with_capacity(IMAGES * PIXELS);
    let mut labels = Vec::with_capacity(IMAGES);
    let mut offset = 0;
    for line in text.split_inclusive(|&byte| byte == b'\n') {
        let (pixels, label) = parse_line(line, offset)?;
        images.extend(pixels.map(to_byte));
        labels.push(u32::from(label));
        offset += line.len();
    }
    let classes = (0..10).map(|digit: u32| digit.to_string()).collect();
    let all = Dataset::new("digits", SHAPE, images, labels, classes)?;
    let (train, test) = split_test(&all, TEST_IMAGES)?;
    Ok(Original { train, test, files: vec![SourceFile::embedded(FILE, CSV)] })
}

/// Counts of 64 blocks and the digit.
fn parse_line(line: &[u8], offset: usize) -> Result<([u8; PIXELS], u8), DataError> {
    let wrong = |what, expected: &str| DataError::Value {
        path: FILE.into(),
        offset: offset as u64,
        what,
        expected: expected.into(),
        found: String::from_utf8_lossy(line).trim_end().into(),
    };
    let text = str::from_utf8(line).map_err(|_| wrong("line", "text"))?;
    let values: Result<Vec<u8>, _> = text.trim_end().split(',').map(str::parse).collect();
    let values = values.map_err(|_| wrong("line", "small integers"))?;
    let &[ref pixels @ .., label] = &values[..] else {
        return Err(wrong("line", "64 pixels and a digit"));
    };
    let pixels: [u8; PIXELS] =
        pixels.try_into().map_err(|_| wrong("line", "64 pixels and a digit"))?;
    match pixels.iter().all(|&pixel| pixel <= 16) && label <= 9 {
        true => Ok((pixels, label)),
        false => Err(wrong("line", "pixels of 0…16 and a digit of 0…9")),
    }
}

/// A count of 0…16 on the scale of 0…255.
fn to_byte(count: u8) -> u8 {
    ((u32::from(count) * 255 + 8) / 16) as u8
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::dataset::Splits;
    use crate::load::LoadOptions;

    #[test]
    fn counts_and_classes_are_those_of_the_published_set() {
        let original = read().unwrap();
        assert_eq!((original.train.len(), original.test.len()), (1437, 360));
        let pairs = original.train.class_counts().into_iter().zip(original.test.class_counts());
        let classes: Vec<usize> = pairs.map(|(train, test)| train + test).collect();
        assert_eq!(classes, [178, 182, 177, 183, 181, 182, 181, 179, 174, 180]);
        let digest = original.files[0].digest().unwrap();
        assert_eq!(digest.bytes, 57_523);
        assert!(digest.sha256.starts_with("09f66e6debdee2cd"), "{}", digest.sha256);
    }

    #[test]
    fn the_first_image_is_the_published_zero() {
        let text = read_at_most(Path::new(FILE), GzDecoder::new(CSV), CSV_BYTES).unwrap();
        assert_eq!(text.len() as u64, CSV_BYTES);
        let line = text.split_inclusive(|&byte| byte == b'\n').next().unwrap();
        let (pixels, label) = parse_line(line, 0).unwrap();
        assert_eq!((&pixels[..8], label), (&[0, 0, 5, 13, 9, 1, 0, 0][..], 0));
        let bytes: Vec<u8> = pixels[..8].iter().map(|&pixel| to_byte(pixel)).collect();
        assert_eq!(bytes, [0, 0, 80, 207, 143, 16, 0, 0]);
        let original = read().unwrap();
        let whole = pixels.map(to_byte);
        let found = |data: &Dataset| (0..data.len()).any(|i| *data.image(i).unwrap() == whole);
        assert!(found(&original.train) || found(&original.test));
    }

    #[test]
    fn scaling_loses_nothing() {
        let bytes: Vec<u8> = (0..=16).map(to_byte).collect();
        assert_eq!((bytes[0], bytes[8], bytes[16]), (0, 128, 255));
        assert!(bytes.is_sorted_by(|a, b| a < b));
    }

    fn split(subset: Option<usize>, validation: usize) -> Splits {
        let options = LoadOptions { subset, validation, seed: 42, ..LoadOptions::default() };
        read().unwrap().into_splits(&options).unwrap()
    }

    #[test]
    fn a_subset_is_stratified_and_leaves_the_test_images() {
        let Splits { train, validation, test } = split(Some(500), 100);
        assert_eq!((train.len(), validation.len(), test.len()), (400, 100, 360));
        for count in train.class_counts() {
            assert!((36..=44).contains(&count), "{count}");
        }
        assert_eq!(split(Some(1437), 100), split(None, 100));
        let subset = LoadOptions { subset: Some(1438), ..LoadOptions::default() };
        let error = read().unwrap().into_splits(&subset).unwrap_err().to_string();
        assert!(error.contains("cannot split 1438 of 1437 images off"), "{error}");
    }

    #[test]
    fn the_usual_split_is_stratified() {
        let Splits { train, validation, test } = split(None, 180);
        assert_eq!((train.len(), validation.len(), test.len()), (1257, 180, 360));
        for count in validation.class_counts() {
            assert!((17..=19).contains(&count));
        }
        for count in test.class_counts() {
            assert!((34..=37).contains(&count));
        }
    }

    #[test]
    fn a_wrong_line_is_an_error() {
        for line in ["", "1,2,3", "x", &"17,".repeat(65)] {
            assert!(matches!(
                parse_line(line.as_bytes(), 5),
                Err(DataError::Value { offset: 5, .. })
            ));
        }
    }
}
