//! Codec 0: four codes per byte, the first in the lowest two bits.
//!
//! `00` is 0, `01` is +1, `10` is −1; `11` is invalid.

use alloc::vec::Vec;

use super::CodecError;
use super::bits::check_padding;

const SHIFTS: [u32; 4] = [0, 2, 4, 6];

pub(super) fn encode(codes: &[i8]) -> Vec<u8> {
    let field = |code: i8| match code {
        0 => 0b00,
        1.. => 0b01,
        _ => 0b10,
    };
    codes
        .chunks(4)
        .map(|four| {
            four.iter().zip(SHIFTS).fold(0u8, |byte, (&code, shift)| byte | field(code) << shift)
        })
        .collect()
}

pub(super) fn decode(bytes: &[u8], count: usize) -> Result<Vec<i8>, CodecError> {
    let expected = count.div_ceil(4);
    if bytes.len() != expected {
        return Err(CodecError::Length { expected, found: bytes.len() });
    }
    check_padding(bytes, (count % 4) << 1)?;
    let invalid = |byte: &u8| byte & byte >> 1 & 0b0101_0101 != 0;
    if let Some((offset, &found)) = bytes.iter().enumerate().find(|(_, byte)| invalid(byte)) {
        return Err(CodecError::InvalidCode { offset, found });
    }
    let fields = |&byte: &u8| {
        SHIFTS.map(|shift| match byte >> shift & 0b11 {
            0b00 => 0,
            0b01 => 1,
            _ => -1,
        })
    };
    let mut codes = Vec::with_capacity(count);
    codes.extend(bytes.iter().flat_map(fields).take(count));
    Ok(codes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_bytes_are_as_documented() {
        assert_eq!(encode(&[0, 1, -1, 1, -1]), [0b0110_0100, 0b10]);
    }

    #[test]
    fn the_invalid_code_is_found_where_it_is() {
        let error = CodecError::InvalidCode { offset: 1, found: 0b0011_0001 };
        assert_eq!(decode(&[0, 0b0011_0001], 8), Err(error));
    }

    #[test]
    fn padding_must_be_zero() {
        let error = CodecError::Padding { offset: 1, found: 0b0101 };
        assert_eq!(decode(&[0, 0b0101], 5), Err(error));
    }
}
