//! `cargo xtask bench`: ec2t beside other programs.
//!
//! | module | does |
//! |---|---|
//! | [`training`] | compares training with PyTorch's |
//! | [`work`] | lists what is compared, with whom |
//! | [`peer`] | runs a side as a process that works on request |
//! | [`torch`] | finds or installs PyTorch |
//! | [`load`] | tells whether others are at work |
//! | [`spread`] | medians, quartiles, ratios |
//! | [`result`] | tables and JSON |

mod load;
mod peer;
mod result;
mod spread;
mod torch;
mod training;
mod work;

use std::process::ExitCode;

use anyhow::Result;

/// Compare ec2t with other programs.
#[derive(clap::Args)]
pub(crate) struct Args {
    #[command(subcommand)]
    what: What,
}

#[derive(clap::Subcommand)]
enum What {
    Training(training::Args),
}

pub(crate) fn run(args: &Args) -> Result<ExitCode> {
    match &args.what {
        What::Training(args) => training::run(args),
    }
}
