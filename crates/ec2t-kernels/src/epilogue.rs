//! What follows the sums of a layer, dense or ternary, while they are at hand:
//!
//! `out = activation(sum · scale[o] + bias[o] + residual)`
//!
//! in this order, for output channel `o`. The residual, a value of the output's
//! shape, is given with each image; the rest belongs to the layer.

use crate::elementwise::{Activation, activate, add};

/// One scale and one bias for each output channel, and an activation.
///
/// ```
/// use ec2t_kernels::{Activation, DenseLinear, Epilogue};
///
/// let epilogue = Epilogue::new(2).scale([2.0, 1.0]).bias([0.5, 0.0]).activation(Activation::Relu);
/// let linear = DenseLinear::new(1, &[1.0, -1.0], epilogue);
///
/// let mut output = [0.0; 2];
/// linear.run(&[3.0], None, &mut output);
/// assert_eq!(output, [6.5, 0.0]);
/// linear.run(&[3.0], Some(&[1.0, 5.0]), &mut output);
/// assert_eq!(output, [7.5, 2.0]);
/// ```
#[derive(Clone, Debug)]
pub struct Epilogue {
    scale: Vec<f32>,
    bias: Vec<f32>,
    activation: Option<Activation>,
}

impl Epilogue {
    /// Scale 1, bias 0 and no activation.
    pub fn new(outputs: usize) -> Self {
        Self { scale: vec![1.0; outputs], bias: vec![0.0; outputs], activation: None }
    }

    /// Multiplies the sums of each output channel by a factor.
    ///
    /// # Panics
    /// Where there is not one factor for each.
    #[must_use]
    pub fn scale(self, scale: impl Into<Vec<f32>>) -> Self {
        let scale = scale.into();
        assert_eq!(scale.len(), self.outputs(), "one scale per output channel");
        Self { scale, ..self }
    }

    /// Adds a number to the scaled sums of each output channel.
    ///
    /// # Panics
    /// Where there is not one number for each.
    #[must_use]
    pub fn bias(self, bias: impl Into<Vec<f32>>) -> Self {
        let bias = bias.into();
        assert_eq!(bias.len(), self.outputs(), "one bias per output channel");
        Self { bias, ..self }
    }

    /// Ends with an activation.
    #[must_use]
    pub fn activation(self, activation: Activation) -> Self {
        Self { activation: Some(activation), ..self }
    }

    /// Number of output channels.
    pub fn outputs(&self) -> usize {
        self.bias.len()
    }

    /// Finishes the sums of some pixels of output channel `o`; `residual` is
    /// the one of these pixels.
    pub(crate) fn apply(&self, o: usize, sums: &mut [f32], residual: Option<&[f32]>) {
        let (scale, bias) = (self.scale[o], self.bias[o]);
        for sum in &mut *sums {
            *sum = *sum * scale + bias;
        }
        self.finish(sums, residual);
    }

    /// Finishes one sum for each output channel.
    pub(crate) fn apply_each(&self, sums: &mut [f32], residual: Option<&[f32]>) {
        for ((sum, scale), bias) in sums.iter_mut().zip(&self.scale).zip(&self.bias) {
            *sum = *sum * scale + bias;
        }
        self.finish(sums, residual);
    }

    fn finish(&self, values: &mut [f32], residual: Option<&[f32]>) {
        if let Some(residual) = residual {
            add(values, residual);
        }
        if let Some(activation) = self.activation {
            activate(values, activation);
        }
    }
}
