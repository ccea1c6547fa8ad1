//! Reads the primitive values of the format, one after the other.
//!
//! A cursor knows which part of the file it reads and where that part starts,
//! so each error names the part and the position in the file.

use alloc::string::ToString;
use alloc::vec::Vec;

use super::error::{FormatError, Place};

type Result<T> = core::result::Result<T, FormatError>;

#[derive(Clone, Debug)]
pub(super) struct Cursor<'a> {
    section: &'a str,
    /// Position in the file of the next byte.
    offset: usize,
    /// What is left of the part.
    rest: &'a [u8],
}

impl<'a> Cursor<'a> {
    /// Starts at the beginning of a part, whose first byte is at `offset`.
    pub(super) fn new(section: &'a str, offset: usize, bytes: &'a [u8]) -> Self {
        Self { section, offset, rest: bytes }
    }

    /// Where the next value is.
    pub(super) fn place(&self) -> Place {
        Place { section: self.section.to_string(), offset: self.offset }
    }

    /// What is left.
    pub(super) fn rest(&self) -> &'a [u8] {
        self.rest
    }

    pub(super) fn bytes(&mut self, count: usize) -> Result<&'a [u8]> {
        let Some((taken, rest)) = self.rest.split_at_checked(count) else {
            let (expected, found) = (count, self.rest.len());
            return Err(FormatError::Truncated { place: self.place(), expected, found });
        };
        self.rest = rest;
        self.offset = self.offset.saturating_add(count);
        Ok(taken)
    }

    /// A cursor over the next bytes and no others.
    pub(super) fn part(&mut self, count: usize) -> Result<Self> {
        let Self { section, offset, .. } = *self;
        Ok(Self::new(section, offset, self.bytes(count)?))
    }

    /// Insists on bytes of zero.
    pub(super) fn zeros(&mut self, count: usize) -> Result<()> {
        let mut place = self.place();
        match self.bytes(count)?.iter().enumerate().find(|&(_, &byte)| byte != 0) {
            None => Ok(()),
            Some((at, &found)) => {
                place.offset = place.offset.saturating_add(at);
                Err(FormatError::Padding { place, found })
            }
        }
    }

    fn array<const N: usize>(&mut self) -> Result<[u8; N]> {
        let mut array = [0; N];
        array.copy_from_slice(self.bytes(N)?);
        Ok(array)
    }

    pub(super) fn u8(&mut self) -> Result<u8> {
        self.array().map(u8::from_le_bytes)
    }

    pub(super) fn u16(&mut self) -> Result<u16> {
        self.array().map(u16::from_le_bytes)
    }

    pub(super) fn u32(&mut self) -> Result<u32> {
        self.array().map(u32::from_le_bytes)
    }

    pub(super) fn u64(&mut self) -> Result<u64> {
        self.array().map(u64::from_le_bytes)
    }

    pub(super) fn f32(&mut self) -> Result<f32> {
        self.array().map(f32::from_le_bytes)
    }

    /// Floats, allocated once they are known to be there.
    pub(super) fn f32s(&mut self, count: usize) -> Result<Vec<f32>> {
        let bytes = self.bytes(count.saturating_mul(size_of::<f32>()))?;
        Ok(bytes.as_chunks().0.iter().copied().map(f32::from_le_bytes).collect())
    }

    /// A number in LEB128; only the shortest form of a number is one.
    pub(super) fn varint(&mut self) -> Result<u64> {
        let place = self.place();
        let mut value = 0u64;
        for shift in (0..64).step_by(7) {
            let byte = self.u8()?;
            let low = u64::from(byte & 0x7f);
            value |= low << shift;
            if byte & 0x80 == 0 {
                let overlong = byte == 0 && shift > 0;
                let overflow = value >> shift != low;
                return match overlong || overflow {
                    true => Err(FormatError::Varint { place }),
                    false => Ok(value),
                };
            }
        }
        Err(FormatError::Varint { place })
    }

    /// A number of at most `limit`.
    pub(super) fn size(&mut self, what: &'static str, limit: usize) -> Result<usize> {
        let place = self.place();
        let found = self.varint()?;
        match usize::try_from(found) {
            Ok(size) if size <= limit => Ok(size),
            _ => Err(FormatError::TooLarge { place, what, found, limit: limit as u64 }),
        }
    }

    /// Text of at most `limit` bytes.
    pub(super) fn text(&mut self, limit: usize) -> Result<&'a str> {
        let len = self.size("length of text", limit)?;
        let place = self.place();
        core::str::from_utf8(self.bytes(len)?).map_err(|_| FormatError::Text { place })
    }

    /// Insists that nothing is left.
    pub(super) fn finish(self) -> Result<()> {
        match self.rest.len() {
            0 => Ok(()),
            found => Err(FormatError::Trailing { place: self.place(), found }),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::sink::{put_text, put_varint};
    use super::*;
    use proptest::prelude::*;

    fn varint(bytes: &[u8]) -> Result<u64> {
        Cursor::new("test", 0, bytes).varint()
    }

    proptest! {
        #[test]
        fn numbers_survive(value: u64) {
            let mut bytes = Vec::new();
            put_varint(&mut bytes, value);
            prop_assert_eq!(varint(&bytes), Ok(value));
        }

        #[test]
        fn what_reads_is_the_shortest_form(bytes in prop::collection::vec(any::<u8>(), 0..12)) {
            let mut cursor = Cursor::new("test", 0, &bytes);
            if let Ok(value) = cursor.varint() {
                let mut shortest = Vec::new();
                put_varint(&mut shortest, value);
                prop_assert_eq!(&shortest, &bytes[..bytes.len() - cursor.rest().len()]);
            }
        }
    }

    #[test]
    fn numbers_have_one_form_and_64_bits() {
        assert_eq!(varint(&[0]), Ok(0));
        assert_eq!(varint(&[0x80, 0x01]), Ok(128));
        assert_eq!(
            varint(&[0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x01]),
            Ok(u64::MAX)
        );
        let place = Place { section: "test".into(), offset: 0 };
        let refused = Err(FormatError::Varint { place });
        assert_eq!(varint(&[0x80, 0x00]), refused);
        assert_eq!(varint(&[0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x02]), refused);
        assert_eq!(varint(&[0x80; 11]), refused);
    }

    #[test]
    fn errors_name_part_and_position() {
        let mut bytes = Vec::new();
        put_text(&mut bytes, "né");
        let mut cursor = Cursor::new("graph", 100, &bytes);
        assert_eq!(cursor.text(8), Ok("né"));
        let place = Place { section: "graph".into(), offset: 104 };
        assert_eq!(cursor.u16(), Err(FormatError::Truncated { place, expected: 2, found: 0 }));
        let mut short = Cursor::new("graph", 100, &bytes);
        let place = Place { section: "graph".into(), offset: 100 };
        let what = "length of text";
        assert_eq!(short.text(2), Err(FormatError::TooLarge { place, what, found: 3, limit: 2 }));
    }
}
