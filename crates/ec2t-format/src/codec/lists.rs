//! Codec 5: for each output, the positions of its weights +1 and of its weights −1.
//!
//! This is what kernels that skip zeros begin with, and nothing has to be decoded. For
//! each output stand two counts (`u32`), of +1 and of −1; zeros up to a multiple of 64
//! bytes; then the positions (`u16`) in the same order, ascending in each list. A
//! position counts the weights of its output, so no output may have more than 65,536
//! of them.
//!
//! Both arrays can be used as they lie in memory where the bytes begin at a multiple
//! of 64, which the container [sees to](super::CodecId::alignment).

use alloc::vec;
use alloc::vec::Vec;

use super::CodecError;
use super::kernels::Kernels;

/// Where in memory an array may begin: the width of a cache line and of the widest
/// vectors.
pub(super) const ALIGNMENT: usize = 64;

/// Most weights of an output: positions have 16 bits.
const MOST_WEIGHTS: usize = 1 << 16;

/// The codes of the two lists of an output, in their order.
const SIGNS: [i8; 2] = [1, -1];

/// Width of a count, and of a position.
const COUNT: usize = size_of::<u32>();
const POSITION: usize = size_of::<u16>();

/// Whether positions can number the weights of an output.
pub(super) fn fits(kernels: Kernels) -> bool {
    kernels.row_len() <= MOST_WEIGHTS
}

/// Bytes up to the end of the last count.
fn counts_len(kernels: Kernels) -> usize {
    kernels.outputs.saturating_mul(size_of::<[u32; SIGNS.len()]>())
}

/// Bytes up to the first position, which may exceed all memory.
fn header_len(kernels: Kernels) -> usize {
    counts_len(kernels).checked_next_multiple_of(ALIGNMENT).unwrap_or(usize::MAX)
}

/// # Panics
/// Where the kernels do not [fit](fits).
pub(super) fn encode(codes: &[i8], kernels: Kernels) -> Vec<u8> {
    assert!(fits(kernels), "positions of {kernels:?}");
    let mut counts = Vec::with_capacity(header_len(kernels));
    let mut positions = Vec::new();
    // The outputs of a tensor without inputs have no weights, and counts all the same.
    let mut rows = codes.chunks_exact(kernels.row_len().max(1));
    for _ in 0..kernels.outputs {
        let row = rows.next().unwrap_or_default();
        for sign in SIGNS {
            let list = row.iter().zip(0u32..).filter(|&(code, _)| code.signum() == sign);
            let before = positions.len();
            positions.extend(list.map(|(_, position)| position as u16));
            let count = positions.len().saturating_sub(before) as u32;
            counts.extend(count.to_le_bytes());
        }
    }
    counts.resize(header_len(kernels), 0);
    counts.extend(positions.into_iter().flat_map(u16::to_le_bytes));
    counts
}

pub(super) fn decode(bytes: &[u8], kernels: Kernels) -> Result<Vec<i8>, CodecError> {
    let lists = Lists::read(bytes, kernels)?;
    let mut codes = vec![0; kernels.count()];
    let (mut counts, mut positions) = (lists.counts(), lists.positions);
    let mut offset = header_len(kernels);
    for row in codes.chunks_exact_mut(kernels.row_len().max(1)) {
        for (sign, count) in SIGNS.into_iter().zip(counts.by_ref()) {
            let (list, rest) = positions.split_at_checked(count).unwrap_or_default();
            set(row, list, sign, offset)?;
            positions = rest;
            offset = offset.saturating_add(size_of_val(list));
        }
    }
    Ok(codes)
}

/// The arrays of a tensor, whose lengths fit.
struct Lists<'a> {
    counts: &'a [[u8; COUNT]],
    positions: &'a [[u8; POSITION]],
}

impl<'a> Lists<'a> {
    fn read(bytes: &'a [u8], kernels: Kernels) -> Result<Self, CodecError> {
        let limit = kernels.row_len();
        if !fits(kernels) {
            return Err(CodecError::ManyWeights { found: limit, limit: MOST_WEIGHTS });
        }
        let length = |expected| CodecError::Length { expected, found: bytes.len() };
        let header_len = header_len(kernels);
        let (header, positions) = bytes.split_at_checked(header_len).ok_or(length(header_len))?;
        let (counts, padding) = header.split_at_checked(counts_len(kernels)).unwrap_or_default();
        if let Some((at, &found)) = padding.iter().enumerate().find(|&(_, &byte)| byte != 0) {
            return Err(CodecError::Padding { offset: counts.len().saturating_add(at), found });
        }
        let lists = Self { counts: counts.as_chunks().0, positions: positions.as_chunks().0 };
        if let Some((list, found)) = lists.counts().enumerate().find(|&(_, count)| count > limit) {
            return Err(CodecError::Count { offset: list.saturating_mul(COUNT), found, limit });
        }
        let sum = lists.counts().fold(0, usize::saturating_add);
        match header_len.saturating_add(sum.saturating_mul(POSITION)) {
            expected if expected == bytes.len() => Ok(lists),
            expected => Err(length(expected)),
        }
    }

    fn counts(&self) -> impl Iterator<Item = usize> {
        self.counts.iter().map(|&count| u32::from_le_bytes(count) as usize)
    }
}

/// Sets the weights of a list, which are zero so far; the list lies at `offset`.
fn set(
    row: &mut [i8],
    list: &[[u8; POSITION]],
    sign: i8,
    mut offset: usize,
) -> Result<(), CodecError> {
    let limit = row.len();
    let mut next = 0;
    for &bytes in list {
        let found = u16::from_le_bytes(bytes);
        let position = usize::from(found);
        match row.get_mut(position) {
            None => return Err(CodecError::Position { offset, found, limit }),
            Some(_) if position < next => return Err(CodecError::Order { offset, found }),
            Some(weight) if *weight == 0 => *weight = sign,
            Some(_) => return Err(CodecError::Overlap { offset, found }),
        }
        next = position.saturating_add(1);
        offset = offset.saturating_add(POSITION);
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const KERNELS: Kernels = Kernels { outputs: 2, inputs: 3, rows: 1, cols: 2 };
    const CODES: [i8; 12] = [0, 1, -1, 0, 0, 1, 0, 0, 0, -1, -1, 0];

    /// The lists of [`CODES`], or others in their place.
    fn bytes(counts: [u32; 4], positions: &[u16]) -> Vec<u8> {
        let mut bytes: Vec<u8> = counts.into_iter().flat_map(u32::to_le_bytes).collect();
        bytes.resize(ALIGNMENT, 0);
        bytes.extend(positions.iter().flat_map(|position| position.to_le_bytes()));
        bytes
    }

    #[test]
    fn the_bytes_are_as_documented() {
        let expected = bytes([2, 1, 0, 2], &[1, 5, 2, 3, 4]);
        assert_eq!(encode(&CODES, KERNELS), expected);
        assert_eq!(decode(&expected, KERNELS), Ok(CODES.to_vec()));
    }

    #[test]
    fn both_arrays_begin_at_a_multiple() {
        let kernels = |outputs| Kernels { outputs, inputs: 1, rows: 1, cols: 1 };
        let len = |outputs| encode(&vec![1; outputs], kernels(outputs)).len();
        assert_eq!([0, 1, 8, 9].map(len), [0, 64 + 2, 64 + 16, 128 + 18]);
    }

    #[test]
    fn padding_must_be_zero() {
        for offset in 16..ALIGNMENT {
            let mut bytes = encode(&CODES, KERNELS);
            bytes[offset] = 8;
            let error = CodecError::Padding { offset, found: 8 };
            assert_eq!(decode(&bytes, KERNELS), Err(error));
        }
    }

    #[test]
    fn counts_fit_the_output_and_the_length() {
        let too_many = CodecError::Count { offset: 4, found: 7, limit: 6 };
        assert_eq!(decode(&bytes([2, 7, 0, 2], &[0; 11]), KERNELS), Err(too_many));
        let largest = CodecError::Count { offset: 12, found: u32::MAX as usize, limit: 6 };
        assert_eq!(decode(&bytes([0, 0, 0, u32::MAX], &[]), KERNELS), Err(largest));
        for found in [64 + 2 * 4, 64 + 2 * 6] {
            let other = bytes([2, 1, 0, 2], &[1, 5, 2, 3, 4, 5][..(found - 64) / 2]);
            let error = CodecError::Length { expected: 64 + 2 * 5, found };
            assert_eq!(decode(&other, KERNELS), Err(error));
        }
        let short = CodecError::Length { expected: 64, found: 63 };
        assert_eq!(decode(&[0; 63], KERNELS), Err(short));
    }

    #[test]
    fn positions_ascend_within_the_output() {
        let error = |counts, positions: &[u16]| decode(&bytes(counts, positions), KERNELS);
        let outside = CodecError::Position { offset: 64 + 4, found: 6, limit: 6 };
        assert_eq!(error([2, 1, 0, 2], &[1, 5, 6, 3, 4]), Err(outside));
        let descending = CodecError::Order { offset: 64 + 2, found: 1 };
        assert_eq!(error([2, 1, 0, 2], &[5, 1, 2, 3, 4]), Err(descending));
        let twice = CodecError::Order { offset: 64 + 8, found: 3 };
        assert_eq!(error([2, 1, 0, 2], &[1, 5, 2, 3, 3]), Err(twice));
        let in_both = CodecError::Overlap { offset: 64 + 4, found: 5 };
        assert_eq!(error([2, 1, 0, 2], &[1, 5, 5, 3, 4]), Err(in_both));
    }

    #[test]
    fn an_output_has_as_many_weights_as_positions_can_number() {
        let kernels = |inputs| Kernels { outputs: 1, inputs, rows: 1, cols: 1 };
        let most = kernels(MOST_WEIGHTS);
        for code in [-1, 1] {
            let codes = vec![code; MOST_WEIGHTS];
            assert_eq!(decode(&encode(&codes, most), most), Ok(codes));
        }
        let error = CodecError::ManyWeights { found: MOST_WEIGHTS + 1, limit: MOST_WEIGHTS };
        assert_eq!(decode(&[0; ALIGNMENT], kernels(MOST_WEIGHTS + 1)), Err(error));
    }

    #[test]
    fn outputs_without_weights_have_counts_of_zero() {
        let kernels = Kernels { inputs: 0, ..KERNELS };
        assert_eq!(encode(&[], kernels), [0; ALIGNMENT]);
        assert_eq!(decode(&[0; ALIGNMENT], kernels), Ok(vec![]));
        let error = CodecError::Count { offset: 8, found: 1, limit: 0 };
        assert_eq!(decode(&bytes([0, 0, 1, 0], &[0]), kernels), Err(error));
    }

    proptest! {
        #[test]
        fn lists_that_are_read_are_those_that_are_written(
            counts in prop::array::uniform4(0u32..4),
            positions in prop::collection::vec(0u16..7, 0..9),
        ) {
            let bytes = bytes(counts, &positions);
            if let Ok(codes) = decode(&bytes, KERNELS) {
                prop_assert_eq!(encode(&codes, KERNELS), bytes);
            }
        }
    }
}
