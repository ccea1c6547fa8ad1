//! Reads a network from a file.

use alloc::collections::BTreeMap;

use super::budget::{Budget, Limits};
use super::contents::Contents;
use super::error::FormatError;
use crate::network::Network;

/// The network in a file, within the default [`Limits`].
///
/// ```
/// use ec2t_format::{DenseTensor, Network, TernaryTensor};
/// use ec2t_format::graph::{GraphBuilder, Shape};
///
/// let mut g = GraphBuilder::new("tiny", Shape::new(4, 1, 1));
/// g.linear("fc", g.input(), 2);
/// let weight = TernaryTensor::new(vec![2, 4], vec![0, 1, 0, 0, -1, 0, 0, 1], 0.5, 0.75)?;
/// let bias = DenseTensor::new(vec![2], vec![0.25, -1.0])?;
/// let tensors = [("fc.weight".into(), weight.into()), ("fc.bias".into(), bias.into())];
/// let network = Network::new(g.finish()?, tensors.into())?;
///
/// let file = ec2t_format::write(&network);
/// assert_eq!(ec2t_format::read(&file)?, network);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
///
/// # Errors
/// The first fault of a file that is not whole and well formed.
pub fn read(file: &[u8]) -> Result<Network, FormatError> {
    read_with(file, &Limits::default())
}

/// The network in a file, within limits.
///
/// # Errors
/// The first fault of a file that is not whole and well formed, or asks for
/// more than the limits allow.
pub fn read_with(file: &[u8], limits: &Limits) -> Result<Network, FormatError> {
    let mut budget = Budget::new(limits);
    let contents = Contents::open(file, &mut budget)?;
    let mut tensors = BTreeMap::new();
    for tensor in contents.tensors {
        let values = tensor.decode(&mut budget)?;
        tensors.insert(tensor.param.name, values);
    }
    let mut network = Network::new(contents.graph, tensors)?.with_grids(contents.grids)?;
    network.metadata = contents.metadata;
    Ok(network)
}
