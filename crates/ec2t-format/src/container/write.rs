//! Writes a network to a file.

use alloc::vec::Vec;

use super::header::{self, Header};
use super::toc::{self, GraphEncoding, SectionKind};
use super::{align, arrange, graph, grids, metadata};
use crate::codec::Effort;
use crate::network::Network;

/// The file of a network.
///
/// The same network always gives the same bytes, and so does what is read back
/// from them.
pub fn write(network: &Network) -> Vec<u8> {
    write_with(network, Effort::default())
}

/// The file of a network, as small or as quick to read as the effort makes it.
///
/// ```
/// # use ec2t_format::{DenseTensor, Network, TernaryTensor, graph::{GraphBuilder, Shape}};
/// use ec2t_format::{codec::Effort, read, write, write_with};
/// # let mut g = GraphBuilder::new("tiny", Shape::new(64, 1, 1));
/// # g.linear("fc", g.input(), 9);
/// # let codes = (0..576).map(|i| (i * i / 3 % 3) as i8 - 1).collect();
/// # let weight = TernaryTensor::new(vec![9, 64], codes, 0.5, 0.5)?;
/// # let bias = DenseTensor::new(vec![9], vec![0.5; 9])?;
/// # let tensors = [("fc.weight".into(), weight.into()), ("fc.bias".into(), bias.into())];
/// # let network = Network::new(g.finish()?, tensors.into())?;
///
/// let file = write_with(&network, Effort::Max);
/// assert!(file.len() <= write(&network).len());
/// assert_eq!(read(&file)?, network);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub fn write_with(network: &Network, effort: Effort) -> Vec<u8> {
    let graph = graph::encode(network.graph());
    let mut sections = Vec::from([(SectionKind::Graph(GraphEncoding::Packed), graph)]);
    sections.extend(arrange::sections(network, effort));
    sections.push((SectionKind::Metadata, metadata::encode(&network.metadata)));
    sections.extend(grids::encode(network).map(|bytes| (SectionKind::Grids, bytes)));

    // Zeros that move change checksums, and no lengths.
    let toc_len = toc::write(&sections).len();
    align::settle(&mut sections, Header::LEN.saturating_add(toc_len));
    let body_len = sections.iter().map(|(_, bytes)| bytes.len()).sum();
    let mut file = header::write(&toc::write(&sections), body_len);
    file.extend(sections.into_iter().flat_map(|(_, bytes)| bytes));
    file
}
