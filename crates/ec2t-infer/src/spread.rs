//! How repeated measurements are distributed.

/// Quantiles of some numbers. The median tells what a run takes; what disturbs a machine
/// makes some runs slower, so the least tells what it could take, and the quartiles how far
/// to trust both.
///
/// ```
/// use ec2t_infer::Spread;
///
/// let spread = Spread::of(&[4.0, 1.0, 2.0, 3.0]);
/// assert_eq!(spread, Spread { min: 1.0, lower: 1.75, median: 2.5, upper: 3.25 });
/// ```
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Spread {
    /// The least.
    pub min: f64,
    /// A quarter is below, three quarters are above.
    pub lower: f64,
    /// Half are below, half above.
    pub median: f64,
    /// Three quarters are below, a quarter is above.
    pub upper: f64,
}

impl Spread {
    /// Of some numbers; between two of them quantiles are interpolated.
    ///
    /// # Panics
    /// Without numbers.
    pub fn of(values: &[f64]) -> Self {
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

    /// The same numbers in another unit.
    pub fn scaled(self, factor: f64) -> Self {
        let [min, lower, median, upper] =
            [self.min, self.lower, self.median, self.upper].map(|number| factor * number);
        Self { min, lower, median, upper }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_number_is_all_quantiles() {
        let one = Spread::of(&[7.0]);
        assert_eq!(one, Spread { min: 7.0, lower: 7.0, median: 7.0, upper: 7.0 });
        assert_eq!(Spread::of(&[9.0, 1.0, 2.0]).scaled(10.0).median, 20.0);
    }
}
