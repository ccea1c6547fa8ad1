//! The short list of names that a pickle may use.
//!
//! In a pickle, a global is an imported class or function. Here it is one of a
//! few tags, and calling one builds a dictionary or a tensor; there is nothing
//! else that could be called.

use super::value::{Heap, Storage, TensorView, Value};
use crate::dtype::DType;
use crate::error::CheckpointError;

/// Most dimensions of a tensor.
const MAX_DIMS: usize = 8;

/// A name that a pickle may use.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Global {
    OrderedDict,
    Size,
    RebuildTensor,
    RebuildTensorV2,
    RebuildParameter,
    /// The class of storages of one type.
    StorageOf(DType),
}

impl Global {
    /// The global of this module and name, if it is on the list.
    pub(super) fn find(module: &str, name: &str) -> Option<Self> {
        Some(match (module, name) {
            ("collections", "OrderedDict") => Global::OrderedDict,
            ("torch", "Size") => Global::Size,
            ("torch._utils", "_rebuild_tensor") => Global::RebuildTensor,
            ("torch._utils", "_rebuild_tensor_v2") => Global::RebuildTensorV2,
            ("torch._utils", "_rebuild_parameter") => Global::RebuildParameter,
            ("torch", "HalfStorage") => Global::StorageOf(DType::F16),
            ("torch", "BFloat16Storage") => Global::StorageOf(DType::BF16),
            ("torch", "FloatStorage") => Global::StorageOf(DType::F32),
            ("torch", "DoubleStorage") => Global::StorageOf(DType::F64),
            ("torch", "ByteStorage") => Global::StorageOf(DType::U8),
            ("torch", "IntStorage") => Global::StorageOf(DType::I32),
            ("torch", "LongStorage") => Global::StorageOf(DType::I64),
            ("torch", "BoolStorage") => Global::StorageOf(DType::Bool),
            _ => return None,
        })
    }

    /// What calling the global with a tuple of arguments builds; `None` where
    /// it cannot be called like that.
    pub(super) fn call<'a>(self, args: usize, heap: &mut Heap<'a>) -> Option<Value<'a>> {
        match (self, heap.sequences[args].as_slice()) {
            (Global::OrderedDict, []) => Some(heap.dict()),
            (Global::Size, &[sizes @ Value::Tuple(_)]) => Some(sizes),
            (Global::RebuildParameter, &[data @ Value::Tensor(_), _requires_grad, _hooks]) => {
                Some(data)
            }
            (
                Global::RebuildTensor,
                &[Value::Storage(storage), Value::Int(offset), shape, strides],
            )
            | (
                Global::RebuildTensorV2,
                &[Value::Storage(storage), Value::Int(offset), shape, strides, _, _, ..],
            ) => {
                let offset = usize::try_from(offset).ok()?;
                let (shape, strides) = (dims(shape, heap)?, dims(strides, heap)?);
                let same_rank = shape.len() == strides.len();
                same_rank.then(|| heap.tensor(TensorView { storage, offset, shape, strides }))
            }
            _ => None,
        }
    }
}

/// The storage that a persistent id names.
pub(super) fn storage<'a>(
    id: Value<'a>,
    heap: &mut Heap<'a>,
    offset: usize,
) -> Result<Value<'a>, CheckpointError> {
    let described = match id {
        Value::Tuple(items) => description(&heap.sequences[items]),
        _ => None,
    };
    let storage = described.ok_or(CheckpointError::Operand {
        offset,
        expected: "the description of a storage",
        found: id.kind(),
    })?;
    match *heap.storages.entry(storage.key).or_insert(storage) == storage {
        true => Ok(Value::Storage(storage)),
        false => Err(CheckpointError::StorageConflict { key: storage.key.into() }),
    }
}

/// Reads `("storage", type, key, location, length)`. Legacy streams append the
/// part of another storage that it is, which must be `None`.
fn description<'a>(items: &[Value<'a>]) -> Option<Storage<'a>> {
    let &[tag, class, key, _location, len, ref part @ ..] = items else { return None };
    match (tag, class, len, part) {
        (
            Value::Text("storage"),
            Value::Global(Global::StorageOf(dtype)),
            Value::Int(len),
            [] | [Value::None],
        ) => Some(Storage { key: key.name()?, dtype, len: usize::try_from(len).ok()? }),
        _ => None,
    }
}

/// A tuple of lengths or strides.
fn dims(tuple: Value, heap: &Heap) -> Option<Vec<usize>> {
    let Value::Tuple(items) = tuple else { return None };
    let items = heap.sequences[items].as_slice();
    if items.len() > MAX_DIMS {
        return None;
    }
    items
        .iter()
        .map(|item| match item {
            Value::Int(dim) => usize::try_from(*dim).ok(),
            _ => None,
        })
        .collect()
}
