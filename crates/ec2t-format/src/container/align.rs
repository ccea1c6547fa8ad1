//! Codes that begin at a multiple of some bytes in the file.
//!
//! Before them, behind the centroids, stand as many zeros as that takes, and behind
//! them as many that there are one less than the multiple in all. So the length of a
//! section does not depend on where it lies, and the table can be made before that is
//! known.

use alloc::vec::Vec;

use super::cursor::Cursor;
use super::error::FormatError;
use super::tensor::CENTROIDS_LEN;
use super::toc::{SectionKind, TensorEncoding};

/// What the position of a section's codes is a multiple of.
fn alignment(kind: SectionKind) -> usize {
    match kind {
        SectionKind::Tensor(TensorEncoding::Ternary(codec)) => codec.alignment(),
        _ => 1,
    }
}

/// Zeros that codes have before them if these begin at `offset`.
fn front(offset: usize, alignment: usize) -> usize {
    offset.next_multiple_of(alignment).saturating_sub(offset)
}

/// Puts the zeros of all sections where they belong, once it is known that the first
/// section is at `offset`; until then all of them are at the end.
pub(super) fn settle(sections: &mut [(SectionKind, Vec<u8>)], mut offset: usize) {
    for (kind, bytes) in sections {
        if let Some(codes) = bytes.get_mut(CENTROIDS_LEN..) {
            codes.rotate_right(front(offset.saturating_add(CENTROIDS_LEN), alignment(*kind)));
        }
        offset = offset.saturating_add(bytes.len());
    }
}

/// The codes in what is left of a section behind the centroids.
///
/// # Errors
/// Where what stands before and behind them is not zeros, or too short.
pub(super) fn codes<'a>(
    mut cursor: Cursor<'a>,
    alignment: usize,
) -> Result<Cursor<'a>, FormatError> {
    let front = front(cursor.place().offset, alignment);
    let behind = alignment.saturating_sub(1).saturating_sub(front);
    cursor.zeros(front)?;
    let codes = cursor.part(cursor.rest().len().saturating_sub(behind))?;
    cursor.zeros(behind)?;
    Ok(codes)
}
