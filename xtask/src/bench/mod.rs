//! `cargo xtask bench`: ec2t beside other programs, and beside what it was.
//!
//! | module | does |
//! |---|---|
//! | [`instructions`] | counts the instructions of kernels, compares them with stored counts |
//! | [`peers`] | compares inference with that of other programs |
//! | [`training`] | compares training with PyTorch's |
//! | [`peer`] | runs a side as a process that works on request |
//! | [`machine`] | tells what the machine is, and whether others are at work |
//! | [`measured`] | has contenders work in turn, compares the first with the best |
//! | [`spread`] | medians, quartiles, ratios |
//! | [`table`], [`report`] | tables and JSON |

mod instructions;
mod machine;
mod measured;
mod peer;
mod peers;
mod report;
mod spread;
mod table;
mod training;

use std::process::ExitCode;

use anyhow::Result;

/// Compare ec2t with other programs, or with what it was.
#[derive(clap::Args)]
pub(crate) struct Args {
    #[command(subcommand)]
    what: What,
}

#[derive(clap::Subcommand)]
enum What {
    Instructions(instructions::Args),
    Peers(peers::Args),
    Training(training::Args),
}

pub(crate) fn run(args: &Args) -> Result<ExitCode> {
    match &args.what {
        What::Instructions(args) => instructions::run(args),
        What::Peers(args) => peers::run(args),
        What::Training(args) => training::run(args),
    }
}
