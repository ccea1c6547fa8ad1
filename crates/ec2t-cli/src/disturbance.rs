//! Whether other work has disturbed a measurement.
//!
//! Two signs: other programs wanted the processors before it began, or its rounds differ much
//! from each other. Neither proves anything, and a quiet machine can be slow; so figures are
//! told in any case, with these signs beside them.

use std::fmt::{self, Display, Formatter};

use ec2t_infer::Spread;
use serde::Serialize;

/// Load above what leaves a processor for each thread: it falls slowly, and what ended half a
/// minute ago disturbs nothing.
const SLACK: f64 = 0.5;
/// Difference of the quartiles, as a share of the median, from which on rounds differ much.
const WIDE: f64 = 0.2;

/// Columns of a table of measurements.
pub(crate) const COLUMNS: [&str; 4] = ["load_average", "busy", "spread", "noisy"];

/// What disturbs measurements before they begin.
#[derive(Clone, Copy)]
pub(crate) struct Surroundings {
    /// Mean number of programs that wanted a processor in the last minute, where Linux tells.
    pub(crate) load_average: Option<f64>,
    /// Processors that this process may use.
    pub(crate) processors: usize,
}

/// What may have disturbed a measurement.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize)]
pub(crate) struct Disturbance {
    /// Load average before the first round, where Linux tells.
    load_average: Option<f64>,
    /// Whether that left too few processors.
    busy: bool,
    /// The widest difference of quartiles, as a share of the median.
    spread: f64,
    /// Whether that is wide.
    noisy: bool,
}

impl Disturbance {
    /// Of a measurement with so many threads, by the times of its rounds.
    pub(crate) fn of(
        surroundings: Surroundings,
        threads: usize,
        times: impl IntoIterator<Item = Spread>,
    ) -> Self {
        let Surroundings { load_average, processors } = surroundings;
        let free = processors.saturating_sub(threads) as f64 + SLACK;
        let width = |times: Spread| (times.upper - times.lower) / times.median;
        let spread = times.into_iter().map(width).fold(0.0, f64::max);
        let busy = load_average.is_some_and(|load| load > free);
        Self { load_average, busy, spread, noisy: spread > WIDE }
    }

    /// Whether there is any sign.
    pub(crate) fn is_seen(&self) -> bool {
        self.busy || self.noisy
    }

    /// The cells of a line of CSV, as [`COLUMNS`] calls them.
    pub(crate) fn cells(&self) -> [String; 4] {
        let load = self.load_average.map_or(String::new(), |load| load.to_string());
        [load, self.busy.to_string(), self.spread.to_string(), self.noisy.to_string()]
    }
}

impl Display for Disturbance {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        let load = self.load_average.filter(|_| self.busy);
        let load = load.map(|load| format!("the load average was {load:.2} before"));
        let spread = || {
            format!(
                "the middle half of the rounds spans {:.0} % of the median",
                100.0 * self.spread
            )
        };
        let signs: Vec<String> = load.into_iter().chain(self.noisy.then(spread)).collect();
        write!(f, "{}", signs.join(", "))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(load: Option<f64>, threads: usize, seconds: &[f64]) -> Disturbance {
        let surroundings = Surroundings { load_average: load, processors: 4 };
        Disturbance::of(surroundings, threads, [Spread::of(seconds)])
    }

    #[test]
    fn a_machine_is_busy_where_others_leave_too_few_processors() {
        let is_busy = |load, threads| of(load, threads, &[1.0]).busy;
        assert!(!is_busy(Some(3.4), 1) && is_busy(Some(3.6), 1));
        assert!(!is_busy(Some(0.4), 4) && is_busy(Some(0.6), 4));
        assert!(!is_busy(Some(0.4), 9) && is_busy(Some(0.6), 9));
        assert!(!is_busy(None, 4));
    }

    #[test]
    fn rounds_that_differ_are_noise_and_one_slow_round_is_none() {
        let steady = [1.0, 1.0, 1.01, 1.02, 1.0, 1.03, 1.0, 5.0];
        assert!(!of(None, 1, &steady).is_seen());
        let noisy = of(None, 1, &[1.0, 1.0, 1.5, 1.5, 2.0, 2.0, 1.0, 2.0]);
        assert!(noisy.is_seen() && !noisy.busy);
        assert!(noisy.to_string().starts_with("the middle half of the rounds spans "), "{noisy}");
    }

    #[test]
    fn both_signs_are_told() {
        let both = of(Some(7.25), 1, &[1.0, 1.0, 2.0, 2.0]).to_string();
        assert!(both.starts_with("the load average was 7.25 before, the middle "), "{both}");
        assert_eq!(of(Some(7.25), 1, &[1.0]).cells()[..2], ["7.25", "true"]);
    }
}
