//! `ec2t score`: what a model costs by the rules of the MicroNet challenge.

use std::path::PathBuf;

use anyhow::{Context, Result};
use clap::{Args, ValueEnum};
use ec2t_format::stats::file_stats;
use ec2t_scale::Score;
use ec2t_scale::score::{self, Rules};

use super::scale::read_graph;
use crate::output::{print, print_json};

/// Bits of numbers of a graph without weights.
const GRAPH_BITS: u64 = 32;

/// Count parameters, operations and energy by the rules of the MicroNet challenge.
///
/// Zeros are neither stored nor computed with, and a ternary layer has two multiplications
/// for each output. A graph alone, arch.json, is counted with all weights.
#[derive(Args)]
pub(crate) struct ScoreArgs {
    /// The model file, or a graph, arch.json.
    #[arg(value_name = "FILE")]
    model: PathBuf,
    /// What is counted.
    #[arg(long, value_enum, default_value_t = Mode::Strict)]
    mode: Mode,
    /// Bits of stored numbers and of operands of multiplications; 16 where layers are ternary,
    /// else 32, if not given.
    #[arg(long, value_name = "BITS", value_parser = clap::value_parser!(u64).range(8..=32))]
    bits: Option<u64>,
    /// Print the table as JSON.
    #[arg(long)]
    json: bool,
}

#[derive(Clone, Copy, ValueEnum)]
enum Mode {
    /// All that is stored and computed.
    Strict,
    /// As the method's authors count: gives their published figures.
    Reference,
}

impl From<Mode> for score::Mode {
    fn from(mode: Mode) -> Self {
        match mode {
            Mode::Strict => score::Mode::Strict,
            Mode::Reference => score::Mode::Reference,
        }
    }
}

impl ScoreArgs {
    pub(crate) fn run(self) -> Result<()> {
        let score = match self.model.extension().is_some_and(|extension| extension == "json") {
            true => self.score_graph()?,
            false => self.score_model().with_context(|| self.model.display().to_string())?,
        };
        match self.json {
            true => print_json(&score),
            false => print(&score.to_string()),
        }
    }

    fn score_model(&self) -> Result<Score> {
        let file = std::fs::read(&self.model)?;
        let network = ec2t_format::read(&file)?;
        let mut rules = Rules::for_network(self.mode.into(), &network);
        rules.bits = self.bits.unwrap_or(rules.bits);
        let stats = file_stats(&network, &ec2t_format::layout(&file)?);
        Ok(Score::of_network(&network, rules)?.with_file(&stats))
    }

    fn score_graph(&self) -> Result<Score> {
        let graph = read_graph(&self.model)?;
        let bits = self.bits.unwrap_or(GRAPH_BITS);
        Ok(Score::of_graph(&graph, Rules { mode: self.mode.into(), bits })?)
    }
}
