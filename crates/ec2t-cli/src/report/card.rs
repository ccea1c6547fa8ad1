//! `MODEL_CARD.md`: what somebody has to know who gets the model from somebody else.
//!
//! A README for hubs of models: a header in YAML that programs read, as the Hugging Face Hub
//! defines it, and text for people. Everything is from the report; of the weights' own licence
//! nothing is known here, and the card says so.

use std::fmt::Write;

use ec2t_data::Manifest;

use super::data::{Finished, Report};
use super::number::{decimal, percent};
use crate::output::grouped;

/// The card of a finished run.
pub(super) fn markdown(finished: Finished<'_>) -> String {
    let report = finished.report;
    let mut text = header(finished);
    let parts =
        [introduction(finished), use_it(report), numbers(finished), data(report), limits(finished)];
    for part in parts.into_iter().chain(commands(report)) {
        let _ = write!(text, "\n{part}");
    }
    text
}

/// The part between dashes, for programs.
fn header(Finished { report, ternary, .. }: Finished<'_>) -> String {
    let (arch, dataset) = (quoted(&report.arch), quoted(&report.dataset));
    format!(
        "---\n\
         license: unknown\n\
         library_name: ec2t\n\
         pipeline_tag: image-classification\n\
         tags: [ternary, sparse, quantization, ec2t]\n\
         datasets: [{dataset}]\n\
         metrics: [accuracy]\n\
         model-index:\n\
         - name: {arch}\n\
         \x20 results:\n\
         \x20 - task: {{ type: image-classification }}\n\
         \x20   dataset: {{ name: {dataset}, type: {dataset}, split: test }}\n\
         \x20   metrics:\n\
         \x20   - {{ type: accuracy, value: {:.4} }}\n\
         ---\n",
        ternary.top1 / 100.0
    )
}

fn introduction(Finished { report, model, .. }: Finished<'_>) -> String {
    format!(
        "# {} on {}, ternary\n\n\
         A convolutional network of {} parameters whose weights are −a, 0 or +b in most layers, \
         with an a and a b for each layer; {} of all parameters are zero. `model.ec2t` has {} \
         bytes: graph, preprocessing, class names and weights.\n",
        report.arch,
        report.dataset,
        grouped(report.parameters),
        percent(100.0 * model.ternary.sparsity, 1),
        grouped(model.file_bytes),
    )
}

fn use_it(report: &Report) -> String {
    let classes: Vec<&str> = report.classes.iter().map(String::as_str).collect();
    format!(
        "## Use\n\n```sh\nec2t run model.ec2t picture.png\n```\n\n\
         Input: an image of {}, as 8-bit pixels; the file has what they are normalized with. \
         Output: {} classes: {}.\n",
        report.input,
        classes.len(),
        classes.join(", ")
    )
}

fn numbers(Finished { report, model, float, ternary, .. }: Finished<'_>) -> String {
    let mut text = format!(
        "## Figures\n\n\
         | | float network | this model |\n|---|---|---|\n\
         | top-1, {} test images | {} | {} |\n\
         | bytes | {} | {} ({} × smaller) |\n\
         | multiply-accumulates of a dense network | {} | – |\n",
        grouped(ternary.images),
        percent(float.top1, 2),
        percent(ternary.top1, 2),
        grouped(report.float_bytes),
        grouped(model.file_bytes),
        decimal(model.compression, 1),
        grouped(report.macs),
    );
    if let [dense, .., ternary] = model.operations.as_slice() {
        let (dense, ternary) = (grouped(dense.total()), grouped(ternary.total()));
        let _ = writeln!(text, "| multiplications and additions | {dense} | {ternary} |");
    }
    if let Some(bits) = model.ternary.entropy_bits {
        let _ = writeln!(text, "| entropy of a ternary weight, bits | – | {} |", decimal(bits, 3));
    }
    text
}

fn data(report: &Report) -> String {
    let count = |count: Option<u64>| count.map_or("?".to_owned(), grouped);
    let mut text = format!(
        "## Data\n\n{}: {} training, {} validation and {} test images. The epoch was chosen on \
         the validation images; the test images were used for the figures above and nothing \
         else.\n",
        report.dataset,
        count(report.images.train),
        count(report.images.validation),
        count(report.images.test),
    );
    if let Ok(manifest) = Manifest::named(&report.dataset) {
        let Manifest { title, home, source, licence, .. } = manifest;
        let _ = writeln!(text, "\n{title}: {source}. <{home}>. Licence: {licence}.");
    }
    text
}

fn limits(Finished { report, tested, .. }: Finished<'_>) -> String {
    let worst = tested.confusion.iter().enumerate().filter_map(|(class, answers)| {
        let images: u64 = answers.iter().sum();
        (images > 0).then(|| (class, 100.0 * answers[class] as f64 / images as f64))
    });
    let worst = worst.min_by(|a, b| a.1.total_cmp(&b.1));
    let class = worst.map_or(String::new(), |(class, right)| {
        let name = &report.classes[class];
        format!(" The class with most errors is {name}: {} right.", percent(right, 1))
    });
    format!(
        "## Limits\n\n\
         The figures hold for images like those of {}; how the model does on others was not \
         measured. It answers with one of its classes, whatever the picture shows.{class} \
         The licence of the weights has not been stated: who publishes them chooses it, within \
         what the data allow, and replaces `unknown` above.\n",
        report.dataset
    )
}

/// How the model was made, where that is known.
fn commands(report: &Report) -> Option<String> {
    let lines = report.commands.iter().map(|command| command.line(&report.commit));
    let lines: Vec<String> = lines.collect();
    let made = format!("Version {}, seed {}.", report.commit, report.seed);
    (!lines.is_empty())
        .then(|| format!("## Made with\n\n```sh\n{}\n```\n\n{made}\n", lines.join("\n")))
}

/// A scalar of YAML, in quotes that are those of JSON too.
fn quoted(text: &str) -> String {
    serde_json::Value::from(text).to_string()
}
