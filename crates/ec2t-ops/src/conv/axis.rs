//! One axis of a convolution, rows or columns: which source position a tap reads.
//!
//! Forward, position `p` of the output reads position `p·stride + tap·dilation −
//! padding` of the input. Backward, the roles change: position `p` of the input's
//! gradient reads the one position of the output's gradient, if any, whose forward
//! window reached `p` through that tap. Everything else about the two directions
//! is the same, so all that follows is written once, over an [`Axis`].

use ec2t_kernels::ConvShape;

/// Source positions for each target position and tap.
#[derive(Clone, Debug)]
pub(super) struct Axis {
    /// Positions that lie this far apart read through the same taps, but for the
    /// borders: 1 forward, the stride backward.
    period: usize,
    /// How far apart two such positions' sources are.
    source_step: usize,
    taps: usize,
    /// Number of source positions.
    source_len: usize,
    /// `[position][tap]`; none outside the source.
    sources: Vec<Option<usize>>,
}

/// Evenly spaced positions that read through exactly the same taps.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Run {
    /// The first position.
    pub(super) first: usize,
    /// From one position to the next.
    pub(super) step: usize,
    /// From one position's source to the next one's.
    pub(super) source_step: usize,
    /// Number of positions.
    pub(super) len: usize,
    /// Taps, each with the first position's source.
    pub(super) taps: Vec<(usize, usize)>,
}

/// Positions of an axis that share their taps.
#[derive(Clone, Debug)]
pub(super) struct Class {
    pub(super) positions: Vec<usize>,
    /// Taps that read the source at one position or more.
    pub(super) taps: Vec<usize>,
}

impl Axis {
    /// Rows (`dim` 0) or columns (1) of the output, reading the input.
    pub(super) fn forward(shape: &ConvShape, dim: usize) -> Self {
        Self::clipped(Reads::forward(shape, dim), 0, shape.input[dim])
    }

    /// Rows (`dim` 0) or columns (1) of the input, reading the output.
    pub(super) fn backward(shape: &ConvShape, dim: usize) -> Self {
        Self::clipped(Reads::backward(shape, dim), 0, shape.output[dim])
    }

    /// [`forward`](Self::forward) from an input with as many zeros around it as taps
    /// reach; and how many are in front.
    pub(super) fn forward_padded(shape: &ConvShape, dim: usize) -> (Self, usize) {
        Self::padded(Reads::forward(shape, dim), shape.input[dim])
    }

    /// [`backward`](Self::backward) from an output with zeros around it; and how many
    /// are in front.
    pub(super) fn backward_padded(shape: &ConvShape, dim: usize) -> (Self, usize) {
        Self::padded(Reads::backward(shape, dim), shape.output[dim])
    }

    fn padded(reads: Reads, source_len: usize) -> (Self, usize) {
        let sources = reads.sources.iter().flatten();
        let before = sources.clone().map(|source| (-source).max(0)).max().unwrap_or(0) as usize;
        let end = sources.max().map_or(0, |last| last + 1).max(source_len as isize) as usize;
        (Self::clipped(reads, before, before + end), before)
    }

    /// Sources, shifted, from 0 to `source_len`.
    fn clipped(reads: Reads, shift: usize, source_len: usize) -> Self {
        let Reads { period, source_step, taps, sources } = reads;
        let place = |source: Option<isize>| source?.checked_add_unsigned(shift)?.try_into().ok();
        let inside = |source| place(source).filter(|&source| source < source_len);
        let sources = sources.into_iter().map(inside).collect();
        Self { period, source_step, taps, source_len, sources }
    }

    /// Number of taps.
    pub(super) fn taps(&self) -> usize {
        self.taps
    }

    /// Number of target positions.
    pub(super) fn len(&self) -> usize {
        self.sources.len() / self.taps
    }

    /// Number of source positions.
    pub(super) fn source_len(&self) -> usize {
        self.source_len
    }

    /// What a position reads through a tap.
    pub(super) fn source(&self, position: usize, tap: usize) -> Option<usize> {
        self.sources[position * self.taps + tap]
    }

    /// The positions, grouped by the taps that they read through.
    pub(super) fn classes(&self) -> impl Iterator<Item = Class> {
        (0..self.period.min(self.len())).map(|first| {
            let positions: Vec<_> = (first..self.len()).step_by(self.period).collect();
            let reads = |&tap: &usize| positions.iter().any(|&p| self.source(p, tap).is_some());
            let taps = (0..self.taps).filter(reads).collect();
            Class { positions, taps }
        })
    }

    /// The taps inside the source at a position, each with what it reads.
    pub(super) fn inside(&self, position: usize) -> impl Iterator<Item = (usize, usize)> {
        (0..self.taps).filter_map(move |tap| Some((tap, self.source(position, tap)?)))
    }

    /// The positions of a padded axis, as runs.
    pub(super) fn runs(&self) -> impl Iterator<Item = Run> {
        self.classes().map(|Class { positions, .. }| Run {
            first: positions[0],
            step: self.period,
            source_step: self.source_step,
            len: positions.len(),
            taps: self.inside(positions[0]).collect(),
        })
    }
}

/// What taps read along an axis, inside the source or not.
struct Reads {
    period: usize,
    source_step: usize,
    taps: usize,
    /// `[position][tap]`; none between the pixels of a strided output.
    sources: Vec<Option<isize>>,
}

impl Reads {
    fn forward(shape: &ConvShape, dim: usize) -> Self {
        let [stride, dilation, padding] =
            [shape.stride, shape.dilation, [shape.padding[0], shape.padding[1]]]
                .map(|of| of[dim] as isize);
        let source = |position, tap| Some(position * stride + tap * dilation - padding);
        let steps = [1, shape.stride[dim]];
        Self::new(shape.output[dim], steps, shape.kernel[dim], source)
    }

    fn backward(shape: &ConvShape, dim: usize) -> Self {
        let [stride, dilation, padding] =
            [shape.stride, shape.dilation, [shape.padding[0], shape.padding[1]]]
                .map(|of| of[dim] as isize);
        let source = |position, tap| {
            let start = position + padding - tap * dilation;
            (start % stride == 0).then_some(start / stride)
        };
        let steps = [shape.stride[dim], 1];
        Self::new(shape.input[dim], steps, shape.kernel[dim], source)
    }

    fn new(
        positions: usize,
        [period, source_step]: [usize; 2],
        taps: usize,
        source: impl Fn(isize, isize) -> Option<isize>,
    ) -> Self {
        let places = (0..positions).flat_map(|p| (0..taps).map(move |tap| [p, tap]));
        let sources = places.map(|[p, tap]| source(p as isize, tap as isize)).collect();
        Self { period, source_step, taps, sources }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shape(input: usize, kernel: usize, stride: usize, padding: usize) -> ConvShape {
        let output = (input + 2 * padding - kernel) / stride + 1;
        ConvShape {
            in_channels: 1,
            out_channels: 1,
            input: [input; 2],
            kernel: [kernel; 2],
            stride: [stride; 2],
            dilation: [1; 2],
            padding: [padding; 4],
            groups: 1,
            output: [output; 2],
        }
    }

    #[test]
    fn backward_inverts_forward() {
        for (input, kernel, stride, padding) in [(8, 3, 1, 1), (9, 5, 2, 2), (7, 1, 2, 0)] {
            let shape = shape(input, kernel, stride, padding);
            let (forward, backward) = (Axis::forward(&shape, 0), Axis::backward(&shape, 0));
            for output in 0..forward.len() {
                for (tap, input) in forward.inside(output) {
                    assert_eq!(backward.source(input, tap), Some(output));
                }
            }
            let count =
                |axis: &Axis| (0..axis.len()).map(|p| axis.inside(p).count()).sum::<usize>();
            assert_eq!(count(&forward), count(&backward));
        }
    }

    #[test]
    fn runs_of_a_padded_axis_read_through_the_same_taps() {
        let (axis, before) = Axis::forward_padded(&shape(16, 3, 1, 1), 1);
        assert_eq!([before, axis.source_len()], [1, 18]);
        let runs: Vec<_> = axis.runs().collect();
        let taps = vec![(0, 0), (1, 1), (2, 2)];
        assert_eq!(runs, [Run { first: 0, step: 1, source_step: 1, len: 16, taps }]);
    }

    /// The last pixel reads behind the input, the first one does not read in front.
    #[test]
    fn zeros_are_where_taps_reach() {
        let same = ConvShape { padding: [0, 0, 1, 1], output: [4; 2], ..shape(8, 3, 2, 0) };
        let (axis, before) = Axis::forward_padded(&same, 0);
        assert_eq!([before, axis.source_len()], [0, 9]);
        let (axis, before) = Axis::backward_padded(&same, 0);
        assert_eq!([before, axis.source_len()], [1, 5]);
    }

    #[test]
    fn runs_of_a_strided_gradient_cover_each_position_once() {
        let runs: Vec<_> = Axis::backward_padded(&shape(9, 3, 2, 1), 1).0.runs().collect();
        let mut positions: Vec<_> =
            runs.iter().flat_map(|run| (0..run.len).map(|i| run.first + i * run.step)).collect();
        positions.sort_unstable();
        assert_eq!(positions, (0..9).collect::<Vec<_>>());
        let taps: Vec<_> = runs.iter().map(|run| run.taps.len()).collect();
        assert_eq!(taps, [1, 2]);
    }

    #[test]
    fn taps_that_never_reach_the_image_are_dropped() {
        let classes: Vec<_> = Axis::forward(&shape(1, 3, 1, 1), 0).classes().collect();
        assert_eq!(classes.len(), 1);
        assert_eq!(classes[0].taps, [1]);
    }
}
