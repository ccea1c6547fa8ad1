//! Pages that describe sources byte by byte, and must be looked at again when
//! those change.
//!
//! A page ends with a comment that has the hash of its sources. Where they no
//! longer fit, `cargo xtask tidy` fails until somebody has compared the two and
//! says so: `cargo xtask tidy --bless` writes the new hash.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};
use sha2::{Digest, Sha256};

/// A page and the folders whose Rust files it describes.
const PAGES: [(&str, &[&str]); 1] =
    [("docs/format.md", &["crates/ec2t-format/src/codec", "crates/ec2t-format/src/container"])];

/// What stands before and behind the hash.
const BEFORE: &str = "<!-- This page describes sources with the hash ";
const BEHIND: &str = " -->";

/// The pages that are to be compared with their sources, as faults.
pub(crate) fn faults(workspace: &Path) -> Result<Vec<String>> {
    let mut faults = Vec::new();
    for (page, folders) in PAGES {
        let text = read(&workspace.join(page))?;
        let (line, found) = hash_of(&text).with_context(|| format!("{page} has no hash"))?;
        if found != hash(workspace, folders)? {
            let folders = folders.join(" or ");
            faults.push(format!(
                "{page}:{line}: {folders} has changed; bring the page up to date, \
                 then run `cargo xtask tidy --bless`"
            ));
        }
    }
    Ok(faults)
}

/// Writes the hashes of today's sources into the pages.
pub(crate) fn bless(workspace: &Path) -> Result<()> {
    for (page, folders) in PAGES {
        let path = workspace.join(page);
        let text = read(&path)?;
        let (_, found) = hash_of(&text).with_context(|| format!("{page} has no hash"))?;
        let [old, new] =
            [found, &hash(workspace, folders)?].map(|hash| [BEFORE, hash, BEHIND].concat());
        let text = text.replace(&old, &new);
        fs::write(&path, text).with_context(|| path.display().to_string())?;
    }
    Ok(())
}

/// The hash that a page names, and on which line.
fn hash_of(page: &str) -> Option<(usize, &str)> {
    page.lines()
        .zip(1..)
        .find_map(|(line, number)| Some((number, line.strip_prefix(BEFORE)?.strip_suffix(BEHIND)?)))
}

/// Hash of the names and contents of all Rust files in these folders.
fn hash(workspace: &Path, folders: &[&str]) -> Result<String> {
    let mut sum = Sha256::new();
    for folder in folders {
        let mut files = Vec::new();
        collect(&workspace.join(folder), &mut files)?;
        files.sort();
        for file in files {
            let text = read(&file)?;
            let name = file.strip_prefix(workspace)?.to_string_lossy().replace('\\', "/");
            sum.update(format!("{name} {}\n{text}", text.len()));
        }
    }
    Ok(sum.finalize().iter().map(|byte| format!("{byte:02x}")).collect())
}

fn collect(folder: &Path, files: &mut Vec<PathBuf>) -> Result<()> {
    for entry in fs::read_dir(folder).with_context(|| folder.display().to_string())? {
        let path = entry?.path();
        if path.is_dir() {
            collect(&path, files)?;
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            files.push(path);
        }
    }
    if files.is_empty() {
        bail!("{}: no sources", folder.display());
    }
    Ok(())
}

/// A text whose lines end alike on every machine.
fn read(path: &Path) -> Result<String> {
    let text = fs::read_to_string(path).with_context(|| path.display().to_string())?;
    Ok(text.replace("\r\n", "\n"))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A workspace with a page and a source in each of its folders.
    fn workspace() -> tempfile::TempDir {
        let workspace = tempfile::tempdir().unwrap();
        for (page, folders) in PAGES {
            let path = workspace.path().join(page);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, format!("# Page 0123\n\n{BEFORE}0123{BEHIND}\n")).unwrap();
            for folder in folders {
                let path = workspace.path().join(folder);
                fs::create_dir_all(path.join("deep")).unwrap();
                fs::write(path.join("mod.rs"), "//! A module.\n").unwrap();
                fs::write(path.join("deep/a.rs"), "//! Another.\n").unwrap();
            }
        }
        workspace
    }

    #[test]
    fn a_change_of_the_sources_asks_for_the_page() {
        let workspace = workspace();
        let faults = || faults(workspace.path()).unwrap();
        assert_eq!(faults().len(), PAGES.len());
        assert!(faults()[0].starts_with("docs/format.md:3: crates/"), "{:?}", faults());
        // What reads like the hash elsewhere stays.
        bless(workspace.path()).unwrap();
        assert_eq!(faults(), [""; 0]);
        let page = fs::read_to_string(workspace.path().join(PAGES[0].0)).unwrap();
        assert!(page.starts_with("# Page 0123\n\n"), "{page}");

        let source = workspace.path().join(PAGES[0].1[1]).join("deep/a.rs");
        let renamed = source.with_file_name("b.rs");
        fs::rename(&source, &renamed).unwrap();
        assert_eq!(faults().len(), 1);
        fs::rename(&renamed, &source).unwrap();
        assert_eq!(faults(), [""; 0]);
        fs::write(&source, "//! Changed.\n").unwrap();
        assert_eq!(faults().len(), 1);
        fs::write(source, "//! Another.\r\n").unwrap();
        assert_eq!(faults(), [""; 0]);
    }

    #[test]
    fn a_page_must_have_a_hash_and_sources() {
        let workspace = workspace();
        let (page, folders) = PAGES[0];
        fs::write(workspace.path().join(page), "# Page\n").unwrap();
        let error = faults(workspace.path()).unwrap_err().to_string();
        assert_eq!(error, "docs/format.md has no hash");
        fs::remove_dir_all(workspace.path().join(folders[0])).unwrap();
        assert!(hash(workspace.path(), folders).is_err());
    }
}
