//! Functions of each element, in place.
//!
//! Tensors are `[C, H, W]`; `plane` is the number of pixels of a channel.

/// A function of each element.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Activation {
    /// [`relu`].
    Relu,
    /// [`relu6`].
    Relu6,
    /// [`swish`].
    Swish,
    /// [`hard_swish`].
    HardSwish,
    /// [`sigmoid`].
    Sigmoid,
}

impl Activation {
    /// Its name, as profiles show it.
    pub fn name(self) -> &'static str {
        match self {
            Activation::Relu => "relu",
            Activation::Relu6 => "relu6",
            Activation::Swish => "swish",
            Activation::HardSwish => "hard-swish",
            Activation::Sigmoid => "sigmoid",
        }
    }
}

/// `max(x, 0)`; not a number stays that, so that a broken network shows.
#[inline]
pub fn relu(x: f32) -> f32 {
    if x < 0.0 { 0.0 } else { x }
}

/// `min(max(x, 0), 6)`.
#[inline]
pub fn relu6(x: f32) -> f32 {
    x.clamp(0.0, 6.0)
}

/// `1 / (1 + exp(−x))`.
#[inline]
pub fn sigmoid(x: f32) -> f32 {
    1.0 / (1.0 + (-x).exp())
}

/// `x · sigmoid(x)`.
#[inline]
pub fn swish(x: f32) -> f32 {
    x * sigmoid(x)
}

/// `x · relu6(x + 3) / 6`.
#[inline]
pub fn hard_swish(x: f32) -> f32 {
    x * relu6(x + 3.0) / 6.0
}

/// Applies a function to every value.
pub fn map(values: &mut [f32], function: impl Fn(f32) -> f32) {
    for value in values {
        *value = function(*value);
    }
}

/// Applies an activation to every value.
pub fn activate(values: &mut [f32], activation: Activation) {
    match activation {
        Activation::Relu => map(values, relu),
        Activation::Relu6 => map(values, relu6),
        Activation::Swish => map(values, swish),
        Activation::HardSwish => map(values, hard_swish),
        Activation::Sigmoid => map(values, sigmoid),
    }
}

/// `values + other`, element by element.
///
/// # Panics
/// Where the lengths differ.
pub fn add(values: &mut [f32], other: &[f32]) {
    assert_eq!(values.len(), other.len(), "length of the operands");
    for (value, other) in values.iter_mut().zip(other) {
        *value += other;
    }
}

/// `values · other`, element by element.
///
/// # Panics
/// Where the lengths differ.
pub fn multiply(values: &mut [f32], other: &[f32]) {
    assert_eq!(values.len(), other.len(), "length of the operands");
    for (value, other) in values.iter_mut().zip(other) {
        *value *= other;
    }
}

/// `values · factors[c]` for each channel c.
///
/// # Panics
/// Where there is not one factor for each channel.
pub fn multiply_channels(values: &mut [f32], plane: usize, factors: &[f32]) {
    assert_eq!(values.len(), plane * factors.len(), "one factor per channel");
    for (channel, factor) in values.chunks_exact_mut(plane).zip(factors) {
        map(channel, |value| value * factor);
    }
}

/// `values · scale[c] + shift[c]` for each channel c: batch normalisation with
/// running statistics, after [`batch_norm_affine`].
///
/// # Panics
/// Where there is not one `(scale, shift)` for each channel.
pub fn batch_norm(values: &mut [f32], plane: usize, affine: &[(f32, f32)]) {
    assert_eq!(values.len(), plane * affine.len(), "one scale and shift per channel");
    for (channel, (scale, shift)) in values.chunks_exact_mut(plane).zip(affine) {
        map(channel, |value| value * scale + shift);
    }
}

/// Scale and shift of a channel of batch normalisation:
/// `(x − mean) / √(var + eps) · weight + bias = x · scale + shift`.
pub fn batch_norm_affine(weight: f32, bias: f32, mean: f32, var: f32, eps: f32) -> (f32, f32) {
    let scale = f64::from(weight) / (f64::from(var) + f64::from(eps)).sqrt();
    let shift = f64::from(bias) - f64::from(mean) * scale;
    (scale as f32, shift as f32)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn activations_at_known_points() {
        assert_eq!([-1.0, 0.0, 2.0].map(relu), [0.0, 0.0, 2.0]);
        assert!(relu(f32::NAN).is_nan());
        assert_eq!([-1.0, 5.0, 7.0].map(relu6), [0.0, 5.0, 6.0]);
        assert_eq!([-3.0, 0.0, 1.0, 3.0, 4.0].map(hard_swish), [0.0, 0.0, 4.0 / 6.0, 3.0, 4.0]);
        assert_eq!(sigmoid(0.0), 0.5);
        assert_eq!([sigmoid(-200.0), sigmoid(200.0)], [0.0, 1.0]);
        assert!((swish(1.0) - 0.731_058_6).abs() < 1e-6);
        assert!(swish(-200.0).abs() < 1e-6);
    }

    #[test]
    fn factors_are_spread_over_channels() {
        let mut values = [1.0, 2.0, 3.0, 4.0];
        multiply_channels(&mut values, 2, &[10.0, -1.0]);
        assert_eq!(values, [10.0, 20.0, -3.0, -4.0]);
        add(&mut values, &[1.0; 4]);
        multiply(&mut values, &[1.0, 0.0, 2.0, 2.0]);
        assert_eq!(values, [11.0, 0.0, -4.0, -6.0]);
    }

    #[test]
    fn batch_norm_by_its_definition() {
        let affine = batch_norm_affine(2.0, 1.0, 3.0, 3.99, 0.01);
        let mut values = [3.0, 5.0];
        batch_norm(&mut values, 2, &[affine]);
        assert!((values[0] - 1.0).abs() < 1e-6 && (values[1] - 3.0).abs() < 1e-6, "{values:?}");
    }
}
