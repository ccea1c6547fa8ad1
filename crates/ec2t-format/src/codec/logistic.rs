//! Probabilities as log odds, in whole numbers.
//!
//! Log odds `ln(p / (1 − p))` are in units of 1/256 and lie in −2047…2047,
//! where p is 1/2970 and 2969/2970.

/// Log odds of either sign are at most this.
pub(super) const LIMIT: i32 = 2047;

/// `65536 / (1 + e^((16 − i) / 2))`, rounded.
const SIGMOID: [u32; 33] = [
    22, 36, 60, 98, 162, 267, 439, 720, 1179, 1921, 3108, 4971, 7812, 11955, 17625, 24743, 32768,
    40793, 47911, 53581, 57724, 60565, 62428, 63615, 64357, 64816, 65097, 65269, 65374, 65438,
    65476, 65500, 65514,
];

/// The probability, in 1/65536, of log odds: straight lines between the values
/// at multiples of one half.
#[allow(
    clippy::indexing_slicing,
    clippy::arithmetic_side_effects,
    reason = "the clamped log odds give an index from 0 to 31"
)]
pub(super) const fn squash(odds: i32) -> u32 {
    let odds = if odds < -LIMIT {
        -LIMIT
    } else if odds > LIMIT {
        LIMIT
    } else {
        odds
    };
    let at = (odds + 2048) as usize;
    let (low, high) = (SIGMOID[at >> 7], SIGMOID[(at >> 7) + 1]);
    low + (((high - low) * (at as u32 & 127)) >> 7)
}

/// The log odds of a probability in 1/4096: the least whose probability is not
/// below the middle of that step.
#[inline]
pub(super) fn stretch(p: u32) -> i32 {
    STRETCH.get(p as usize).map_or(LIMIT, |&odds| i32::from(odds))
}

#[allow(clippy::indexing_slicing, reason = "evaluated by the compiler")]
const STRETCH: [i16; 4096] = {
    let mut table = [0; 4096];
    let mut odds = -LIMIT;
    let mut step = 0;
    while step < 4096 {
        while odds < LIMIT && squash(odds) < (step as u32) * 16 + 8 {
            odds += 1;
        }
        table[step] = odds as i16;
        step += 1;
    }
    table
};

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn squash_is_the_logistic_function() {
        for odds in -LIMIT..=LIMIT {
            let exact = 65536.0 / (1.0 + libm::exp(-f64::from(odds) / 256.0));
            let error = (f64::from(squash(odds)) - exact).abs();
            assert!(error < 200.0, "{odds}: {} for {exact}", squash(odds));
        }
        assert_eq!((squash(-9999), squash(0), squash(9999)), (22, 32768, 65513));
    }

    #[test]
    fn stretch_is_its_inverse() {
        assert_eq!((stretch(0), stretch(4095), stretch(4096)), (-LIMIT, LIMIT, LIMIT));
        for p in 8..4088 {
            let back = squash(stretch(p)) / 16;
            assert!(back.abs_diff(p) <= 4, "{p}: {back}");
        }
    }
}
