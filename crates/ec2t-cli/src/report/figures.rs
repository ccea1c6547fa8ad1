//! What is in the file: the clusters of its layers, its bytes, and what it takes to run it.
//!
//! The figures are tables and lines of text with drawn bars, so that their
//! texts keep their size on every screen and can be searched and copied.

use super::data::{Clusters, Layer, Model, OperationStep, SizeStep};
use super::markup::{Element, element};
use super::number::{decimal, percent, prefixed};
use super::parts::{bar, cell, figure, head, number, number_head, row, table};
use crate::output::grouped;

/// For each ternary layer the shares of −a, 0 and +b, between its centroids.
pub(super) fn clusters(layers: &[Layer]) -> Element {
    let columns =
        [head("Layer"), number_head("−a"), head("Shares"), head("+b"), number_head("Zeros")];
    let rows =
        layers.iter().filter_map(|layer| cluster_row(layer, layer.clusters.as_ref()?).into());
    let key = [("neg", "weights at −a"), ("zero", "at 0"), ("pos", "at +b")];
    figure("Ternary layers", &key, table("clusters", columns, rows))
}

fn cluster_row(layer: &Layer, clusters: &Clusters) -> Element {
    let [neg, zero, pos] = clusters.shares;
    let (a, b) = (decimal(-f64::from(clusters.w_neg), 4), decimal(clusters.w_pos.into(), 4));
    let share = |share: f64| percent(100.0 * share, 1);
    let name = &layer.stats.name;
    let title =
        format!("{name}: {} at {a}, {} at 0, {} at +{b}", share(neg), share(zero), share(pos));
    row([
        head(name),
        number(a),
        element("td").child(bar(&title, &[("neg", neg), ("zero", zero), ("pos", pos)])),
        cell(format!("+{b}")),
        number(share(zero)),
    ])
}

/// From the size of the float network to that of the file.
pub(super) fn sizes(model: &Model, float_bytes: u64) -> Element {
    let key = [
        ("ternary", "ternary weights"),
        ("other", "all other values"),
        ("structure", "file structure"),
    ];
    let steps = model.sizes.iter().map(|step| size_step(step, float_bytes));
    figure("Size", &key, element("div").class("steps").children(steps))
}

fn size_step(step: &SizeStep, float_bytes: u64) -> Element {
    let parts = [
        ("ternary", step.ternary_bytes),
        ("other", step.other_bytes),
        ("structure", step.structure_bytes),
    ];
    let bytes = parts.map(|(name, bytes)| format!("{name} {} B", grouped(bytes)));
    let title = format!("{}: {}", step.name, bytes.join(", "));
    let amount = amount(step.total(), float_bytes, "B", "smaller");
    step_bar(step.name, &amount, &title, &parts, float_bytes)
}

/// From the operations of the float network to those of the ternary one.
pub(super) fn operations(steps: &[OperationStep]) -> Element {
    let key = [("products", "multiplications"), ("sums", "additions")];
    let whole = steps.first().map_or(0, OperationStep::total);
    let steps = steps.iter().map(|step| operation_step(step, whole));
    figure("Operations for one image", &key, element("div").class("steps").children(steps))
}

fn operation_step(step: &OperationStep, whole: u64) -> Element {
    let parts = [("products", step.multiplications), ("sums", step.additions)];
    let title = format!(
        "{}: {} multiplications, {} additions",
        step.name,
        grouped(step.multiplications),
        grouped(step.additions)
    );
    let amount = amount(step.total(), whole, "", "fewer");
    step_bar(step.name, &amount, &title, &parts, whole)
        .child(element("span").class("counts").text(step.counts))
}

/// An amount, and how many times it is `less` than the whole.
fn amount(total: u64, whole: u64, unit: &str, less: &str) -> String {
    let amount = prefixed(total, unit);
    match total == whole {
        true => amount,
        false => {
            let ratio = whole as f64 / total.max(1) as f64;
            format!("{amount}, {} × {less}", decimal(ratio, 1))
        }
    }
}

/// A name and an amount above a bar, whose full width is the whole.
fn step_bar(
    name: &str,
    amount: &str,
    title: &str,
    parts: &[(&'static str, u64)],
    whole: u64,
) -> Element {
    let share = |&(class, part): &(&'static str, u64)| (class, part as f64 / whole.max(1) as f64);
    let shares: Vec<_> = parts.iter().map(share).collect();
    element("div")
        .class("step")
        .child(element("span").text(name))
        .child(element("span").class("n").text(amount))
        .child(bar(title, &shares))
}

/// Every layer and every other part of the file, down to the last byte.
pub(super) fn layers(model: &Model) -> Element {
    let columns = [
        head("Layer"),
        number_head("Bytes"),
        number_head("Values"),
        number_head("Zeros"),
        number_head("Bits/weight"),
        head("Shape"),
        head("Stored as"),
        head("Operation"),
    ];
    let layers = model.layers.iter().map(layer_row);
    let rest = model.rest.iter().map(|part| part_row(&part.name, part.bytes as u64));
    let total = part_row("whole file", model.file_bytes).class("total");
    table("layers", columns, layers.chain(rest).chain([total]))
}

fn layer_row(layer: &Layer) -> Element {
    let stats = &layer.stats;
    let shape: Vec<String> = stats.shape.iter().map(usize::to_string).collect();
    let zeros = stats.zeros as f64 / stats.params.max(1) as f64;
    row([
        head(&stats.name),
        number(grouped(stats.bytes as u64)),
        number(grouped(stats.params as u64)),
        number(percent(100.0 * zeros, 1)),
        number(stats.entropy_bits.map_or("–".into(), |bits| decimal(bits, 3))),
        cell(shape.join("×")),
        cell(stats.encoding),
        cell(stats.op),
    ])
}

fn part_row(name: &str, bytes: u64) -> Element {
    row([head(name), number(grouped(bytes)), cell("").attr("colspan", 6)])
}
