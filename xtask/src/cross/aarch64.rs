//! Tests on AArch64, by Debian's compiler and QEMU.

use std::ffi::OsString;
use std::path::Path;
use std::process::Command;

use anyhow::Result;

use super::cargo_test;
use super::debian::Toolchain;
use crate::shell;

const TARGET: &str = "aarch64-unknown-linux-gnu";

/// What is tested: the vector code, and what is built on it.
const PACKAGES: [&str; 4] = ["-p", "ec2t-kernels", "-p", "ec2t-ops"];

/// One run for each: a test can't start itself again under an emulator, as some do
/// in order to see every instruction set.
const ISAS: [&str; 2] = ["neon", "portable"];

const DEBIAN: [&str; 4] =
    ["rustc-web", "gcc-aarch64-linux-gnu", "libc6-dev-arm64-cross", "qemu-user-static"];

const FILES: [&str; 1] = ["libstd-rust-web-dev:arm64"];

/// Runs the tests with each instruction set.
pub(super) fn test(words: &[String]) -> Result<()> {
    let folder = Toolchain::folder("aarch64")?;
    let linker = |packages: &Path| {
        let gcc = packages.join("usr/bin/aarch64-linux-gnu-gcc");
        vec![gcc, "--sysroot".into(), packages.into()]
    };
    let toolchain = Toolchain { folder, packages: &DEBIAN, files: &FILES, linker };
    toolchain.install()?;
    ISAS.into_iter().try_for_each(|isa| shell::run(command(&toolchain, isa, words)))
}

/// The command that runs the tests with one instruction set.
fn command(toolchain: &Toolchain, isa: &str, words: &[String]) -> Command {
    let packages = toolchain.unpacked();
    let qemu = packages.join("usr/bin/qemu-aarch64-static");
    let runner = shell::line([qemu, "-L".into(), packages.join("usr/aarch64-linux-gnu")]);
    let mut command = cargo_test(TARGET, &PACKAGES, words);
    let variables: [(String, OsString); 4] = [
        ("EC2T_ISA".into(), isa.into()),
        ("RUSTC".into(), toolchain.compiler().into()),
        (super::variable(TARGET, "LINKER"), toolchain.linker().into()),
        (super::variable(TARGET, "RUNNER"), runner.into()),
    ];
    command.envs(variables);
    command
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tests_run_under_the_emulator() {
        let linker = |_: &Path| Vec::new();
        let toolchain = Toolchain { folder: "cache/a".into(), packages: &[], files: &[], linker };
        let command = command(&toolchain, "neon", &["-p".into(), "ec2t-kernels".into()]);
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
