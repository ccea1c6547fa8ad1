//! `ec2t run`: classify pictures.

use std::path::{Path, PathBuf};
use std::time::Instant;

use anyhow::Result;
use clap::Args;
use clap::builder::PossibleValuesParser;
use ec2t_data::read_picture;
use ec2t_infer::{LoadError, Model, Prediction, builtin};
use serde::Serialize;

use crate::exit::Usage;
use crate::fit::fit;
use crate::output::{print, print_json};
use crate::precision::PrecisionArgs;

/// Classify pictures.
#[derive(Args)]
#[command(override_usage = "ec2t run [OPTIONS] <MODEL> <IMAGE>...\n       \
                            ec2t run [OPTIONS] --builtin <NAME> <IMAGE>...")]
pub(crate) struct RunArgs {
    /// The model file, unless --builtin names a model, then PNG or JPEG pictures.
    #[arg(value_name = "FILE", required = true)]
    files: Vec<PathBuf>,
    /// Use a trained model that is part of this program.
    #[arg(long, value_name = "NAME", value_parser = PossibleValuesParser::new(builtin::names()))]
    builtin: Option<String>,
    /// How many classes to show.
    #[arg(long, default_value_t = 5, value_name = "K")]
    top: usize,
    #[command(flatten)]
    precision: PrecisionArgs,
    /// Print the result as JSON.
    #[arg(long)]
    json: bool,
}

/// The classes of one picture.
#[derive(Serialize)]
struct Answer<'a> {
    image: &'a Path,
    /// Time of the network alone, reading and scaling excluded.
    milliseconds: f64,
    top: Vec<Guess>,
}

#[derive(Serialize)]
struct Guess {
    class: usize,
    #[serde(skip_serializing_if = "Option::is_none")]
    name: Option<String>,
    probability: f32,
}

impl RunArgs {
    pub(crate) fn run(self) -> Result<()> {
        let (model, images) = self.model_and_images()?;
        let answers: Result<Vec<Answer>> =
            images.iter().map(|image| answer(&model, image, self.top)).collect();
        let answers = answers?;
        match self.json {
            true => print_json(&answers),
            false => print(&answers.iter().map(describe).collect::<String>()),
        }
    }

    fn model_and_images(&self) -> Result<(Model, &[PathBuf])> {
        let precision = self.precision.into();
        if let Some(file) = self.builtin.as_deref().and_then(builtin::file) {
            let network = ec2t_format::read(file).map_err(LoadError::from)?;
            return Ok((Model::with_precision(network, precision)?, &self.files));
        }
        match self.files.as_slice() {
            [model, images @ ..] if !images.is_empty() => {
                Ok((Model::load_with(model, precision)?, images))
            }
            _ => Err(Usage("expected a MODEL and an IMAGE, found one file".into()).into()),
        }
    }
}

fn answer<'a>(model: &Model, path: &'a Path, top: usize) -> Result<Answer<'a>> {
    let shape = model.input_shape();
    let pixels = read_picture(path, [shape.channels, shape.height, shape.width], fit(model)?)?;
    let started = Instant::now();
    let predictions = model.classify(&pixels, top)?;
    let milliseconds = 1e3 * started.elapsed().as_secs_f64();
    let guess = |p: Prediction| Guess { class: p.class, name: p.name, probability: p.probability };
    Ok(Answer { image: path, milliseconds, top: predictions.into_iter().map(guess).collect() })
}

fn describe(answer: &Answer) -> String {
    let mut text = format!("{} ({:.2} ms)\n", answer.image.display(), answer.milliseconds);
    for guess in &answer.top {
        let class = guess.class.to_string();
        let name = guess.name.as_deref().unwrap_or(&class);
        text += &format!("  {:5.1} %  {name}\n", 100.0 * guess.probability);
    }
    text
}
