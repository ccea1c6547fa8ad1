//! Two older methods, to compare with.
//!
//! | method | thresholds | centroids | source |
//! |---|---|---|---|
//! | TTQ | ±t · max \|W\| | trained, one a side | Zhu, Han, Mao & Dally, "Trained Ternary Quantization", 2017 |
//! | TWN | ±t · mean \|W\| | both the mean magnitude beyond the threshold | Li, Zhang & Liu, "Ternary Weight Networks", 2016 |
//!
//! They share everything with EC2T but this: TTQ's gradients are EC2T's, TWN's
//! background weights take `∂loss/∂T` as it is, and its centroids follow from them.
//! TTQ begins with the mean magnitudes beyond its thresholds; its authors begin with 1
//! for weights scaled to −1…1, which a batch normalisation behind the layer makes the
//! same up to the first steps.

use super::{Centroids, Ec2tOptions, Method, Thresholds, WeightStatistics};

/// Thresholds of a baseline, the same on both sides.
///
/// # Panics
/// If the method is EC2T.
pub(super) fn thresholds(
    options: &Ec2tOptions,
    weights: &[f32],
    statistics: &WeightStatistics,
) -> Thresholds {
    let unit = match options.method {
        Method::Ec2t | Method::Reference => unreachable!("thresholds follow from a constraint"),
        Method::Ttq => f64::from(statistics.extreme_neg.max(statistics.extreme_pos)),
        Method::Twn => {
            let sum: f64 = weights.iter().map(|&weight| f64::from(weight.abs())).sum();
            sum / weights.len() as f64
        }
    };
    let side = (options.threshold * unit) as f32;
    Thresholds { neg: side, pos: side }
}

/// Mean magnitudes beyond the thresholds: of each side for TTQ, of both for TWN; 0
/// where there is no weight.
pub(super) fn means(method: Method, weights: &[f32], thresholds: Thresholds) -> Centroids {
    let (mut sums, mut counts) = ([0.0; 2], [0.0; 2]);
    for &weight in weights {
        let beyond = [weight < -thresholds.neg, weight > thresholds.pos];
        if let Some(side) = beyond.iter().position(|beyond| *beyond) {
            sums[side] += f64::from(weight.abs());
            counts[side] += 1.0;
        }
    }
    if method == Method::Twn {
        (sums, counts) = ([sums[0] + sums[1]; 2], [counts[0] + counts[1]; 2]);
    }
    let [neg, pos] = [0, 1].map(|side| match counts[side] {
        0.0 => 0.0,
        count => (sums[side] / count) as f32,
    });
    Centroids { neg, pos }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ec2t::TernaryLayer;

    const WEIGHTS: [f32; 8] = [-1.0, -0.5, -0.1, 0.0, 0.1, 0.2, 0.7, 1.4];

    fn layer(method: Method, threshold: f64) -> TernaryLayer {
        let options = Ec2tOptions { method, threshold, ..Ec2tOptions::default() };
        TernaryLayer::new(WEIGHTS.to_vec(), &options).unwrap()
    }

    #[test]
    fn ttq_begins_at_a_part_of_the_largest_weight() {
        let layer = layer(Method::Ttq, 0.25); // 0.35
        assert_eq!(layer.codes(), [-1, -1, 0, 0, 0, 0, 1, 1]);
        assert_eq!(layer.centroids(), Centroids { neg: 0.75, pos: 1.05 });
    }

    /// Of weights in two groups, TWN's threshold of 0.7 means parts them.
    #[test]
    fn twn_takes_the_mean_of_what_is_beyond() {
        let layer = layer(Method::Twn, 0.7); // of 0.5
        assert_eq!(layer.codes(), [-1, -1, 0, 0, 0, 0, 1, 1]);
        assert_eq!(layer.centroids(), Centroids { neg: 0.9, pos: 0.9 });
    }

    #[test]
    fn a_side_without_weights_has_no_centroid() {
        let options = Ec2tOptions { method: Method::Ttq, ..Ec2tOptions::default() };
        let layer = TernaryLayer::new(vec![0.0, 0.5, 1.0], &options).unwrap();
        assert_eq!(layer.centroids(), Centroids { neg: 0.0, pos: 0.75 });
    }
}
