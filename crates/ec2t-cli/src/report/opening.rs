//! How the page begins: what the network is, the numbers that matter most, and what is to
//! come where the run has not come to its end.

use super::data::{Finished, Model, Report};
use super::markup::{Element, element};
use super::number::{decimal, percent, prefixed};
use super::parts::{code, paragraph, word};
use crate::output::grouped;

/// A number that matters: its name, the number and a note.
type Fact = (&'static str, String, String);

pub(super) fn introduction(report: &Report, title: &str) -> Element {
    let size = format!(
        "A network of {} parameters and {} multiply-accumulates for an image of {}.",
        grouped(report.parameters),
        prefixed(report.macs, ""),
        report.input,
    );
    let layers = report.model.as_ref().map_or(String::new(), ternary_layers);
    let test = report.finished().map_or(String::new(), |finished| {
        format!(
            " Accuracy is that of the stored file on {} test images, which this run used for \
             nothing else.",
            grouped(finished.ternary.images)
        )
    });
    let kind = match report.training.len() {
        ..2 => "Network of floats, to be made ternary",
        _ => "Sparse ternary network",
    };
    element("header")
        .child(paragraph(kind.into()).class("eyebrow"))
        .child(element("h1").text(title))
        .child(paragraph(size + &layers + &test))
}

fn ternary_layers(model: &Model) -> String {
    let ternary = model.layers.iter().filter(|layer| layer.clusters.is_some()).count();
    let weighted = model.layers.iter().filter(|layer| layer.stats.macs > 0).count();
    format!(" In {ternary} of its {weighted} layers with weights, each weight is −a, 0 or +b.")
}

/// The numbers that matter most.
pub(super) fn headline(report: &Report) -> Element {
    let accuracy = report.finished().map_or_else(|| validated(report), tested);
    let others = match &report.model {
        Some(model) => of_file(report, model),
        None => of_floats(report),
    };
    let card = |(name, value, note): Fact| {
        element("div")
            .child(element("dt").text(name))
            .child(element("dd").class("value").text(value))
            .child(element("dd").text(note))
    };
    let facts = [accuracy].into_iter().chain(others);
    element("dl").class("headline").children(facts.map(card))
}

fn tested(Finished { float, ternary, .. }: Finished<'_>) -> Fact {
    let change = match decimal(ternary.top1 - float.top1, 2) {
        gain if ternary.top1 > float.top1 => format!("+{gain}"),
        loss => loss,
    };
    let note = format!("{} in floats: {change} points", percent(float.top1, 2));
    ("Accuracy", percent(ternary.top1, 2), note)
}

/// Accuracy as far as it is known before test images are looked at.
fn validated(report: &Report) -> Fact {
    let last = report.last_training().and_then(|last| Some((&last.stage, last.best?)));
    match last {
        Some((stage, best)) => {
            ("Accuracy", percent(best.top1, 2), format!("of the validation images, after {stage}"))
        }
        None => ("Accuracy", "–".into(), "not measured yet".into()),
    }
}

fn of_file(report: &Report, model: &Model) -> [Fact; 3] {
    let entropy = model.ternary.entropy_bits.map_or(String::new(), |bits| {
        format!("; {} bits of entropy per ternary weight", decimal(bits, 2))
    });
    [
        (
            "Zeros",
            percent(100.0 * model.ternary.sparsity, 1),
            format!("of all parameters{entropy}"),
        ),
        (
            "File",
            prefixed(model.file_bytes, "B"),
            format!("{} bytes with everything to run it", grouped(model.file_bytes)),
        ),
        (
            "Smaller",
            format!("{} ×", decimal(model.compression, 1)),
            format!("than {} bytes of 32-bit floats", grouped(report.float_bytes)),
        ),
    ]
}

fn of_floats(report: &Report) -> [Fact; 3] {
    let zeros = report.last_training().and_then(|last| last.sparsity);
    [
        (
            "Zeros",
            zeros.map_or("–".into(), |zeros| percent(100.0 * zeros, 1)),
            "of all parameters so far".into(),
        ),
        (
            "Floats",
            prefixed(report.float_bytes, "B"),
            format!("{} bytes as 32-bit floats", grouped(report.float_bytes)),
        ),
        (
            "Operations",
            prefixed(report.macs, ""),
            "multiply-accumulates for an image, with all weights".into(),
        ),
    ]
}

/// What the run has not come to, and the commands that go on; nothing where it has ended.
pub(super) fn to_come(report: &Report) -> Option<Element> {
    let files: Vec<&str> = report.to_come.iter().map(|stage| stage.file.as_str()).collect();
    let text = format!("Not there yet: {}. These commands go on, and ", files.join(", "));
    let text = paragraph(text).child(word("ec2t report")).text(" then writes this page anew:");
    let commands = report.to_come.iter().map(|stage| stage.command.clone());
    (!files.is_empty()).then(|| {
        let title = element("h2").text("To come");
        element("section").child(title).child(text).child(code(commands))
    })
}
