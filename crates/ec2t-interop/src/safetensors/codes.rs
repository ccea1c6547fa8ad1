//! Ternary weights as codes of two bits.
//!
//! Three tensors stand for `NAME`:
//!
//! | tensor | type | is |
//! |---|---|---|
//! | `NAME.codes` | U8, `[⌈n ∕ 4⌉]` | code i in byte ⌊i ∕ 4⌋ at bits 2 (i mod 4) and above; the bits behind the last are 0 |
//! | `NAME.codebook` | F32, `[3]` | what codes 0, 1 and 2 stand for: −a, 0, +b |
//! | `NAME.shape` | I64 | lengths of the dimensions; n is their product |

use ::safetensors::tensor::{Dtype, SafeTensors, TensorView};
use ec2t_format::DenseTensor;

use crate::error::CheckpointError;

/// What follows the name in those of the three tensors, codes first.
pub(super) const SUFFIXES: [&str; 3] = [".codes", ".codebook", ".shape"];

/// The name of the weights that a tensor is a part of, where the file has all parts.
pub(super) fn weights_of<'n>(file: &SafeTensors, name: &'n str) -> Option<&'n str> {
    let stem = SUFFIXES.iter().find_map(|suffix| name.strip_suffix(suffix))?;
    let has = |suffix: &&str| file.tensor(&format!("{stem}{suffix}")).is_ok();
    SUFFIXES.iter().all(has).then_some(stem)
}

/// The weights that three tensors stand for.
pub(super) fn unpack(file: &SafeTensors, name: &str) -> Result<DenseTensor, CheckpointError> {
    let fault = |reason: String| CheckpointError::Codes { name: name.into(), reason };
    let part = |suffix: &str, dtype: Dtype| -> Result<TensorView<'_>, CheckpointError> {
        let part = file.tensor(&format!("{name}{suffix}"))?;
        match part.dtype() == dtype && part.shape().len() == 1 {
            true => Ok(part),
            false => Err(fault(format!("{suffix} is no list of values of type {dtype}"))),
        }
    };
    let [codes, codebook, shape] = SUFFIXES;
    let codes = part(codes, Dtype::U8)?;
    let (codebook, _) = part(codebook, Dtype::F32)?.data().as_chunks();
    let codebook: Vec<f32> = codebook.iter().map(|value| f32::from_le_bytes(*value)).collect();
    let (shape, _) = part(shape, Dtype::I64)?.data().as_chunks();
    let length = |value: &[u8; 8]| usize::try_from(i64::from_le_bytes(*value)).ok();
    let shape: Option<Vec<usize>> = shape.iter().map(length).collect();
    let shape = shape.ok_or_else(|| fault("a length is negative".into()))?;
    let count = shape.iter().try_fold(1usize, |count, &dim| count.checked_mul(dim));
    let count = count.filter(|count| count.div_ceil(4) == codes.data().len());
    let count = count.ok_or_else(|| {
        fault(format!("{} bytes of codes do not fit shape {shape:?}", codes.data().len()))
    })?;
    let values = codes.data().iter().flat_map(|byte| [0, 2, 4, 6].map(|at| byte >> at & 3));
    let value = |code: u8| codebook.get(usize::from(code)).copied();
    let values: Option<Vec<f32>> = values.take(count).map(value).collect();
    let values = values
        .ok_or_else(|| fault(format!("a code stands for none of {} values", codebook.len())))?;
    Ok(DenseTensor::new(shape, values)?)
}
