//! Constants and settings as messages.

use super::codes::floats;
use super::proto::{Attribute, Tensor, attribute_kind, data_type};

/// A tensor of floats.
pub(super) fn float_tensor(name: &str, dims: &[usize], values: &[f32]) -> Tensor {
    tensor(name, dims, data_type::FLOAT, floats(values))
}

/// A list of 64-bit integers.
pub(super) fn int_tensor(name: &str, values: &[i64]) -> Tensor {
    let bytes = values.iter().flat_map(|value| value.to_le_bytes()).collect();
    tensor(name, &[values.len()], data_type::INT64, bytes)
}

/// A tensor of values of some type.
pub(super) fn tensor(name: &str, dims: &[usize], data_type: i32, bytes: Vec<u8>) -> Tensor {
    Tensor {
        name: Some(name.into()),
        dims: dims.iter().map(|&dim| dim as i64).collect(),
        data_type: Some(data_type),
        raw_data: Some(bytes),
        ..Tensor::default()
    }
}

pub(super) fn int(name: &str, value: i64) -> Attribute {
    Attribute { i: Some(value), ..attribute(name, attribute_kind::INT) }
}

pub(super) fn float(name: &str, value: f32) -> Attribute {
    Attribute { f: Some(value), ..attribute(name, attribute_kind::FLOAT) }
}

pub(super) fn ints(name: &str, values: &[usize]) -> Attribute {
    let ints = values.iter().map(|&value| value as i64).collect();
    Attribute { ints, ..attribute(name, attribute_kind::INTS) }
}

pub(super) fn text(name: &str, value: &str) -> Attribute {
    Attribute { s: Some(value.into()), ..attribute(name, attribute_kind::STRING) }
}

fn attribute(name: &str, kind: i32) -> Attribute {
    Attribute { name: Some(name.into()), kind: Some(kind), ..Attribute::default() }
}
