//! `ec2t bench`: time models, each beside the same network with dense floats.

use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use clap::{Args, ValueEnum};
use ec2t_format::Network;
use ec2t_infer::{Model, Spread, Work, bench};
use ec2t_scale::ArchOptions;
use serde::Serialize;

use super::scale::graph_of;
use crate::disturbance::{COLUMNS, Disturbance, Surroundings};
use crate::exit::Usage;
use crate::machine::{Machine, load_average};
use crate::output::{print, print_json, tell};
use crate::precision::Precision;

/// Seed of random networks, so that all machines time the same ones.
const SEED: u64 = 1;

/// Time models, each beside the same network with dense floats.
///
/// All models and their dense twins take turns, round after round, for each number of threads
/// and of images; the first round does not count. `ratio` is how many times longer the dense
/// twin takes, by the median of the rounds; quartiles are in brackets. The machine should do
/// nothing else; what looks as if it did is told.
#[derive(Args)]
pub(crate) struct BenchArgs {
    /// The model files.
    #[arg(value_name = "MODEL", required_unless_present = "random")]
    models: Vec<PathBuf>,
    /// Time an architecture with random weights too, ternary ones in its body: a name, or an
    /// arch.json. May be given many times.
    #[arg(long, value_name = "ARCH")]
    random: Vec<String>,
    /// Share of zeros among the ternary weights of --random.
    #[arg(long, value_name = "SHARE", default_value_t = 0.9, requires = "random")]
    sparsity: f64,
    /// Numbers of threads.
    #[arg(short, long, value_name = "N", value_delimiter = ',', default_value = "1")]
    #[arg(value_parser = clap::value_parser!(u16).range(1..=1024))]
    threads: Vec<u16>,
    /// Numbers of images that are run at once.
    #[arg(short, long, value_name = "N", value_delimiter = ',', default_value = "1")]
    #[arg(value_parser = clap::value_parser!(u16).range(1..=4096))]
    batch: Vec<u16>,
    /// What activations are computed in; u8 needs files that `ec2t calibrate` has written. The
    /// dense twin is always computed in floats.
    #[arg(long, value_enum, default_value_t = Precision::F32, value_name = "TYPE")]
    precision: Precision,
    /// Rounds of each model.
    #[arg(short, long, value_name = "N", default_value_t = 30)]
    #[arg(value_parser = clap::value_parser!(u32).range(1..=100_000))]
    rounds: u32,
    /// How to print the figures.
    #[arg(short, long, value_enum, default_value_t = Format::Md, value_name = "FORMAT")]
    output: Format,
}

#[derive(Clone, Copy, ValueEnum)]
enum Format {
    /// A table in Markdown.
    Md,
    /// Everything.
    Json,
    /// Everything, one line for each row.
    Csv,
}

/// A network in both forms.
struct Contender {
    name: String,
    arch: String,
    zeros: f64,
    model: Model,
    /// The same with dense floats; none where no layer is ternary.
    dense: Option<Model>,
}

/// One model with so many threads and images. Times are for one image.
#[derive(Serialize)]
struct Row<'a> {
    model: &'a str,
    arch: &'a str,
    /// Share of zeros among all parameters.
    zeros: f64,
    precision: &'static str,
    threads: u16,
    batch: u16,
    rounds: u32,
    milliseconds: Quantiles,
    dense_milliseconds: Option<Quantiles>,
    /// Time of the dense twin over that of the model, in each round.
    ratio: Option<Quantiles>,
    images_per_second: f64,
    #[serde(flatten)]
    disturbance: Disturbance,
    #[serde(flatten)]
    machine: &'a Machine,
    version: &'static str,
    commit: &'static str,
}

#[derive(Clone, Copy, Serialize)]
struct Quantiles {
    min: f64,
    lower: f64,
    median: f64,
    upper: f64,
}

impl From<Spread> for Quantiles {
    fn from(Spread { min, lower, median, upper }: Spread) -> Self {
        Self { min, lower, median, upper }
    }
}

impl BenchArgs {
    pub(crate) fn run(self) -> Result<()> {
        let contenders = self.contenders()?;
        let machine = Machine::look();
        // Before the first round, as rounds are a load too.
        let surroundings =
            Surroundings { load_average: load_average(), processors: machine.processors };
        let mut rows = Vec::new();
        for &threads in &self.threads {
            let pool = rayon::ThreadPoolBuilder::new().num_threads(threads.into()).build()?;
            for &batch in &self.batch {
                let seconds = pool.install(|| measure(&contenders, batch, self.rounds))?;
                let row = |(contender, times): (_, &Times)| Row {
                    threads,
                    batch,
                    disturbance: times.disturbance(surroundings, threads),
                    ..self.row(contender, times, &machine)
                };
                rows.extend(contenders.iter().zip(&seconds).map(row));
            }
        }
        warn(&rows);
        match self.output {
            Format::Md => print(&markdown(&rows, &machine)),
            Format::Json => print_json(&rows),
            Format::Csv => print(&csv(&rows)),
        }
    }

    fn contenders(&self) -> Result<Vec<Contender>> {
        let read = |path: &PathBuf| {
            Contender::read(path, self.precision).with_context(|| path.display().to_string())
        };
        let random = |arch: &String| -> Result<Contender> {
            if self.precision == Precision::U8 {
                let text = "--random has no ranges for --precision u8".to_owned();
                return Err(Usage(text).into());
            }
            let graph = graph_of(arch, &ArchOptions::default())?;
            let network = ec2t_quant::initialize_ternary(&graph, self.sparsity, SEED)?;
            Contender::new(format!("random {arch}"), network, self.precision)
        };
        self.models.iter().map(read).chain(self.random.iter().map(random)).collect()
    }

    /// The figures of a model, without what depends on threads and images.
    fn row<'a>(&self, contender: &'a Contender, times: &Times, machine: &'a Machine) -> Row<'a> {
        let Times { seconds, dense } = times;
        let milliseconds = |seconds: &[f64]| Spread::of(seconds).scaled(1e3).into();
        let ratio = |dense: &Vec<f64>| {
            let ratios: Vec<f64> = dense.iter().zip(seconds).map(|(d, s)| d / s).collect();
            Spread::of(&ratios).into()
        };
        Row {
            model: &contender.name,
            arch: &contender.arch,
            zeros: contender.zeros,
            precision: self.precision.name(),
            threads: 1,
            batch: 1,
            rounds: self.rounds,
            milliseconds: milliseconds(seconds),
            dense_milliseconds: dense.as_deref().map(milliseconds),
            ratio: dense.as_ref().map(ratio),
            images_per_second: 1.0 / Spread::of(seconds).median,
            disturbance: Disturbance::default(),
            machine,
            version: env!("CARGO_PKG_VERSION"),
            commit: env!("EC2T_COMMIT"),
        }
    }
}

impl Contender {
    fn read(path: &Path, precision: Precision) -> Result<Self> {
        let network = ec2t_format::read(&std::fs::read(path)?)?;
        Self::new(path.display().to_string(), network, precision)
    }

    fn new(name: String, network: Network, precision: Precision) -> Result<Self> {
        let is_ternary = network.ternary_layers() > 0;
        let dense = is_ternary.then(|| Model::new(network.to_dense())).transpose()?;
        Ok(Self {
            name,
            arch: network.graph().name.clone(),
            zeros: network.sparsity(),
            model: Model::with_precision(network, precision.into())?,
            dense,
        })
    }
}

/// Seconds that an image took, in each round.
struct Times {
    seconds: Vec<f64>,
    dense: Option<Vec<f64>>,
}

impl Times {
    fn disturbance(&self, surroundings: Surroundings, threads: u16) -> Disturbance {
        let both = [Some(&self.seconds), self.dense.as_ref()];
        let spreads = both.into_iter().flatten().map(|seconds| Spread::of(seconds));
        Disturbance::of(surroundings, threads.into(), spreads)
    }
}

/// Tells which figures may be those of a machine that did something else as well.
fn warn(rows: &[Row]) {
    let disturbed: Vec<&Row> = rows.iter().filter(|row| row.disturbance.is_seen()).collect();
    for row in &disturbed {
        let Row { model, threads, batch, disturbance, .. } = row;
        tell(format_args!("{model} (threads: {threads}, images: {batch}): {disturbance}"));
    }
    if !disturbed.is_empty() {
        tell("something else may have been at work: time again when the machine is idle");
    }
}

/// Times all contenders, in turn, on the rayon pool of whoever calls.
fn measure(contenders: &[Contender], batch: u16, rounds: u32) -> Result<Vec<Times>> {
    let models = contenders.iter().flat_map(|c| std::iter::once(&c.model).chain(&c.dense));
    let mut works: Vec<Work> = models.map(|model| Work::new(model, batch.into())).collect();
    let mut seconds = bench(&mut works, rounds as usize)?.into_iter();
    let mut next = || seconds.next().expect("one for each work");
    let times = |contender: &Contender| Times {
        seconds: next(),
        dense: contender.dense.is_some().then(&mut next),
    };
    Ok(contenders.iter().map(times).collect())
}

fn markdown(rows: &[Row], machine: &Machine) -> String {
    let mut text = String::from(
        "| model | zeros % | precision | threads | images | ms/image | least | images/s | dense ms | ratio |\n\
         |---|---|---|---|---|---|---|---|---|---|\n",
    );
    for row in rows {
        let cells = [
            row.model.to_owned(),
            format!("{:.2}", 100.0 * row.zeros),
            row.precision.to_owned(),
            row.threads.to_string(),
            row.batch.to_string(),
            with_quartiles(&row.milliseconds, 4),
            format!("{:.4}", row.milliseconds.min),
            format!("{:.0}", row.images_per_second),
            row.dense_milliseconds.map_or("–".to_owned(), |dense| with_quartiles(&dense, 4)),
            row.ratio.map_or("–".to_owned(), |ratio| with_quartiles(&ratio, 2)),
        ];
        text += &format!("| {} |\n", cells.join(" | "));
    }
    let cpu = machine.cpu.as_deref().unwrap_or("unknown CPU");
    let (isa, processors) = (machine.isa, machine.processors);
    let (version, commit) = (env!("CARGO_PKG_VERSION"), env!("EC2T_COMMIT"));
    text + &format!("\n{cpu}, {processors} processors, {isa}; ec2t {version} ({commit})\n")
}

fn with_quartiles(spread: &Quantiles, decimals: usize) -> String {
    let Quantiles { lower, median, upper, .. } = spread;
    format!("{median:.decimals$} ({lower:.decimals$}–{upper:.decimals$})")
}

/// The columns of a quantity's quantiles.
const QUANTILES: [&str; 4] = ["min", "lower", "median", "upper"];

fn csv(rows: &[Row]) -> String {
    let spread = |name: &str| QUANTILES.map(|quantile| format!("{name}_{quantile}")).join(",");
    let [own, dense, ratio] = ["milliseconds", "dense_milliseconds", "ratio"].map(spread);
    let mut text = format!(
        "model,arch,zeros,precision,threads,batch,rounds,{own},{dense},{ratio},\
         images_per_second,{},cpu,processors,isa,version,commit\n",
        COLUMNS.join(",")
    );
    for row in rows {
        let Machine { cpu, processors, isa } = row.machine;
        let cells = [
            quoted(row.model),
            quoted(row.arch),
            row.zeros.to_string(),
            row.precision.to_owned(),
            row.threads.to_string(),
            row.batch.to_string(),
            row.rounds.to_string(),
            numbers(Some(row.milliseconds)),
            numbers(row.dense_milliseconds),
            numbers(row.ratio),
            row.images_per_second.to_string(),
            row.disturbance.cells().join(","),
            quoted(cpu.as_deref().unwrap_or_default()),
            processors.to_string(),
            (*isa).to_owned(),
            row.version.to_owned(),
            row.commit.to_owned(),
        ];
        text += &(cells.join(",") + "\n");
    }
    text
}

/// Four cells, empty where there are no numbers.
fn numbers(spread: Option<Quantiles>) -> String {
    let cells = spread.map(|Quantiles { min, lower, median, upper }| {
        [min, lower, median, upper].map(|number| number.to_string()).join(",")
    });
    cells.unwrap_or(",,,".to_owned())
}

/// A cell of text (RFC 4180).
fn quoted(text: &str) -> String {
    match text.contains([',', '"', '\n', '\r']) {
        true => format!("\"{}\"", text.replace('"', "\"\"")),
        false => text.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cells_with_commas_and_quotes_are_quoted() {
        assert_eq!(quoted("a.ec2t"), "a.ec2t");
        assert_eq!(quoted("a, \"b\""), "\"a, \"\"b\"\"\"");
        assert_eq!(numbers(None).split(',').count(), 4);
    }
}
