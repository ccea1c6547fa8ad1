//! The expected files of a gzipped tar archive, and nothing else.
//!
//! An entry is taken where its path is FOLDER/FILE with the folder and one of
//! the files of the manifest. Other regular files are passed over; a path that
//! leaves the archive, or a link in place of an expected file, is an error. No
//! entry's path is ever used to write: files get the names of the manifest.

use std::collections::BTreeSet;
use std::fs::{self, File};
use std::io::{self, BufReader, Read};
use std::path::{Component, Path};

use flate2::read::GzDecoder;
use tar::{Archive, Entry};

use crate::error::DataError;
use crate::fetch::{Phase, Progress};
use crate::manifest::{Manifest, ManifestFile};

/// Limit for files whose size the manifest does not say, in bytes.
const MAX_UNSIZED: u64 = 1 << 20;

/// Unpacks the files of `manifest` from the archive at `path` into `folder`.
pub(crate) fn unpack(
    path: &Path,
    manifest: &Manifest,
    folder: &Path,
    progress: &mut dyn FnMut(Progress<'_>),
) -> Result<(), DataError> {
    let file = path.file_name().unwrap_or_default().to_string_lossy();
    let total = manifest.files.iter().filter_map(|file| file.bytes).sum();
    let mut done = 0;
    let mut missing: BTreeSet<&str> = manifest.files.iter().map(|file| &*file.name).collect();

    let input = File::open(path).map_err(DataError::io(path))?;
    let mut archive = Archive::new(GzDecoder::new(BufReader::new(input)));
    for entry in archive.entries().map_err(DataError::io(path))? {
        progress(Progress { file: &file, phase: Phase::Unpack, done, total });
        let mut entry = entry.map_err(DataError::io(path))?;
        let refuse = |entry: &Entry<'_, _>, reason: String| DataError::Archive {
            path: path.to_owned(),
            entry: String::from_utf8_lossy(&entry.path_bytes()).into_owned(),
            reason,
        };
        match expected_file(&entry, manifest) {
            Ok(Some(file)) => {
                check_entry(&entry, file).map_err(|reason| refuse(&entry, reason))?;
                write(&mut entry, path, &folder.join(&file.name))?;
                missing.remove(&*file.name);
                done += file.bytes.unwrap_or(0);
            }
            Ok(None) => {}
            Err(reason) => return Err(refuse(&entry, reason.to_owned())),
        }
    }
    match missing.first() {
        Some(&entry) => {
            let (path, reason) = (path.to_owned(), "not in the archive".into());
            Err(DataError::Archive { path, entry: entry.into(), reason })
        }
        None => Ok(()),
    }
}

/// The file of the manifest that an entry is, if any.
fn expected_file<'m>(
    entry: &Entry<'_, impl Read>,
    manifest: &'m Manifest,
) -> Result<Option<&'m ManifestFile>, &'static str> {
    let path = entry.path().map_err(|_| "its path is not readable")?;
    let mut parts = Vec::new();
    for component in path.components() {
        match component {
            Component::Normal(part) => parts.push(part),
            Component::CurDir => {}
            _ => return Err("its path leaves the archive"),
        }
    }
    Ok(match parts[..] {
        [folder, name] if folder == &*manifest.folder => {
            manifest.files.iter().find(|file| name == &*file.name)
        }
        _ => None,
    })
}

fn check_entry(entry: &Entry<'_, impl Read>, file: &ManifestFile) -> Result<(), String> {
    if !entry.header().entry_type().is_file() {
        return Err("not a regular file".into());
    }
    match (file.bytes, entry.size()) {
        (Some(expected), found) if found != expected => {
            Err(format!("expected {expected} bytes, found {found}"))
        }
        (None, found) if found > MAX_UNSIZED => {
            Err(format!("expected at most {MAX_UNSIZED} bytes, found {found}"))
        }
        _ => Ok(()),
    }
}

fn write(entry: &mut Entry<'_, impl Read>, archive: &Path, target: &Path) -> Result<(), DataError> {
    let mut out = File::create(target).map_err(DataError::io(target))?;
    let size = entry.size();
    let written = io::copy(entry, &mut out).map_err(DataError::io(archive))?;
    match written == size {
        true => Ok(()),
        false => {
            fs::remove_file(target).map_err(DataError::io(target))?;
            let path = archive.to_owned();
            Err(DataError::Length { path, expected: size, found: written })
        }
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;
    use flate2::Compression;
    use flate2::write::GzEncoder;
    use tar::{Builder, EntryType, Header};

    /// A gzipped tar archive of these files, whatever their paths.
    pub(crate) fn archive(files: &[(&str, &[u8])]) -> Vec<u8> {
        let mut builder = builder();
        for (path, content) in files {
            append(&mut builder, path, EntryType::Regular, content);
        }
        builder.into_inner().unwrap().finish().unwrap()
    }

    type GzBuilder = Builder<GzEncoder<Vec<u8>>>;

    fn builder() -> GzBuilder {
        Builder::new(GzEncoder::new(Vec::new(), Compression::fast()))
    }

    /// Adds an entry without the checks that the tar crate makes of paths.
    fn append(builder: &mut GzBuilder, path: &str, kind: EntryType, content: &[u8]) {
        let mut header = Header::new_gnu();
        header.as_old_mut().name[..path.len()].copy_from_slice(path.as_bytes());
        header.set_entry_type(kind);
        header.set_size(content.len() as u64);
        header.set_mode(0o644);
        header.set_cksum();
        builder.append(&header, content).unwrap();
    }

    /// Expects `set/a.bin` of 3 bytes and `set/names.txt` of any size.
    fn unpacked(archive: &[u8]) -> Result<tempfile::TempDir, DataError> {
        let manifest = Manifest {
            folder: "set".into(),
            files: vec![
                ManifestFile { name: "a.bin".into(), bytes: Some(3) },
                ManifestFile { name: "names.txt".into(), bytes: None },
            ],
            ..Manifest::named("cifar10").unwrap()
        };
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("set.tar.gz");
        fs::write(&path, archive).unwrap();
        let inside = folder.path().join("in");
        fs::create_dir(&inside).unwrap();
        unpack(&path, &manifest, &inside, &mut |_| {}).map(|()| folder)
    }

    fn reason(archive: &[u8]) -> String {
        match unpacked(archive).unwrap_err() {
            DataError::Archive { reason, .. } => reason,
            other => panic!("{other}"),
        }
    }

    #[test]
    fn expected_files_are_taken_and_others_left() {
        let folder = unpacked(&archive(&[
            ("set/", b""),
            ("./set/a.bin", b"abc"),
            ("set/names.txt", b"x\ny\n"),
            ("set/more/a.bin", b"zzz"),
            ("other/a.bin", b"yyy"),
            ("a.bin", b"www"),
        ]))
        .unwrap();
        let inside = folder.path().join("in");
        assert_eq!(fs::read(inside.join("a.bin")).unwrap(), b"abc");
        assert_eq!(fs::read(inside.join("names.txt")).unwrap(), b"x\ny\n");
        assert_eq!(fs::read_dir(inside).unwrap().count(), 2);
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 2);
    }

    #[test]
    fn paths_that_escape_are_refused() {
        for path in ["../a.bin", "set/../../a.bin", "/set/a.bin"] {
            assert_eq!(reason(&archive(&[(path, b"abc")])), "its path leaves the archive");
        }
    }

    #[test]
    fn wrong_sizes_links_and_gaps_are_refused() {
        assert_eq!(reason(&archive(&[("set/a.bin", b"ab")])), "expected 3 bytes, found 2");
        assert_eq!(reason(&archive(&[("set/a.bin", b"abc")])), "not in the archive");
        let long = vec![b'x'; (MAX_UNSIZED + 1) as usize];
        assert!(reason(&archive(&[("set/names.txt", &long)])).starts_with("expected at most"));

        let mut builder = builder();
        append(&mut builder, "set/a.bin", EntryType::Symlink, b"");
        let link = builder.into_inner().unwrap().finish().unwrap();
        assert_eq!(reason(&link), "not a regular file");
    }

    #[test]
    fn a_broken_archive_is_an_error() {
        let whole = archive(&[("set/a.bin", b"abc"), ("set/names.txt", b"x")]);
        for end in [0, 5, whole.len() / 2, whole.len() - 20] {
            let error = unpacked(&whole[..end]).unwrap_err();
            assert!(matches!(error, DataError::Io { .. } | DataError::Archive { .. }), "{error}");
        }
    }
}
