//! The page, section by section.

use super::chart::{Chart, Range, Series};
use super::confusion::Confusion;
use super::data::{Report, STAGES, SweepPoint, Training};
use super::markup::{Element, element};
use super::number::{decimal, duration, percent, prefixed};
use super::parts::{head, number, number_head, row, table};
use super::{figures, front, layers, mistakes};
use crate::output::grouped;

const STYLE: &str = include_str!("style.css");

/// The sections of `config.toml` in the order in which they are used.
const SECTIONS: [&str; 7] = ["run", "data", "arch", "pretrain", "ternarize", "finetune", "export"];

/// What stands where there is nothing to tell.
const NOTHING: &str = "–";

/// The report as one page that needs nothing besides itself.
pub(crate) fn html(report: &Report) -> String {
    let title = format!("{} on {}", report.arch, report.dataset);
    let meta = |name, content| element("meta").attr("name", name).attr("content", content);
    let page_head = element("head")
        .child(element("meta").attr("charset", "utf-8"))
        .child(meta("viewport", "width=device-width, initial-scale=1"))
        .child(meta("color-scheme", "light dark"))
        .child(element("title").text(format!("{title} – EC2T")))
        .child(element("style").text(STYLE));
    let swept = (!report.sweep.is_empty()).then(|| section("Sweep", sweep(&report.sweep)));
    let main = element("main")
        .children([
            introduction(report, &title),
            headline(report),
            section("Training", training(report)),
            section("Weights", weights(report)),
            section("Size", size(report)),
            section("Operations", operations(report)),
        ])
        .children(swept)
        .children([section("Errors", errors(report)), section("How to repeat it", origin(report))]);
    let page = element("html").attr("lang", "en").child(page_head);
    format!("<!DOCTYPE html>\n{}\n", page.child(element("body").child(main)))
}

fn section(title: &str, content: Vec<Element>) -> Element {
    element("section").child(element("h2").text(title)).children(content)
}

fn paragraph(text: String) -> Element {
    element("p").text(text)
}

fn introduction(report: &Report, title: &str) -> Element {
    let ternary = report.layers.iter().filter(|layer| layer.clusters.is_some()).count();
    let weighted = report.layers.iter().filter(|layer| layer.stats.macs > 0).count();
    let text = format!(
        "A network of {} parameters and {} multiply-accumulates for an image of {}. In {ternary} of \
         its {weighted} layers with weights, each weight is −a, 0 or +b. Accuracy is that of the \
         stored file on {} test images, which this run used for nothing else.",
        grouped(report.parameters),
        prefixed(report.macs, ""),
        report.input,
        grouped(report.ternary.accuracy.images),
    );
    element("header")
        .child(paragraph("Sparse ternary network".into()).class("eyebrow"))
        .child(element("h1").text(title))
        .child(paragraph(text))
}

/// The numbers that matter most.
fn headline(report: &Report) -> Element {
    let (float, ternary) = (report.float.top1, report.ternary.accuracy.top1);
    let change = match decimal(ternary - float, 2) {
        gain if ternary > float => format!("+{gain}"),
        loss => loss,
    };
    let entropy = report.ternary.entropy_bits.map_or(String::new(), |bits| {
        format!("; {} bits of entropy per ternary weight", decimal(bits, 2))
    });
    let facts = [
        (
            "Accuracy",
            percent(ternary, 2),
            format!("{} in floats: {change} points", percent(float, 2)),
        ),
        (
            "Zeros",
            percent(100.0 * report.ternary.sparsity, 1),
            format!("of all parameters{entropy}"),
        ),
        (
            "File",
            prefixed(report.file_bytes, "B"),
            format!("{} bytes with everything to run it", grouped(report.file_bytes)),
        ),
        (
            "Smaller",
            format!("{} ×", decimal(report.compression, 1)),
            format!("than {} bytes of 32-bit floats", grouped(report.float_bytes)),
        ),
    ];
    let card = |(name, value, note): (&str, String, String)| {
        element("div")
            .child(element("dt").text(name))
            .child(element("dd").class("value").text(value))
            .child(element("dd").text(note))
    };
    element("dl").class("headline").children(facts.map(card))
}

fn training(report: &Report) -> Vec<Element> {
    let replaced = report.training.iter().filter_map(|training| {
        let checkpoint = training.init.as_ref()?;
        Some(paragraph(format!(
            "The float network was not trained in this run: it is {checkpoint}."
        )))
    });
    let mut content: Vec<Element> = replaced.collect();
    if !report.epochs.is_empty() {
        let note = "Dashed: the epoch that was kept, which has the highest accuracy on the \
                    validation images.";
        content.push(element("div").class("charts").children(curves(report)));
        content.push(paragraph(note.into()).class("note"));
    }
    content.push(stage_table(report));
    content
}

fn curves(report: &Report) -> Vec<Element> {
    let accuracy = [
        Series::new("validation", "main", |epoch| Some(epoch.validation_top1)),
        Series::new("training", "faint", |epoch| Some(epoch.train_top1)),
    ];
    let loss = [Series::new("loss", "main", |epoch| epoch.train_loss)];
    let zeros = [Series::new("zeros", "main", |epoch| Some(100.0 * epoch.sparsity))];
    let entropy = [Series::new("entropy", "main", |epoch| epoch.entropy_bits)];
    let charts = [
        Chart { title: "Accuracy", axis: "top-1, %", range: Range::Fit, series: &accuracy },
        Chart {
            title: "Training loss",
            axis: "cross entropy, nats",
            range: Range::FromZero,
            series: &loss,
        },
        Chart {
            title: "Sparsity",
            axis: "zeros among all parameters, %",
            range: Range::To(100.0),
            series: &zeros,
        },
        Chart {
            title: "Entropy",
            axis: "bits per ternary weight",
            range: Range::To(1.6),
            series: &entropy,
        },
    ];
    charts.iter().map(|chart| chart.draw(&report.epochs)).collect()
}

fn stage_table(report: &Report) -> Element {
    let columns = [
        head("Stage"),
        number_head("Kept epoch"),
        number_head("Validation"),
        number_head("Zeros"),
        number_head("Time"),
    ];
    let known = STAGES.into_iter().filter(|stage| report.seconds.contains_key(*stage));
    table("stages", columns, known.map(|stage| stage_row(report, stage)))
}

fn stage_row(report: &Report, stage: &str) -> Element {
    let training = report.training.iter().find(|training| training.stage == stage);
    let of = |value: fn(&Training) -> Option<String>| {
        number(training.and_then(value).unwrap_or_else(|| NOTHING.into()))
    };
    row([
        head(stage),
        of(|t| Some(format!("{} of {}", t.best?.epoch, t.epochs?))),
        of(|t| t.best.map(|best| percent(best.top1, 2))),
        of(|t| t.sparsity.map(|sparsity| percent(100.0 * sparsity, 1))),
        number(report.seconds.get(stage).map_or(NOTHING.into(), |seconds| duration(*seconds))),
    ])
}

fn weights(report: &Report) -> Vec<Element> {
    let text = "Every ternary layer has two values of its own, −a and +b. All other layers, \
                normalisations and biases stay floats.";
    let mut content = vec![paragraph(text.into()), figures::clusters(&report.layers)];
    let over_time = layers::charts(&report.epochs);
    if !over_time.is_empty() {
        content.push(element("h3").text("Layers over time"));
        content.push(element("div").class("charts").children(over_time));
    }
    content
}

/// The points of the run's sweep.
fn sweep(points: &[SweepPoint]) -> Vec<Element> {
    let text = "Every point is the float network ternarized with other settings. Accuracy is that \
                of the validation images, which are fewer than the test images.";
    vec![paragraph(text.into()), front::draw(points), front::list(points)]
}

fn size(report: &Report) -> Vec<Element> {
    let stored: u64 = report.sizes.last().map_or(0, |file| file.ternary_bytes);
    let text = report.ternary.entropy_bits.map(|bits| {
        let bound = bits * report.ternary.weights as f64 / 8.0;
        paragraph(format!(
            "The {} ternary weights take {} bytes in the file. Coded one by one, they would take at \
             least their entropy, {} bytes.",
            grouped(report.ternary.weights),
            grouped(stored),
            grouped(bound.ceil() as u64),
        ))
    });
    let figures = [figures::sizes(report), figures::layers(report)];
    text.into_iter().chain(figures).collect()
}

fn operations(report: &Report) -> Vec<Element> {
    let text = "All layers are counted, for one image: multiplications, with whatever else is no \
                addition, and additions. How much faster that is depends on the machine; \
                `ec2t bench` times it.";
    vec![paragraph(text.into()), figures::operations(&report.operations)]
}

fn errors(report: &Report) -> Vec<Element> {
    let confusion = Confusion::of(report);
    let drawn = [paragraph(confusion.summary()), confusion.draw()];
    drawn.into_iter().chain(mistakes::draw(report)).collect()
}

fn origin(report: &Report) -> Vec<Element> {
    let images = |count: Option<u64>| count.map_or(NOTHING.into(), grouped);
    let facts = [
        ("Seed", report.seed.to_string()),
        ("Version", report.commit.clone()),
        ("Dataset", report.dataset.clone()),
        ("Training images", images(report.images.train)),
        ("Validation images", images(report.images.validation)),
        ("Test images", images(report.images.test)),
        ("Time in all", duration(report.seconds.values().sum())),
    ];
    let mut content = vec![facts_list(facts)];
    if !report.commands.is_empty() {
        let lines = report.commands.iter().map(|command| command.line(&report.commit));
        let lines = lines.map(|line| element("span").text(line).text("\n"));
        content.push(element("h3").text("Commands"));
        content.push(element("pre").child(element("code").children(lines)));
    }
    content.push(element("h3").text("Settings"));
    content.push(settings(report));
    content
}

fn settings(report: &Report) -> Element {
    let mut sections: Vec<_> = report.settings.iter().collect();
    sections.sort_by_key(|(name, _)| SECTIONS.iter().position(|s| s == name).unwrap_or(usize::MAX));
    let value = |value: &toml::Value| value.as_str().map_or(value.to_string(), str::to_owned);
    let groups = sections.into_iter().map(|(name, keys)| {
        let facts = keys.iter().map(|(key, setting)| (key.as_str(), value(setting)));
        element("div").child(element("h4").text(name)).child(facts_list(facts))
    });
    element("div").class("settings").children(groups)
}

/// Names and their values.
fn facts_list<'a>(facts: impl IntoIterator<Item = (&'a str, String)>) -> Element {
    let fact = |(name, value): (&str, String)| {
        let name = element("dt").text(name);
        element("div").child(name).child(element("dd").text(value))
    };
    element("dl").class("facts").children(facts.into_iter().map(fact))
}
