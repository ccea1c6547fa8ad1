//! `ec2t import`: turn a checkpoint into a model file.

use std::path::PathBuf;

use anyhow::{Context, Result};
use clap::Args;
use ec2t_data::Fit;
use ec2t_format::{Network, fold_batch_norm};
use ec2t_scale::ArchOptions;
use serde::Serialize;

use super::export::with_storage;
use super::scale::{ScalingArgs, preprocess};
use crate::config::{Compression, Precision, Preprocessing};
use crate::exit::BadFile;
use crate::fit::CROP;
use crate::output::{grouped, print, print_json, tell, write_file};

/// Turn a PyTorch or safetensors checkpoint into a model file.
///
/// A weight tensor of at most three values −a, 0 and +b is stored as ternary,
/// bit for bit.
#[derive(Args)]
pub(crate) struct ImportArgs {
    /// A PyTorch checkpoint (.pt, .pth, .th) or a safetensors file.
    #[arg(value_name = "CKPT")]
    checkpoint: PathBuf,
    /// Architecture that the checkpoint belongs to.
    #[arg(long, value_name = "NAME")]
    arch: String,
    /// How pixels are normalized.
    #[arg(long, value_enum, default_value = "none")]
    preprocess: Preprocessing,
    /// Take the middle of pictures, with sides of this share of theirs, instead of
    /// stretching them: 0.875 for most networks of torchvision.
    #[arg(long, value_name = "SHARE")]
    crop: Option<f64>,
    /// Model file to write.
    #[arg(short, long, value_name = "FILE")]
    output: PathBuf,
    /// Number of classes.
    #[arg(long, default_value_t = 10)]
    classes: usize,
    /// File with the name of each class on a line of its own.
    #[arg(long, value_name = "FILE")]
    class_names: Option<PathBuf>,
    #[command(flatten)]
    scaling: ScalingArgs,
    /// Merge batch normalisation into the layer before it.
    #[arg(long)]
    fold_batch_norm: bool,
    /// Precision of all numbers that are not ternary.
    #[arg(long, value_enum, default_value = "f32")]
    side: Precision,
    /// How small to make the file, or how quick to read.
    #[arg(long, value_enum, default_value = "balanced")]
    effort: Compression,
    /// Print the result as JSON.
    #[arg(long)]
    json: bool,
}

/// What was imported.
#[derive(Serialize)]
struct ImportSummary {
    file: PathBuf,
    arch: String,
    tensors: usize,
    ternary_layers: usize,
    params: usize,
    sparsity: f64,
    bytes: usize,
}

impl ImportArgs {
    pub(crate) fn run(self) -> Result<()> {
        Fit::of_crop(self.crop)?;
        let scaling = (&self.scaling).into();
        let options = ArchOptions { classes: self.classes, input: None, scaling };
        let mut graph = ec2t_scale::build(&self.arch, &options)?;
        graph.preprocess = preprocess(self.preprocess, graph.input.channels);
        graph.classes = self.read_class_names()?;
        graph.validate()?;
        let imported = ec2t_interop::import(&self.checkpoint, graph)?;
        tell(format_args!("{}: {}", self.checkpoint.display(), imported.report));
        let file = ec2t_format::write_with(&self.stored(&imported.network)?, self.effort.into());
        write_file(&self.output, &file)?;
        self.print(&imported.network, file.len())
    }

    /// The network as it goes into the file.
    fn stored(&self, network: &Network) -> Result<Network> {
        let network = match self.fold_batch_norm {
            true => fold_batch_norm(network),
            false => network.clone(),
        };
        let mut network = with_storage(network, self.side.into())?;
        network.metadata.extend(self.crop.map(|share| (CROP.to_owned(), share.to_string())));
        Ok(network)
    }

    fn read_class_names(&self) -> Result<Vec<String>> {
        let Some(path) = &self.class_names else { return Ok(Vec::new()) };
        let text = std::fs::read_to_string(path)
            .with_context(|| format!("cannot read the class names {}", path.display()))?;
        let names = text.lines().map(str::trim).filter(|name| !name.is_empty());
        let names: Vec<String> = names.map(str::to_owned).collect();
        if names.len() != self.classes {
            let (path, expected, found) = (path.display(), self.classes, names.len());
            let text = format!("{path}: expected {expected} class names, found {found}");
            return Err(BadFile(text).into());
        }
        Ok(names)
    }

    fn print(&self, network: &Network, bytes: usize) -> Result<()> {
        let summary = ImportSummary {
            file: self.output.clone(),
            arch: self.arch.clone(),
            tensors: network.tensors().len(),
            ternary_layers: network.ternary_layers(),
            params: network.graph().parameter_count(),
            sparsity: network.sparsity(),
            bytes,
        };
        if self.json {
            return print_json(&summary);
        }
        print(&format!(
            "{}: {} parameters, {} ternary layers, {:.2} % zeros, {} bytes",
            self.output.display(),
            grouped(summary.params),
            summary.ternary_layers,
            100.0 * summary.sparsity,
            grouped(bytes),
        ))
    }
}
