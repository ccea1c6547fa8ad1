//! The test images whose wrong answers are the most confident, as pictures.
//!
//! `ec2t eval` tells which they are. Their pixels come from the dataset, which may not be at
//! hand any more when a report is written: then the page has their classes alone.

use std::path::Path;

use anyhow::{Result, ensure};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;

use super::data::Mistake;
use super::markup::{Element, element};
use super::number::percent;
use super::parts::figure;
use crate::config::Config;

/// Longest side of a picture in the page, in pixels.
const SIDE: u32 = 96;

/// Looks for the pictures of the run's mistakes: all, or none.
///
/// # Errors
/// Where the dataset is not at hand, or is another than that of the evaluation.
pub(super) fn load_pictures(
    mistakes: &mut [Mistake],
    run_dir: &Path,
    data_dir: Option<&Path>,
) -> Result<()> {
    if mistakes.is_empty() {
        return Ok(());
    }
    let config = Config::read(&run_dir.join("config.toml"))?;
    let test = ec2t_data::load(&config.data.dataset, &config.load_options(data_dir)?)?.test;
    let picture = |mistake: &Mistake| -> Result<Vec<u8>> {
        let (image, class) = (mistake.image, mistake.class);
        let label = test.labels().get(image).map(|&label| label as usize);
        ensure!(label == Some(class), "test image {image} is no longer of class {class}");
        Ok(ec2t_data::thumbnail(&test.image(image)?, test.shape(), SIDE)?)
    };
    let pictures = mistakes.iter().map(picture).collect::<Result<Vec<_>>>()?;
    for (mistake, picture) in mistakes.iter_mut().zip(pictures) {
        mistake.picture = Some(picture);
    }
    Ok(())
}

/// The mistakes, each with its picture, class, answer and probability; nothing where there
/// are none.
pub(super) fn draw(mistakes: &[Mistake], classes: &[String]) -> Vec<Element> {
    if mistakes.is_empty() {
        return Vec::new();
    }
    let items = mistakes.iter().map(|mistake| item(mistake, classes));
    let list = element("ul").class("mistakes").children(items);
    let shown = figure("Wrong answers, the most confident first", &[], list);
    let is_seen = mistakes.iter().all(|mistake| mistake.picture.is_some());
    let note = "Without pictures: the dataset was not at hand when this report was written.";
    let note = (!is_seen).then(|| element("p").class("note").text(note));
    [shown].into_iter().chain(note).collect()
}

fn item(mistake: &Mistake, classes: &[String]) -> Element {
    let (class, answer) = (&classes[mistake.class], &classes[mistake.answer]);
    let title = format!("test image {}: {class}, taken for {answer}", mistake.image);
    let picture = mistake.picture.as_ref().map(|file| {
        let source = format!("data:image/png;base64,{}", STANDARD.encode(file));
        element("img").attr("src", source).attr("alt", &title)
    });
    let text = format!("{answer}, {}", percent(100.0 * mistake.probability, 1));
    element("li")
        .attr("title", &title)
        .children(picture)
        .child(element("span").text(text))
        .child(element("span").class("truth").text(format!("is {class}")))
}
