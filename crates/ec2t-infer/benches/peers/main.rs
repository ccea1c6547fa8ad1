//! Milliseconds of inference.
//!
//! `cargo bench -p ec2t-infer --bench peers [-- NETWORK]` measures the networks whose
//! name contains `NETWORK`, one image at a time. With `--serve FOLDER` the program is
//! one side of `cargo xtask bench peers`: it says who it is on one line of JSON, then
//! reads requests from its input, each a network and a number of images:
//!
//! | request | does | answer |
//! |---|---|---|
//! | `write resnet20-64 1` | writes the work to the folder, as [`work`] says | `{"zeros":0.642,"images":"CIFAR-10"}` |
//! | `calibrate resnet20-64 1` | writes images to choose ranges of integers from | `{"images":256}` |
//! | `time resnet20-64 1` | runs it for about a quarter of a second | `{"milliseconds":0.31}`, the median |
//!
//! A network whose name is followed by `-u8` runs on bytes, whose grids are found from the
//! images that others choose ranges from. One that can't be had here is answered with
//! `{"skipped":REASON}`. Threads are rayon's; `RAYON_NUM_THREADS` sets their number.
#![expect(clippy::print_stdout, reason = "a program's output")]

mod images;
mod networks;
mod random;
mod work;

use std::error::Error;
use std::io::{BufRead, Write};
use std::path::Path;

use serde_json::{Value, json};

use ec2t_infer::Precision;
use networks::Found;
use work::Work;

/// Rounds without `--serve`, after one to warm up.
const ROUNDS: usize = 5;

fn main() -> Result<(), Box<dyn Error>> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    if let Some(serve) = arguments.iter().position(|argument| argument == "--serve") {
        let folder = arguments.get(serve + 1).ok_or("--serve needs a folder")?;
        return serve_from(Path::new(folder));
    }
    let filter = arguments.iter().find(|argument| !argument.starts_with('-'));
    let filter = filter.map_or("", String::as_str);
    for name in networks::names().iter().filter(|name| name.contains(filter)) {
        let network = match networks::find(name)? {
            Found::Network(network) => network,
            Found::Skipped(reason) => {
                println!("{name:24} skipped: {reason}");
                continue;
            }
        };
        let work = Work::new(*network, Precision::F32, 1)?;
        work.round()?;
        let mut rounds = (0..ROUNDS).map(|_| work.round()).collect::<Result<Vec<_>, _>>()?;
        rounds.sort_by(f64::total_cmp);
        println!("{name:24} {:9.4} ms", rounds[ROUNDS / 2]);
    }
    Ok(())
}

fn serve_from(folder: &Path) -> Result<(), Box<dyn Error>> {
    let isa = ec2t_kernels::arch::isa().name();
    let peer = format!("ec2t {}, {isa}", env!("CARGO_PKG_VERSION"));
    answer(&json!({ "peer": peer, "threads": rayon::current_num_threads() }))?;
    let mut current: Option<(String, Work)> = None;
    for request in std::io::stdin().lock().lines() {
        let request = request?;
        let (verb, subject) = request.split_once(' ').ok_or("a request has three words")?;
        if current.as_ref().is_none_or(|(known, _)| known != subject) {
            drop(current.take()); // one work at a time is in memory
            match make(subject)? {
                Ok(work) => current = Some((subject.to_owned(), work)),
                Err(reason) => {
                    answer(&json!({ "skipped": reason }))?;
                    continue;
                }
            }
        }
        let Some((_, work)) = &current else { continue };
        let stem = folder.join(subject.replace(' ', "-"));
        answer(&match verb {
            "write" => work.write(&stem)?,
            "calibrate" => work.calibrate(&stem)?,
            "time" => json!({ "milliseconds": work.round()? }),
            _ => return Err(format!("unknown request `{request}`").into()),
        })?;
    }
    Ok(())
}

/// The work of a network and a number of images, or why there is none.
fn make(subject: &str) -> Result<Result<Work, String>, Box<dyn Error>> {
    let (name, images) = subject.split_once(' ').ok_or("a request has three words")?;
    let (network, precision) = match name.strip_suffix("-u8") {
        Some(network) => (network, Precision::U8),
        None => (name, Precision::F32),
    };
    Ok(match networks::find(network)? {
        Found::Network(network) => Ok(Work::new(*network, precision, images.parse()?)?),
        Found::Skipped(reason) => Err(reason),
    })
}

fn answer(line: &Value) -> std::io::Result<()> {
    let mut output = std::io::stdout().lock();
    writeln!(output, "{line}")?;
    output.flush()
}
