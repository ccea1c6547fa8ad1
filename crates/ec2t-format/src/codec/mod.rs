//! Codecs: how the codes −1, 0 and +1 of a ternary tensor become bytes.
//!
//! A codec is a pair of functions between `&[i8]` and bytes. Each gives exactly
//! one byte string for a tensor: the length follows from the codes, and bits
//! past the last code are zero. Decoders check both, so no two files hold the
//! same tensor in the same codec. The number of codes is not part of the bytes;
//! the tensor's shape gives it.
//!
//! | number | codec | bits per weight at a share s of zeros |
//! |---|---|---|
//! | 0 | [`TwoBit`](CodecId::TwoBit) | 2 |
//! | 2 | [`MaskSign`](CodecId::MaskSign) | 2 − s |
//!
//! Numbers are never reused. 1 and 3–5 are reserved, 240–255 are for private
//! use.
#![cfg_attr(not(test), deny(clippy::indexing_slicing, clippy::arithmetic_side_effects))]

mod bits;
mod mask_sign;
mod two_bit;

use alloc::vec::Vec;

/// The codecs by their number in a file.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[repr(u8)]
#[non_exhaustive]
pub enum CodecId {
    /// Four codes per byte.
    TwoBit = 0,
    /// One bit per weight that says "not zero", then one sign per such weight.
    MaskSign = 2,
}

impl CodecId {
    /// Every codec, in the order of the numbers.
    pub const ALL: [CodecId; 2] = [CodecId::TwoBit, CodecId::MaskSign];

    /// The codec's number in a file.
    pub const fn number(self) -> u8 {
        self as u8
    }

    /// The codec of this number, if there is one.
    pub fn from_number(number: u8) -> Option<Self> {
        Self::ALL.into_iter().find(|codec| codec.number() == number)
    }

    /// A short name to show.
    pub const fn name(self) -> &'static str {
        match self {
            CodecId::TwoBit => "2-bit",
            CodecId::MaskSign => "mask+sign",
        }
    }

    /// Codes to bytes. Only the sign of a code counts.
    pub fn encode(self, codes: &[i8]) -> Vec<u8> {
        match self {
            CodecId::TwoBit => two_bit::encode(codes),
            CodecId::MaskSign => mask_sign::encode(codes),
        }
    }

    /// Bytes to exactly `count` codes. Allocates nothing before the length of
    /// `bytes` is known to be right, so at most eight bytes per byte given.
    ///
    /// # Errors
    /// Where the bytes are not what [`encode`](Self::encode) gives for any
    /// `count` codes.
    pub fn decode(self, bytes: &[u8], count: usize) -> Result<Vec<i8>, CodecError> {
        match self {
            CodecId::TwoBit => two_bit::decode(bytes, count),
            CodecId::MaskSign => mask_sign::decode(bytes, count),
        }
    }
}

/// The shortest encoding of any codec, and of equally short ones that of the
/// lowest number.
///
/// ```
/// use ec2t_format::codec::{CodecId, encode_best};
///
/// let (codec, bytes) = encode_best(&[0, 0, 0, 1, 0, 0, 0, 0, -1, 0, 0, 0]);
/// assert_eq!((codec, bytes.len()), (CodecId::TwoBit, 3));
/// let (codec, bytes) = encode_best(&[0; 64]);
/// assert_eq!((codec, bytes.len()), (CodecId::MaskSign, 8));
/// ```
pub fn encode_best(codes: &[i8]) -> (CodecId, Vec<u8>) {
    let mut best = (CodecId::TwoBit, CodecId::TwoBit.encode(codes));
    for codec in CodecId::ALL {
        let bytes = codec.encode(codes);
        if bytes.len() < best.1.len() {
            best = (codec, bytes);
        }
    }
    best
}

/// Bytes that no tensor encodes to. Offsets count from the payload's start.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum CodecError {
    /// There are too few or too many bytes.
    #[error("expected {expected} bytes of codes, found {found}")]
    Length {
        /// What the number of codes, or the bytes so far, call for.
        expected: usize,
        /// Length of the payload.
        found: usize,
    },
    /// Two bits that stand for none of −1, 0 and +1.
    #[error("byte {found:#04x} holds the invalid code 11")]
    InvalidCode {
        /// Position of the byte.
        offset: usize,
        /// The byte.
        found: u8,
    },
    /// A bit past the last code is set.
    #[error("bits past the last code are not zero in byte {found:#04x}")]
    Padding {
        /// Position of the byte.
        offset: usize,
        /// The byte.
        found: u8,
    },
}

impl CodecError {
    /// Position of the fault in the payload; where it should end, for a length.
    pub fn offset(&self) -> usize {
        match *self {
            CodecError::Length { expected, found } => expected.min(found),
            CodecError::InvalidCode { offset, .. } | CodecError::Padding { offset, .. } => offset,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use alloc::vec;
    use proptest::prelude::*;

    #[test]
    fn numbers_are_the_registry() {
        assert_eq!(CodecId::ALL.map(CodecId::number), [0, 2]);
        assert_eq!(CodecId::from_number(2), Some(CodecId::MaskSign));
        assert_eq!(CodecId::from_number(1), None);
    }

    #[test]
    fn the_shortest_wins_and_ties_go_to_the_lowest_number() {
        assert_eq!(encode_best(&[1; 64]).0, CodecId::TwoBit);
        assert_eq!(encode_best(&[0; 64]).0, CodecId::MaskSign);
        assert_eq!(
            CodecId::MaskSign.encode(&[1; 64]).len(),
            CodecId::TwoBit.encode(&[1; 64]).len()
        );
    }

    proptest! {
        #[test]
        fn every_codec_is_exact(codes in prop::collection::vec(-1i8..=1, 0..200)) {
            for codec in CodecId::ALL {
                let bytes = codec.encode(&codes);
                prop_assert_eq!(codec.decode(&bytes, codes.len()), Ok(codes.clone()));
            }
        }

        #[test]
        fn what_decodes_is_the_encoding(bytes in prop::collection::vec(any::<u8>(), 0..12), count in 0usize..60) {
            for codec in CodecId::ALL {
                if let Ok(codes) = codec.decode(&bytes, count) {
                    prop_assert_eq!(codes.len(), count);
                    prop_assert_eq!(codec.encode(&codes), bytes.clone());
                }
            }
        }
    }

    #[test]
    fn any_other_length_is_refused() {
        for codec in CodecId::ALL {
            let codes = vec![1, -1, 0, 0, 1, 1, -1, 0, 1];
            let bytes = codec.encode(&codes);
            let expected = bytes.len();
            let mut long = bytes.clone();
            long.push(0);
            let error = CodecError::Length { expected, found: expected + 1 };
            assert_eq!(codec.decode(&long, codes.len()), Err(error));
            for cut in 0..expected {
                let error = codec.decode(&bytes[..cut], codes.len()).unwrap_err();
                assert!(matches!(error, CodecError::Length { found, .. } if found == cut));
                assert_eq!(error.offset(), cut);
            }
        }
    }
}
