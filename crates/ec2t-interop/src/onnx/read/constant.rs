//! Constants: what is stored in the file, in whichever of its forms.

use half::{bf16, f16};

use super::super::proto::Tensor;
use super::super::proto::data_type::*;

/// Where a tensor's values are in a file of their own.
const EXTERNAL: i32 = 1;

/// A constant of a model.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Constant {
    pub(super) dims: Vec<usize>,
    pub(super) data: Data,
}

/// Values in row-major order.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Data {
    Floats(Vec<f32>),
    Ints(Vec<i64>),
}

impl Constant {
    /// Values of a message.
    ///
    /// # Errors
    /// What is wrong with it, in words.
    pub(super) fn new(tensor: &Tensor) -> Result<Self, String> {
        if is_external(tensor) {
            return Err("its values are in another file, of which there is none here".into());
        }
        let length = |&dim: &i64| usize::try_from(dim).map_err(|_| format!("a length of {dim}"));
        let dims = tensor.dims.iter().map(length).collect::<Result<Vec<_>, _>>()?;
        let product =
            |least| dims.iter().try_fold(1usize, |count, &dim| count.checked_mul(dim.max(least)));
        // Also without those of length 0, so that no product of some of them overflows.
        let (Some(count), Some(_)) = (product(0), product(1)) else {
            return Err(format!("dimensions {dims:?} are too large"));
        };
        let data = data(tensor, count)?;
        let found = match &data {
            Data::Floats(values) => values.len(),
            Data::Ints(values) => values.len(),
        };
        match found == count {
            true => Ok(Self { dims, data }),
            false => Err(format!("dimensions {dims:?} need {count} values, found {found}")),
        }
    }

    pub(super) fn floats(&self) -> Option<&[f32]> {
        match &self.data {
            Data::Floats(values) => Some(values),
            Data::Ints(_) => None,
        }
    }

    pub(super) fn ints(&self) -> Option<&[i64]> {
        match &self.data {
            Data::Ints(values) => Some(values),
            Data::Floats(_) => None,
        }
    }
}

/// Whether a tensor's values are in another file than the model.
pub(super) fn is_external(tensor: &Tensor) -> bool {
    tensor.data_location == Some(EXTERNAL) || !tensor.external_data.is_empty()
}

/// All values that are stored; for less than eight bits, no more than `count`.
fn data(tensor: &Tensor, count: usize) -> Result<Data, String> {
    let raw = tensor.raw_data.as_deref().filter(|raw| !raw.is_empty());
    let ints = || tensor.int32_data.iter();
    let data_type = tensor.data_type.unwrap_or_default();
    Ok(match (data_type, raw) {
        (FLOAT, Some(raw)) => Data::Floats(values(raw, f32::from_le_bytes)?),
        (FLOAT, None) => Data::Floats(tensor.float_data.clone()),
        (DOUBLE, Some(raw)) => Data::Floats(values(raw, |b| f64::from_le_bytes(b) as f32)?),
        (DOUBLE, None) => Data::Floats(tensor.double_data.iter().map(|&v| v as f32).collect()),
        (FLOAT16, Some(raw)) => Data::Floats(values(raw, |b| f16::from_le_bytes(b).to_f32())?),
        (FLOAT16, None) => {
            Data::Floats(ints().map(|&v| f16::from_bits(v as u16).to_f32()).collect())
        }
        (BFLOAT16, Some(raw)) => Data::Floats(values(raw, |b| bf16::from_le_bytes(b).to_f32())?),
        (BFLOAT16, None) => {
            Data::Floats(ints().map(|&v| bf16::from_bits(v as u16).to_f32()).collect())
        }
        (INT64, Some(raw)) => Data::Ints(values(raw, i64::from_le_bytes)?),
        (INT64, None) => Data::Ints(tensor.int64_data.clone()),
        (INT32, Some(raw)) => Data::Ints(values(raw, |b| i32::from_le_bytes(b).into())?),
        (UINT8 | BOOL, Some(raw)) => Data::Ints(values(raw, |[b]: [u8; 1]| b.into())?),
        (INT8, Some(raw)) => Data::Ints(values(raw, |[b]: [u8; 1]| (b as i8).into())?),
        (INT32 | UINT8 | INT8 | BOOL, None) => Data::Ints(ints().map(|&v| v.into()).collect()),
        (UINT4 | INT4 | UINT2 | INT2, Some(raw)) => Data::Ints(packed(raw, data_type, count)),
        (UINT4 | INT4 | UINT2 | INT2, None) => {
            let bytes: Vec<u8> = ints().map(|&v| v as u8).collect();
            Data::Ints(packed(&bytes, data_type, count))
        }
        (other, _) => return Err(format!("values of type {other} are not supported")),
    })
}

fn values<const N: usize, T>(raw: &[u8], value: impl Fn([u8; N]) -> T) -> Result<Vec<T>, String> {
    match raw.as_chunks() {
        (chunks, []) => Ok(chunks.iter().map(|bytes| value(*bytes)).collect()),
        _ => Err(format!("{} bytes of values of {N} bytes each", raw.len())),
    }
}

/// Integers of two or four bits, the first in the lowest.
fn packed(bytes: &[u8], data_type: i32, count: usize) -> Vec<i64> {
    let bits = if matches!(data_type, UINT4 | INT4) { 4 } else { 2 };
    let signed = matches!(data_type, INT4 | INT2);
    let value = |byte: &u8, at: u32| {
        let high = byte << (8 - bits - at * bits);
        match signed {
            true => i64::from((high as i8) >> (8 - bits)),
            false => i64::from(high >> (8 - bits)),
        }
    };
    bytes.iter().flat_map(|byte| (0..8 / bits).map(move |at| value(byte, at))).take(count).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn raw(data_type: i32, dims: &[i64], bytes: &[u8]) -> Tensor {
        let raw_data = Some(bytes.to_vec());
        Tensor { data_type: Some(data_type), dims: dims.to_vec(), raw_data, ..Tensor::default() }
    }

    #[test]
    fn small_integers_are_unpacked() {
        let ints = |tensor: Tensor| Constant::new(&tensor).unwrap().ints().unwrap().to_vec();
        assert_eq!(ints(raw(UINT2, &[5], &[0b10_00_01_11, 0b10])), [3, 1, 0, 2, 2]);
        assert_eq!(ints(raw(INT2, &[3], &[0b01_11_10])), [-2, -1, 1]);
        assert_eq!(ints(raw(UINT4, &[3], &[0x1f, 2])), [15, 1, 2]);
        assert_eq!(ints(raw(INT4, &[2], &[0x1f])), [-1, 1]);
        assert_eq!(ints(raw(INT8, &[1], &[0xff])), [-1]);
        let typed = Tensor { int32_data: vec![0x1f, 2], raw_data: None, ..raw(UINT4, &[3], &[]) };
        assert_eq!(ints(typed), [15, 1, 2]);
    }

    #[test]
    fn floats_are_read_from_raw_bytes_and_fields() {
        let floats = |tensor: Tensor| Constant::new(&tensor).unwrap().floats().unwrap().to_vec();
        assert_eq!(floats(raw(FLOAT16, &[1], &[0, 0x3c])), [1.0]);
        assert_eq!(floats(raw(BFLOAT16, &[1], &[0x80, 0x3f])), [1.0]);
        assert_eq!(floats(raw(DOUBLE, &[1], &0.5f64.to_le_bytes())), [0.5]);
        let typed = Tensor { float_data: vec![0.25, 2.0], ..raw(FLOAT, &[2], &[]) };
        assert_eq!(floats(typed), [0.25, 2.0]);
    }

    #[test]
    fn contradictions_are_named() {
        let fault = |tensor: Tensor| Constant::new(&tensor).unwrap_err();
        assert_eq!(fault(raw(FLOAT, &[3], &[0; 8])), "dimensions [3] need 3 values, found 2");
        assert_eq!(fault(raw(UINT4, &[3], &[0])), "dimensions [3] need 3 values, found 2");
        assert_eq!(fault(raw(FLOAT, &[1], &[0; 5])), "5 bytes of values of 4 bytes each");
        assert_eq!(fault(raw(FLOAT, &[-1], &[])), "a length of -1");
        for dims in [[1 << 40, 1 << 40, 1], [0, 1 << 40, 1 << 40]] {
            assert!(fault(raw(FLOAT, &dims, &[])).ends_with("are too large"));
        }
        assert_eq!(fault(raw(8, &[1], &[0])), "values of type 8 are not supported");
        let external = Tensor { data_location: Some(EXTERNAL), ..raw(FLOAT, &[1], &[]) };
        assert!(fault(external).starts_with("its values are in another file"));
    }
}
