//! `cargo xtask tidy`: rules of the house that no compiler checks.
//!
//! Cheap checks over the text of the workspace's own files. Each fault is
//! printed as `file:line: what`.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::{Context, Result};

use crate::{cargo, ci, described};

/// The folders and single files to look at.
const ROOTS: [&str; 12] = [
    ".cargo",
    ".ci/run",
    ".github",
    "CHANGELOG.md",
    "CONTRIBUTING.md",
    "Cargo.toml",
    "README.md",
    "crates",
    "deny.toml",
    "docs",
    "rustfmt.toml",
    "xtask",
];
/// Which files of a folder to look at.
const EXTENSIONS: [&str; 6] = ["md", "py", "rs", "sh", "toml", "yml"];

/// A longer module is two modules.
const MAX_LINES: usize = 800;

// In two parts, so that this file passes its own check.
const FORBIDDEN: [&str; 4] =
    [concat!("TO", "DO"), concat!("FIX", "ME"), concat!("db", "g!"), concat!("to", "do!")];

/// Folders that only ever occur in paths of one particular machine.
const MACHINE_FOLDERS: [&str; 5] = [
    concat!("/ho", "me/"),
    concat!("/ro", "ot/"),
    concat!("/Us", "ers/"),
    concat!("/wo", "rk/"),
    concat!("/tm", "p/"),
];

/// Check what compilers do not: module docs, sizes, stray words and paths, and
/// pages that their sources have left behind
#[derive(clap::Args)]
pub(crate) struct Args {
    /// Say that the pages describe today's sources
    #[arg(long)]
    bless: bool,
}

pub(crate) fn run(args: &Args) -> Result<ExitCode> {
    let package = cargo::package_folder();
    let workspace = package.parent().context("xtask has a parent")?;
    if args.bless {
        described::bless(workspace)?;
    }
    let files = files(workspace)?;
    let mut faults = Vec::new();
    for file in &files {
        let name = file.to_string_lossy();
        match fs::read_to_string(workspace.join(file)) {
            Ok(text) => faults.extend(check(&name, &text)),
            Err(error) => faults.push(format!("{name}: {error}")),
        }
    }
    faults.extend(described::faults(workspace)?);
    for fault in &faults {
        eprintln!("{fault}");
    }
    println!("tidy: {} files, {} faults", files.len(), faults.len());
    Ok(if faults.is_empty() { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

/// All files to check, relative to the workspace, in a fixed order.
fn files(workspace: &Path) -> Result<Vec<PathBuf>> {
    let mut files = Vec::new();
    for root in ROOTS {
        let path = workspace.join(root);
        if path.is_dir() { collect(&path, &mut files)? } else { files.push(path) }
    }
    for file in &mut files {
        *file = file.strip_prefix(workspace)?.to_owned();
    }
    files.sort();
    Ok(files)
}

fn collect(folder: &Path, files: &mut Vec<PathBuf>) -> Result<()> {
    for entry in fs::read_dir(folder).with_context(|| folder.display().to_string())? {
        let path = entry?.path();
        if path.is_dir() {
            if path.file_name().is_some_and(|name| name != "target") {
                collect(&path, files)?;
            }
        } else if EXTENSIONS.iter().any(|&e| path.extension().is_some_and(|found| found == e)) {
            files.push(path);
        }
    }
    Ok(())
}

/// The faults of one file.
fn check(file: &str, text: &str) -> Vec<String> {
    let mut faults = Vec::new();
    if file.ends_with(".rs") {
        if !text.starts_with("//!") {
            faults.push(format!("{file}:1: no module documentation at the top"));
        }
        let lines = text.lines().count();
        if lines > MAX_LINES {
            faults.push(format!("{file}:{MAX_LINES}: {lines} lines, at most {MAX_LINES} allowed"));
        }
    }
    if file == "README.md" && !text.contains(ci::TEST) {
        faults.push(format!("{file}:1: does not name the test command `{}`", ci::TEST));
    }
    for (line, number) in text.lines().zip(1..) {
        faults.extend(check_line(line).map(|fault| format!("{file}:{number}: {fault}")));
    }
    faults
}

fn check_line(line: &str) -> impl Iterator<Item = String> {
    let trailing = line.ends_with([' ', '\t']).then(|| "trailing white space".to_owned());
    let words = FORBIDDEN.iter().filter(|&&word| contains_word(line, word));
    let folders = MACHINE_FOLDERS.iter().filter(|&&folder| contains_absolute(line, folder));
    trailing
        .into_iter()
        .chain(words.map(|word| format!("`{word}` is not left in finished work")))
        .chain(folders.map(|folder| format!("`{folder}`: a path of one machine")))
}

/// Whether `word` stands in `line` on its own, not as a part of a longer one.
fn contains_word(line: &str, word: &str) -> bool {
    let continues = |c: char| c.is_alphanumeric();
    occurrences(line, word)
        .any(|(before, after)| !before.is_some_and(continues) && !after.is_some_and(continues))
}

/// Whether a path begins with `folder`, rather than going through it.
fn contains_absolute(line: &str, folder: &str) -> bool {
    let continues = |c: char| c.is_alphanumeric() || "._-~*}$)>]".contains(c);
    occurrences(line, folder).any(|(before, _)| !before.is_some_and(continues))
}

/// The characters before and after each occurrence.
fn occurrences<'a>(
    line: &'a str,
    wanted: &'a str,
) -> impl Iterator<Item = (Option<char>, Option<char>)> + 'a {
    line.match_indices(wanted).map(|(at, found)| {
        (line[..at].chars().next_back(), line[at + found.len()..].chars().next())
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn faults(line: &str) -> usize {
        check_line(line).count()
    }

    #[test]
    fn good_files_have_no_faults() {
        let module = format!("//! A module.\n{}", "\n".repeat(MAX_LINES - 1));
        assert_eq!(check("crates/a/src/lib.rs", &module), [""; 0]);
        assert_eq!(check("README.md", &format!("Run `{}`.\n", ci::TEST)), [""; 0]);
    }

    #[test]
    fn modules_need_documentation_and_an_end() {
        let module = format!("fn main() {{}}{}", "\n".repeat(MAX_LINES + 1));
        let found = check("crates/a/src/main.rs", &module);
        assert_eq!(found.len(), 2, "{found:?}");
        assert!(found[0].contains("main.rs:1: no module documentation"), "{found:?}");
        assert!(found[1].contains("801 lines"), "{found:?}");
    }

    #[test]
    fn the_readme_names_the_test_command() {
        assert_eq!(check("README.md", "Run the tests.\n").len(), 1);
        assert_eq!(check("docs/other.md", "Run the tests.\n").len(), 0);
    }

    #[test]
    fn lines_are_numbered_from_one() {
        let found = check("a.toml", "a = 1\nb = 2 \n");
        assert_eq!(found, ["a.toml:2: trailing white space"]);
    }

    #[test]
    fn forbidden_words_are_found_on_their_own_only() {
        for word in FORBIDDEN {
            assert_eq!(faults(&format!("// {word}: later")), 1, "{word}");
            assert_eq!(faults(&format!("MAS{word}")), 0, "{word}");
        }
    }

    #[test]
    fn absolute_paths_are_found_where_they_begin() {
        for folder in MACHINE_FOLDERS {
            assert_eq!(faults(&format!("let a = \"{folder}x\";")), 1, "{folder}");
            assert_eq!(faults(&format!("cp {folder}x .")), 1, "{folder}");
            assert_eq!(faults(&format!("https://example.org{folder}x")), 0, "{folder}");
            assert_eq!(faults(&format!("$HOME{folder}x")), 0, "{folder}");
        }
    }

    #[test]
    fn text_files_of_folders_are_found_and_builds_left_out() {
        let folder = tempfile::tempdir().unwrap();
        let source = folder.path().join("a/src");
        fs::create_dir_all(&source).unwrap();
        fs::create_dir(folder.path().join("target")).unwrap();
        for file in ["a/src/lib.rs", "a/photo.png", "a/README.md", "target/x.rs"] {
            fs::write(folder.path().join(file), "").unwrap();
        }
        let mut files = Vec::new();
        collect(folder.path(), &mut files).unwrap();
        files.sort();
        let expected = ["a/README.md", "a/src/lib.rs"].map(|file| folder.path().join(file));
        assert_eq!(files, expected);
    }
}
