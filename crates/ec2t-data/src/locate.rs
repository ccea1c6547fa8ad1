//! Where datasets are on this machine.
//!
//! A data folder holds one folder per dataset, under the name that its
//! publisher gave it, such as `cifar-10-batches-bin`. The data folder is the
//! one that the caller names, and no other; else that of the environment
//! variable [`DATA_DIR_VAR`]; else `datasets` in the working directory; else the
//! one that Debian's packages of datasets share.

use std::env;
use std::ffi::OsString;
use std::path::{Path, PathBuf};

use crate::error::DataError;
use crate::manifest::Manifest;

/// The environment variable that names the data folder.
pub const DATA_DIR_VAR: &str = "EC2T_DATA_DIR";

/// The data folder where nothing names another one.
const DEFAULT_DIR: &str = "datasets";

/// The data folder of Debian's packages, such as `dataset-fashion-mnist`.
const DEBIAN_DIR: &str = "/usr/share/datasets";

/// Finds the folder that holds the files of a published dataset.
///
/// # Errors
/// [`DataError::NotFound`] with all places that were looked at and the ways to
/// name another one; [`DataError::NotPublished`] for a dataset without a
/// [`Manifest`].
pub fn locate(name: &str, data_dir: Option<&Path>) -> Result<PathBuf, DataError> {
    let manifest = Manifest::named(name)?;
    find(&manifest, data_dirs(data_dir, env::var_os(DATA_DIR_VAR)))
}

/// The data folder that a download goes to: the first of those that
/// [`locate`] looks at.
pub fn data_root(data_dir: Option<&Path>) -> PathBuf {
    data_dirs(data_dir, env::var_os(DATA_DIR_VAR)).swap_remove(0)
}

/// The data folders to look at, in this order; never empty.
fn data_dirs(data_dir: Option<&Path>, variable: Option<OsString>) -> Vec<PathBuf> {
    match data_dir {
        Some(dir) => vec![dir.to_owned()],
        None => {
            let variable = variable.filter(|dir| !dir.is_empty()).map(PathBuf::from);
            let defaults = [DEFAULT_DIR, DEBIAN_DIR].map(PathBuf::from);
            variable.into_iter().chain(defaults).collect()
        }
    }
}

fn find(manifest: &Manifest, dirs: Vec<PathBuf>) -> Result<PathBuf, DataError> {
    match dirs.iter().map(|dir| dir.join(&manifest.folder)).find(|folder| folder.is_dir()) {
        Some(folder) => Ok(folder),
        None => Err(DataError::NotFound {
            name: manifest.name.clone(),
            folder: manifest.folder.clone(),
            tried: dirs,
        }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs;

    #[test]
    fn the_callers_folder_comes_before_the_variable_and_the_default() {
        let dirs = |dir: Option<&str>, variable: Option<&str>| {
            data_dirs(dir.map(Path::new), variable.map(OsString::from))
        };
        assert_eq!(dirs(Some("a"), Some("b")), [Path::new("a")]);
        let defaults = [Path::new("datasets"), Path::new("/usr/share/datasets")];
        assert_eq!(dirs(None, Some("b")), [Path::new("b"), defaults[0], defaults[1]]);
        assert_eq!(dirs(None, None), defaults);
        assert_eq!(dirs(None, Some("")), defaults);
    }

    #[test]
    fn the_first_folder_that_holds_the_dataset_is_taken() {
        let (empty, full) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        let folder = full.path().join("cifar-10-batches-bin");
        fs::create_dir(&folder).unwrap();
        let manifest = Manifest::named("cifar10").unwrap();
        let dirs = vec![empty.path().to_owned(), full.path().to_owned()];
        assert_eq!(find(&manifest, dirs).unwrap(), folder);
        assert_eq!(locate("cifar10", Some(full.path())).unwrap(), folder);
    }

    #[test]
    fn the_error_names_the_places_and_the_ways() {
        let empty = tempfile::tempdir().unwrap();
        let error = locate("cifar10", Some(empty.path())).unwrap_err().to_string();
        let place = empty.path().display().to_string();
        for part in [
            "cifar-10-batches-bin",
            &place,
            "--data-dir",
            "EC2T_DATA_DIR",
            "datasets/",
            "ec2t data fetch cifar10",
        ] {
            assert!(error.contains(part), "{part}: {error}");
        }
    }
}
