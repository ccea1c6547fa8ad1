//! From errors to exit codes.

use std::process::ExitCode;

use ec2t_data::DataError;
use ec2t_format::FormatError;
use ec2t_format::graph::GraphError;
use ec2t_infer::LoadError;
use ec2t_interop::InteropError;
use ec2t_quant::QuantError;
use ec2t_scale::{ArchError, GrowError};

use crate::output::tell;

/// An error of whoever called the program.
#[derive(Debug)]
pub(crate) struct Usage(pub(crate) String);

/// A file that can't be used.
#[derive(Debug)]
pub(crate) struct BadFile(pub(crate) String);

/// Other programs that ended badly, and what that makes our own exit code.
#[derive(Debug)]
pub(crate) struct Ended {
    pub(crate) text: String,
    pub(crate) code: u8,
}

impl std::fmt::Display for Usage {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::fmt::Display for BadFile {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::fmt::Display for Ended {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.text)
    }
}

impl std::error::Error for Usage {}
impl std::error::Error for BadFile {}
impl std::error::Error for Ended {}

const CHECK_FAILED: u8 = 1;
const USAGE: u8 = 2;
const BAD_FILE: u8 = 3;
pub(crate) const INTERRUPTED: u8 = 130;

/// Whether whoever called the program has stopped it.
pub(crate) fn is_interruption(error: &anyhow::Error) -> bool {
    error.chain().find_map(code) == Some(INTERRUPTED)
}

/// Prints an error and gives its exit code. A reader of our output that has
/// gone away is no error.
pub(crate) fn report(error: &anyhow::Error) -> ExitCode {
    if error.chain().any(is_broken_pipe) {
        return ExitCode::SUCCESS;
    }
    tell(format_args!("ec2t: {}", message(error)));
    ExitCode::from(error.chain().find_map(code).unwrap_or(CHECK_FAILED))
}

/// The messages of an error and its causes, without the repetition of those
/// that already quote their cause.
pub(crate) fn message(error: &anyhow::Error) -> String {
    let mut message = String::new();
    for cause in error.chain() {
        let text = cause.to_string();
        if message.is_empty() {
            message = text;
        } else if !message.contains(&text) {
            message = format!("{message}: {text}");
        }
    }
    message
}

fn is_broken_pipe(error: &(dyn std::error::Error + 'static)) -> bool {
    let io = error.downcast_ref::<std::io::Error>();
    io.is_some_and(|error| error.kind() == std::io::ErrorKind::BrokenPipe)
}

fn code(error: &(dyn std::error::Error + 'static)) -> Option<u8> {
    if let Some(error) = error.downcast_ref::<QuantError>() {
        return Some(quant_code(error));
    }
    if let Some(error) = error.downcast_ref::<DataError>() {
        return Some(data_code(error));
    }
    if let Some(Ended { code, .. }) = error.downcast_ref() {
        return Some(*code);
    }
    let usage = error.is::<Usage>()
        || error.is::<ArchError>()
        || error.is::<GraphError>()
        || error.is::<GrowError>();
    if usage {
        return Some(USAGE);
    }
    let bad_file = error.is::<BadFile>()
        || error.is::<FormatError>()
        || error.is::<LoadError>()
        || error.is::<InteropError>()
        || error.is::<std::io::Error>();
    bad_file.then_some(BAD_FILE)
}

fn quant_code(error: &QuantError) -> u8 {
    match error {
        QuantError::Interrupted(_) => INTERRUPTED,
        QuantError::Option { .. }
        | QuantError::OtherSettings { .. }
        | QuantError::Method(_)
        | QuantError::Data(_) => USAGE,
        QuantError::Checkpoint { .. } | QuantError::Io { .. } => BAD_FILE,
        QuantError::Batches(error) => data_code(error),
        _ => CHECK_FAILED,
    }
}

fn data_code(error: &DataError) -> u8 {
    match error {
        DataError::Option { .. }
        | DataError::Unknown { .. }
        | DataError::NotPublished { .. }
        | DataError::Split { .. } => USAGE,
        _ => BAD_FILE,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn causes_are_found_and_told_once() {
        let io = std::io::Error::new(std::io::ErrorKind::NotFound, "no such file");
        let data = DataError::Io { path: "x.bin".into(), source: io };
        let error = anyhow::Error::new(data).context("reading the data");
        assert_eq!(message(&error), "reading the data: x.bin: no such file");
        assert_eq!(error.chain().find_map(code), Some(BAD_FILE));
        let usage = anyhow::Error::new(Usage("what?".into()));
        assert_eq!(usage.chain().find_map(code), Some(USAGE));
        assert_eq!(anyhow::anyhow!("other").chain().find_map(code), None);
    }
}
