//! How many weights are not zero: in the whole tensor, and in a part so far.

use core::num::Wrapping;

use super::CodecError;
use super::logistic::stretch;
use super::range::{BitCoder, EVEN};

/// What a part's share is mixed with, as if that many of its weights had been
/// seen with the share of the whole.
const WHOLE: u32 = 32;

/// The share of all weights that are not zero, in 1/256, rounded down.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Density(u8);

impl Density {
    pub(super) fn of(codes: &[i8]) -> Self {
        let nonzero = codes.iter().filter(|&&code| code != 0).count() as u64;
        let share = (nonzero << 8).checked_div(codes.len() as u64).unwrap_or(0);
        Self(share.min(255) as u8)
    }

    /// Eight even decisions, the highest bit first.
    pub(super) fn code(self, coder: &mut impl BitCoder) -> Self {
        let bit =
            |byte: u8, shift: u32| byte << 1 | u8::from(coder.code(EVEN, self.0 >> shift & 1 == 1));
        Self((0..8).rev().fold(0, bit))
    }

    /// # Errors
    /// Where it is not that of the codes.
    pub(super) fn check(self, codes: &[i8]) -> Result<(), CodecError> {
        match Self::of(codes) {
            expected if expected == self => Ok(()),
            expected => Err(CodecError::Density { expected: expected.0, found: self.0 }),
        }
    }

    /// In 1/4096, the middle of the step.
    pub(super) fn share(self) -> u32 {
        u32::from(self.0) << 4 | 8
    }

    /// Log odds.
    pub(super) fn odds(self) -> Wrapping<i32> {
        Wrapping(stretch(self.share()))
    }

    /// Log odds, above those of the whole, of a part in which `nonzero` of
    /// `seen` weights so far are not zero.
    #[inline]
    pub(super) fn odds_of_part(self, nonzero: u32, seen: u32) -> Wrapping<i32> {
        Wrapping(stretch(self.share_of_part(nonzero, seen))) - self.odds()
    }

    /// The share of that part in 1/4096, less than 4096.
    #[inline]
    pub(super) fn share_of_part(self, nonzero: u32, seen: u32) -> u32 {
        mixed_share(nonzero, seen, WHOLE, self.share())
    }
}

/// `(nonzero + weight · share) / (seen + weight)`, shares in 1/4096.
#[inline]
pub(super) fn mixed_share(nonzero: u32, seen: u32, weight: u32, share: u32) -> u32 {
    let ones = (u64::from(nonzero) << 12).wrapping_add(u64::from(weight.wrapping_mul(share)));
    ones.checked_div(u64::from(seen.wrapping_add(weight))).unwrap_or(0) as u32
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shares_are_of_what_is_not_zero() {
        assert_eq!(Density::of(&[0, 1, -1, 0]), Density(128));
        assert_eq!(Density::of(&[1, -1]), Density(255));
        assert_eq!(Density::of(&[]), Density(0));
        let error = CodecError::Density { expected: 128, found: 7 };
        assert_eq!(Density(7).check(&[0, 1]), Err(error));
    }

    #[test]
    fn a_part_is_like_the_whole_until_it_is_known() {
        let density = Density(64);
        assert_eq!(density.odds_of_part(0, 0), Wrapping(0));
        assert!(density.odds_of_part(5, 10) > Wrapping(0));
        assert_eq!(density.share_of_part(1000, 1000), 4000);
    }
}
