//! Seeded initial weights.
//!
//! Kaiming normal with the fan-in (He et al. 2015): standard deviation
//! `√(2 / fan_in)` for convolutions and linear layers; scales 1, everything
//! else 0, running variances 1.

use std::collections::BTreeMap;

use ec2t_format::Network;
use ec2t_format::graph::{Graph, Param, ParamKind};
use ec2t_format::tensor::DenseTensor;
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
}
