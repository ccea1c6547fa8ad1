//! Image classification datasets: found, fetched, checked, read, varied and
//! batched.
//!
//! | to do | use |
//! |---|---|
//! | find, fetch and check files | [`locate`], [`fetch`], [`verify`], [`Manifest`] |
//! | read a dataset by name and split it | [`load`], [`Splits`] |
//! | read one kind of files | [`cifar`], [`idx`], [`folder`], [`digits`] |
//! | read one picture | [`read_picture`], [`fit_rgba`], [`Fit`] |
//! | write one image as a small PNG file | [`thumbnail`] |
//! | make batches for training or evaluation | [`Batches`], [`Loader`], [`AugmentOptions`], [`normalize_into`] |
//!
//! Images are bytes, planar (C × H × W), in memory or in files that are decoded as
//! they are used, and become floats batch by batch: see [`Batches`]. Everything that is random depends on a seed only.
//! Files are checked before they are believed; every error names its file.
//!
//! ```
//! use ec2t_data::{Batches, LoadOptions, load};
//!
//! let splits = load("digits", &LoadOptions { validation: 180, ..LoadOptions::default() })?;
//! let batch = Batches::in_order(&splits.test, &[0.5], &[0.5], 10)?.next().unwrap()?;
//! assert_eq!(batch.images.len(), 10 * 64);
//! # Ok::<(), ec2t_data::DataError>(())
//! ```
#![forbid(unsafe_code)]

mod augment;
mod batches;
pub mod cifar;
mod dataset;
pub mod digits;
#[cfg(feature = "download")]
mod download;
mod error;
#[cfg(feature = "download")]
mod fetch;
pub mod folder;
pub mod idx;
mod images;
mod jitter;
mod load;
mod loader;
mod locate;
mod manifest;
mod normalize;
mod picture;
mod random;
mod source;
#[cfg(all(test, feature = "download"))]
mod test_server;
#[cfg(feature = "download")]
mod unpack;
mod verify;

pub use augment::AugmentOptions;
pub use batches::{Batch, BatchOptions, Batches, epoch_order};
pub use dataset::{ChannelStats, Dataset, Splits, split_validation};
pub use error::DataError;
#[cfg(feature = "download")]
pub use fetch::{Phase, Progress, fetch};
pub use load::{LoadOptions, NAMES, load, read_original};
pub use loader::Loader;
pub use locate::{DATA_DIR_VAR, data_root, locate};
pub use manifest::{Download, Manifest, ManifestFile};
pub use normalize::normalize_into;
pub use picture::{CROP, Fit, fit_rgba, read_picture, thumbnail};
pub use source::{FileDigest, Original, SourceFile};
pub use verify::{Counts, Summary, verify};
