//! Convolution that sums over channels, as an implicit matrix product.

use super::{
    gather::{Identity, Phase},
    pack::{Direction, Panels},
    product::{Product, RunningSums},
    sums::ChannelSums,
    tile::{Source, TileShape},
};
use crate::{
    chunks::{CHUNKS, split, split_mut, split_scratch},
    scratch::Scratch,
};
use ec2t_kernels::{ConvShape, arch::Isa};
use rayon::prelude::*;

/// Tables of one layer, for both directions.
#[derive(Clone, Debug)]
pub(super) struct Dense {
    pub(super) shape: ConvShape,
    pub(super) isa: Isa,
    forward: Vec<Phase>,
    backward: Vec<Phase>,
}

/// Whether each output pixel reads the input pixel at its own place, and no other.
pub(super) fn is_pointwise(shape: &ConvShape) -> bool {
    shape.kernel == [1, 1] && shape.stride == [1, 1] && shape.padding == [0; 4]
}

impl Dense {
    pub(super) fn new(shape: ConvShape, isa: Isa) -> Self {
        let (forward, backward) = if is_pointwise(&shape) {
            (Vec::new(), Vec::new())
        } else {
            (Phase::forward(&shape), Phase::backward(&shape))
        };
        Self { shape, isa, forward, backward }
    }

    pub(super) fn forward(
        &self,
        batch: usize,
        x: &[f32],
        weights: &[f32],
        y: &mut [f32],
        sums: Option<&mut ChannelSums>,
        scratch: &mut Scratch,
    ) {
        self.product(Direction::Forward, batch, x, weights, y, false, sums, scratch);
    }

    pub(super) fn input_gradient(
        &self,
        batch: usize,
        gy: &[f32],
        weights: &[f32],
        gx: &mut [f32],
        accumulate: bool,
        scratch: &mut Scratch,
    ) {
        self.product(Direction::Backward, batch, gy, weights, gx, accumulate, None, scratch);
    }

    #[expect(clippy::too_many_arguments, reason = "both directions in one")]
    fn product(
        &self,
        direction: Direction,
        batch: usize,
        source: &[f32],
        weights: &[f32],
        target: &mut [f32],
        accumulate: bool,
        sums: Option<&mut ChannelSums>,
        scratch: &mut Scratch,
    ) {
        let panels = Panels::new(&self.shape, direction, TileShape::of(self.isa));
        let phases = match direction {
            Direction::Forward => &self.forward,
            Direction::Backward => &self.backward,
        };
        let all_taps = || phases.iter().map(|phase| &phase.taps[..]);
        let pointwise = phases.is_empty().then_some(&[0][..]);
        let packed: usize =
            all_taps().chain(pointwise).map(|taps| panels.packed_len(taps.len())).sum();
        let zeros = panels.depth.next_multiple_of(16);
        let (block, total) = match &sums {
            Some(_) => (2 * panels.slots(), 2 * panels.target_channels()),
            None => (0, 0),
        };

        let (floats, totals) = scratch.take(zeros + packed + CHUNKS * block, CHUNKS * total);
        let (zeros, floats) = floats.split_at_mut(zeros);
        let (packed, blocks) = floats.split_at_mut(packed);
        zeros.fill(0.0);
        blocks.fill(0.0);
        totals.fill(0.0);
        let mut rest = &mut *packed;
        for taps in all_taps().chain(pointwise) {
            let part = rest.split_off_mut(..panels.packed_len(taps.len())).expect("sum of lengths");
            panels.pack(&self.shape, direction, taps, weights, part);
        }

        let (zeros, packed, wanted) = (&*zeros, &*packed, sums.is_some());
        let chunk = |target: &mut [f32], values: &[f32], block: &mut [f32], total: &mut [f64]| {
            let channels = panels.source_channels();
            let mut sums = wanted.then_some(RunningSums { block, total });
            if phases.is_empty() {
                let rows = Identity { pixels: values.len() / channels };
                let source = Source { rows, values, channels, zeros };
                let weights = packed;
                self.isa.run(Product { panels, source, weights, target, accumulate, sums });
                return;
            }
            let [source_len, target_len] = match direction {
                Direction::Forward => [self.shape.input_len(), self.shape.output_len()],
                Direction::Backward => [self.shape.output_len(), self.shape.input_len()],
            };
            let images = target.chunks_exact_mut(target_len).zip(values.chunks_exact(source_len));
            for (target, values) in images {
                let mut packed = packed;
                for phase in phases {
                    let weights = packed
                        .split_off(..panels.packed_len(phase.taps.len()))
                        .expect("packed above");
                    if accumulate && phase.taps.is_empty() {
                        continue;
                    }
                    self.isa.run(Product {
                        panels,
                        source: Source { rows: phase, values, channels, zeros },
                        weights,
                        target,
                        accumulate,
                        sums: sums.as_mut().map(RunningSums::reborrow),
                    });
                }
            }
        };
        (
            split_mut(target, batch),
            split(source, batch),
            split_scratch(blocks, block),
            split_scratch(totals, total),
        )
            .into_par_iter()
            .with_max_len(1)
            .for_each(|(target, values, block, total)| chunk(target, values, block, total));
        if let Some(sums) = sums {
            sums.reduce(totals);
        }
    }
}
