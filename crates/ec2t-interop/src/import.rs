//! A checkpoint and a graph make a network.

use std::path::Path;

use ec2t_format::graph::ParamKind;
use ec2t_format::{DenseTensor, Graph, Network, Tensor, TernaryTensor};

use crate::error::InteropError;
use crate::keymap::MatchReport;
use crate::rename::rename;
use crate::state_dict::StateDict;

/// An imported network.
#[derive(Clone, Debug, PartialEq)]
pub struct Imported {
    /// The graph with the tensors of the checkpoint.
    pub network: Network,
    /// How the names matched.
    pub report: MatchReport,
}

/// Reads a checkpoint file and puts its tensors to a graph.
///
/// Weights whose values are −a, 0 and +b become ternary tensors, bit for bit;
/// everything else becomes dense tensors of 32-bit floats.
///
/// ```no_run
/// use ec2t_format::graph::{GraphBuilder, Shape};
///
/// let mut g = GraphBuilder::new("tiny", Shape::new(4, 1, 1));
/// g.linear("fc", g.input(), 2);
/// let imported = ec2t_interop::import("tiny.pt", g.finish()?)?;
/// println!("{}", imported.report);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
///
/// # Errors
/// Where the file cannot be read, is malformed, or does not have exactly the
/// tensors that the graph names.
pub fn import(path: impl AsRef<Path>, graph: Graph) -> Result<Imported, InteropError> {
    let path = path.as_ref();
    import_state(path, StateDict::open(path)?, graph)
}

/// Puts tensors that have been read to a graph, as [`import()`] does; `path` is what they
/// are called in errors.
///
/// # Errors
/// Where they are not exactly the tensors that the graph names.
pub fn import_state(path: &Path, state: StateDict, graph: Graph) -> Result<Imported, InteropError> {
    let state = rename(&graph, state);
    let report = MatchReport::new(&graph, &state);
    if !report.is_exact() {
        return Err(InteropError::Mismatch {
            path: path.into(),
            graph: graph.name,
            report: Box::new(report),
        });
    }
    let network = fill(graph, state)?;
    tracing::debug!(
        path = %path.display(),
        ternary_layers = network.ternary_layers(),
        "imported {report}"
    );
    Ok(Imported { network, report })
}

/// The network of a graph and the tensors that it names.
fn fill(graph: Graph, state: StateDict) -> Result<Network, InteropError> {
    let mut values = state.into_tensors();
    let tensors = graph
        .params()
        .into_iter()
        .filter_map(|param| {
            let dense = values.remove(&param.name)?;
            let tensor = match param.kind {
                ParamKind::Weight => weight(dense),
                _ => dense.into(),
            };
            Some((param.name, tensor))
        })
        .collect();
    Ok(Network::new(graph, tensors)?)
}

/// A weight tensor in its ternary form, where it has one.
pub(crate) fn weight(dense: DenseTensor) -> Tensor {
    match TernaryTensor::from_f32(dense.shape(), dense.data()) {
        Some(ternary) if uses_two_values(&ternary) => ternary.into(),
        _ => dense.into(),
    }
}

/// Whether there are zeros or both signs: a tensor full of one value is
/// constant rather than ternary.
fn uses_two_values(ternary: &TernaryTensor) -> bool {
    let counts = ternary.counts();
    counts.zero > 0 || (counts.neg > 0 && counts.pos > 0)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn is_ternary(values: &[f32]) -> bool {
        let dense = DenseTensor::new(vec![values.len()], values.to_vec()).unwrap();
        matches!(weight(dense), Tensor::Ternary(_))
    }

    #[test]
    fn only_ternary_weights_become_ternary() {
        assert!(is_ternary(&[0.5, 0.0, -0.25, 0.5]));
        assert!(is_ternary(&[0.5, -0.25]));
        assert!(is_ternary(&[0.0, 0.0]));
        assert!(!is_ternary(&[0.5, 0.5]));
        assert!(!is_ternary(&[0.5, 0.0, 0.25]));
        assert!(!is_ternary(&[0.5, -0.0]));
    }
}
