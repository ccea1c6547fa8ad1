//! Bits of a layer's weights in the formats that the method's authors compare.
//!
//! Of N weights in M rows, one for each output, n are not zero; numbers have b bits.
//! Ternary formats end with the two values.
//!
//! | format | bits |
//! |---|---|
//! | values | n·b, and a mask of N where any are zero |
//! | two masks | 2N + 2b |
//! | mask and signs | N + n + 2b |
//! | compressed rows (CSR) | n·(b + 1) + (M + 1)·b + 2b |
//! | compressed by entropy (CER) | n·b + 2(M + 1)·b + 2b |
//!
//! Compressed rows have a column and a sign for each weight and a start for each
//! row. CER (Wiedemann et al. 2018) is reckoned by the authors' formula.

use serde::Serialize;

use super::rules::UNIT_BITS;

/// Weights of a layer, as they are stored.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Stored {
    /// Number of outputs.
    pub(super) rows: u64,
    /// Number of weights.
    pub(super) count: u64,
    /// How many are not zero.
    pub(super) nonzero: u64,
}

/// Bits of ternary weights in each format.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Formats {
    /// Each nonzero weight as a number, and a mask.
    pub values: u64,
    /// A mask for each sign.
    pub two_masks: u64,
    /// A mask, and a sign for each nonzero weight.
    pub mask_sign: u64,
    /// Compressed sparse rows.
    pub csr: u64,
    /// Compressed entropy rows.
    pub cer: u64,
}

impl Stored {
    /// Bits of numbers with a mask where some are zero.
    pub(super) fn values(self, bits: u64) -> u64 {
        let mask = if self.nonzero < self.count { self.count } else { 0 };
        self.nonzero * bits + mask
    }

    /// Bits in all formats.
    pub(super) fn formats(self, bits: u64) -> Formats {
        let Self { rows, count, nonzero } = self;
        let two_values = 2 * bits;
        Formats {
            values: self.values(bits),
            two_masks: 2 * count + two_values,
            mask_sign: count + nonzero + two_values,
            csr: nonzero * (bits + 1) + (rows + 1) * bits + two_values,
            cer: nonzero * bits + 2 * (rows + 1) * bits + two_values,
        }
    }
}

impl Formats {
    /// Bits in the smallest format.
    pub(super) fn smallest(self) -> u64 {
        let Self { values, two_masks, mask_sign, csr, cer } = self;
        values.min(two_masks).min(mask_sign).min(csr).min(cer)
    }

    /// The ternary ones rounded up to whole parameters.
    pub(super) fn rounded(self) -> Self {
        let whole = |bits: u64| bits.next_multiple_of(UNIT_BITS);
        Self {
            values: self.values,
            two_masks: whole(self.two_masks),
            mask_sign: whole(self.mask_sign),
            csr: whole(self.csr),
            cer: whole(self.cer),
        }
    }
}

impl std::iter::Sum for Formats {
    fn sum<I: Iterator<Item = Self>>(formats: I) -> Self {
        formats.fold(Self::default(), |a, b| Self {
            values: a.values + b.values,
            two_masks: a.two_masks + b.two_masks,
            mask_sign: a.mask_sign + b.mask_sign,
            csr: a.csr + b.csr,
            cer: a.cer + b.cer,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_formats_of_a_layer_by_hand() {
        let half = Stored { rows: 4, count: 100, nonzero: 50 }.formats(16);
        let expected = Formats {
            values: 50 * 16 + 100,
            two_masks: 232,
            mask_sign: 182,
            csr: 50 * 17 + 5 * 16 + 32,
            cer: 50 * 16 + 10 * 16 + 32,
        };
        assert_eq!((half, half.smallest()), (expected, 182));
        assert_eq!(half.rounded().mask_sign, 192);
        // 32×64 kernels of 3×3 take 4.6 kB instead of 73.7 (method's authors).
        let kernels = Stored { rows: 64, count: 18_432, nonzero: 18_432 }.formats(16);
        assert_eq!((18_432 * 4, kernels.mask_sign / 8), (73_728, 4_612));
    }

    #[test]
    fn few_weights_are_best_kept_as_rows() {
        let few = Stored { rows: 4, count: 100_000, nonzero: 10 }.formats(16);
        assert_eq!(few.smallest(), few.csr);
        let full = Stored { rows: 1, count: 10, nonzero: 10 };
        assert_eq!(full.values(32), 320);
    }
}
