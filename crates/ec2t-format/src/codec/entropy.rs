//! Arithmetic-coded streams: what they start with, and which model follows.
//!
//! | stream | holds |
//! |---|---|
//! | order-0 | the decisions of `order0` |
//! | balanced | the zero map, the density of the rest, the decisions of `balanced` |
//! | max | the same, with the decisions of `mixed` |
//!
//! Encoder and decoder run the same code with another [`BitCoder`]; only a
//! decoder has to check that an encoder would have said the same.

use alloc::vec;
use alloc::vec::Vec;

use super::CodecError;
use super::density::Density;
use super::kernels::Kernels;
use super::range::{BitCoder, Decoder, Encoder};
use super::zero_map::ZeroMap;
use super::{balanced, mixed, order0};

/// Predicts the decisions of a tensor that has no channel of zeros.
#[derive(Clone, Copy)]
pub(super) enum Model {
    Balanced,
    Mixed,
}

impl Model {
    fn code(self, coder: &mut impl BitCoder, codes: &mut [i8], kernels: Kernels, density: Density) {
        match self {
            Model::Balanced => balanced::code(coder, codes, kernels, density),
            Model::Mixed => mixed::code(coder, codes, kernels, density),
        }
    }

    pub(super) fn encode(self, codes: &[i8], kernels: Kernels) -> Vec<u8> {
        let mut coder = Encoder::new();
        let map = ZeroMap::of(codes, kernels).code(&mut coder);
        let mut rest = map.strip(codes);
        let density = Density::of(&rest).code(&mut coder);
        self.code(&mut coder, &mut rest, map.rest(), density);
        coder.finish()
    }

    pub(super) fn decode(self, bytes: &[u8], kernels: Kernels) -> Result<Vec<i8>, CodecError> {
        let mut coder = Decoder::new(bytes)?;
        let map = ZeroMap::blank(kernels).code(&mut coder);
        let mut rest = vec![0; map.rest().count()];
        let density = Density::of(&[]).code(&mut coder);
        self.code(&mut coder, &mut rest, map.rest(), density);
        coder.finish()?;
        density.check(&rest)?;
        map.restore(rest)
    }
}

/// Bound of the memory of a decoder: that of its model, the map twice, and the
/// codes that are left by it.
pub(super) fn working_bytes(kernels: Kernels, model: usize) -> usize {
    let channels = kernels.outputs.saturating_add(kernels.inputs);
    model.saturating_add(channels.saturating_mul(2)).saturating_add(kernels.count())
}

pub(super) fn encode_order0(codes: &[i8]) -> Vec<u8> {
    let mut coder = Encoder::new();
    order0::code(&mut coder, &mut codes.to_vec());
    coder.finish()
}

pub(super) fn decode_order0(bytes: &[u8], count: usize) -> Result<Vec<i8>, CodecError> {
    let mut coder = Decoder::new(bytes)?;
    let mut codes = vec![0; count];
    order0::code(&mut coder, &mut codes);
    coder.finish().map(|()| codes)
}
