//! What one point takes: a folder, what lies in it beforehand, and commands.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};

use crate::output::{remove_file, write_file};

/// What one point takes.
pub(crate) struct Task {
    /// Name of the point.
    pub(crate) name: String,
    /// Its folder.
    pub(crate) folder: PathBuf,
    /// The words after `ec2t` of its commands, one after the other.
    pub(crate) commands: Vec<Vec<String>>,
    /// Files in the folder that are there once all commands have ended well.
    pub(crate) outputs: &'static [&'static str],
}

/// What a file of a task is to hold.
pub(crate) enum Content {
    Bytes(Vec<u8>),
    /// The bytes of this file, which shares them where the file system can do that.
    Same(PathBuf),
}

impl Task {
    /// Whether there is nothing left to do.
    pub(crate) fn is_finished(&self) -> bool {
        are_there(&self.folder, self.outputs)
    }

    /// Puts a file into the folder. A task whose files have changed is not finished.
    pub(crate) fn put(&self, file: &str, content: &Content) -> Result<()> {
        let path = self.folder.join(file);
        let old = fs::read(&path).ok();
        match content {
            Content::Bytes(bytes) if old.as_ref() == Some(bytes) => Ok(()),
            Content::Bytes(bytes) => {
                self.reopen()?;
                write_file(&path, bytes)
            }
            Content::Same(from) => {
                let bytes =
                    fs::read(from).with_context(|| format!("cannot read {}", from.display()))?;
                if old.as_ref() == Some(&bytes) {
                    return Ok(());
                }
                self.reopen()?;
                share(from, &path, &bytes)
            }
        }
    }

    /// Makes a finished task one that has to be run.
    pub(crate) fn reopen(&self) -> Result<()> {
        match self.outputs.last() {
            Some(file) => remove_file(&self.folder.join(file)),
            None => Ok(()),
        }
    }
}

/// Whether a folder has all these files.
pub(crate) fn are_there(folder: &Path, files: &[&str]) -> bool {
    files.iter().all(|file| folder.join(file).exists())
}

/// Gives a file a second place without writing its bytes again, where the file system
/// can do that. Every program of ours replaces files whole, so neither changes the other.
fn share(from: &Path, to: &Path, bytes: &[u8]) -> Result<()> {
    remove_file(to)?;
    let folder = to.parent().unwrap_or(Path::new("."));
    fs::create_dir_all(folder).with_context(|| folder.display().to_string())?;
    match fs::hard_link(from, to) {
        Ok(()) => Ok(()),
        Err(_) => write_file(to, bytes),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn task(folder: &Path) -> Task {
        let (name, folder) = ("point".to_owned(), folder.to_owned());
        Task { name, folder, commands: Vec::new(), outputs: &["a", "b"] }
    }

    #[test]
    fn a_task_is_finished_when_all_its_outputs_are_there() {
        let folder = tempfile::tempdir().unwrap();
        let task = task(folder.path());
        assert!(!task.is_finished());
        fs::write(folder.path().join("a"), "").unwrap();
        assert!(!task.is_finished());
        fs::write(folder.path().join("b"), "").unwrap();
        assert!(task.is_finished());
        task.reopen().unwrap();
        assert!(!task.is_finished());
    }

    #[test]
    fn other_settings_make_a_finished_task_unfinished() {
        let folder = tempfile::tempdir().unwrap();
        let task = task(folder.path());
        let finish = || ["a", "b"].map(|file| fs::write(folder.path().join(file), "").unwrap());
        for (text, changes) in [("old", true), ("old", false), ("new", true)] {
            finish();
            task.put("config.toml", &Content::Bytes(text.into())).unwrap();
            assert_eq!(task.is_finished(), !changes, "{text}");
            finish();
            let source = folder.path().join("source");
            write_file(&source, text.as_bytes()).unwrap();
            task.put("c/shared", &Content::Same(source)).unwrap();
            assert_eq!(task.is_finished(), !changes, "{text}");
        }
    }

    #[test]
    fn a_file_at_a_second_place_outlives_the_first() {
        let folder = tempfile::tempdir().unwrap();
        let [from, to] = ["a", "b/c"].map(|name| folder.path().join(name));
        for text in ["old", "new"] {
            write_file(&from, text.as_bytes()).unwrap();
            share(&from, &to, text.as_bytes()).unwrap();
            share(&from, &to, text.as_bytes()).unwrap();
            assert_eq!(fs::read_to_string(&to).unwrap(), text);
        }
        write_file(&from, b"newer").unwrap();
        assert_eq!(fs::read_to_string(&to).unwrap(), "new");
    }
}
