//! What can be wrong with a dataset, its files, or the way to them.
//!
//! Offsets and sizes are in bytes and count from 0. In a compressed file they
//! are those of the unpacked data.

use std::io;
use std::path::{Path, PathBuf};

/// Why a dataset could not be found, fetched, read or used.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum DataError {
    /// A file or folder could not be read or written.
    #[error("{path}: {source}")]
    Io {
        /// The file or folder.
        path: PathBuf,
        /// The system's reason.
        source: io::Error,
    },
    /// A file is longer or shorter than its format says.
    #[error("{path}: expected {expected} bytes, found {found}")]
    Length {
        /// The file.
        path: PathBuf,
        /// Bytes that it must have.
        expected: u64,
        /// Bytes that it has; for a file that is too long to read, at least so many.
        found: u64,
    },
    /// A compressed file breaks off or fails its own checksum.
    #[error("{path}: expected {expected} unpacked bytes, damaged after {offset}: {source}")]
    Damaged {
        /// The file.
        path: PathBuf,
        /// Unpacked bytes that it must have, as far as is known.
        expected: u64,
        /// Unpacked bytes before the damage.
        offset: u64,
        /// What the unpacker says.
        source: io::Error,
    },
    /// A value in a file contradicts its format.
    #[error("{path}: {what} at byte {offset}: expected {expected}, found {found}")]
    Value {
        /// The file.
        path: PathBuf,
        /// Where the value is.
        offset: u64,
        /// What the value stands for.
        what: &'static str,
        /// What the format allows.
        expected: String,
        /// What is there.
        found: String,
    },
    /// A file of class names has another number of them than the dataset.
    #[error("{path}: expected {expected} class names, found {found}")]
    ClassNames {
        /// The file.
        path: PathBuf,
        /// Classes of the dataset.
        expected: usize,
        /// Names in the file.
        found: usize,
    },
    /// A picture cannot be decoded.
    #[error("{path}: {source}")]
    Picture {
        /// The file.
        path: PathBuf,
        /// The decoder's reason.
        source: image::ImageError,
    },
    /// A folder has no pictures, or its classes do not fit.
    #[error("{path}: {reason}")]
    Folder {
        /// The folder.
        path: PathBuf,
        /// What was expected and what was found.
        reason: String,
    },
    /// Images, labels, shape and classes of a dataset contradict each other.
    #[error("dataset `{name}`: {what}: expected {expected}, found {found}")]
    Inconsistent {
        /// Name of the dataset.
        name: String,
        /// What is inconsistent.
        what: &'static str,
        /// What the rest of the dataset asks for.
        expected: String,
        /// What was given.
        found: String,
    },
    /// More images are asked for than there are, or none are left.
    #[error("dataset `{name}`: cannot split {wanted} of {available} images off")]
    Split {
        /// Name of the dataset.
        name: String,
        /// Images asked for.
        wanted: usize,
        /// Images there are.
        available: usize,
    },
    /// An option does not fit the dataset.
    #[error("option `{option}`: expected {expected}, found {found}")]
    Option {
        /// Name of the option.
        option: &'static str,
        /// What it may be.
        expected: String,
        /// What it is.
        found: String,
    },
    /// A published dataset is not on this machine.
    #[error(
        "dataset `{name}` not found: there is no folder `{folder}` in {}. Name the folder that \
         holds it with `--data-dir DIR` or {}=DIR, put it into datasets/, or download it with \
         `ec2t data fetch {name}`",
        places(tried),
        crate::DATA_DIR_VAR
    )]
    NotFound {
        /// Name of the dataset.
        name: String,
        /// The folder of its files.
        folder: String,
        /// The data folders that were looked at.
        tried: Vec<PathBuf>,
    },
    /// A server could not be asked.
    #[error("{url}: {reason}")]
    Unreachable {
        /// The address.
        url: String,
        /// What went wrong on the way.
        reason: String,
    },
    /// A server does not give the file, or not the part that was asked for.
    #[error("{url}: the server answers with status {status}")]
    Status {
        /// The address.
        url: String,
        /// The HTTP status.
        status: u16,
    },
    /// A server gives a file of another size than the published one.
    #[error("{url}: expected {expected} bytes, the server sends {found}")]
    RemoteSize {
        /// The address.
        url: String,
        /// Size of the published file.
        expected: u64,
        /// What the server announces, or has sent before it was cut off.
        found: u64,
    },
    /// A download broke off; what has arrived is kept.
    #[error("{url}: stopped after {done} of {total} bytes ({reason}); run it again to continue")]
    Interrupted {
        /// The address.
        url: String,
        /// Bytes that have arrived.
        done: u64,
        /// Bytes of the file.
        total: u64,
        /// What went wrong.
        reason: String,
    },
    /// A download is complete, but is not the published file; it is deleted.
    #[error("{url}: expected SHA-256 {expected}, found {found}")]
    Checksum {
        /// The address.
        url: String,
        /// Checksum of the published file.
        expected: String,
        /// Checksum of what arrived.
        found: String,
    },
    /// An archive lacks a file or holds something unsafe.
    #[error("{path}: entry `{entry}`: {reason}")]
    Archive {
        /// The archive.
        path: PathBuf,
        /// The path inside it.
        entry: String,
        /// What is wrong with it.
        reason: String,
    },
    /// A dataset of this name cannot be downloaded.
    #[error(
        "dataset `{name}` has no home page to fetch it from; those that do are {}",
        crate::Manifest::names().collect::<Vec<_>>().join(", ")
    )]
    NotPublished {
        /// The name given.
        name: String,
    },
    /// There is no dataset of this name.
    #[error("unknown dataset `{name}`; known are {}", crate::NAMES.join(", "))]
    Unknown {
        /// The name given.
        name: String,
    },
}

impl DataError {
    /// Names the file of an error of the system.
    pub(crate) fn io(path: &Path) -> impl FnOnce(io::Error) -> Self + '_ {
        |source| Self::Io { path: path.to_owned(), source }
    }
}

fn places(tried: &[PathBuf]) -> String {
    tried.iter().map(|dir| dir.display().to_string()).collect::<Vec<_>>().join(" or ")
}
