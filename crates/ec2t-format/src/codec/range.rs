//! An adaptive binary arithmetic coder, and the one walk over a tensor that
//! encoder and decoder share.
//!
//! The interval `[low, low + range)` starts as all 64-bit values. A decision
//! with probability p of being 1, in 1/65536, splits it at
//! `low + ⌊range / 65536⌋ · p`: the lower part stands for 1. When `range` falls
//! below 2³², the upper 32 bits of `low` are written and both are shifted. The
//! principle is that of Martin's range encoding (1979) and of CACM's
//! arithmetic coder; only integers are used, so every machine agrees.
//!
//! A code ends in the shortest way: of the values in the last interval the one
//! with the most zero bytes at its end, and zero bytes at the end of a code are
//! not stored. The decoder reads zeros there, and insists on that ending, so
//! that a tensor has one code and a code is one tensor's.

use alloc::vec::Vec;

use super::CodecError;

/// Below this, `range` is shifted.
const LEAST_RANGE: u64 = 1 << 32;

/// Codes decisions in one direction or the other, so that a model is written
/// down once.
pub(super) trait BitCoder {
    /// Codes one decision whose probability of being true is `p1` / 65536, with
    /// 0 < `p1` < 65536, and gives it. A decoder does not look at `bit`.
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
        let bound = (self.range >> 16).wrapping_mul(u64::from(p1));
        if bit {
            self.range = bound;
        } else {
            self.add(bound);
            self.range = self.range.wrapping_sub(bound);
        }
        if self.range < LEAST_RANGE {
            self.bytes.extend(((self.low >> 32) as u32).to_be_bytes());
            self.low <<= 32;
            self.range <<= 32;
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
    /// `window` − `low`, always below `range`.
    code: u64,
    range: u64,
}

impl<'a> Decoder<'a> {
    pub(super) fn new(bytes: &'a [u8]) -> Self {
        let mut decoder = Self { bytes, position: 0, window: 0, code: 0, range: u64::MAX };
        decoder.shift();
        decoder.shift();
        decoder
    }

    /// Reads four bytes, zeros behind the end.
    fn shift(&mut self) {
        let rest = self.bytes.get(self.position..).unwrap_or_default();
        let word = match rest.first_chunk() {
            Some(&word) => u32::from_be_bytes(word),
            None => {
                let mut word = [0; 4];
                word.iter_mut().zip(rest).for_each(|(to, &from)| *to = from);
                u32::from_be_bytes(word)
            }
        };
        self.position = self.position.saturating_add(4);
        self.window = self.window << 32 | u64::from(word);
        self.code = self.code << 32 | u64::from(word);
    }

    /// Checks that the bytes end as an encoder ends them.
    pub(super) fn finish(self) -> Result<(), CodecError> {
        let found = self.bytes.len();
        if found > self.position {
            return Err(CodecError::Length { expected: self.position, found });
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
        let bound = (self.range >> 16).wrapping_mul(u64::from(p1));
        let bit = self.code < bound;
        if bit {
            self.range = bound;
        } else {
            self.code = self.code.wrapping_sub(bound);
            self.range = self.range.wrapping_sub(bound);
        }
        if self.range < LEAST_RANGE {
            self.range <<= 32;
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

    fn encode(decisions: &[(u32, bool)]) -> Vec<u8> {
        let mut encoder = Encoder::new();
        for &(p1, bit) in decisions {
            encoder.code(p1, bit);
        }
        encoder.finish()
    }

    fn decode(bytes: &[u8], decisions: &[(u32, bool)]) -> Result<Vec<bool>, CodecError> {
        let mut decoder = Decoder::new(bytes);
        let bits = decisions.iter().map(|&(p1, _)| decoder.code(p1, false)).collect();
        decoder.finish().map(|()| bits)
    }

    proptest! {
        #[test]
        fn decisions_come_back(decisions in prop::collection::vec((1u32..65536, any::<bool>()), 0..300)) {
            let bits: Vec<bool> = decisions.iter().map(|&(_, bit)| bit).collect();
            prop_assert_eq!(decode(&encode(&decisions), &decisions), Ok(bits));
        }

        #[test]
        fn what_decodes_is_the_encoding(bytes in prop::collection::vec(any::<u8>(), 0..6), p1 in 1u32..65536) {
            let decisions = vec![(p1, false); 30];
            if let Ok(bits) = decode(&bytes, &decisions) {
                let decisions: Vec<_> = bits.into_iter().map(|bit| (p1, bit)).collect();
                prop_assert_eq!(encode(&decisions), bytes);
            }
        }
    }

    #[test]
    fn likely_decisions_take_few_bytes_and_unlikely_ones_many() {
        assert_eq!(encode(&[(65535, true); 1000]).len(), 0);
        assert_eq!(encode(&[(65535, false); 1000]).len(), 2000);
        // 8,000 bits of which each costs one.
        assert_eq!(encode(&[(32768, false); 8000]).len(), 1000);
    }

    #[test]
    fn a_carry_runs_through_the_bytes_written() {
        let mut decisions = vec![(65535, true); 4];
        decisions.extend([(1, false); 40]);
        decisions.extend([(32768, false); 40]);
        let bits: Vec<bool> = decisions.iter().map(|&(_, bit)| bit).collect();
        assert_eq!(decode(&encode(&decisions), &decisions), Ok(bits));
    }

    #[test]
    fn other_endings_are_refused() {
        let decisions: Vec<_> = (0..100).map(|i| (20_000, i % 3 == 0)).collect();
        let bytes = encode(&decisions);
        let mut long = bytes.clone();
        long.push(0);
        let ending = Err(CodecError::Ending { offset: bytes.len() });
        assert_eq!(decode(&long, &decisions), ending);
        long.extend([0; 40]);
        let error = decode(&long, &decisions).unwrap_err();
        assert!(
            matches!(error, CodecError::Length { found, .. } if found == long.len()),
            "{error}"
        );
        let mut other = bytes.clone();
        other.push(1);
        assert_eq!(decode(&other, &decisions), ending);
    }
}
