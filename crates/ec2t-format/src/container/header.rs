//! The first 36 bytes of a file.
//!
//! | offset | width | field |
//! |---|---|---|
//! | 0 | 8 | magic |
//! | 8 | 2, 2 | major and minor version |
//! | 12 | 4 | required features |
//! | 16 | 4 | optional features |
//! | 20 | 8 | length of the file |
//! | 28 | 4 | length of the table of contents |
//! | 32 | 4 | CRC-32 of the 32 bytes before and of the table |

use alloc::vec::Vec;
use core::fmt;

use crc32fast::Hasher;

use super::cursor::Cursor;
use super::error::{FormatError, Place};
use crate::codec::CodecId;

/// The first bytes of every file, in the manner of PNG: one that is not ASCII,
/// so that it is not taken for text; CR LF, so that a transfer that rewrites
/// line ends breaks it; and Ctrl-Z, which ends the output of DOS's `type`.
pub const MAGIC: [u8; 8] = *b"\xecEC2T\r\n\x1a";

/// Largest table of contents; one of 65,536 sections takes less.
const MAX_TOC_LEN: u32 = 1 << 20;

/// Required features that this reader has: none is defined so far.
const KNOWN_FEATURES: u32 = 0;

/// Version of the format.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Version {
    /// Changes where earlier readers would misread a file.
    pub major: u16,
    /// Changes where earlier readers still read it.
    pub minor: u16,
}

impl Version {
    /// What [`write`](super::write) writes.
    pub const CURRENT: Version = Version { major: 1, minor: 2 };

    /// Whether graph and dense tensors are as in version 1.0.
    pub(super) const fn is_plain(self) -> bool {
        self.minor == 0
    }

    /// Whether tensors may be in this codec.
    pub(super) fn has(self, codec: CodecId) -> bool {
        self.minor >= 2 || codec != CodecId::Lists
    }
}

impl fmt::Display for Version {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}", self.major, self.minor)
    }
}

/// A header that has been checked, together with the table behind it.
pub(super) struct Header<'a> {
    pub(super) version: Version,
    /// The table of contents.
    pub(super) toc: &'a [u8],
    /// What follows the table, up to the end of the file.
    pub(super) body: &'a [u8],
}

impl<'a> Header<'a> {
    /// Length of the header itself.
    pub(super) const LEN: usize = 36;
    /// Length of the part before the checksum.
    const SEALED_LEN: usize = 32;

    pub(super) fn read(file: &'a [u8]) -> Result<Self, FormatError> {
        let Some(rest) = file.strip_prefix(&MAGIC) else {
            return Err(FormatError::Magic { found: file.iter().copied().take(8).collect() });
        };
        let mut cursor = Cursor::new("header", MAGIC.len(), rest);
        let version = Version { major: cursor.u16()?, minor: cursor.u16()? };
        if version.major != Version::CURRENT.major {
            return Err(FormatError::Version { found: version });
        }
        let required = cursor.u32()?;
        let _optional = cursor.u32()?;
        let file_len = cursor.u64()?;
        let toc_len = cursor.u32()?;
        let checksum = cursor.u32()?;
        if file_len != file.len() as u64 {
            return Err(FormatError::FileLength { expected: file_len, found: file.len() });
        }
        if toc_len > MAX_TOC_LEN {
            return Err(FormatError::TocLength { found: toc_len, limit: MAX_TOC_LEN });
        }
        let toc = cursor.bytes(toc_len as usize)?;
        check_seal(file, toc, checksum)?;
        match required & !KNOWN_FEATURES {
            0 => Ok(Self { version, toc, body: cursor.rest() }),
            unknown => Err(FormatError::Features { unknown }),
        }
    }
}

fn check_seal(file: &[u8], toc: &[u8], expected: u32) -> Result<(), FormatError> {
    let sealed = file.get(..Header::SEALED_LEN).unwrap_or(file);
    let found = seal(sealed, toc);
    match found == expected {
        true => Ok(()),
        false => {
            let place = Place { section: "header".into(), offset: 0 };
            Err(FormatError::Checksum { place, expected, found })
        }
    }
}

fn seal(header: &[u8], toc: &[u8]) -> u32 {
    let mut hasher = Hasher::new();
    hasher.update(header);
    hasher.update(toc);
    hasher.finalize()
}

/// Header and table of a file whose sections have `body_len` bytes in all.
pub(super) fn write(toc: &[u8], body_len: usize) -> Vec<u8> {
    let file_len = [Header::LEN, toc.len(), body_len].iter().map(|&len| len as u64).sum::<u64>();
    let mut out = Vec::from(MAGIC);
    out.extend(Version::CURRENT.major.to_le_bytes());
    out.extend(Version::CURRENT.minor.to_le_bytes());
    out.extend(KNOWN_FEATURES.to_le_bytes());
    out.extend(0u32.to_le_bytes());
    out.extend(file_len.to_le_bytes());
    out.extend((toc.len() as u32).to_le_bytes());
    out.extend(seal(&out, toc).to_le_bytes());
    out.extend(toc);
    out
}
