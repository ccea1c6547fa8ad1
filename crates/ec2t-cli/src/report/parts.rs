//! Pieces of a page that several sections use: text, tables, captions, bars.

use std::fmt::Display;

use super::markup::{Element, element};

/// A paragraph of text.
pub(super) fn paragraph(text: String) -> Element {
    element("p").text(text)
}

/// What is typed, within text.
pub(super) fn word(text: &str) -> Element {
    element("code").text(text)
}

/// Lines as they are typed.
pub(super) fn code(lines: impl IntoIterator<Item = String>) -> Element {
    let lines = lines.into_iter().map(|line| element("span").text(line).text("\n"));
    element("pre").child(element("code").children(lines))
}

/// A row of a table.
pub(super) fn row(cells: impl IntoIterator<Item = Element>) -> Element {
    element("tr").children(cells)
}

/// The name of a row or column.
pub(super) fn head(text: impl Display) -> Element {
    element("th").text(text)
}

/// The name of a column of numbers.
pub(super) fn number_head(text: impl Display) -> Element {
    head(text).class("n")
}

/// A cell with text.
pub(super) fn cell(text: impl Display) -> Element {
    element("td").text(text)
}

/// A cell with a number.
pub(super) fn number(text: impl Display) -> Element {
    cell(text).class("n")
}

/// A table that can be wider than its page.
pub(super) fn table(
    class: &str,
    columns: impl IntoIterator<Item = Element>,
    rows: impl IntoIterator<Item = Element>,
) -> Element {
    let table = element("table")
        .class(class)
        .child(element("thead").child(row(columns)))
        .child(element("tbody").children(rows));
    element("div").class("wide").child(table)
}

/// A figure under its title, with a key of classes and their names.
pub(super) fn figure(title: &str, key: &[(&str, &str)], content: Element) -> Element {
    let keys =
        key.iter().map(|(class, name)| element("span").class(format!("key {class}")).text(name));
    let caption = element("figcaption").child(element("strong").text(title)).children(keys);
    element("figure").child(caption).child(content)
}

/// A bar as wide as its container, whose parts are shares of the width.
pub(super) fn bar(title: &str, parts: &[(&str, f64)]) -> Element {
    let mut left = 0.0;
    let rects = parts.iter().map(|&(class, share)| {
        let x = left;
        left += 100.0 * share;
        element("rect")
            .class(class)
            .attr("x", format!("{x:.3}"))
            .attr("width", format!("{:.3}", 100.0 * share))
            .attr("height", 1)
    });
    element("svg")
        .class("bar")
        .attr("viewBox", "0 0 100 1")
        .attr("preserveAspectRatio", "none")
        .attr("role", "img")
        .child(element("title").text(title))
        .children(rects)
}
