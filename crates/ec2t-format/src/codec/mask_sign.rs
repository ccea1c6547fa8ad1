//! Codec 2: a mask, then signs; the form in which the EC2T paper counts bytes.
//!
//! `⌈n / 8⌉` bytes hold one bit per code, 1 where it is not zero. Then follow
//! `⌈k / 8⌉` bytes for the k codes that are not zero, in order: 1 for −1, 0 for
//! +1. The first bit of either string is the lowest of its first byte.

use alloc::vec::Vec;

use super::CodecError;
use super::bits::{check_padding, pack, unpack};

pub(super) fn encode(codes: &[i8]) -> Vec<u8> {
    let mask: Vec<bool> = codes.iter().map(|&code| code != 0).collect();
    let signs: Vec<bool> = codes.iter().filter(|&&code| code != 0).map(|&code| code < 0).collect();
    let mut bytes = pack(&mask);
    bytes.extend(pack(&signs));
    bytes
}

pub(super) fn decode(bytes: &[u8], count: usize) -> Result<Vec<i8>, CodecError> {
    let mask_len = count.div_ceil(8);
    let short = CodecError::Length { expected: mask_len, found: bytes.len() };
    let (mask, signs) = bytes.split_at_checked(mask_len).ok_or(short)?;
    check_padding(mask, count % 8)?;

    let nonzero = mask.iter().fold(0usize, |n, byte| n.saturating_add(byte.count_ones() as usize));
    let expected = mask_len.saturating_add(nonzero.div_ceil(8));
    if bytes.len() != expected {
        return Err(CodecError::Length { expected, found: bytes.len() });
    }
    check_padding(signs, nonzero % 8).map_err(|error| match error {
        CodecError::Padding { offset, found } => {
            CodecError::Padding { offset: mask_len.saturating_add(offset), found }
        }
        other => other,
    })?;

    let mut negative = unpack(signs);
    let code = |set: bool| match set {
        false => 0,
        true if negative.next() == Some(true) => -1,
        true => 1,
    };
    let mut codes = Vec::with_capacity(count);
    codes.extend(unpack(mask).take(count).map(code));
    Ok(codes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_bytes_are_as_documented() {
        assert_eq!(encode(&[0, 1, -1, 0, 0, 0, 0, 0, -1]), [0b110, 1, 0b110]);
    }

    #[test]
    fn padding_of_both_strings_must_be_zero() {
        let mask = CodecError::Padding { offset: 0, found: 0b1000 };
        assert_eq!(decode(&[0b1000], 3), Err(mask));
        let signs = CodecError::Padding { offset: 1, found: 0b10 };
        assert_eq!(decode(&[0b1, 0b10], 3), Err(signs));
    }
}
