//! `cargo xtask wasm`: the page that runs models in a browser, as one file.
//!
//! `ec2t-wasm` is compiled for WebAssembly with vectors, wasm-bindgen writes the script that
//! loads it, and both go into the page, with a picture, in base64. So the page needs no
//! server: it can be opened where it lies.
//!
//! | module | does |
//! |---|---|
//! | [`module`] | compiles the module, and gets the wasm-bindgen that fits |
//! | [`page`] | puts files into the page |
//! | [`mod@test`] | compares what the page answers with what the program answers here |
//! | [`chromium`] | asks the page in Chromium |

mod chromium;
mod module;
mod page;
mod test;

use std::fs;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::{Context, Result};

use crate::cargo;
use crate::cross::wasm::Compiler;

const TARGET: &str = "wasm32-unknown-unknown";

/// Build the page that runs models in a browser
#[derive(clap::Args)]
pub(crate) struct Args {
    /// Then have it classify a picture in Chromium and Node, whichever are there, and
    /// compare with what the same code computes here
    #[arg(long)]
    test: bool,
}

pub(crate) fn run(args: &Args) -> Result<ExitCode> {
    let compiler = match (Compiler::find(TARGET), args.test) {
        (Err(reason), true) => {
            println!("skipped: {reason:#}");
            return Ok(ExitCode::SUCCESS);
        }
        (compiler, _) => compiler?,
    };
    let build = module::build(&compiler)?;
    let page = page::assemble(&build)?;
    let file = build.folder.join("index.html");
    write(&file, &page)?;
    println!("{}: {} bytes, of the module {}", file.display(), page.len(), build.module.len());
    if args.test {
        test::run(&build, &page)?;
    }
    Ok(ExitCode::SUCCESS)
}

/// What the page is made of.
struct Build {
    /// Where the page goes.
    folder: PathBuf,
    /// The module that is run.
    module: Vec<u8>,
    /// The script that loads it.
    script: String,
}

/// A file of the workspace.
fn source(path: &str) -> PathBuf {
    cargo::package_folder().join("..").join(path)
}

fn read(path: &Path) -> Result<Vec<u8>> {
    fs::read(path).with_context(|| path.display().to_string())
}

fn read_text(path: &Path) -> Result<String> {
    fs::read_to_string(path).with_context(|| path.display().to_string())
}

fn write(path: &Path, bytes: impl AsRef<[u8]>) -> Result<()> {
    fs::write(path, bytes).with_context(|| path.display().to_string())
}
