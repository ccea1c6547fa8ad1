//! Datasets by name.

use std::path::PathBuf;

use crate::cifar;
use crate::dataset::Splits;
use crate::digits;
use crate::error::DataError;
use crate::locate::locate;
use crate::source::Original;

/// Every name that [`load`] takes.
pub const NAMES: [&str; 6] = ["digits", "cifar10", "cifar100", "mnist", "fashion-mnist", "folder"];

/// Where a dataset is and how it is split.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct LoadOptions {
    /// The data folder; `folder` reads its classes from it and needs it, the
    /// others look further without it (see [`locate`]).
    pub data_dir: Option<PathBuf>,
    /// How many training images are split off for validation.
    pub validation: usize,
    /// Decides which ones.
    pub seed: u64,
    /// Channels, height and width to which `folder` brings its pictures.
    pub image_size: Option<[usize; 3]>,
}

/// Reads the dataset of this name and splits it.
///
/// # Errors
/// Where there is no such dataset, it is not on this machine, its files are
/// damaged, or it has too few images for the split.
pub fn load(name: &str, options: &LoadOptions) -> Result<Splits, DataError> {
    read_original(name, options)?.into_splits(options.validation, options.seed)
}

/// Reads the dataset of this name as it was published.
///
/// # Errors
/// As [`load`], but for the split.
pub fn read_original(name: &str, options: &LoadOptions) -> Result<Original, DataError> {
    let folder = || locate(name, options.data_dir.as_deref());
    match name {
        "digits" => digits::read(),
        "cifar10" => cifar::CIFAR10.read(&folder()?),
        "cifar100" => cifar::CIFAR100.read(&folder()?),
        _ => Err(DataError::Unknown { name: name.to_owned() }),
    }
}
