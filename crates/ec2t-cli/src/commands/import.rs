//! `ec2t import`: turn a checkpoint into a model file.

use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use clap::Args;
use ec2t_data::{CROP, Fit};
use ec2t_format::graph::Preprocess;
use ec2t_format::{Graph, Network, fold_batch_norm};
use ec2t_interop::{onnx, safetensors};
use ec2t_scale::ArchOptions;
use serde::Serialize;

use super::export::with_storage;
use super::scale::{ScalingArgs, preprocess};
use crate::config::{Compression, Precision, Preprocessing};
use crate::exit::{BadFile, Usage};
use crate::output::{grouped, print, print_json, tell, write_file};

/// Classes of an architecture unless told otherwise.
const DEFAULT_CLASSES: usize = 10;

/// Turn a PyTorch or safetensors checkpoint, or an ONNX model, into a model file.
///
/// An ONNX model, whose name ends in .onnx, says itself what its layers are, and so does a
/// safetensors file of `ec2t export`; --preprocess is then for networks that do not normalize
/// pixels themselves. A weight tensor of at most three values −a, 0 and +b is stored as ternary,
/// bit for bit.
#[derive(Args)]
pub(crate) struct ImportArgs {
    /// A PyTorch checkpoint (.pt, .pth, .th), a safetensors file or an ONNX model (.onnx).
    #[arg(value_name = "CKPT")]
    checkpoint: PathBuf,
    /// Architecture that the checkpoint belongs to; for files that do not say what their
    /// layers are.
    #[arg(long, value_name = "NAME")]
    arch: Option<String>,
    /// How pixels are normalized; as the file says or not at all, if not given.
    #[arg(long, value_enum)]
    preprocess: Option<Preprocessing>,
    /// Take the middle of pictures, with sides of this share of theirs, instead of
    /// stretching them: 0.875 for most networks of torchvision.
    #[arg(long, value_name = "SHARE")]
    crop: Option<f64>,
    /// Model file to write.
    #[arg(short, long, value_name = "FILE")]
    output: PathBuf,
    /// Number of classes of the architecture; 10, if not given.
    #[arg(long, requires = "arch")]
    classes: Option<usize>,
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
        let network = match &self.arch {
            Some(arch) => self.read_checkpoint(arch)?,
            None => self.labelled(self.read_network()?)?,
        };
        let file = ec2t_format::write_with(&self.stored(&network)?, self.effort.into());
        write_file(&self.output, &file)?;
        self.print(&network, file.len())
    }

    /// The network of a checkpoint, on the graph of its architecture.
    fn read_checkpoint(&self, arch: &str) -> Result<Network> {
        let name = self.checkpoint.display();
        if self.is_onnx() {
            let text = format!("{name}: an ONNX model has its own layers; leave out --arch");
            return Err(Usage(text).into());
        }
        let scaling = (&self.scaling).into();
        let classes = self.classes.unwrap_or(DEFAULT_CLASSES);
        let graph = ec2t_scale::build(arch, &ArchOptions { classes, input: None, scaling })?;
        let imported = ec2t_interop::import(&self.checkpoint, self.label(graph)?)?;
        tell(format_args!("{name}: {}", imported.report));
        Ok(imported.network)
    }

    /// The network of a file that says what its layers are.
    fn read_network(&self) -> Result<Network> {
        if self.is_onnx() {
            let onnx::Imported { network, notes } = onnx::open(&self.checkpoint)?;
            let name = self.checkpoint.display();
            notes.iter().for_each(|note| tell(format_args!("{name}: {note}")));
            return Ok(network);
        }
        let network = safetensors::open(&self.checkpoint)?;
        let name = self.checkpoint.display();
        let text = format!("{name}: it does not say what its layers are; --arch names them");
        Ok(network.ok_or(Usage(text))?)
    }

    fn is_onnx(&self) -> bool {
        self.checkpoint.extension().is_some_and(|extension| extension.eq_ignore_ascii_case("onnx"))
    }

    /// A network that says itself what its layers are, with what the arguments add.
    fn labelled(&self, network: Network) -> Result<Network> {
        let (graph, tensors, metadata) = network.into_parts();
        let channels = graph.input.channels;
        if self.preprocess.is_some() && graph.preprocess != Preprocess::none(channels) {
            let name = self.checkpoint.display();
            let text = format!("{name}: it normalizes pixels itself; leave out --preprocess");
            return Err(Usage(text).into());
        }
        let mut network = Network::new(self.label(graph)?, tensors)?;
        network.metadata = metadata;
        Ok(network)
    }

    /// A graph with the preprocessing and the class names that were given.
    fn label(&self, mut graph: Graph) -> Result<Graph> {
        if let Some(preprocessing) = self.preprocess {
            graph.preprocess = preprocess(preprocessing, graph.input.channels);
        }
        if let Some(path) = &self.class_names {
            graph.classes = read_class_names(path, graph.output_shape()?.numel())?;
        }
        graph.validate()?;
        Ok(graph)
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

    fn print(&self, network: &Network, bytes: usize) -> Result<()> {
        let summary = ImportSummary {
            file: self.output.clone(),
            arch: network.graph().name.clone(),
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

/// The class names in a file, one a line.
fn read_class_names(path: &Path, expected: usize) -> Result<Vec<String>> {
    let text = std::fs::read_to_string(path)
        .with_context(|| format!("cannot read the class names {}", path.display()))?;
    let names = text.lines().map(str::trim).filter(|name| !name.is_empty());
    let names: Vec<String> = names.map(str::to_owned).collect();
    match (path.display(), names.len()) {
        (_, found) if found == expected => Ok(names),
        (path, found) => {
            let text = format!("{path}: expected {expected} class names, found {found}");
            Err(BadFile(text).into())
        }
    }
}
