//! Multiplications and additions of each kind of layer.
//!
//! A multiplication is any operation that is not an addition: a comparison, a
//! division, an exponential. Additions are counted twice: by their number, as by an
//! adder of 32 bits for all, and by the bits of *trees*, which add terms in pairs,
//! begin at the width of the terms and grow by a bit each level.

use ec2t_format::graph::Activation;
use serde::Serialize;

use super::rules::{ADD_BITS, UNIT_BITS};

/// Counts for one image; those of a network beyond all reason end at the largest number.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Operations {
    /// Multiplications, comparisons, divisions, exponentials.
    pub multiplications: u64,
    /// Additions, whatever their width.
    pub additions: u64,
    /// Bits of all additions, where ternary layers add in trees.
    pub addition_bits: u64,
}

impl Operations {
    /// Additions of 32 bits, besides multiplications.
    pub(super) fn new(multiplications: u64, additions: u64) -> Self {
        Self { multiplications, additions, addition_bits: ADD_BITS.saturating_mul(additions) }
    }

    /// Additions in units of 32 bits.
    pub fn scored_additions(&self) -> f64 {
        self.addition_bits as f64 / UNIT_BITS as f64
    }

    /// So many times the same.
    pub(super) fn times(self, count: u64) -> Self {
        Self {
            multiplications: self.multiplications.saturating_mul(count),
            additions: self.additions.saturating_mul(count),
            addition_bits: self.addition_bits.saturating_mul(count),
        }
    }

    /// A function of one value, by the challenge's counter: swish and sigmoid have an
    /// exponential, an addition and a division, and swish a product.
    pub(super) fn of_activation(function: Activation) -> Self {
        match function {
            Activation::Relu => Self::new(1, 0),
            Activation::Relu6 => Self::new(2, 0),
            Activation::Swish => Self::new(3, 1),
            Activation::HardSwish => Self::new(4, 1),
            Activation::Sigmoid => Self::new(2, 1),
        }
    }

    /// The mean of so many values.
    pub(super) fn of_mean(count: u64) -> Self {
        Self::new(1, count - 1)
    }

    /// The products of so many weights and values, and their sum.
    pub(super) fn of_products(count: u64) -> Self {
        Self::new(count, count.saturating_sub(1))
    }

    /// The sum over ternary weights, so many of them nonzero, in a tree of terms of so
    /// many bits: a product for each sign.
    pub(super) fn of_ternary(terms: u64, bits: u64) -> Self {
        Self {
            multiplications: 2,
            additions: terms.saturating_sub(1),
            addition_bits: tree_bits(terms, bits),
        }
    }
}

/// Bits of the additions of a tree: half of the terms, rounded down, are added to
/// others; what is left are the terms of the next level, which are a bit wider.
pub(super) fn tree_bits(mut terms: u64, mut bits: u64) -> u64 {
    let mut sum = 0;
    while terms > 1 {
        sum += terms / 2 * bits;
        terms = terms.div_ceil(2);
        bits = (bits + 1).min(ADD_BITS);
    }
    sum
}

impl std::ops::Add for Operations {
    type Output = Self;

    fn add(self, other: Self) -> Self {
        Self {
            multiplications: self.multiplications.saturating_add(other.multiplications),
            additions: self.additions.saturating_add(other.additions),
            addition_bits: self.addition_bits.saturating_add(other.addition_bits),
        }
    }
}

impl std::iter::Sum for Operations {
    fn sum<I: Iterator<Item = Self>>(operations: I) -> Self {
        operations.fold(Self::default(), |sum, one| sum + one)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_tree_by_hand() {
        // Seven terms: three pairs and one; two pairs; one pair.
        assert_eq!(tree_bits(7, 16), 3 * 16 + 2 * 17 + 18);
        assert_eq!([0, 1, 2].map(|terms| tree_bits(terms, 16)), [0, 0, 16]);
        // Two levels of 32 bits: no width beyond.
        assert_eq!(tree_bits(4, 31), 2 * 31 + 32);
        assert_eq!(tree_bits(4, 32), 3 * 32);
    }

    #[test]
    fn trees_have_as_many_additions_as_chains() {
        for terms in 1..200 {
            assert_eq!(tree_bits(terms, 32), 32 * (terms - 1));
        }
    }

    #[test]
    fn a_layer_without_weights_adds_nothing() {
        assert_eq!(Operations::of_products(0), Operations::default());
        assert_eq!(
            Operations::of_ternary(0, 16),
            Operations { multiplications: 2, ..Operations::default() }
        );
    }
}
