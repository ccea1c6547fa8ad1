//! Each ternary layer over the epochs: entropy, shares of 0 and +b, centroids, λ.
//!
//! One curve for each layer; its colour says how far down the network the layer is.

use super::chart::{Chart, Range, Series};
use super::data::{Epoch, LayerState};
use super::markup::Element;

/// What is drawn of a layer.
struct Quantity {
    title: &'static str,
    axis: &'static str,
    range: Range,
    value: fn(&LayerState) -> Option<f64>,
}

const QUANTITIES: [Quantity; 6] = [
    Quantity {
        title: "Entropy of each layer",
        axis: "bits per weight",
        range: Range::To(1.6),
        value: |layer| Some(layer.entropy_bits),
    },
    Quantity {
        title: "Zeros of each layer",
        axis: "zeros among the layer's weights, %",
        range: Range::To(100.0),
        value: |layer| Some(100.0 * layer.shares[1]),
    },
    Quantity {
        title: "Positive weights of each layer",
        axis: "weights at +b among the layer's weights, %",
        range: Range::FromZero,
        value: |layer| Some(100.0 * layer.shares[2]),
    },
    Quantity {
        title: "Negative centroids",
        axis: "a, where weights are −a",
        range: Range::FromZero,
        value: |layer| Some(layer.w_neg.into()),
    },
    Quantity {
        title: "Positive centroids",
        axis: "b, where weights are +b",
        range: Range::FromZero,
        value: |layer| Some(layer.w_pos.into()),
    },
    Quantity {
        title: "λ of each layer",
        axis: "strength of the entropy constraint",
        range: Range::FromZero,
        value: |layer| layer.lambda,
    },
];

/// A chart for each quantity that the epochs tell; none where no epoch has ternary layers.
pub(super) fn charts(epochs: &[Epoch]) -> Vec<Element> {
    let ternary: Vec<Epoch> =
        epochs.iter().filter(|epoch| !epoch.layers.is_empty()).cloned().collect();
    let Some(last) = ternary.last() else { return Vec::new() };
    let names: Vec<&str> = last.layers.iter().map(|layer| layer.name.as_str()).collect();
    let told = |quantity: &&Quantity| {
        ternary.iter().flat_map(|epoch| &epoch.layers).any(|l| (quantity.value)(l).is_some())
    };
    QUANTITIES.iter().filter(told).map(|quantity| quantity.draw(&names, &ternary)).collect()
}

impl Quantity {
    fn draw<'e>(&self, names: &[&'e str], epochs: &[Epoch]) -> Element {
        let &Quantity { title, axis, range, value } = self;
        let last = names.len().saturating_sub(1).max(1) as f64;
        let series = |(position, &name): (usize, &&'e str)| {
            let of_layer =
                move |epoch: &Epoch| value(epoch.layers.iter().find(|layer| layer.name == name)?);
            let depth = Some(position as f64 / last);
            Series { depth, ..Series::new(name, "layer", of_layer) }
        };
        let series: Vec<Series<'e>> = names.iter().enumerate().map(series).collect();
        Chart { title, axis, range, series: &series }.draw(epochs)
    }
}
