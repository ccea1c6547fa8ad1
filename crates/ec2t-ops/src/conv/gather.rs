//! Where the rows of the implicit matrix product come from.
//!
//! A convolution is the product of a matrix with one row for each target pixel,
//! which holds the pixels under the kernel one after another, and the matrix of
//! weights. The first is never built: a table names the source pixel for each
//! target pixel and tap, and padding is one row of zeros. The table of a strided
//! convolution's input gradient falls into phases, one for each remainder of the
//! target's position by the stride, with a subset of the taps each.

use super::axis::Axis;
use ec2t_kernels::ConvShape;

/// Marks a source in the padding.
const OUTSIDE: u32 = u32::MAX;

/// The rows of an implicit matrix product.
pub(super) trait Rows: Sync {
    /// Number of rows.
    fn len(&self) -> usize;

    /// The target pixel that a row computes.
    fn target(&self, row: usize) -> usize;

    /// The source pixel that a row reads at a tap; none in the padding.
    fn source(&self, row: usize, tap: usize) -> Option<usize>;
}

/// Each target pixel reads the source pixel of the same number, for 1×1 kernels.
#[derive(Clone, Copy, Debug)]
pub(super) struct Identity {
    pub(super) pixels: usize,
}

impl Rows for Identity {
    #[inline(always)]
    fn len(&self) -> usize {
        self.pixels
    }

    #[inline(always)]
    fn target(&self, row: usize) -> usize {
        row
    }

    #[inline(always)]
    fn source(&self, row: usize, _tap: usize) -> Option<usize> {
        Some(row)
    }
}

/// The pixels of one phase and what they read.
#[derive(Clone, Debug)]
pub(super) struct Phase {
    /// The taps, as numbers `ky·KW + kx`.
    pub(super) taps: Vec<usize>,
    targets: Vec<u32>,
    /// `[row][tap]`.
    sources: Vec<u32>,
}

impl Rows for &Phase {
    #[inline(always)]
    fn len(&self) -> usize {
        self.targets.len()
    }

    #[inline(always)]
    fn target(&self, row: usize) -> usize {
        self.targets[row] as usize
    }

    #[inline(always)]
    fn source(&self, row: usize, tap: usize) -> Option<usize> {
        let source = self.sources[row * self.taps.len() + tap];
        (source != OUTSIDE).then_some(source as usize)
    }
}

impl Phase {
    /// The one phase of a forward pass.
    pub(super) fn forward(shape: &ConvShape) -> Vec<Self> {
        let axes = [Axis::forward(shape, 0), Axis::forward(shape, 1)];
        Self::of_axes(&axes, shape.input[1])
    }

    /// The phases of an input gradient.
    pub(super) fn backward(shape: &ConvShape) -> Vec<Self> {
        let axes = [Axis::backward(shape, 0), Axis::backward(shape, 1)];
        Self::of_axes(&axes, shape.output[1])
    }

    fn of_axes([rows, columns]: &[Axis; 2], source_width: usize) -> Vec<Self> {
        let source = |y, x, ky, kx| match (rows.source(y, ky), columns.source(x, kx)) {
            (Some(y), Some(x)) => pixel(y * source_width + x),
            _ => OUTSIDE,
        };
        let mut phases = Vec::new();
        for row_class in rows.classes() {
            for column_class in columns.classes() {
                let taps = pairs(&row_class.taps, &column_class.taps);
                let targets = pairs(&row_class.positions, &column_class.positions);
                phases.push(Self {
                    sources: targets
                        .clone()
                        .flat_map(|(y, x)| taps.clone().map(move |(ky, kx)| source(y, x, ky, kx)))
                        .collect(),
                    targets: targets.map(|(y, x)| pixel(y * columns.len() + x)).collect(),
                    taps: taps.map(|(ky, kx)| ky * columns.taps() + kx).collect(),
                });
            }
        }
        phases
    }
}

/// All pairs of a row and a column, row by row.
fn pairs<'a>(
    rows: &'a [usize],
    columns: &'a [usize],
) -> impl Iterator<Item = (usize, usize)> + Clone + 'a {
    rows.iter().flat_map(move |&row| columns.iter().map(move |&column| (row, column)))
}

fn pixel(number: usize) -> u32 {
    u32::try_from(number).expect("fewer than 2^32 pixels")
}
