//! Codec 1: five codes per byte, as the digits of a number to base three.
//!
//! A digit is the code plus one, the first of the five being the lowest. Digits
//! past the last code are 0; a byte of 243 or more is invalid.

use alloc::vec::Vec;

use super::CodecError;

const VALUES: [u8; 5] = [1, 3, 9, 27, 81];

pub(super) fn encode(codes: &[i8]) -> Vec<u8> {
    let digit = |code: i8| code.signum().wrapping_add(1) as u8;
    let byte = |five: &[i8]| {
        five.iter()
            .zip(VALUES)
            .fold(0u8, |byte, (&code, value)| byte.wrapping_add(digit(code).wrapping_mul(value)))
    };
    codes.chunks(5).map(byte).collect()
}

pub(super) fn decode(bytes: &[u8], count: usize) -> Result<Vec<i8>, CodecError> {
    let expected = count.div_ceil(5);
    if bytes.len() != expected {
        return Err(CodecError::Length { expected, found: bytes.len() });
    }
    if let Some((offset, &found)) = bytes.iter().enumerate().find(|&(_, &byte)| byte >= 243) {
        return Err(CodecError::InvalidTrits { offset, found });
    }
    // The digits of a full byte are all in use.
    let in_use = VALUES.get(count % 5).filter(|&&value| value > 1);
    if let (Some(&value), Some((&found, rest))) = (in_use, bytes.split_last())
        && found >= value
    {
        return Err(CodecError::Padding { offset: rest.len(), found });
    }
    let digits = |&byte: &u8| [byte, byte / 3, byte / 9, byte / 27, byte / 81].map(|n| n % 3);
    let mut codes = Vec::with_capacity(count);
    codes
        .extend(bytes.iter().flat_map(digits).map(|digit| digit.wrapping_sub(1) as i8).take(count));
    Ok(codes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_bytes_are_as_documented() {
        assert_eq!(encode(&[-1, 0, 1, -1, 1, 0, 0]), [3 + 18 + 162, 4]);
        assert_eq!(encode(&[1; 5]), [242]);
    }

    #[test]
    fn numbers_of_six_digits_and_digits_past_the_last_are_refused() {
        let error = CodecError::InvalidTrits { offset: 1, found: 243 };
        assert_eq!(decode(&[0, 243], 10), Err(error));
        assert_eq!(decode(&[8], 2), Ok(alloc::vec![1, 1]));
        let error = CodecError::Padding { offset: 0, found: 9 };
        assert_eq!(decode(&[9], 2), Err(error));
    }
}
