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

    /// Scale and bias of each output channel.
    pub(crate) fn affine(&self) -> impl Iterator<Item = (f32, f32)> {
        self.scale.iter().copied().zip(self.bias.iter().copied())
    }

    /// What it ends with.
    pub(crate) fn function(&self) -> Option<Activation> {
        self.activation
    }

    /// Multiplies all scales by a factor.
    pub(crate) fn times(self, factor: f32) -> Self {
        Self { scale: self.scale.into_iter().map(|scale| scale * factor).collect(), ..self }
    }

    /// Scales the sums of output channel `o` and adds the bias.
    #[inline(always)]
    pub(crate) fn scale_vectors<S: Simd>(&self, simd: S, o: usize, sums: &mut [S::F32]) {
        let (scale, bias) = (simd.splat(self.scale[o]), simd.splat(self.bias[o]));
        for sum in sums {
            *sum = simd.add(simd.mul(*sum, scale), bias);
        }
    }

    /// Activates vectors, unless it takes exponentials: those follow by
    /// [`activate_exponential`](Self::activate_exponential), in memory.
    #[inline(always)]
    pub(crate) fn activate_vectors<S: Simd>(&self, simd: S, values: &mut [S::F32]) {
        match self.activation {
            None | Some(Activation::Swish | Activation::Sigmoid) => {}
            Some(Activation::Relu) => {
                for x in values {
                    *x = simd.max(simd.splat(0.0), *x);
                }
            }
            Some(Activation::Relu6) => {
                for x in values {
                    *x = relu6_vector(simd, *x);
                }
            }
            Some(Activation::HardSwish) => {
                for x in values {
                    let gate = relu6_vector(simd, simd.add(*x, simd.splat(3.0)));
                    *x = simd.div(simd.mul(*x, gate), simd.splat(6.0));
                }
            }
        }
    }

    /// Whether [`activate_vectors`](Self::activate_vectors) leaves the activation out.
    #[inline(always)]
    pub(crate) fn is_exponential(&self) -> bool {
        matches!(self.activation, Some(Activation::Swish | Activation::Sigmoid))
    }

    /// The activations that [`activate_vectors`](Self::activate_vectors) leaves out, in a
    /// function of its own, so that loops around it stay short.
    #[inline(never)]
    pub(crate) fn activate_exponential(&self, values: &mut [f32]) {
        if let Some(function) = self.activation {
            activate(values, function);
        }
    }

    /// Finishes one sum for each output channel from `first` on.
    pub(crate) fn apply_each(&self, first: usize, sums: &mut [f32], residual: Option<&[f32]>) {
        let (scales, biases) = (&self.scale[first..], &self.bias[first..]);
        for ((sum, scale), bias) in sums.iter_mut().zip(scales).zip(biases) {
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

/// [`relu6`](crate::elementwise::relu6) of each lane.
#[inline(always)]
fn relu6_vector<S: Simd>(simd: S, x: S::F32) -> S::F32 {
    simd.min(simd.splat(6.0), simd.max(simd.splat(0.0), x))
}
