//! Bit strings in bytes, the first bit lowest.

use alloc::vec::Vec;

use super::CodecError;

/// Bits to bytes; unused bits of the last byte are zero.
pub(super) fn pack(bits: &[bool]) -> Vec<u8> {
    let byte = |chunk: &[bool]| {
        chunk.iter().zip(0u32..).fold(0u8, |byte, (&bit, shift)| byte | u8::from(bit) << shift)
    };
    bits.chunks(8).map(byte).collect()
}

/// All bits of the bytes, padding included.
pub(super) fn unpack(bytes: &[u8]) -> impl Iterator<Item = bool> {
    bytes.iter().flat_map(|&byte| (0..8).map(move |shift| byte >> shift & 1 == 1))
}

/// Checks the bits past the last code, given how many bits of the last byte
/// are in use; 0 stands for all.
pub(super) fn check_padding(bytes: &[u8], used: usize) -> Result<(), CodecError> {
    match bytes.split_last() {
        Some((&found, rest)) if used != 0 && found >> used != 0 => {
            Err(CodecError::Padding { offset: rest.len(), found })
        }
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_bit_is_the_lowest() {
        let bits = [true, false, false, true, false, false, false, false, true];
        assert_eq!(pack(&bits), [0b1001, 1]);
        assert!(unpack(&[0b1001, 1]).take(9).eq(bits));
    }

    #[test]
    fn padding_is_what_lies_past_the_used_bits() {
        assert_eq!(check_padding(&[0xff, 0b0111], 3), Ok(()));
        let error = CodecError::Padding { offset: 1, found: 0b1111 };
        assert_eq!(check_padding(&[0xff, 0b1111], 3), Err(error));
        assert_eq!(check_padding(&[0xff], 0), Ok(()));
        assert_eq!(check_padding(&[], 3), Ok(()));
    }
}
