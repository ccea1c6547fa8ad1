//! Tasks as child processes of this one.
//!
//! A child stops after its step, with a checkpoint, when its stdin ends: so it does when
//! this process is told to stop, and when it is killed. One child at a time talks on
//! our stderr; several write to `log.txt` in the folders of their points, and share the
//! processors out evenly, unless the settings or `RAYON_NUM_THREADS` say how many
//! threads each has.

use std::collections::VecDeque;
use std::env;
use std::fs::{self, File};
use std::path::PathBuf;
use std::process::{Child, ChildStdin, Command, ExitStatus, Stdio};
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::{available_parallelism, sleep};
use std::time::Duration;

use anyhow::{Context, Result};

use super::{Failure, Task};
use crate::exit::{Ended, INTERRUPTED};
use crate::output::tell;

/// How often children are looked at.
const POLL: Duration = Duration::from_millis(20);
/// Says how many threads a program has.
const THREADS: &str = "RAYON_NUM_THREADS";

/// A task that has a child.
struct Running<'a> {
    task: &'a Task,
    /// Commands that have ended well.
    ended: usize,
    child: Child,
    /// Open as long as the child shall work.
    stdin: Option<ChildStdin>,
}

/// Runs tasks, `jobs` at once; gives those that failed.
pub(super) fn run(
    tasks: &[&Task],
    jobs: usize,
    stop: &AtomicBool,
    progress: &mut dyn FnMut() -> Result<()>,
) -> Result<Vec<Failure>> {
    let mut waiting: VecDeque<(usize, &Task)> = (1..).zip(tasks.iter().copied()).collect();
    let mut running: Vec<Running> = Vec::new();
    let mut failures = Vec::new();
    loop {
        let stopping = stop.load(Ordering::Relaxed);
        while !stopping && running.len() < jobs {
            let Some((number, task)) = waiting.pop_front() else { break };
            tell(format_args!("point {number} of {}: {}", tasks.len(), task.name));
            running.push(Running::start(task, 0, jobs)?);
        }
        if running.is_empty() {
            break;
        }
        sleep(POLL);
        let mut still = Vec::new();
        for mut run in running {
            if stopping {
                run.stdin = None;
            }
            match run.child.try_wait()? {
                None => still.push(run),
                Some(status) if !status.success() => failures.push(run.failure(status, jobs)),
                Some(_) if run.ended + 1 < run.task.commands.len() && !stopping => {
                    still.push(Running::start(run.task, run.ended + 1, jobs)?);
                }
                Some(_) => progress()?,
            }
        }
        running = still;
    }
    match stop.load(Ordering::Relaxed) {
        true => Err(interrupted().into()),
        false => Ok(failures),
    }
}

/// What a stopped command ends with.
pub(super) fn interrupted() -> Ended {
    Ended { text: "interrupted; the same command continues".into(), code: INTERRUPTED }
}

impl<'a> Running<'a> {
    /// Starts one command of a task.
    fn start(task: &'a Task, ended: usize, jobs: usize) -> Result<Self> {
        let program = env::current_exe().context("cannot find the program itself")?;
        let mut command = Command::new(program);
        command.args(&task.commands[ended]).stdin(Stdio::piped()).stdout(Stdio::null());
        if jobs > 1 {
            command.stderr(log(task)?);
            if env::var_os(THREADS).is_none() {
                let threads = available_parallelism().map_or(1, usize::from) / jobs;
                command.env(THREADS, threads.max(1).to_string());
            }
        }
        let mut child = command.spawn().context("cannot start the program again")?;
        let stdin = child.stdin.take();
        Ok(Self { task, ended, child, stdin })
    }

    /// What became of a task whose child has ended badly.
    fn failure(&self, status: ExitStatus, jobs: usize) -> Failure {
        let command = self.task.commands[self.ended].first().map_or("", String::as_str);
        let log = match jobs {
            1 => String::new(),
            _ => format!("; see {}", log_file(self.task).display()),
        };
        // A child that a signal has ended has no code.
        let code = status.code().and_then(|code| u8::try_from(code).ok()).unwrap_or(1);
        let reason = format!("`ec2t {command}` failed ({status}){log}");
        Failure { name: self.task.name.clone(), reason, code }
    }
}

/// The end of a task's log.
fn log(task: &Task) -> Result<File> {
    let path = log_file(task);
    let name = || format!("cannot write {}", path.display());
    fs::create_dir_all(&task.folder).with_context(name)?;
    File::options().create(true).append(true).open(&path).with_context(name)
}

fn log_file(task: &Task) -> PathBuf {
    task.folder.join("log.txt")
}
