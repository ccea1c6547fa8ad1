//! `ec2t inspect`: show what a model file holds, to the byte.

use std::fmt::Write;
use std::path::PathBuf;

use anyhow::{Context, Result};
use clap::Args;
use ec2t_format::stats::{FileStats, LayerStats, file_stats};

use crate::output::{grouped, print, print_json};

/// Show what a model file holds, to the byte.
#[derive(Args)]
pub(crate) struct InspectArgs {
    /// The model file.
    #[arg(value_name = "FILE")]
    model: PathBuf,
    /// Print the table as JSON.
    #[arg(long)]
    json: bool,
}

impl InspectArgs {
    pub(crate) fn run(self) -> Result<()> {
        let read = || -> Result<FileStats> {
            let file = std::fs::read(&self.model)?;
            let network = ec2t_format::read(&file)?;
            Ok(file_stats(&network, &ec2t_format::layout(&file)?))
        };
        let stats = read().with_context(|| self.model.display().to_string())?;
        match self.json {
            true => print_json(&stats),
            false => print(&table(&stats)),
        }
    }
}

/// The layers, the other parts and the sum, as columns of text, and what the
/// sum is for. Entropy and stored bits are per weight.
fn table(stats: &FileStats) -> String {
    let name = |layer: &LayerStats| layer.name.chars().count();
    let width = stats.layers.iter().map(name).max().unwrap_or(0).max(10);
    let mut text = format!(
        "{:width$}  {:10}  {:>14}  {:>10}  {:>7}  {:>9}  {:>8}  {:>8}  {:>9}\n",
        "layer", "op", "shape", "params", "zeros %", "codec", "entropy", "bits/w", "bytes"
    );
    for layer in &stats.layers {
        let shape: Vec<String> = layer.shape.iter().map(ToString::to_string).collect();
        let zeros = 100.0 * layer.zeros as f64 / layer.params.max(1) as f64;
        let entropy = layer.entropy_bits.map_or("–".to_owned(), |bits| format!("{bits:.3}"));
        let _ = writeln!(
            text,
            "{:width$}  {:10}  {:>14}  {:>10}  {zeros:>7.2}  {:>9}  {entropy:>8}  {:>8.3}  {:>9}",
            layer.name,
            layer.op,
            shape.join("×"),
            grouped(layer.params),
            layer.encoding,
            layer.stored_bits,
            grouped(layer.bytes),
        );
    }
    for part in &stats.rest {
        let _ = writeln!(text, "{:width$}  {:>89}", part.name, grouped(part.bytes));
    }
    let _ = writeln!(text, "{:width$}  {:>89}", "total", grouped(stats.total_bytes));
    let _ = writeln!(
        text,
        "codes {}, centroids and floats {}, overhead {} bytes",
        grouped(stats.payload_bytes),
        grouped(stats.side_bytes),
        grouped(stats.overhead_bytes),
    );
    text
}
