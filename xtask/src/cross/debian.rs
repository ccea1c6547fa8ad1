//! Compilers for other targets from Debian's packages, unpacked in a folder.
//!
//! Nothing of the system changes, and nobody has to be root.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::{env, fs, io};

use anyhow::{Context, Result, bail, ensure};

use crate::{cache, shell};

/// Folder of the unpacked packages, inside that of a toolchain.
const UNPACKED: &str = "debian";

/// What a toolchain is made of.
pub(super) struct Toolchain {
    pub(super) folder: PathBuf,
    /// Packages, with what they depend on and the system lacks.
    pub(super) packages: &'static [&'static str],
    /// Packages of which only the files are wanted: what they depend on can't run here.
    pub(super) files: &'static [&'static str],
    /// Program and options of the linker, for this folder of unpacked packages.
    pub(super) linker: fn(&Path) -> Vec<PathBuf>,
}

impl Toolchain {
    /// The folder for a toolchain of this name.
    pub(super) fn folder(name: &str) -> Result<PathBuf> {
        Ok(cache::folder()?.join(name))
    }

    pub(super) fn unpacked(&self) -> PathBuf {
        self.folder.join(UNPACKED)
    }

    /// Stands for rustc.
    pub(super) fn compiler(&self) -> PathBuf {
        self.folder.join("rustc")
    }

    /// Stands for the program that Rust links with.
    pub(super) fn linker(&self) -> PathBuf {
        self.folder.join("linker")
    }

    /// Makes the folder where it is not there, whole or not at all.
    pub(super) fn install(&self) -> Result<()> {
        if self.folder.exists() {
            return Ok(());
        }
        check_this_host()?;
        let unfinished = self.folder.with_extension("part");
        match fs::remove_dir_all(&unfinished) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => {
                bail!("{}: {error}", unfinished.display())
            }
            _ => self.download(&unfinished)?,
        }
        self.write_scripts(&unfinished)?;
        fs::rename(&unfinished, &self.folder)
            .with_context(|| format!("cannot make {}", self.folder.display()))
    }

    /// Scripts that call the programs with the libraries that they were built with.
    pub(super) fn write_scripts(&self, folder: &Path) -> Result<()> {
        let packages = self.unpacked();
        let usr = packages.join("usr");
        let libraries = [usr.join("lib/x86_64-linux-gnu"), usr.join("lib")];
        let libraries = shell::line([env::join_paths(libraries)?]);
        let script =
            |words: String| format!("#!/bin/sh\nLD_LIBRARY_PATH={libraries} exec {words} \"$@\"\n");
        let rustc = vec![usr.join("bin/rustc"), "--sysroot".into(), usr];
        let linker = (self.linker)(&packages);
        for (name, words) in [(self.compiler(), rustc), (self.linker(), linker)] {
            let name = name.file_name().context("a script has a name")?;
            shell::write_program(&folder.join(name), &script(shell::line(words)))?;
        }
        Ok(())
    }

    /// Downloads all packages and unpacks them in [`UNPACKED`].
    fn download(&self, folder: &Path) -> Result<()> {
        let (archives, packages) = (folder.join("apt/archives"), folder.join(UNPACKED));
        for folder in [archives.join("partial"), folder.join("apt/lists/partial"), packages.clone()]
        {
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
        apt(&[&["install", "--download-only", "--yes"], self.packages].concat())?;
        for package in self.files {
            apt(&["download", package])?;
        }
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
}

/// Debian's packages can be had and run here.
pub(super) fn check_this_host() -> Result<()> {
    check_host(env::consts::OS, env::consts::ARCH, env::var_os("PATH"))
}

/// Debian's packages can be had and run.
fn check_host(os: &str, arch: &str, path: Option<impl AsRef<std::ffi::OsStr>>) -> Result<()> {
    let needs = "this compiler needs Debian on x86-64";
    ensure!((os, arch) == ("linux", "x86_64"), "{needs}; this is {os} on {arch}");
    let folders: Vec<PathBuf> =
        path.iter().flat_map(|path| env::split_paths(path).collect::<Vec<_>>()).collect();
    for program in ["apt-get", "dpkg-deb"] {
        let found = folders.iter().any(|folder| folder.join(program).exists());
        ensure!(found, "{needs}; there is no {program}");
    }
    Ok(())
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
        let linker = |packages: &Path| vec![packages.join("usr/bin/ld")];
        let toolchain = Toolchain { folder: "cache/a".into(), packages: &[], files: &[], linker };
        toolchain.write_scripts(folder.path()).unwrap();
        let text = |name: &str| fs::read_to_string(folder.path().join(name)).unwrap();
        let start = "#!/bin/sh\nLD_LIBRARY_PATH=cache/a/debian/usr/lib/x86_64-linux-gnu:\
                     cache/a/debian/usr/lib exec cache/a/debian/usr/bin/";
        let rustc = format!("{start}rustc --sysroot cache/a/debian/usr \"$@\"\n");
        assert_eq!(text("rustc"), rustc);
        assert_eq!(text("linker"), format!("{start}ld \"$@\"\n"));
    }
}
