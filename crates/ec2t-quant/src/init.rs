//! Seeded initial weights.
//!
//! Kaiming normal with the fan-in (He et al. 2015): standard deviation
//! `√(2 / fan_in)` for convolutions and linear layers; scales 1, everything
//! else 0, running variances 1.

use std::collections::BTreeMap;

use ec2t_format::graph::{Graph, Param, ParamKind, Role};
use ec2t_format::tensor::{DenseTensor, TensorError};
use ec2t_format::{Network, Tensor, TernaryTensor};
use rand_chacha::ChaCha8Rng;
use rand_chacha::rand_core::{Rng, SeedableRng};

use crate::error::QuantError;

/// A network with random weights; the same seed gives the same weights.
///
/// ```
/// use ec2t_format::graph::{GraphBuilder, Shape};
///
/// let mut g = GraphBuilder::new("tiny", Shape::new(1, 4, 4));
/// let x = g.conv("conv", g.input(), 8, 3, 1);
/// let x = g.global_avg_pool("pool", x);
/// let x = g.flatten("flatten", x);
/// g.linear("fc", x, 2);
/// let graph = g.finish()?;
/// let network = ec2t_quant::initialize(&graph, 7)?;
/// assert_eq!(network, ec2t_quant::initialize(&graph, 7)?);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
///
/// # Errors
/// Where the graph is malformed.
pub fn initialize(graph: &Graph, seed: u64) -> Result<Network, QuantError> {
    graph.validate()?;
    let mut tensors = BTreeMap::new();
    for (stream, param) in graph.params().into_iter().enumerate() {
        let mut rng = ChaCha8Rng::seed_from_u64(seed);
        rng.set_stream(stream as u64);
        let tensor = DenseTensor::new(param.shape.clone(), values(&param, &mut rng))?;
        tensors.insert(param.name, tensor.into());
    }
    Ok(Network::new(graph.clone(), tensors)?)
}

/// The same with ternary weights in the layers that ternarization takes, those of the body:
/// the share `sparsity`, 0…1, of the weights is zero, those nearest to it. Nothing has been
/// learnt, so such a network is good for measuring speed and size alone.
///
/// # Errors
/// As [`initialize`], and where `sparsity` is no share.
pub fn initialize_ternary(graph: &Graph, sparsity: f64, seed: u64) -> Result<Network, QuantError> {
    if !(0.0..=1.0).contains(&sparsity) {
        let reason = format!("expected a share from 0 to 1, found {sparsity}");
        return Err(QuantError::Option { option: "sparsity", reason });
    }
    let (graph, mut tensors, _) = initialize(graph, seed)?.into_parts();
    let roles = graph.roles();
    for param in graph.params() {
        let in_body = roles[param.node.index()] == Some(Role::Body);
        if in_body && param.kind == ParamKind::Weight {
            let ternary = signs_of_the_largest(&tensors[&param.name], sparsity)?;
            tensors.insert(param.name, ternary.into());
        }
    }
    Ok(Network::new(graph, tensors)?)
}

/// The signs of the largest weights, at their mean magnitude; the share `sparsity` is zero.
fn signs_of_the_largest(weights: &Tensor, sparsity: f64) -> Result<TernaryTensor, TensorError> {
    let values = weights.to_f32();
    let mut order: Vec<usize> = (0..values.len()).collect();
    order.sort_by(|a, b| values[*a].abs().total_cmp(&values[*b].abs()));
    let kept = &order[(sparsity * order.len() as f64).round() as usize..];
    let mut codes = vec![0; order.len()];
    for &index in kept {
        codes[index] = if values[index] < 0.0 { -1 } else { 1 };
    }
    let sum: f32 = kept.iter().map(|index| values[*index].abs()).sum();
    let mean = if kept.is_empty() { 1.0 } else { sum / kept.len() as f32 };
    TernaryTensor::new(weights.shape().to_vec(), codes, mean, mean)
}

fn values(param: &Param, rng: &mut ChaCha8Rng) -> Vec<f32> {
    match param.kind {
        ParamKind::Weight => {
            let fan_in: usize = param.shape[1..].iter().product();
            let std = (2.0 / fan_in.max(1) as f64).sqrt();
            (0..param.numel()).map(|_| (normal(rng) * std) as f32).collect()
        }
        ParamKind::Scale | ParamKind::NormWeight | ParamKind::RunningVar => {
            vec![1.0; param.numel()]
        }
        ParamKind::Bias | ParamKind::NormBias | ParamKind::RunningMean => vec![0.0; param.numel()],
    }
}

/// A standard normal number (Box and Muller 1958).
fn normal(rng: &mut ChaCha8Rng) -> f64 {
    let unit = |bits: u64| ((bits >> 11) as f64 + 0.5) / (1u64 << 53) as f64;
    let (a, b) = (unit(rng.next_u64()), unit(rng.next_u64()));
    (-2.0 * a.ln()).sqrt() * (std::f64::consts::TAU * b).cos()
}

#[cfg(test)]
mod tests {
    use super::*;
    use ec2t_format::graph::{GraphBuilder, Shape};

    #[test]
    fn weights_have_the_kaiming_deviation() {
        let mut g = GraphBuilder::new("t", Shape::new(32, 8, 8));
        let x = g.conv("conv", g.input(), 64, 3, 1);
        g.batch_norm("bn", x);
        let network = initialize(&g.finish().unwrap(), 1).unwrap();
        let weights = network.tensor("conv.weight").unwrap().to_f32();
        let n = weights.len() as f64;
        let mean = weights.iter().map(|&w| f64::from(w)).sum::<f64>() / n;
        let var = weights.iter().map(|&w| (f64::from(w) - mean).powi(2)).sum::<f64>() / n;
        assert!(mean.abs() < 0.002, "mean {mean}");
        assert!((var.sqrt() / (2.0f64 / 288.0).sqrt() - 1.0).abs() < 0.02, "variance {var}");
        assert_eq!(network.tensor("bn.running_var").unwrap().to_f32(), [1.0; 64]);
        assert_eq!(network.tensor("bn.bias").unwrap().to_f32(), [0.0; 64]);
    }

    #[test]
    fn ternary_weights_have_the_zeros_that_are_asked_for() {
        let mut g = GraphBuilder::new("t", Shape::new(3, 8, 8));
        let x = g.conv("first", g.input(), 10, 3, 1);
        let x = g.conv("body", x, 10, 3, 1);
        g.conv("last", x, 10, 3, 1);
        let graph = g.finish().unwrap();
        let zeros = |sparsity| {
            let network = initialize_ternary(&graph, sparsity, 3).unwrap();
            assert_eq!(network.ternary_layers(), 1);
            let Some(Tensor::Ternary(body)) = network.tensor("body.weight") else { panic!() };
            (body.counts().zero, body.w_pos())
        };
        assert_eq!(zeros(0.9).0, 810);
        assert_eq!((zeros(0.0).0, zeros(1.0).0), (0, 900));
        assert!(zeros(0.9).1 > zeros(0.5).1, "what is left is larger");
        for wrong in [-0.1, 1.5, f64::NAN] {
            let error = initialize_ternary(&graph, wrong, 3).unwrap_err().to_string();
            assert!(error.contains("sparsity"), "{error}");
        }
    }
}
