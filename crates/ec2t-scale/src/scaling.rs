//! Compound scaling of a network's depth, width and images.
//!
//! One exponent φ scales all together (Tan and Le 2019; Marban et al. 2020):
//! the base multipliers are chosen once so that `depth · width² · resolution² ≈
//! 2` ([`grid`](crate::grid)), and the cost of the network then grows as `2^φ`.
//! Channels are rounded to multiples of 8, block counts up, and sides of images
//! to the nearest pixel.

use ec2t_format::graph::Shape;
use serde::{Deserialize, Serialize};

/// Channels come in multiples of this.
const CHANNEL_DIVISOR: f64 = 8.0;
/// Largest multiplier; keeps a slip of the pen from building a giant.
const MAX_MULTIPLIER: f64 = 32.0;

/// Base multipliers and their common exponent; all 1 unless given.
///
/// ```
/// use ec2t_scale::Scaling;
///
/// let scaling = Scaling { depth: 1.4, width: 1.2, phi: 3.5, ..Scaling::default() };
/// assert_eq!([16, 32, 64].map(|channels| scaling.channels(channels)), [32, 64, 120]);
/// assert_eq!(scaling.blocks(7), 23);
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Scaling {
    /// Multiplies the number of blocks at φ = 1.
    pub depth: f64,
    /// Multiplies the number of channels at φ = 1.
    pub width: f64,
    /// Multiplies the sides of the images at φ = 1.
    pub resolution: f64,
    /// All multipliers are raised to this power.
    pub phi: f64,
}

impl Default for Scaling {
    fn default() -> Self {
        Self { depth: 1.0, width: 1.0, resolution: 1.0, phi: 1.0 }
    }
}

impl Scaling {
    /// Effective multiplier of the number of blocks, `depth^φ`.
    pub fn depth_multiplier(&self) -> f64 {
        self.depth.powf(self.phi)
    }

    /// Effective multiplier of the number of channels, `width^φ`.
    pub fn width_multiplier(&self) -> f64 {
        self.width.powf(self.phi)
    }

    /// Effective multiplier of the sides of images, `resolution^φ`.
    pub fn resolution_multiplier(&self) -> f64 {
        self.resolution.powf(self.phi)
    }

    /// The same applied to what `depth` and `width` have scaled already.
    pub(crate) fn times(&self, depth: f64, width: f64) -> Self {
        let depth = depth * self.depth_multiplier();
        let (width, resolution) = (width * self.width_multiplier(), self.resolution_multiplier());
        Self { depth, width, resolution, phi: 1.0 }
    }

    /// Scaled number of channels: the nearest multiple of 8, at least 8, and
    /// never below nine tenths of the exact product.
    pub fn channels(&self, base: usize) -> usize {
        let exact = base as f64 * self.width_multiplier();
        let nearest = (exact / CHANNEL_DIVISOR + 0.5).floor() * CHANNEL_DIVISOR;
        let rounded = nearest.max(CHANNEL_DIVISOR);
        let enough = if rounded < 0.9 * exact { rounded + CHANNEL_DIVISOR } else { rounded };
        enough as usize
    }

    /// Scaled number of blocks, rounded up.
    pub fn blocks(&self, base: usize) -> usize {
        (base as f64 * self.depth_multiplier()).ceil() as usize
    }

    /// Scaled shape of an image: its sides to the nearest pixel, at least one.
    pub fn image(&self, base: Shape) -> Shape {
        let side =
            |side: usize| (side as f64 * self.resolution_multiplier()).round().max(1.0) as usize;
        Shape::new(base.channels, side(base.height), side(base.width))
    }

    /// Whether nothing is scaled.
    pub fn is_identity(&self) -> bool {
        self.multipliers() == [1.0; 3]
    }

    /// Whether all effective multipliers are over 0 and at most 32.
    pub fn is_usable(&self) -> bool {
        let usable = |multiplier: f64| multiplier > 0.0 && multiplier <= MAX_MULTIPLIER;
        self.multipliers().into_iter().all(usable)
    }

    /// Effective multipliers of depth, width and resolution.
    fn multipliers(&self) -> [f64; 3] {
        [self.depth_multiplier(), self.width_multiplier(), self.resolution_multiplier()]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn width(width: f64) -> Scaling {
        Scaling { width, ..Scaling::default() }
    }

    #[test]
    fn channels_round_to_the_nearest_eight() {
        let cases = [(16, 1.0, 16), (64, 1.1, 72), (16, 1.2, 24), (16, 1.4, 24), (64, 1.4, 88)];
        for (base, factor, expected) in cases {
            assert_eq!(width(factor).channels(base), expected, "{base} × {factor}");
        }
    }

    #[test]
    fn channels_never_lose_a_tenth() {
        // 8 · 1.45 = 11.6 would round to 8, which is 31 % less.
        assert_eq!(width(1.45).channels(8), 16);
        assert_eq!(width(0.1).channels(16), 8);
    }

    #[test]
    fn blocks_round_up() {
        let depth = |depth| Scaling { depth, ..Scaling::default() };
        assert_eq!(depth(1.0).blocks(7), 7);
        assert_eq!(depth(1.1).blocks(7), 8);
        assert_eq!(depth(1.9).blocks(7), 14);
    }

    #[test]
    fn phi_is_the_exponent_of_all() {
        let squared = Scaling { depth: 1.5, width: 2.0, resolution: 3.0, phi: 2.0 };
        assert_eq!(squared.multipliers(), [2.25, 4.0, 9.0]);
        assert!(Scaling { phi: 0.0, ..squared }.is_identity());
        assert!(!squared.is_identity());
    }

    #[test]
    fn unusable_multipliers_are_told() {
        assert!(Scaling::default().is_usable());
        for factor in [0.0, -1.0, 33.0, f64::NAN, f64::INFINITY] {
            assert!(!width(factor).is_usable(), "{factor}");
            let sharper = Scaling { resolution: factor, ..Scaling::default() };
            assert!(!sharper.is_usable(), "{factor}");
        }
    }

    #[test]
    fn sides_of_images_round_to_the_nearest_pixel() {
        let image = |resolution| {
            let scaling = Scaling { resolution, ..Scaling::default() };
            scaling.image(Shape::new(3, 224, 32))
        };
        assert_eq!(image(1.0), Shape::new(3, 224, 32));
        assert_eq!(image(1.15), Shape::new(3, 258, 37));
        assert_eq!(image(0.001), Shape::new(3, 1, 1));
    }
}
