//! Where the `ec2t` program is.

use std::env;
use std::path::PathBuf;

use anyhow::Result;

use crate::cargo;

/// The program that `EC2T_BIN` names, else the one that cargo builds.
pub(crate) fn find() -> Result<PathBuf> {
    match env::var_os("EC2T_BIN").filter(|path| !path.is_empty()) {
        Some(path) => Ok(path.into()),
        None => cargo::build(&["build", "--release", "--package", "ec2t-cli"], "ec2t"),
    }
}
