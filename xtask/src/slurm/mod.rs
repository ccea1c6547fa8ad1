//! `cargo xtask slurm`: a sweep on a real Slurm cluster, of one node that is this machine.
//!
//! Installs Debian's `slurm-wlm` and `munge` where they are not, starts their daemons with
//! settings of their own in a temporary folder ([`cluster`]), and runs a small sweep on the
//! digits. A task of it is cancelled after its first checkpoint; the command has to name it,
//! and the same command again has to go on with it and leave the other alone. The networks
//! must then be those of a sweep without Slurm, byte for byte.
//!
//! Needs to be root on Debian, and is no part of `cargo xtask ci`.

mod cluster;

use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitCode, Output, Stdio};
use std::thread::sleep;
use std::time::{Duration, Instant};
use std::{env, fs};

use anyhow::{Context, Result, bail, ensure};

use crate::pipeline::binary;
use crate::pipeline::config::{self, Config};
use crate::shell;
use cluster::Cluster;

/// Run a small sweep on a Slurm cluster of this machine alone (Debian, as root)
#[derive(clap::Args)]
pub(crate) struct Args {}

/// Short stages, and a checkpoint soon.
const SETTINGS: [&str; 4] = [
    "pretrain.epochs=2",
    "ternarize.epochs=12",
    "ternarize.checkpoint_steps=10",
    "finetune.epochs=1",
];
/// What the sweep compares; its points.
const GAMMA: &str = "0.05,0.6";
const POINTS: [&str; 2] = ["gamma=0.05,init_scale=0.3,seed=1", "gamma=0.6,init_scale=0.3,seed=1"];

/// What is waited for comes in less.
const PATIENCE: Duration = Duration::from_secs(300);

pub(crate) fn run(_: &Args) -> Result<ExitCode> {
    cluster::install()?;
    let ec2t = binary::find()?;
    let folder = tempfile::tempdir()?;
    let cluster = Cluster::start(folder.path())?;
    let check = Check { ec2t, folder: folder.path(), cluster: &cluster };
    check.run()?;
    eprintln!("a cancelled task was taken up again, and gave the same networks");
    Ok(ExitCode::SUCCESS)
}

struct Check<'a> {
    ec2t: PathBuf,
    folder: &'a Path,
    cluster: &'a Cluster,
}

impl Check<'_> {
    fn run(&self) -> Result<()> {
        for run in ["local", "slurm"] {
            self.prepare(run)?;
        }
        shell::run(self.sweep("local", &[]))?;

        let cancelled = self.cancel_a_task()?;
        let said = String::from_utf8_lossy(&cancelled.stderr);
        eprint!("{said}");
        ensure!(cancelled.status.code() == Some(1), "the sweep ended with {}", cancelled.status);
        ensure!(
            said.contains(&format!("point {}: job ", POINTS[0])),
            "the failed point is not named"
        );

        let mut again = self.sweep("slurm", &["--engine=slurm", "--slurm-args=--time=10"]);
        let again = again.output()?;
        let said = String::from_utf8_lossy(&again.stderr);
        eprint!("{said}");
        ensure!(again.status.success(), "the same command failed with {}", again.status);
        ensure!(said.contains("1 of 2 points are finished already"), "too much was run again");
        ensure!(self.logs()?.contains("ternarize: continues at step "), "training began anew");
        self.compare()
    }

    /// A run with its float network.
    fn prepare(&self, run: &str) -> Result<()> {
        let mut config = Config::read(&config::preset_file("digits")?)?;
        SETTINGS.iter().try_for_each(|setting| config.set(setting))?;
        fs::create_dir_all(self.folder.join(run))?;
        fs::write(self.folder.join(run).join("config.toml"), config.text())?;
        for words in [&["data", "prepare"][..], &["scale"], &["train"]] {
            let mut command = self.command();
            command.args(words).args(["--run-dir", run]).stdout(Stdio::null());
            shell::run(command)?;
        }
        Ok(())
    }

    fn command(&self) -> Command {
        let mut command = self.cluster.command(&self.ec2t);
        command.current_dir(self.folder);
        command
    }

    fn sweep(&self, run: &str, words: &[&str]) -> Command {
        let mut command = self.command();
        command.args(["sweep", "--run-dir", run, "--gamma", GAMMA]).args(words);
        command
    }

    /// Runs the sweep, and cancels the task of the first point after its first checkpoint.
    fn cancel_a_task(&self) -> Result<Output> {
        let mut sweep = self.sweep("slurm", &["--engine=slurm", "--jobs=1"]);
        let mut child = sweep.stdout(Stdio::null()).stderr(Stdio::piped()).spawn()?;
        let checkpoint =
            self.folder.join("slurm/sweep").join(POINTS[0]).join("ternarize/last.safetensors");
        let found = wait_for(&mut child, || checkpoint.exists());
        if let Err(error) = found {
            child.kill()?;
            let said = child.wait_with_output()?.stderr;
            bail!("{error}: {}", String::from_utf8_lossy(&said));
        }
        let mut cancel = self.cluster.command(Path::new("scancel"));
        cancel.arg(format!("{}_0", self.job()?));
        shell::run(cancel)?;
        Ok(child.wait_with_output()?)
    }

    /// Number of the job that was submitted.
    fn job(&self) -> Result<String> {
        let text = fs::read_to_string(self.folder.join("slurm/sweep/slurm/job.json"))?;
        let job: serde_json::Value = serde_json::from_str(&text)?;
        Ok(job["id"].as_str().context("a job without a number")?.to_owned())
    }

    /// All that the tasks have said.
    fn logs(&self) -> Result<String> {
        let mut all = String::new();
        for entry in fs::read_dir(self.folder.join("slurm/sweep/slurm"))? {
            let path = entry?.path();
            if path.extension().is_some_and(|extension| extension == "log") {
                all += &fs::read_to_string(path)?;
            }
        }
        Ok(all)
    }

    fn compare(&self) -> Result<()> {
        for point in POINTS {
            let file = |run| self.folder.join(run).join("sweep").join(point).join("model.ec2t");
            let [local, slurm] = ["local", "slurm"].map(|run| fs::read(file(run)));
            ensure!(local? == slurm?, "{point}: the networks differ");
        }
        Ok(())
    }
}

/// Waits until something is so, while a program runs.
fn wait_for(child: &mut Child, is_so: impl Fn() -> bool) -> Result<()> {
    let begun = Instant::now();
    while !is_so() {
        ensure!(child.try_wait()?.is_none(), "the sweep ended too soon");
        ensure!(begun.elapsed() < PATIENCE, "nothing happened in {} s", PATIENCE.as_secs());
        sleep(Duration::from_millis(20));
    }
    Ok(())
}

/// Whether a program is in one of the folders of `PATH`.
fn is_installed(program: &str) -> bool {
    let path = env::var_os("PATH").unwrap_or_default();
    env::split_paths(&path).any(|folder| folder.join(program).exists())
}
