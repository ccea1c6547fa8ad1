//! Softmax cross entropy.

use candle_core::{Result, Tensor};

/// Mean over the batch of `−log softmax(logits)[label]`.
pub(crate) fn cross_entropy(logits: &Tensor, labels: &Tensor) -> Result<Tensor> {
    let shifted = logits.broadcast_sub(&logits.max_keepdim(1)?.detach())?;
    let log_sum = shifted.exp()?.sum_keepdim(1)?.log()?;
    let log_probability = shifted.broadcast_sub(&log_sum)?;
    log_probability.gather(&labels.unsqueeze(1)?, 1)?.mean_all()?.neg()
}

#[cfg(test)]
mod tests {
    use super::*;
    use candle_core::{Device, Var};

    #[test]
    fn loss_and_gradient_of_a_small_batch() {
        let logits =
            Var::from_vec(vec![1.0f32, 2.0, 3.0, 1000.0, 0.0, 0.0], (2, 3), &Device::Cpu).unwrap();
        let labels = Tensor::new(&[2u32, 0], &Device::Cpu).unwrap();
        let loss = cross_entropy(&logits, &labels).unwrap();
        // −log softmax([1 2 3])[2] = 0.407606, and 0 for the certain row.
        assert!((loss.to_scalar::<f32>().unwrap() - 0.407_606 / 2.0).abs() < 1e-5);
        let grads = loss.backward().unwrap();
        let gradient = grads.get(&logits).unwrap().flatten_all().unwrap().to_vec1::<f32>().unwrap();
        let expected = [0.045_015, 0.122_364, -0.167_380, 0.0, 0.0, 0.0];
        for (found, expected) in gradient.iter().zip(expected) {
            assert!((found - expected).abs() < 1e-5, "{gradient:?}");
        }
    }
}
