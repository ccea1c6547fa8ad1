//! An adaptive binary arithmetic coder, and the one walk over a tensor that
//! encoder and decoder share.
//!
//! The interval `[low, low + range)` starts as all 64-bit values but the last. A
//! decision with probability p of being true, in 1/2²⁴, splits it at
//! `low + ⌊range / 2²⁴⌋ · p`: the lower part stands for true. When `range` falls
//! below 2⁴⁸, the upper 16 bits of `low` are written and both are shifted. The
//! principle is that of Martin's range encoding (1979) and of CACM's
//! arithmetic coder; only integers are used, so every machine agrees.
//!
//! A code ends in the shortest way: of the values in the last interval the one
//! with the most zero bytes at its end, and zero bytes at the end of a code are
//! not stored. The decoder reads zeros there, and insists on that ending, so
//! that a tensor has one code and a code is one tensor's.

use alloc::vec::Vec;

use super::CodecError;

/// Bits of a probability.
pub(super) const PRECISION: u32 = 24;
/// An even chance.
pub(super) const EVEN: u32 = 1 << (PRECISION - 1);
/// Below this, `range` is shifted.
const LEAST_RANGE: u64 = 1 << 48;

/// Codes decisions in one direction or the other, so that a model is written
/// down once.
pub(super) trait BitCoder {
    /// Codes one decision whose probability of being true is `p1` / 2²⁴, with
    /// 0 < `p1` < 2²⁴, and gives it. A decoder does not look at `bit`.
    fn code(&mut self, p1: u32, bit: bool) -> bool;
}

/// Turns decisions into bytes.
pub(super) struct Encoder {
    low: u64,
    range: u64,
    bytes: Vec<u8>,
}

impl Encoder {
    pub(super) fn new() -> Self {
        Self { low: 0, range: u64::MAX, bytes: Vec::new() }
    }

    /// Adds to `low`; what exceeds 64 bits is carried into the bytes written.
    fn add(&mut self, amount: u64) {
        let (low, carry) = self.low.overflowing_add(amount);
        self.low = low;
        if carry {
            for byte in self.bytes.iter_mut().rev() {
                *byte = byte.wrapping_add(1);
                if *byte != 0 {
                    break;
                }
            }
        }
    }

    /// The bytes of all decisions.
    pub(super) fn finish(mut self) -> Vec<u8> {
        self.add(distance_to_end(self.low, self.range));
        self.bytes.extend(self.low.to_be_bytes());
        let last = self.bytes.iter().rposition(|&byte| byte != 0);
        self.bytes.truncate(last.map_or(0, |last| last.saturating_add(1)));
        self.bytes
    }
}

impl BitCoder for Encoder {
    fn code(&mut self, p1: u32, bit: bool) -> bool {
        let bound = (self.range >> PRECISION).wrapping_mul(u64::from(p1));
        if bit {
            self.range = bound;
        } else {
            self.add(bound);
            self.range = self.range.wrapping_sub(bound);
        }
        while self.range < LEAST_RANGE {
            self.bytes.extend(((self.low >> 48) as u16).to_be_bytes());
            self.low <<= 16;
            self.range <<= 16;
        }
        bit
    }
}

/// How far above `low` the value lies that a code ends with: the one below
/// `low + range` with the most zero bytes at its end.
fn distance_to_end(low: u64, range: u64) -> u64 {
    let up_to_multiple = |mask: u64| low.wrapping_neg() & mask;
    [0, 8, 16, 24, 32, 40, 48, 56, 64]
        .map(|kept| u64::MAX.checked_shr(kept).unwrap_or(0))
        .into_iter()
        .map(up_to_multiple)
        .find(|&distance| distance < range)
        .unwrap_or(0)
}

/// Turns bytes into decisions.
pub(super) struct Decoder<'a> {
    bytes: &'a [u8],
    /// Bytes read, which may be more than there are.
    position: usize,
    /// The last 64 bits read.
    window: u64,
    /// `window` − `low`, below `range`.
    code: u64,
    range: u64,
}

impl<'a> Decoder<'a> {
    /// # Errors
    /// Where the code is not in the first interval.
    pub(super) fn new(bytes: &'a [u8]) -> Result<Self, CodecError> {
        let mut decoder = Self { bytes, position: 0, window: 0, code: 0, range: u64::MAX };
        for _ in 0..4 {
            decoder.shift();
        }
        match decoder.code < decoder.range {
            true => Ok(decoder),
            false => Err(CodecError::Beginning),
        }
    }

    /// Reads two bytes, zeros behind the end.
    #[inline]
    fn shift(&mut self) {
        let byte = |at: usize| u64::from(self.bytes.get(at).copied().unwrap_or(0));
        let word = byte(self.position) << 8 | byte(self.position.wrapping_add(1));
        self.position = self.position.wrapping_add(2);
        self.window = self.window << 16 | word;
        self.code = self.code << 16 | word;
    }

    /// Checks that the bytes end as an encoder ends them.
    pub(super) fn finish(self) -> Result<(), CodecError> {
        let found = self.bytes.len();
        if found > self.position {
            return Err(CodecError::TooLong { limit: self.position, found });
        }
        let low = self.window.wrapping_sub(self.code);
        let shortest = self.code == distance_to_end(low, self.range);
        match shortest && self.bytes.last() != Some(&0) {
            true => Ok(()),
            false => Err(CodecError::Ending { offset: found.saturating_sub(1) }),
        }
    }
}

impl BitCoder for Decoder<'_> {
    #[inline]
    fn code(&mut self, p1: u32, _: bool) -> bool {
        let bound = (self.range >> PRECISION).wrapping_mul(u64::from(p1));
        let bit = self.code < bound;
        if bit {
            self.range = bound;
        } else {
            self.code = self.code.wrapping_sub(bound);
            self.range = self.range.wrapping_sub(bound);
        }
        while self.range < LEAST_RANGE {
            self.range <<= 16;
            self.shift();
        }
        bit
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use alloc::vec;
    use proptest::prelude::*;

    const LAST: u32 = (1 << PRECISION) - 1;

    fn encode(decisions: &[(u32, bool)]) -> Vec<u8> {
        let mut encoder = Encoder::new();
        for &(p1, bit) in decisions {
            encoder.code(p1, bit);
        }
        encoder.finish()
    }

    fn decode(bytes: &[u8], decisions: &[(u32, bool)]) -> Result<Vec<bool>, CodecError> {
        let mut decoder = Decoder::new(bytes)?;
        let bits = decisions.iter().map(|&(p1, _)| decoder.code(p1, false)).collect();
        decoder.finish().map(|()| bits)
    }

    proptest! {
        #[test]
        fn decisions_come_back(decisions in prop::collection::vec((1..=LAST, any::<bool>()), 0..300)) {
            let bits: Vec<bool> = decisions.iter().map(|&(_, bit)| bit).collect();
            prop_assert_eq!(decode(&encode(&decisions), &decisions), Ok(bits));
        }

        #[test]
        fn what_decodes_is_the_encoding(
            bytes in prop::collection::vec(prop_oneof![any::<u8>(), Just(0xff)], 0..12),
            p1 in 1..=LAST,
        ) {
            let decisions = vec![(p1, false); 90];
            if let Ok(bits) = decode(&bytes, &decisions) {
                let decisions: Vec<_> = bits.into_iter().map(|bit| (p1, bit)).collect();
                prop_assert_eq!(encode(&decisions), bytes);
            }
        }
    }

    #[test]
    fn likely_decisions_take_few_bytes_and_unlikely_ones_many() {
        assert_eq!(encode(&[(LAST, true); 1000]).len(), 0);
        assert_eq!(encode(&[(LAST, false); 1000]).len(), 3000);
        assert_eq!(encode(&[(EVEN, false); 8000]).len(), 1000);
    }

    /// Decisions that keep a number inside the interval whose bytes are 0, 1 and
    /// then zeros, so that what is written is a row of 255s until the last decision
    /// leads above that number.
    #[test]
    fn a_carry_runs_through_the_bytes_written() {
        let (mut encoder, mut decisions) = (Encoder::new(), Vec::new());
        let mut above_low = 1u128 << 48;
        let p1 = EVEN + 12_345;
        while encoder.bytes.len() < 40 {
            let bound = u128::from((encoder.range >> PRECISION) * u64::from(p1));
            let written = encoder.bytes.len();
            let bit = above_low < bound;
            decisions.push((p1, encoder.code(p1, bit)));
            above_low =
                (above_low - if bit { 0 } else { bound }) << (8 * (encoder.bytes.len() - written));
        }
        assert_eq!(encoder.bytes[2..], [0xff; 38]);
        while !matches!(decisions.last(), Some((LAST, false))) || encoder.bytes[39] == 0xff {
            decisions.push((LAST, encoder.code(LAST, false)));
            assert!(decisions.len() < 1000);
        }
        assert_eq!((&encoder.bytes[..2], encoder.bytes[2]), (&[0, 1][..], 0));
        let bits: Vec<bool> = decisions.iter().map(|&(_, bit)| bit).collect();
        assert_eq!(decode(&encoder.finish(), &decisions), Ok(bits));
    }

    #[test]
    fn a_code_beyond_the_first_interval_is_refused() {
        let decisions = [(1, false); 3];
        assert_eq!(decode(&[0xff; 9], &decisions), Err(CodecError::Beginning));
        assert_eq!(decode(&[0xff; 8], &decisions), Err(CodecError::Beginning));
    }

    #[test]
    fn other_endings_are_refused() {
        let decisions: Vec<_> = (0..100).map(|i| (EVEN / 2, i % 3 == 0)).collect();
        let bytes = encode(&decisions);
        let mut long = bytes.clone();
        long.push(0);
        let ending = Err(CodecError::Ending { offset: bytes.len() });
        assert_eq!(decode(&long, &decisions), ending);
        long.extend([0; 40]);
        let error = decode(&long, &decisions).unwrap_err();
        assert!(
            matches!(error, CodecError::TooLong { found, .. } if found == long.len()),
            "{error}"
        );
        let mut other = bytes.clone();
        other.push(1);
        assert_eq!(decode(&other, &decisions), ending);
    }
}
