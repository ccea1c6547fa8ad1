//! Vectors as small arrays, in plain Rust: the fallback, and the reference that
//! every other instruction set is tested against.

use super::{Operation, sealed::Sealed, simd::Simd};

/// Token for plain Rust.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Portable;

const LANES: usize = 4;

/// Lanes of whole numbers.
const WORDS: usize = 2 * LANES;

/// Bytes of a vector.
const BYTES: usize = 4 * LANES;

/// Four values, aligned as the 128-bit registers that compilers put them in.
#[derive(Clone, Copy, Debug)]
#[repr(C, align(16))]
pub struct Lanes([f32; LANES]);

impl Lanes {
    #[inline(always)]
    fn map(self, f: impl Fn(f32) -> f32) -> Self {
        Lanes(self.0.map(f))
    }

    #[inline(always)]
    fn zip(self, other: Self, f: impl Fn(f32, f32) -> f32) -> Self {
        Lanes(std::array::from_fn(|i| f(self.0[i], other.0[i])))
    }

    #[inline(always)]
    fn compare(self, other: Self, f: impl Fn(f32, f32) -> bool) -> [bool; LANES] {
        std::array::from_fn(|i| f(self.0[i], other.0[i]))
    }
}

/// Eight whole numbers, aligned likewise.
#[derive(Clone, Copy, Debug)]
#[repr(C, align(16))]
pub struct Words([u16; WORDS]);

impl Words {
    #[inline(always)]
    fn zip(self, other: Self, f: impl Fn(u16, u16) -> u16) -> Self {
        Words(std::array::from_fn(|i| f(self.0[i], other.0[i])))
    }
}

/// Four signed ones.
#[derive(Clone, Copy, Debug)]
#[repr(C, align(16))]
pub struct Numbers([i32; LANES]);

/// Adding and subtracting this, 1.5 · 2²³, rounds to whole numbers.
const ROUNDING: f32 = 12_582_912.0;

impl Sealed for Portable {}

impl Simd for Portable {
    const LANES: usize = LANES;
    const REGISTERS: usize = 16;

    type F32 = Lanes;
    type U16 = Words;
    type I32 = Numbers;
    type Mask = [bool; LANES];

    fn name(self) -> &'static str {
        "portable"
    }

    #[inline(never)]
    fn outline<O: Operation>(self, operation: O) -> O::Output {
        operation.eval(self)
    }

    #[inline(always)]
    fn splat(self, value: f32) -> Lanes {
        Lanes([value; LANES])
    }

    #[inline(always)]
    fn load(self, from: &[f32]) -> Lanes {
        Lanes(*from.first_chunk().expect("a whole vector"))
    }

    #[inline(always)]
    fn load_partial(self, from: &[f32]) -> Lanes {
        let mut lanes = [0.0; LANES];
        lanes.iter_mut().zip(from).for_each(|(lane, value)| *lane = *value);
        Lanes(lanes)
    }

    #[inline(always)]
    fn prefetch(self, _: &[f32]) {}

    #[inline(always)]
    fn store(self, v: Lanes, to: &mut [f32]) {
        *to.first_chunk_mut().expect("place for a whole vector") = v.0;
    }

    #[inline(always)]
    fn store_partial(self, v: Lanes, to: &mut [f32]) {
        to.iter_mut().zip(v.0).for_each(|(place, lane)| *place = lane);
    }

    #[inline(always)]
    fn interleave(self, even: Lanes, odd: Lanes) -> [Lanes; 2] {
        let ([a, b, c, d], [e, f, g, h]) = (even.0, odd.0);
        [Lanes([a, e, b, f]), Lanes([c, g, d, h])]
    }

    #[inline(always)]
    fn deinterleave(self, low: Lanes, high: Lanes) -> [Lanes; 2] {
        let ([a, b, c, d], [e, f, g, h]) = (low.0, high.0);
        [Lanes([a, c, e, g]), Lanes([b, d, f, h])]
    }

    #[inline(always)]
    fn shift_up(self, v: Lanes) -> Lanes {
        let [a, b, c, _] = v.0;
        Lanes([0.0, a, b, c])
    }

    #[inline(always)]
    fn shift_down(self, v: Lanes) -> Lanes {
        let [_, b, c, d] = v.0;
        Lanes([b, c, d, 0.0])
    }

    #[inline(always)]
    fn add(self, a: Lanes, b: Lanes) -> Lanes {
        a.zip(b, |a, b| a + b)
    }

    #[inline(always)]
    fn sub(self, a: Lanes, b: Lanes) -> Lanes {
        a.zip(b, |a, b| a - b)
    }

    #[inline(always)]
    fn mul(self, a: Lanes, b: Lanes) -> Lanes {
        a.zip(b, |a, b| a * b)
    }

    #[inline(always)]
    fn div(self, a: Lanes, b: Lanes) -> Lanes {
        a.zip(b, |a, b| a / b)
    }

    #[inline(always)]
    fn sqrt(self, a: Lanes) -> Lanes {
        a.map(f32::sqrt)
    }

    #[inline(always)]
    fn fma(self, a: Lanes, b: Lanes, c: Lanes) -> Lanes {
        self.add(self.mul(a, b), c)
    }

    #[inline(always)]
    fn max(self, a: Lanes, b: Lanes) -> Lanes {
        a.zip(b, |a, b| if a > b { a } else { b })
    }

    #[inline(always)]
    fn min(self, a: Lanes, b: Lanes) -> Lanes {
        a.zip(b, |a, b| if a < b { a } else { b })
    }

    #[inline(always)]
    fn round(self, a: Lanes) -> Lanes {
        a.map(|a| (a + ROUNDING) - ROUNDING)
    }

    #[inline(always)]
    fn pow2(self, a: Lanes) -> Lanes {
        a.map(|a| f32::from_bits(((a as i32).wrapping_add(127) as u32) << 23))
    }

    #[inline(always)]
    fn gt(self, a: Lanes, b: Lanes) -> [bool; LANES] {
        a.compare(b, |a, b| a > b)
    }

    #[inline(always)]
    fn ge(self, a: Lanes, b: Lanes) -> [bool; LANES] {
        a.compare(b, |a, b| a >= b)
    }

    #[inline(always)]
    fn select(self, mask: [bool; LANES], a: Lanes, b: Lanes) -> Lanes {
        Lanes(std::array::from_fn(|i| if mask[i] { a.0[i] } else { b.0[i] }))
    }

    #[inline(always)]
    fn mask_to_bits(self, mask: [bool; LANES]) -> u16 {
        mask.iter().rev().fold(0, |bits, &lane| bits << 1 | u16::from(lane))
    }

    #[inline(always)]
    fn mask_from_bits(self, bits: u16) -> [bool; LANES] {
        std::array::from_fn(|i| bits >> i & 1 == 1)
    }

    #[inline(always)]
    fn sum(self, v: Lanes) -> f32 {
        let [a, b, c, d] = v.0;
        (a + c) + (b + d)
    }

    #[inline(always)]
    fn max_lane(self, v: Lanes) -> f32 {
        v.0.into_iter().fold(f32::NEG_INFINITY, f32::max)
    }

    #[inline(always)]
    fn splat_u16(self, value: u16) -> Words {
        Words([value; WORDS])
    }

    #[inline(always)]
    fn load_u16(self, from: &[u16]) -> Words {
        Words(*from.first_chunk().expect("a whole vector"))
    }

    #[inline(always)]
    fn store_u16(self, v: Words, to: &mut [u16]) {
        *to.first_chunk_mut().expect("place for a whole vector") = v.0;
    }

    #[inline(always)]
    fn add_u16(self, a: Words, b: Words) -> Words {
        a.zip(b, u16::wrapping_add)
    }

    #[inline(always)]
    fn blend_u16(self, mask: Words, a: Words, b: Words) -> Words {
        mask.zip(a, |mask, a| mask & a).zip(mask.zip(b, |mask, b| !mask & b), |a, b| a | b)
    }

    #[inline(always)]
    fn load_pairs(self, from: &[u8]) -> Words {
        let from: &[u8; BYTES] = from.first_chunk().expect("a whole vector");
        Words(std::array::from_fn(|i| u16::from_le_bytes([from[2 * i], from[2 * i + 1]])))
    }

    #[inline(always)]
    fn store_bytes(self, pairs: Words, to: &mut [u8]) {
        let to: &mut [u8; BYTES] = to.first_chunk_mut().expect("place for a whole vector");
        *to = std::array::from_fn(|i| pairs.0[i / 2].to_le_bytes()[i % 2]);
    }

    #[inline(always)]
    fn odd_bytes(self, pairs: Words) -> Words {
        Words(pairs.0.map(|pair| pair >> 8))
    }

    #[inline(always)]
    fn even_bytes(self, pairs: Words, odd: Words) -> Words {
        pairs.zip(odd, |pair, odd| pair.wrapping_sub(odd << 8))
    }

    #[inline(always)]
    fn store_even(self, pairs: Words, to: &mut [u8]) {
        to.iter_mut().zip(pairs.0).for_each(|(place, pair)| *place = pair as u8);
    }

    #[inline(always)]
    fn times_128(self, a: Words) -> Words {
        Words(a.0.map(|a| a << 7))
    }

    #[inline(always)]
    fn splat_words(self, [first, second]: [i16; 2]) -> Words {
        let [a, b] = [first as u16, second as u16];
        Words([a, b, a, b, a, b, a, b])
    }

    #[inline(always)]
    fn pair_words(self, first: Words, second: Words) -> [Words; 2] {
        let ([a, b, c, d, e, f, g, h], [i, j, k, l, m, n, o, p]) = (first.0, second.0);
        [Words([a, i, b, j, c, k, d, l]), Words([e, m, f, n, g, o, h, p])]
    }

    #[inline(always)]
    fn add_products(self, sums: Numbers, words: Words, factors: Words) -> Numbers {
        let mut sums = sums.0;
        let pairs = words.0.as_chunks().0.iter().zip(factors.0.as_chunks().0);
        for (sum, ([a, b], [c, d])) in sums.iter_mut().zip(pairs) {
            let [a, b, c, d] = [*a, *b, *c, *d].map(|word| i32::from(word as i16));
            *sum = sum.wrapping_add((a * c).wrapping_add(b * d));
        }
        Numbers(sums)
    }

    #[inline(always)]
    fn splat_i32(self, value: i32) -> Numbers {
        Numbers([value; LANES])
    }

    #[inline(always)]
    fn load_i32(self, from: &[i32]) -> Numbers {
        Numbers(*from.first_chunk().expect("a whole vector"))
    }

    #[inline(always)]
    fn store_i32(self, v: Numbers, to: &mut [i32]) {
        *to.first_chunk_mut().expect("place for a whole vector") = v.0;
    }

    #[inline(always)]
    fn add_i32(self, a: Numbers, b: Numbers) -> Numbers {
        Numbers(std::array::from_fn(|i| a.0[i].wrapping_add(b.0[i])))
    }

    #[inline(always)]
    fn shift_right(self, a: Numbers, bits: u32) -> Numbers {
        Numbers(a.0.map(|a| a >> bits))
    }

    #[inline(always)]
    fn pack_bytes(self, even: [Numbers; 2], odd: [Numbers; 2]) -> Words {
        let mut words = [0; WORDS];
        let [even, odd] = [even, odd].map(|[low, high]| low.0.into_iter().chain(high.0));
        for (word, (even, odd)) in words.iter_mut().zip(even.zip(odd)) {
            *word = (even.clamp(0, 255) | odd.clamp(0, 255) << 8) as u16;
        }
        Words(words)
    }

    #[inline(always)]
    fn clamp_bytes(self, pairs: Words, first: u8, last: u8) -> Words {
        let clamp = |byte: u8| byte.max(first).min(last);
        Words(pairs.0.map(|pair| u16::from_le_bytes(pair.to_le_bytes().map(clamp))))
    }
}
