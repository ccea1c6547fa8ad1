//! Source and gradient of a block of tiles, transformed to the 36 positions.

use std::ops::Range;

use ec2t_kernels::arch::{Operation, Simd};

use super::lines::{Input, Line, OutputGradient};
use super::plane::{Images, Plane, Positions, Tile};

/// Transforms pixels that tiles depend on.
pub(super) struct Read<'a> {
    pub(super) plane: Plane,
    pub(super) tiles: Range<usize>,
    pub(super) source: Images<'a>,
    /// `[position][tile][channel]`.
    pub(super) v: &'a mut [f32],
    /// Values from one position to the next.
    pub(super) stride: usize,
}

impl Read<'_> {
    #[inline(always)]
    fn eval<L: Line, S: Simd>(self, simd: S, corner: impl Fn(Tile) -> [isize; 2]) {
        let Self { plane, tiles, source, v, stride } = self;
        let channels = source.channels;
        for (place, tile) in tiles.map(|number| plane.tile(number)).enumerate() {
            for channel in (0..channels).step_by(S::LANES) {
                let width = S::LANES.min(channels - channel);
                let values = &mut v[place * channels + channel..];
                let mut target = Positions { values, stride, width };
                source.transform::<L, S>(simd, tile.image, corner(tile), channel, &mut target);
            }
        }
    }
}

/// `V = Bᵀ x B`.
pub(super) struct ReadSource<'a>(pub(super) Read<'a>);

impl Operation for ReadSource<'_> {
    type Output = ();

    #[inline(always)]
    fn eval<S: Simd>(self, simd: S) {
        self.0.eval::<Input, S>(simd, |tile| tile.window);
    }
}

/// `D = A gy Aᵀ`.
pub(super) struct ReadGradient<'a>(pub(super) Read<'a>);

impl Operation for ReadGradient<'_> {
    type Output = ();

    #[inline(always)]
    fn eval<S: Simd>(self, simd: S) {
        self.0.eval::<OutputGradient, S>(simd, |tile| tile.corner.map(|at| at as isize));
    }
}
