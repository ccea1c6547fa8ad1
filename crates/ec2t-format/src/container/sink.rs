//! Appends the primitive values of the format to bytes; [`Cursor`] reads them.
//!
//! [`Cursor`]: super::cursor::Cursor

use alloc::vec::Vec;

/// Appends a number as LEB128: seven bits per byte, lowest first, the high bit
/// set on all bytes but the last.
pub(super) fn put_varint(out: &mut Vec<u8>, mut value: u64) {
    while value > 0x7f {
        out.push(value as u8 | 0x80);
        value >>= 7;
    }
    out.push(value as u8);
}

/// Appends a length, count or dimension.
pub(super) fn put_size(out: &mut Vec<u8>, value: usize) {
    put_varint(out, value as u64);
}

/// Appends a float, little endian.
pub(super) fn put_f32(out: &mut Vec<u8>, value: f32) {
    out.extend(value.to_le_bytes());
}

/// Appends text as its length in bytes and UTF-8.
pub(super) fn put_text(out: &mut Vec<u8>, text: &str) {
    put_size(out, text.len());
    out.extend(text.as_bytes());
}
