//! How sparse a network is before it is trained: an estimate that costs nothing.
//!
//! What decides the zeros of a ternarized network is how the method assigns its weights:
//! the centroids, γ and δ of EC2T, or the thresholds of a baseline. Training moves
//! weights and centroids, but not far from a trained float network. So the first
//! assignment of the float weights tells roughly how many zeros training ends with, and
//! which settings give more of them. A search begins there.

use ec2t_format::Network;

use super::layer::Change;
use super::{Rates, Ternarize};
use crate::ec2t::Ec2tOptions;
use crate::error::QuantError;
use crate::options::PruneOptions;
use crate::trainer::Phase;

/// Share of zeros among all trained values, 0…1, of a float network whose body is
/// assigned once, as at the first step of [`ternarize`](super::ternarize), and not
/// trained. It does not fall as γ, or the threshold of a baseline, rises.
///
/// # Errors
/// Where the network has no layer to ternarize, a weight is not finite, or an option is
/// out of range.
pub fn assigned_sparsity(network: &Network, options: &Ec2tOptions) -> Result<f64, QuantError> {
    let still = Rates::new(0.0, 0.0, 0.0);
    let mut phase = Ternarize::learning(network, *options, &PruneOptions::default(), still)?;
    for layer in &mut phase.layers {
        if let Change::Ternarize { delta, .. } = layer.change {
            layer.state.requantize(options, delta).map_err(layer.at_fault())?;
        }
    }
    Ok(phase.network(network.graph())?.sparsity())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ec2t::{Ec2tError, Method};
    use ec2t_format::graph::{GraphBuilder, Shape};

    /// 12 + 4 · 4 + 8 weights and 4 + 4 + 2 biases, of which 16 weights are the body's.
    fn network() -> Network {
        let mut g = GraphBuilder::new("t", Shape::new(3, 1, 1));
        let x = g.linear("first", g.input(), 4);
        let x = g.linear("body", x, 4);
        g.linear("last", x, 2);
        crate::initialize(&g.finish().unwrap(), 1).unwrap()
    }

    #[test]
    fn only_the_body_has_zeros_of_its_own() {
        let options = Ec2tOptions { method: Method::Twn, threshold: 9.0, ..Default::default() };
        let before = network().sparsity();
        let params: usize = network().tensors().values().map(|tensor| tensor.numel()).sum();
        assert_eq!(params, 46);
        let after = assigned_sparsity(&network(), &options).unwrap();
        assert!((after - before - 16.0 / 46.0).abs() < 1e-12, "{before} → {after}");
    }

    #[test]
    fn zeros_grow_with_what_each_method_has_for_it() {
        type Knob = fn(f64) -> Ec2tOptions;
        let knobs: [Knob; 3] = [
            |gamma| Ec2tOptions { gamma, ..Default::default() },
            |threshold| Ec2tOptions { method: Method::Ttq, threshold, ..Default::default() },
            |threshold| Ec2tOptions { method: Method::Twn, threshold, ..Default::default() },
        ];
        let network = network();
        for options in knobs {
            let steps = [0.0, 0.2, 0.4, 0.6, 0.8, 0.99].map(options);
            let found = steps.map(|options| assigned_sparsity(&network, &options).unwrap());
            assert!(found.is_sorted(), "{found:?}");
            assert!(found[5] > found[0], "{found:?}");
        }
    }

    #[test]
    fn an_option_out_of_range_is_named() {
        let options = Ec2tOptions { gamma: 2.0, ..Default::default() };
        let error = assigned_sparsity(&network(), &options).unwrap_err();
        let QuantError::Layer { source, .. } = &error else { panic!("{error}") };
        assert!(matches!(source, Ec2tError::OutOfRange { name: "gamma", .. }), "{error}");
    }
}
