//! Names that begin like the one before: the number of bytes that they share
//! with it, and the rest as text.

use alloc::borrow::ToOwned;
use alloc::string::String;
use alloc::vec::Vec;

use super::cursor::Cursor;
use super::error::FormatError;
use super::sink::{put_size, put_text};
use crate::graph::MAX_NAME_LEN;

/// Appends a name; as many characters as are equal are shared.
pub(super) fn encode(out: &mut Vec<u8>, previous: &str, name: &str) {
    let same = name.chars().zip(previous.chars()).take_while(|(a, b)| a == b);
    let shared: usize = same.map(|(a, _)| a.len_utf8()).sum();
    put_size(out, shared);
    put_text(out, name.get(shared..).unwrap_or_default());
}

/// Reads a name.
pub(super) fn decode(cursor: &mut Cursor<'_>, previous: &str) -> Result<String, FormatError> {
    let place = cursor.place();
    let shared = cursor.size("shared part of the name", MAX_NAME_LEN)?;
    let Some(start) = previous.get(..shared) else {
        let previous = previous.to_owned();
        return Err(FormatError::SharedName { place, previous, found: shared });
    };
    let mut name = start.to_owned();
    name.push_str(cursor.text(MAX_NAME_LEN)?);
    Ok(name)
}
