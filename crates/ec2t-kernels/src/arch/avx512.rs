//! AVX-512 (F, VL, DQ, BW): sixteen lanes.

use super::{Operation, sealed::Sealed, simd::Simd};
use std::arch::x86_64::*;

/// Token for AVX-512 F, VL, DQ and BW.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Avx512(());

impl Avx512 {
    /// A token, if the CPU has the instructions.
    pub fn new() -> Option<Self> {
        let present = is_x86_feature_detected!("avx512f")
            && is_x86_feature_detected!("avx512vl")
            && is_x86_feature_detected!("avx512dq")
            && is_x86_feature_detected!("avx512bw")
            && is_x86_feature_detected!("fma");
        present.then_some(Avx512(()))
    }

    /// Runs an operation with these instructions.
    #[inline]
    pub fn run<O: Operation>(self, operation: O) -> O::Output {
        #[inline(never)]
        #[target_feature(enable = "avx512f,avx512vl,avx512dq,avx512bw,fma")]
        fn run<O: Operation>(simd: Avx512, operation: O) -> O::Output {
            operation.eval(simd)
        }
        // SAFETY: the token proves that the CPU has the instructions.
        unsafe { run(self, operation) }
    }
}

const LANES: usize = 16;

/// Lanes of whole numbers.
const WORDS: usize = 2 * LANES;

/// Bytes of a vector.
const BYTES: usize = 4 * LANES;

/// Calls intrinsics that touch registers only.
macro_rules! registers {
    ($call:expr) => {{
        // SAFETY: the token `self` proves that the CPU has AVX-512 F, VL, DQ and BW.
        unsafe { $call }
    }};
}

/// Lanes set below `count`, at most [`LANES`].
#[inline(always)]
fn first_lanes(count: usize) -> __mmask16 {
    ((1u32 << count.min(LANES)) - 1) as __mmask16
}

impl Sealed for Avx512 {}

impl Simd for Avx512 {
    const LANES: usize = LANES;
    const REGISTERS: usize = 32;

    type F32 = __m512;
    type U16 = __m512i;
    type I32 = __m512i;
    type Mask = __mmask16;

    fn name(self) -> &'static str {
        "avx512"
    }

    #[inline(always)]
    fn outline<O: Operation>(self, operation: O) -> O::Output {
        self.run(operation)
    }

    #[inline(always)]
    fn splat(self, value: f32) -> __m512 {
        registers!(_mm512_set1_ps(value))
    }

    #[inline(always)]
    fn load(self, from: &[f32]) -> __m512 {
        let from: &[f32; LANES] = from.first_chunk().expect("a whole vector");
        // SAFETY: the reference spans LANES values; the token proves AVX-512 F.
        unsafe { _mm512_loadu_ps(from.as_ptr()) }
    }

    #[inline(always)]
    fn load_partial(self, from: &[f32]) -> __m512 {
        // SAFETY: only lanes below the slice's length are read; the token proves AVX-512 F.
        unsafe { _mm512_maskz_loadu_ps(first_lanes(from.len()), from.as_ptr()) }
    }

    #[inline(always)]
    fn prefetch(self, values: &[f32]) {
        // SAFETY: a prefetch may name any address; SSE is part of x86-64.
        unsafe { _mm_prefetch::<_MM_HINT_T0>(values.as_ptr().cast()) }
    }

    #[inline(always)]
    fn store(self, v: __m512, to: &mut [f32]) {
        let to: &mut [f32; LANES] = to.first_chunk_mut().expect("place for a whole vector");
        // SAFETY: the reference spans LANES values; the token proves AVX-512 F.
        unsafe { _mm512_storeu_ps(to.as_mut_ptr(), v) }
    }

    #[inline(always)]
    fn store_partial(self, v: __m512, to: &mut [f32]) {
        // SAFETY: only lanes below the slice's length are written; the token proves AVX-512 F.
        unsafe { _mm512_mask_storeu_ps(to.as_mut_ptr(), first_lanes(to.len()), v) }
    }

    #[inline(always)]
    fn interleave(self, even: __m512, odd: __m512) -> [__m512; 2] {
        let low =
            registers!(_mm512_setr_epi32(0, 16, 1, 17, 2, 18, 3, 19, 4, 20, 5, 21, 6, 22, 7, 23));
        let high = registers!(_mm512_add_epi32(low, _mm512_set1_epi32(8)));
        [low, high].map(
            #[inline(always)]
            |lanes| registers!(_mm512_permutex2var_ps(even, lanes, odd)),
        )
    }

    #[inline(always)]
    fn deinterleave(self, low: __m512, high: __m512) -> [__m512; 2] {
        let even = registers!(_mm512_setr_epi32(
            0, 2, 4, 6, 8, 10, 12, 14, 16, 18, 20, 22, 24, 26, 28, 30
        ));
        let odd = registers!(_mm512_add_epi32(even, _mm512_set1_epi32(1)));
        [even, odd].map(
            #[inline(always)]
            |lanes| registers!(_mm512_permutex2var_ps(low, lanes, high)),
        )
    }

    #[inline(always)]
    fn shift_up(self, v: __m512) -> __m512 {
        let lanes = registers!(_mm512_castps_si512(v));
        registers!(_mm512_castsi512_ps(_mm512_alignr_epi32::<15>(lanes, _mm512_setzero_si512())))
    }

    #[inline(always)]
    fn shift_down(self, v: __m512) -> __m512 {
        let lanes = registers!(_mm512_castps_si512(v));
        registers!(_mm512_castsi512_ps(_mm512_alignr_epi32::<1>(_mm512_setzero_si512(), lanes)))
    }

    #[inline(always)]
    fn add(self, a: __m512, b: __m512) -> __m512 {
        registers!(_mm512_add_ps(a, b))
    }

    #[inline(always)]
    fn sub(self, a: __m512, b: __m512) -> __m512 {
        registers!(_mm512_sub_ps(a, b))
    }

    #[inline(always)]
    fn mul(self, a: __m512, b: __m512) -> __m512 {
        registers!(_mm512_mul_ps(a, b))
    }

    #[inline(always)]
    fn div(self, a: __m512, b: __m512) -> __m512 {
        registers!(_mm512_div_ps(a, b))
    }

    #[inline(always)]
    fn sqrt(self, a: __m512) -> __m512 {
        registers!(_mm512_sqrt_ps(a))
    }

    #[inline(always)]
    fn fma(self, a: __m512, b: __m512, c: __m512) -> __m512 {
        registers!(_mm512_fmadd_ps(a, b, c))
    }

    #[inline(always)]
    fn max(self, a: __m512, b: __m512) -> __m512 {
        registers!(_mm512_max_ps(a, b))
    }

    #[inline(always)]
    fn min(self, a: __m512, b: __m512) -> __m512 {
        registers!(_mm512_min_ps(a, b))
    }

    #[inline(always)]
    fn round(self, a: __m512) -> __m512 {
        registers!(_mm512_roundscale_ps::<{ _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC }>(a))
    }

    #[inline(always)]
    fn pow2(self, a: __m512) -> __m512 {
        let bias = registers!(_mm512_set1_epi32(127));
        let exponent = registers!(_mm512_add_epi32(_mm512_cvtps_epi32(a), bias));
        registers!(_mm512_castsi512_ps(_mm512_slli_epi32::<23>(exponent)))
    }

    #[inline(always)]
    fn gt(self, a: __m512, b: __m512) -> __mmask16 {
        registers!(_mm512_cmp_ps_mask::<_CMP_GT_OQ>(a, b))
    }

    #[inline(always)]
    fn ge(self, a: __m512, b: __m512) -> __mmask16 {
        registers!(_mm512_cmp_ps_mask::<_CMP_GE_OQ>(a, b))
    }

    #[inline(always)]
    fn select(self, mask: __mmask16, a: __m512, b: __m512) -> __m512 {
        registers!(_mm512_mask_blend_ps(mask, b, a))
    }

    #[inline(always)]
    fn mask_to_bits(self, mask: __mmask16) -> u16 {
        mask
    }

    #[inline(always)]
    fn mask_from_bits(self, bits: u16) -> __mmask16 {
        bits
    }

    #[inline(always)]
    fn sum(self, v: __m512) -> f32 {
        registers!(_mm512_reduce_add_ps(v))
    }

    #[inline(always)]
    fn max_lane(self, v: __m512) -> f32 {
        registers!(_mm512_reduce_max_ps(v))
    }

    #[inline(always)]
    fn splat_u16(self, value: u16) -> __m512i {
        registers!(_mm512_set1_epi16(value as i16))
    }

    #[inline(always)]
    fn load_u16(self, from: &[u16]) -> __m512i {
        let from: &[u16; WORDS] = from.first_chunk().expect("a whole vector");
        // SAFETY: the reference spans WORDS numbers; the token proves AVX-512 F.
        unsafe { _mm512_loadu_si512(from.as_ptr().cast()) }
    }

    #[inline(always)]
    fn store_u16(self, v: __m512i, to: &mut [u16]) {
        let to: &mut [u16; WORDS] = to.first_chunk_mut().expect("place for a whole vector");
        // SAFETY: the reference spans WORDS numbers; the token proves AVX-512 F.
        unsafe { _mm512_storeu_si512(to.as_mut_ptr().cast(), v) }
    }

    #[inline(always)]
    fn add_u16(self, a: __m512i, b: __m512i) -> __m512i {
        registers!(_mm512_add_epi16(a, b))
    }

    #[inline(always)]
    fn blend_u16(self, mask: __m512i, a: __m512i, b: __m512i) -> __m512i {
        // The table of `mask ? a : b`.
        registers!(_mm512_ternarylogic_epi32::<0xCA>(mask, a, b))
    }

    #[inline(always)]
    fn load_pairs(self, from: &[u8]) -> __m512i {
        let from: &[u8; BYTES] = from.first_chunk().expect("a whole vector");
        // SAFETY: the reference spans BYTES bytes; the token proves AVX-512 F.
        unsafe { _mm512_loadu_si512(from.as_ptr().cast()) }
    }

    #[inline(always)]
    fn store_bytes(self, pairs: __m512i, to: &mut [u8]) {
        let to: &mut [u8; BYTES] = to.first_chunk_mut().expect("place for a whole vector");
        // SAFETY: the reference spans BYTES bytes; the token proves AVX-512 F.
        unsafe { _mm512_storeu_si512(to.as_mut_ptr().cast(), pairs) }
    }

    #[inline(always)]
    fn odd_bytes(self, pairs: __m512i) -> __m512i {
        registers!(_mm512_srli_epi16::<8>(pairs))
    }

    #[inline(always)]
    fn even_bytes(self, pairs: __m512i, odd: __m512i) -> __m512i {
        registers!(_mm512_sub_epi16(pairs, _mm512_slli_epi16::<8>(odd)))
    }

    #[inline(always)]
    fn store_even(self, pairs: __m512i, to: &mut [u8]) {
        let bytes = registers!(_mm512_cvtepi16_epi8(pairs));
        if let Some(to) = to.first_chunk_mut::<WORDS>() {
            // SAFETY: the reference spans WORDS bytes; AVX is part of AVX-512.
            unsafe { _mm256_storeu_si256(to.as_mut_ptr().cast(), bytes) };
            return;
        }
        let lanes = ((1_u32 << to.len()) - 1) as __mmask32;
        // SAFETY: only bytes below the slice's length are written; the token proves AVX-512 BW
        // and VL.
        unsafe { _mm256_mask_storeu_epi8(to.as_mut_ptr().cast(), lanes, bytes) }
    }

    #[inline(always)]
    fn times_128(self, a: __m512i) -> __m512i {
        registers!(_mm512_slli_epi16::<7>(a))
    }

    #[inline(always)]
    fn splat_words(self, [first, second]: [i16; 2]) -> __m512i {
        self.splat_i32(i32::from(second) << 16 | i32::from(first as u16))
    }

    #[inline(always)]
    fn pair_words(self, first: __m512i, second: __m512i) -> [__m512i; 2] {
        // Of each quarter of 128 bits.
        [
            registers!(_mm512_unpacklo_epi16(first, second)),
            registers!(_mm512_unpackhi_epi16(first, second)),
        ]
    }

    #[inline(always)]
    fn add_products(self, sums: __m512i, words: __m512i, factors: __m512i) -> __m512i {
        registers!(_mm512_add_epi32(sums, _mm512_madd_epi16(words, factors)))
    }

    #[inline(always)]
    fn splat_i32(self, value: i32) -> __m512i {
        registers!(_mm512_set1_epi32(value))
    }

    #[inline(always)]
    fn load_i32(self, from: &[i32]) -> __m512i {
        let from: &[i32; LANES] = from.first_chunk().expect("a whole vector");
        // SAFETY: the reference spans LANES numbers; the token proves AVX-512 F.
        unsafe { _mm512_loadu_si512(from.as_ptr().cast()) }
    }

    #[inline(always)]
    fn store_i32(self, v: __m512i, to: &mut [i32]) {
        let to: &mut [i32; LANES] = to.first_chunk_mut().expect("place for a whole vector");
        // SAFETY: the reference spans LANES numbers; the token proves AVX-512 F.
        unsafe { _mm512_storeu_si512(to.as_mut_ptr().cast(), v) }
    }

    #[inline(always)]
    fn add_i32(self, a: __m512i, b: __m512i) -> __m512i {
        registers!(_mm512_add_epi32(a, b))
    }

    #[inline(always)]
    fn shift_right(self, a: __m512i, bits: u32) -> __m512i {
        registers!(_mm512_sra_epi32(a, _mm_cvtsi32_si128(bits as i32)))
    }

    #[inline(always)]
    fn pack_bytes(self, even: [__m512i; 2], odd: [__m512i; 2]) -> __m512i {
        let [even, odd] = [even, odd].map(
            #[inline(always)]
            |[low, high]| registers!(_mm512_packs_epi32(low, high)),
        );
        // Eight even and eight odd ones in each quarter, then in turn.
        let bytes = registers!(_mm512_packus_epi16(even, odd));
        let turns = registers!(_mm_setr_epi8(0, 8, 1, 9, 2, 10, 3, 11, 4, 12, 5, 13, 6, 14, 7, 15));
        registers!(_mm512_shuffle_epi8(bytes, _mm512_broadcast_i32x4(turns)))
    }

    #[inline(always)]
    fn clamp_bytes(self, pairs: __m512i, first: u8, last: u8) -> __m512i {
        let [first, last] = [first, last].map(
            #[inline(always)]
            |byte| registers!(_mm512_set1_epi8(byte as i8)),
        );
        registers!(_mm512_min_epu8(_mm512_max_epu8(pairs, first), last))
    }
}
