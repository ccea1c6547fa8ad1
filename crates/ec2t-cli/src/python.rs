//! The Python that other programs are asked through.

use std::env;

/// Names the one to use instead of `python3`.
pub(crate) const VARIABLE: &str = "EC2T_PYTHON";

/// The program that [`VARIABLE`] names.
pub(crate) fn named() -> Option<String> {
    env::var(VARIABLE).ok().filter(|program| !program.is_empty())
}

/// The program to start.
pub(crate) fn program() -> String {
    named().unwrap_or("python3".to_owned())
}
