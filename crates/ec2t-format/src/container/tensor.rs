//! The values of tensors.
//!
//! A dense tensor is its values in row-major order. A ternary tensor is two
//! `f32` centroids, `w_neg` and `w_pos`, and the codes as the codec gives them, at a
//! position that [suits](super::align) it. Name and shape come from the graph.

use alloc::vec::Vec;

use half::f16;

use super::align;
use super::budget::Budget;
use super::cursor::Cursor;
use super::error::{FormatError, Place};
use super::sink::put_f32;
use super::toc::{SectionKind, TensorEncoding};
use crate::codec::{CodecId, Effort, Kernels, encode_best};
use crate::graph::Param;
use crate::tensor::{DenseTensor, Storage, Tensor, TensorError, TernaryTensor};

/// Two `f32` before the codes of a ternary tensor.
pub(super) const CENTROIDS_LEN: usize = 2 * size_of::<f32>();

/// A tensor's bytes in a file, which are intact.
#[derive(Clone, Copy)]
pub(super) struct Stored<'a> {
    pub(super) encoding: TensorEncoding,
    /// Position in the file.
    pub(super) offset: usize,
    pub(super) bytes: &'a [u8],
}

/// A tensor of the graph and where the file has it.
pub(super) struct TensorEntry<'a> {
    pub(super) param: Param,
    pub(super) stored: Stored<'a>,
}

impl TensorEntry<'_> {
    /// Reads the values.
    pub(super) fn decode(&self, budget: &mut Budget) -> Result<Tensor, FormatError> {
        let width = match self.stored.encoding {
            TensorEncoding::Dense(_) => size_of::<f32>(),
            TensorEncoding::Ternary(_) => size_of::<i8>(),
        };
        budget.charge(&[self.param.numel().saturating_mul(width)], || self.place())?;
        match self.stored.encoding {
            TensorEncoding::Dense(storage) => self.decode_dense(storage).map(Tensor::Dense),
            TensorEncoding::Ternary(codec) => {
                self.decode_ternary(codec, budget).map(Tensor::Ternary)
            }
        }
    }

    fn decode_dense(&self, storage: Storage) -> Result<DenseTensor, FormatError> {
        let expected = self.param.numel().saturating_mul(storage.width());
        let bytes = self.stored.bytes;
        if bytes.len() != expected {
            let found = bytes.len();
            return Err(FormatError::TensorLength { place: self.place(), expected, found });
        }
        let fault = |source| FormatError::Tensor { place: self.place(), source };
        let data = match storage {
            Storage::F32 => values(bytes, f32::from_le_bytes),
            Storage::F16 => {
                check_halves(bytes).map_err(fault)?;
                values(bytes, |value| f16::from_le_bytes(value).to_f32())
            }
        };
        let dense = DenseTensor::new(self.param.shape.clone(), data).map_err(fault)?;
        Ok(dense.with_storage(storage))
    }

    fn decode_ternary(
        &self,
        codec: CodecId,
        budget: &Budget,
    ) -> Result<TernaryTensor, FormatError> {
        let kernels = Kernels::of_shape(&self.param.shape);
        budget.afford(codec.working_bytes(kernels), || self.place())?;
        let Stored { offset, bytes, .. } = self.stored;
        let mut cursor = Cursor::new(&self.param.name, offset, bytes);
        let w_neg = cursor.f32()?;
        let w_pos = cursor.f32()?;
        let codes = align::codes(cursor, codec.alignment())?;
        let codes = codec.decode(codes.rest(), kernels).map_err(|source| {
            let mut place = codes.place();
            place.offset = place.offset.saturating_add(source.offset());
            FormatError::Codec { place, source }
        })?;
        TernaryTensor::new(self.param.shape.clone(), codes, w_neg, w_pos)
            .map_err(|source| FormatError::Tensor { place: self.place(), source })
    }

    fn place(&self) -> Place {
        Place { section: self.param.name.clone(), offset: self.stored.offset }
    }
}

/// Reads values of `N` bytes each, of which `bytes` holds a whole number.
fn values<const N: usize>(bytes: &[u8], value: impl Fn([u8; N]) -> f32) -> Vec<f32> {
    bytes.as_chunks().0.iter().map(|&chunk| value(chunk)).collect()
}

/// Refuses a signalling NaN, which becomes a quiet one when it is made an `f32`.
fn check_halves(bytes: &[u8]) -> Result<(), TensorError> {
    let signals = |half: f16| half.is_nan() && half.to_bits() & 0x0200 == 0;
    let halves = bytes.as_chunks().0.iter().copied().map(f16::from_le_bytes);
    match halves.into_iter().position(signals) {
        Some(position) => Err(TensorError::SignallingNan { position }),
        None => Ok(()),
    }
}

/// A ternary tensor as a section in the codec that the effort asks for, with all zeros
/// for its [alignment](align::settle) at the end.
pub(super) fn encode_ternary(ternary: &TernaryTensor, effort: Effort) -> (SectionKind, Vec<u8>) {
    let kernels = Kernels::of_shape(ternary.shape());
    let (codec, codes) = encode_best(ternary.codes(), kernels, effort);
    let mut out = Vec::new();
    put_f32(&mut out, ternary.w_neg());
    put_f32(&mut out, ternary.w_pos());
    out.extend(codes);
    out.extend(core::iter::repeat_n(0, codec.alignment().saturating_sub(1)));
    (SectionKind::Tensor(TensorEncoding::Ternary(codec)), out)
}

/// The values of a dense tensor.
pub(super) fn encode_dense(dense: &DenseTensor) -> Vec<u8> {
    let data = dense.data().iter();
    match dense.storage() {
        Storage::F32 => data.flat_map(|value| value.to_le_bytes()).collect(),
        Storage::F16 => data.flat_map(|&value| f16::from_f32(value).to_le_bytes()).collect(),
    }
}
