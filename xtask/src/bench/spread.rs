//! What rounds come to.

use serde::Serialize;

/// How measurements are distributed.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub(crate) struct Spread {
    pub(crate) min: f64,
    /// A quarter is below, three quarters are above.
    pub(crate) lower: f64,
    pub(crate) median: f64,
    /// Three quarters are below, a quarter is above.
    pub(crate) upper: f64,
}

impl Spread {
    /// Of at least one number; between two of them quantiles are interpolated.
    pub(crate) fn of(values: &[f64]) -> Self {
        let mut sorted = values.to_vec();
        sorted.sort_by(f64::total_cmp);
        let quantile = |part: f64| {
            let place = part * (sorted.len() - 1) as f64;
            let (below, above) = (sorted[place.floor() as usize], sorted[place.ceil() as usize]);
            below + place.fract() * (above - below)
        };
        let [min, lower, median, upper] = [0.0, 0.25, 0.5, 0.75].map(quantile);
        Self { min, lower, median, upper }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quantiles_are_interpolated() {
        let spread = Spread::of(&[4.0, 1.0, 2.0, 3.0]);
        assert_eq!(spread, Spread { min: 1.0, lower: 1.75, median: 2.5, upper: 3.25 });
        let one = Spread::of(&[7.0]);
        assert_eq!(one, Spread { min: 7.0, lower: 7.0, median: 7.0, upper: 7.0 });
    }
}
