//! Independent points, each a run of its own, and the engines that train them.
//!
//! A sweep and a search for the best scaling consist of points: folders with settings,
//! whose stages are commands of this program. A [`Task`] is what one point takes. An
//! engine runs the tasks that have not been finished, in any order and any number at
//! once; what comes of them is in their folders.
//!
//! | engine | runs a task as |
//! |---|---|
//! | [`local`] | child processes, `--jobs` tasks at once |
//! | [`slurm`] | one task of a job array |
//!
//! A task is finished when the files that its commands write are there. So a command
//! that is given again, after it was stopped or after some tasks have failed, runs what
//! is missing and nothing else.

mod local;
mod slurm;
mod task;

use std::num::NonZeroUsize;
use std::path::Path;
use std::sync::atomic::AtomicBool;

use anyhow::{Result, anyhow};
use clap::{Args, ValueEnum};

use crate::exit::Ended;
use crate::output::tell;
pub(crate) use task::{Content, Task, are_there};

/// Who trains the points.
#[derive(Args)]
#[command(next_help_heading = "Engine")]
pub(crate) struct EngineArgs {
    /// Who trains the points.
    #[arg(long, value_enum, default_value = "local")]
    engine: Kind,
    /// Points that are trained at once, at most [default: 1; all with slurm]
    #[arg(long, value_name = "NUMBER")]
    jobs: Option<NonZeroUsize>,
    /// Arguments for sbatch, such as "--partition=gpu --time=2:00:00".
    #[arg(long, value_name = "ARGS", allow_hyphen_values = true)]
    slurm_args: Option<String>,
}

#[derive(Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Kind {
    /// Processes of this machine.
    Local,
    /// A job array of a Slurm cluster whose nodes have the same folders.
    Slurm,
}

/// A task that failed.
struct Failure {
    name: String,
    /// What is known about it.
    reason: String,
    code: u8,
}

impl EngineArgs {
    /// Whether commands have a stdin that ends when they have to stop.
    pub(crate) fn attends(&self) -> bool {
        self.engine == Kind::Local
    }

    /// Waits for work that an earlier command has left in `place`, the folder of the
    /// engine's own files, before anything there may change.
    ///
    /// # Errors
    /// Where the cluster can't be asked, or `stop` is set.
    pub(crate) fn settle(&self, place: &Path, stop: &AtomicBool) -> Result<()> {
        match self.engine {
            Kind::Local => Ok(()),
            Kind::Slurm => slurm::settle(place, stop),
        }
    }

    /// Runs all tasks that are not finished; `progress` is called whenever some more are.
    ///
    /// # Errors
    /// Where tasks have failed, after all others have ended, or `stop` is set.
    pub(crate) fn run(
        &self,
        tasks: &[Task],
        place: &Path,
        stop: &AtomicBool,
        mut progress: impl FnMut() -> Result<()>,
    ) -> Result<()> {
        let open: Vec<&Task> = tasks.iter().filter(|task| !task.is_finished()).collect();
        if open.len() < tasks.len() {
            let finished = tasks.len() - open.len();
            tell(format_args!("{finished} of {} points are finished already", tasks.len()));
            progress()?;
        }
        if open.is_empty() {
            return Ok(());
        }
        let failures = match self.engine {
            Kind::Local => {
                let jobs = self.jobs.map_or(1, NonZeroUsize::get);
                local::run(&open, jobs, stop, &mut progress)?
            }
            Kind::Slurm => {
                let array =
                    slurm::Array { place, jobs: self.jobs, args: self.slurm_args.as_deref() };
                array.run(&open, stop, &mut progress)?
            }
        };
        conclude(&failures)
    }
}

/// An error that names all tasks that failed, with the exit code of the first.
fn conclude(failures: &[Failure]) -> Result<()> {
    let Some(first) = failures.first() else { return Ok(()) };
    let lines =
        failures.iter().map(|failure| format!("point {}: {}", failure.name, failure.reason));
    let lines: Vec<String> = lines.collect();
    Err(anyhow!(Ended { text: lines.join("\n"), code: first.code }))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_failure_is_named() {
        let failure =
            |name: &str, code| Failure { name: name.into(), reason: "it broke".into(), code };
        assert!(conclude(&[]).is_ok());
        let error = conclude(&[failure("a", 3), failure("b", 2)]).unwrap_err();
        assert_eq!(error.to_string(), "point a: it broke\npoint b: it broke");
        assert_eq!(error.downcast_ref::<Ended>().unwrap().code, 3);
    }
}
