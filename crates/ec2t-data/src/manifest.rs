//! What is known about each published dataset: where it comes from, how large
//! its files are, and what they must hash to.
//!
//! The manifests are the files `datasets/*.toml` of the repository; they are
//! part of the program.

use serde::Deserialize;

use crate::error::DataError;

const BUILT_IN: [(&str, &str); 4] = [
    ("cifar10", include_str!("../../../datasets/cifar10.toml")),
    ("cifar100", include_str!("../../../datasets/cifar100.toml")),
    ("mnist", include_str!("../../../datasets/mnist.toml")),
    ("fashion-mnist", include_str!("../../../datasets/fashion-mnist.toml")),
];

/// A published dataset.
#[derive(Clone, Debug, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Manifest {
    /// Its name on the command line.
    pub name: String,
    /// Its name in print.
    pub title: String,
    /// Its home page.
    pub home: String,
    /// What to cite.
    pub source: String,
    /// Its licence, as far as its publisher states one.
    pub licence: String,
    /// The folder that holds its files.
    pub folder: String,
    /// Number of training images.
    pub train: usize,
    /// Number of test images.
    pub test: usize,
    /// What has to be downloaded.
    #[serde(rename = "download")]
    pub downloads: Vec<Download>,
    /// The files that unpacking gives; no others are taken from an archive.
    #[serde(default, rename = "file")]
    pub files: Vec<ManifestFile>,
}

/// A file on a server.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Download {
    /// Where it is.
    pub url: String,
    /// Its size in bytes.
    pub bytes: u64,
    /// Its SHA-256 in lower-case hexadecimal digits.
    pub sha256: String,
    /// Whether it is a gzipped tar archive that holds the dataset's folder;
    /// if not, it is itself a file of that folder.
    #[serde(default)]
    pub unpack: bool,
}

/// A file of an archive.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ManifestFile {
    /// Its name in the dataset's folder.
    pub name: String,
    /// Its size in bytes, where that is fixed.
    pub bytes: Option<u64>,
}

impl Manifest {
    /// The manifest of a published dataset.
    ///
    /// # Errors
    /// [`DataError::NotPublished`] for any other name.
    pub fn named(name: &str) -> Result<Self, DataError> {
        let unknown = || DataError::NotPublished { name: name.to_owned() };
        let (_, text) = BUILT_IN.iter().find(|(known, _)| *known == name).ok_or_else(unknown)?;
        Ok(toml::from_str(text).expect("the built-in manifests are well-formed"))
    }

    /// Names of all published datasets.
    pub fn names() -> impl Iterator<Item = &'static str> {
        BUILT_IN.iter().map(|(name, _)| *name)
    }
}

impl Download {
    /// The last part of the address.
    pub fn file_name(&self) -> &str {
        self.url.rsplit('/').next().unwrap_or(&self.url)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_built_in_manifest_is_complete() {
        for name in Manifest::names() {
            let manifest = Manifest::named(name).unwrap();
            assert_eq!(manifest.name, name);
            assert!(!manifest.downloads.is_empty());
            for download in &manifest.downloads {
                assert_eq!(download.sha256.len(), 64, "{name}");
                assert!(download.sha256.bytes().all(|b| b"0123456789abcdef".contains(&b)));
                assert!(download.bytes > 0 && download.file_name().ends_with(".gz"));
                assert_eq!(download.unpack, !manifest.files.is_empty(), "{name}");
            }
        }
        assert_eq!(Manifest::named("cifar10").unwrap().downloads[0].bytes, 170_052_171);
        assert!(matches!(Manifest::named("digits"), Err(DataError::NotPublished { .. })));
    }
}
