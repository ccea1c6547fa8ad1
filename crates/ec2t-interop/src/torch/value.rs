//! The values that a pickle builds.
//!
//! A value is small and copied freely; whatever has a length lives on a
//! [`Heap`] and is named by its position. Shared and even circular structures
//! therefore cost nothing, and no function here needs to recurse.

use std::collections::BTreeMap;

use super::global::Global;
use crate::dtype::DType;

/// One value of a pickle; text is borrowed from the file.
#[derive(Clone, Copy, Debug)]
pub(super) enum Value<'a> {
    None,
    Bool(bool),
    Int(i64),
    /// A float; nothing in a state dictionary needs its number.
    Float,
    Text(&'a str),
    Global(Global),
    Storage(Storage<'a>),
    /// Position in [`Heap::sequences`].
    Tuple(usize),
    /// Position in [`Heap::sequences`].
    List(usize),
    /// Position in [`Heap::dicts`].
    Dict(usize),
    /// Position in [`Heap::tensors`].
    Tensor(usize),
}

/// Longest name of a tensor or storage.
const MAX_NAME: usize = 1024;

impl<'a> Value<'a> {
    /// The text, where it is short enough to name something. Since a pickle can
    /// repeat a text for two bytes, long ones would make comparing them costly.
    pub(super) fn name(self) -> Option<&'a str> {
        match self {
            Value::Text(text) if text.len() <= MAX_NAME => Some(text),
            _ => None,
        }
    }

    /// What kind of value this is, for messages.
    pub(super) fn kind(self) -> &'static str {
        match self {
            Value::None => "None",
            Value::Bool(_) => "a bool",
            Value::Int(_) => "an integer",
            Value::Float => "a float",
            Value::Text(_) => "text",
            Value::Global(_) => "a global",
            Value::Storage(_) => "a storage",
            Value::Tuple(_) => "a tuple",
            Value::List(_) => "a list",
            Value::Dict(_) => "a dictionary",
            Value::Tensor(_) => "a tensor",
        }
    }
}

/// A run of values of one type, stored elsewhere in the file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Storage<'a> {
    pub(super) key: &'a str,
    pub(super) dtype: DType,
    /// Number of values.
    pub(super) len: usize,
}

/// A tensor: where its values lie in a storage.
#[derive(Clone, Debug)]
pub(super) struct TensorView<'a> {
    pub(super) storage: Storage<'a>,
    /// Position of the first value.
    pub(super) offset: usize,
    pub(super) shape: Vec<usize>,
    /// Distance between neighbours in each dimension.
    pub(super) strides: Vec<usize>,
}

/// A dictionary in the order of insertion; a later entry replaces an equal key.
pub(super) type Dict<'a> = Vec<(Value<'a>, Value<'a>)>;

/// Everything with a length that the pickles of one file build.
#[derive(Debug, Default)]
pub(super) struct Heap<'a> {
    pub(super) sequences: Vec<Vec<Value<'a>>>,
    pub(super) dicts: Vec<Dict<'a>>,
    pub(super) tensors: Vec<TensorView<'a>>,
    /// Every storage that was named, by key.
    pub(super) storages: BTreeMap<&'a str, Storage<'a>>,
}

impl<'a> Heap<'a> {
    pub(super) fn tuple(&mut self, items: Vec<Value<'a>>) -> Value<'a> {
        self.sequences.push(items);
        Value::Tuple(self.sequences.len() - 1)
    }

    pub(super) fn list(&mut self) -> Value<'a> {
        self.sequences.push(Vec::new());
        Value::List(self.sequences.len() - 1)
    }

    pub(super) fn dict(&mut self) -> Value<'a> {
        self.dicts.push(Vec::new());
        Value::Dict(self.dicts.len() - 1)
    }

    pub(super) fn tensor(&mut self, view: TensorView<'a>) -> Value<'a> {
        self.tensors.push(view);
        Value::Tensor(self.tensors.len() - 1)
    }

    /// The newest entry of this name in a dictionary.
    pub(super) fn entry(&self, dict: usize, name: &str) -> Option<Value<'a>> {
        let newest = self.dicts[dict].iter().rev();
        newest
            .filter(|(key, _)| matches!(key, Value::Text(text) if *text == name))
            .map(|&(_, value)| value)
            .next()
    }
}
