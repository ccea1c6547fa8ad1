//! Milliseconds of training steps on the CPU.
//!
//! `cargo bench -p ec2t-quant --bench training [-- NAME]` measures the works whose
//! name contains `NAME`. With `--serve` the program is one side of
//! `cargo xtask bench training`: it says who it is on one line of JSON, then reads
//! the name of a work from each line of its input, runs that work for about half a
//! second and answers with a line of JSON:
//!
//! ```text
//! {"peer":"ec2t 0.1.0, avx512","threads":2}
//! {"milliseconds":251.3,"parameters":269722}
//! ```
//!
//! Threads are rayon's; `RAYON_NUM_THREADS` sets their number.
#![expect(clippy::print_stdout, reason = "a program's output")]

mod network;
mod operators;
mod registers;
mod stages;

use std::error::Error;
use std::io::{BufRead, Write};
use std::time::{Duration, Instant};

use ec2t_format::graph::{Graph, Param};
use rand_chacha::ChaCha8Rng;
use rand_chacha::rand_core::{Rng, SeedableRng};
use serde_json::json;

/// A name, and how the work is made ready.
type Named = (&'static str, fn() -> Result<Work, Box<dyn Error>>);

const WORKS: [Named; 9] = [
    ("resnet20-step", network::resnet20_step),
    ("resnet20-forward", network::resnet20_forward),
    ("mobilenet-block", || Ok(operators::mobilenet_block())),
    ("depthwise-3x3", || Ok(operators::depthwise(3))),
    ("depthwise-5x5", || Ok(operators::depthwise(5))),
    ("efficientnet-b0-step", network::efficientnet_b0_step),
    ("adam-step", stages::adam_step),
    ("ec2t-step", stages::ec2t_step),
    ("registers", || Ok(registers::registers())),
];

/// How long a round repeats its work, at least.
const ROUND: Duration = Duration::from_millis(500);
/// Rounds without `--serve`, after one to warm up.
const ROUNDS: usize = 5;

/// Something to measure.
struct Work {
    /// Trained parameters of the network: what both sides must agree on.
    parameters: usize,
    /// How often a run does the work.
    repetitions: u32,
    /// Does the work and tells how long that took.
    run: Box<dyn FnMut() -> Result<Duration, Box<dyn Error>>>,
}

impl Work {
    fn named(name: &str) -> Result<Self, Box<dyn Error>> {
        let (_, new) = WORKS
            .iter()
            .find(|(known, _)| *known == name)
            .ok_or_else(|| format!("unknown work `{name}`"))?;
        new()
    }

    /// Mean milliseconds of repetitions.
    fn round(&mut self) -> Result<f64, Box<dyn Error>> {
        let (mut total, mut repetitions) = (Duration::ZERO, 0);
        while total < ROUND {
            total += (self.run)()?;
            repetitions += self.repetitions;
        }
        Ok(total.as_secs_f64() * 1e3 / f64::from(repetitions))
    }
}

/// How long `work` takes.
fn timed(work: impl FnOnce() -> Result<(), Box<dyn Error>>) -> Result<Duration, Box<dyn Error>> {
    let start = Instant::now();
    work()?;
    Ok(start.elapsed())
}

/// Numbers from −1 to 1.
fn random(len: usize) -> Vec<f32> {
    let mut rng = ChaCha8Rng::seed_from_u64(1);
    (0..len).map(|_| rng.next_u32() as f32 / (u32::MAX / 2) as f32 - 1.0).collect()
}

/// Parameters of a network that gradients train.
fn trained_parameters(graph: &Graph) -> usize {
    let params = graph.params();
    params.iter().filter(|param| param.kind.is_trainable()).map(Param::numel).sum()
}

fn main() -> Result<(), Box<dyn Error>> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    if arguments.iter().any(|argument| argument == "--serve") {
        return serve();
    }
    let filter = arguments.iter().find(|argument| !argument.starts_with('-'));
    let filter = filter.map_or("", String::as_str);
    for (name, new) in WORKS.into_iter().filter(|(name, _)| name.contains(filter)) {
        let mut work = new()?;
        work.round()?;
        let mut rounds = (0..ROUNDS).map(|_| work.round()).collect::<Result<Vec<_>, _>>()?;
        rounds.sort_by(f64::total_cmp);
        println!("{name:24} {:9.2} ms", rounds[ROUNDS / 2]);
    }
    Ok(())
}

fn serve() -> Result<(), Box<dyn Error>> {
    let isa = ec2t_kernels::arch::isa().name();
    let peer = format!("ec2t {}, {isa}", env!("CARGO_PKG_VERSION"));
    answer(&json!({ "peer": peer, "threads": rayon::current_num_threads() }))?;
    let mut current: Option<(String, Work)> = None;
    for name in std::io::stdin().lock().lines() {
        let name = name?;
        if current.as_ref().is_none_or(|(known, _)| *known != name) {
            drop(current.take()); // one work at a time is in memory
            current = Some((name.clone(), Work::named(&name)?));
        }
        let Some((_, work)) = &mut current else { continue };
        let milliseconds = work.round()?;
        answer(&json!({ "milliseconds": milliseconds, "parameters": work.parameters }))?;
    }
    Ok(())
}

fn answer(line: &serde_json::Value) -> std::io::Result<()> {
    let mut output = std::io::stdout().lock();
    writeln!(output, "{line}")?;
    output.flush()
}
