//! `ec2t run`: classify pictures.

use std::path::{Path, PathBuf};
use std::time::Instant;

use anyhow::Result;
use clap::Args;
use ec2t_data::read_picture;
use ec2t_infer::{Model, Prediction};
use serde::Serialize;

use crate::fit::fit;
use crate::output::{print, print_json};
use crate::precision::PrecisionArgs;

/// Classify pictures.
#[derive(Args)]
pub(crate) struct RunArgs {
    /// The model file.
    #[arg(value_name = "FILE")]
    model: PathBuf,
    /// PNG or JPEG pictures.
    #[arg(value_name = "IMAGE", required = true)]
    images: Vec<PathBuf>,
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
        let model = Model::load_with(&self.model, self.precision.into())?;
        let answers: Result<Vec<Answer>> =
            self.images.iter().map(|image| answer(&model, image, self.top)).collect();
        let answers = answers?;
        match self.json {
            true => print_json(&answers),
            false => print(&answers.iter().map(describe).collect::<String>()),
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
