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
        let (stride, dilation) = (shape.stride[dim], shape.dilation[dim]);
        Self::new(shape.output[dim], [1, stride], shape.kernel[dim], |position, tap| {
            let padded = position * stride + tap * dilation;
            padded.checked_sub(shape.padding[dim]).filter(|&source| source < shape.input[dim])
        })
    }

    /// Rows (`dim` 0) or columns (1) of the input, reading the output.
    pub(super) fn backward(shape: &ConvShape, dim: usize) -> Self {
        let (stride, dilation) = (shape.stride[dim], shape.dilation[dim]);
        Self::new(shape.input[dim], [stride, 1], shape.kernel[dim], |position, tap| {
            let start = (position + shape.padding[dim]).checked_sub(tap * dilation)?;
            let source = start / stride;
            (start % stride == 0 && source < shape.output[dim]).then_some(source)
        })
    }

    fn new(
        positions: usize,
        [period, source_step]: [usize; 2],
        taps: usize,
        source: impl Fn(usize, usize) -> Option<usize>,
    ) -> Self {
        let source = &source;
        let sources =
            (0..positions).flat_map(|p| (0..taps).map(move |tap| source(p, tap))).collect();
        Self { period, source_step, taps, sources }
    }

    /// Number of taps.
    pub(super) fn taps(&self) -> usize {
        self.taps
    }

    /// Number of target positions.
    pub(super) fn len(&self) -> usize {
        self.sources.len() / self.taps
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

    /// The positions, as runs: short ones at the borders, a long one between.
    pub(super) fn runs(&self) -> Vec<Run> {
        let mut runs: Vec<Run> = Vec::new();
        for class in self.classes() {
            let begin = runs.len();
            for position in class.positions {
                let taps: Vec<_> = self.inside(position).collect();
                let same = |run: &&mut Run| {
                    let taps = taps.iter().map(|(tap, _)| tap);
                    run.taps.iter().map(|(tap, _)| tap).eq(taps)
                };
                match runs[begin..].last_mut().filter(same) {
                    Some(run) => run.len += 1,
                    None => runs.push(Run {
                        first: position,
                        step: self.period,
                        source_step: self.source_step,
                        len: 1,
                        taps,
                    }),
                }
            }
        }
        runs
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
    fn runs_are_borders_and_a_middle() {
        let runs = Axis::forward(&shape(16, 3, 1, 1), 1).runs();
        let lengths: Vec<_> = runs.iter().map(|run| (run.first, run.len)).collect();
        assert_eq!(lengths, [(0, 1), (1, 14), (15, 1)]);
        assert_eq!(runs[1].taps, [(0, 0), (1, 1), (2, 2)]);
    }

    #[test]
    fn runs_of_a_strided_gradient_cover_each_position_once() {
        let runs = Axis::backward(&shape(9, 3, 2, 1), 1).runs();
        let mut positions: Vec<_> =
            runs.iter().flat_map(|run| (0..run.len).map(|i| run.first + i * run.step)).collect();
        positions.sort_unstable();
        assert_eq!(positions, (0..9).collect::<Vec<_>>());
    }

    #[test]
    fn taps_that_never_reach_the_image_are_dropped() {
        let classes: Vec<_> = Axis::forward(&shape(1, 3, 1, 1), 0).classes().collect();
        assert_eq!(classes.len(), 1);
        assert_eq!(classes[0].taps, [1]);
    }
}
