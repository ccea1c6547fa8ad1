//! What follows the sums of a layer, dense or ternary, while they are at hand:
//!
//! `out = activation(sum · scale[o] + bias[o] + residual)`
//!
//! in this order, for output channel `o`. The residual, a value of the output's
//! shape, is given with each image; the rest belongs to the layer.

use crate::arch::Simd;
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

    /// Multiplies all scales by a factor.
    pub(crate) fn times(self, factor: f32) -> Self {
        Self { scale: self.scale.into_iter().map(|scale| scale * factor).collect(), ..self }
    }

    /// Finishes the sums of a row of pixels of output channel `o` and writes them:
    /// as many as `output` has, of which the last vector may be a part.
    #[inline(always)]
    pub(crate) fn finish_row<S: Simd, const V: usize>(
        &self,
        simd: S,
        o: usize,
        mut values: [S::F32; V],
        residual: Option<&[f32]>,
        output: &mut [f32],
    ) {
        let (scale, bias) = (simd.splat(self.scale[o]), simd.splat(self.bias[o]));
        for value in &mut values {
            *value = simd.add(simd.mul(*value, scale), bias);
        }
        if let Some(residual) = residual {
            for (value, residual) in values.iter_mut().zip(residual.chunks(S::LANES)) {
                let residual = match residual.len() == S::LANES {
                    true => simd.load(residual),
                    false => simd.load_partial(residual),
                };
                *value = simd.add(*value, residual);
            }
        }
        if let Some(function) = self.activation {
            for value in &mut values {
                *value = function.of_vector(simd, *value);
            }
        }
        for (value, output) in values.iter().zip(output.chunks_mut(S::LANES)) {
            match output.len() == S::LANES {
                true => simd.store(*value, output),
                false => simd.store_partial(*value, output),
            }
        }
        if let Some(function @ (Activation::Swish | Activation::Sigmoid)) = self.activation {
            activate(output, function);
        }
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
