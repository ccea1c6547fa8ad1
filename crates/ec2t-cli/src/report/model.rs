//! What `model.ec2t` holds.

use anyhow::Result;
use ec2t_format::graph::GraphError;
use ec2t_format::stats::{FileStats, file_stats};
use ec2t_format::{Layout, Network, Tensor, TensorEncoding};
use ec2t_scale::Score;
use ec2t_scale::score::{Mode, Rules};

use super::data::{Clusters, FLOAT_BYTES, Layer, Model, OperationStep, SizeStep, Ternary};

/// Reads the file of a network whose float values take `float_bytes`. `sparsity` is the share
/// of zeros among all trained values, some of which the file has no more.
///
/// # Errors
/// Where the file is malformed.
pub(super) fn read(file: &[u8], float_bytes: u64, sparsity: f64) -> Result<Model> {
    let (network, layout) = (ec2t_format::read(file)?, ec2t_format::layout(file)?);
    let stats = file_stats(&network, &layout);
    let weights = network.tensors().values().map(|tensor| match tensor {
        Tensor::Ternary(ternary) => ternary.codes().len() as u64,
        Tensor::Dense(_) => 0,
    });
    let (weights, entropy_bits) = (weights.sum(), network.entropy_bits());
    let file_bytes = stats.total_bytes as u64;
    Ok(Model {
        ternary: Ternary { accuracy: None, sparsity, entropy_bits, weights },
        file_bytes,
        compression: float_bytes as f64 / file_bytes as f64,
        sizes: sizes(&stats, &layout, float_bytes, weights),
        operations: operations(&network)?,
        layers: layers(&network, &stats),
        rest: stats.rest,
        tested: None,
    })
}

/// Bytes of a network with so many ternary weights: as floats, with two bits for each such
/// weight, and of its file.
fn sizes(stats: &FileStats, layout: &Layout, float_bytes: u64, weights: u64) -> Vec<SizeStep> {
    let is_ternary = |encoding| matches!(encoding, TensorEncoding::Ternary(_));
    let ternary = layout.tensors.iter().filter(|tensor| is_ternary(tensor.encoding));
    let ternary_bytes: u64 = ternary.map(|tensor| tensor.len as u64).sum();
    let other_bytes = float_bytes.saturating_sub(FLOAT_BYTES * weights);
    let structure_bytes = stats.rest.iter().map(|part| part.bytes as u64).sum();
    let layer_bytes: u64 = stats.layers.iter().map(|layer| layer.bytes as u64).sum();
    vec![
        SizeStep {
            name: "every value in 32 bits",
            ternary_bytes: float_bytes - other_bytes,
            other_bytes,
            structure_bytes: 0,
        },
        SizeStep {
            name: "ternary weights in 2 bits",
            ternary_bytes: weights.div_ceil(4),
            other_bytes,
            structure_bytes: 0,
        },
        SizeStep {
            name: "model.ec2t",
            ternary_bytes,
            other_bytes: layer_bytes - ternary_bytes,
            structure_bytes,
        },
    ]
}

/// Operations for one image: of the graph alone, with zeros left out, and with two values for
/// each ternary layer.
fn operations(network: &Network) -> Result<Vec<OperationStep>, GraphError> {
    // What is counted does not depend on the number of bits.
    let rules = Rules::for_network(Mode::Strict, network);
    let step = |name, counts, score: Score| {
        let operations = score.total.operations;
        let (multiplications, additions) = (operations.multiplications, operations.additions);
        OperationStep { name, counts, multiplications, additions }
    };
    Ok(vec![
        step(
            "every weight a float",
            "a product of each weight with each value that it meets, and their sums",
            Score::of_graph(network.graph(), rules)?,
        ),
        step(
            "zeros left out",
            "the same for weights that are not zero",
            Score::of_network(&network.to_dense(), rules)?,
        ),
        step(
            "ternary weights",
            "in ternary layers, sums of values by sign and two products for each output",
            Score::of_network(network, rules)?,
        ),
    ])
}

fn layers(network: &Network, stats: &FileStats) -> Vec<Layer> {
    let clusters = |name: &str| match network.tensor(&format!("{name}.weight"))? {
        Tensor::Ternary(tensor) => {
            let counts = tensor.counts();
            let share = |count: usize| count as f64 / counts.total() as f64;
            Some(Clusters {
                w_neg: tensor.w_neg(),
                w_pos: tensor.w_pos(),
                shares: [counts.neg, counts.zero, counts.pos].map(share),
            })
        }
        Tensor::Dense(_) => None,
    };
    let layers = stats.layers.iter();
    layers.map(|layer| Layer { clusters: clusters(&layer.name), stats: layer.clone() }).collect()
}
