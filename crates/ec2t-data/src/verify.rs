//! The facts about a dataset on this machine, measured.

use serde::{Deserialize, Serialize};

use crate::dataset::{ChannelStats, Splits};
use crate::error::DataError;
use crate::load::{LoadOptions, read_original};
use crate::manifest::Manifest;
use crate::source::{FileDigest, Original, SourceFile};

/// What a dataset consists of, for the record of a run.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Summary {
    /// Name of the dataset.
    pub name: String,
    /// Channels, height and width of an image.
    pub shape: [usize; 3],
    /// Names of the classes.
    pub classes: Vec<String>,
    /// Images per split.
    pub counts: Counts,
    /// Mean and standard deviation per channel of the images that are trained
    /// on, which are those of `train` without `validation`.
    #[serde(flatten)]
    pub stats: ChannelStats,
    /// Every file that was read.
    pub files: Vec<FileDigest>,
}

/// Images per split.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Counts {
    /// To learn from.
    pub train: usize,
    /// To choose the best network by.
    pub validation: usize,
    /// To judge it by.
    pub test: usize,
}

/// Reads a dataset whole, checks that it has as many images as were published,
/// and measures it.
///
/// # Errors
/// As [`load`](crate::load), and [`DataError::Inconsistent`] where the number
/// of images is another one than its [`Manifest`] says.
pub fn verify(name: &str, options: &LoadOptions) -> Result<Summary, DataError> {
    let original = read_original(name, options)?;
    if let Ok(manifest) = Manifest::named(name) {
        check_counts(&manifest, &original)?;
    }
    let files = original.files.iter().map(SourceFile::digest).collect::<Result<_, _>>()?;
    let Splits { train, validation, test } = original.into_splits(options)?;
    Ok(Summary {
        name: name.to_owned(),
        shape: train.shape(),
        classes: train.classes().to_vec(),
        counts: Counts { train: train.len(), validation: validation.len(), test: test.len() },
        stats: train.channel_stats()?,
        files,
    })
}

fn check_counts(manifest: &Manifest, original: &Original) -> Result<(), DataError> {
    for (what, expected, found) in [
        ("training images", manifest.train, original.train.len()),
        ("test images", manifest.test, original.test.len()),
    ] {
        if expected != found {
            let (expected, found) = (expected.to_string(), found.to_string());
            return Err(DataError::Inconsistent {
                name: manifest.name.clone(),
                what,
                expected,
                found,
            });
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn digits_are_summed_up() {
        let options = LoadOptions { validation: 180, seed: 1, ..LoadOptions::default() };
        let summary = verify("digits", &options).unwrap();
        assert_eq!(summary.counts, Counts { train: 1257, validation: 180, test: 360 });
        assert_eq!((summary.shape, summary.classes.len()), ([1, 8, 8], 10));
        assert!((summary.stats.mean[0] - 0.305).abs() < 0.01, "{:?}", summary.stats);
        assert!((summary.stats.std[0] - 0.376).abs() < 0.01, "{:?}", summary.stats);
        let json = serde_json::to_value(&summary).unwrap();
        assert_eq!(json["files"][0]["name"], "digits.csv.gz");
        assert!(json["mean"].is_array() && json["std"].is_array());
        assert_eq!(serde_json::from_value::<Summary>(json).unwrap(), summary);
    }

    #[test]
    fn a_dataset_of_another_size_is_not_the_published_one() {
        let original = read_original("digits", &LoadOptions::default()).unwrap();
        let manifest = Manifest::named("mnist").unwrap();
        let error = check_counts(&manifest, &original).unwrap_err().to_string();
        assert_eq!(error, "dataset `mnist`: training images: expected 60000, found 1437");
    }
}
