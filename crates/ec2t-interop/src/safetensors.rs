//! safetensors files: a JSON header, then the values of all tensors.

use ::safetensors::{Dtype, SafeTensors};
use ec2t_format::DenseTensor;

use crate::dtype::{ByteOrder, DType};
use crate::error::CheckpointError;
use crate::state_dict::StateDict;

/// Whether the bytes start as a safetensors file does: with the length of the
/// header in eight bytes, and then with the header's opening brace.
pub(crate) fn is_safetensors(bytes: &[u8]) -> bool {
    bytes.get(8) == Some(&b'{')
}

/// All tensors of a safetensors file.
pub(crate) fn read(bytes: &[u8]) -> Result<StateDict, CheckpointError> {
    SafeTensors::deserialize(bytes)?
        .iter()
        .map(|(name, view)| {
            let dtype = dtype(view.dtype()).ok_or_else(|| CheckpointError::DType {
                name: name.into(),
                dtype: view.dtype().to_string(),
            })?;
            let values = view.data().chunks_exact(dtype.size());
            let data = values.map(|raw| dtype.value(raw, ByteOrder::Little)).collect();
            Ok((name.into(), DenseTensor::new(view.shape().to_vec(), data)?))
        })
        .collect()
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
