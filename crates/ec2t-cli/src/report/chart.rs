//! Curves over the epochs of all stages, as SVG.
//!
//! Each stage has a panel with its own epochs from 1; all panels share the
//! vertical axis. A panel is as wide as its share of the epochs, but a short
//! stage beside a long one still gets room enough to be read. Resting on an
//! epoch shows its numbers.

use super::data::Epoch;
use super::markup::{Element, element};
use super::number::decimal;
use super::parts::figure;

/// Size of the drawing, in its own units; the page scales it.
pub(super) const WIDTH: f64 = 480.0;
pub(super) const HEIGHT: f64 = 260.0;
/// The area of the curves.
pub(super) const LEFT: f64 = 52.0;
pub(super) const RIGHT: f64 = WIDTH - 8.0;
const TOP: f64 = 46.0;
pub(super) const BOTTOM: f64 = HEIGHT - 40.0;
/// Space between panels.
const GAP: f64 = 6.0;
/// Width of the number of an epoch, of up to two digits.
const TICK: f64 = 20.0;
/// A panel's least width, as a part of what the widest would have alone.
const LEAST_SHARE: f64 = 0.25;

/// Curves that share their axes.
pub(super) struct Chart<'a> {
    pub(super) title: &'a str,
    /// What the vertical axis measures, with its unit.
    pub(super) axis: &'a str,
    pub(super) range: Range,
    pub(super) series: &'a [Series<'a>],
}

/// What the vertical axis covers.
#[derive(Clone, Copy)]
pub(super) enum Range {
    /// From 0 to the largest value.
    FromZero,
    /// From the smallest to the largest value.
    Fit,
    /// From 0 to this, whatever the values.
    To(f64),
}

/// One curve.
pub(super) struct Series<'a> {
    pub(super) name: &'a str,
    /// Class of the curve and its key.
    pub(super) class: &'static str,
    /// How far down the network it belongs, 0…1; for the colour of class `layer`.
    pub(super) depth: Option<f64>,
    /// Its value at an epoch, if there is one.
    pub(super) value: Value<'a>,
}

/// Tells a number of an epoch, if it has one.
type Value<'a> = Box<dyn Fn(&Epoch) -> Option<f64> + 'a>;

impl<'a> Series<'a> {
    pub(super) fn new(
        name: &'a str,
        class: &'static str,
        value: impl Fn(&Epoch) -> Option<f64> + 'a,
    ) -> Self {
        Self { name, class, depth: None, value: Box::new(value) }
    }
}

impl Chart<'_> {
    /// The chart under its title and key.
    pub(super) fn draw(&self, epochs: &[Epoch]) -> Element {
        let of_layers = self.series.iter().any(|series| series.depth.is_some());
        let key: Vec<_> = match (of_layers, self.series.len()) {
            (true, _) => vec![("front", "front layers"), ("back", "back layers")],
            (false, 1) => Vec::new(),
            _ => self.series.iter().map(|series| (series.class, series.name)).collect(),
        };
        figure(self.title, &key, self.svg(epochs))
    }

    /// Whether there is anything to see: a value other than 0.
    pub(super) fn tells_of(&self, epochs: &[Epoch]) -> bool {
        let mut values = self.series.iter().flat_map(|s| epochs.iter().filter_map(&s.value));
        values.any(|value| value != 0.0)
    }

    fn svg(&self, epochs: &[Epoch]) -> Element {
        let svg = element("svg")
            .attr("viewBox", format!("0 0 {WIDTH} {HEIGHT}"))
            .attr("role", "img")
            .class("chart")
            .child(element("title").text(format!("{} over epochs: {}", self.title, self.axis)))
            .child(label(LEFT, 14.0, "start", self.axis))
            .child(label((LEFT + RIGHT) / 2.0, HEIGHT - 4.0, "middle", "epoch of the stage"));
        let (scale, panels) = (self.scale(epochs), panels(epochs));
        svg.children(panels.iter().map(|panel| area("panel", panel.left, panel.width)))
            .children(gridlines(&scale))
            .children(panels.iter().flat_map(|panel| self.draw_panel(panel, &scale)))
    }

    fn scale(&self, epochs: &[Epoch]) -> Scale {
        let values = self.series.iter().flat_map(|s| epochs.iter().filter_map(&s.value));
        let (low, high) = values.fold((f64::INFINITY, f64::NEG_INFINITY), |(low, high), value| {
            (low.min(value), high.max(value))
        });
        match self.range {
            Range::To(high) => Scale::around(0.0, high),
            _ if low > high => Scale::around(0.0, 1.0),
            Range::FromZero => Scale::around(0.0, high),
            Range::Fit => Scale::around(low, high),
        }
    }

    fn draw_panel(&self, panel: &Panel<'_>, scale: &Scale) -> Vec<Element> {
        let middle = panel.left + panel.width / 2.0;
        let kept = panel.x(panel.last().best.epoch);
        let mut parts = vec![
            label(middle, TOP - 8.0, "middle", &panel.last().stage),
            line("kept", [kept, TOP], [kept, BOTTOM]),
        ];
        parts.extend(panel.ticks());
        parts.extend(self.series.iter().rev().flat_map(|series| curve(series, panel, scale)));
        parts.extend(panel.epochs.iter().map(|epoch| self.hint(epoch, panel, scale)));
        parts
    }

    /// An unseen area that shows an epoch's numbers when the pointer rests on it.
    fn hint(&self, epoch: &Epoch, panel: &Panel<'_>, scale: &Scale) -> Element {
        let numbers = self.series.iter().filter_map(|series| {
            let value = (series.value)(epoch)?;
            Some(format!("{} {}", series.name, decimal(value, scale.decimals() + 2)))
        });
        let numbers = numbers.collect::<Vec<_>>().join(", ");
        let text = format!("{} epoch {}: {numbers}", epoch.stage, epoch.epoch);
        let width = panel.step();
        area("hint", panel.x(epoch.epoch) - width / 2.0, width).child(element("title").text(text))
    }
}

/// An axis from a round number to a round number.
#[derive(Debug, PartialEq)]
pub(super) struct Scale {
    pub(super) low: f64,
    pub(super) high: f64,
    step: f64,
}

impl Scale {
    /// The axis with about four steps that covers all from `low` to `high`.
    pub(super) fn around(low: f64, high: f64) -> Self {
        let high = if high > low { high } else { low + 1.0 };
        let least = (high - low) / 4.0;
        let magnitude = 10f64.powf(least.log10().floor());
        let factor = [1.0, 2.0, 2.5, 4.0, 5.0].into_iter().find(|f| f * magnitude > least * 0.999);
        let step = factor.unwrap_or(10.0) * magnitude;
        let (first, last) = ((low / step + 1e-6).floor(), (high / step - 1e-6).ceil());
        Self { low: first * step, high: last * step, step }
    }

    pub(super) fn y(&self, value: f64) -> f64 {
        BOTTOM - (value - self.low) / (self.high - self.low) * (BOTTOM - TOP)
    }

    pub(super) fn ticks(&self) -> impl Iterator<Item = f64> {
        let steps = ((self.high - self.low) / self.step).round() as usize;
        (0..=steps).map(|i| self.low + i as f64 * self.step)
    }

    /// Decimals that tell the ticks apart.
    pub(super) fn decimals(&self) -> usize {
        let is_exact = |decimals: &usize| {
            let scaled = self.step * 10f64.powi(*decimals as i32);
            (scaled - scaled.round()).abs() < 1e-6
        };
        (0..6).find(is_exact).unwrap_or(6)
    }
}

/// The part of a chart that belongs to one stage.
struct Panel<'a> {
    epochs: &'a [Epoch],
    left: f64,
    width: f64,
}

impl Panel<'_> {
    fn last(&self) -> &Epoch {
        &self.epochs[self.epochs.len() - 1]
    }

    /// Width of one epoch.
    fn step(&self) -> f64 {
        self.width / self.last().epoch.max(1) as f64
    }

    /// The middle of an epoch.
    fn x(&self, epoch: usize) -> f64 {
        self.left + (epoch as f64 - 0.5) * self.step()
    }

    /// The number of the first and last epoch, or of the only one; below their points where
    /// there is room, else within the panel.
    fn ticks(&self) -> Vec<Element> {
        let tick = |x, anchor, epoch: usize| label(x, BOTTOM + 16.0, anchor, &epoch.to_string());
        let last = self.last().epoch;
        match last {
            ..2 => vec![tick(self.x(last), "middle", last)],
            _ if self.step() > TICK => {
                [1, last].map(|epoch| tick(self.x(epoch), "middle", epoch)).into()
            }
            _ => vec![tick(self.left, "start", 1), tick(self.left + self.width, "end", last)],
        }
    }
}

/// One panel per stage, in the order of the epochs.
fn panels(epochs: &[Epoch]) -> Vec<Panel<'_>> {
    let stages: Vec<&[Epoch]> = epochs.chunk_by(|a, b| a.stage == b.stage).collect();
    let least = LEAST_SHARE * epochs.len() as f64;
    let weight = |stage: &[Epoch]| (stage.len() as f64).max(least);
    let total: f64 = stages.iter().map(|stage| weight(stage)).sum();
    let gaps = GAP * stages.len().saturating_sub(1) as f64;
    let mut left = LEFT;
    let mut panel = |epochs| {
        let width = (RIGHT - LEFT - gaps) * weight(epochs) / total;
        let panel = Panel { epochs, left, width };
        left += width + GAP;
        panel
    };
    stages.into_iter().map(&mut panel).collect()
}

pub(super) fn gridlines(scale: &Scale) -> Vec<Element> {
    let gridline = |tick| {
        let y = scale.y(tick);
        [
            line("grid", [LEFT, y], [RIGHT, y]),
            label(LEFT - 6.0, y + 4.0, "end", &decimal(tick, scale.decimals())),
        ]
    };
    scale.ticks().flat_map(gridline).collect()
}

/// The line of a series through a panel, interrupted where it has no value; a
/// dot where there is but one epoch.
fn curve(series: &Series<'_>, panel: &Panel<'_>, scale: &Scale) -> Vec<Element> {
    let depth = series.depth.map(|depth| format!("--depth: {:.0}%", 100.0 * depth));
    let coloured = |mark: Element| match &depth {
        Some(depth) => mark.attr("style", depth),
        None => mark,
    };
    let mut path = String::new();
    let mut dots = Vec::new();
    let mut pen = 'M';
    for epoch in panel.epochs {
        let Some(value) = (series.value)(epoch) else {
            pen = 'M';
            continue;
        };
        let (x, y) = (coordinate(panel.x(epoch.epoch)), coordinate(scale.y(value)));
        path += &format!("{pen}{x} {y}");
        pen = 'L';
        if panel.epochs.len() == 1 {
            let dot = element("circle").class(format!("dot {}", series.class));
            dots.push(coloured(dot.attr("cx", x).attr("cy", y).attr("r", 3.5)));
        }
    }
    if !path.is_empty() {
        let curve = element("path").class(format!("curve {}", series.class)).attr("d", path);
        dots.push(coloured(curve));
    }
    dots
}

pub(super) fn area(class: &str, left: f64, width: f64) -> Element {
    element("rect")
        .class(class)
        .attr("x", coordinate(left))
        .attr("y", TOP)
        .attr("width", coordinate(width))
        .attr("height", BOTTOM - TOP)
}

pub(super) fn line(class: &str, [x1, y1]: [f64; 2], [x2, y2]: [f64; 2]) -> Element {
    element("line")
        .class(class)
        .attr("x1", coordinate(x1))
        .attr("y1", coordinate(y1))
        .attr("x2", coordinate(x2))
        .attr("y2", coordinate(y2))
}

pub(super) fn label(x: f64, y: f64, anchor: &str, text: &str) -> Element {
    let position = element("text").attr("x", coordinate(x)).attr("y", coordinate(y));
    position.attr("text-anchor", anchor).text(text)
}

pub(super) fn coordinate(value: f64) -> String {
    format!("{value:.1}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn scales_end_on_round_numbers() {
        let scale = |low, high| {
            let scale = Scale::around(low, high);
            let text = |tick| decimal(tick, scale.decimals());
            scale.ticks().map(text).collect::<Vec<_>>().join(" ")
        };
        assert_eq!(scale(0.0, 100.0), "0 25 50 75 100");
        assert_eq!(scale(0.0, 1.6), "0.0 0.4 0.8 1.2 1.6");
        assert_eq!(scale(91.3, 98.2), "90 92 94 96 98 100");
        assert_eq!(scale(97.0, 100.0), "97 98 99 100");
        assert_eq!(scale(0.0, 0.0), "0.00 0.25 0.50 0.75 1.00");
        assert_eq!(scale(0.0, 2.4e6), "0 1000000 2000000 3000000");
    }

    fn epochs(stages: &[(&str, usize)]) -> Vec<Epoch> {
        let epoch = |stage: &str, epoch: usize| {
            serde_json::from_value(serde_json::json!({
                "stage": stage, "epoch": epoch, "epochs": 9, "lr": 0.1,
                "train_loss": if epoch == 2 { None } else { Some(1.0 / epoch as f64) },
                "train_top1": 50.0, "validation_top1": 60.0, "sparsity": 0.5,
                "best": { "epoch": 1, "top1": 60.0 }, "seconds": 1.0,
            }))
            .expect("an epoch")
        };
        stages.iter().flat_map(|&(stage, n)| (1..=n).map(move |i| epoch(stage, i))).collect()
    }

    #[test]
    fn panels_fill_the_width_and_short_stages_are_seen() {
        let epochs = epochs(&[("pretrain", 100), ("ternarize", 2), ("finetune", 1)]);
        let panels = panels(&epochs);
        let (first, last) = (&panels[0], &panels[2]);
        assert_eq!(panels.len(), 3);
        assert!(last.width > first.width * 0.2 && panels[1].width == last.width);
        assert!((last.left + last.width - RIGHT).abs() < 1e-9);
        assert!((first.x(1) - first.step() / 2.0 - LEFT).abs() < 1e-9);
    }

    #[test]
    fn numbers_of_epochs_are_below_their_points_or_within_the_panel() {
        let ticks = |epochs: &[Epoch]| {
            let panel = &panels(epochs)[0];
            let texts: String = panel.ticks().iter().map(ToString::to_string).collect();
            (texts, coordinate(panel.x(1)), coordinate(panel.x(epochs.len())))
        };
        let (texts, first, last) = ticks(&epochs(&[("pretrain", 6)]));
        for x in [first, last] {
            assert!(texts.contains(&format!("x=\"{x}\"")), "{texts}");
        }
        let (texts, ..) = ticks(&epochs(&[("pretrain", 200)]));
        for x in [LEFT, RIGHT] {
            assert!(texts.contains(&format!("x=\"{}\"", coordinate(x))), "{texts}");
        }
    }

    #[test]
    fn curves_break_where_there_is_no_value_and_single_epochs_are_dots() {
        let loss = Series::new("loss", "main", |epoch| epoch.train_loss);
        let scale = Scale::around(0.0, 1.0);
        let draw = |epochs: &[Epoch]| -> String {
            curve(&loss, &panels(epochs)[0], &scale).iter().map(ToString::to_string).collect()
        };
        assert_eq!(draw(&epochs(&[("pretrain", 4)])).matches('M').count(), 2);
        assert!(draw(&epochs(&[("pretrain", 1)])).starts_with("<circle"));
    }
}
