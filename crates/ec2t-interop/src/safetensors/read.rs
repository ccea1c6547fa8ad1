//! Tensors of a safetensors file.

use ::safetensors::tensor::TensorView;
use ::safetensors::{Dtype, SafeTensors};
use ec2t_format::DenseTensor;

use super::codes;
use crate::dtype::{ByteOrder, DType};
use crate::error::CheckpointError;
use crate::state_dict::StateDict;

/// Whether the bytes start as a safetensors file does: with the length of the
/// header in eight bytes, and then with the header's opening brace.
pub(crate) fn is_safetensors(bytes: &[u8]) -> bool {
    bytes.get(8) == Some(&b'{')
}

/// All tensors of a safetensors file; weights that are there as codes are unpacked.
pub(crate) fn read(bytes: &[u8]) -> Result<StateDict, CheckpointError> {
    let file = SafeTensors::deserialize(bytes)?;
    let mut tensors = Vec::new();
    for (name, view) in file.iter() {
        match codes::weights_of(&file, name) {
            None => tensors.push((name.to_owned(), dense(name, &view)?)),
            Some(weight) if name.ends_with(codes::SUFFIXES[0]) => {
                tensors.push((weight.to_owned(), codes::unpack(&file, weight)?));
            }
            Some(_) => {}
        }
    }
    Ok(tensors.into_iter().collect())
}

fn dense(name: &str, view: &TensorView) -> Result<DenseTensor, CheckpointError> {
    let dtype = dtype(view.dtype()).ok_or_else(|| CheckpointError::DType {
        name: name.into(),
        dtype: view.dtype().to_string(),
    })?;
    let values = view.data().chunks_exact(dtype.size());
    let data = values.map(|raw| dtype.value(raw, ByteOrder::Little)).collect();
    Ok(DenseTensor::new(view.shape().to_vec(), data)?)
}

fn dtype(dtype: Dtype) -> Option<DType> {
    Some(match dtype {
        Dtype::F16 => DType::F16,
        Dtype::BF16 => DType::BF16,
        Dtype::F32 => DType::F32,
        Dtype::F64 => DType::F64,
        Dtype::U8 => DType::U8,
        Dtype::I32 => DType::I32,
        Dtype::I64 => DType::I64,
        Dtype::BOOL => DType::Bool,
        _ => return None,
    })
}
