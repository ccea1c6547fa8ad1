//! Advanced SIMD of AArch64 (NEON): four lanes.

use super::{Operation, sealed::Sealed, simd::Simd};
use std::arch::{aarch64::*, is_aarch64_feature_detected};

/// Token for NEON.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Neon(());

impl Neon {
    /// A token, if the CPU has the instructions.
    pub fn new() -> Option<Self> {
        is_aarch64_feature_detected!("neon").then_some(Neon(()))
    }

    /// Runs an operation with these instructions.
    #[inline]
    pub fn run<O: Operation>(self, operation: O) -> O::Output {
        #[inline(never)]
        #[target_feature(enable = "neon")]
        fn run<O: Operation>(simd: Neon, operation: O) -> O::Output {
            operation.eval(simd)
        }
        // SAFETY: the token proves that the CPU has the instructions.
        unsafe { run(self, operation) }
    }
}

const LANES: usize = 4;

/// Lanes of whole numbers.
const WORDS: usize = 2 * LANES;

/// Bytes of a vector.
const BYTES: usize = 4 * LANES;

/// Calls intrinsics that touch registers only.
macro_rules! registers {
    ($call:expr) => {{
        // SAFETY: the token `self` proves that the CPU has NEON.
        unsafe { $call }
    }};
}

impl Neon {
    /// Bit `i` in lane `i`.
    #[inline(always)]
    fn lane_bits(self) -> uint32x4_t {
        const BITS: [u32; LANES] = [1, 2, 4, 8];
        // SAFETY: the array spans LANES values; the token proves NEON.
        unsafe { vld1q_u32(BITS.as_ptr()) }
    }
}

impl Sealed for Neon {}

impl Simd for Neon {
    const LANES: usize = LANES;
    const REGISTERS: usize = 32;

    type F32 = float32x4_t;
    type U16 = uint16x8_t;
    type I32 = int32x4_t;
    type Mask = uint32x4_t;

    fn name(self) -> &'static str {
        "neon"
    }

    #[inline(always)]
    fn outline<O: Operation>(self, operation: O) -> O::Output {
        self.run(operation)
    }

    #[inline(always)]
    fn splat(self, value: f32) -> float32x4_t {
        registers!(vdupq_n_f32(value))
    }

    #[inline(always)]
    fn load(self, from: &[f32]) -> float32x4_t {
        let from: &[f32; LANES] = from.first_chunk().expect("a whole vector");
        // SAFETY: the reference spans LANES values; the token proves NEON.
        unsafe { vld1q_f32(from.as_ptr()) }
    }

    #[inline(always)]
    fn load_partial(self, from: &[f32]) -> float32x4_t {
        let mut lanes = [0.0; LANES];
        lanes.iter_mut().zip(from).for_each(|(lane, value)| *lane = *value);
        self.load(&lanes)
    }

    #[inline(always)]
    fn prefetch(self, _: &[f32]) {}

    #[inline(always)]
    fn store(self, v: float32x4_t, to: &mut [f32]) {
        let to: &mut [f32; LANES] = to.first_chunk_mut().expect("place for a whole vector");
        // SAFETY: the reference spans LANES values; the token proves NEON.
        unsafe { vst1q_f32(to.as_mut_ptr(), v) }
    }

    #[inline(always)]
    fn store_partial(self, v: float32x4_t, to: &mut [f32]) {
        let mut lanes = [0.0; LANES];
        self.store(v, &mut lanes);
        to.iter_mut().zip(lanes).for_each(|(place, lane)| *place = lane);
    }

    #[inline(always)]
    fn interleave(self, even: float32x4_t, odd: float32x4_t) -> [float32x4_t; 2] {
        [registers!(vzip1q_f32(even, odd)), registers!(vzip2q_f32(even, odd))]
    }

    #[inline(always)]
    fn deinterleave(self, low: float32x4_t, high: float32x4_t) -> [float32x4_t; 2] {
        [registers!(vuzp1q_f32(low, high)), registers!(vuzp2q_f32(low, high))]
    }

    #[inline(always)]
    fn shift_up(self, v: float32x4_t) -> float32x4_t {
        registers!(vextq_f32::<3>(self.splat(0.0), v))
    }

    #[inline(always)]
    fn shift_down(self, v: float32x4_t) -> float32x4_t {
        registers!(vextq_f32::<1>(v, self.splat(0.0)))
    }

    #[inline(always)]
    fn add(self, a: float32x4_t, b: float32x4_t) -> float32x4_t {
        registers!(vaddq_f32(a, b))
    }

    #[inline(always)]
    fn sub(self, a: float32x4_t, b: float32x4_t) -> float32x4_t {
        registers!(vsubq_f32(a, b))
    }

    #[inline(always)]
    fn mul(self, a: float32x4_t, b: float32x4_t) -> float32x4_t {
        registers!(vmulq_f32(a, b))
    }

    #[inline(always)]
    fn div(self, a: float32x4_t, b: float32x4_t) -> float32x4_t {
        registers!(vdivq_f32(a, b))
    }

    #[inline(always)]
    fn sqrt(self, a: float32x4_t) -> float32x4_t {
        registers!(vsqrtq_f32(a))
    }

    #[inline(always)]
    fn fma(self, a: float32x4_t, b: float32x4_t, c: float32x4_t) -> float32x4_t {
        registers!(vfmaq_f32(c, a, b))
    }

    #[inline(always)]
    fn max(self, a: float32x4_t, b: float32x4_t) -> float32x4_t {
        self.select(self.gt(a, b), a, b)
    }

    #[inline(always)]
    fn min(self, a: float32x4_t, b: float32x4_t) -> float32x4_t {
        self.select(self.gt(b, a), a, b)
    }

    #[inline(always)]
    fn round(self, a: float32x4_t) -> float32x4_t {
        registers!(vrndnq_f32(a))
    }

    #[inline(always)]
    fn pow2(self, a: float32x4_t) -> float32x4_t {
        let exponent = registers!(vaddq_s32(vcvtq_s32_f32(a), vdupq_n_s32(127)));
        registers!(vreinterpretq_f32_s32(vshlq_n_s32::<23>(exponent)))
    }

    #[inline(always)]
    fn gt(self, a: float32x4_t, b: float32x4_t) -> uint32x4_t {
        registers!(vcgtq_f32(a, b))
    }

    #[inline(always)]
    fn ge(self, a: float32x4_t, b: float32x4_t) -> uint32x4_t {
        registers!(vcgeq_f32(a, b))
    }

    #[inline(always)]
    fn select(self, mask: uint32x4_t, a: float32x4_t, b: float32x4_t) -> float32x4_t {
        registers!(vbslq_f32(mask, a, b))
    }

    #[inline(always)]
    fn mask_to_bits(self, mask: uint32x4_t) -> u16 {
        registers!(vaddvq_u32(vandq_u32(mask, self.lane_bits()))) as u16
    }

    #[inline(always)]
    fn mask_from_bits(self, bits: u16) -> uint32x4_t {
        registers!(vtstq_u32(vdupq_n_u32(bits.into()), self.lane_bits()))
    }

    #[inline(always)]
    fn sum(self, v: float32x4_t) -> f32 {
        registers!(vaddvq_f32(v))
    }

    #[inline(always)]
    fn max_lane(self, v: float32x4_t) -> f32 {
        registers!(vmaxvq_f32(v))
    }

    #[inline(always)]
    fn splat_u16(self, value: u16) -> uint16x8_t {
        registers!(vdupq_n_u16(value))
    }

    #[inline(always)]
    fn load_u16(self, from: &[u16]) -> uint16x8_t {
        let from: &[u16; WORDS] = from.first_chunk().expect("a whole vector");
        // SAFETY: the reference spans WORDS numbers; the token proves NEON.
        unsafe { vld1q_u16(from.as_ptr()) }
    }

    #[inline(always)]
    fn store_u16(self, v: uint16x8_t, to: &mut [u16]) {
        let to: &mut [u16; WORDS] = to.first_chunk_mut().expect("place for a whole vector");
        // SAFETY: the reference spans WORDS numbers; the token proves NEON.
        unsafe { vst1q_u16(to.as_mut_ptr(), v) }
    }

    #[inline(always)]
    fn add_u16(self, a: uint16x8_t, b: uint16x8_t) -> uint16x8_t {
        registers!(vaddq_u16(a, b))
    }

    #[inline(always)]
    fn blend_u16(self, mask: uint16x8_t, a: uint16x8_t, b: uint16x8_t) -> uint16x8_t {
        registers!(vbslq_u16(mask, a, b))
    }

    #[inline(always)]
    fn load_pairs(self, from: &[u8]) -> uint16x8_t {
        let from: &[u8; BYTES] = from.first_chunk().expect("a whole vector");
        // SAFETY: the reference spans BYTES bytes; the token proves NEON.
        unsafe { vreinterpretq_u16_u8(vld1q_u8(from.as_ptr())) }
    }

    #[inline(always)]
    fn store_bytes(self, pairs: uint16x8_t, to: &mut [u8]) {
        let to: &mut [u8; BYTES] = to.first_chunk_mut().expect("place for a whole vector");
        // SAFETY: the reference spans BYTES bytes; the token proves NEON.
        unsafe { vst1q_u8(to.as_mut_ptr(), vreinterpretq_u8_u16(pairs)) }
    }

    #[inline(always)]
    fn odd_bytes(self, pairs: uint16x8_t) -> uint16x8_t {
        registers!(vshrq_n_u16::<8>(pairs))
    }

    #[inline(always)]
    fn even_bytes(self, pairs: uint16x8_t, odd: uint16x8_t) -> uint16x8_t {
        registers!(vsubq_u16(pairs, vshlq_n_u16::<8>(odd)))
    }

    #[inline(always)]
    fn store_even(self, pairs: uint16x8_t, to: &mut [u8]) {
        let mut bytes = [0; WORDS];
        // SAFETY: the array spans WORDS bytes; the token proves NEON.
        unsafe { vst1_u8(bytes.as_mut_ptr(), vmovn_u16(pairs)) };
        let count = to.len().min(WORDS);
        to[..count].copy_from_slice(&bytes[..count]);
    }

    #[inline(always)]
    fn times_128(self, a: uint16x8_t) -> uint16x8_t {
        registers!(vshlq_n_u16::<7>(a))
    }

    #[inline(always)]
    fn splat_words(self, [first, second]: [i16; 2]) -> uint16x8_t {
        let pair = u32::from(second as u16) << 16 | u32::from(first as u16);
        registers!(vreinterpretq_u16_u32(vdupq_n_u32(pair)))
    }

    #[inline(always)]
    fn pair_words(self, first: uint16x8_t, second: uint16x8_t) -> [uint16x8_t; 2] {
        [registers!(vzip1q_u16(first, second)), registers!(vzip2q_u16(first, second))]
    }

    #[inline(always)]
    fn add_products(self, sums: int32x4_t, words: uint16x8_t, factors: uint16x8_t) -> int32x4_t {
        let (words, factors) =
            registers!((vreinterpretq_s16_u16(words), vreinterpretq_s16_u16(factors)));
        let low = registers!(vmull_s16(vget_low_s16(words), vget_low_s16(factors)));
        let high = registers!(vmull_high_s16(words, factors));
        registers!(vaddq_s32(sums, vpaddq_s32(low, high)))
    }

    #[inline(always)]
    fn splat_i32(self, value: i32) -> int32x4_t {
        registers!(vdupq_n_s32(value))
    }

    #[inline(always)]
    fn load_i32(self, from: &[i32]) -> int32x4_t {
        let from: &[i32; LANES] = from.first_chunk().expect("a whole vector");
        // SAFETY: the reference spans LANES numbers; the token proves NEON.
        unsafe { vld1q_s32(from.as_ptr()) }
    }

    #[inline(always)]
    fn store_i32(self, v: int32x4_t, to: &mut [i32]) {
        let to: &mut [i32; LANES] = to.first_chunk_mut().expect("place for a whole vector");
        // SAFETY: the reference spans LANES numbers; the token proves NEON.
        unsafe { vst1q_s32(to.as_mut_ptr(), v) }
    }

    #[inline(always)]
    fn add_i32(self, a: int32x4_t, b: int32x4_t) -> int32x4_t {
        registers!(vaddq_s32(a, b))
    }

    #[inline(always)]
    fn shift_right(self, a: int32x4_t, bits: u32) -> int32x4_t {
        registers!(vshlq_s32(a, vdupq_n_s32(-(bits as i32))))
    }

    #[inline(always)]
    fn pack_bytes(self, even: [int32x4_t; 2], odd: [int32x4_t; 2]) -> uint16x8_t {
        let [even, odd] = [even, odd].map(
            #[inline(always)]
            |[low, high]| registers!(vqmovun_s16(vcombine_s16(vqmovn_s32(low), vqmovn_s32(high)))),
        );
        let bytes = registers!(vcombine_u8(vzip1_u8(even, odd), vzip2_u8(even, odd)));
        registers!(vreinterpretq_u16_u8(bytes))
    }

    #[inline(always)]
    fn clamp_bytes(self, pairs: uint16x8_t, first: u8, last: u8) -> uint16x8_t {
        let bytes = registers!(vmaxq_u8(vreinterpretq_u8_u16(pairs), vdupq_n_u8(first)));
        registers!(vreinterpretq_u16_u8(vminq_u8(bytes, vdupq_n_u8(last))))
    }
}
