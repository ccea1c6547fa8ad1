//! Networks without their dead channels give the same outputs: bit for bit by the plain
//! interpreter, which adds channel by channel, and but for the last bits by the engine,
//! whose order of additions depends on a layer's shape and zeros.

use std::path::PathBuf;

use ec2t_format::graph::{Param, ParamKind};
use ec2t_format::{DenseTensor, Network, Tensor, TernaryTensor};
use ec2t_infer::Model;
use ec2t_scale::ArchOptions;
use ec2t_scale::thin::{Thinned, thin};
use proptest::prelude::*;

use super::common::{Values, all, interpret, network};
use super::random::graphs;

/// The same network with filters and inputs of filters without weights, and shifts that
/// rectifiers make zeros of.
fn with_dead_channels(network: Network, seed: u64) -> Network {
    let mut values = Values(seed);
    let (graph, tensors, _) = network.into_parts();
    let planted = |param: Param| {
        let tensor = plant(&tensors[&param.name], &param, &mut values);
        (param.name, tensor)
    };
    let tensors = graph.params().into_iter().map(planted).collect();
    Network::new(graph, tensors).unwrap()
}

fn plant(tensor: &Tensor, param: &Param, values: &mut Values) -> Tensor {
    let mut some = |count: usize, share: f32| -> Vec<bool> {
        (0..count).map(|_| values.next() < 2.0 * share - 1.0).collect()
    };
    let outputs = some(param.shape[0], 0.4);
    let sign = |negative: bool, value: f32| if negative { -value.abs() } else { value };
    let mut data = tensor.to_f32();
    match param.kind {
        ParamKind::Weight => {
            let inputs = some(param.shape[1], 0.2);
            let taps = data.len() / (outputs.len() * inputs.len());
            for (kernel, weights) in data.chunks_exact_mut(taps).enumerate() {
                if outputs[kernel / inputs.len()] || inputs[kernel % inputs.len()] {
                    weights.fill(0.0);
                }
            }
        }
        ParamKind::Bias | ParamKind::NormBias => {
            data.iter_mut().zip(outputs).for_each(|(value, dead)| *value = sign(dead, *value));
        }
        ParamKind::RunningMean => data.iter_mut().for_each(|mean| *mean = mean.abs()),
        _ => {}
    }
    match tensor {
        Tensor::Dense(_) => DenseTensor::new(param.shape.clone(), data).unwrap().into(),
        Tensor::Ternary(_) => TernaryTensor::from_f32(&param.shape, &data).unwrap().into(),
    }
}

/// Asserts that a network and what is left of it give the same outputs.
fn assert_same_outputs(network: &Network, thinned: &Network, seed: u64) {
    let image = Values(seed).floats(network.graph().input.numel());
    let exact = |network: &Network| -> Vec<u32> {
        interpret(network, &image).iter().map(|value| value.to_bits()).collect()
    };
    assert_eq!(exact(network), exact(thinned), "{:?}", network.graph());

    let [before, after] = [network, thinned].map(|network| {
        let model = Model::new(network.clone()).unwrap();
        model.run(&image, 1).unwrap()
    });
    let largest = before.iter().fold(1.0f32, |largest, value| largest.max(value.abs()));
    let differences = before.iter().zip(&after).map(|(a, b)| (a - b).abs());
    assert!(differences.fold(0.0, f32::max) <= 1e-4 * largest, "{:?}", network.graph());
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(500))]
    #[test]
    fn random_graphs(graph in graphs(), seed: u64) {
        let network = with_dead_channels(network(graph), seed);
        let Thinned { network: thinned, layers } = thin(&network);
        prop_assert_eq!(layers.is_empty(), thinned == network);
        assert_same_outputs(&network, &thinned, seed);
        prop_assert!(thin(&thinned).layers.is_empty());
    }
}

#[test]
fn every_kind_of_network_loses_its_dead_channels() {
    for network in all() {
        assert_eq!(thin(&network).network, network);
        let name = network.graph().name.clone();
        let network = with_dead_channels(network, 3);
        let Thinned { network: thinned, layers } = thin(&network);
        assert!(!layers.is_empty(), "{name}");
        assert_same_outputs(&network, &thinned, 5);
    }
}

/// The method's own checkpoint with the most zeros, or `None`, with the reason printed.
#[expect(clippy::print_stdout, reason = "a skipped test says so")]
fn checkpoint() -> Option<PathBuf> {
    let folder = std::env::var_os("EC2T_MODELS_DIR").map(PathBuf::from);
    let path = folder.map(|folder| folder.join("resnet20_ec2t_spars73.pt"));
    let path = path.filter(|path| path.exists());
    if path.is_none() {
        println!("skipped: EC2T_MODELS_DIR has no resnet20_ec2t_spars73.pt");
    }
    path
}

#[test]
fn a_trained_network_loses_its_dead_channels() {
    let Some(path) = checkpoint() else { return };
    let graph = ec2t_scale::build("resnet20", &ArchOptions::default()).unwrap();
    let network = ec2t_interop::import(path, graph).unwrap().network;
    let Thinned { network: thinned, layers } = thin(&network);
    // In the blocks between two convolutions; residual sums keep all of theirs.
    let removed: usize = layers.iter().map(|layer| layer.outputs[0] - layer.outputs[1]).sum();
    assert_eq!((layers.len(), removed), (14, 13));
    for seed in 0..5 {
        assert_same_outputs(&network, &thinned, seed);
    }
}
