//! `ec2t export`: write a run's network to a model file, or a model file in other formats.

use std::collections::BTreeMap;
use std::path::PathBuf;

use anyhow::{Context, Result};
use clap::{ArgGroup, Args};
use ec2t_data::CROP;
use ec2t_format::tensor::Storage;
use ec2t_format::{Network, Tensor, fold_batch_norm};

use super::eval::top1;
use crate::command_log::noted;
use crate::config::Precision;
use crate::convert::Formats;
use crate::output::{grouped, tell, write_file};
use crate::run_dir::{RunArgs, RunDir};

/// Loss of accuracy, in points, from which on rounding is warned of.
const ROUNDING_MAY_COST: f64 = 0.1;

/// Write a run's network to a model file, or a model file in another format.
///
/// With --run-dir, the fine-tuned network is written to RUN/model.ec2t, and then in the
/// formats that are asked for.
#[derive(Args)]
#[command(group(ArgGroup::new("format").multiple(true)))]
pub(crate) struct ExportArgs {
    /// A model file to write in another format.
    #[arg(value_name = "FILE", required_unless_present = "run_dir", requires = "format")]
    model: Option<PathBuf>,
    /// Folder of a run; holds config.toml.
    #[arg(long, value_name = "DIR", conflicts_with = "model")]
    run_dir: Option<PathBuf>,
    /// Folder that holds the dataset's own folder.
    #[arg(long, value_name = "DIR")]
    data_dir: Option<PathBuf>,
    #[command(flatten)]
    formats: Formats,
}

impl ExportArgs {
    pub(crate) fn run(self) -> Result<()> {
        let data_dir = self.data_dir.as_deref();
        let network = match self.model {
            Some(path) => {
                let name = path.display();
                let file = std::fs::read(&path).with_context(|| name.to_string())?;
                ec2t_format::read(&file).with_context(|| name.to_string())?
            }
            None => {
                let run_dir = self.run_dir.unwrap_or_default();
                let run = RunArgs { run_dir, data_dir: self.data_dir.clone() }.open()?;
                noted(run.path(), "export", false, || export(&run))?
            }
        };
        self.formats.write(&network, data_dir)
    }
}

/// Writes the fine-tuned network of a run to its model file, and gives what is in it.
pub(crate) fn export(run: &RunDir) -> Result<Network> {
    let export = &run.config.export;
    let mut exact = run.network("finetune", "finetune")?;
    if export.fold_batch_norm {
        exact = fold_batch_norm(&exact);
    }
    let mut network = with_storage(exact.clone(), export.side.into())?;
    network.metadata = BTreeMap::from([
        ("dataset".to_owned(), run.config.data.dataset.clone()),
        ("method".to_owned(), run.config.ternarize.ec2t.method.to_string()),
        ("producer".to_owned(), concat!("ec2t ", env!("CARGO_PKG_VERSION")).to_owned()),
        ("seed".to_owned(), run.config.run.seed.to_string()),
    ]);
    if let Some(share) = run.config.data.crop {
        network.metadata.insert(CROP.to_owned(), share.to_string());
    }
    if let Some(top1) = validate(run, exact, &network)? {
        network.metadata.insert("validation_top1".to_owned(), format!("{top1:.2}"));
    }
    let file = ec2t_format::write_with(&network, export.effort.into());
    let path = run.join("model.ec2t");
    write_file(&path, &file)?;
    tell(format_args!("{}: {} bytes", path.display(), grouped(file.len())));
    Ok(network)
}

/// Accuracy of a run's network on the validation images, if there are any; tells
/// what rounding its floats has cost.
fn validate(run: &RunDir, exact: Network, rounded: &Network) -> Result<Option<f64>> {
    let images = run.splits()?.validation;
    if images.is_empty() {
        return Ok(None);
    }
    let after = top1(rounded.clone(), &images)?;
    if run.config.export.side == Precision::F16 {
        let before = top1(exact, &images)?;
        tell(format_args!(
            "{after:.2} % of {} validation images right with 16-bit floats, {before:.2} % with 32 bits",
            grouped(images.len())
        ));
        if before - after > ROUNDING_MAY_COST {
            tell("that is a loss: export.side = \"f32\" in config.toml keeps all bits");
        }
    }
    Ok(Some(after))
}

/// The network with its floats at this precision.
pub(super) fn with_storage(network: Network, storage: Storage) -> Result<Network> {
    let (graph, tensors, metadata) = network.into_parts();
    let stored = |tensor: Tensor| match tensor {
        Tensor::Dense(dense) => Tensor::Dense(dense.with_storage(storage)),
        ternary => ternary,
    };
    let tensors = tensors.into_iter().map(|(name, tensor)| (name, stored(tensor))).collect();
    let mut network = Network::new(graph, tensors)?;
    network.metadata = metadata;
    Ok(network)
}
