//! `cargo xtask cross`: tests on AArch64, compiled here and run by an emulator.
//!
//! For Debian on x86-64, where no second toolchain need be installed: Debian's own
//! Rust compiler, whose library is there for AArch64 too, a linker for AArch64 and
//! QEMU are unpacked into the user's cache folder, 1.1 GB. Nothing of the system
//! changes, and nobody has to be root. That the tests pass proves correctness; it
//! says nothing of speed.

use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode};
use std::{env, fs, io};

use anyhow::{Context, Result, bail, ensure};

use crate::{cache, shell};

const TARGET: &str = "aarch64-unknown-linux-gnu";

/// What is tested: the vector code, and what is built on it.
const PACKAGES: [&str; 4] = ["-p", "ec2t-kernels", "-p", "ec2t-ops"];

/// One run for each: a test can't start itself again under an emulator, as some do
/// in order to see every instruction set.
const ISAS: [&str; 2] = ["neon", "portable"];

/// Debian's packages, with what they depend on and the system lacks.
const DEBIAN: [&str; 4] =
    ["rustc-web", "gcc-aarch64-linux-gnu", "libc6-dev-arm64-cross", "qemu-user-static"];

/// A package of which only the files are wanted: it depends on a compiler that
/// runs on AArch64.
const LIBRARY: &str = "libstd-rust-web-dev:arm64";

/// Test the vector code on AArch64 (NEON), by an emulator; on Debian, x86-64
#[derive(clap::Args)]
pub(crate) struct Args {
    /// What to pass to `cargo test`, such as `-p ec2t-kernels arch::`
    /// [default: the packages with vector code]
    #[arg(last = true)]
    words: Vec<String>,
}

pub(crate) fn run(args: &Args) -> Result<ExitCode> {
    check_host(env::consts::OS, env::consts::ARCH, env::var_os("PATH"))?;
    let toolchain = Toolchain { folder: cache::folder()?.join("aarch64") };
    if !toolchain.folder.exists() {
        toolchain.install()?;
    }
    for isa in ISAS {
        shell::run(toolchain.test(isa, &args.words))?;
    }
    Ok(ExitCode::SUCCESS)
}

/// Debian's packages can be had and run.
fn check_host(os: &str, arch: &str, path: Option<impl AsRef<std::ffi::OsStr>>) -> Result<()> {
    let needs = "`cargo xtask cross` needs Debian on x86-64";
    ensure!((os, arch) == ("linux", "x86_64"), "{needs}; this is {os} on {arch}");
    let folders: Vec<PathBuf> =
        path.iter().flat_map(|path| env::split_paths(path).collect::<Vec<_>>()).collect();
    for program in ["apt-get", "dpkg-deb"] {
        let found = folders.iter().any(|folder| folder.join(program).exists());
        ensure!(found, "{needs}; there is no {program}");
    }
    Ok(())
}

/// Folder of the unpacked packages, inside that of the toolchain.
const UNPACKED: &str = "debian";

/// The unpacked packages, and scripts that call them.
struct Toolchain {
    folder: PathBuf,
}

impl Toolchain {
    fn packages(&self) -> PathBuf {
        self.folder.join(UNPACKED)
    }

    /// Stands for rustc.
    fn compiler(&self) -> PathBuf {
        self.folder.join("rustc")
    }

    /// Stands for the C compiler, which Rust links with.
    fn linker(&self) -> PathBuf {
        self.folder.join("linker")
    }

    /// Makes the folder, whole or not at all.
    fn install(&self) -> Result<()> {
        let unfinished = self.folder.with_extension("part");
        match fs::remove_dir_all(&unfinished) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => {
                bail!("{}: {error}", unfinished.display())
            }
            _ => download(&unfinished)?,
        }
        self.write_scripts(&unfinished)?;
        fs::rename(&unfinished, &self.folder)
            .with_context(|| format!("cannot make {}", self.folder.display()))
    }

    /// Scripts that call the programs with the libraries that they were built with.
    fn write_scripts(&self, folder: &Path) -> Result<()> {
        let packages = self.packages();
        let usr = packages.join("usr");
        let libraries = [usr.join("lib/x86_64-linux-gnu"), usr.join("lib")];
        let libraries = shell::line([env::join_paths(libraries)?]);
        let script =
            |words: String| format!("#!/bin/sh\nLD_LIBRARY_PATH={libraries} exec {words} \"$@\"\n");
        let rustc = [usr.join("bin/rustc"), "--sysroot".into(), usr.clone()];
        let gcc = [usr.join("bin/aarch64-linux-gnu-gcc"), "--sysroot".into(), packages];
        for (name, words) in [(self.compiler(), rustc), (self.linker(), gcc)] {
            let name = name.file_name().context("a script has a name")?;
            shell::write_program(&folder.join(name), &script(shell::line(words)))?;
        }
        Ok(())
    }

    /// The command that runs the tests with one instruction set.
    fn test(&self, isa: &str, words: &[String]) -> Command {
        let qemu = self.packages().join("usr/bin/qemu-aarch64-static");
        let runner =
            shell::line([qemu, "-L".into(), self.packages().join("usr/aarch64-linux-gnu")]);
        let mut command = Command::new(env::var_os("CARGO").unwrap_or("cargo".into()));
        // Not the examples in documentation: they would need Debian's rustdoc.
        command.args(["test", "--target", TARGET, "--lib", "--tests"]);
        match words {
            [] => command.args(PACKAGES),
            words => command.args(words),
        };
        let variable = format!("CARGO_TARGET_{}", TARGET.to_uppercase().replace('-', "_"));
        command
            .env("EC2T_ISA", isa)
            .env("RUSTC", self.compiler())
            .env(format!("{variable}_LINKER"), self.linker())
            .env(format!("{variable}_RUNNER"), runner);
        command
    }
}

/// Downloads all packages and unpacks them in [`UNPACKED`].
fn download(folder: &Path) -> Result<()> {
    let (archives, packages) = (folder.join("apt/archives"), folder.join(UNPACKED));
    for folder in [archives.join("partial"), folder.join("apt/lists/partial"), packages.clone()] {
        fs::create_dir_all(&folder).with_context(|| folder.display().to_string())?;
    }
    let config = folder.join("apt/apt.conf");
    fs::write(&config, apt_config(folder)).with_context(|| config.display().to_string())?;
    let apt = |words: &[&str]| {
        let mut command = Command::new("apt-get");
        command.arg("--quiet").args(words).current_dir(&archives).env("APT_CONFIG", &config);
        shell::run(command)
    };
    apt(&["update"])?;
    apt(&[&["install", "--download-only", "--yes"], &DEBIAN[..]].concat())?;
    apt(&["download", LIBRARY])?;
    for entry in fs::read_dir(&archives)? {
        let path = entry?.path();
        if path.extension().is_some_and(|extension| extension == "deb") {
            let mut command = Command::new("dpkg-deb");
            command.arg("--extract").args([&path, &packages]);
            shell::run(command)?;
        }
    }
    let apt = folder.join("apt");
    fs::remove_dir_all(&apt).with_context(|| apt.display().to_string())
}

/// Has apt know packages of both machines and keep everything in the folder.
fn apt_config(folder: &Path) -> String {
    let apt = folder.join("apt");
    let apt = apt.display();
    format!(
        "APT::Architectures {{ \"amd64\"; \"arm64\"; }};\n\
         APT::Install-Recommends \"false\";\n\
         APT::Sandbox::User \"root\";\n\
         Debug::NoLocking \"true\";\n\
         Dir::Cache \"{apt}\";\n\
         Dir::State::lists \"{apt}/lists\";\n"
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn other_systems_are_told_what_is_needed() {
        let error = |os, path: Option<&Path>| {
            check_host(os, "x86_64", path).map_err(|error| error.to_string())
        };
        let programs = tempfile::tempdir().unwrap();
        let found = error("linux", Some(programs.path())).unwrap_err();
        assert!(found.ends_with("needs Debian on x86-64; there is no apt-get"), "{found}");
        let found = error("macos", None).unwrap_err();
        assert!(found.ends_with("this is macos on x86_64"), "{found}");
        for program in ["apt-get", "dpkg-deb"] {
            fs::write(programs.path().join(program), "").unwrap();
        }
        assert_eq!(error("linux", Some(programs.path())), Ok(()));
    }

    #[test]
    fn scripts_set_the_libraries_and_pass_words_on() {
        let folder = tempfile::tempdir().unwrap();
        let toolchain = Toolchain { folder: "cache/a".into() };
        toolchain.write_scripts(folder.path()).unwrap();
        let script = fs::read_to_string(folder.path().join("rustc")).unwrap();
        assert_eq!(
            script,
            "#!/bin/sh\nLD_LIBRARY_PATH=cache/a/debian/usr/lib/x86_64-linux-gnu:\
             cache/a/debian/usr/lib exec cache/a/debian/usr/bin/rustc --sysroot \
             cache/a/debian/usr \"$@\"\n"
        );
        assert!(folder.path().join("linker").exists());
    }

    #[test]
    fn tests_run_under_the_emulator() {
        let toolchain = Toolchain { folder: "cache/a".into() };
        let command = toolchain.test("neon", &["-p".into(), "ec2t-kernels".into()]);
        let words: Vec<_> = command.get_args().collect();
        assert_eq!(words[words.len() - 2..], ["-p", "ec2t-kernels"]);
        let runner = command.get_envs().find_map(|(name, value)| {
            (name == "CARGO_TARGET_AARCH64_UNKNOWN_LINUX_GNU_RUNNER").then_some(value?)
        });
        let expected = "cache/a/debian/usr/bin/qemu-aarch64-static -L \
                        cache/a/debian/usr/aarch64-linux-gnu";
        assert_eq!(runner.unwrap(), expected);
    }
}
