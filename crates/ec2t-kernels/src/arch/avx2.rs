//! AVX2 with FMA: eight lanes.

use super::{Operation, sealed::Sealed, simd::Simd};
use std::arch::x86_64::*;

/// Token for AVX2 and FMA.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Avx2(());

impl Avx2 {
    /// A token, if the CPU has the instructions.
    pub fn new() -> Option<Self> {
        let present = is_x86_feature_detected!("avx2") && is_x86_feature_detected!("fma");
        present.then_some(Avx2(()))
    }

    /// Runs an operation with these instructions.
    #[inline]
    pub fn run<O: Operation>(self, operation: O) -> O::Output {
        #[inline(never)]
        #[target_feature(enable = "avx2,fma")]
        fn run<O: Operation>(simd: Avx2, operation: O) -> O::Output {
            operation.eval(simd)
        }
        // SAFETY: the token proves that the CPU has the instructions.
        unsafe { run(self, operation) }
    }
}

const LANES: usize = 8;

/// Lanes of whole numbers.
const WORDS: usize = 2 * LANES;

/// Bytes of a vector.
const BYTES: usize = 4 * LANES;

/// Calls intrinsics that touch registers only.
macro_rules! registers {
    ($call:expr) => {{
        // SAFETY: the token `self` proves that the CPU has AVX2 and FMA.
        unsafe { $call }
    }};
}

/// Lanes set below `count`, at most [`LANES`].
#[inline(always)]
fn first_lanes(simd: Avx2, count: usize) -> __m256i {
    let count = simd.splat_i32(count.min(LANES) as i32);
    registers!(_mm256_cmpgt_epi32(count, _mm256_setr_epi32(0, 1, 2, 3, 4, 5, 6, 7)))
}

impl Avx2 {
    /// The lower and the upper four lanes.
    #[inline(always)]
    fn halves(self, v: __m256) -> (__m128, __m128) {
        registers!((_mm256_castps256_ps128(v), _mm256_extractf128_ps::<1>(v)))
    }
}

impl Sealed for Avx2 {}

impl Simd for Avx2 {
    const LANES: usize = LANES;
    const REGISTERS: usize = 16;

    type F32 = __m256;
    type U16 = __m256i;
    type I32 = __m256i;
    type Mask = __m256;

    fn name(self) -> &'static str {
        "avx2"
    }

    #[inline(always)]
    fn outline<O: Operation>(self, operation: O) -> O::Output {
        self.run(operation)
    }

    #[inline(always)]
    fn splat(self, value: f32) -> __m256 {
        registers!(_mm256_set1_ps(value))
    }

    #[inline(always)]
    fn load(self, from: &[f32]) -> __m256 {
        let from: &[f32; LANES] = from.first_chunk().expect("a whole vector");
        // SAFETY: the reference spans LANES values; the token proves AVX2.
        unsafe { _mm256_loadu_ps(from.as_ptr()) }
    }

    #[inline(always)]
    fn load_partial(self, from: &[f32]) -> __m256 {
        let lanes = first_lanes(self, from.len());
        // SAFETY: only lanes below the slice's length are read; the token proves AVX2.
        unsafe { _mm256_maskload_ps(from.as_ptr(), lanes) }
    }

    #[inline(always)]
    fn prefetch(self, values: &[f32]) {
        // SAFETY: a prefetch may name any address; SSE is part of x86-64.
        unsafe { _mm_prefetch::<_MM_HINT_T0>(values.as_ptr().cast()) }
    }

    #[inline(always)]
    fn store(self, v: __m256, to: &mut [f32]) {
        let to: &mut [f32; LANES] = to.first_chunk_mut().expect("place for a whole vector");
        // SAFETY: the reference spans LANES values; the token proves AVX2.
        unsafe { _mm256_storeu_ps(to.as_mut_ptr(), v) }
    }

    #[inline(always)]
    fn store_partial(self, v: __m256, to: &mut [f32]) {
        if to.len() >= LANES {
            return self.store(v, to);
        }
        // In pieces of 4, 2 and 1: masked stores are microcode on some CPUs.
        let mut rest = registers!(_mm256_castps256_ps128(v));
        let (fours, to) = to.as_chunks_mut::<4>();
        if let [four] = fours {
            // SAFETY: the reference spans four values; SSE is part of x86-64.
            unsafe { _mm_storeu_ps(four.as_mut_ptr(), rest) }
            rest = registers!(_mm256_extractf128_ps::<1>(v));
        }
        let (twos, to) = to.as_chunks_mut::<2>();
        if let [two] = twos {
            // SAFETY: the reference spans two values, which need no alignment here; SSE2
            // is part of x86-64.
            unsafe { _mm_storel_epi64(two.as_mut_ptr().cast(), _mm_castps_si128(rest)) }
            rest = registers!(_mm_movehl_ps(rest, rest));
        }
        if let [one] = to {
            *one = registers!(_mm_cvtss_f32(rest));
        }
    }

    #[inline(always)]
    fn interleave(self, even: __m256, odd: __m256) -> [__m256; 2] {
        // Of each half of 128 bits.
        let low = registers!(_mm256_unpacklo_ps(even, odd));
        let high = registers!(_mm256_unpackhi_ps(even, odd));
        [
            registers!(_mm256_permute2f128_ps::<0x20>(low, high)),
            registers!(_mm256_permute2f128_ps::<0x31>(low, high)),
        ]
    }

    #[inline(always)]
    fn deinterleave(self, low: __m256, high: __m256) -> [__m256; 2] {
        // Of each half of 128 bits, two values of both; then the middle ones change places.
        let even = registers!(_mm256_shuffle_ps::<0b10_00_10_00>(low, high));
        let odd = registers!(_mm256_shuffle_ps::<0b11_01_11_01>(low, high));
        [even, odd].map(
            #[inline(always)]
            |v| {
                let pairs = registers!(_mm256_castps_pd(v));
                registers!(_mm256_castpd_ps(_mm256_permute4x64_pd::<0b11_01_10_00>(pairs)))
            },
        )
    }

    #[inline(always)]
    fn shift_up(self, v: __m256) -> __m256 {
        let lanes = registers!(_mm256_setr_epi32(0, 0, 1, 2, 3, 4, 5, 6));
        let zero = self.splat(0.0);
        registers!(_mm256_blend_ps::<0b0000_0001>(_mm256_permutevar8x32_ps(v, lanes), zero))
    }

    #[inline(always)]
    fn shift_down(self, v: __m256) -> __m256 {
        let lanes = registers!(_mm256_setr_epi32(1, 2, 3, 4, 5, 6, 7, 7));
        let zero = self.splat(0.0);
        registers!(_mm256_blend_ps::<0b1000_0000>(_mm256_permutevar8x32_ps(v, lanes), zero))
    }

    #[inline(always)]
    fn add(self, a: __m256, b: __m256) -> __m256 {
        registers!(_mm256_add_ps(a, b))
    }

    #[inline(always)]
    fn sub(self, a: __m256, b: __m256) -> __m256 {
        registers!(_mm256_sub_ps(a, b))
    }

    #[inline(always)]
    fn mul(self, a: __m256, b: __m256) -> __m256 {
        registers!(_mm256_mul_ps(a, b))
    }

    #[inline(always)]
    fn div(self, a: __m256, b: __m256) -> __m256 {
        registers!(_mm256_div_ps(a, b))
    }

    #[inline(always)]
    fn sqrt(self, a: __m256) -> __m256 {
        registers!(_mm256_sqrt_ps(a))
    }

    #[inline(always)]
    fn fma(self, a: __m256, b: __m256, c: __m256) -> __m256 {
        registers!(_mm256_fmadd_ps(a, b, c))
    }

    #[inline(always)]
    fn max(self, a: __m256, b: __m256) -> __m256 {
        registers!(_mm256_max_ps(a, b))
    }

    #[inline(always)]
    fn min(self, a: __m256, b: __m256) -> __m256 {
        registers!(_mm256_min_ps(a, b))
    }

    #[inline(always)]
    fn round(self, a: __m256) -> __m256 {
        registers!(_mm256_round_ps::<{ _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC }>(a))
    }

    #[inline(always)]
    fn pow2(self, a: __m256) -> __m256 {
        let exponent = registers!(_mm256_add_epi32(_mm256_cvtps_epi32(a), self.splat_i32(127)));
        registers!(_mm256_castsi256_ps(_mm256_slli_epi32::<23>(exponent)))
    }

    #[inline(always)]
    fn gt(self, a: __m256, b: __m256) -> __m256 {
        registers!(_mm256_cmp_ps::<_CMP_GT_OQ>(a, b))
    }

    #[inline(always)]
    fn ge(self, a: __m256, b: __m256) -> __m256 {
        registers!(_mm256_cmp_ps::<_CMP_GE_OQ>(a, b))
    }

    #[inline(always)]
    fn select(self, mask: __m256, a: __m256, b: __m256) -> __m256 {
        registers!(_mm256_blendv_ps(b, a, mask))
    }

    #[inline(always)]
    fn mask_to_bits(self, mask: __m256) -> u16 {
        registers!(_mm256_movemask_ps(mask)) as u16
    }

    #[inline(always)]
    fn mask_from_bits(self, bits: u16) -> __m256 {
        let lane = registers!(_mm256_setr_epi32(1, 2, 4, 8, 16, 32, 64, 128));
        let bits = registers!(_mm256_and_si256(self.splat_i32(bits.into()), lane));
        registers!(_mm256_castsi256_ps(_mm256_cmpeq_epi32(bits, lane)))
    }

    #[inline(always)]
    fn sum(self, v: __m256) -> f32 {
        let (low, high) = self.halves(v);
        let four = registers!(_mm_add_ps(low, high));
        let two = registers!(_mm_add_ps(four, _mm_movehl_ps(four, four)));
        registers!(_mm_cvtss_f32(_mm_add_ss(two, _mm_movehdup_ps(two))))
    }

    #[inline(always)]
    fn max_lane(self, v: __m256) -> f32 {
        let (low, high) = self.halves(v);
        let four = registers!(_mm_max_ps(low, high));
        let two = registers!(_mm_max_ps(four, _mm_movehl_ps(four, four)));
        registers!(_mm_cvtss_f32(_mm_max_ss(two, _mm_movehdup_ps(two))))
    }

    #[inline(always)]
    fn splat_u16(self, value: u16) -> __m256i {
        registers!(_mm256_set1_epi16(value as i16))
    }

    #[inline(always)]
    fn load_u16(self, from: &[u16]) -> __m256i {
        let from: &[u16; WORDS] = from.first_chunk().expect("a whole vector");
        // SAFETY: the reference spans WORDS numbers; the token proves AVX2.
        unsafe { _mm256_loadu_si256(from.as_ptr().cast()) }
    }

    #[inline(always)]
    fn store_u16(self, v: __m256i, to: &mut [u16]) {
        let to: &mut [u16; WORDS] = to.first_chunk_mut().expect("place for a whole vector");
        // SAFETY: the reference spans WORDS numbers; the token proves AVX2.
        unsafe { _mm256_storeu_si256(to.as_mut_ptr().cast(), v) }
    }

    #[inline(always)]
    fn add_u16(self, a: __m256i, b: __m256i) -> __m256i {
        registers!(_mm256_add_epi16(a, b))
    }

    #[inline(always)]
    fn blend_u16(self, mask: __m256i, a: __m256i, b: __m256i) -> __m256i {
        registers!(_mm256_or_si256(_mm256_and_si256(mask, a), _mm256_andnot_si256(mask, b)))
    }

    #[inline(always)]
    fn load_pairs(self, from: &[u8]) -> __m256i {
        let from: &[u8; BYTES] = from.first_chunk().expect("a whole vector");
        // SAFETY: the reference spans BYTES bytes; the token proves AVX2.
        unsafe { _mm256_loadu_si256(from.as_ptr().cast()) }
    }

    #[inline(always)]
    fn store_bytes(self, pairs: __m256i, to: &mut [u8]) {
        let to: &mut [u8; BYTES] = to.first_chunk_mut().expect("place for a whole vector");
        // SAFETY: the reference spans BYTES bytes; the token proves AVX2.
        unsafe { _mm256_storeu_si256(to.as_mut_ptr().cast(), pairs) }
    }

    #[inline(always)]
    fn odd_bytes(self, pairs: __m256i) -> __m256i {
        registers!(_mm256_srli_epi16::<8>(pairs))
    }

    #[inline(always)]
    fn even_bytes(self, pairs: __m256i, odd: __m256i) -> __m256i {
        registers!(_mm256_sub_epi16(pairs, _mm256_slli_epi16::<8>(odd)))
    }

    #[inline(always)]
    fn store_even(self, pairs: __m256i, to: &mut [u8]) {
        let even = registers!(_mm256_and_si256(pairs, self.splat_u16(255)));
        let (low, high) =
            registers!((_mm256_castsi256_si128(even), _mm256_extracti128_si256::<1>(even)));
        let store = |to: &mut [u8; WORDS]| {
            // SAFETY: the reference spans WORDS bytes; SSE2 is part of x86-64.
            unsafe { _mm_storeu_si128(to.as_mut_ptr().cast(), _mm_packus_epi16(low, high)) }
        };
        match to.first_chunk_mut() {
            Some(to) => store(to),
            None => {
                let mut bytes = [0; WORDS];
                store(&mut bytes);
                to.copy_from_slice(&bytes[..to.len()]);
            }
        }
    }

    #[inline(always)]
    fn times_128(self, a: __m256i) -> __m256i {
        registers!(_mm256_slli_epi16::<7>(a))
    }

    #[inline(always)]
    fn splat_words(self, [first, second]: [i16; 2]) -> __m256i {
        self.splat_i32(i32::from(second) << 16 | i32::from(first as u16))
    }

    #[inline(always)]
    fn pair_words(self, first: __m256i, second: __m256i) -> [__m256i; 2] {
        // Of each half of 128 bits.
        [
            registers!(_mm256_unpacklo_epi16(first, second)),
            registers!(_mm256_unpackhi_epi16(first, second)),
        ]
    }

    #[inline(always)]
    fn add_products(self, sums: __m256i, words: __m256i, factors: __m256i) -> __m256i {
        registers!(_mm256_add_epi32(sums, _mm256_madd_epi16(words, factors)))
    }

    #[inline(always)]
    fn splat_i32(self, value: i32) -> __m256i {
        registers!(_mm256_set1_epi32(value))
    }

    #[inline(always)]
    fn load_i32(self, from: &[i32]) -> __m256i {
        let from: &[i32; LANES] = from.first_chunk().expect("a whole vector");
        // SAFETY: the reference spans LANES numbers; the token proves AVX2.
        unsafe { _mm256_loadu_si256(from.as_ptr().cast()) }
    }

    #[inline(always)]
    fn store_i32(self, v: __m256i, to: &mut [i32]) {
        let to: &mut [i32; LANES] = to.first_chunk_mut().expect("place for a whole vector");
        // SAFETY: the reference spans LANES numbers; the token proves AVX2.
        unsafe { _mm256_storeu_si256(to.as_mut_ptr().cast(), v) }
    }

    #[inline(always)]
    fn add_i32(self, a: __m256i, b: __m256i) -> __m256i {
        registers!(_mm256_add_epi32(a, b))
    }

    #[inline(always)]
    fn shift_right(self, a: __m256i, bits: u32) -> __m256i {
        registers!(_mm256_sra_epi32(a, _mm_cvtsi32_si128(bits as i32)))
    }

    #[inline(always)]
    fn pack_bytes(self, even: [__m256i; 2], odd: [__m256i; 2]) -> __m256i {
        let [even, odd] = [even, odd].map(
            #[inline(always)]
            |[low, high]| registers!(_mm256_packs_epi32(low, high)),
        );
        // Eight even and eight odd ones in each half, then in turn.
        let bytes = registers!(_mm256_packus_epi16(even, odd));
        let turns = registers!(_mm_setr_epi8(0, 8, 1, 9, 2, 10, 3, 11, 4, 12, 5, 13, 6, 14, 7, 15));
        registers!(_mm256_shuffle_epi8(bytes, _mm256_broadcastsi128_si256(turns)))
    }

    #[inline(always)]
    fn clamp_bytes(self, pairs: __m256i, first: u8, last: u8) -> __m256i {
        let [first, last] = [first, last].map(
            #[inline(always)]
            |byte| registers!(_mm256_set1_epi8(byte as i8)),
        );
        registers!(_mm256_min_epu8(_mm256_max_epu8(pairs, first), last))
    }
}
