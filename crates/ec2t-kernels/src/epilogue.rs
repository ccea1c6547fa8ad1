//! What follows the sums of a layer: `sum · scale[o] + bias[o]`.

/// One scale and one bias for each output channel.
#[derive(Clone, Debug)]
pub(crate) struct Epilogue {
    scale: Vec<f32>,
    bias: Vec<f32>,
}

impl Epilogue {
    /// An absent scale is 1, an absent bias 0.
    ///
    /// # Panics
    /// Where either is not one value per output channel.
    pub(crate) fn new(outputs: usize, scale: Option<&[f32]>, bias: Option<&[f32]>) -> Self {
        let scale = scale.map_or_else(|| vec![1.0; outputs], <[f32]>::to_vec);
        let bias = bias.map_or_else(|| vec![0.0; outputs], <[f32]>::to_vec);
        assert_eq!(scale.len(), outputs, "one scale per output channel");
        assert_eq!(bias.len(), outputs, "one bias per output channel");
        Self { scale, bias }
    }

    /// Applies the epilogue of output channel `o` to a sum.
    pub(crate) fn apply(&self, o: usize, sum: f32) -> f32 {
        sum * self.scale[o] + self.bias[o]
    }
}
