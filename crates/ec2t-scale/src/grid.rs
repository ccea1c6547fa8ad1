//! The grid of base multipliers (Tan and Le 2019, section 3.3; Marban et al. 2020).
//!
//! A network's multiply-accumulates grow as `depth · width² · resolution²`. Points
//! of the grid are those combinations that about double them, so that the network
//! scaled by φ costs about `2^φ` times as much. The best of them at φ = 1 is then
//! scaled further. Multipliers are from 1 to below 2: one that doubles a single
//! dimension leaves nothing to combine.
//!
//! Everything is reckoned in hundredths, as whole numbers: a product that lies
//! exactly at the limit is inside.

use crate::scaling::Scaling;

/// Hundredths in 1; multipliers are multiples of a hundredth.
const UNIT: u64 = 100;
/// A product of five multipliers that is 1.
const PRODUCT_UNIT: u64 = UNIT.pow(5);
/// What a point multiplies the cost by.
const GROWTH: u64 = 2;

/// How fine a grid is, and what varies.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Grid {
    /// Distance of neighbouring multipliers in hundredths.
    pub step: u64,
    /// How far from 2 the growth of the cost may be, in hundredths.
    pub tolerance: u64,
    /// Whether the resolution varies too.
    pub resolution: bool,
}

impl Default for Grid {
    /// Tenths of depth and width alone, within 0.1: the grid of EC2T.
    fn default() -> Self {
        Self { step: 10, tolerance: 10, resolution: false }
    }
}

impl Grid {
    /// The points at φ = 1, by rising depth, then width.
    ///
    /// ```
    /// use ec2t_scale::Grid;
    ///
    /// let points = Grid::default().points();
    /// let pairs: Vec<_> = points.iter().map(|point| (point.depth, point.width)).collect();
    /// assert_eq!(pairs, [(1.0, 1.4), (1.2, 1.3), (1.4, 1.2), (1.6, 1.1), (1.7, 1.1), (1.9, 1.0)]);
    /// ```
    pub fn points(&self) -> Vec<Scaling> {
        let multipliers = || (UNIT..GROWTH * UNIT).step_by(self.step.max(1) as usize);
        let resolutions = if self.resolution { multipliers().collect() } else { vec![UNIT] };
        let mut points = Vec::new();
        for depth in multipliers() {
            for width in multipliers() {
                let fitting = resolutions.iter().filter(|&&r| self.fits(depth, width, r));
                points.extend(fitting.map(|&resolution| scaling(depth, width, resolution)));
            }
        }
        points
    }

    /// Whether the product is near enough to 2.
    fn fits(&self, depth: u64, width: u64, resolution: u64) -> bool {
        let product = depth * width.pow(2) * resolution.pow(2);
        product.abs_diff(GROWTH * PRODUCT_UNIT) <= self.tolerance * (PRODUCT_UNIT / UNIT)
    }
}

/// A point at φ = 1 from multipliers in hundredths.
fn scaling(depth: u64, width: u64, resolution: u64) -> Scaling {
    let [depth, width, resolution] =
        [depth, width, resolution].map(|hundredths| hundredths as f64 / UNIT as f64);
    Scaling { depth, width, resolution, phi: 1.0 }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn product(point: &Scaling) -> f64 {
        point.depth * point.width.powi(2) * point.resolution.powi(2)
    }

    #[test]
    fn the_published_grid_is_the_default() {
        let points = Grid::default().points();
        // Marban et al. 2020, table 5.1 of the thesis: depth · width².
        let published = ["1.96", "2.03", "2.02", "1.94", "2.06", "1.90"];
        let found: Vec<_> = points.iter().map(|point| format!("{:.2}", product(point))).collect();
        assert_eq!(found, published);
        assert!(points.iter().all(|point| point.resolution == 1.0 && point.phi == 1.0));
    }

    #[test]
    fn the_multipliers_of_efficientnet_are_on_a_finer_grid() {
        let points = Grid { step: 5, tolerance: 10, resolution: true }.points();
        let published = Scaling { depth: 1.2, width: 1.1, resolution: 1.15, phi: 1.0 };
        assert!(points.contains(&published), "{points:?}");
        assert!(points.iter().all(|point| (product(point) - 2.0).abs() <= 0.1 + 1e-12));
    }

    #[test]
    fn the_limit_is_inside() {
        let exact = Grid { tolerance: 4, ..Grid::default() };
        // 1.0 · 1.4² = 1.96 is 0.04 below 2.
        assert!(exact.points().contains(&scaling(100, 140, 100)));
        let closer = Grid { tolerance: 3, ..exact };
        assert!(!closer.points().contains(&scaling(100, 140, 100)));
    }
}
