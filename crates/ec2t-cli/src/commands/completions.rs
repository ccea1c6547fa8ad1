//! `ec2t completions` and `ec2t man`: help for shells and for `man`, from the table of flags.

use std::path::PathBuf;

use anyhow::Result;
use clap::{Args, Command, CommandFactory};
use clap_complete::Shell;
use clap_mangen::Man;

use crate::Cli;
use crate::exit::Usage;
use crate::output::{print, tell, write_file};

/// Print a script that completes this program's commands and flags in a shell.
///
/// For Bash, `source <(ec2t completions bash)` in ~/.bashrc; for others, write it to where the
/// shell looks for such scripts.
#[derive(Args)]
pub(crate) struct CompletionsArgs {
    /// The shell.
    #[arg(value_enum, value_name = "SHELL")]
    shell: Shell,
}

impl CompletionsArgs {
    pub(crate) fn run(self) -> Result<()> {
        let mut script = Vec::new();
        clap_complete::generate(self.shell, &mut Cli::command(), "ec2t", &mut script);
        print(&String::from_utf8(script)?)
    }
}

/// Print a manual page, or write those of all commands.
#[derive(Args)]
pub(crate) struct ManArgs {
    /// The command, such as `scale search` [default: the program].
    #[arg(value_name = "COMMAND")]
    command: Vec<String>,
    /// Write the pages of all commands to this folder: ec2t.1, ec2t-train.1 and so on.
    #[arg(short, long, value_name = "DIR", conflicts_with = "command")]
    output: Option<PathBuf>,
}

impl ManArgs {
    pub(crate) fn run(self) -> Result<()> {
        let mut program = Cli::command();
        // Gives every command its whole name, and the flags that all have.
        program.build();
        let Some(folder) = &self.output else {
            return print(&page(find(&program, &self.command)?)?);
        };
        let pages = all(&program);
        for command in &pages {
            write_file(&folder.join(file_name(command)), page(command)?.as_bytes())?;
        }
        tell(format_args!("{}: {} pages", folder.display(), pages.len()));
        Ok(())
    }
}

/// The command with these words.
fn find<'c>(program: &'c Command, words: &[String]) -> Result<&'c Command, Usage> {
    words.iter().try_fold(program, |command, word| {
        let unknown = || Usage(format!("there is no command `{}`", words.join(" ")));
        command.find_subcommand(word).ok_or_else(unknown)
    })
}

/// A command and all below it that have something to say.
fn all(command: &Command) -> Vec<&Command> {
    let below = command.get_subcommands().filter(|command| command.get_name() != "help");
    std::iter::once(command).chain(below.flat_map(all)).collect()
}

fn page(command: &Command) -> Result<String> {
    let mut page = Vec::new();
    Man::new(command.clone()).render(&mut page)?;
    Ok(String::from_utf8(page)?)
}

/// The words of a command with dashes between them, which is what pages are called.
fn file_name(command: &Command) -> String {
    format!("{}.1", command.get_display_name().unwrap_or(command.get_name()))
}
