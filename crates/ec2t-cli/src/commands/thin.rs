//! `ec2t thin`: take channels out of a model file that do nothing.

use std::fmt::Write;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use clap::Args;
use ec2t_scale::thin::{Thinned, ThinnedLayer, thin};
use serde::Serialize;

use crate::command_log::noted_for_model;
use crate::output::{grouped, print, print_json, write_file};

/// Take channels out of a model file that do nothing.
///
/// Filters without weights go where their constant is 0 behind the activation, and with them
/// what reads them; channels that no filter reads go too. A channel of a residual sum goes if it
/// is dead or unread on all branches.
#[derive(Args)]
pub(crate) struct ThinArgs {
    /// The model file.
    #[arg(value_name = "FILE")]
    model: PathBuf,
    /// Model file to write; it may be the same.
    #[arg(short, long, value_name = "FILE")]
    output: PathBuf,
    /// Print what was taken out as JSON.
    #[arg(long)]
    json: bool,
}

/// What was taken out; pairs are before and after.
#[derive(Serialize)]
struct Summary<'a> {
    file: &'a Path,
    layers: Vec<ThinnedLayer>,
    params: [usize; 2],
    bytes: [usize; 2],
}

impl ThinArgs {
    pub(crate) fn run(self) -> Result<()> {
        let name = self.model.display();
        let file = std::fs::read(&self.model).with_context(|| name.to_string())?;
        let network = ec2t_format::read(&file).with_context(|| name.to_string())?;
        let effort = ec2t_format::layout(&file)?.effort;
        let Thinned { network: thinned, layers } = thin(&network);
        let packed = ec2t_format::write_with(&thinned, effort);
        noted_for_model(&self.output, "thin", || write_file(&self.output, &packed))?;
        let summary = Summary {
            file: &self.output,
            layers,
            params: [&network, &thinned].map(|network| network.graph().parameter_count()),
            bytes: [file.len(), packed.len()],
        };
        match self.json {
            true => print_json(&summary),
            false => print(&summary.table()),
        }
    }
}

impl Summary<'_> {
    /// The layers that have lost channels, and the sums, as columns of text.
    fn table(&self) -> String {
        let names = self.layers.iter().map(|layer| layer.name.chars().count());
        let width = names.max().unwrap_or(0).max("layer".len());
        let mut text = String::new();
        if !self.layers.is_empty() {
            let _ = writeln!(
                text,
                "{:width$}  {:>13}  {:>13}  {:>23}",
                "layer", "inputs", "outputs", "params"
            );
        }
        for ThinnedLayer { name, inputs, outputs, params } in &self.layers {
            let [inputs, outputs, params] = [*inputs, *outputs, *params].map(change);
            let _ = writeln!(text, "{name:width$}  {inputs:>13}  {outputs:>13}  {params:>23}");
        }
        let [params, bytes] = [self.params, self.bytes].map(change);
        let _ = writeln!(text, "{}: {params} parameters, {bytes} bytes", self.file.display());
        text
    }
}

/// `16 → 14`, or one number where nothing has changed.
fn change([before, after]: [usize; 2]) -> String {
    match before == after {
        true => grouped(before),
        false => format!("{} → {}", grouped(before), grouped(after)),
    }
}
