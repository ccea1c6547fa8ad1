//! What networks are given to look at.

use std::sync::OnceLock;

use ec2t_data::{DATA_DIR_VAR, Dataset, LoadOptions, Original};
use ec2t_infer::{Model, RunError};

use super::random::{seeded, uniform};

/// Where the images of a model are from.
#[derive(Clone, Copy)]
pub(super) enum Source {
    /// CIFAR-10, for models of that size, where it is at hand.
    Cifar10(&'static Original),
    /// Numbers from −2 to 2.
    Random,
}

impl Source {
    pub(super) fn of(model: &Model) -> Self {
        let shape = model.input_shape();
        let fits =
            |data: &&Original| data.test.shape() == [shape.channels, shape.height, shape.width];
        cifar10().filter(fits).map_or(Source::Random, Source::Cifar10)
    }

    pub(super) fn name(self) -> &'static str {
        match self {
            Source::Cifar10(_) => "CIFAR-10",
            Source::Random => "random",
        }
    }

    /// The first test images, `[N, C, H, W]`: what is run.
    ///
    /// # Errors
    /// [`RunError::InputLength`], where an image is none of the model's.
    pub(super) fn input(self, model: &Model, count: usize) -> Result<Vec<f32>, RunError> {
        match self {
            Source::Cifar10(data) => normalised(model, &data.test, count),
            Source::Random => Ok(uniform(&mut seeded(1), count * model.input_len(), 2.0)),
        }
    }

    /// The first training images, to choose the ranges of integers from.
    ///
    /// # Errors
    /// As [`input`](Self::input).
    pub(super) fn calibration(self, model: &Model, count: usize) -> Result<Vec<f32>, RunError> {
        match self {
            Source::Cifar10(data) => normalised(model, &data.train, count),
            Source::Random => Ok(uniform(&mut seeded(2), count * model.input_len(), 2.0)),
        }
    }
}

/// The first images of a dataset.
fn normalised(model: &Model, data: &Dataset, count: usize) -> Result<Vec<f32>, RunError> {
    let mut values = vec![0.0; count * model.input_len()];
    for (index, image) in values.chunks_exact_mut(model.input_len()).enumerate() {
        model.preprocess(&data.image(index).expect("in memory"), image)?;
    }
    Ok(values)
}

/// CIFAR-10, read once, where the environment names its folder.
fn cifar10() -> Option<&'static Original> {
    static DATA: OnceLock<Option<Original>> = OnceLock::new();
    let read = || {
        let data_dir = std::env::var_os(DATA_DIR_VAR)?.into();
        let options = LoadOptions { data_dir: Some(data_dir), ..LoadOptions::default() };
        ec2t_data::read_original("cifar10", &options).ok()
    };
    DATA.get_or_init(read).as_ref()
}
