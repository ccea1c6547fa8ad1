//! What a set of vector instructions can do, seen from safe code.

use super::{Operation, strided};

/// Vectors of `f32`, of `u16` and of `i32`, and the operations on them.
///
/// A value of an implementing type is a token: it can be made only where the
/// CPU has the instructions, and so every operation is safe to call. The trait
/// is sealed.
///
/// All operations are `#[inline(always)]`. They become single instructions only
/// inside [`Operation::eval`](super::Operation::eval), called through
/// [`dispatch`](super::dispatch()), with everything between marked
/// `#[inline(always)]` as well.
pub trait Simd: Copy + Send + Sync + 'static + super::sealed::Sealed {
    /// Values in a vector.
    const LANES: usize;

    /// Vector registers that the instruction set names.
    const REGISTERS: usize;

    /// One vector.
    type F32: Copy + Send + Sync;

    /// One vector of `u16`: twice as many lanes, 2 · [`LANES`](Self::LANES).
    type U16: Copy + Send + Sync;

    /// One vector of `i32`, as many lanes as of `f32`.
    type I32: Copy;

    /// One truth value for each lane.
    type Mask: Copy;

    /// Short name of the instruction set.
    fn name(self) -> &'static str;

    /// Runs an operation with these instructions in a function of its own.
    ///
    /// Inner loops that fill all registers belong there: a compiler that sees many
    /// of them inlined into one function begins to keep sums in memory.
    fn outline<O: Operation>(self, operation: O) -> O::Output;

    /// The same value in all lanes.
    fn splat(self, value: f32) -> Self::F32;

    /// The first [`LANES`](Self::LANES) values.
    ///
    /// # Panics
    ///
    /// If there are fewer.
    fn load(self, from: &[f32]) -> Self::F32;

    /// As many values as there are, at most [`LANES`](Self::LANES); zero in the
    /// lanes beyond.
    fn load_partial(self, from: &[f32]) -> Self::F32;

    /// Asks for a line of the cache that will be read, if there are values: a hint.
    fn prefetch(self, values: &[f32]);

    /// Writes all lanes to the first [`LANES`](Self::LANES) places.
    ///
    /// # Panics
    ///
    /// If there are fewer.
    fn store(self, v: Self::F32, to: &mut [f32]);

    /// Writes as many lanes as there are places.
    fn store_partial(self, v: Self::F32, to: &mut [f32]);

    /// The lanes of two vectors in turn: the first of both, the second of both, ….
    fn interleave(self, even: Self::F32, odd: Self::F32) -> [Self::F32; 2];

    /// The even and the odd lanes of two vectors in a row.
    fn deinterleave(self, low: Self::F32, high: Self::F32) -> [Self::F32; 2];

    /// Each lane one place up; 0 in the first.
    fn shift_up(self, v: Self::F32) -> Self::F32;

    /// Each lane one place down; 0 in the last.
    fn shift_down(self, v: Self::F32) -> Self::F32;

    /// `a + b`.
    fn add(self, a: Self::F32, b: Self::F32) -> Self::F32;

    /// `a − b`.
    fn sub(self, a: Self::F32, b: Self::F32) -> Self::F32;

    /// `a · b`.
    fn mul(self, a: Self::F32, b: Self::F32) -> Self::F32;

    /// `a / b`.
    fn div(self, a: Self::F32, b: Self::F32) -> Self::F32;

    /// Square root, correctly rounded.
    fn sqrt(self, a: Self::F32) -> Self::F32;

    /// `a · b + c`, rounded once; the portable vectors and those of WebAssembly round twice.
    fn fma(self, a: Self::F32, b: Self::F32, c: Self::F32) -> Self::F32;

    /// `a` where `a > b`, else `b`: a NaN in `b` is kept, one in `a` is not.
    fn max(self, a: Self::F32, b: Self::F32) -> Self::F32;

    /// `a` where `a < b`, else `b`: a NaN in `b` is kept, one in `a` is not.
    fn min(self, a: Self::F32, b: Self::F32) -> Self::F32;

    /// Nearest whole number, ties to even, for magnitudes under 2²².
    fn round(self, a: Self::F32) -> Self::F32;

    /// `2^a` for whole `a` from −126 to 127; anything elsewhere.
    fn pow2(self, a: Self::F32) -> Self::F32;

    /// Where `a > b`; false for NaN.
    fn gt(self, a: Self::F32, b: Self::F32) -> Self::Mask;

    /// Where `a ≥ b`; false for NaN.
    fn ge(self, a: Self::F32, b: Self::F32) -> Self::Mask;

    /// `a` where the mask holds, else `b`.
    fn select(self, mask: Self::Mask, a: Self::F32, b: Self::F32) -> Self::F32;

    /// The mask as bits, lane 0 in the lowest.
    fn mask_to_bits(self, mask: Self::Mask) -> u16;

    /// The mask whose lane `i` is bit `i`.
    fn mask_from_bits(self, bits: u16) -> Self::Mask;

    /// Sum of the lanes, in an order that is fixed for each instruction set.
    fn sum(self, v: Self::F32) -> f32;

    /// Greatest lane; unspecified if one is NaN.
    fn max_lane(self, v: Self::F32) -> f32;

    /// The same whole number in all lanes.
    fn splat_u16(self, value: u16) -> Self::U16;

    /// The first `2 · LANES` whole numbers.
    ///
    /// # Panics
    ///
    /// If there are fewer.
    fn load_u16(self, from: &[u16]) -> Self::U16;

    /// Writes all lanes to the first `2 · LANES` places.
    ///
    /// # Panics
    ///
    /// If there are fewer.
    fn store_u16(self, v: Self::U16, to: &mut [u16]);

    /// `a + b` modulo 2¹⁶.
    fn add_u16(self, a: Self::U16, b: Self::U16) -> Self::U16;

    /// The bits of `a` where the mask has ones, else those of `b`.
    fn blend_u16(self, mask: Self::U16, a: Self::U16, b: Self::U16) -> Self::U16;

    /// The first `4 · LANES` bytes, two in each lane: the first in the lower half.
    ///
    /// # Panics
    ///
    /// If there are fewer.
    fn load_pairs(self, from: &[u8]) -> Self::U16;

    /// Writes both bytes of each lane to the first `4 · LANES` places, as
    /// [`load_pairs`](Self::load_pairs) reads them.
    ///
    /// # Panics
    ///
    /// If there are fewer.
    fn store_bytes(self, pairs: Self::U16, to: &mut [u8]);

    /// The upper byte of each lane.
    fn odd_bytes(self, pairs: Self::U16) -> Self::U16;

    /// `pairs − 256 · odd` modulo 2¹⁶: of a vector of bytes and its odd ones, the even ones.
    fn even_bytes(self, pairs: Self::U16, odd: Self::U16) -> Self::U16;

    /// Writes the lower byte of each lane, of as many lanes as there are places.
    fn store_even(self, pairs: Self::U16, to: &mut [u8]);

    /// `a · 128` modulo 2¹⁶.
    fn times_128(self, a: Self::U16) -> Self::U16;

    /// The same two signed numbers in all pairs of lanes.
    fn splat_words(self, words: [i16; 2]) -> Self::U16;

    /// The lanes of two vectors in turn, in an order of the instruction set's own, which
    /// [`pack_bytes`](Self::pack_bytes) undoes.
    fn pair_words(self, first: Self::U16, second: Self::U16) -> [Self::U16; 2];

    /// `sums + first · first + second · second` of the pairs of lanes of two vectors of
    /// signed numbers, modulo 2³².
    fn add_products(self, sums: Self::I32, words: Self::U16, factors: Self::U16) -> Self::I32;

    /// The same whole number in all lanes.
    fn splat_i32(self, value: i32) -> Self::I32;

    /// The first [`LANES`](Self::LANES) whole numbers.
    ///
    /// # Panics
    ///
    /// If there are fewer.
    fn load_i32(self, from: &[i32]) -> Self::I32;

    /// Writes all lanes to the first [`LANES`](Self::LANES) places.
    ///
    /// # Panics
    ///
    /// If there are fewer.
    fn store_i32(self, v: Self::I32, to: &mut [i32]);

    /// `a + b` modulo 2³².
    fn add_i32(self, a: Self::I32, b: Self::I32) -> Self::I32;

    /// `a ∕ 2^bits`, rounded down; `bits` is below 32.
    fn shift_right(self, a: Self::I32, bits: u32) -> Self::I32;

    /// Even and odd bytes from numbers in the order of [`pair_words`](Self::pair_words), as
    /// [`load_pairs`](Self::load_pairs) reads them: 0 for numbers below, 255 for those above.
    fn pack_bytes(self, even: [Self::I32; 2], odd: [Self::I32; 2]) -> Self::U16;

    /// Each byte brought between `first` and `last`.
    fn clamp_bytes(self, pairs: Self::U16, first: u8, last: u8) -> Self::U16;

    /// Every other value of the first `2 · LANES`, from the first one on.
    ///
    /// # Panics
    ///
    /// If there are fewer.
    #[inline(always)]
    fn load_even(self, from: &[f32]) -> Self::F32 {
        let [low, high] = [self.load(from), self.load(&from[Self::LANES..])];
        let [even, _] = self.deinterleave(low, high);
        even
    }

    /// `N` vectors, `step` values apart, for one check of the bounds.
    ///
    /// # Panics
    ///
    /// If the last vector ends beyond the values.
    #[inline(always)]
    fn load_strided<const N: usize>(self, from: &[f32], step: usize) -> [Self::F32; N] {
        let mut vectors = [self.splat(0.0); N];
        for (vector, values) in vectors.iter_mut().zip(strided(from, step, Self::LANES, N)) {
            *vector = self.load(values);
        }
        vectors
    }

    /// Sees values as whole vectors.
    ///
    /// # Panics
    ///
    /// If the values do not start at a multiple of a vector's size (64 bytes
    /// always do), or do not fill their last vector.
    #[inline(always)]
    fn as_vectors(self, values: &[f32]) -> &[Self::F32] {
        // SAFETY: the trait is sealed, and every `F32` in this module is
        // `LANES` values of `f32` without padding, valid for any bits.
        let (before, vectors, after) = unsafe { values.align_to::<Self::F32>() };
        assert!(before.is_empty() && after.is_empty(), "not aligned to whole vectors");
        vectors
    }
}
