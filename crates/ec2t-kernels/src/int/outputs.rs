//! The loop over the outputs of a tile, for one block of channels: what is summed waits for the
//! next block, is flushed to totals, or becomes bytes.

use std::ops::Range;

use super::layout::Tile;
use super::lists::{Part, Sums};
use super::requantize::{Totals, Vectors};
use super::{MAX_LANES, Tiles};
use crate::arch::{Operation, Simd};

/// Outputs that are computed for a tile from one block of channels.
pub(super) struct Outputs {
    pub(super) tile: Tile,
    pub(super) outputs: Range<usize>,
    pub(super) part: Part,
    pub(super) is_last: bool,
}

/// Outputs in a function of its own: its loops fill all registers.
pub(super) struct Loop<'a, const N: usize> {
    pub(super) tiles: Tiles<'a>,
    pub(super) outputs: Outputs,
}

impl<const N: usize> Operation for Loop<'_, N> {
    type Output = ();

    #[inline(always)]
    fn eval<S: Simd>(mut self, simd: S) {
        let Outputs { ref outputs, part, is_last, .. } = self.outputs;
        let lists = &self.tiles.conv.lists;
        let mut cursor = part.cursor;
        let len = 2 * N * 4 * S::LANES;
        for (index, o) in outputs.clone().enumerate() {
            let place = index * len..(index + 1) * len;
            let flushed = index * len / 2..(index + 1) * len / 2;
            let sums = match part.is_fresh {
                true => [Sums::zero(simd); 2],
                false => load(simd, &self.tiles.sums[place.clone()]),
            };
            let sums = lists.sum::<S, N>(simd, &mut cursor, self.tiles.copy, sums);
            if is_last && part.is_flushed {
                self.finish_flushed(simd, o, &sums, flushed);
            } else if is_last {
                self.finish(simd, o, &sums);
            } else if part.flushes {
                self.flush(simd, o, &sums, flushed, part.is_flushed);
            } else {
                store(simd, &sums, &mut self.tiles.sums[place]);
            }
        }
    }
}

/// Sums that have been waiting.
#[inline(always)]
fn load<S: Simd, const N: usize>(simd: S, from: &[u16]) -> [Sums<S, N>; 2] {
    let mut sums = [Sums::zero(simd); 2];
    let mut from = from.chunks_exact(2 * S::LANES);
    for Sums { pairs, odd } in &mut sums {
        for (sum, from) in pairs.iter_mut().chain(odd).zip(&mut from) {
            *sum = simd.load_u16(from);
        }
    }
    sums
}

/// Has sums wait.
#[inline(always)]
fn store<S: Simd, const N: usize>(simd: S, sums: &[Sums<S, N>; 2], to: &mut [u16]) {
    let mut to = to.chunks_exact_mut(2 * S::LANES);
    for Sums { pairs, odd } in sums {
        for (sum, to) in pairs.iter().chain(odd).zip(&mut to) {
            simd.store_u16(*sum, to);
        }
    }
}

/// The sums of a vector of bytes: of positive and negative weights, each of even and odd bytes.
#[inline(always)]
fn parts<S: Simd, const N: usize>(
    simd: S,
    [plus, minus]: &[Sums<S, N>; 2],
    i: usize,
) -> [[S::U16; 2]; 2] {
    [plus.parts(simd, i), minus.parts(simd, i)]
}

/// Adds totals that have been flushed, of vector `i`.
#[inline(always)]
fn add_flushed<S: Simd>(simd: S, totals: &mut Totals<S>, flushed: &[i32], i: usize) {
    let flushed = flushed[i * 4 * S::LANES..].chunks_exact(S::LANES);
    for (total, before) in totals.as_flattened_mut().iter_mut().zip(flushed) {
        *total = simd.add_i32(simd.load_i32(before), *total);
    }
}

impl<const N: usize> Loop<'_, N> {
    /// Makes bytes of the sums of an output and writes them.
    #[inline(always)]
    fn finish<S: Simd>(&mut self, simd: S, o: usize, sums: &[Sums<S, N>; 2]) {
        let channel = self.tiles.conv.requantize.channel(simd, o);
        let lanes = 4 * S::LANES;
        if self.outputs.tile.pixels() != N * lanes {
            for i in 0..N {
                self.write(simd, o, &channel, i, channel.last_totals(parts(simd, sums, i)));
            }
            return;
        }
        // Whole vectors, the usual case, for one check of the bounds.
        let first = self.first_pixel(o);
        let output = &mut self.tiles.output[first..][..N * lanes];
        let residual = self.tiles.residual.map(
            #[inline(always)]
            |residual| &residual[first..][..N * lanes],
        );
        for (i, output) in output.chunks_exact_mut(lanes).enumerate() {
            let residual = residual.map(
                #[inline(always)]
                |residual| simd.load_pairs(&residual[i * lanes..]),
            );
            let totals = channel.last_totals(parts(simd, sums, i));
            simd.store_bytes(channel.bytes(totals, residual), output);
        }
    }

    /// Place of the tile's first pixel in the output.
    #[inline(always)]
    fn first_pixel(&self, o: usize) -> usize {
        let [height, width] = self.tiles.conv.layout.shape.output;
        let [row, column] = self.outputs.tile.start;
        (o * height + row) * width + column
    }

    /// The same with those that have been flushed.
    #[inline(always)]
    fn finish_flushed<S: Simd>(
        &mut self,
        simd: S,
        o: usize,
        sums: &[Sums<S, N>; 2],
        place: Range<usize>,
    ) {
        let channel = self.tiles.conv.requantize.channel(simd, o);
        for i in 0..N {
            let mut totals = channel.last_totals(parts(simd, sums, i));
            add_flushed(simd, &mut totals, &self.tiles.flushed[place.clone()], i);
            self.write(simd, o, &channel, i, totals);
        }
    }

    /// Adds sums to those that have been flushed before, if there are any.
    #[inline(always)]
    fn flush<S: Simd>(
        &mut self,
        simd: S,
        o: usize,
        sums: &[Sums<S, N>; 2],
        place: Range<usize>,
        is_flushed: bool,
    ) {
        let channel = self.tiles.conv.requantize.channel(simd, o);
        let flushed = &mut self.tiles.flushed[place];
        for i in 0..N {
            let mut totals = channel.totals(parts(simd, sums, i));
            if is_flushed {
                add_flushed(simd, &mut totals, flushed, i);
            }
            let places = flushed[i * 4 * S::LANES..].chunks_exact_mut(S::LANES);
            for (total, place) in totals.as_flattened().iter().zip(places) {
                simd.store_i32(*total, place);
            }
        }
    }

    /// Writes the bytes of vector `i` of the tile.
    #[inline(always)]
    fn write<S: Simd>(
        &mut self,
        simd: S,
        o: usize,
        channel: &Vectors<S>,
        i: usize,
        totals: Totals<S>,
    ) {
        let lanes = 4 * S::LANES;
        let first = self.first_pixel(o) + i * lanes;
        let Tiles { residual, ref mut output, .. } = self.tiles;
        let count = self.outputs.tile.pixels().saturating_sub(i * lanes);
        if count >= lanes {
            let residual = residual.map(
                #[inline(always)]
                |residual| simd.load_pairs(&residual[first..]),
            );
            simd.store_bytes(channel.bytes(totals, residual), &mut output[first..]);
        } else if count > 0 {
            let mut bytes = [0; MAX_LANES];
            let residual = residual.map(
                #[inline(always)]
                |residual| {
                    bytes[..count].copy_from_slice(&residual[first..][..count]);
                    simd.load_pairs(&bytes)
                },
            );
            simd.store_bytes(channel.bytes(totals, residual), &mut bytes);
            output[first..][..count].copy_from_slice(&bytes[..count]);
        }
    }
}
