//! What a network costs: parameters, multiply-accumulates, activations.
//!
//! Counted for one image by tracing shapes through the graph, with the
//! conventions of the field: biases and batch normalisation have parameters
//! but no multiply-accumulates, and activations are the values that
//! convolutions and linear layers write.

use std::fmt;

use ec2t_format::graph::{Conv2d, GraphError, NodeId, Shape};
use ec2t_format::{Graph, Op};
use serde::Serialize;

/// Counts for one image.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Cost {
    /// Trained values; running statistics do not count.
    pub params: u64,
    /// Multiply-accumulates of convolutions and linear layers.
    pub macs: u64,
    /// Values written by convolutions and linear layers.
    pub activations: u64,
}

impl std::iter::Sum for Cost {
    fn sum<I: Iterator<Item = Cost>>(costs: I) -> Cost {
        costs.fold(Cost::default(), |a, b| Cost {
            params: a.params.saturating_add(b.params),
            macs: a.macs.saturating_add(b.macs),
            activations: a.activations.saturating_add(b.activations),
        })
    }
}

/// Cost of one layer.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct LayerCost {
    /// Name of the layer.
    pub name: String,
    /// Shape of its output.
    pub output: Shape,
    /// Its counts.
    #[serde(flatten)]
    pub cost: Cost,
}

/// Cost of every layer that has parameters, and of the whole network.
///
/// Its `Display` is a table in plain text.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct CostTable {
    /// The layers in the order of the graph.
    pub layers: Vec<LayerCost>,
    /// Sum over all layers.
    pub total: Cost,
}

impl CostTable {
    /// Counts a graph for images of its own input shape.
    ///
    /// # Errors
    /// Where the graph is malformed.
    pub fn of(graph: &Graph) -> Result<Self, GraphError> {
        graph.validate()?;
        let shapes = graph.shapes()?;
        let layers: Vec<LayerCost> = graph
            .iter()
            .zip(shapes)
            .map(|((id, node), output)| LayerCost {
                name: node.name.clone(),
                output,
                cost: layer_cost(graph, id, output),
            })
            .filter(|layer| layer.cost.params > 0)
            .collect();
        let total = layers.iter().map(|layer| layer.cost).sum();
        Ok(Self { layers, total })
    }
}

fn layer_cost(graph: &Graph, id: NodeId, output: Shape) -> Cost {
    let node = &graph.nodes[id.index()];
    let trained = node.params(id).into_iter().filter(|param| param.kind.is_trainable());
    let params = trained.map(|param| param.numel() as u64).sum();
    let written = output.numel() as u64;
    match &node.op {
        Op::Conv2d(conv) => Cost { params, macs: written * taps(conv), activations: written },
        Op::Linear(linear) => {
            Cost { params, macs: written * linear.in_features as u64, activations: written }
        }
        _ => Cost { params, ..Cost::default() },
    }
}

/// Weights that contribute to one output value.
fn taps(conv: &Conv2d) -> u64 {
    let [kh, kw] = conv.kernel;
    (conv.in_channels / conv.groups * kh * kw) as u64
}

impl fmt::Display for CostTable {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let names = self.layers.iter().map(|layer| layer.name.chars().count());
        let width = names.max().unwrap_or(0).max("layer".len());
        let mut row = |name: &str, output: String, counts: [String; 3]| {
            let [params, macs, activations] = counts;
            writeln!(f, "{name:width$}  {output:>10}  {params:>12}  {macs:>15}  {activations:>12}")
        };
        let digits = |cost: Cost| [cost.params, cost.macs, cost.activations].map(group_digits);
        row("layer", "output".into(), ["params", "MACs", "activations"].map(String::from))?;
        for layer in &self.layers {
            row(&layer.name, layer.output.to_string(), digits(layer.cost))?;
        }
        row("total", String::new(), digits(self.total))
    }
}

/// Digits in groups of three: `1234567` → `1,234,567`.
pub(crate) fn group_digits(value: u64) -> String {
    let digits = value.to_string();
    let mut grouped = String::with_capacity(digits.len() + digits.len() / 3);
    for (i, digit) in digits.chars().enumerate() {
        if i > 0 && (digits.len() - i).is_multiple_of(3) {
            grouped.push(',');
        }
        grouped.push(digit);
    }
    grouped
}

#[cfg(test)]
mod tests {
    use super::*;
    use ec2t_format::graph::{GraphBuilder, Padding};

    fn grouped() -> Graph {
        let mut g = GraphBuilder::new("t", Shape::new(4, 6, 6));
        let conv = Conv2d {
            in_channels: 4,
            out_channels: 8,
            kernel: [3, 1],
            stride: [2, 1],
            padding: Padding::all(0),
            dilation: [1; 2],
            groups: 2,
            bias: true,
            scale: false,
        };
        let x = g.push("conv", Op::Conv2d(conv), &[g.input()]);
        let x = g.batch_norm("bn", x);
        let x = g.relu("relu", x);
        let x = g.flatten("flatten", x);
        g.linear("fc", x, 3);
        g.finish().unwrap()
    }

    #[test]
    fn counts_by_hand() {
        let table = CostTable::of(&grouped()).unwrap();
        let [conv, bn, fc] = table.layers.as_slice() else { panic!("{table}") };
        // Output 8×2×6 = 96; each value from 2 channels × 3 rows.
        assert_eq!(conv.output, Shape::new(8, 2, 6));
        assert_eq!(conv.cost, Cost { params: 8 * 6 + 8, macs: 96 * 6, activations: 96 });
        assert_eq!(bn.cost, Cost { params: 16, macs: 0, activations: 0 });
        assert_eq!(fc.cost, Cost { params: 96 * 3 + 3, macs: 96 * 3, activations: 3 });
        assert_eq!(table.total, Cost { params: 363, macs: 864, activations: 99 });
    }

    #[test]
    fn a_malformed_graph_is_refused() {
        let mut graph = grouped();
        let Op::Conv2d(conv) = &mut graph.nodes[1].op else { panic!() };
        conv.groups = 0;
        assert!(
            matches!(CostTable::of(&graph), Err(GraphError::BadOp { node, .. }) if node == "conv")
        );
    }

    #[test]
    fn the_table_lines_up() {
        let text = CostTable::of(&grouped()).unwrap().to_string();
        let widths: Vec<usize> = text.lines().map(|line| line.chars().count()).collect();
        assert!(widths.iter().all(|&width| width == widths[0]), "{text}");
        assert!(text.lines().last().unwrap().starts_with("total"), "{text}");
    }

    #[test]
    fn digits_are_grouped_in_threes() {
        let grouped = [0, 999, 1000, 269_722, 1_243_410_000].map(group_digits);
        assert_eq!(grouped, ["0", "999", "1,000", "269,722", "1,243,410,000"]);
    }
}
