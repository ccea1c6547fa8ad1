//! The zero-padded copy of an image in which every tap is a shift.
//!
//! A convolution reads, for tap `(c, i, j)` and output pixel `(y, x)`, input
//! pixel `(y·s + i·d, x·s + j·d)` of padded channel `c`. With stride 1 that is
//! the padded plane shifted by a constant. With stride `s` it still is, once
//! each plane is split into `s × s` *phases*: phase `(p, q)` holds rows
//! `p, p + s, …` and columns `q, q + s, …`. Tap `(i, j)` then lies in phase
//! `(i·d mod s, j·d mod s)`, shifted by `(i·d div s, j·d div s)`.
//!
//! All phases have one pitch, so output row `y` starts `y · pitch` after output
//! row 0 for every tap: a whole output channel is one contiguous *run*, and a
//! tap is the offset at which the run starts. The pixels of a run between the
//! end of one output row and the start of the next are computed and dropped.

use crate::epilogue::Epilogue;
use crate::shape::{ConvShape, TooLarge};

/// Pixels that are summed at a time, in registers.
const TILE: usize = 32;
/// The same for what is left at the end of a run.
const TAIL: usize = 8;

/// Sums the taps of a convolution over a few pixels.
pub(crate) trait SumTaps {
    /// Sums of output channel `o` at `N` pixels in a row; offset 0 of its taps
    /// is the start of `copy`.
    fn sum<const N: usize>(&self, o: usize, copy: &[f32]) -> [f32; N];

    /// What follows the sums.
    fn epilogue(&self) -> &Epilogue;
}

/// Layout of the padded, phase-split copy: `[C][phase row][phase column][rows][pitch]`.
#[derive(Clone, Debug)]
pub(crate) struct Planes {
    shape: ConvShape,
    phases: [usize; 2],
    rows: usize,
    pitch: usize,
}

impl Planes {
    /// The layout for a convolution.
    ///
    /// # Errors
    /// Where an offset could exceed 32 bits.
    pub(crate) fn new(shape: ConvShape) -> Result<Self, TooLarge> {
        Self::checked(shape).ok_or(TooLarge { channels: shape.in_channels, input: shape.input })
    }

    fn checked(shape: ConvShape) -> Option<Self> {
        let mut phases = [0; 2];
        let mut extent = [0; 2];
        for axis in 0..2 {
            let reach = (shape.kernel[axis] - 1).checked_mul(shape.dilation[axis])?;
            phases[axis] = shape.stride[axis].min(reach.checked_add(1)?);
            extent[axis] = shape.output[axis].checked_add(reach / shape.stride[axis])?;
        }
        let [rows, pitch] = extent;
        let total = [shape.in_channels, phases[0], phases[1], rows, pitch]
            .into_iter()
            .try_fold(1, usize::checked_mul)?;
        u32::try_from(total.checked_add(TAIL)?).ok()?;
        Some(Self { shape, phases, rows, pitch })
    }

    /// Length of the scratch space that [`convolve`](Self::convolve) needs.
    pub(crate) fn workspace_len(&self) -> usize {
        self.copy_len() + self.run_len()
    }

    /// Length of the copy, with room for the last tile to read past its end.
    fn copy_len(&self) -> usize {
        self.shape.in_channels * self.channel_len() + TAIL
    }

    /// Pixels of one output channel, counted with the gaps between its rows,
    /// in whole tiles.
    fn run_len(&self) -> usize {
        let [height, width] = self.shape.output;
        ((height - 1) * self.pitch + width).next_multiple_of(TAIL)
    }

    fn channel_len(&self) -> usize {
        self.phases[0] * self.phases[1] * self.plane_len()
    }

    fn plane_len(&self) -> usize {
        self.rows * self.pitch
    }

    /// Offsets of all taps of an output channel, in the order of its weights.
    pub(crate) fn offsets(&self, output_channel: usize) -> impl Iterator<Item = u32> + Clone + '_ {
        let first = self.shape.first_input(output_channel);
        let channels = first..first + self.shape.in_channels / self.shape.groups;
        let [kernel_rows, kernel_columns] = self.shape.kernel;
        channels.flat_map(move |channel| {
            (0..kernel_rows).flat_map(move |row| {
                (0..kernel_columns).map(move |column| self.offset(channel, row, column))
            })
        })
    }

    /// Where the run of tap `(row, column)` of an input channel starts.
    fn offset(&self, channel: usize, row: usize, column: usize) -> u32 {
        let ConvShape { stride, dilation, .. } = self.shape;
        let (y, x) = (row * dilation[0], column * dilation[1]);
        let phase = (y % stride[0]) * self.phases[1] + x % stride[1];
        let shift = y / stride[0] * self.pitch + x / stride[1];
        let offset = channel * self.channel_len() + phase * self.plane_len() + shift;
        u32::try_from(offset).expect("checked when the layout was made")
    }

    /// Convolves one image.
    ///
    /// # Panics
    /// Where `input`, `residual` or `output` has the wrong length or
    /// `workspace` is too short.
    pub(crate) fn convolve(
        &self,
        kernel: &impl SumTaps,
        input: &[f32],
        residual: Option<&[f32]>,
        output: &mut [f32],
        workspace: &mut [f32],
    ) {
        assert_eq!(input.len(), self.shape.input_len(), "length of the input");
        assert_eq!(output.len(), self.shape.output_len(), "length of the output");
        assert!(residual.is_none_or(|r| r.len() == output.len()), "length of the residual");
        let (copy, rest) = workspace.split_at_mut(self.copy_len());
        let run = &mut rest[..self.run_len()];
        self.fill(input, copy);
        let plane = self.shape.output_plane();
        for (o, channel) in output.chunks_exact_mut(plane).enumerate() {
            let (tiles, rest) = run.as_chunks_mut::<TILE>();
            let (tails, _) = rest.as_chunks_mut::<TAIL>();
            let rest_start = tiles.len() * TILE;
            for (tile, start) in tiles.iter_mut().zip((0..).step_by(TILE)) {
                *tile = kernel.sum(o, &copy[start..]);
            }
            for (tail, start) in tails.iter_mut().zip((rest_start..).step_by(TAIL)) {
                *tail = kernel.sum(o, &copy[start..]);
            }
            self.unpad(run, channel);
            let residual = residual.map(|residual| &residual[o * plane..][..plane]);
            kernel.epilogue().apply(o, channel, residual);
        }
    }

    /// Copies an image into the layout.
    fn fill(&self, input: &[f32], copy: &mut [f32]) {
        copy.fill(0.0);
        let [_, phase_columns] = self.phases;
        let images = input.chunks_exact(self.shape.input_plane());
        for (image, channel) in images.zip(copy.chunks_exact_mut(self.channel_len())) {
            for (phase, plane) in channel.chunks_exact_mut(self.plane_len()).enumerate() {
                self.fill_phase(image, plane, [phase / phase_columns, phase % phase_columns]);
            }
        }
    }

    fn fill_phase(&self, image: &[f32], plane: &mut [f32], phase: [usize; 2]) {
        let ConvShape { input: [height, width], stride, padding: [top, left, ..], .. } = self.shape;
        let first_column = first_inside(phase[1], left, stride[1]);
        for (row, line) in plane.chunks_exact_mut(self.pitch).enumerate() {
            let source = (row * stride[0] + phase[0]).checked_sub(top).filter(|y| *y < height);
            let Some(source) = source else { continue };
            let start = first_column * stride[1] + phase[1] - left;
            let pixels = image[source * width..][..width].iter().skip(start).step_by(stride[1]);
            for (value, pixel) in line.iter_mut().skip(first_column).zip(pixels) {
                *value = *pixel;
            }
        }
    }

    /// Copies the pixels of a run into an output channel.
    fn unpad(&self, run: &[f32], output: &mut [f32]) {
        let width = self.shape.output[1];
        for (row, line) in output.chunks_exact_mut(width).zip(run.chunks(self.pitch)) {
            row.copy_from_slice(&line[..width]);
        }
    }
}

/// First position of a phase that is not in the padding.
fn first_inside(phase: usize, padding: usize, stride: usize) -> usize {
    padding.saturating_sub(phase).div_ceil(stride)
}
