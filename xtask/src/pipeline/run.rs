//! Runs the stages that are not up to date, one `ec2t` command each.
//!
//! Ctrl-C reaches the child directly, as it shares the terminal; the pipeline
//! waits for it to save its work and then stops itself. A stage starts anew
//! (`--restart`) where older work belongs to other settings or inputs, or where
//! `--from` says so.

use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitStatus};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Instant, SystemTime};
use std::{fs, io};

use anyhow::{Context, Result, bail};

use super::clock::timestamp;
use super::config::Config;
use super::lock::Lock;
use super::stage::Stage;
use super::stamp::{Inputs, Stamp, State};
use crate::shell;

/// The exit code of a program that was stopped by Ctrl-C: 128 + SIGINT.
pub(crate) const INTERRUPTED_CODE: u8 = 130;

static INTERRUPTED: AtomicBool = AtomicBool::new(false);

/// One run of a pipeline, fully decided.
pub(crate) struct Run {
    /// The run's folder, `runs/<name>`.
    pub(crate) folder: PathBuf,
    pub(crate) config: Config,
    pub(crate) data_dir: Option<PathBuf>,
    pub(crate) checkpoints: Checkpoints,
    /// The stages up to the last one wanted.
    pub(crate) stages: &'static [Stage],
    /// Index of the first stage to start again in any case.
    pub(crate) from: usize,
}

/// Checkpoints that the user brings.
#[derive(Clone, clap::Args)]
pub(crate) struct Checkpoints {
    /// Start from this checkpoint instead of pretraining
    #[arg(long, value_name = "FILE")]
    init: Option<PathBuf>,
    /// Train on from --init, the checkpoint of a smaller network; ARCH is its name or its
    /// arch.json [default: that of the run which it is from]
    #[arg(long, value_name = "ARCH", num_args = 0..=1, requires = "init")]
    grow: Option<Option<String>>,
    /// Checkpoint of the teacher, where the settings give it a share of the loss
    /// [default: the run's float network]
    #[arg(long, value_name = "FILE")]
    teacher: Option<PathBuf>,
}

impl Checkpoints {
    /// Those that a stage takes, with their flags. What is not trained has no teacher.
    pub(crate) fn of(&self, stage: &Stage) -> impl Iterator<Item = (&'static str, &Path)> {
        let init = self.init.as_deref().filter(|_| stage.init);
        let taught = stage.teacher && (init.is_none() || self.grow.is_some());
        let teacher = self.teacher.as_deref().filter(|_| taught);
        [("--init", init), ("--teacher", teacher)]
            .into_iter()
            .filter_map(|(flag, file)| Some((flag, file?)))
    }

    /// `--grow` and its value, for the stage that takes them.
    pub(crate) fn growth(&self, stage: &Stage) -> Vec<&str> {
        match &self.grow {
            Some(arch) if stage.init => ["--grow"].into_iter().chain(arch.as_deref()).collect(),
            _ => Vec::new(),
        }
    }
}

/// How a run, or one of its stages, ended.
#[derive(PartialEq)]
pub(crate) enum Outcome {
    /// All is done.
    Finished,
    /// A stage failed with this exit code.
    Failed(u8),
    /// The user stopped it.
    Interrupted,
}

impl Run {
    /// Brings every stage up to date.
    pub(crate) fn execute(&self, ec2t: &Path, lock: &Lock) -> Result<Outcome> {
        ctrlc::set_handler(|| INTERRUPTED.store(true, Ordering::Relaxed))?;
        for (index, stage) in self.stages.iter().enumerate() {
            let inputs = stage.inputs(&self.folder, &self.config, &self.checkpoints)?;
            let state = self.state(index, &inputs)?;
            announce(stage, &state);
            if !matches!(state, State::Done(_)) {
                let outcome = self.execute_stage(stage, &state, inputs, ec2t, lock)?;
                if outcome != Outcome::Finished {
                    return Ok(outcome);
                }
            }
            if INTERRUPTED.load(Ordering::Relaxed) {
                return Ok(Outcome::Interrupted);
            }
        }
        for file in self.stages.last().map_or(&[][..], |stage| stage.writes) {
            println!("{}", self.folder.join(file).display());
        }
        Ok(Outcome::Finished)
    }

    /// Prints what [`Run::execute`] would run. A stage counts as outdated if it
    /// reads what an earlier one would write, although that may turn out equal.
    pub(crate) fn preview(&self) -> Result<()> {
        let mut rewritten: Vec<&str> = Vec::new();
        for (index, stage) in self.stages.iter().enumerate() {
            let state = match stage.reads.iter().find(|file| rewritten.contains(file)) {
                None => {
                    let inputs = stage.inputs(&self.folder, &self.config, &self.checkpoints)?;
                    self.state(index, &inputs)?
                }
                Some(_) if !self.folder.join(stage.stamp_file()).exists() => State::New,
                Some(file) => State::Outdated { why: format!("{file} is written anew") },
            };
            announce(stage, &state);
            if !matches!(state, State::Done(_)) {
                println!("$ {}", shell::line(self.command(stage, &state)));
                rewritten.extend(stage.writes);
            }
        }
        Ok(())
    }

    fn state(&self, index: usize, inputs: &Inputs) -> Result<State> {
        if index >= self.from {
            return Ok(State::Outdated { why: "--from".to_owned() });
        }
        self.stages[index].state(&self.folder, inputs)
    }

    fn command(&self, stage: &Stage, state: &State) -> Vec<OsString> {
        let mut words: Vec<OsString> = vec!["ec2t".into()];
        words.extend(stage.command.iter().map(OsString::from));
        words.extend(["--run-dir".into(), self.folder.clone().into()]);
        if let Some(folder) = self.data_dir.as_ref().filter(|_| stage.data_dir) {
            words.extend(["--data-dir".into(), folder.into()]);
        }
        for (flag, file) in self.checkpoints.of(stage) {
            words.extend([flag.into(), file.into()]);
        }
        words.extend(self.checkpoints.growth(stage).iter().map(OsString::from));
        if stage.checkpoint.is_some() && matches!(state, State::Outdated { .. }) {
            words.push("--restart".into());
        }
        words
    }

    /// Runs one stage, with its stamp written before and after.
    fn execute_stage(
        &self,
        stage: &Stage,
        state: &State,
        inputs: Inputs,
        ec2t: &Path,
        lock: &Lock,
    ) -> Result<Outcome> {
        let words = self.command(stage, state);
        let mut stamp = Stamp {
            inputs,
            seconds: if let State::Interrupted { seconds } = state { *seconds } else { 0.0 },
            finished: None,
        };
        let stamp_file = self.folder.join(stage.stamp_file());
        if matches!(state, State::Outdated { .. }) {
            self.forget_checkpoint(stage)?;
        }
        stamp.write(&stamp_file)?;

        println!("$ {}", shell::line(&words));
        let begun = Instant::now();
        let mut child = Command::new(ec2t);
        let status = child.args(&words[1..]).stdin(lock.share()?).status();
        let status = status.with_context(|| format!("cannot start {}", ec2t.display()))?;
        stamp.seconds += begun.elapsed().as_secs_f64();

        if status.success() {
            if let Some(file) = stage.missing(&self.folder) {
                bail!("{}: ended well, but did not write {file}", stage.name);
            }
            stamp.finished = Some(timestamp(SystemTime::now()));
            println!("{}: done in {:.1} s", stage.name, stamp.seconds);
        }
        stamp.write(&stamp_file)?;
        Ok(outcome(stage, status))
    }

    /// Removes work that must not be gone on with. The child would do so too,
    /// but it may be killed first, and the new stamp would then vouch for it.
    fn forget_checkpoint(&self, stage: &Stage) -> Result<()> {
        let Some(file) = stage.checkpoint.map(|file| self.folder.join(file)) else { return Ok(()) };
        match fs::remove_file(&file) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => {
                Err(error).with_context(|| file.display().to_string())
            }
            _ => Ok(()),
        }
    }
}

/// Says how a stage stands, unless it is simply the next one to run.
fn announce(stage: &Stage, state: &State) {
    let name = stage.name;
    match state {
        State::Done(Stamp { seconds, finished, .. }) => {
            let date = finished.as_deref().and_then(|time| time.get(..10)).unwrap_or_default();
            println!("{name}: up to date ({seconds:.1} s on {date})");
        }
        State::Interrupted { .. } => println!("{name}: not finished last time, going on"),
        State::Outdated { why } => println!("{name}: starting again ({why})"),
        State::New => {}
    }
}

fn outcome(stage: &Stage, status: ExitStatus) -> Outcome {
    let code = exit_code(status);
    if code == 0 {
        Outcome::Finished
    } else if code == INTERRUPTED_CODE || INTERRUPTED.load(Ordering::Relaxed) {
        Outcome::Interrupted
    } else {
        eprintln!("error: {} failed ({status})", stage.name);
        Outcome::Failed(code)
    }
}

/// The exit code as a shell gives it: 128 + the signal for a killed process.
fn exit_code(status: ExitStatus) -> u8 {
    #[cfg(unix)]
    let signal = std::os::unix::process::ExitStatusExt::signal(&status).map(|signal| 128 + signal);
    #[cfg(not(unix))]
    let signal = None;
    let code = status.code().or(signal).unwrap_or(1);
    u8::try_from(code).unwrap_or(1)
}
