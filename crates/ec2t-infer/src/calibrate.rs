//! Which numbers the bytes of a network's activations stand for.
//!
//! Images run in floats, twice: first for the range of each value, then for a histogram of
//! it. Of grids that end at some part of the range, the one with the least squared error
//! is taken: rounding errs by `step² ∕ 12` in the mean, and what is beyond the grid by its
//! distance from the end. Values that are never negative get a grid that begins at 0.

use std::collections::BTreeMap;

use ec2t_format::{Grid, Network, NodeId};

use crate::error::{LoadError, RunError, check_length};
use crate::model::Model;
use crate::plan::Precision;

/// Bins of a histogram.
const BINS: usize = 2048;

/// Ends of grids that are tried: so many parts of the range.
const ENDS: usize = 64;

/// A network that can't be calibrated.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum CalibrateError {
    /// The network cannot be run.
    #[error(transparent)]
    Load(#[from] LoadError),
    /// The images do not fit the network.
    #[error(transparent)]
    Run(#[from] RunError),
    /// There are no images.
    #[error("there are no images to calibrate with")]
    NoImages,
    /// A value is infinite or not a number.
    #[error("layer `{layer}` gives {value} for an image")]
    NotFinite {
        /// Name of the layer.
        layer: String,
        /// The value.
        value: f32,
    },
}

/// Finds grids for all values of a network, from `images` normalised images
/// `[N, C, H, W]`; [`Network::with_grids`] takes them.
///
/// ```
/// # use ec2t_format::{DenseTensor, Network, graph::{GraphBuilder, Shape}};
/// # let mut g = GraphBuilder::new("tiny", Shape::new(2, 1, 1));
/// # g.linear("fc", g.input(), 1);
/// # let weight = DenseTensor::new(vec![1, 2], vec![0.5, -1.0])?;
/// # let bias = DenseTensor::new(vec![1], vec![1.0])?;
/// # let tensors = [("fc.weight".into(), weight.into()), ("fc.bias".into(), bias.into())];
/// # let network = Network::new(g.finish()?, tensors.into())?;
/// let grids = ec2t_infer::calibrate(&network, &[1.0, 0.0, 0.0, 2.0], 2)?;
/// let network = network.with_grids(grids)?;
/// assert!(network.grids()["fc"].zero > 0);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
///
/// # Errors
/// Where the network cannot be run, the images do not fit it, or a value is not finite.
pub fn calibrate(
    network: &Network,
    input: &[f32],
    images: usize,
) -> Result<BTreeMap<String, Grid>, CalibrateError> {
    let model = Model::with_precision(network.clone(), Precision::F32)?;
    check_length(images, model.input_len(), input.len())?;
    if images == 0 {
        return Err(CalibrateError::NoImages);
    }
    let name = |id: NodeId| model.graph().nodes[id.index()].name.clone();
    let mut ranges = BTreeMap::<NodeId, Range>::new();
    let mut broken = None;
    see(&model, input, |id, values| {
        let range = ranges.entry(id).or_default();
        match values.iter().find(|value| !value.is_finite()) {
            Some(value) => broken = broken.or(Some((id, *value))),
            None => values.iter().for_each(|value| range.add(*value)),
        }
    })?;
    if let Some((id, value)) = broken {
        return Err(CalibrateError::NotFinite { layer: name(id), value });
    }
    let mut histograms: BTreeMap<NodeId, Histogram> =
        ranges.into_iter().map(|(id, range)| (id, Histogram::new(range))).collect();
    see(&model, input, |id, values| {
        if let Some(histogram) = histograms.get_mut(&id) {
            values.iter().for_each(|value| histogram.add(*value));
        }
    })?;
    Ok(histograms.into_iter().map(|(id, histogram)| (name(id), histogram.grid())).collect())
}

/// Runs all images and looks at every value.
fn see(model: &Model, input: &[f32], mut look: impl FnMut(NodeId, &[f32])) -> Result<(), RunError> {
    let mut session = model.session();
    for image in input.chunks_exact(model.input_len()) {
        session.run_seeing(image, &mut look)?;
    }
    Ok(())
}

/// The least and the greatest of some values and 0.
#[derive(Clone, Copy, Debug, Default)]
struct Range {
    first: f32,
    last: f32,
}

impl Range {
    fn add(&mut self, value: f32) {
        self.first = self.first.min(value);
        self.last = self.last.max(value);
    }

    /// The grid of 256 numbers from the first to the last, moved so that 0 is one of them.
    fn grid(self) -> Grid {
        let scale = self.last / 255.0 - self.first / 255.0;
        match scale >= f32::MIN_POSITIVE {
            true => Grid { scale, zero: (-self.first / scale).round_ties_even() as u8 },
            // Nothing but zeros.
            false => Grid { scale: 1.0, zero: 0 },
        }
    }

    fn scaled(self, part: f32) -> Self {
        Self { first: self.first * part, last: self.last * part }
    }
}

/// How many values lie where.
struct Histogram {
    range: Range,
    counts: Vec<u64>,
}

impl Histogram {
    fn new(range: Range) -> Self {
        Self { range, counts: vec![0; BINS] }
    }

    fn width(&self) -> f64 {
        (f64::from(self.range.last) - f64::from(self.range.first)) / BINS as f64
    }

    /// Exact zeros are on every grid and do not count.
    fn add(&mut self, value: f32) {
        if value != 0.0 {
            let bin = (f64::from(value) - f64::from(self.range.first)) / self.width();
            self.counts[(bin as usize).min(BINS - 1)] += 1;
        }
    }

    /// The grid with the least error, the widest of equal ones.
    fn grid(&self) -> Grid {
        let parts = (1..=ENDS).rev().map(|part| part as f32 / ENDS as f32);
        let grids = parts.map(|part| self.range.scaled(part).grid());
        let best = grids.min_by(|a, b| self.error(*a).total_cmp(&self.error(*b)));
        best.unwrap_or_else(|| self.range.grid())
    }

    /// Sum of the squared errors.
    fn error(&self, Grid { scale, zero }: Grid) -> f64 {
        let (scale, zero) = (f64::from(scale), f64::from(zero));
        let [first, last] = [0.0, 255.0].map(|end| (end - zero) * scale);
        let rounding = scale * scale / 12.0;
        let middle = |bin: usize| f64::from(self.range.first) + (bin as f64 + 0.5) * self.width();
        let bins = self.counts.iter().enumerate().filter(|(_, count)| **count > 0);
        let errors = bins.map(|(bin, count)| {
            let beyond = (first - middle(bin)).max(middle(bin) - last);
            *count as f64 * if beyond > 0.0 { beyond * beyond } else { rounding }
        });
        errors.sum()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn histogram(values: &[f32]) -> Histogram {
        let mut range = Range::default();
        values.iter().for_each(|value| range.add(*value));
        let mut histogram = Histogram::new(range);
        values.iter().for_each(|value| histogram.add(*value));
        histogram
    }

    #[test]
    fn a_grid_has_zero_and_reaches_both_ends() {
        let grid = histogram(&[0.0, 0.5, 1.0, 2.55]).range.grid();
        assert_eq!((grid.scale, grid.zero), (2.55 / 255.0, 0));
        let grid = histogram(&[-1.0, 3.0]).range.grid();
        assert_eq!((grid.scale, grid.zero), (3.0 / 255.0 + 1.0 / 255.0, 64));
        let grid = histogram(&[-1.0, -0.5]).range.grid();
        assert_eq!(grid.zero, 255);
        assert_eq!(histogram(&[0.0, -0.0]).grid(), Grid { scale: 1.0, zero: 0 });
        assert_eq!(histogram(&[1e-45]).grid(), Grid { scale: 1.0, zero: 0 });
        assert!(histogram(&[f32::MAX, f32::MIN]).grid().is_valid());
    }

    #[test]
    fn a_single_outlier_is_cut_off_and_many_are_not() {
        let many: Vec<f32> = (1..=1_000_000).map(|i| i as f32 / 1e6).collect();
        let even = histogram(&many).grid();
        assert!((even.scale - 1.0 / 255.0).abs() < 1e-6, "{even:?}");
        let one = histogram(&[&many[..], &[8.0]].concat()).grid();
        assert!(one.scale < 6.0 / 255.0, "{one:?}");
        let most = histogram(&[&many[..], &[8.0; 50_000]].concat()).grid();
        assert_eq!(most.scale, 8.0 / 255.0);
    }
}
