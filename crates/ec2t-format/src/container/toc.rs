//! The table of contents: one entry per section, in the order of the file.
//!
//! | width | field |
//! |---|---|
//! | 1 | kind |
//! | 1 | encoding, whose meaning depends on the kind |
//! | varint | length of the section |
//! | 4 | CRC-32 of the section |
//!
//! Entries fill the table exactly, so their number is not stored. The first
//! section starts behind the table and each of the others behind the one
//! before, so there are no offsets that could overlap or leave gaps.

use alloc::vec::Vec;

use super::budget::{Budget, SECTION};
use super::canonical;
use super::cursor::Cursor;
use super::error::{FormatError, Place};
use super::header::{Header, Version};
use super::sink::put_size;
use crate::codec::CodecId;
use crate::tensor::Storage;

/// Kinds from here on may be skipped by a reader that does not know them.
const OPTIONAL: u8 = 0x80;

/// What a section holds, and how.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum SectionKind {
    /// Layers, edges, preprocessing and class names.
    Graph(GraphEncoding),
    /// A tensor of the graph. Of dense ones, only files of version 1.0 have
    /// sections.
    Tensor(TensorEncoding),
    /// All dense tensors of one storage.
    Dense(Storage),
    /// Keys and values.
    Metadata,
    /// What activations of 8 bits stand for; a reader may skip it.
    Grids,
    /// A section that this reader does not know and need not know.
    Skipped {
        /// Number of the kind, 128 or more.
        kind: u8,
        /// Number of the encoding.
        encoding: u8,
    },
}

/// How the layers of a graph are stored.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum GraphEncoding {
    /// Every field of every layer; files of version 1.0.
    Plain,
    /// What differs from earlier layers.
    Packed,
}

/// How a file holds a tensor.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TensorEncoding {
    /// Floats.
    Dense(Storage),
    /// Two centroids, and codes in this codec.
    Ternary(CodecId),
}

impl TensorEncoding {
    /// `f32`, `f16` or the codec's name.
    pub const fn name(self) -> &'static str {
        match self {
            TensorEncoding::Dense(storage) => storage.name(),
            TensorEncoding::Ternary(codec) => codec.name(),
        }
    }
}

impl SectionKind {
    /// Numbers of kind and encoding in a file.
    pub const fn numbers(self) -> (u8, u8) {
        match self {
            SectionKind::Graph(GraphEncoding::Plain) => (1, 0),
            SectionKind::Graph(GraphEncoding::Packed) => (1, 1),
            SectionKind::Tensor(TensorEncoding::Dense(storage)) => (2, storage_number(storage)),
            SectionKind::Tensor(TensorEncoding::Ternary(codec)) => (3, codec.number()),
            SectionKind::Metadata => (4, 0),
            SectionKind::Dense(storage) => (5, storage_number(storage)),
            SectionKind::Grids => (OPTIONAL, 0),
            SectionKind::Skipped { kind, encoding } => (kind, encoding),
        }
    }

    /// The kind of these numbers in a file of this version.
    fn from_numbers(
        version: Version,
        kind: u8,
        encoding: u8,
        place: Place,
    ) -> Result<Self, FormatError> {
        let ternary = |codec| SectionKind::Tensor(TensorEncoding::Ternary(codec));
        let dense = |storage| SectionKind::Tensor(TensorEncoding::Dense(storage));
        let known = match (kind, encoding) {
            (1, 0) if version.is_plain() => Some(SectionKind::Graph(GraphEncoding::Plain)),
            (1, 1) if !version.is_plain() => Some(SectionKind::Graph(GraphEncoding::Packed)),
            (2, number) if version.is_plain() => storage_of(number).map(dense),
            (3, codec) => {
                CodecId::from_number(codec).filter(|&codec| version.has(codec)).map(ternary)
            }
            (4, 0) => Some(SectionKind::Metadata),
            (5, number) if !version.is_plain() => storage_of(number).map(SectionKind::Dense),
            (OPTIONAL, 0) if !version.is_plain() => Some(SectionKind::Grids),
            (1 | 4, _) => None,
            (OPTIONAL.., _) => Some(SectionKind::Skipped { kind, encoding }),
            _ => return Err(FormatError::SectionKind { place, kind, version }),
        };
        known.ok_or(FormatError::Encoding { place, kind, encoding, version })
    }
}

const fn storage_number(storage: Storage) -> u8 {
    match storage {
        Storage::F32 => 0,
        Storage::F16 => 1,
    }
}

fn storage_of(number: u8) -> Option<Storage> {
    Storage::ALL.into_iter().find(|&storage| storage_number(storage) == number)
}

/// One section, not yet checked against its checksum.
#[derive(Clone, Copy, Debug)]
pub(super) struct Entry<'a> {
    pub(super) kind: SectionKind,
    /// Position of the section in the file.
    pub(super) offset: usize,
    bytes: &'a [u8],
    checksum: u32,
}

impl<'a> Entry<'a> {
    /// The section's bytes.
    ///
    /// # Errors
    /// Where they have changed since they were written; `name` says whose they
    /// are.
    pub(super) fn verified(&self, name: &str) -> Result<&'a [u8], FormatError> {
        let found = crc32fast::hash(self.bytes);
        match found == self.checksum {
            true => Ok(self.bytes),
            false => {
                let place = self.place(name);
                Err(FormatError::Checksum { place, expected: self.checksum, found })
            }
        }
    }

    /// Insists on the bytes that a writer puts here.
    pub(super) fn insist_on(&self, name: &str, expected: &[u8]) -> Result<(), FormatError> {
        canonical::check(&self.place(name), expected, self.bytes)
    }

    pub(super) fn place(&self, name: &str) -> Place {
        Place { section: name.into(), offset: self.offset }
    }

    /// The error of a section that is here instead of the expected one.
    pub(super) fn misplaced(&self, expected: &'static str) -> FormatError {
        let (found, _) = self.kind.numbers();
        FormatError::SectionOrder { place: self.place("file"), expected, found }
    }

    /// The section's bytes, verified or not.
    pub(super) fn bytes(&self) -> &'a [u8] {
        self.bytes
    }

    pub(super) fn len(&self) -> usize {
        self.bytes.len()
    }
}

/// The sections of a file, which lie one after the other up to its end.
pub(super) fn read<'a>(
    header: &Header<'a>,
    budget: &mut Budget,
) -> Result<Vec<Entry<'a>>, FormatError> {
    let mut cursor = Cursor::new("toc", Header::LEN, header.toc);
    let mut offset = Header::LEN.saturating_add(header.toc.len());
    let mut body = header.body;
    let mut entries = Vec::new();
    while !cursor.rest().is_empty() {
        let place = cursor.place();
        budget.charge(&[SECTION], || place.clone())?;
        let [kind, encoding] = [cursor.u8()?, cursor.u8()?];
        let kind = SectionKind::from_numbers(header.version, kind, encoding, place.clone())?;
        let length = cursor.size("length of section", usize::MAX)?;
        let checksum = cursor.u32()?;
        let Some((bytes, rest)) = body.split_at_checked(length) else {
            return Err(FormatError::SectionLength { place, length, left: body.len() });
        };
        entries.push(Entry { kind, offset, bytes, checksum });
        offset = offset.saturating_add(length);
        body = rest;
    }
    match body.len() {
        0 => Ok(entries),
        found => Err(FormatError::Unclaimed { offset, found }),
    }
}

/// The table of sections with these contents.
pub(super) fn write(sections: &[(SectionKind, Vec<u8>)]) -> Vec<u8> {
    let mut out = Vec::new();
    for (kind, bytes) in sections {
        let (kind, encoding) = kind.numbers();
        out.extend([kind, encoding]);
        put_size(&mut out, bytes.len());
        out.extend(crc32fast::hash(bytes).to_le_bytes());
    }
    out
}
