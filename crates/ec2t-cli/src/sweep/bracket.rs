//! Where a rising function of one setting crosses 0, in few steps.
//!
//! A step costs a training. So each is placed by what is known: as long as the crossing
//! is bounded on one side only, by a guess of the caller; then by a straight line between
//! both sides, but never so close to one that less than a quarter is cut off. The
//! function need not be smooth (of one that is −1 and then 1, the line's middle is the
//! bracket's), and where it is not quite rising the search still ends.
//!
//! Settings are multiples of 1/10,000: finer ones differ in nothing that training shows,
//! and these have short names.

/// Settings in a unit interval.
const STEPS: f64 = 10_000.0;

/// The least and the largest value of a setting, both included.
pub(crate) type Domain = [f64; 2];

/// What is known of the crossing.
pub(crate) struct Bracket {
    /// The largest setting whose value is known not to exceed 0, or the least of all.
    low: End,
    /// The least setting whose value is known to exceed 0, or the largest of all.
    high: End,
}

/// One side of a bracket.
#[derive(Clone, Copy)]
struct End {
    at: f64,
    /// The function there, once it is known.
    value: Option<f64>,
}

impl Bracket {
    /// Nothing is known but the settings that there are.
    pub(crate) fn new([low, high]: Domain) -> Self {
        let end = |at| End { at, value: None };
        Self { low: end(low), high: end(high) }
    }

    /// Notes the value of the function at a setting inside the bracket.
    pub(crate) fn record(&mut self, at: f64, value: f64) {
        let end = if value <= 0.0 { &mut self.low } else { &mut self.high };
        *end = End { at, value: Some(value) };
    }

    /// The setting to look at next, `guess` if it helps; none where all between the two
    /// sides are the sides themselves.
    pub(crate) fn next(&self, guess: f64) -> Option<f64> {
        let (low, high) = (self.low, self.high);
        let between = |part: f64| round(low.at + part * (high.at - low.at));
        let is_new = |at: f64| {
            let known = |end: End| end.value.is_some() && at == end.at;
            !known(low) && !known(high)
        };
        let candidate = match (low.value, high.value) {
            (Some(below), Some(above)) => between((below / (below - above)).clamp(0.25, 0.75)),
            _ => round(guess.clamp(low.at, high.at)),
        };
        [candidate, between(0.5)].into_iter().find(|&at| is_new(at))
    }

    /// Whether even the least setting is above 0.
    pub(crate) fn is_above_all(&self) -> bool {
        self.low.at == self.high.at && self.high.value.is_some()
    }

    /// Whether even the largest setting is not above 0.
    pub(crate) fn is_below_all(&self) -> bool {
        self.low.at == self.high.at && self.low.value.is_some()
    }
}

/// The nearest setting with a short name.
pub(crate) fn round(at: f64) -> f64 {
    (at * STEPS).round() / STEPS
}

/// The least setting at which a rising function reaches `wanted`, or the largest of all
/// where none does.
///
/// # Errors
/// Those of the function.
pub(crate) fn first_reaching<E>(
    [low, high]: Domain,
    wanted: f64,
    mut function: impl FnMut(f64) -> Result<f64, E>,
) -> Result<f64, E> {
    let (mut below, mut reaching) = ((low * STEPS).round(), (high * STEPS).round());
    while below < reaching {
        let middle = ((below + reaching) / 2.0).floor();
        match function(middle / STEPS)? >= wanted {
            true => reaching = middle,
            false => below = middle + 1.0,
        }
    }
    Ok(reaching / STEPS)
}

#[cfg(test)]
mod tests {
    use super::*;

    const UNIT: Domain = [0.0, 1.0];

    /// The settings at which a search for `wanted` looks, with guesses that know only the
    /// direction.
    fn looks(wanted: f64, first: f64, function: fn(f64) -> f64) -> Vec<f64> {
        let mut bracket = Bracket::new(UNIT);
        let (mut looks, mut at) = (Vec::new(), first);
        loop {
            looks.push(at);
            assert!(looks.len() < 100, "{looks:?}");
            let value = function(at) - wanted;
            bracket.record(at, value);
            let guess = if value <= 0.0 { at + 0.2 } else { at - 0.2 };
            match bracket.next(guess) {
                Some(next) => at = next,
                None => return looks,
            }
        }
    }

    #[test]
    fn a_crossing_is_found_in_few_steps() {
        let curve = |at: f64| 0.4 + 0.6 * at.sqrt();
        for wanted in [0.45, 0.5, 0.64, 0.75, 0.9, 0.99] {
            let looks = looks(wanted, 0.1, curve);
            let near = looks.iter().position(|&at| (curve(at) - wanted).abs() <= 0.005);
            assert!(near.is_some_and(|steps| steps < 8), "{wanted}: {looks:?}");
            let last = looks[looks.len() - 1];
            assert!((curve(last) - wanted).abs() <= 0.001, "{wanted}: {looks:?}");
        }
    }

    #[test]
    fn steps_of_a_function_are_found_as_well() {
        let step = |at: f64| if at < 0.7312 { 0.0 } else { 1.0 };
        let looks = looks(0.5, 0.2, step);
        assert!(looks.contains(&0.7311) && looks.contains(&0.7312), "{looks:?}");
        assert!(looks.len() < 25, "{looks:?}");
    }

    #[test]
    fn what_is_out_of_reach_is_known_by_the_end() {
        let above = looks(0.2, 0.4, |at| 0.3 + 0.1 * at);
        assert_eq!(above.last(), Some(&0.0), "{above:?}");
        let below = looks(0.9, 0.4, |at| 0.3 + 0.1 * at);
        assert_eq!(below.last(), Some(&1.0), "{below:?}");

        let mut bracket = Bracket::new(UNIT);
        assert!(!bracket.is_above_all() && !bracket.is_below_all());
        bracket.record(0.0, 0.1);
        assert!(bracket.is_above_all() && !bracket.is_below_all());
        let mut bracket = Bracket::new(UNIT);
        bracket.record(1.0, -0.1);
        assert!(bracket.is_below_all() && !bracket.is_above_all());
    }

    #[test]
    fn a_guess_counts_while_one_side_is_open() {
        let mut bracket = Bracket::new(UNIT);
        bracket.record(0.2, -0.1);
        assert_eq!(bracket.next(0.234_567), Some(0.2346));
        assert_eq!(bracket.next(7.0), Some(1.0));
        // What is known already can't be it.
        assert_eq!(bracket.next(0.1), Some(0.6));
        bracket.record(0.4, 0.1);
        assert_eq!(bracket.next(0.234_567), Some(0.3));
        // A straight line, but a quarter at least.
        bracket.record(0.4, 0.2);
        assert_eq!(bracket.next(0.234_567), Some(0.2667));
        bracket.record(0.4, 70.0);
        assert_eq!(bracket.next(0.234_567), Some(0.25));
    }

    #[test]
    fn a_rising_function_is_inverted() {
        let square = |at: f64| Ok::<_, String>(at * at);
        assert_eq!(first_reaching(UNIT, 0.25, square).unwrap(), 0.5);
        assert_eq!(first_reaching(UNIT, -1.0, square).unwrap(), 0.0);
        assert_eq!(first_reaching(UNIT, 2.0, square).unwrap(), 1.0);
        assert_eq!(first_reaching(UNIT, 0.5, |_| Err("no")), Err("no"));
    }
}
