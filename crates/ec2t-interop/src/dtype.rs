//! Types of stored values, all of which become `f32`.

use half::{bf16, f16};

/// Type of the values in a storage.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum DType {
    F16,
    BF16,
    F32,
    F64,
    U8,
    I32,
    I64,
    Bool,
}

/// Order of the bytes of one value.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum ByteOrder {
    Little,
    Big,
}

impl DType {
    /// Bytes of one value.
    pub(crate) fn size(self) -> usize {
        match self {
            DType::U8 | DType::Bool => 1,
            DType::F16 | DType::BF16 => 2,
            DType::F32 | DType::I32 => 4,
            DType::F64 | DType::I64 => 8,
        }
    }

    /// The value whose bytes, exactly [`size`](Self::size) of them, are `raw`.
    pub(crate) fn value(self, raw: &[u8], order: ByteOrder) -> f32 {
        match self {
            DType::F16 => f16::from_le_bytes(little(raw, order)).to_f32(),
            DType::BF16 => bf16::from_le_bytes(little(raw, order)).to_f32(),
            DType::F32 => f32::from_le_bytes(little(raw, order)),
            DType::F64 => f64::from_le_bytes(little(raw, order)) as f32,
            DType::U8 => f32::from(raw[0]),
            DType::I32 => i32::from_le_bytes(little(raw, order)) as f32,
            DType::I64 => i64::from_le_bytes(little(raw, order)) as f32,
            DType::Bool => f32::from(raw[0] != 0),
        }
    }
}

fn little<const N: usize>(raw: &[u8], order: ByteOrder) -> [u8; N] {
    let mut bytes = [0; N];
    bytes.copy_from_slice(raw);
    if order == ByteOrder::Big {
        bytes.reverse();
    }
    bytes
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_type_becomes_f32_in_either_order() {
        let cases: [(DType, Vec<u8>, f32); 8] = [
            (DType::F16, f16::from_f32(-1.5).to_le_bytes().to_vec(), -1.5),
            (DType::BF16, bf16::from_f32(3.0).to_le_bytes().to_vec(), 3.0),
            (DType::F32, 0.1f32.to_le_bytes().to_vec(), 0.1),
            (DType::F64, 0.25f64.to_le_bytes().to_vec(), 0.25),
            (DType::U8, vec![200], 200.0),
            (DType::I32, (-70_000i32).to_le_bytes().to_vec(), -70_000.0),
            (DType::I64, (-3i64).to_le_bytes().to_vec(), -3.0),
            (DType::Bool, vec![1], 1.0),
        ];
        for (dtype, mut raw, expected) in cases {
            assert_eq!(raw.len(), dtype.size(), "{dtype:?}");
            assert_eq!(dtype.value(&raw, ByteOrder::Little), expected, "{dtype:?}");
            raw.reverse();
            assert_eq!(dtype.value(&raw, ByteOrder::Big), expected, "{dtype:?}");
        }
    }
}
