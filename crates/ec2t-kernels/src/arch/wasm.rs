//! SIMD of WebAssembly: four lanes.
//!
//! A module of WebAssembly either has these instructions or not, which is known when
//! it is compiled: engines refuse a module with instructions that they lack. So this
//! file is part of builds with the target feature `simd128` only, and the token can
//! always be made. The instructions of `relaxed-simd` are not used, since their
//! results are up to the engine.

use super::{Operation, sealed::Sealed, simd::Simd};
use std::arch::wasm32::*;

/// Token for SIMD of WebAssembly.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Simd128;

const LANES: usize = 4;

/// Whole numbers in a vector, and bytes.
const WORDS: usize = 2 * LANES;
const BYTES: usize = 4 * LANES;

impl Sealed for Simd128 {}

impl Simd for Simd128 {
    const LANES: usize = LANES;
    // WebAssembly names none; engines use those of the CPU, 16 or 32.
    const REGISTERS: usize = 16;

    type F32 = v128;
    type U16 = v128;
    type I32 = v128;
    type Mask = v128;

    fn name(self) -> &'static str {
        "simd128"
    }

    #[inline(never)]
    fn outline<O: Operation>(self, operation: O) -> O::Output {
        operation.eval(self)
    }

    #[inline(always)]
    fn splat(self, value: f32) -> v128 {
        f32x4_splat(value)
    }

    #[inline(always)]
    fn load(self, from: &[f32]) -> v128 {
        let from: &[f32; LANES] = from.first_chunk().expect("a whole vector");
        // SAFETY: the reference spans LANES values; any alignment will do.
        unsafe { v128_load(from.as_ptr().cast()) }
    }

    #[inline(always)]
    fn load_partial(self, from: &[f32]) -> v128 {
        let mut lanes = [0.0; LANES];
        lanes.iter_mut().zip(from).for_each(|(lane, value)| *lane = *value);
        self.load(&lanes)
    }

    #[inline(always)]
    fn prefetch(self, _: &[f32]) {}

    #[inline(always)]
    fn store(self, v: v128, to: &mut [f32]) {
        let to: &mut [f32; LANES] = to.first_chunk_mut().expect("place for a whole vector");
        // SAFETY: the reference spans LANES values; any alignment will do.
        unsafe { v128_store(to.as_mut_ptr().cast(), v) }
    }

    #[inline(always)]
    fn store_partial(self, v: v128, to: &mut [f32]) {
        let mut lanes = [0.0; LANES];
        self.store(v, &mut lanes);
        to.iter_mut().zip(lanes).for_each(|(place, lane)| *place = lane);
    }

    #[inline(always)]
    fn interleave(self, even: v128, odd: v128) -> [v128; 2] {
        [i32x4_shuffle::<0, 4, 1, 5>(even, odd), i32x4_shuffle::<2, 6, 3, 7>(even, odd)]
    }

    #[inline(always)]
    fn deinterleave(self, low: v128, high: v128) -> [v128; 2] {
        [i32x4_shuffle::<0, 2, 4, 6>(low, high), i32x4_shuffle::<1, 3, 5, 7>(low, high)]
    }

    #[inline(always)]
    fn shift_up(self, v: v128) -> v128 {
        i32x4_shuffle::<3, 4, 5, 6>(self.splat(0.0), v)
    }

    #[inline(always)]
    fn shift_down(self, v: v128) -> v128 {
        i32x4_shuffle::<1, 2, 3, 4>(v, self.splat(0.0))
    }

    #[inline(always)]
    fn add(self, a: v128, b: v128) -> v128 {
        f32x4_add(a, b)
    }

    #[inline(always)]
    fn sub(self, a: v128, b: v128) -> v128 {
        f32x4_sub(a, b)
    }

    #[inline(always)]
    fn mul(self, a: v128, b: v128) -> v128 {
        f32x4_mul(a, b)
    }

    #[inline(always)]
    fn div(self, a: v128, b: v128) -> v128 {
        f32x4_div(a, b)
    }

    #[inline(always)]
    fn sqrt(self, a: v128) -> v128 {
        f32x4_sqrt(a)
    }

    /// There is no fused operation with a defined result, so it rounds twice.
    #[inline(always)]
    fn fma(self, a: v128, b: v128, c: v128) -> v128 {
        self.add(self.mul(a, b), c)
    }

    #[inline(always)]
    fn max(self, a: v128, b: v128) -> v128 {
        // `pmax(b, a)` is `a` where `b < a`, else `b`.
        f32x4_pmax(b, a)
    }

    #[inline(always)]
    fn min(self, a: v128, b: v128) -> v128 {
        // `pmin(b, a)` is `a` where `a < b`, else `b`.
        f32x4_pmin(b, a)
    }

    #[inline(always)]
    fn round(self, a: v128) -> v128 {
        f32x4_nearest(a)
    }

    #[inline(always)]
    fn pow2(self, a: v128) -> v128 {
        i32x4_shl(i32x4_add(i32x4_trunc_sat_f32x4(a), i32x4_splat(127)), 23)
    }

    #[inline(always)]
    fn gt(self, a: v128, b: v128) -> v128 {
        f32x4_gt(a, b)
    }

    #[inline(always)]
    fn ge(self, a: v128, b: v128) -> v128 {
        f32x4_ge(a, b)
    }

    #[inline(always)]
    fn select(self, mask: v128, a: v128, b: v128) -> v128 {
        v128_bitselect(a, b, mask)
    }

    #[inline(always)]
    fn mask_to_bits(self, mask: v128) -> u16 {
        i32x4_bitmask(mask).into()
    }

    #[inline(always)]
    fn mask_from_bits(self, bits: u16) -> v128 {
        let lanes = i32x4(1, 2, 4, 8);
        i32x4_eq(v128_and(i32x4_splat(bits.into()), lanes), lanes)
    }

    #[inline(always)]
    fn sum(self, v: v128) -> f32 {
        let two = f32x4_add(v, i32x4_shuffle::<2, 3, 0, 1>(v, v));
        f32x4_extract_lane::<0>(two) + f32x4_extract_lane::<1>(two)
    }

    #[inline(always)]
    fn max_lane(self, v: v128) -> f32 {
        let two = f32x4_pmax(v, i32x4_shuffle::<2, 3, 0, 1>(v, v));
        f32::max(f32x4_extract_lane::<0>(two), f32x4_extract_lane::<1>(two))
    }

    #[inline(always)]
    fn splat_u16(self, value: u16) -> v128 {
        u16x8_splat(value)
    }

    #[inline(always)]
    fn load_u16(self, from: &[u16]) -> v128 {
        let from: &[u16; WORDS] = from.first_chunk().expect("a whole vector");
        // SAFETY: the reference spans WORDS numbers; any alignment will do.
        unsafe { v128_load(from.as_ptr().cast()) }
    }

    #[inline(always)]
    fn store_u16(self, v: v128, to: &mut [u16]) {
        let to: &mut [u16; WORDS] = to.first_chunk_mut().expect("place for a whole vector");
        // SAFETY: the reference spans WORDS numbers; any alignment will do.
        unsafe { v128_store(to.as_mut_ptr().cast(), v) }
    }

    #[inline(always)]
    fn add_u16(self, a: v128, b: v128) -> v128 {
        u16x8_add(a, b)
    }

    #[inline(always)]
    fn blend_u16(self, mask: v128, a: v128, b: v128) -> v128 {
        v128_bitselect(a, b, mask)
    }

    #[inline(always)]
    fn load_pairs(self, from: &[u8]) -> v128 {
        let from: &[u8; BYTES] = from.first_chunk().expect("a whole vector");
        // SAFETY: the reference spans BYTES bytes; any alignment will do.
        unsafe { v128_load(from.as_ptr().cast()) }
    }

    #[inline(always)]
    fn store_bytes(self, pairs: v128, to: &mut [u8]) {
        let to: &mut [u8; BYTES] = to.first_chunk_mut().expect("place for a whole vector");
        // SAFETY: the reference spans BYTES bytes; any alignment will do.
        unsafe { v128_store(to.as_mut_ptr().cast(), pairs) }
    }

    #[inline(always)]
    fn odd_bytes(self, pairs: v128) -> v128 {
        u16x8_shr(pairs, 8)
    }

    #[inline(always)]
    fn even_bytes(self, pairs: v128, odd: v128) -> v128 {
        u16x8_sub(pairs, u16x8_shl(odd, 8))
    }

    #[inline(always)]
    fn store_even(self, pairs: v128, to: &mut [u8]) {
        let mut words = [0; WORDS];
        self.store_u16(pairs, &mut words);
        to.iter_mut().zip(words).for_each(|(place, word)| *place = word as u8);
    }

    #[inline(always)]
    fn times_128(self, a: v128) -> v128 {
        u16x8_shl(a, 7)
    }

    #[inline(always)]
    fn splat_words(self, [first, second]: [i16; 2]) -> v128 {
        i16x8(first, second, first, second, first, second, first, second)
    }

    #[inline(always)]
    fn pair_words(self, first: v128, second: v128) -> [v128; 2] {
        [
            i16x8_shuffle::<0, 8, 1, 9, 2, 10, 3, 11>(first, second),
            i16x8_shuffle::<4, 12, 5, 13, 6, 14, 7, 15>(first, second),
        ]
    }

    #[inline(always)]
    fn add_products(self, sums: v128, words: v128, factors: v128) -> v128 {
        i32x4_add(sums, i32x4_dot_i16x8(words, factors))
    }

    #[inline(always)]
    fn splat_i32(self, value: i32) -> v128 {
        i32x4_splat(value)
    }

    #[inline(always)]
    fn load_i32(self, from: &[i32]) -> v128 {
        let from: &[i32; LANES] = from.first_chunk().expect("a whole vector");
        // SAFETY: the reference spans LANES numbers; any alignment will do.
        unsafe { v128_load(from.as_ptr().cast()) }
    }

    #[inline(always)]
    fn store_i32(self, v: v128, to: &mut [i32]) {
        let to: &mut [i32; LANES] = to.first_chunk_mut().expect("place for a whole vector");
        // SAFETY: the reference spans LANES numbers; any alignment will do.
        unsafe { v128_store(to.as_mut_ptr().cast(), v) }
    }

    #[inline(always)]
    fn add_i32(self, a: v128, b: v128) -> v128 {
        i32x4_add(a, b)
    }

    #[inline(always)]
    fn shift_right(self, a: v128, bits: u32) -> v128 {
        i32x4_shr(a, bits)
    }

    #[inline(always)]
    fn pack_bytes(self, even: [v128; 2], odd: [v128; 2]) -> v128 {
        let [even, odd] = [even, odd].map(
            #[inline(always)]
            |[low, high]| i16x8_narrow_i32x4(low, high),
        );
        let bytes = u8x16_narrow_i16x8(even, odd);
        i8x16_shuffle::<0, 8, 1, 9, 2, 10, 3, 11, 4, 12, 5, 13, 6, 14, 7, 15>(bytes, bytes)
    }

    #[inline(always)]
    fn clamp_bytes(self, pairs: v128, first: u8, last: u8) -> v128 {
        u8x16_min(u8x16_max(pairs, u8x16_splat(first)), u8x16_splat(last))
    }
}
