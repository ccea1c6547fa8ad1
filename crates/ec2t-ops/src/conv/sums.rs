//! Sums of a convolution's output for each channel, for batch normalisation.

/// Sum and sum of squares of each channel, over the pixels of all images.
///
/// They come out of the convolution's registers, without a pass over the
/// output: `f32` within some hundred pixels, `f64` beyond. The variance as mean
/// of squares minus square of the mean is then good to about 10⁻⁶ of the mean
/// square.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct ChannelSums {
    /// Σ y.
    pub sums: Vec<f64>,
    /// Σ y².
    pub squares: Vec<f64>,
}

impl ChannelSums {
    /// Zeros for this many channels.
    pub fn new(channels: usize) -> Self {
        Self { sums: vec![0.0; channels], squares: vec![0.0; channels] }
    }

    /// Becomes the sum of the chunks' `[sums, squares]`, added in order.
    pub(super) fn reduce(&mut self, chunks: &[f64]) {
        let channels = self.sums.len();
        self.sums.fill(0.0);
        self.squares.fill(0.0);
        for chunk in chunks.chunks_exact(2 * channels) {
            let (sums, squares) = chunk.split_at(channels);
            self.sums.iter_mut().zip(sums).for_each(|(total, part)| *total += part);
            self.squares.iter_mut().zip(squares).for_each(|(total, part)| *total += part);
        }
    }
}
