//! Memory that a file makes its reader allocate, counted before it is.
//!
//! Every part that is read charges the values that it is about to store and a
//! fixed cost for each thing, which covers what keeping and checking it takes:
//! entries of maps, spare room of growing lists, and one copy for the check of
//! the canonical form. So the charges are an upper bound of what is allocated at
//! any moment, and a file that would exceed the limit is refused while it is
//! still small.

use super::error::{FormatError, Place};

/// What a reader allows a file to ask for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Largest memory for all that a file makes the reader allocate: four bytes
    /// per dense value, one per ternary value and what its codec takes for a while
    /// ([`CodecId::working_bytes`](crate::CodecId::working_bytes)), and the costs of
    /// names, layers, tensors, classes and metadata. 1 GiB by default.
    ///
    /// Time is bounded with it: a file may ask for as many values as it may store,
    /// however few its bytes are.
    pub max_decoded_bytes: u64,
}

impl Default for Limits {
    fn default() -> Self {
        Self { max_decoded_bytes: 1 << 30 }
    }
}

/// Cost of a section of the table.
pub(super) const SECTION: usize = 256;
/// Cost of a layer besides that of its name.
pub(super) const LAYER: usize = 2048;
/// Cost of a tensor besides those of its name and values.
pub(super) const TENSOR: usize = 1024;
/// Cost of a class or of a key of the metadata, besides those of their texts.
pub(super) const ENTRY: usize = 256;
/// How often a layer's or tensor's name is held at once, at most.
pub(super) const COPIES_OF_NAME: usize = 8;

/// What may still be allocated.
#[derive(Debug)]
pub(super) struct Budget {
    used: u64,
    limit: u64,
}

impl Budget {
    pub(super) fn new(limits: &Limits) -> Self {
        Self { used: 0, limit: limits.max_decoded_bytes }
    }

    /// Takes the sum of these bytes for what stands at `place`.
    pub(super) fn charge(
        &mut self,
        bytes: &[usize],
        place: impl FnOnce() -> Place,
    ) -> Result<(), FormatError> {
        self.used = bytes.iter().fold(self.used, |sum, &more| sum.saturating_add(more as u64));
        match self.used <= self.limit {
            true => Ok(()),
            false => {
                let (needed, limit) = (self.used, self.limit);
                Err(FormatError::Budget { place: place(), needed, limit })
            }
        }
    }

    /// Insists that these bytes could be had too, for a while.
    pub(super) fn afford(
        &self,
        bytes: usize,
        place: impl FnOnce() -> Place,
    ) -> Result<(), FormatError> {
        Self { used: self.used, limit: self.limit }.charge(&[bytes], place)
    }

    /// Takes the cost of a name and of the thing that has it.
    pub(super) fn charge_named(
        &mut self,
        cost: usize,
        name_len: usize,
        place: impl FnOnce() -> Place,
    ) -> Result<(), FormatError> {
        self.charge(&[cost, name_len.saturating_mul(COPIES_OF_NAME)], place)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_limit_itself_is_allowed_and_sums_do_not_overflow() {
        let place = || Place { section: "test".into(), offset: 7 };
        let mut budget = Budget::new(&Limits { max_decoded_bytes: 10 });
        assert_eq!(budget.charge(&[4, 6], place), Ok(()));
        let over = FormatError::Budget { place: place(), needed: 11, limit: 10 };
        assert_eq!(budget.charge(&[1], place), Err(over));
        let needed = u64::MAX;
        let over = FormatError::Budget { place: place(), needed, limit: 10 };
        assert_eq!(budget.charge(&[usize::MAX, usize::MAX], place), Err(over));
    }
}
