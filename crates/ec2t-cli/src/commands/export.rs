//! `ec2t export`: write a run's network to a model file.

use std::collections::BTreeMap;

use anyhow::Result;
use clap::Args;
use ec2t_format::tensor::Storage;
use ec2t_format::{Network, Tensor, fold_batch_norm};

use super::eval::top1;
use crate::config::Precision;
use crate::fit::CROP;
use crate::output::{grouped, tell, write_file};
use crate::run_dir::{RunArgs, RunDir};

/// Loss of accuracy, in points, from which on rounding is warned of.
const ROUNDING_MAY_COST: f64 = 0.1;

/// Write a run's network to a model file.
#[derive(Args)]
pub(crate) struct ExportArgs {
    #[command(flatten)]
    run: RunArgs,
}

impl ExportArgs {
    pub(crate) fn run(self) -> Result<()> {
        export(&self.run.open()?)
    }
}

/// Writes the fine-tuned network of a run to its model file.
pub(crate) fn export(run: &RunDir) -> Result<()> {
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
    Ok(())
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
