//! Tensor sections.
//!
//! A dense tensor is its values in row-major order. A ternary tensor is two
//! `f32` centroids, `w_neg` and `w_pos`, and the codes as the codec gives them.
//! Name and shape come from the graph.

use alloc::vec::Vec;

use half::f16;

use super::cursor::Cursor;
use super::error::{FormatError, Place};
use super::sink::put_f32;
use super::toc::TensorEncoding;
use crate::codec::{CodecId, encode_best};
use crate::graph::Param;
use crate::tensor::{DenseTensor, Storage, Tensor, TernaryTensor};

/// A tensor of the graph and the section that holds it, which is intact.
pub(super) struct TensorEntry<'a> {
    pub(super) param: Param,
    pub(super) encoding: TensorEncoding,
    /// Position of the section in the file.
    pub(super) offset: usize,
    pub(super) bytes: &'a [u8],
}

impl TensorEntry<'_> {
    /// Memory that the tensor takes once decoded.
    pub(super) fn decoded_bytes(&self) -> u64 {
        let width = match self.encoding {
            TensorEncoding::Dense(_) => size_of::<f32>(),
            TensorEncoding::Ternary(_) => size_of::<i8>(),
        };
        (self.param.numel() as u64).saturating_mul(width as u64)
    }

    pub(super) fn decode(&self) -> Result<Tensor, FormatError> {
        match self.encoding {
            TensorEncoding::Dense(storage) => self.decode_dense(storage).map(Tensor::Dense),
            TensorEncoding::Ternary(codec) => self.decode_ternary(codec).map(Tensor::Ternary),
        }
    }

    fn decode_dense(&self, storage: Storage) -> Result<DenseTensor, FormatError> {
        let width = match storage {
            Storage::F32 => size_of::<f32>(),
            Storage::F16 => size_of::<f16>(),
        };
        let expected = self.param.numel().saturating_mul(width);
        let found = self.bytes.len();
        if found != expected {
            return Err(FormatError::TensorLength { place: self.place(), expected, found });
        }
        let data = match storage {
            Storage::F32 => values(self.bytes, f32::from_le_bytes),
            Storage::F16 => values(self.bytes, |value| f16::from_le_bytes(value).to_f32()),
        };
        let dense = DenseTensor::new(self.param.shape.clone(), data)
            .map_err(|source| FormatError::Tensor { place: self.place(), source })?;
        Ok(dense.with_storage(storage))
    }

    fn decode_ternary(&self, codec: CodecId) -> Result<TernaryTensor, FormatError> {
        let mut cursor = Cursor::new(&self.param.name, self.offset, self.bytes);
        let w_neg = cursor.f32()?;
        let w_pos = cursor.f32()?;
        let codes = codec.decode(cursor.rest(), self.param.numel()).map_err(|source| {
            let mut place = cursor.place();
            place.offset = place.offset.saturating_add(source.offset());
            FormatError::Codec { place, source }
        })?;
        TernaryTensor::new(self.param.shape.clone(), codes, w_neg, w_pos)
            .map_err(|source| FormatError::Tensor { place: self.place(), source })
    }

    fn place(&self) -> Place {
        Place { section: self.param.name.clone(), offset: self.offset }
    }
}

/// Reads values of `N` bytes each, of which `bytes` holds a whole number.
fn values<const N: usize>(bytes: &[u8], value: impl Fn([u8; N]) -> f32) -> Vec<f32> {
    bytes.as_chunks().0.iter().map(|&chunk| value(chunk)).collect()
}

/// A tensor as a section, with the codec that makes it the smallest.
pub(super) fn encode(tensor: &Tensor) -> (TensorEncoding, Vec<u8>) {
    match tensor {
        Tensor::Dense(dense) => (TensorEncoding::Dense(dense.storage()), encode_dense(dense)),
        Tensor::Ternary(ternary) => {
            let (codec, codes) = encode_best(ternary.codes());
            let mut out = Vec::new();
            put_f32(&mut out, ternary.w_neg());
            put_f32(&mut out, ternary.w_pos());
            out.extend(codes);
            (TensorEncoding::Ternary(codec), out)
        }
    }
}

fn encode_dense(dense: &DenseTensor) -> Vec<u8> {
    let data = dense.data().iter();
    match dense.storage() {
        Storage::F32 => data.flat_map(|value| value.to_le_bytes()).collect(),
        Storage::F16 => data.flat_map(|&value| f16::from_f32(value).to_le_bytes()).collect(),
    }
}
