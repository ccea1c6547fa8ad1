//! The report of a run: `report.json` for programs, `report.html` for people, and
//! `MODEL_CARD.md` for those who publish the model.
//!
//! [`build`] collects every number from the files that the other commands left
//! in the run's folder: those up to pretraining, and as many of the later ones as there are.
//! [`html`] lays the same numbers out as one page that
//! needs no network and no scripts.
//!
//! | module | does |
//! |---|---|
//! | [`data`] | says what is in a report |
//! | [`inputs`] | reads the run's files, or says which is bad and who writes it |
//! | [`collect`] | computes the report from them, as far as they go |
//! | [`model`] | takes `model.ec2t` apart |
//! | [`page`] | lays out the page, section by section |
//! | [`opening`] | begins the page: the numbers that matter, and what is to come |
//! | [`figures`] | draws clusters, sizes and operations |
//! | [`layers`] | draws each ternary layer over the epochs |
//! | [`front`] | draws accuracy over size for the points of a sweep |
//! | [`card`] | writes the model card |
//! | [`confusion`] | draws which classes are taken for which |
//! | [`mistakes`] | shows test images with wrong answers |
//! | [`chart`] | draws curves over epochs |
//! | [`parts`] | makes tables, captions and bars |
//! | [`tensorboard`] | writes the epochs for TensorBoard |
//! | [`markup`] | writes elements of HTML and SVG, escaped |
//! | [`number`] | writes numbers for people |

mod card;
mod chart;
mod collect;
mod confusion;
mod data;
mod figures;
mod front;
#[cfg(test)]
mod in_browser;
mod inputs;
mod layers;
mod markup;
mod mistakes;
mod model;
mod number;
mod opening;
mod page;
mod parts;
mod tensorboard;
#[cfg(test)]
mod tests;

use std::path::{Path, PathBuf};

use anyhow::Result;

pub(crate) use collect::build;
pub(crate) use data::Report;
pub(crate) use page::html;

use crate::output::{tell, write_file, write_json};

/// Builds the report of the run in `run_dir` and writes it there as
/// `report.json`, `report.html` and, where it has come to its end, `MODEL_CARD.md`, each whole or
/// not at all. Pictures are looked for in `data_dir` too; where there are none, the page says so. `commit` names the version of
/// the program.
///
/// # Errors
/// Where one of the run's files is missing or malformed, or cannot be written.
pub(crate) fn write(run_dir: &Path, data_dir: Option<&Path>, commit: &str) -> Result<Report> {
    let mut report = build(run_dir, commit)?;
    if let Some(tested) = report.model.as_mut().and_then(|model| model.tested.as_mut())
        && let Err(error) = mistakes::load_pictures(&mut tested.mistakes, run_dir, data_dir)
    {
        tell(format_args!("the report is without pictures: {error:#}"));
    }
    write_json(&run_dir.join("report.json"), &report)?;
    write_file(&run_dir.join("report.html"), html(&report).as_bytes())?;
    if let Some(finished) = report.finished() {
        write_file(&run_dir.join("MODEL_CARD.md"), card::markdown(finished).as_bytes())?;
    }
    Ok(report)
}

/// Writes the epochs of each training stage for TensorBoard; gives the folders,
/// `tensorboard/<stage>` of the run.
///
/// # Errors
/// Where a file cannot be written.
pub(crate) fn write_tensorboard(run_dir: &Path, report: &Report) -> Result<Vec<PathBuf>> {
    let stages = report.epochs.chunk_by(|a, b| a.stage == b.stage);
    let write = |epochs: &[data::Epoch]| {
        let folder = run_dir.join("tensorboard").join(&epochs[0].stage);
        // TensorBoard takes any file whose name has `tfevents`.
        write_file(&folder.join("events.out.tfevents.0.ec2t"), &tensorboard::events(epochs))?;
        Ok(folder)
    };
    stages.map(write).collect()
}
