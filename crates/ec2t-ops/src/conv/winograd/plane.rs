//! Maps of pixels and the square tiles that are read from and written to them.

use ec2t_kernels::arch::{Simd, strided};

use super::lines::{Columns, Line, Rows, Six, transform};
use crate::lanes::{get, put};

/// Rows and columns of a tile of the target.
pub(super) const TILE: usize = 4;

/// Rows and columns of the source that a tile of the target depends on.
pub(super) const WINDOW: usize = 6;

/// How target and source of a 3×3 convolution with stride 1 lie to each other.
#[derive(Clone, Copy, Debug)]
pub(super) struct Plane {
    /// Rows and columns of the source.
    pub(super) source: [usize; 2],
    /// Rows and columns of the target.
    pub(super) target: [usize; 2],
    /// Zeros above and left of the source.
    pub(super) padding: [usize; 2],
}

/// One tile of a batch.
#[derive(Clone, Copy, Debug)]
pub(super) struct Tile {
    pub(super) image: usize,
    /// First row and column in the target.
    pub(super) corner: [usize; 2],
    /// First row and column in the source.
    pub(super) window: [isize; 2],
}

impl Plane {
    /// Tiles of an image.
    pub(super) fn tiles(&self) -> usize {
        self.target.map(|size| size.div_ceil(TILE)).iter().product()
    }

    /// A tile by its number in the batch.
    #[inline(always)]
    pub(super) fn tile(&self, number: usize) -> Tile {
        let (tiles, columns) = (self.tiles(), self.target[1].div_ceil(TILE));
        let (image, place) = (number / tiles, number % tiles);
        let corner = [place / columns * TILE, place % columns * TILE];
        let mut window = [0; 2];
        for dim in 0..2 {
            window[dim] = corner[dim] as isize - self.padding[dim] as isize;
        }
        Tile { image, corner, window }
    }
}

/// Pixels `[N, H, W, C]`.
#[derive(Clone, Copy)]
pub(super) struct Images<'a> {
    pub(super) values: &'a [f32],
    /// Rows and columns of an image.
    pub(super) size: [usize; 2],
    pub(super) channels: usize,
}

impl<'a> Images<'a> {
    /// Transforms a vector of channels of the `L::INPUTS`×`L::INPUTS` pixels from a
    /// corner on; what lies outside the image is 0.
    #[inline(always)]
    pub(super) fn transform<L: Line, S: Simd>(
        &self,
        simd: S,
        image: usize,
        corner: [isize; 2],
        channel: usize,
        target: &mut impl Rows<S>,
    ) {
        let Self { values, size: [height, width], channels } = *self;
        let values = &values[image * height * width * channels..][..height * width * channels];
        let [top, left] = corner;
        let inside = top >= 0
            && left >= 0
            && top as usize + L::INPUTS <= height
            && left as usize + L::INPUTS <= width
            && channel + S::LANES <= channels;
        if inside {
            let first = (top as usize * width + left as usize) * channels + channel;
            let steps = [width * channels, channels];
            let square = Inside { values: &values[first..], steps, rows: L::INPUTS };
            transform::<L, S>(simd, &square, target);
        } else {
            let square = Border { values, size: [height, width], channels, corner, channel };
            transform::<L, S>(simd, &square, target);
        }
    }
}

/// A square of pixels inside an image.
struct Inside<'a> {
    /// From the first on.
    values: &'a [f32],
    /// From one row to the next, and from one column to the next.
    steps: [usize; 2],
    /// At most six.
    rows: usize,
}

impl<S: Simd> Columns<S> for Inside<'_> {
    #[inline(always)]
    fn column(&self, simd: S, column: usize) -> Six<S> {
        let mut values = [simd.splat(0.0); 6];
        let pixels =
            strided(&self.values[column * self.steps[1]..], self.steps[0], S::LANES, self.rows);
        for (value, pixel) in values.iter_mut().zip(pixels) {
            *value = simd.load(pixel);
        }
        values
    }
}

/// A square of pixels at the border of an image, or of its last channels.
struct Border<'a> {
    /// Of the image.
    values: &'a [f32],
    size: [usize; 2],
    channels: usize,
    corner: [isize; 2],
    channel: usize,
}

impl<S: Simd> Columns<S> for Border<'_> {
    #[inline(always)]
    fn column(&self, simd: S, column: usize) -> Six<S> {
        let mut values = [simd.splat(0.0); 6];
        let [height, width] = self.size;
        let x = self.corner[1] + column as isize;
        if (0..width as isize).contains(&x) {
            for (y, value) in (self.corner[0]..).zip(&mut values) {
                if (0..height as isize).contains(&y) {
                    let start = (y as usize * width + x as usize) * self.channels;
                    let pixel = &self.values[start..start + self.channels];
                    *value = get(simd, pixel, self.channel);
                }
            }
        }
        values
    }
}

/// A value at each of 36 positions, a vector of channels wide or less.
pub(super) struct Positions<V> {
    /// From the first position's on.
    pub(super) values: V,
    /// From one position to the next.
    pub(super) stride: usize,
    /// Channels, at most those of a vector.
    pub(super) width: usize,
}

impl<S: Simd> Columns<S> for Positions<&[f32]> {
    #[inline(always)]
    fn column(&self, simd: S, column: usize) -> Six<S> {
        let mut values = [simd.splat(0.0); 6];
        let places = &self.values[column * self.stride..];
        let places = strided(places, WINDOW * self.stride, self.width, WINDOW);
        for (value, place) in values.iter_mut().zip(places) {
            *value = get(simd, place, 0);
        }
        values
    }
}

impl<S: Simd> Rows<S> for Positions<&mut [f32]> {
    #[inline(always)]
    fn write(&mut self, simd: S, row: usize, values: Six<S>) {
        let places = self.values[row * WINDOW * self.stride..].chunks_mut(self.stride);
        for (place, value) in places.zip(values) {
            put(simd, value, &mut place[..self.width], 0);
        }
    }
}

/// Where a vector of channels of a tile goes: to the pixels `[N, H, W, C]`, up to the
/// border of the image.
pub(super) struct TileTarget<'a, S: Simd> {
    pub(super) values: &'a mut [f32],
    /// Rows and columns of an image.
    pub(super) size: [usize; 2],
    pub(super) channels: usize,
    pub(super) tile: Tile,
    pub(super) channel: usize,
    /// Adds to what is there.
    pub(super) accumulate: bool,
    /// Sums of what was written and of its squares.
    pub(super) sums: [S::F32; 2],
}

impl<S: Simd> Rows<S> for TileTarget<'_, S> {
    #[inline(always)]
    fn write(&mut self, simd: S, row: usize, values: Six<S>) {
        let Self { size: [height, width], channels, tile, channel, .. } = *self;
        let [top, left] = tile.corner;
        if top + row >= height {
            return;
        }
        let first = ((tile.image * height + top + row) * width + left) * channels;
        let pixels = TILE.min(width - left);
        let pixels = self.values[first..first + pixels * channels].chunks_exact_mut(channels);
        let [sum, squares] = &mut self.sums;
        for (pixel, value) in pixels.zip(values) {
            let value = match self.accumulate {
                true => simd.add(get(simd, pixel, channel), value),
                false => value,
            };
            put(simd, value, pixel, channel);
            *sum = simd.add(*sum, value);
            *squares = simd.fma(value, value, *squares);
        }
    }
}
