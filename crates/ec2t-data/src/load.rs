//! Datasets by name.

use std::path::PathBuf;

use crate::cifar;
use crate::dataset::Splits;
use crate::digits;
use crate::error::DataError;
use crate::folder;
use crate::idx;
use crate::locate::locate;
use crate::picture::Fit;
use crate::source::Original;

/// Every name that [`load`] takes.
pub const NAMES: [&str; 6] = ["digits", "cifar10", "cifar100", "mnist", "fashion-mnist", "folder"];

/// Where a dataset is and how it is split.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct LoadOptions {
    /// The data folder; `folder` reads its classes from it and needs it, the
    /// others look further without it (see [`locate`]).
    pub data_dir: Option<PathBuf>,
    /// How many training images to use, `validation` among them; all where `None`.
    /// The choice is stratified, like that of `validation`.
    pub subset: Option<usize>,
    /// How many training images are split off for validation.
    pub validation: usize,
    /// Decides which ones, in both cases.
    pub seed: u64,
    /// Channels, height and width to which `folder` brings its pictures.
    pub image_size: Option<[usize; 3]>,
    /// What `folder` takes of a picture.
    pub fit: Fit,
}

/// Reads the dataset of this name and splits it.
///
/// # Errors
/// Where there is no such dataset, it is not on this machine, its files are
/// damaged, or it has too few images for the split.
pub fn load(name: &str, options: &LoadOptions) -> Result<Splits, DataError> {
    read_original(name, options)?.into_splits(options)
}

/// Reads the dataset of this name as it was published.
///
/// # Errors
/// As [`load`], but for the split.
pub fn read_original(name: &str, options: &LoadOptions) -> Result<Original, DataError> {
    let located = || locate(name, options.data_dir.as_deref());
    match name {
        "digits" => digits::read(),
        "cifar10" => cifar::CIFAR10.read(&located()?),
        "cifar100" => cifar::CIFAR100.read(&located()?),
        "mnist" => idx::read(name, &located()?, &idx::MNIST_CLASSES),
        "fashion-mnist" => idx::read(name, &located()?, &idx::FASHION_MNIST_CLASSES),
        "folder" => {
            let root = options.data_dir.as_deref().ok_or_else(|| {
                missing("data_dir", "the folder that holds the folders of the classes")
            })?;
            let size = options
                .image_size
                .ok_or_else(|| missing("image_size", "channels, height and width of the images"))?;
            folder::read(root, size, options.fit)
        }
        _ => Err(DataError::Unknown { name: name.to_owned() }),
    }
}

fn missing(option: &'static str, expected: &str) -> DataError {
    DataError::Option { option, expected: expected.into(), found: "nothing".into() }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_name_is_known() {
        let nowhere = LoadOptions { data_dir: Some("no-such-folder".into()), ..Default::default() };
        for name in NAMES {
            assert!(!matches!(load(name, &nowhere), Err(DataError::Unknown { .. })), "{name}");
        }
        let error = load("cifar", &nowhere).unwrap_err().to_string();
        assert!(error.starts_with("unknown dataset `cifar`; known are digits, cifar10"), "{error}");
    }

    #[test]
    fn a_folder_of_pictures_needs_place_and_size() {
        let option = |options| match load("folder", &options).unwrap_err() {
            DataError::Option { option, .. } => option,
            other => panic!("{other}"),
        };
        assert_eq!(option(LoadOptions::default()), "data_dir");
        let here = LoadOptions { data_dir: Some(".".into()), ..LoadOptions::default() };
        assert_eq!(option(here), "image_size");
    }
}
