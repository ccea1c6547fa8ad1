//! `ec2t calibrate`: prepare a model file for activations of 8 bits.

use std::path::PathBuf;

use anyhow::{Context, Result};
use clap::Args;
use ec2t_data::{Dataset, LoadOptions};
use ec2t_infer::{Model, calibrate};

use super::eval::check_fit;
use crate::command_log::noted_for_model;
use crate::exit::Usage;
use crate::fit::fit;
use crate::output::{grouped, print, write_file};

/// Prepare a model file for activations of 8 bits: for --precision u8.
///
/// Training images are run, and the range of each layer's values is found: the one that
/// rounding and cutting off what is beyond err least with. The ranges are added to the file,
/// which is the same otherwise.
#[derive(Args)]
pub(crate) struct CalibrateArgs {
    /// The model file.
    #[arg(value_name = "FILE")]
    model: PathBuf,
    /// Name of the dataset.
    #[arg(long, value_name = "NAME")]
    dataset: String,
    /// Folder that holds the dataset's own folder.
    #[arg(long, value_name = "DIR")]
    data_dir: Option<PathBuf>,
    /// How many training images to run, evenly spread over all.
    #[arg(long, value_name = "N", default_value_t = 256)]
    #[arg(value_parser = clap::value_parser!(u32).range(1..))]
    images: u32,
    /// Model file to write; it may be the same.
    #[arg(short, long, value_name = "FILE")]
    output: PathBuf,
}

impl CalibrateArgs {
    pub(crate) fn run(self) -> Result<()> {
        let name = self.model.display();
        let file = std::fs::read(&self.model).with_context(|| name.to_string())?;
        let network = ec2t_format::read(&file).with_context(|| name.to_string())?;
        let model = Model::new(network.clone()).with_context(|| name.to_string())?;
        let shape = model.input_shape();
        let options = LoadOptions {
            data_dir: self.data_dir.clone(),
            image_size: Some([shape.channels, shape.height, shape.width]),
            fit: fit(&model)?,
            ..LoadOptions::default()
        };
        let data = ec2t_data::load(&self.dataset, &options)?.train;
        check_fit(&model, &data)?;
        let count = self.images as usize;
        if count > data.len() {
            let found = data.len();
            return Err(Usage(format!("{count} images wanted, {} has {found}", data.name())).into());
        }
        let images = normalised(&model, &data, count)?;
        let grids = calibrate(&network, &images, count).with_context(|| name.to_string())?;
        let layers = grids.len();
        let effort = ec2t_format::layout(&file)?.effort;
        let packed = ec2t_format::write_with(&network.with_grids(grids)?, effort);
        noted_for_model(&self.output, "calibrate", || write_file(&self.output, &packed))?;
        let (output, before, after) =
            (self.output.display(), grouped(file.len()), grouped(packed.len()));
        print(&format!(
            "{output}: ranges of {layers} layers from {count} images; {after} bytes, {before} before"
        ))
    }
}

/// Images that are evenly spread over a dataset.
fn normalised(model: &Model, data: &Dataset, count: usize) -> Result<Vec<f32>> {
    let mut values = vec![0.0; count * model.input_len()];
    for (index, image) in values.chunks_exact_mut(model.input_len()).enumerate() {
        model.preprocess(&data.image(index * data.len() / count)?, image)?;
    }
    Ok(values)
}
