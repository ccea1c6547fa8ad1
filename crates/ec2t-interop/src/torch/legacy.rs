//! Legacy streams: five pickles and the raw storages behind them.

use std::borrow::Cow;

use super::pickle;
use super::reader::Reader;
use super::state::{self, Storages};
use super::value::{Heap, Value};
use crate::dtype::ByteOrder;
use crate::error::CheckpointError;
use crate::state_dict::StateDict;

/// The first pickle: the integer 0x1950a86a20f9469cfc6c.
const MAGIC: [u8; 15] = *b"\x80\x02\x8a\x0a\x6c\xfc\x9c\x46\xf9\x20\x6a\xa8\x50\x19.";
/// The only version of the stream that there has been.
const PROTOCOL: i64 = 1001;

/// Whether the bytes start as a legacy stream does.
pub(crate) fn is_legacy(bytes: &[u8]) -> bool {
    bytes.starts_with(&MAGIC)
}

/// All tensors of a legacy stream.
pub(crate) fn read(bytes: &[u8]) -> Result<StateDict, CheckpointError> {
    let mut reader = Reader::new(bytes);
    let mut heap = Heap::default();
    reader.take(MAGIC.len())?;
    let Value::Int(PROTOCOL) = pickle::load(&mut reader, &mut heap)? else {
        return Err(CheckpointError::Header { expected: "protocol version 1001" });
    };
    let order = byte_order(pickle::load(&mut reader, &mut heap)?, &heap)?;
    let root = pickle::load(&mut reader, &mut heap)?;
    let keys = pickle::load(&mut reader, &mut heap)?;
    let tensors = state::tensors(root, &heap)?;
    let storages = storages(&mut reader, keys, &heap, order)?;
    if reader.left() > 0 {
        let (offset, count) = (reader.offset(), reader.left());
        return Err(CheckpointError::TrailingBytes { offset, count });
    }
    state::gather(&tensors, &storages, order)
}

/// The byte order in the facts about the machine that wrote the stream.
fn byte_order(facts: Value, heap: &Heap) -> Result<ByteOrder, CheckpointError> {
    let little = match facts {
        Value::Dict(facts) => heap.entry(facts, "little_endian"),
        _ => None,
    };
    match little {
        Some(Value::Bool(true)) => Ok(ByteOrder::Little),
        Some(Value::Bool(false)) => Ok(ByteOrder::Big),
        _ => Err(CheckpointError::Header { expected: "a byte order" }),
    }
}

/// The storages in the order of their keys: the number of values in eight
/// bytes, then the values.
fn storages<'a>(
    reader: &mut Reader<'a>,
    keys: Value<'a>,
    heap: &Heap<'a>,
    order: ByteOrder,
) -> Result<Storages<'a>, CheckpointError> {
    let Value::List(keys) = keys else {
        return Err(CheckpointError::Header { expected: "a list of storages" });
    };
    let mut storages = Storages::new();
    for key in &heap.sequences[keys] {
        let Value::Text(key) = *key else {
            return Err(CheckpointError::Header { expected: "the keys of storages" });
        };
        let storage = heap
            .storages
            .get(key)
            .ok_or_else(|| CheckpointError::StorageUnknown { key: key.into() })?;
        let found = match order {
            ByteOrder::Little => u64::from_le_bytes(reader.array()?),
            ByteOrder::Big => u64::from_be_bytes(reader.array()?),
        };
        let expected = storage.len as u64;
        if found != expected {
            return Err(CheckpointError::StorageSize { key: key.into(), expected, found });
        }
        let size = storage.len.saturating_mul(storage.dtype.size());
        storages.insert(key, Cow::Borrowed(reader.take(size)?));
    }
    Ok(storages)
}
