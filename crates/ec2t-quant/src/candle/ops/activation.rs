//! Functions of each element, and dropout.
//!
//! Gradients at kinks are PyTorch's: 0 wherever the rectifier gives 0 or 6.
//! That matters, because a filter whose weights are all zero gives exactly 0.
//! What is not a number stays so, for the loss to show it.

use candle_core::{Result, Tensor};
use ec2t_format::graph::Activation;
use rand_chacha::ChaCha8Rng;
use rand_chacha::rand_core::Rng;

/// Applies an activation function.
pub(crate) fn activation(kind: Activation, x: &Tensor) -> Result<Tensor> {
    match kind {
        Activation::Relu => relu(x),
        Activation::Relu6 => relu6(x),
        Activation::Sigmoid => sigmoid(x),
        Activation::Swish => x * sigmoid(x)?,
        Activation::HardSwish => x * (relu6(&(x + 3.0)?)? / 6.0)?,
    }
}

/// Through tanh, whose gradient stays finite for every input.
fn sigmoid(x: &Tensor) -> Result<Tensor> {
    ((x / 2.0)?.tanh()? + 1.0)? / 2.0
}

/// `max(x, 0)`; candle's own has the gradient 1 at 0.
fn relu(x: &Tensor) -> Result<Tensor> {
    x.le(0f32)?.where_cond(&x.zeros_like()?, x)
}

/// `min(max(x, 0), 6)`.
fn relu6(x: &Tensor) -> Result<Tensor> {
    let y = relu(x)?;
    y.ge(6f32)?.where_cond(&Tensor::full(6f32, y.shape(), y.device())?, &y)
}

/// Zeroes elements with probability `p` and scales the others by `1/(1−p)`.
pub(crate) fn dropout(x: &Tensor, p: f32, rng: &mut ChaCha8Rng) -> Result<Tensor> {
    let threshold = (f64::from(p) * f64::from(u32::MAX)) as u32;
    let keep = 1.0 / (1.0 - p);
    let mask: Vec<f32> =
        (0..x.elem_count()).map(|_| if rng.next_u32() < threshold { 0.0 } else { keep }).collect();
    x * Tensor::from_vec(mask, x.shape(), x.device())?
}

#[cfg(test)]
mod tests {
    use super::*;
    use candle_core::{Device, Var};
    use rand_chacha::rand_core::SeedableRng;

    /// Gradients that PyTorch 2.15 prints for these points.
    #[test]
    fn gradients_at_kinks() {
        let points = vec![-4.0f32, -3.0, -1.0, 0.0, 1.0, 3.0, 6.0, 7.0];
        let x = Var::from_vec(points, 8, &Device::Cpu).unwrap();
        let cases = [
            (Activation::Relu, [0.0, 0.0, 0.0, 0.0, 1.0, 1.0, 1.0, 1.0]),
            (Activation::Relu6, [0.0, 0.0, 0.0, 0.0, 1.0, 1.0, 0.0, 0.0]),
            (Activation::HardSwish, [0.0, 0.0, 0.166_666_66, 0.5, 0.833_333_4, 1.0, 1.0, 1.0]),
        ];
        for (kind, expected) in cases {
            let y = activation(kind, &x).unwrap();
            let grads = y.sum_all().unwrap().backward().unwrap();
            let gradient = grads.get(&x).unwrap().to_vec1::<f32>().unwrap();
            for (found, expected) in gradient.iter().zip(expected) {
                assert!((found - expected).abs() < 1e-6, "{kind:?}: {gradient:?}");
            }
        }
    }

    #[test]
    fn what_is_not_a_number_stays_so() {
        let x = Tensor::new(&[f32::NAN], &Device::Cpu).unwrap();
        for kind in [Activation::Relu, Activation::Relu6, Activation::HardSwish] {
            let y = activation(kind, &x).unwrap().to_vec1::<f32>().unwrap();
            assert!(y[0].is_nan(), "{kind:?}");
        }
    }

    #[test]
    fn activations_at_known_points() {
        let x = Var::from_vec(vec![-100.0f32, -1.0, 0.0, 1.0, 100.0], 5, &Device::Cpu).unwrap();
        let cases = [
            (Activation::Relu6, [0.0, 0.0, 0.0, 1.0, 6.0]),
            (Activation::Sigmoid, [0.0, 0.268_941_43, 0.5, 0.731_058_6, 1.0]),
            (Activation::Swish, [0.0, -0.268_941_43, 0.0, 0.731_058_6, 100.0]),
            (Activation::HardSwish, [0.0, -1.0 / 3.0, 0.0, 2.0 / 3.0, 100.0]),
        ];
        for (kind, expected) in cases {
            let y = activation(kind, &x).unwrap();
            for (y, expected) in y.to_vec1::<f32>().unwrap().iter().zip(expected) {
                assert!((y - expected).abs() < 1e-6, "{kind:?}: {y} is not {expected}");
            }
            let grads = y.sum_all().unwrap().backward().unwrap();
            let gradient = grads.get(&x).unwrap().to_vec1::<f32>().unwrap();
            assert!(gradient.iter().all(|g| g.is_finite()), "{kind:?}: {gradient:?}");
        }
    }

    #[test]
    fn dropout_keeps_the_mean() {
        let x = Tensor::ones(10_000, candle_core::DType::F32, &Device::Cpu).unwrap();
        let y = dropout(&x, 0.2, &mut ChaCha8Rng::seed_from_u64(1)).unwrap();
        let y = y.to_vec1::<f32>().unwrap();
        let zeros = y.iter().filter(|y| **y == 0.0).count();
        assert!((1900..2100).contains(&zeros), "{zeros} zeros");
        assert!(y.iter().all(|y| *y == 0.0 || *y == 1.25));
    }
}
