//! A dataset as its files give it, and the files themselves.

use std::fs::File;
use std::io::{BufRead, BufReader, Read};
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use crate::dataset::{Dataset, Splits, split_validation};
use crate::error::DataError;
use crate::load::LoadOptions;

/// What a reader returns: the training and test images as published, and what
/// they were read from.
#[derive(Clone, Debug)]
pub struct Original {
    /// All images that are published for training.
    pub train: Dataset,
    /// The images that are published for testing.
    pub test: Dataset,
    /// Every file that was read, in the order of reading.
    pub files: Vec<SourceFile>,
}

impl Original {
    /// Leaves `subset` of the training images, and splits `validation` off those (see
    /// [`split_validation`]). Test images stay apart, all of them.
    ///
    /// # Errors
    /// [`DataError::Split`] where there are fewer images than asked for, or nothing would
    /// be left to train on.
    pub fn into_splits(self, options: &LoadOptions) -> Result<Splits, DataError> {
        let &LoadOptions { subset, validation, seed, .. } = options;
        let train = match subset.filter(|&count| count != self.train.len()) {
            Some(count) => split_validation(&self.train, count, seed)?.1,
            None => self.train,
        };
        let (train, validation) = split_validation(&train, validation, seed)?;
        Ok(Splits { train, validation, test: self.test })
    }
}

/// A file that a dataset is read from.
#[derive(Clone, Debug)]
pub struct SourceFile {
    /// Its path inside the dataset's folder, with `/`.
    pub name: String,
    content: Content,
}

#[derive(Clone, Debug)]
enum Content {
    Disk(PathBuf),
    /// Files below a folder.
    Tree(PathBuf, Vec<String>),
    Embedded(&'static [u8]),
}

/// Size and checksum of a file, or of a list of files.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct FileDigest {
    /// Path inside the dataset's folder.
    pub name: String,
    /// Size in bytes; of a list, of all its files together.
    pub bytes: u64,
    /// SHA-256 in lower-case hexadecimal digits; of a list, that of a line for each file,
    /// with its name and its size.
    pub sha256: String,
}

impl SourceFile {
    /// The file `name` in `folder`.
    pub(crate) fn on_disk(folder: &Path, name: impl Into<String>) -> Self {
        let name = name.into();
        let path = folder.join(&name);
        Self { name, content: Content::Disk(path) }
    }

    /// Picture files below `root`, of which there may be too many to read for a checksum.
    pub(crate) fn tree(root: &Path, name: impl Into<String>, files: Vec<String>) -> Self {
        Self { name: name.into(), content: Content::Tree(root.to_owned(), files) }
    }

    /// A file that is part of the program.
    pub(crate) fn embedded(name: &str, bytes: &'static [u8]) -> Self {
        Self { name: name.to_owned(), content: Content::Embedded(bytes) }
    }

    /// Reads the file for its size and checksum; of a list of files, only their sizes.
    ///
    /// # Errors
    /// [`DataError::Io`] where it cannot be read.
    pub fn digest(&self) -> Result<FileDigest, DataError> {
        let (bytes, sha256) = match &self.content {
            Content::Disk(path) => sha256_file(path)?,
            Content::Tree(root, files) => sha256_list(root, files)?,
            Content::Embedded(bytes) => (bytes.len() as u64, sha256_hex(bytes)),
        };
        Ok(FileDigest { name: self.name.clone(), bytes, sha256 })
    }
}

/// Size and SHA-256 of the file at `path`.
pub(crate) fn sha256_file(path: &Path) -> Result<(u64, String), DataError> {
    let file = File::open(path).map_err(DataError::io(path))?;
    let mut reader = BufReader::with_capacity(1 << 16, file);
    let (mut hasher, mut bytes) = (Sha256::new(), 0);
    loop {
        let block = reader.fill_buf().map_err(DataError::io(path))?;
        if block.is_empty() {
            return Ok((bytes, hex(&hasher.finalize())));
        }
        hasher.update(block);
        let read = block.len();
        bytes += read as u64;
        reader.consume(read);
    }
}

/// Size of all files together, and SHA-256 of their names and sizes.
fn sha256_list(root: &Path, files: &[String]) -> Result<(u64, String), DataError> {
    let (mut hasher, mut bytes) = (Sha256::new(), 0);
    for name in files {
        let path = root.join(name);
        let size = path.metadata().map_err(DataError::io(&path))?.len();
        hasher.update(format!("{name} {size}\n"));
        bytes += size;
    }
    Ok((bytes, hex(&hasher.finalize())))
}

/// SHA-256 of bytes in memory.
pub(crate) fn sha256_hex(bytes: &[u8]) -> String {
    hex(&Sha256::digest(bytes))
}

fn hex(digest: &[u8]) -> String {
    digest.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// Reads a file that must have exactly `expected` bytes.
pub(crate) fn read_exactly(path: &Path, expected: u64) -> Result<Vec<u8>, DataError> {
    let file = File::open(path).map_err(DataError::io(path))?;
    let found = file.metadata().map_err(DataError::io(path))?.len();
    if found != expected {
        return Err(DataError::Length { path: path.to_owned(), expected, found });
    }
    let bytes = read_at_most(path, file, expected)?;
    check_length(path, &bytes, expected)?;
    Ok(bytes)
}

/// Reads all of `reader`, but no more than one byte beyond `limit`, whatever
/// it claims to hold.
pub(crate) fn read_at_most(
    path: &Path,
    reader: impl Read,
    limit: u64,
) -> Result<Vec<u8>, DataError> {
    let mut bytes = Vec::new();
    reader.take(limit.saturating_add(1)).read_to_end(&mut bytes).map_err(DataError::io(path))?;
    Ok(bytes)
}

/// Compares what was read with what must be there.
pub(crate) fn check_length(path: &Path, bytes: &[u8], expected: u64) -> Result<(), DataError> {
    let found = bytes.len() as u64;
    match found == expected {
        true => Ok(()),
        false => Err(DataError::Length { path: path.to_owned(), expected, found }),
    }
}
