//! Commands as a user would type them.

use std::ffi::OsStr;
use std::fs;
use std::path::Path;
use std::process::Command;

use anyhow::{Context, Result, bail};

/// Prints a command, with the variables that it sets, and runs it.
///
/// # Errors
/// Where it can't be started or fails.
pub(crate) fn run(mut command: Command) -> Result<()> {
    let text = describe(&command);
    eprintln!("$ {text}");
    let status = command.status().with_context(|| format!("cannot start `{text}`"))?;
    match status.success() {
        true => Ok(()),
        false => bail!("`{text}` failed ({status})"),
    }
}

/// A command with the variables that it sets, as one line.
pub(crate) fn describe(command: &Command) -> String {
    let variables = command.get_envs().filter_map(|(name, value)| {
        Some(format!("{}={} ", name.to_string_lossy(), line([value?])))
    });
    let words = line([command.get_program()].into_iter().chain(command.get_args()));
    variables.chain([words]).collect()
}

/// Writes a script that can be run.
pub(crate) fn write_program(path: &Path, text: &str) -> Result<()> {
    fs::write(path, text).with_context(|| path.display().to_string())?;
    #[cfg(unix)]
    {
        use std::os::unix::fs::PermissionsExt;
        fs::set_permissions(path, fs::Permissions::from_mode(0o755))
            .with_context(|| path.display().to_string())?;
    }
    Ok(())
}

/// One line that a POSIX shell splits into exactly these words.
pub(crate) fn line<W: AsRef<OsStr>>(words: impl IntoIterator<Item = W>) -> String {
    let quoted: Vec<_> = words.into_iter().map(|w| quote(&w.as_ref().to_string_lossy())).collect();
    quoted.join(" ")
}

fn quote(word: &str) -> String {
    let plain = |c: char| c.is_alphanumeric() || "-_./=:,+@%".contains(c);
    if !word.is_empty() && word.chars().all(plain) {
        word.to_owned()
    } else {
        format!("'{}'", word.replace('\'', r"'\''"))
    }
}

#[cfg(test)]
mod tests {
    use super::{describe, line};
    use std::process::Command;

    #[test]
    fn only_words_that_need_it_are_quoted() {
        let words = ["ec2t", "train", "--set", "run.seed=1", "my runs/a", "", "it's"];
        assert_eq!(line(words), r"ec2t train --set run.seed=1 'my runs/a' '' 'it'\''s'");
    }

    #[test]
    fn a_command_is_described_with_its_variables() {
        let mut command = Command::new("cargo");
        command.args(["test", "a b"]).env("RUSTC", "my rustc").env_remove("CC");
        assert_eq!(describe(&command), "RUSTC='my rustc' cargo test 'a b'");
    }

    #[cfg(unix)]
    #[test]
    fn a_command_that_fails_is_repeated_in_full() {
        let run = |program: &str, words: &[&str]| {
            let mut command = Command::new(program);
            command.args(words);
            super::run(command).unwrap_err().to_string()
        };
        assert_eq!(run("sh", &["-c", "exit 4"]), "`sh -c 'exit 4'` failed (exit status: 4)");
        assert_eq!(run("no-such-program", &["x"]), "cannot start `no-such-program x`");
    }
}
