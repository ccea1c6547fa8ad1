//! The page, section by section.

use super::chart::{Chart, Range, Series};
use super::confusion::Confusion;
use super::data::{Model, Report, STAGES, SweepPoint, Tested, Training};
use super::markup::{Element, element};
use super::number::{duration, percent};
use super::parts::{code, head, number, number_head, paragraph, row, table, word};
use super::{figures, front, layers, mistakes, opening};
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
    let main = element("main")
        .children([opening::introduction(report, &title), opening::headline(report)])
        .children(opening::to_come(report))
        .children(sections(report));
    let page = element("html").attr("lang", "en").child(page_head);
    format!("<!DOCTYPE html>\n{}\n", page.child(element("body").child(main)))
}

/// The sections for which there is something to tell.
fn sections(report: &Report) -> Vec<Element> {
    let model = report.model.as_ref();
    let tested = model.and_then(|model| model.tested.as_ref());
    let swept = (!report.sweep.is_empty()).then_some(report.sweep.as_slice());
    let all = [
        ("Training", Some(training(report))),
        ("Weights", model.map(|model| weights(report, model))),
        ("Size", model.map(|model| size(report, model))),
        ("Operations", model.map(operations)),
        ("Sweep", swept.map(sweep)),
        ("Errors", tested.map(|tested| errors(report, tested))),
        ("How to repeat it", Some(origin(report))),
    ];
    all.into_iter().filter_map(|(title, content)| Some(section(title, content?))).collect()
}

fn section(title: &str, content: Vec<Element>) -> Element {
    element("section").child(element("h2").text(title)).children(content)
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
        let note = "Dashed: the epoch that was kept, the one with the highest accuracy on the \
                    validation images or, with keep = last, the last.";
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
    let told = charts.iter().filter(|chart| chart.tells_of(&report.epochs));
    told.map(|chart| chart.draw(&report.epochs)).collect()
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

fn weights(report: &Report, model: &Model) -> Vec<Element> {
    let text = "Every ternary layer has two values of its own, −a and +b. All other layers, \
                normalisations and biases stay floats.";
    let mut content = vec![paragraph(text.into()), figures::clusters(&model.layers)];
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

fn size(report: &Report, model: &Model) -> Vec<Element> {
    let stored: u64 = model.sizes.last().map_or(0, |file| file.ternary_bytes);
    let text = model.ternary.entropy_bits.map(|bits| {
        let bound = bits * model.ternary.weights as f64 / 8.0;
        paragraph(format!(
            "The {} ternary weights take {} bytes in the file. Coded one by one, they would take at \
             least their entropy, {} bytes.",
            grouped(model.ternary.weights),
            grouped(stored),
            grouped(bound.ceil() as u64),
        ))
    });
    let figures = [figures::sizes(model, report.float_bytes), figures::layers(model)];
    text.into_iter().chain(figures).collect()
}

fn operations(model: &Model) -> Vec<Element> {
    let text = "Additions, and multiplications together with all that is no addition, such as \
                comparisons. What fewer of them gain depends on the machine; ";
    let text = paragraph(text.into()).child(word("ec2t bench")).text(" measures it.");
    vec![text, figures::operations(&model.operations)]
}

fn errors(report: &Report, tested: &Tested) -> Vec<Element> {
    let confusion = Confusion::of(&report.classes, &tested.confusion);
    let drawn = [paragraph(confusion.summary()), confusion.draw()];
    drawn.into_iter().chain(mistakes::draw(&tested.mistakes, &report.classes)).collect()
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
        content.push(element("h3").text("Commands"));
        content.push(code(lines));
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
