//! `ec2t doctor`: show what the program finds on this machine.

use std::env;
use std::fmt::Write;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Result, bail};
use clap::Args;
use ec2t_data::{DATA_DIR_VAR, Manifest};
use ec2t_kernels::arch::{ISA_VARIABLE, Isa};
use serde::Serialize;

use crate::machine::{Machine, features, instruction_sets};
use crate::output::{print, print_json};
use crate::python;

/// Variables that the program, or what it is built with, looks at.
const VARIABLES: [&str; 6] = [
    ISA_VARIABLE,
    DATA_DIR_VAR,
    python::VARIABLE,
    "RAYON_NUM_THREADS",
    "CUDA_VISIBLE_DEVICES",
    "HTTPS_PROXY",
];

/// What a Python is asked for; absent packages are left out.
const PACKAGES: &str = "\
import sys
from importlib import metadata
print('python', sys.version.split()[0])
for name in ('numpy', 'onnx', 'onnxruntime', 'torch', 'safetensors'):
    try:
        print(name, metadata.version(name))
    except metadata.PackageNotFoundError:
        pass
";

/// Show what the program finds on this machine, and what is wrong with it.
///
/// The exit code is 1 where something is set that cannot be used. What is merely absent, such
/// as datasets, CUDA or Python, is fine.
#[derive(Args)]
pub(crate) struct DoctorArgs {
    /// Folder that holds the datasets' own folders.
    #[arg(long, value_name = "DIR")]
    data_dir: Option<PathBuf>,
    /// Print the findings as JSON.
    #[arg(long)]
    json: bool,
}

/// Everything that was found.
#[derive(Serialize)]
struct Findings {
    version: &'static str,
    commit: &'static str,
    os: &'static str,
    arch: &'static str,
    /// Whether training on an NVIDIA GPU is compiled in.
    cuda: bool,
    #[serde(flatten)]
    machine: Machine,
    /// Floats in a vector of the instruction set that kernels are run with.
    lanes: usize,
    /// All instruction sets that could be used, best last.
    instruction_sets: Vec<&'static str>,
    features: Vec<Feature>,
    /// Threads that inference and training use unless told otherwise.
    threads: usize,
    datasets: Vec<Found>,
    python: Option<Python>,
    environment: Vec<Variable>,
    problems: Vec<String>,
}

#[derive(Serialize)]
struct Feature {
    name: &'static str,
    found: bool,
}

/// A dataset, and where it is, if it is there.
#[derive(Serialize)]
struct Found {
    name: &'static str,
    folder: Option<PathBuf>,
}

#[derive(Serialize)]
struct Python {
    program: String,
    /// Names and versions, of the language itself first.
    versions: Vec<[String; 2]>,
}

#[derive(Serialize)]
struct Variable {
    name: &'static str,
    value: String,
}

impl DoctorArgs {
    pub(crate) fn run(self) -> Result<()> {
        let findings = self.look();
        match self.json {
            true => print_json(&findings)?,
            false => print(&text(&findings))?,
        }
        match findings.problems.len() {
            0 => Ok(()),
            1 => bail!("there is a problem"),
            count => bail!("there are {count} problems"),
        }
    }

    fn look(&self) -> Findings {
        let dataset =
            |name| Found { name, folder: ec2t_data::locate(name, self.data_dir.as_deref()).ok() };
        let feature = |(name, found)| Feature { name, found };
        Findings {
            version: env!("CARGO_PKG_VERSION"),
            commit: env!("EC2T_COMMIT"),
            os: env::consts::OS,
            arch: env::consts::ARCH,
            cuda: cfg!(feature = "cuda"),
            machine: Machine::look(),
            lanes: ec2t_kernels::arch::isa().lanes(),
            instruction_sets: instruction_sets(),
            features: features().into_iter().map(feature).collect(),
            threads: rayon::current_num_threads(),
            datasets: Manifest::names().map(dataset).collect(),
            python: find_python(),
            environment: VARIABLES.into_iter().filter_map(variable).collect(),
            problems: self.problems(),
        }
    }

    /// What is set and cannot be used.
    fn problems(&self) -> Vec<String> {
        let mut problems = Vec::new();
        if let Err(error) = Isa::from_env() {
            problems.push(format!("{ISA_VARIABLE}: {error}"));
        }
        let folder = env::var_os(DATA_DIR_VAR).filter(|folder| !folder.is_empty());
        for (who, folder) in
            [(DATA_DIR_VAR, folder.map(PathBuf::from)), ("--data-dir", self.data_dir.clone())]
        {
            if let Some(folder) = folder.filter(|folder| !folder.is_dir()) {
                problems.push(format!("{who}: there is no folder {}", folder.display()));
            }
        }
        if let Some(program) = python::named()
            && versions(&program).is_none()
        {
            problems.push(format!("{}: {program} is no Python that runs", python::VARIABLE));
        }
        if let Err(error) = ec2t_data::verify("digits", &Default::default()) {
            problems.push(format!("the digits in the program are damaged: {error}"));
        }
        problems
    }
}

fn variable(name: &'static str) -> Option<Variable> {
    let value = env::var_os(name)?.to_string_lossy().into_owned();
    Some(Variable { name, value })
}

fn find_python() -> Option<Python> {
    let program = python::program();
    let versions = versions(&program)?;
    Some(Python { program, versions })
}

/// What a Python says of itself; none where it cannot be run.
fn versions(program: &str) -> Option<Vec<[String; 2]>> {
    let output = Command::new(program).args(["-c", PACKAGES]).output().ok()?;
    let text = String::from_utf8(output.stdout).ok().filter(|_| output.status.success())?;
    let pair = |line: &str| {
        line.split_once(' ').map(|(name, version)| [name.to_owned(), version.to_owned()])
    };
    text.lines().map(pair).collect()
}

fn text(findings: &Findings) -> String {
    let Findings { version, commit, os, arch, machine, threads, .. } = findings;
    let or = |flag, yes: &str, no: &str| if flag { yes.to_owned() } else { no.to_owned() };
    let has = |wanted| {
        let of_kind = findings.features.iter().filter(|feature| feature.found == wanted);
        let names: Vec<_> = of_kind.map(|feature| feature.name).collect();
        if names.is_empty() { "–".to_owned() } else { names.join(" ") }
    };
    let mut lines = vec![
        ("ec2t", format!("{version} ({commit}), {os} on {arch}")),
        ("CPU", machine.cpu.clone().unwrap_or("unknown".to_owned())),
        ("processors", format!("{}, of which {threads} are used", machine.processors)),
        ("features", format!("{}; absent: {}", has(true), has(false))),
        (
            "kernels",
            format!(
                "{}, {} floats at a time; possible: {}",
                machine.isa,
                findings.lanes,
                findings.instruction_sets.join(" ")
            ),
        ),
        ("CUDA", or(findings.cuda, "compiled in", "not compiled in")),
    ];
    lines.push(("python", findings.python.as_ref().map_or("not found".to_owned(), describe)));
    let mut text = String::new();
    for (name, value) in lines {
        let _ = writeln!(text, "{name:12} {value}");
    }
    text.push_str("\ndatasets\n  digits         in the program\n");
    for Found { name, folder } in &findings.datasets {
        let place = folder.as_deref().map(Path::display);
        let place = place.map_or("not found".to_owned(), |place| place.to_string());
        let _ = writeln!(text, "  {name:14} {place}");
    }
    text.push_str("\nenvironment\n");
    for Variable { name, value } in &findings.environment {
        let _ = writeln!(text, "  {name}={value}");
    }
    if findings.environment.is_empty() {
        text.push_str("  nothing set\n");
    }
    text.push_str("\nproblems\n");
    for problem in &findings.problems {
        let _ = writeln!(text, "  {problem}");
    }
    if findings.problems.is_empty() {
        text.push_str("  none\n");
    }
    text
}

fn describe(python: &Python) -> String {
    let versions: Vec<String> = python.versions.iter().map(|pair| pair.join(" ")).collect();
    format!("{}: {}", python.program, versions.join(", "))
}
