//! What a file holds, layer by layer, and how many bytes each part takes.

use alloc::collections::BTreeMap;
use alloc::format;
use alloc::string::{String, ToString};
use alloc::vec::Vec;

use serde::Serialize;

use crate::container::{Layout, SectionKind, StoredTensor, TensorEncoding};
use crate::graph::{Node, NodeId, Op, Param, Shape};
use crate::network::Network;
use crate::tensor::Tensor;

/// A file's layers and its other parts.
///
/// The bytes of [`layers`](Self::layers) and [`rest`](Self::rest) add up to
/// [`total_bytes`](Self::total_bytes), the length of the file, and so do the
/// three of payload, side values and overhead.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct FileStats {
    /// Every layer that has tensors, in the order of the graph.
    pub layers: Vec<LayerStats>,
    /// Header, table of contents, graph, maps of the dense tensors, metadata.
    pub rest: Vec<PartStats>,
    /// Codes of all ternary tensors.
    pub payload_bytes: usize,
    /// Dense values, and two centroids for each ternary tensor.
    pub side_bytes: usize,
    /// What is neither: the bytes of [`rest`](Self::rest).
    pub overhead_bytes: usize,
    /// Length of the file.
    pub total_bytes: usize,
}

/// One layer with all its tensors.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct LayerStats {
    /// Name of the layer.
    pub name: String,
    /// What it computes, such as `conv2d`.
    pub op: &'static str,
    /// Shape of the weights.
    pub shape: Vec<usize>,
    /// Number of trained values: all but running statistics.
    pub params: usize,
    /// How many of the trained values are exactly zero.
    pub zeros: usize,
    /// Zeroth-order entropy of ternary weights in bits per weight; none for
    /// floats.
    pub entropy_bits: Option<f64>,
    /// Stored bits per weight: codes without centroids, or floats.
    pub stored_bits: f64,
    /// Products of weights and activations for one image, zeros included; 0 for
    /// normalisations, which can be folded.
    pub macs: u64,
    /// How the weights are stored: `f32`, `f16` or the codec's name.
    pub encoding: &'static str,
    /// Bytes of all the layer's tensors in the file.
    pub bytes: usize,
}

/// A part of the file that belongs to no layer.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct PartStats {
    /// `header`, `toc`, `graph`, `map of f32` and `map of f16` (which tensors
    /// are stored so), `metadata`, `grids`, or `skipped` for a section that this version
    /// does not know.
    pub name: String,
    /// Its length.
    pub bytes: usize,
}

/// Each tensor of the file by its name.
type Stored<'a> = BTreeMap<&'a str, &'a StoredTensor>;

/// Two `f32` before the codes of a ternary tensor.
const CENTROIDS: usize = 2 * size_of::<f32>();

impl StoredTensor {
    /// Bytes of codes; 0 for floats.
    fn payload(&self) -> usize {
        match self.encoding {
            TensorEncoding::Ternary(_) => self.len.saturating_sub(CENTROIDS),
            TensorEncoding::Dense(_) => 0,
        }
    }

    /// Bits of one of so many values, without centroids.
    fn bits_per_value(&self, count: usize) -> f64 {
        let bytes = match self.encoding {
            TensorEncoding::Ternary(_) => self.payload(),
            TensorEncoding::Dense(_) => self.len,
        };
        8.0 * bytes as f64 / count.max(1) as f64
    }
}

/// Statistics of a network and the file that it was read from.
///
/// ```
/// # use ec2t_format::{DenseTensor, Network, graph::{GraphBuilder, Shape}};
/// # let mut g = GraphBuilder::new("tiny", Shape::new(2, 1, 1));
/// # g.linear("fc", g.input(), 1);
/// # let weight = DenseTensor::new(vec![1, 2], vec![0.5, 0.0])?;
/// # let bias = DenseTensor::new(vec![1], vec![1.0])?;
/// # let tensors = [("fc.weight".into(), weight.into()), ("fc.bias".into(), bias.into())];
/// # let file = ec2t_format::write(&Network::new(g.finish()?, tensors.into())?);
/// let stats = ec2t_format::stats::file_stats(
///     &ec2t_format::read(&file)?,
///     &ec2t_format::layout(&file)?,
/// );
/// let layers: usize = stats.layers.iter().map(|layer| layer.bytes).sum();
/// let rest: usize = stats.rest.iter().map(|part| part.bytes).sum();
/// assert_eq!(layers + rest, file.len());
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub fn file_stats(network: &Network, layout: &Layout) -> FileStats {
    let stored: Stored<'_> =
        layout.tensors.iter().map(|tensor| (tensor.name.as_str(), tensor)).collect();
    let rest = rest(layout);
    let payload_bytes = layout.tensors.iter().map(StoredTensor::payload).sum();
    let overhead_bytes = rest.iter().map(|part| part.bytes).sum();
    let total_bytes = layout.file_len();
    let graph = network.graph();
    let shapes = graph.shapes().unwrap_or_default();
    let layers = graph
        .iter()
        .zip(shapes)
        .filter_map(|((id, node), output)| layer(network, &stored, id, node, output))
        .collect();
    FileStats {
        layers,
        rest,
        payload_bytes,
        side_bytes: total_bytes - overhead_bytes - payload_bytes,
        overhead_bytes,
        total_bytes,
    }
}

/// The parts that hold no values.
fn rest(layout: &Layout) -> Vec<PartStats> {
    let mut rest = Vec::from([part("header", layout.header_len), part("toc", layout.toc_len)]);
    for section in &layout.sections {
        match section.kind {
            SectionKind::Tensor(_) => {}
            SectionKind::Dense(storage) => {
                let encoding = TensorEncoding::Dense(storage);
                let tensors = layout.tensors.iter().filter(|tensor| tensor.encoding == encoding);
                let values: usize = tensors.map(|tensor| tensor.len).sum();
                rest.push(part(&format!("map of {}", section.name), section.len - values));
            }
            _ => rest.push(part(&section.name, section.len)),
        }
    }
    rest
}

fn part(name: &str, bytes: usize) -> PartStats {
    PartStats { name: name.to_string(), bytes }
}

fn layer(
    network: &Network,
    stored: &Stored<'_>,
    id: NodeId,
    node: &Node,
    output: Shape,
) -> Option<LayerStats> {
    let params = node.params(id);
    let weight = params.first()?;
    let stored_weight = stored.get(weight.name.as_str())?;
    let trained = || params.iter().filter(|param| param.kind.is_trainable());
    let tensor = |param: &Param| network.tensor(&param.name);
    Some(LayerStats {
        name: node.name.clone(),
        op: node.op.name(),
        shape: weight.shape.clone(),
        params: trained().map(Param::numel).sum(),
        zeros: trained().filter_map(tensor).map(Tensor::zeros).sum(),
        entropy_bits: match tensor(weight) {
            Some(Tensor::Ternary(ternary)) => Some(ternary.counts().entropy_bits()),
            _ => None,
        },
        macs: match node.op {
            Op::Conv2d(_) | Op::Linear(_) => {
                (output.height * output.width) as u64 * weight.numel() as u64
            }
            _ => 0,
        },
        encoding: stored_weight.encoding.name(),
        stored_bits: stored_weight.bits_per_value(weight.numel()),
        bytes: params
            .iter()
            .filter_map(|param| stored.get(param.name.as_str()))
            .map(|tensor| tensor.len)
            .sum(),
    })
}
