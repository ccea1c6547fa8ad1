//! A Slurm cluster of one node: three daemons, which end with the value that started them.
//!
//! Everything of theirs is in one folder, and their ports are not the usual ones, so that
//! a cluster which this machine may belong to is left alone.

use std::fs;
use std::io::Read;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::thread::{available_parallelism, sleep};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};

use super::is_installed;
use crate::shell;

/// Programs, and the packages that have them.
const PROGRAMS: [&str; 5] = ["munged", "slurmctld", "slurmd", "sbatch", "squeue"];
const PACKAGES: [&str; 2] = ["slurm-wlm", "munge"];
/// Length of the key that daemons know each other by.
const KEY_LEN: u64 = 1024;
/// A cluster is ready in less.
const PATIENCE: Duration = Duration::from_secs(60);

/// Installs what is missing.
pub(super) fn install() -> Result<()> {
    if PROGRAMS.iter().all(|program| is_installed(program)) {
        return Ok(());
    }
    ensure!(is_installed("apt-get"), "there is no Slurm, and no apt-get to install it with");
    let mut update = Command::new("apt-get");
    update.args(["update", "-qq"]);
    shell::run(update)?;
    let mut install = Command::new("apt-get");
    install.args(["install", "-qq", "--yes", "--no-install-recommends"]).args(PACKAGES);
    install.env("DEBIAN_FRONTEND", "noninteractive");
    shell::run(install)
}

/// Running daemons.
pub(super) struct Cluster {
    folder: PathBuf,
    /// In the order in which they were started.
    daemons: Vec<Child>,
}

impl Cluster {
    /// Starts the daemons, and waits until the node takes jobs.
    pub(super) fn start(folder: &Path) -> Result<Self> {
        let folder = folder.join("cluster");
        for name in ["state", "spool"] {
            fs::create_dir_all(folder.join(name))?;
        }
        let mut key = Vec::new();
        fs::File::open("/dev/urandom")?.take(KEY_LEN).read_to_end(&mut key)?;
        write_secret(&folder.join("key"), &key)?;
        fs::write(folder.join("slurm.conf"), settings(&folder, &host()?))?;
        let mut cluster = Self { folder, daemons: Vec::new() };
        let path = |name: &str| cluster.folder.join(name).display().to_string();
        let munged = [
            "--foreground".to_owned(),
            // The folder is ours alone, but lies in one where others may write.
            "--force".to_owned(),
            format!("--key-file={}", path("key")),
            format!("--socket={}", path("munge.socket")),
            format!("--pid-file={}", path("munged.pid")),
            format!("--seed-file={}", path("munged.seed")),
        ];
        cluster.spawn("munged", &munged)?;
        wait_for("munged", || cluster.folder.join("munge.socket").exists())?;
        for daemon in ["slurmctld", "slurmd"] {
            cluster.spawn(daemon, &["-D".to_owned()])?;
        }
        wait_for("a node", || cluster.is_ready())?;
        Ok(cluster)
    }

    /// A program that knows this cluster.
    pub(super) fn command(&self, program: &Path) -> Command {
        let mut command = Command::new(program);
        command.env("SLURM_CONF", self.folder.join("slurm.conf"));
        command
    }

    fn spawn(&mut self, program: &str, words: &[String]) -> Result<()> {
        let log = fs::File::create(self.folder.join(format!("{program}.log")))?;
        let mut command = self.command(Path::new(program));
        command.args(words).stdin(Stdio::null()).stdout(log.try_clone()?).stderr(log);
        let child = command.spawn().with_context(|| format!("cannot start {program}"))?;
        self.daemons.push(child);
        Ok(())
    }

    fn is_ready(&self) -> bool {
        let mut sinfo = self.command(Path::new("sinfo"));
        let output = sinfo.args(["--noheader", "--format=%T"]).output();
        output.is_ok_and(|output| output.stdout.trim_ascii() == b"idle")
    }
}

impl Drop for Cluster {
    /// Asks the daemons to end, the last one first, and waits for them.
    fn drop(&mut self) {
        for daemon in self.daemons.iter_mut().rev() {
            let asked = Command::new("kill").arg(daemon.id().to_string()).status();
            if !asked.is_ok_and(|status| status.success()) {
                // It has ended already, or can't be asked.
                let _ = daemon.kill();
            }
            let _ = daemon.wait();
        }
    }
}

fn wait_for(what: &str, is_there: impl Fn() -> bool) -> Result<()> {
    let begun = Instant::now();
    while !is_there() {
        ensure!(begun.elapsed() < PATIENCE, "no sign of {what} after {} s", PATIENCE.as_secs());
        sleep(Duration::from_millis(100));
    }
    Ok(())
}

/// This machine's name, which Slurm knows it by.
fn host() -> Result<String> {
    let output = Command::new("hostname").arg("-s").output().context("cannot start hostname")?;
    ensure!(output.status.success(), "hostname failed ({})", output.status);
    Ok(String::from_utf8(output.stdout)?.trim().to_owned())
}

/// Writes a file that nobody else can read.
fn write_secret(path: &Path, bytes: &[u8]) -> Result<()> {
    fs::write(path, bytes)?;
    #[cfg(unix)]
    {
        use std::os::unix::fs::PermissionsExt;
        fs::set_permissions(path, fs::Permissions::from_mode(0o400))?;
    }
    Ok(())
}

/// The text of `slurm.conf`.
fn settings(folder: &Path, host: &str) -> String {
    let folder = folder.display();
    let cpus = available_parallelism().map_or(1, usize::from);
    format!(
        "ClusterName=ec2t
SlurmctldHost={host}(127.0.0.1)
SlurmctldPort=26817
SlurmdPort=26818
AuthType=auth/munge
AuthInfo=socket={folder}/munge.socket
CredType=cred/munge
SlurmUser=root
SlurmdUser=root
StateSaveLocation={folder}/state
SlurmdSpoolDir={folder}/spool
SlurmctldPidFile={folder}/slurmctld.pid
SlurmdPidFile={folder}/slurmd.pid
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
SelectType=select/cons_tres
SelectTypeParameters=CR_CPU
ReturnToService=2
NodeName={host} NodeAddr=127.0.0.1 CPUs={cpus} State=UNKNOWN
PartitionName=all Nodes={host} Default=YES MaxTime=INFINITE State=UP
"
    )
}
