//! Downloading a published dataset, on request only.
//!
//! Everything happens in a folder `NAME.part` beside the place where the
//! dataset's folder NAME goes: downloads are continued there after a break,
//! checked for size and SHA-256, and unpacked. When all of it is right, one
//! rename puts the folder in place; until then nobody can mistake a part for
//! the whole.

use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

use ureq::Agent;

use crate::download::download;
use crate::error::DataError;
use crate::locate::data_root;
use crate::manifest::Manifest;
use crate::unpack::unpack;

/// How far a download is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Progress<'a> {
    /// Name of the file.
    pub file: &'a str,
    /// What is being done with it.
    pub phase: Phase,
    /// Bytes done.
    pub done: u64,
    /// Bytes there are.
    pub total: u64,
}

/// The steps of a download.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Phase {
    /// Bytes come in.
    Download,
    /// The file is there and is being compared with its checksum.
    Check,
    /// The archive is being unpacked.
    Unpack,
}

/// Downloads a published dataset into the data folder (see
/// [`data_root`](crate::data_root)) and returns the folder that holds it now.
///
/// A folder that is already there is left as it is, and nothing is downloaded.
///
/// # Errors
/// [`DataError::NotPublished`] for a name without [`Manifest`]; otherwise where
/// the server cannot be reached or sends something else than the manifest says.
/// After [`DataError::Interrupted`] the next call continues.
pub fn fetch(
    name: &str,
    data_dir: Option<&Path>,
    progress: &mut dyn FnMut(Progress<'_>),
) -> Result<PathBuf, DataError> {
    let config = Agent::config_builder()
        .http_status_as_error(false)
        .timeout_connect(Some(Duration::from_secs(30)))
        .timeout_per_read(Some(Duration::from_secs(60)))
        .build();
    fetch_with(&config.new_agent(), &Manifest::named(name)?, &data_root(data_dir), progress)
}

fn fetch_with(
    agent: &Agent,
    manifest: &Manifest,
    root: &Path,
    progress: &mut dyn FnMut(Progress<'_>),
) -> Result<PathBuf, DataError> {
    let folder = root.join(&manifest.folder);
    if folder.is_dir() {
        tracing::info!("{} is already in {}", manifest.title, folder.display());
        return Ok(folder);
    }
    let staging = root.join(format!("{}.part", manifest.folder));
    fs::create_dir_all(&staging).map_err(DataError::io(&staging))?;
    if let Err(error) = fill(agent, manifest, &staging, progress) {
        // What has arrived stays; this removes an empty folder only.
        let _ = fs::remove_dir(&staging);
        return Err(error);
    }
    fs::rename(&staging, &folder).map_err(DataError::io(&folder))?;
    Ok(folder)
}

/// Downloads all files of a dataset into a folder.
fn fill(
    agent: &Agent,
    manifest: &Manifest,
    folder: &Path,
    progress: &mut dyn FnMut(Progress<'_>),
) -> Result<(), DataError> {
    for file in &manifest.downloads {
        let path = folder.join(file.file_name());
        download(agent, file, &path, progress)?;
        if file.unpack {
            unpack(&path, manifest, folder, progress)?;
            fs::remove_file(&path).map_err(DataError::io(&path))?;
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::manifest::{Download, ManifestFile};
    use crate::source::sha256_hex;
    use crate::test_server::{Reply, Server};
    use crate::unpack::tests::archive;

    fn agent() -> Agent {
        Agent::config_builder().http_status_as_error(false).proxy(None).build().new_agent()
    }

    /// A dataset of one archive that unpacks to `tiny/a.bin`, 5 bytes.
    fn manifest(server: &Server, archive: &[u8]) -> Manifest {
        Manifest {
            name: "tiny".into(),
            title: "Tiny".into(),
            home: server.url("/"),
            source: "this test".into(),
            licence: "none".into(),
            folder: "tiny".into(),
            train: 0,
            test: 0,
            downloads: vec![Download {
                url: server.url("/tiny.tar.gz"),
                bytes: archive.len() as u64,
                sha256: sha256_hex(archive),
                unpack: true,
            }],
            files: vec![ManifestFile { name: "a.bin".into(), bytes: Some(5) }],
        }
    }

    #[test]
    fn a_dataset_is_downloaded_checked_and_unpacked() {
        let archive = archive(&[("tiny/a.bin", b"hello"), ("tiny/readme.html", b"<p>")]);
        let server = Server::start(vec![Reply::ok(&archive)]);
        let root = tempfile::tempdir().unwrap();
        let mut phases = Vec::new();
        let folder = fetch_with(
            &agent(),
            &manifest(&server, &archive),
            root.path(),
            &mut |Progress { file, phase, done, total }| {
                assert!(done <= total && file == "tiny.tar.gz");
                phases.push(phase);
            },
        )
        .unwrap();
        assert_eq!(fs::read(folder.join("a.bin")).unwrap(), b"hello");
        phases.dedup();
        assert_eq!(phases, [Phase::Download, Phase::Check, Phase::Unpack]);
        let names = |dir: &Path| -> Vec<_> {
            fs::read_dir(dir).unwrap().map(|entry| entry.unwrap().file_name()).collect()
        };
        assert_eq!(
            (names(root.path()), names(&folder)),
            (vec!["tiny".into()], vec!["a.bin".into()])
        );
    }

    #[test]
    fn a_folder_that_is_there_is_left_alone() {
        let server = Server::start(vec![]);
        let root = tempfile::tempdir().unwrap();
        fs::create_dir(root.path().join("tiny")).unwrap();
        let folder = fetch_with(&agent(), &manifest(&server, b""), root.path(), &mut |_| {});
        assert_eq!(folder.unwrap(), root.path().join("tiny"));
        assert!(server.requests().is_empty());
    }

    #[test]
    fn a_plain_file_of_a_manifest_stays_as_it_is() {
        let server = Server::start(vec![Reply::ok(b"plain")]);
        let root = tempfile::tempdir().unwrap();
        let mut manifest = manifest(&server, b"plain");
        manifest.downloads[0].unpack = false;
        manifest.files.clear();
        let folder = fetch_with(&agent(), &manifest, root.path(), &mut |_| {}).unwrap();
        assert_eq!(fs::read(folder.join("tiny.tar.gz")).unwrap(), b"plain");
    }

    #[test]
    fn nothing_is_in_place_after_a_failure() {
        let archive = archive(&[("tiny/b.bin", b"hello")]);
        let server = Server::start(vec![Reply::ok(&archive)]);
        let root = tempfile::tempdir().unwrap();
        let error = fetch_with(&agent(), &manifest(&server, &archive), root.path(), &mut |_| {})
            .unwrap_err();
        assert!(matches!(error, DataError::Archive { .. }), "{error}");
        assert!(!root.path().join("tiny").exists());
    }
}
