//! How the copies of a channel share its weight.
//!
//! Each copy gets a number from `1 − spread` to `1 + spread`, drawn evenly, over the sum
//! of those of all copies of that channel: shares add up to 1, whatever is drawn.

/// Draws shares; the same seed gives the same ones.
pub(super) struct Shares {
    spread: f64,
    state: u64,
}

impl Shares {
    pub(super) fn new(spread: f32, seed: u64) -> Self {
        Self { spread: spread.into(), state: seed }
    }

    /// The share of each copy, for one output; `channels` says what each is a copy of.
    pub(super) fn draw(&mut self, channels: &[usize]) -> Vec<f32> {
        let draws: Vec<f64> = channels.iter().map(|_| 1.0 + self.spread * self.uniform()).collect();
        let mut sums = vec![0.0; channels.iter().max().map_or(0, |most| most + 1)];
        for (&channel, draw) in channels.iter().zip(&draws) {
            sums[channel] += draw;
        }
        let share = |(&channel, draw): (&usize, &f64)| (draw / sums[channel]) as f32;
        channels.iter().zip(&draws).map(share).collect()
    }

    /// From −1 to 1: the top bits of SplitMix64 (Steele, Lea and Flood 2014).
    fn uniform(&mut self) -> f64 {
        self.state = self.state.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.state;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        (z ^ (z >> 31)) as f64 / u64::MAX as f64 * 2.0 - 1.0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const CHANNELS: [usize; 6] = [0, 1, 2, 0, 1, 0];

    #[test]
    fn shares_of_a_channel_add_up_to_one() {
        let mut shares = Shares::new(0.9, 7);
        for _ in 0..100 {
            let drawn = shares.draw(&CHANNELS);
            for channel in 0..3 {
                let of_channel = CHANNELS.iter().zip(&drawn).filter(|&(&c, _)| c == channel);
                let sum: f32 = of_channel.map(|(_, share)| share).sum();
                assert!((sum - 1.0).abs() < 1e-6, "{sum}");
            }
            assert_eq!(drawn[2], 1.0);
            assert!(drawn.iter().all(|&share| share > 0.0));
        }
    }

    #[test]
    fn the_spread_parts_copies() {
        let equal = Shares::new(0.0, 7).draw(&CHANNELS);
        assert_eq!((equal[0], equal[3], equal[1]), (equal[5], equal[5], 0.5));
        let [first, second] = [7, 8].map(|seed| Shares::new(0.5, seed).draw(&CHANNELS));
        assert!(first[0] != first[3] && first != second);
        assert_eq!(first, Shares::new(0.5, 7).draw(&CHANNELS));
    }
}
