//! Finds the dictionary of tensors, and gathers their values.

use std::borrow::Cow;
use std::collections::BTreeMap;

use ec2t_format::DenseTensor;

use super::value::{Heap, TensorView, Value};
use crate::dtype::ByteOrder;
use crate::error::CheckpointError;
use crate::state_dict::StateDict;

/// Keys under which training scripts nest the state dictionary, the first one
/// present being taken. Averaged weights come first, as they do in timm: a
/// script that keeps them means them to be used.
const WRAPPERS: [&str; 7] = [
    "state_dict_ema",
    "model_ema",
    "ema_state_dict",
    "state_dict",
    "model_state_dict",
    "model",
    "net",
];
/// Most wrappers around each other.
const MAX_NESTING: usize = 4;
/// Most values in all tensors together: 2 GiB of floats.
const MAX_VALUES: usize = 1 << 29;

/// Bytes of every storage by its key.
pub(super) type Storages<'a> = BTreeMap<&'a str, Cow<'a, [u8]>>;

/// The tensors of a state dictionary by name.
pub(super) type Tensors<'h, 'a> = BTreeMap<&'a str, &'h TensorView<'a>>;

/// The tensors of the state dictionary in what a checkpoint's pickle built.
pub(super) fn tensors<'h, 'a>(
    root: Value<'a>,
    heap: &'h Heap<'a>,
) -> Result<Tensors<'h, 'a>, CheckpointError> {
    let Value::Dict(mut dict) = root else {
        return Err(CheckpointError::NotADict { found: root.kind() });
    };
    for _ in 0..MAX_NESTING {
        let wrapped = WRAPPERS.iter().find_map(|name| match heap.entry(dict, name) {
            Some(Value::Dict(inner)) => Some(inner),
            _ => None,
        });
        let Some(inner) = wrapped else { break };
        dict = inner;
    }
    heap.dicts[dict]
        .iter()
        .map(|&(key, value)| {
            let name = key.name().ok_or(CheckpointError::NotAName { found: key.kind() })?;
            match value {
                Value::Tensor(tensor) => Ok((name, &heap.tensors[tensor])),
                other => {
                    Err(CheckpointError::NotATensor { name: name.into(), found: other.kind() })
                }
            }
        })
        .collect()
}

/// The values of all tensors.
pub(super) fn gather(
    tensors: &Tensors,
    storages: &Storages,
    order: ByteOrder,
) -> Result<StateDict, CheckpointError> {
    let mut total = 0usize;
    tensors
        .iter()
        .map(|(&name, &view)| {
            let key = view.storage.key;
            let bytes = storages
                .get(key)
                .ok_or_else(|| CheckpointError::StorageMissing { key: key.into() })?;
            let values = view.checked_numel().ok_or_else(|| view_error(name, view))?;
            total = total.saturating_add(values);
            if total > MAX_VALUES {
                return Err(CheckpointError::TooLarge { what: "values", limit: MAX_VALUES });
            }
            let data = view.gather(bytes, order, values);
            Ok((name.into(), DenseTensor::new(view.shape.clone(), data)?))
        })
        .collect()
}

fn view_error(name: &str, view: &TensorView) -> CheckpointError {
    CheckpointError::View {
        name: name.into(),
        offset: view.offset,
        shape: view.shape.clone(),
        strides: view.strides.clone(),
        values: view.storage.len,
    }
}

impl TensorView<'_> {
    /// Number of values, where all of them lie in the storage; `None` as well
    /// where they are more than the storage has, so that a few bytes cannot
    /// stand for a huge tensor.
    fn checked_numel(&self) -> Option<usize> {
        let numel = self.shape.iter().try_fold(1usize, |n, &dim| n.checked_mul(dim))?;
        if numel == 0 {
            return Some(0);
        }
        let last =
            self.shape.iter().zip(&self.strides).try_fold(self.offset, |at, (dim, step)| {
                at.checked_add((dim - 1).checked_mul(*step)?)
            })?;
        (last < self.storage.len && numel <= self.storage.len).then_some(numel)
    }

    /// The first `numel` values in row-major order, wherever they lie.
    fn gather(&self, bytes: &[u8], order: ByteOrder, numel: usize) -> Vec<f32> {
        let dtype = self.storage.dtype;
        let mut index = vec![0; self.shape.len()];
        let mut at = self.offset;
        (0..numel)
            .map(|_| {
                let value = dtype.value(&bytes[at * dtype.size()..][..dtype.size()], order);
                at = self.advance(&mut index, at);
                value
            })
            .collect()
    }

    /// Moves the index on to the next value in row-major order, and returns
    /// its position in the storage.
    fn advance(&self, index: &mut [usize], mut at: usize) -> usize {
        for axis in (0..index.len()).rev() {
            if index[axis] + 1 < self.shape[axis] {
                index[axis] += 1;
                return at + self.strides[axis];
            }
            at -= self.strides[axis] * index[axis];
            index[axis] = 0;
        }
        at
    }
}
