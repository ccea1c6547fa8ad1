//! How the channels of a convolution are taken up: input channels in *blocks*, whose copy
//! fits into the cache, output channels in *chunks*, which share such a copy. Neither
//! reaches beyond a group.

use std::ops::Range;

use crate::shape::ConvShape;

/// Blocks and chunks of one convolution.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Blocks<'a> {
    pub(crate) shape: &'a ConvShape,
    /// Input channels of a block, but for the last one of a group.
    pub(crate) length: usize,
    /// Output channels of a chunk, at most.
    pub(crate) chunk: usize,
}

/// Input channels of blocks of at most `most`, shared out evenly.
pub(crate) fn even_length(shape: &ConvShape, most: usize) -> usize {
    let inputs = shape.in_channels / shape.groups;
    inputs.div_ceil(inputs.div_ceil(most))
}

impl Blocks<'_> {
    /// Input channels of each group.
    fn group_inputs(&self) -> usize {
        self.shape.in_channels / self.shape.groups
    }

    /// Output channels of each group.
    pub(crate) fn group_outputs(&self) -> usize {
        self.shape.out_channels / self.shape.groups
    }

    /// Output channels of the longest chunk.
    pub(crate) fn longest_chunk(&self) -> usize {
        self.chunk.min(self.group_outputs())
    }

    /// Blocks in each group.
    pub(crate) fn count(&self) -> usize {
        self.group_inputs().div_ceil(self.length)
    }

    /// Input channels of a block of a group.
    pub(crate) fn channels(&self, group: usize, block: usize) -> Range<usize> {
        let first = group * self.group_inputs();
        let start = block * self.length;
        first + start..first + (start + self.length).min(self.group_inputs())
    }

    /// Chunks of output channels, `(group, outputs)`.
    pub(crate) fn chunks(&self) -> impl Iterator<Item = (usize, Range<usize>)> + use<> {
        let (chunk, outputs) = (self.chunk, self.group_outputs());
        (0..self.shape.groups).flat_map(move |group| {
            let (first, end) = (group * outputs, (group + 1) * outputs);
            (first..end).step_by(chunk).map(move |start| (group, start..(start + chunk).min(end)))
        })
    }

    /// Position of an output's first weight of a block among all weights,
    /// `[O, C / groups, KH, KW]`.
    pub(crate) fn first_weight(&self, output: usize, block: usize) -> usize {
        let [rows, columns] = self.shape.kernel;
        (output * self.group_inputs() + block * self.length) * rows * columns
    }

    /// What the taps of a block are, `[channels, KH, KW]`: channel, counted from the first
    /// of the block, row and column of each.
    pub(crate) fn taps(&self, block: usize) -> impl Iterator<Item = [usize; 3]> + use<> {
        let [rows, columns] = self.shape.kernel;
        (0..self.channels(0, block).len()).flat_map(move |channel| {
            (0..rows).flat_map(move |row| (0..columns).map(move |column| [channel, row, column]))
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn blocks_and_chunks_cover_each_group_once() {
        let shape = ConvShape {
            in_channels: 14,
            out_channels: 10,
            input: [1, 1],
            kernel: [2, 3],
            stride: [1, 1],
            dilation: [1, 1],
            padding: [1, 1, 0, 1],
            groups: 2,
            output: [1, 1],
        };
        let blocks = Blocks { shape: &shape, length: even_length(&shape, 3), chunk: 4 };
        assert_eq!((blocks.count(), blocks.length, blocks.longest_chunk()), (3, 3, 4));
        assert_eq!([0, 1, 2].map(|block| blocks.channels(1, block)), [7..10, 10..13, 13..14]);
        let chunks: Vec<_> = blocks.chunks().collect();
        assert_eq!(chunks, [(0, 0..4), (0, 4..5), (1, 5..9), (1, 9..10)]);
        assert_eq!(blocks.first_weight(6, 2), (6 * 7 + 6) * 6);
        assert_eq!(blocks.taps(2).last(), Some([0, 1, 2]));
    }
}
