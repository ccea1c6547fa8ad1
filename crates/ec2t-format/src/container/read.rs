//! Reads a network from a file.

use alloc::collections::BTreeMap;

use super::contents::Contents;
use super::error::FormatError;
use super::tensor::TensorEntry;
use crate::network::Network;

/// What a reader allows a file to ask for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Largest memory for all tensors of a network: four bytes per dense value,
    /// one per ternary value. 1 GiB by default.
    pub max_decoded_bytes: u64,
}

impl Default for Limits {
    fn default() -> Self {
        Self { max_decoded_bytes: 1 << 30 }
    }
}

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
    let contents = Contents::open(file)?;
    check_budget(&contents.tensors, limits)?;
    let mut tensors = BTreeMap::new();
    for tensor in &contents.tensors {
        tensors.insert(tensor.param.name.clone(), tensor.decode()?);
    }
    let mut network = Network::new(contents.graph, tensors)?;
    network.metadata = contents.metadata;
    Ok(network)
}

fn check_budget(tensors: &[TensorEntry<'_>], limits: &Limits) -> Result<(), FormatError> {
    let limit = limits.max_decoded_bytes;
    let mut needed = 0u64;
    for tensor in tensors {
        needed = needed.saturating_add(tensor.decoded_bytes());
        if needed > limit {
            let section = tensor.param.name.clone();
            return Err(FormatError::Budget { section, needed, limit });
        }
    }
    Ok(())
}
