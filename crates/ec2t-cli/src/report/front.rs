//! Accuracy over size: the points of a sweep, and the front of those that nothing beats.

use super::chart::{
    BOTTOM, HEIGHT, LEFT, RIGHT, Scale, WIDTH, area, coordinate, gridlines, label, line,
};
use super::data::SweepPoint;
use super::markup::{Element, element};
use super::number::{decimal, percent};
use super::parts::{cell, figure, head, number, number_head, row, table};
use crate::output::grouped;

/// The points, with a line through the front.
pub(super) fn draw(points: &[SweepPoint]) -> Element {
    let x = axis(points, kilobytes, f64::INFINITY);
    let y = axis(points, |point| point.validation_top1, 100.0);
    let place = |point: &SweepPoint| {
        let part = (kilobytes(point) - x.low) / (x.high - x.low);
        [LEFT + part * (RIGHT - LEFT), y.y(point.validation_top1)]
    };
    let ticks = x.ticks().map(|tick| {
        let part = (tick - x.low) / (x.high - x.low);
        let anchor = if part > 0.97 { "end" } else { "middle" };
        let text = decimal(tick, x.decimals());
        label(LEFT + part * (RIGHT - LEFT), BOTTOM + 16.0, anchor, &text)
    });
    let mut front: Vec<&SweepPoint> = points.iter().filter(|point| point.pareto).collect();
    front.sort_by_key(|point| point.bytes);
    let steps = front.windows(2).map(|pair| line("front", place(pair[0]), place(pair[1])));
    let svg = element("svg")
        .attr("viewBox", format!("0 0 {WIDTH} {HEIGHT}"))
        .attr("role", "img")
        .class("chart single")
        .child(element("title").text("Validation accuracy over the size of the file"))
        .child(label(LEFT, 14.0, "start", "validation top-1, %"))
        .child(label((LEFT + RIGHT) / 2.0, HEIGHT - 4.0, "middle", "model file, kB"))
        .child(area("panel", LEFT, RIGHT - LEFT))
        .children(gridlines(&y))
        .children(ticks)
        .children(steps)
        .children(points.iter().map(|point| dot(point, place(point))));
    let key = [("best", "nothing is better"), ("others", "other points")];
    figure("Accuracy and size", &key, svg)
}

fn kilobytes(point: &SweepPoint) -> f64 {
    point.bytes as f64 / 1e3
}

/// The axis that has all points, with room around them where values can lie; none is above
/// `most`.
fn axis(points: &[SweepPoint], value: fn(&SweepPoint) -> f64, most: f64) -> Scale {
    let values = points.iter().map(value);
    let (low, high) = values.fold((f64::INFINITY, f64::NEG_INFINITY), |(low, high), value| {
        (low.min(value), high.max(value))
    });
    let room = 0.05 * (high - low);
    Scale::around((low - room).max(0.0), (high + room).min(most))
}

fn dot(point: &SweepPoint, [x, y]: [f64; 2]) -> Element {
    let class = if point.pareto { "dot main" } else { "dot faint" };
    element("circle")
        .class(class)
        .attr("cx", coordinate(x))
        .attr("cy", coordinate(y))
        .attr("r", if point.pareto { 4 } else { 3 })
        .child(element("title").text(format!(
            "{}: {}, {} bytes, {} zeros",
            point.name,
            percent(point.validation_top1, 2),
            grouped(point.bytes),
            percent(100.0 * point.sparsity, 1),
        )))
}

/// The points as a table, the smallest first.
pub(super) fn list(points: &[SweepPoint]) -> Element {
    let columns = [
        head("Point"),
        number_head("Zeros"),
        number_head("Validation"),
        number_head("Bytes"),
        head("Front"),
    ];
    let mut sorted: Vec<&SweepPoint> = points.iter().collect();
    sorted.sort_by_key(|point| point.bytes);
    let rows = sorted.into_iter().map(|point| {
        row([
            head(&point.name),
            number(percent(100.0 * point.sparsity, 1)),
            number(percent(point.validation_top1, 2)),
            number(grouped(point.bytes)),
            cell(if point.pareto { "●" } else { "–" }),
        ])
    });
    table("sweep", columns, rows)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn axes_end_where_values_do() {
        let point = |bytes, validation_top1| SweepPoint {
            name: "p".to_owned(),
            sparsity: 0.5,
            validation_top1,
            bytes,
            pareto: true,
        };
        let points = [point(5_000, 99.5), point(14_500, 100.0)];
        let y = axis(&points, |point| point.validation_top1, 100.0);
        assert!(y.low < 99.5 && (y.high - 100.0).abs() < 1e-9, "{y:?}");
        let x = axis(&points, kilobytes, f64::INFINITY);
        assert!((0.0..=5.0).contains(&x.low) && x.high > 14.5, "{x:?}");
    }
}
