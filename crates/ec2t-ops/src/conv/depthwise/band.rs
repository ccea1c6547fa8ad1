//! Bands of a source, copied with zeros around it; and what the pixels of a target
//! read in them.
//!
//! The source of a forward pass is the input, that of a backward pass the gradient of
//! the output; the target is as large as the other of the two. Both are `[H, W, C]`, an
//! image each. There are as many zeros around the source as taps reach, so that all
//! target pixels of a run read through the same taps.

use std::ops::Range;

use ec2t_kernels::ConvShape;

use super::super::axis::{Axis, Run};

/// About how many values a band has: it and the rows of the target that are made from
/// it stay in a core's second cache.
const BAND_VALUES: usize = 1 << 15;

/// What the pixels of a target read, from a source with zeros around it.
#[derive(Clone, Debug)]
pub(super) struct Plane {
    pub(super) channels: usize,
    /// Rows and columns of the target.
    pub(super) target: [usize; 2],
    /// Rows and columns of the source.
    source: [usize; 2],
    /// Zeros above and to the left of the source.
    before: [usize; 2],
    /// Columns of the source with its zeros.
    width: usize,
    /// For each row of the target, those of the padded source that it reads.
    reads: Vec<Range<usize>>,
    columns: Vec<Run>,
    /// `[row][run]`: the taps, each with the padded source's pixel of the run's first,
    /// by kernel row and then by source.
    taps: Vec<Vec<(usize, usize)>>,
    /// Rows of the target that are made from one band.
    band_rows: usize,
}

impl Plane {
    /// The output, made from the input.
    pub(super) fn forward(shape: &ConvShape) -> Self {
        let axes = [0, 1].map(|dim| Axis::forward_padded(shape, dim));
        Self::new(axes, shape.input, shape.in_channels)
    }

    /// The input's gradient, made from the output's.
    pub(super) fn backward(shape: &ConvShape) -> Self {
        let axes = [0, 1].map(|dim| Axis::backward_padded(shape, dim));
        Self::new(axes, shape.output, shape.in_channels)
    }

    fn new(axes: [(Axis, usize); 2], source: [usize; 2], channels: usize) -> Self {
        let before = [axes[0].1, axes[1].1];
        let [(rows, _), (columns, _)] = axes;
        let [height, width] = [rows.source_len(), columns.source_len()];
        let (target, kernel_width) = ([rows.len(), columns.len()], columns.taps());
        let mut columns: Vec<Run> = columns.runs().collect();
        columns.iter_mut().for_each(|run| run.taps.sort_by_key(|&(_, source)| source));
        let (mut reads, mut taps) = (Vec::new(), Vec::new());
        for row in 0..target[0] {
            let mut across: Vec<_> = rows.inside(row).collect();
            across.sort_by_key(|&(_, source)| source);
            let first = across.first().map_or(0, |&(_, source)| source);
            reads.push(first..across.last().map_or(first, |&(_, source)| source + 1));
            taps.extend(columns.iter().map(|run| {
                let of_row = |&(ky, y): &(usize, usize)| {
                    let place =
                        move |&(kx, x): &(usize, usize)| (ky * kernel_width + kx, y * width + x);
                    run.taps.iter().map(place)
                };
                across.iter().flat_map(of_row).collect()
            }));
        }
        let bands = (height * width * channels).div_ceil(BAND_VALUES).max(1);
        let band_rows = target[0].div_ceil(bands).max(1);
        Self { channels, target, source, before, width, reads, columns, taps, band_rows }
    }

    /// Values of an image of the source.
    pub(super) fn source_len(&self) -> usize {
        self.source[0] * self.source[1] * self.channels
    }

    /// Values of an image of the target.
    pub(super) fn target_len(&self) -> usize {
        self.target[0] * self.target[1] * self.channels
    }

    /// The runs of a row of the target, with their taps.
    pub(super) fn runs(&self, row: usize) -> impl Iterator<Item = (&Run, &[(usize, usize)])> {
        let taps = &self.taps[row * self.columns.len()..];
        self.columns.iter().zip(taps.iter().map(Vec::as_slice))
    }

    /// The rows of the target, a band each.
    pub(super) fn bands(&self) -> impl Iterator<Item = Range<usize>> {
        let [height, _] = self.target;
        let band = self.band_rows;
        (0..height).step_by(band).map(move |first| first..height.min(first + band))
    }

    /// Values of the largest band.
    pub(super) fn band_len(&self) -> usize {
        let rows = self.bands().map(|rows| self.rows_of(rows).len()).max();
        rows.unwrap_or(0) * self.width * self.channels
    }

    /// Copies what some rows of the target read, and tells which pixel of the padded
    /// source is the first.
    pub(super) fn copy(&self, source: &[f32], rows: Range<usize>, band: &mut [f32]) -> usize {
        let ([height, width], [above, left]) = (self.source, self.before);
        let (row_len, left) = (width * self.channels, left * self.channels);
        let rows = self.rows_of(rows);
        let first = rows.start * self.width;
        for (y, target) in rows.zip(band.chunks_exact_mut(self.width * self.channels)) {
            match y.checked_sub(above).filter(|&y| y < height) {
                Some(y) => {
                    target[..left].fill(0.0);
                    target[left..][..row_len].copy_from_slice(&source[y * row_len..][..row_len]);
                    target[left + row_len..].fill(0.0);
                }
                None => target.fill(0.0),
            }
        }
        first
    }

    /// The rows of the padded source that some rows of the target read.
    fn rows_of(&self, rows: Range<usize>) -> Range<usize> {
        let reads = self.reads[rows].iter().filter(|reads| !reads.is_empty());
        let first = reads.clone().map(|reads| reads.start).min().unwrap_or(0);
        first..reads.map(|reads| reads.end).max().unwrap_or(first)
    }
}
