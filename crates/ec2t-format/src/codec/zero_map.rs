//! Channels without a weight, named before all others so that nothing else is
//! said of them.
//!
//! For each output channel, then for each input channel, one decision: true
//! where all its weights are zero. Each of the two runs of decisions has a
//! [`Share`] of its own, [`Share::SELDOM`] at first. What follows is the tensor without those channels.

use alloc::vec;
use alloc::vec::Vec;

use super::CodecError;
use super::adaptive::Share;
use super::kernels::Kernels;
use super::range::BitCoder;

/// Which channels hold nothing but zeros.
pub(super) struct ZeroMap {
    kernels: Kernels,
    outputs: Vec<bool>,
    inputs: Vec<bool>,
}

impl ZeroMap {
    /// The channels of a tensor that hold nothing but zeros.
    pub(super) fn of(codes: &[i8], kernels: Kernels) -> Self {
        let mut map = Self {
            kernels,
            outputs: vec![true; kernels.outputs],
            inputs: vec![true; kernels.inputs],
        };
        for (row, output) in codes.chunks_exact(kernels.row_len().max(1)).zip(&mut map.outputs) {
            let channels = row.chunks_exact(kernels.area().max(1));
            for (kernel, input) in channels.zip(&mut map.inputs) {
                let zero = kernel.iter().all(|&code| code == 0);
                *output &= zero;
                *input &= zero;
            }
        }
        map
    }

    /// The map as it is coded; a decoder codes a blank one.
    pub(super) fn code(mut self, coder: &mut impl BitCoder) -> Self {
        for channels in [&mut self.outputs, &mut self.inputs] {
            let mut share = Share::SELDOM;
            for zero in channels {
                *zero = coder.code(share.p1(), *zero);
                share.learn(*zero);
            }
        }
        self
    }

    /// A map of the right size for a decoder, which does not look at it.
    pub(super) fn blank(kernels: Kernels) -> Self {
        Self::of(&[], kernels)
    }

    /// The tensor that is left.
    pub(super) fn rest(&self) -> Kernels {
        let left = |channels: &[bool]| channels.iter().filter(|&&zero| !zero).count();
        Kernels { outputs: left(&self.outputs), inputs: left(&self.inputs), ..self.kernels }
    }

    /// The codes of what is left.
    pub(super) fn strip(&self, codes: &[i8]) -> Vec<i8> {
        let rows = codes.chunks_exact(self.kernels.row_len().max(1)).zip(&self.outputs);
        let kernels = rows
            .filter(|&(_, &zero)| !zero)
            .flat_map(|(row, _)| row.chunks_exact(self.kernels.area().max(1)).zip(&self.inputs));
        kernels.filter(|&(_, &zero)| !zero).flat_map(|(kernel, _)| kernel).copied().collect()
    }

    /// All codes, from those of what is left.
    ///
    /// # Errors
    /// Where a channel that is left holds nothing but zeros.
    pub(super) fn restore(&self, rest: Vec<i8>) -> Result<Vec<i8>, CodecError> {
        let codes = match self.rest() == self.kernels {
            true => rest,
            false => self.spread(&rest),
        };
        let found = Self::of(&codes, self.kernels);
        match found.outputs == self.outputs && found.inputs == self.inputs {
            true => Ok(codes),
            false => Err(CodecError::ZeroChannel),
        }
    }

    fn spread(&self, rest: &[i8]) -> Vec<i8> {
        let mut codes = vec![0; self.kernels.count()];
        let mut rest = rest.chunks_exact(self.kernels.area().max(1));
        for (row, _) in codes
            .chunks_exact_mut(self.kernels.row_len().max(1))
            .zip(&self.outputs)
            .filter(|&(_, &zero)| !zero)
        {
            let kernels = row.chunks_exact_mut(self.kernels.area().max(1)).zip(&self.inputs);
            for (kernel, _) in kernels.filter(|&(_, &zero)| !zero) {
                let codes = rest.next().unwrap_or_default();
                kernel.iter_mut().zip(codes).for_each(|(to, &from)| *to = from);
            }
        }
        codes
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const KERNELS: Kernels = Kernels { outputs: 3, inputs: 2, rows: 1, cols: 2 };

    #[test]
    fn channels_of_zeros_are_taken_out_and_put_back() {
        let codes = [0, 1, 0, 0, 0, 0, 0, 0, -1, 0, 0, 0];
        let map = ZeroMap::of(&codes, KERNELS);
        assert_eq!(
            (&map.outputs[..], &map.inputs[..]),
            (&[false, true, false][..], &[false, true][..])
        );
        assert_eq!(map.rest(), Kernels { outputs: 2, inputs: 1, rows: 1, cols: 2 });
        let rest = map.strip(&codes);
        assert_eq!(rest, [0, 1, -1, 0]);
        assert_eq!(map.restore(rest), Ok(codes.to_vec()));
    }

    #[test]
    fn a_channel_of_zeros_that_is_not_named_is_refused() {
        let map = ZeroMap::of(&[1; 12], KERNELS);
        assert_eq!(map.restore(vec![1; 12]), Ok(vec![1; 12]));
        let output = vec![1, 1, 1, 1, 0, 0, 0, 0, 1, 1, 1, 1];
        assert_eq!(map.restore(output), Err(CodecError::ZeroChannel));
        let input = vec![1, 1, 0, 0, 1, 1, 0, 0, 1, 1, 0, 0];
        assert_eq!(map.restore(input), Err(CodecError::ZeroChannel));
    }

    #[test]
    fn a_tensor_of_zeros_leaves_nothing() {
        let map = ZeroMap::of(&[0; 12], KERNELS);
        assert_eq!((map.rest().count(), map.strip(&[0; 12])), (0, vec![]));
        assert_eq!(map.restore(vec![]), Ok(vec![0; 12]));
    }
}
