//! Writes a network to a file.

use alloc::vec::Vec;

use super::toc::{self, GraphEncoding, SectionKind};
use super::{arrange, graph, header, metadata};
use crate::network::Network;

/// The file of a network.
///
/// The same network always gives the same bytes, and so does what is read back
/// from them.
pub fn write(network: &Network) -> Vec<u8> {
    let graph = graph::encode(network.graph());
    let mut sections = Vec::from([(SectionKind::Graph(GraphEncoding::Packed), graph)]);
    sections.extend(arrange::sections(network));
    sections.push((SectionKind::Metadata, metadata::encode(&network.metadata)));

    let body_len = sections.iter().map(|(_, bytes)| bytes.len()).sum();
    let mut file = header::write(&toc::write(&sections), body_len);
    file.extend(sections.into_iter().flat_map(|(_, bytes)| bytes));
    file
}
