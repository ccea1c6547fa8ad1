//! Names and shapes of a checkpoint against those that a graph needs.
//!
//! Graphs name their tensors as PyTorch does, so that a name matches the equal
//! name only, and a shape the equal shape only.

use std::collections::BTreeSet;
use std::{fmt, iter};

use ec2t_format::Graph;

use crate::state_dict::StateDict;

/// Batch counters of PyTorch's normalisation layers; no network reads them.
const IGNORED_SUFFIX: &str = ".num_batches_tracked";

/// What a checkpoint has, compared with what a graph needs.
///
/// Its `Display` is one line of counts and, where something does not fit, a
/// table with one row for each such tensor.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct MatchReport {
    /// Tensors that both have in the same shape.
    pub matched: Vec<String>,
    /// Tensors that only the graph names, with the shape that it needs.
    pub missing: Vec<(String, Vec<usize>)>,
    /// Tensors that only the checkpoint has, with their shape.
    pub unexpected: Vec<(String, Vec<usize>)>,
    /// Tensors that both have, but in different shapes.
    pub wrong_shape: Vec<WrongShape>,
    /// Number of batch counters in the checkpoint, which nothing needs.
    pub ignored: usize,
}

/// A tensor that has another shape in the checkpoint than in the graph.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct WrongShape {
    /// Name of the tensor.
    pub name: String,
    /// Shape that the graph needs.
    pub expected: Vec<usize>,
    /// Shape in the checkpoint.
    pub found: Vec<usize>,
}

impl MatchReport {
    /// Compares a checkpoint with a graph.
    pub fn new(graph: &Graph, state: &StateDict) -> Self {
        let mut report = Self::default();
        let params = graph.params();
        for param in &params {
            let (name, expected) = (param.name.clone(), param.shape.clone());
            match state.get(&name).map(|tensor| tensor.shape().to_vec()) {
                None => report.missing.push((name, expected)),
                Some(found) if found == expected => report.matched.push(name),
                Some(found) => report.wrong_shape.push(WrongShape { name, expected, found }),
            }
        }
        let names: BTreeSet<&str> = params.iter().map(|param| param.name.as_str()).collect();
        for (name, tensor) in state.iter() {
            if name.ends_with(IGNORED_SUFFIX) {
                report.ignored += 1;
            } else if !names.contains(name) {
                report.unexpected.push((name.into(), tensor.shape().to_vec()));
            }
        }
        report
    }

    /// Whether graph and checkpoint have exactly the same tensors.
    pub fn is_exact(&self) -> bool {
        self.missing.is_empty() && self.unexpected.is_empty() && self.wrong_shape.is_empty()
    }

    /// The table of what does not fit: status, name, shapes in graph and file.
    fn rows(&self) -> Vec<[String; 4]> {
        let row = |status: &str, name: &str, graph: Option<&[usize]>, file: Option<&[usize]>| {
            let shape = |shape: Option<&[usize]>| match shape {
                Some(shape) => format!("{shape:?}"),
                None => "–".into(),
            };
            [status.into(), name.into(), shape(graph), shape(file)]
        };
        let header = ["", "tensor", "graph", "checkpoint"].map(String::from);
        let missing =
            self.missing.iter().map(|(name, shape)| row("missing", name, Some(shape), None));
        let unexpected =
            self.unexpected.iter().map(|(name, shape)| row("unexpected", name, None, Some(shape)));
        let wrong_shape = self.wrong_shape.iter().map(|wrong| {
            row("wrong shape", &wrong.name, Some(&wrong.expected), Some(&wrong.found))
        });
        iter::once(header).chain(missing).chain(unexpected).chain(wrong_shape).collect()
    }
}

impl fmt::Display for MatchReport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "{} matched, {} missing, {} unexpected, {} of wrong shape, {} ignored",
            self.matched.len(),
            self.missing.len(),
            self.unexpected.len(),
            self.wrong_shape.len(),
            self.ignored
        )?;
        if self.is_exact() {
            return Ok(());
        }
        let rows = self.rows();
        let width =
            |column: usize| rows.iter().map(|row| row[column].chars().count()).max().unwrap_or(0);
        let [w0, w1, w2] = [width(0), width(1), width(2)];
        for [status, name, graph, file] in &rows {
            write!(f, "\n  {status:w0$}  {name:w1$}  {graph:w2$}  {file}")?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use ec2t_format::DenseTensor;
    use ec2t_format::graph::{GraphBuilder, Shape};

    fn report(tensors: &[(&str, &[usize])]) -> MatchReport {
        let mut g = GraphBuilder::new("t", Shape::new(4, 1, 1));
        g.linear("fc", g.input(), 2);
        let state = tensors
            .iter()
            .map(|(name, shape)| {
                let data = vec![0.0; shape.iter().product()];
                (name.to_string(), DenseTensor::new(shape.to_vec(), data).unwrap())
            })
            .collect();
        MatchReport::new(&g.finish().unwrap(), &state)
    }

    #[test]
    fn an_exact_match_is_one_line() {
        let report =
            report(&[("fc.bias", &[2]), ("fc.weight", &[2, 4]), ("bn.num_batches_tracked", &[])]);
        assert!(report.is_exact());
        assert_eq!(
            report.to_string(),
            "2 matched, 0 missing, 0 unexpected, 0 of wrong shape, 1 ignored"
        );
    }

    #[test]
    fn whatever_does_not_fit_is_a_row() {
        let report = report(&[("fc.weight", &[4, 2]), ("other", &[1])]);
        assert!(!report.is_exact());
        let expected = "\
0 matched, 1 missing, 1 unexpected, 1 of wrong shape, 0 ignored
               tensor     graph   checkpoint
  missing      fc.bias    [2]     –
  unexpected   other      –       [1]
  wrong shape  fc.weight  [2, 4]  [4, 2]";
        assert_eq!(report.to_string(), expected);
    }
}
