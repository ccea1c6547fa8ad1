//! At most one pipeline at a time works in a run's folder.
//!
//! The lock is the operating system's, on the file `pipeline.lock`, so it ends
//! with the process that holds it, however that ends. The file says which
//! process that is, or was; it is never deleted.

use std::fs::{self, File, TryLockError};
use std::io::Write;
use std::path::Path;
use std::process::{self, Stdio};

use anyhow::{Context, Result, bail};

/// Held until dropped, and by every child that was given [`Lock::share`].
pub(crate) struct Lock(File);

impl Lock {
    pub(crate) fn take(run: &Path) -> Result<Self> {
        let path = run.join("pipeline.lock");
        Self::try_take(&path).with_context(|| path.display().to_string())
    }

    fn try_take(path: &Path) -> Result<Self> {
        let mut file = File::options().create(true).truncate(false).write(true).open(path)?;
        match file.try_lock() {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => {
                let holder = fs::read_to_string(path).unwrap_or_default();
                bail!("in use by another pipeline (process {}, or its child)", holder.trim());
            }
            Err(TryLockError::Error(error)) => return Err(error.into()),
        }
        file.set_len(0)?;
        writeln!(file, "{}", process::id())?;
        Ok(Self(file))
    }

    /// The lock as a child's standard input, which none of them reads: so a
    /// child that outlives a killed pipeline keeps the folder to itself.
    pub(crate) fn share(&self) -> Result<Stdio> {
        Ok(self.0.try_clone()?.into())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_held_lock_is_refused_and_a_dead_one_taken_over() {
        let run = tempfile::tempdir().unwrap();
        fs::write(run.path().join("pipeline.lock"), "4194305\n").unwrap();
        let held = Lock::take(run.path()).expect("nobody holds it");
        let refusal = format!("{:#}", Lock::take(run.path()).err().expect("it is held"));
        assert!(refusal.contains(&format!("process {}", process::id())), "{refusal}");
        drop(held);
        // A process that another test is starting has a copy until it begins.
        let taken = (0..500).any(|_| {
            let free = Lock::take(run.path()).is_ok();
            if !free {
                std::thread::sleep(std::time::Duration::from_millis(10));
            }
            free
        });
        assert!(taken, "it was let go");
    }
}
