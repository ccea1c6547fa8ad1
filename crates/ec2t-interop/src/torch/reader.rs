//! Takes bytes from the front of a slice.

use crate::error::CheckpointError;

/// Longest line; names of modules and classes are far shorter.
const MAX_LINE: usize = 256;

/// A position in a slice of bytes.
#[derive(Debug)]
pub(super) struct Reader<'a> {
    bytes: &'a [u8],
    offset: usize,
}

impl<'a> Reader<'a> {
    pub(super) fn new(bytes: &'a [u8]) -> Self {
        Self { bytes, offset: 0 }
    }

    /// Number of bytes taken so far.
    pub(super) fn offset(&self) -> usize {
        self.offset
    }

    /// Number of bytes left.
    pub(super) fn left(&self) -> usize {
        self.bytes.len() - self.offset
    }

    /// The next `needed` bytes.
    pub(super) fn take(&mut self, needed: usize) -> Result<&'a [u8], CheckpointError> {
        let taken = self.bytes[self.offset..].get(..needed).ok_or_else(|| {
            CheckpointError::Truncated { offset: self.offset, needed, left: self.left() }
        })?;
        self.offset += needed;
        Ok(taken)
    }

    /// The next `N` bytes.
    pub(super) fn array<const N: usize>(&mut self) -> Result<[u8; N], CheckpointError> {
        let mut array = [0; N];
        array.copy_from_slice(self.take(N)?);
        Ok(array)
    }

    /// The next byte.
    pub(super) fn byte(&mut self) -> Result<u8, CheckpointError> {
        Ok(self.array::<1>()?[0])
    }

    /// The next `length` bytes as text.
    pub(super) fn text(&mut self, length: usize) -> Result<&'a str, CheckpointError> {
        let offset = self.offset;
        str::from_utf8(self.take(length)?).map_err(|_| CheckpointError::Text { offset })
    }

    /// Text up to the next line feed, which is taken as well.
    pub(super) fn line(&mut self) -> Result<&'a str, CheckpointError> {
        let offset = self.offset;
        let window = &self.bytes[offset..][..self.left().min(MAX_LINE)];
        match window.iter().position(|&byte| byte == b'\n') {
            Some(length) => {
                let line = self.text(length)?;
                self.offset += 1;
                Ok(line)
            }
            None if window.len() == MAX_LINE => Err(CheckpointError::Text { offset }),
            None => self.text(window.len() + 1),
        }
    }
}
