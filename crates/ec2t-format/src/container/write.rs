//! Writes a network to a file.

use alloc::vec::Vec;

use super::toc::{self, SectionKind};
use super::{graph, header, metadata, tensor};
use crate::network::Network;

/// The file of a network.
///
/// The same network always gives the same bytes, and so does what is read back
/// from them.
pub fn write(network: &Network) -> Vec<u8> {
    let params = network.graph().params();
    let tensors = params.iter().filter_map(|param| network.tensor(&param.name)).map(|tensor| {
        let (encoding, bytes) = tensor::encode(tensor);
        (SectionKind::Tensor(encoding), bytes)
    });
    let mut sections = Vec::from([(SectionKind::Graph, graph::encode(network.graph()))]);
    sections.extend(tensors);
    sections.push((SectionKind::Metadata, metadata::encode(&network.metadata)));

    let body_len = sections.iter().map(|(_, bytes)| bytes.len()).sum();
    let mut file = header::write(&toc::write(&sections), body_len);
    file.extend(sections.into_iter().flat_map(|(_, bytes)| bytes));
    file
}
