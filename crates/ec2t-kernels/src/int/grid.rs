//! Numbers in 8 bits, and back.

use crate::arch::{Operation, Simd, dispatch};

/// What the bytes of a tensor stand for: byte q for `(q − zero) · scale`.
///
/// Tensors of values that are not negative, as rectifiers give them, have `zero` 0 and
/// all 256 steps above it.
///
/// ```
/// use ec2t_kernels::int::Grid;
///
/// let grid = Grid { scale: 0.5, zero: 10 };
/// let mut bytes = [0; 4];
/// grid.quantize(&[0.0, 1.3, -100.0, f32::INFINITY], &mut bytes);
/// assert_eq!(bytes, [10, 13, 0, 255]);
///
/// let mut values = [0.0; 4];
/// grid.dequantize(&bytes, &mut values);
/// assert_eq!(values, [0.0, 1.5, -5.0, 122.5]);
/// ```
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Grid {
    /// Distance of neighbours; finite and above zero.
    pub scale: f32,
    /// The byte that stands for 0.
    pub zero: u8,
}

/// Adding this, 1.5 · 2²³, to a number from 0 to 255 leaves that, rounded to the nearest
/// whole one, ties to even, in the lowest byte.
const ROUNDING: f32 = 12_582_912.0;

impl Grid {
    /// The bytes that stand for the nearest numbers, ties to even bytes. What is beyond the
    /// grid becomes its end, and what is not a number byte 0.
    ///
    /// # Panics
    /// Where the lengths differ.
    pub fn quantize(self, values: &[f32], bytes: &mut [u8]) {
        assert_eq!(values.len(), bytes.len(), "length of the bytes");
        dispatch(Quantize { factor: 1.0 / self.scale, grid: self, values, bytes });
    }

    /// The numbers that bytes stand for.
    ///
    /// # Panics
    /// Where the lengths differ.
    pub fn dequantize(self, bytes: &[u8], values: &mut [f32]) {
        assert_eq!(values.len(), bytes.len(), "length of the bytes");
        dispatch(Dequantize { grid: self, bytes, values });
    }
}

struct Quantize<'a> {
    grid: Grid,
    factor: f32,
    values: &'a [f32],
    bytes: &'a mut [u8],
}

impl Operation for Quantize<'_> {
    type Output = ();

    /// A loop that compilers turn into vectors.
    #[inline(always)]
    fn eval<S: Simd>(self, _: S) {
        let zero = f32::from(self.grid.zero);
        for (byte, value) in self.bytes.iter_mut().zip(self.values) {
            let place = value * self.factor + zero;
            let place = if place > 0.0 { place } else { 0.0 };
            let place = if place < 255.0 { place } else { 255.0 };
            *byte = (place + ROUNDING).to_bits() as u8;
        }
    }
}

struct Dequantize<'a> {
    grid: Grid,
    bytes: &'a [u8],
    values: &'a mut [f32],
}

impl Operation for Dequantize<'_> {
    type Output = ();

    #[inline(always)]
    fn eval<S: Simd>(self, _: S) {
        let Grid { scale, zero } = self.grid;
        for (value, byte) in self.values.iter_mut().zip(self.bytes) {
            *value = (i32::from(*byte) - i32::from(zero)) as f32 * scale;
        }
    }
}
