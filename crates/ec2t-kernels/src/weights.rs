//! Ternary weights as they are given to kernels.

/// Codes −1, 0 and +1 in row-major order, with what they stand for.
#[derive(Clone, Copy, Debug)]
pub struct TernaryWeights<'a> {
    /// One code for each weight.
    pub codes: &'a [i8],
    /// Magnitude of the weights of code −1.
    pub w_neg: f32,
    /// Value of the weights of code +1.
    pub w_pos: f32,
}

impl TernaryWeights<'_> {
    /// What a sum of pixels with code +1 is multiplied by, before that of pixels with
    /// code −1 is subtracted and the result multiplied by [`factor`](Self::factor).
    pub(crate) fn ratio(&self) -> f32 {
        match self.w_neg == 0.0 || self.w_pos == 0.0 {
            true => 1.0,
            false => (self.w_pos / self.w_neg).clamp(f32::MIN_POSITIVE, f32::MAX),
        }
    }

    /// See [`ratio`](Self::ratio).
    pub(crate) fn factor(&self) -> f32 {
        if self.w_neg == 0.0 { self.w_pos } else { self.w_neg }
    }

    /// Codes that are not zero before each output of `taps` codes, and of all outputs.
    pub(crate) fn totals(&self, taps: usize) -> Vec<u32> {
        let mut total = 0;
        let outputs = self.codes.chunks_exact(taps).map(|codes| {
            total += narrow(codes.iter().filter(|code| **code != 0).count());
            total
        });
        std::iter::once(0).chain(outputs).collect()
    }

    /// The list that weights of a code belong to: 0 for positive ones, 1 for negative
    /// ones. Those whose value is 0 are in neither.
    #[inline]
    pub(crate) fn list(&self, code: i8) -> Option<usize> {
        match code {
            0 => None,
            1.. if self.w_pos != 0.0 => Some(0),
            ..0 if self.w_neg != 0.0 => Some(1),
            _ => None,
        }
    }
}

/// A position among weights or in lists of them; a network has fewer than 2³² weights.
pub(crate) fn narrow(position: usize) -> u32 {
    u32::try_from(position).expect("fewer weights than 2^32")
}
