//! The metadata section: a count, then keys and values as text, the keys in
//! ascending order of their bytes.

use alloc::collections::BTreeMap;
use alloc::string::{String, ToString};
use alloc::vec::Vec;

use super::budget::{Budget, ENTRY};
use super::cursor::Cursor;
use super::error::FormatError;
use super::sink::{put_size, put_text};
use super::toc::Entry;

pub(super) const SECTION: &str = "metadata";

pub(super) fn encode(metadata: &BTreeMap<String, String>) -> Vec<u8> {
    let mut out = Vec::new();
    put_size(&mut out, metadata.len());
    for (key, value) in metadata {
        put_text(&mut out, key);
        put_text(&mut out, value);
    }
    out
}

pub(super) fn decode(
    entry: &Entry<'_>,
    budget: &mut Budget,
) -> Result<BTreeMap<String, String>, FormatError> {
    let bytes = entry.verified(SECTION)?;
    let mut cursor = Cursor::new(SECTION, entry.offset, bytes);
    let count = cursor.size("number of keys", bytes.len())?;
    let mut metadata = BTreeMap::new();
    for _ in 0..count {
        let place = cursor.place();
        let (key, value) = (cursor.text(bytes.len())?, cursor.text(bytes.len())?);
        budget.charge(&[ENTRY, key.len(), value.len()], || place.clone())?;
        let (key, value) = (key.to_string(), value.to_string());
        if metadata.last_key_value().is_some_and(|(last, _)| *last >= key) {
            return Err(FormatError::KeyOrder { place, key });
        }
        metadata.insert(key, value);
    }
    cursor.finish()?;
    Ok(metadata)
}
