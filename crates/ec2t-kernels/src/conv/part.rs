//! Parts of a convolution's output, for threads that compute them side by side.
//!
//! A part is a rectangle of pixels of some output channels. There are two ways to
//! split one:
//!
//! * between tiles: each part copies what its own tiles read, but tiles may not come
//!   out even;
//! * between outputs: all parts copy the same input, unless its channels are those of
//!   other groups.
//!
//! Whichever seems to take less time is chosen. No bit of a result depends on it.

use std::ops::Range;

use super::layout::Layout;
use crate::arch::Planes;
use crate::shape::ConvShape;

/// What copying a vector costs, in additions of one.
const COPY_COST: f64 = 2.0;

/// Weights that are not zero, of all that a kernel has: a guess.
const DENSITY: f64 = 0.5;

/// Outputs of a convolution that one thread computes.
///
/// [`TernaryConv::whole`](super::TernaryConv::whole) and the same of other convolutions
/// give all outputs of one, `outputs` some of its channels, and `split` makes two parts of
/// one.
#[derive(Debug)]
pub struct ConvPart<'o> {
    /// Output channels.
    pub(super) outputs: Range<usize>,
    /// Input channels that the caller has: all, but for those of a
    /// [slice](super::DenseConv::slice).
    pub(super) inputs: Range<usize>,
    /// Of the image as the layout sees it. If there is more than one row, then all columns.
    pub(super) rows: Range<usize>,
    pub(super) columns: Range<usize>,
    pub(super) values: Planes<'o>,
}

impl<'o> ConvPart<'o> {
    /// All of `output`.
    pub(super) fn whole(shape: &ConvShape, output: &'o mut [f32]) -> Self {
        Self::outputs(shape, 0..shape.out_channels, output)
    }

    /// Some channels of an output, `[channels, H, W]`.
    pub(super) fn outputs(shape: &ConvShape, outputs: Range<usize>, values: &'o mut [f32]) -> Self {
        assert_eq!(values.len(), outputs.len() * shape.output_plane(), "length of the output");
        Self {
            outputs,
            inputs: 0..shape.in_channels,
            rows: 0..shape.output[0],
            columns: 0..shape.output[1],
            values: Planes::new(values, shape.output_plane()),
        }
    }

    /// Whether it is a part of what a convolution computes.
    pub(super) fn is_of(&self, shape: &ConvShape) -> bool {
        self.outputs.end <= shape.out_channels
            && self.inputs.end <= shape.in_channels
            && self.rows.end <= shape.output[0]
            && self.columns.end <= shape.output[1]
            && self.values.pixels() == self.rows.len() * self.columns.len()
            && (self.rows.len() <= 1 || self.columns.len() == shape.output[1])
    }

    /// Splits the part between groups, for so many threads.
    pub(super) fn split_groups(
        self,
        group_outputs: usize,
        threads: [usize; 2],
    ) -> (Self, Option<Self>) {
        match Cut::new(self.outputs.len(), group_outputs, threads) {
            Some(cut) => self.split_outputs(cut.at),
            None => (self, None),
        }
    }

    /// Splits the part for two groups of so many threads; `None` where it is a single
    /// tile of a single output. `additions` are those of all outputs before each one.
    pub(super) fn split(
        self,
        layout: &Layout,
        additions: impl Fn(usize) -> usize,
        threads: [usize; 2],
    ) -> (Self, Option<Self>) {
        let tile = match layout.shape.output[0] {
            1 => layout.tile[1] * layout.phases,
            _ => layout.tile[0],
        };
        let is_in_one_group = self.outputs.len() <= layout.blocks().group_outputs();
        let by_tiles = Cut::new(self.extent(layout), tile, threads);
        let by_outputs = match is_in_one_group {
            true => Cut::uneven(self.outputs.clone(), additions, threads),
            false => Cut::new(self.outputs.len(), layout.blocks().group_outputs(), threads),
        };
        let copied = if is_in_one_group { self.copy_share(layout) } else { 0.0 };
        let all: usize = threads.iter().sum();
        let by_outputs_time = |cut: Cut| copied * all as f64 + (1.0 - copied) * cut.time;
        match (by_tiles, by_outputs) {
            (Some(tiles), Some(outputs)) if by_outputs_time(outputs) < tiles.time => {
                self.split_outputs(outputs.at)
            }
            (Some(tiles), _) => self.split_pixels(layout, tiles.at),
            (None, Some(outputs)) => self.split_outputs(outputs.at),
            (None, None) => (self, None),
        }
    }

    /// Rows, or columns where there is one row.
    fn extent(&self, layout: &Layout) -> usize {
        match layout.shape.output[0] {
            1 => self.columns.len(),
            _ => self.rows.len(),
        }
    }

    /// About what share of the time is taken by copying the input.
    fn copy_share(&self, layout: &Layout) -> f64 {
        let [rows, columns] = layout.shape.kernel;
        let copied = COPY_COST * (layout.channel_len() / layout.tile[1]) as f64;
        let pixels = layout.tile[0] * layout.phases;
        let added = DENSITY * (self.outputs.len() * rows * columns * pixels) as f64;
        copied / (copied + added)
    }

    fn split_outputs(self, at: usize) -> (Self, Option<Self>) {
        let Self { outputs, inputs, rows, columns, values } = self;
        let (first, second) = values.split_channels(at);
        let middle = outputs.start + at;
        let [before, after] = [outputs.start..middle, middle..outputs.end];
        let second = Self {
            outputs: after,
            inputs: inputs.clone(),
            rows: rows.clone(),
            columns: columns.clone(),
            values: second,
        };
        (Self { outputs: before, inputs, rows, columns, values: first }, Some(second))
    }

    /// Splits the rows, or the columns where there is one row.
    fn split_pixels(self, layout: &Layout, at: usize) -> (Self, Option<Self>) {
        let Self { outputs, inputs, rows, columns, values } = self;
        let is_row = layout.shape.output[0] == 1;
        let (first, second) = values.split_pixels(if is_row { at } else { at * columns.len() });
        let halves = |range: &Range<usize>, is_split| match is_split {
            true => [range.start..range.start + at, range.start + at..range.end],
            false => [range.clone(), range.clone()],
        };
        let [above, below] = halves(&rows, !is_row);
        let [left, right] = halves(&columns, is_row);
        let second = Self {
            outputs: outputs.clone(),
            inputs: inputs.clone(),
            rows: below,
            columns: right,
            values: second,
        };
        (Self { outputs, inputs, rows: above, columns: left, values: first }, Some(second))
    }
}

/// Where something long is cut in two.
#[derive(Clone, Copy, Debug, PartialEq)]
struct Cut {
    at: usize,
    /// Time that it takes, 1 where all threads have the same to do.
    time: f64,
}

impl Cut {
    /// Cuts what has `length` between two of its pieces of `piece`, for so many threads.
    fn new(length: usize, piece: usize, [first, second]: [usize; 2]) -> Option<Self> {
        let pieces = length.div_ceil(piece);
        if pieces < 2 {
            return None;
        }
        let all = first + second;
        let at = ((pieces * first + all / 2) / all).clamp(1, pieces - 1) * piece;
        let share = |part: usize, threads: usize| part as f64 / threads as f64;
        let longest = share(at, first).max(share(length - at, second));
        Some(Self { at, time: longest * all as f64 / length as f64 })
    }

    /// Cuts outputs so that the additions of both halves fit the threads; `before` gives
    /// the additions before an output.
    fn uneven(
        outputs: Range<usize>,
        before: impl Fn(usize) -> usize,
        [first, second]: [usize; 2],
    ) -> Option<Self> {
        if outputs.len() < 2 {
            return None;
        }
        let start = before(outputs.start);
        let length = before(outputs.end) - start;
        let wanted = start + length * first / (first + second);
        let (mut low, mut high) = (outputs.start + 1, outputs.end - 1);
        while low < high {
            let middle = low.midpoint(high);
            match before(middle) < wanted {
                true => low = middle + 1,
                false => high = middle,
            }
        }
        let part = before(low) - start;
        let share = |part: usize, threads: usize| part as f64 / threads as f64;
        let longest = share(part, first).max(share(length - part, second));
        let time = longest * (first + second) as f64 / length.max(1) as f64;
        Some(Self { at: low - outputs.start, time })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cuts_lie_between_pieces() {
        assert_eq!(Cut::new(8, 8, [1, 1]), None);
        assert_eq!(Cut::new(32, 4, [1, 1]), Some(Cut { at: 16, time: 1.0 }));
        assert_eq!(Cut::new(14, 7, [1, 1]), Some(Cut { at: 7, time: 1.0 }));
        assert_eq!(Cut::new(12, 8, [1, 1]), Some(Cut { at: 8, time: 16.0 / 12.0 }));
        assert_eq!(Cut::new(9, 1, [1, 2]), Some(Cut { at: 3, time: 1.0 }));
        assert_eq!(Cut::new(2, 1, [1, 7]), Some(Cut { at: 1, time: 4.0 }));
    }

    #[test]
    fn outputs_are_cut_where_half_of_the_additions_are() {
        let before = |output: usize| [0, 10, 20, 60, 80][output];
        assert_eq!(Cut::uneven(0..4, before, [1, 1]), Some(Cut { at: 3, time: 1.5 }));
        assert_eq!(Cut::uneven(0..4, before, [1, 3]), Some(Cut { at: 2, time: 1.0 }));
        assert_eq!(Cut::uneven(1..3, before, [1, 1]), Some(Cut { at: 1, time: 1.6 }));
        assert_eq!(Cut::uneven(3..4, before, [1, 1]), None);
        assert_eq!(Cut::uneven(0..2, |_| 0, [1, 1]), Some(Cut { at: 1, time: 0.0 }));
    }
}
