//! Tasks as a job array of a Slurm cluster.
//!
//! The array's script and logs are in a folder of the sweep or search, and its number in
//! `job.json` there, as long as it may be at work: whoever asks for the same points again
//! waits for it first, and then submits what is missing. A task whose node is taken away
//! goes on from its checkpoint, here or in the next array.
//!
//! All that is asked of Slurm is `sbatch`, `squeue` and, for the reason of a failure where
//! the cluster keeps accounts, `sacct`. Nodes need the program and the folders of the
//! run and the images at the same places.

use std::env;
use std::fs;
use std::num::NonZeroUsize;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::sleep;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use serde::{Deserialize, Serialize};

use super::{Failure, Task};
use crate::exit::{BadFile, Ended, INTERRUPTED};
use crate::output::{remove_file, tell, write_file, write_json};
use crate::shell;

/// Time between two questions, at first and at most: it doubles.
const POLL: [Duration; 2] = [Duration::from_secs(1), Duration::from_secs(30)];
/// How often `stop` is looked at meanwhile.
const TICK: Duration = Duration::from_millis(100);
/// Questions without an answer, one after the other, before the cluster is given up.
const PATIENCE: u32 = 10;

/// How to submit.
pub(super) struct Array<'a> {
    /// Folder of script, logs and `job.json`.
    pub(super) place: &'a Path,
    /// Tasks that run at once, at most.
    pub(super) jobs: Option<NonZeroUsize>,
    /// For sbatch, as a user would type them.
    pub(super) args: Option<&'a str>,
}

/// `job.json`.
#[derive(Serialize, Deserialize)]
struct Job {
    /// Number of the array.
    id: String,
}

/// Waits for the array that an earlier command has submitted, if there is one.
pub(super) fn settle(place: &Path, stop: &AtomicBool) -> Result<()> {
    let path = job_file(place);
    let Ok(text) = fs::read_to_string(&path) else { return Ok(()) };
    let job: Job = serde_json::from_str(&text)
        .map_err(|error| BadFile(format!("{}: {error}", path.display())))?;
    tell(format_args!("waiting for job {}, which was submitted before", job.id));
    job.wait(stop, &mut || Ok(()))?;
    remove_file(&path)
}

impl Array<'_> {
    /// Submits tasks and waits for them; gives those that failed.
    pub(super) fn run(
        &self,
        tasks: &[&Task],
        stop: &AtomicBool,
        progress: &mut dyn FnMut() -> Result<()>,
    ) -> Result<Vec<Failure>> {
        let job = self.submit(tasks)?;
        let path = job_file(self.place);
        write_json(&path, &job)?;
        tell(format_args!("job {}: {} points submitted", job.id, tasks.len()));
        let mut finished = 0;
        job.wait(stop, &mut || {
            let now = tasks.iter().filter(|task| task.is_finished()).count();
            match now == finished {
                true => Ok(()),
                false => {
                    finished = now;
                    tell(format_args!("{now} of {} points are finished", tasks.len()));
                    progress()
                }
            }
        })?;
        remove_file(&path)?;
        let states = job.states();
        let failed = (0..).zip(tasks).filter(|(_, task)| !task.is_finished());
        Ok(failed.map(|(number, task)| self.failure(&job, number, task, &states)).collect())
    }

    fn submit(&self, tasks: &[&Task]) -> Result<Job> {
        let program = env::current_exe().context("cannot find the program itself")?;
        let script = self.place.join("array.sh");
        write_file(&script, script_text(&program.to_string_lossy(), tasks).as_bytes())?;
        let mut command = Command::new("sbatch");
        let limit = self.jobs.map(|jobs| format!("%{jobs}")).unwrap_or_default();
        command.args(["--parsable", "--job-name=ec2t"]);
        command.arg(format!("--array=0-{}{limit}", tasks.len() - 1));
        command.arg(format!("--output={}", self.place.join("%A_%a.log").display()));
        command.args(self.args.unwrap_or_default().split_whitespace()).arg(&script);
        let answer = ask(&mut command)?;
        // NUMBER, or NUMBER;CLUSTER
        let id = answer.split(';').next().unwrap_or_default().trim().to_owned();
        match id.is_empty() {
            true => bail!("sbatch gave no number of a job"),
            false => Ok(Job { id }),
        }
    }

    fn failure(&self, job: &Job, number: usize, task: &Task, states: &str) -> Failure {
        let name = format!("{}_{number}", job.id);
        let log = self.place.join(format!("{name}.log"));
        let state = states.lines().filter_map(|line| line.split_once('|'));
        let state = state.filter(|(id, _)| *id == name).map(|(_, state)| state).next_back();
        let state = state.unwrap_or("it has not finished");
        let reason = format!("job {name}: {state}; see {}", log.display());
        Failure { name: task.name.clone(), reason, code: 1 }
    }
}

impl Job {
    /// Waits until no task of the array is left; `progress` is called now and then.
    fn wait(&self, stop: &AtomicBool, progress: &mut dyn FnMut() -> Result<()>) -> Result<()> {
        let (mut pause, mut silent, mut told) = (POLL[0], 0, String::new());
        loop {
            match self.queue() {
                Ok(states) if states.is_empty() => return progress(),
                Ok(states) => {
                    silent = 0;
                    if states != told {
                        tell(format_args!("job {}: {states}", self.id));
                        (told, pause) = (states, POLL[0]);
                    }
                }
                Err(error) if silent == PATIENCE => return Err(error),
                Err(_) => silent += 1,
            }
            progress()?;
            let until = Instant::now() + pause;
            while Instant::now() < until {
                if stop.load(Ordering::Relaxed) {
                    return Err(self.left_alone().into());
                }
                sleep(TICK);
            }
            pause = (2 * pause).min(POLL[1]);
        }
    }

    /// What the tasks that are left do, in words; nothing where none is left.
    fn queue(&self) -> Result<String> {
        let mut command = Command::new("squeue");
        command.args(["--noheader", "--array", "--format=%T", "--jobs", &self.id]);
        match ask(&mut command) {
            // What it says of a job that ended some time ago.
            Err(error) if format!("{error:#}").contains("Invalid job id") => Ok(String::new()),
            answer => Ok(tally(&answer?)),
        }
    }

    /// How tasks have ended, `ID|STATE` in each line; nothing where no accounts are kept.
    fn states(&self) -> String {
        let mut command = Command::new("sacct");
        command.args(["--allocations", "--noheader", "--parsable2", "--format=JobID,State"]);
        ask(command.args(["--jobs", &self.id])).unwrap_or_default()
    }

    fn left_alone(&self) -> Ended {
        let id = &self.id;
        let text = format!(
            "job {id} goes on; the same command waits for it again, `scancel {id}` ends it"
        );
        Ended { text, code: INTERRUPTED }
    }
}

fn job_file(place: &Path) -> PathBuf {
    place.join("job.json")
}

/// What a command of Slurm prints.
fn ask(command: &mut Command) -> Result<String> {
    let name = command.get_program().to_string_lossy().into_owned();
    let output = command.output().with_context(|| format!("cannot start {name}"))?;
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).trim().to_owned();
    match output.status.success() {
        true => Ok(text(&output.stdout)),
        false => bail!("{name} failed ({}): {}", output.status, text(&output.stderr)),
    }
}

/// How many lines say what: `2 PENDING, 1 RUNNING`.
fn tally(states: &str) -> String {
    let mut counts = std::collections::BTreeMap::new();
    for state in states.lines().map(str::trim).filter(|state| !state.is_empty()) {
        *counts.entry(state).or_insert(0) += 1;
    }
    let words: Vec<String> =
        counts.iter().map(|(state, count)| format!("{count} {state}")).collect();
    words.join(", ")
}

/// A script that runs the commands of the task with the array's index.
fn script_text(program: &str, tasks: &[&Task]) -> String {
    let mut text = "#!/bin/sh\nset -e\ncase \"$SLURM_ARRAY_TASK_ID\" in\n".to_owned();
    for (number, task) in tasks.iter().enumerate() {
        text += &format!("{number})\n");
        for command in &task.commands {
            let words = command.iter().map(String::as_str);
            text += &format!("  {}\n", shell::line([program].into_iter().chain(words)));
        }
        text += "  ;;\n";
    }
    text + "esac\n"
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_script_has_a_case_for_each_task() {
        let task = |name: &str| Task {
            name: name.into(),
            folder: name.into(),
            commands: [&["train", "--run-dir", "it's"][..], &["export"]]
                .map(|words| words.iter().map(|&word| word.to_owned()).collect())
                .to_vec(),
            outputs: &[],
        };
        let text = script_text("/bin/ec2t", &[&task("a"), &task("b")]);
        let case = |number| {
            format!("{number})\n  /bin/ec2t train --run-dir 'it'\\''s'\n  /bin/ec2t export\n  ;;\n")
        };
        let head = "#!/bin/sh\nset -e\ncase \"$SLURM_ARRAY_TASK_ID\" in\n";
        assert_eq!(text, format!("{head}{}{}esac\n", case(0), case(1)));
    }

    #[test]
    fn states_are_counted() {
        assert_eq!(tally("PENDING\nRUNNING\nPENDING\n"), "2 PENDING, 1 RUNNING");
        assert_eq!(tally("\n"), "");
    }

    #[test]
    fn a_failed_task_is_found_in_the_accounts() {
        let array = Array { place: Path::new("p"), jobs: None, args: None };
        let (job, outputs) = (Job { id: "12".into() }, &[][..]);
        let (name, folder, commands) = ("a".into(), "a".into(), Vec::new());
        let task = Task { name, folder, commands, outputs };
        let states = "12_0|COMPLETED\n12_1|TIMEOUT";
        let reason = |number, states| array.failure(&job, number, &task, states).reason;
        assert_eq!(reason(1, states), "job 12_1: TIMEOUT; see p/12_1.log");
        assert_eq!(reason(1, ""), "job 12_1: it has not finished; see p/12_1.log");
    }
}
