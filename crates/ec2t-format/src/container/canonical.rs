//! Compares what is in a file with what a writer puts there.

use super::error::{FormatError, Place};

/// Most bytes that an error shows.
const SHOWN: usize = 8;

/// Insists that bytes that begin at `place` are the expected ones.
///
/// # Errors
/// [`FormatError::NotCanonical`] at the first byte that differs.
pub(super) fn check(place: &Place, expected: &[u8], found: &[u8]) -> Result<(), FormatError> {
    if expected == found {
        return Ok(());
    }
    let same = expected.iter().zip(found).take_while(|(a, b)| a == b).count();
    let shown = |bytes: &[u8]| bytes.iter().skip(same).take(SHOWN).copied().collect();
    Err(FormatError::NotCanonical {
        place: Place { section: place.section.clone(), offset: place.offset.saturating_add(same) },
        expected: shown(expected),
        found: shown(found),
    })
}
