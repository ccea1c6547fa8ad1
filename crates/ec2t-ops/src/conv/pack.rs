//! Weights in the order in which the product reads them.
//!
//! The columns of the product, output channels forward and input channels backward,
//! are cut into panels as wide as the register tile. A panel holds, for each tap
//! and each channel of the sum, its columns side by side: `[group][panel][tap]
//! [depth][column]`. Columns are filled up with zeros to whole vectors.

use super::tile::TileShape;
use ec2t_kernels::ConvShape;
use rayon::prelude::*;

/// Sizes of one group of a product: target columns = Σ over taps and depth.
#[derive(Clone, Copy, Debug)]
pub(super) struct Panels {
    pub(super) groups: usize,
    /// Source channels of a group.
    pub(super) depth: usize,
    /// Target channels of a group.
    pub(super) columns: usize,
    /// Columns filled up to whole vectors.
    pub(super) padded: usize,
    /// Columns of a full panel.
    pub(super) width: usize,
}

/// Which of a layer's two products the weights are for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Direction {
    Forward,
    Backward,
}

/// A panel: the columns of one group that one register tile computes.
#[derive(Clone, Copy, Debug)]
pub(super) struct Panel {
    /// First source channel.
    pub(super) source: usize,
    /// First target channel.
    pub(super) target: usize,
    /// First column, counted over groups with their zeros.
    pub(super) slot: usize,
    /// Target channels, without zeros.
    pub(super) columns: usize,
}

impl Panels {
    pub(super) fn new(shape: &ConvShape, direction: Direction, tile: TileShape) -> Self {
        let inputs = shape.in_channels / shape.groups;
        let outputs = shape.out_channels / shape.groups;
        let (depth, columns) = match direction {
            Direction::Forward => (inputs, outputs),
            Direction::Backward => (outputs, inputs),
        };
        let padded = columns.next_multiple_of(tile.lanes);
        let width = tile.vectors * tile.lanes;
        Self { groups: shape.groups, depth, columns, padded, width }
    }

    /// Columns of all groups, with their zeros.
    pub(super) fn slots(&self) -> usize {
        self.groups * self.padded
    }

    /// Values of packed weights for this many taps.
    pub(super) fn packed_len(&self, taps: usize) -> usize {
        self.slots() * taps * self.depth
    }

    /// Channels of a source pixel.
    pub(super) fn source_channels(&self) -> usize {
        self.groups * self.depth
    }

    /// Channels of a target pixel.
    pub(super) fn target_channels(&self) -> usize {
        self.groups * self.columns
    }

    /// All panels, in the order of the packed weights.
    #[inline(always)]
    pub(super) fn iter(self) -> impl Iterator<Item = Panel> {
        (0..self.groups).flat_map(move |group| {
            (0..self.columns).step_by(self.width).map(move |first| Panel {
                source: group * self.depth,
                target: group * self.columns + first,
                slot: group * self.padded + first,
                columns: self.width.min(self.columns - first),
            })
        })
    }

    /// Columns of a panel, with its zeros.
    #[inline(always)]
    pub(super) fn padded_columns(&self, panel: &Panel) -> usize {
        self.width.min(self.padded - panel.slot % self.padded)
    }

    /// Packs weights `[O, I / groups, KH, KW]` for the taps of one phase.
    pub(super) fn pack(
        &self,
        shape: &ConvShape,
        direction: Direction,
        taps: &[usize],
        weights: &[f32],
        packed: &mut [f32],
    ) {
        let area = shape.kernel[0] * shape.kernel[1];
        let inputs = shape.in_channels / shape.groups;
        // Within a group, in OIHW: the distances of neighbours in depth and column.
        let (along_depth, along_columns) = match direction {
            Direction::Forward => (area, inputs * area),
            Direction::Backward => (inputs * area, area),
        };
        let column_values = taps.len() * self.depth;
        let mut parts = Vec::with_capacity(self.groups * self.columns.div_ceil(self.width));
        let mut rest = packed;
        for panel in self.iter() {
            let width = self.padded_columns(&panel);
            let part = rest.split_off_mut(..width * column_values).expect("room for all panels");
            parts.push((panel, width, part));
        }
        parts.into_par_iter().for_each(|(panel, width, part)| {
            let group = panel.slot / self.padded;
            let first = panel.slot % self.padded;
            let group_weights = &weights[group * self.depth * self.columns * area..];
            let mut values = part.chunks_exact_mut(width);
            for &tap in taps {
                for (depth, values) in (0..self.depth).zip(&mut values) {
                    let start = first * along_columns + depth * along_depth + tap;
                    let (columns, zeros) = values.split_at_mut(panel.columns);
                    let source = group_weights[start..].iter().step_by(along_columns);
                    columns.iter_mut().zip(source).for_each(|(to, from)| *to = *from);
                    zeros.fill(0.0);
                }
            }
        });
    }
}
