//! The score of the MicroNet challenge (NeurIPS 2019).
//!
//! `score = parameters / parameters of the baseline + operations / operations of it`,
//! both in units of 32 bits. Lower is better.

use ec2t_format::graph::Shape;
use serde::Serialize;

/// The network that the challenge compares with.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct Baseline {
    /// Its name.
    pub name: &'static str,
    /// Its parameters.
    pub params: f64,
    /// Its operations for an image.
    pub operations: f64,
}

/// For ImageNet.
const MOBILENET_V2: Baseline =
    Baseline { name: "MobileNetV2 1.4", params: 6.9e6, operations: 1.17e9 };
/// For CIFAR-100; used for CIFAR-10 too, which the challenge did not have.
const WIDE_RESNET: Baseline = Baseline { name: "WRN-28-10", params: 36.5e6, operations: 10.49e9 };

/// Rows and columns of an image from which on it counts as one of ImageNet.
const LARGE: usize = 128;

/// A score and its two parts.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct MicroNetScore {
    /// What is compared with.
    pub baseline: Baseline,
    /// The part of the parameters.
    pub params: f64,
    /// The part of the operations.
    pub operations: f64,
    /// Their sum.
    pub score: f64,
}

impl Baseline {
    /// The baseline for images of this shape.
    pub(super) fn for_input(input: Shape) -> Option<Self> {
        match (input.channels, input.height.min(input.width)) {
            (3, 32) => Some(WIDE_RESNET),
            (3, LARGE..) => Some(MOBILENET_V2),
            _ => None,
        }
    }

    pub(super) fn score(self, params: f64, operations: f64) -> MicroNetScore {
        let (params, operations) = (params / self.params, operations / self.operations);
        MicroNetScore { baseline: self, params, operations, score: params + operations }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn published_scores() {
        // Table 5.4 of the authors' thesis, from its rounded counts.
        let imagenet = Baseline::for_input(Shape::new(3, 240, 240)).unwrap();
        assert_eq!(format!("{:.4}", imagenet.score(972e3, 261e6).score), "0.3639");
        let cifar = Baseline::for_input(Shape::new(3, 32, 32)).unwrap();
        assert_eq!(format!("{:.3}", cifar.score(226e3, 71e6).score), "0.013");
        assert_eq!(Baseline::for_input(Shape::new(1, 28, 28)), None);
    }
}
