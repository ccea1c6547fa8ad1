//! What a network costs by the rules of the MicroNet challenge: stored bits,
//! multiplications, additions, energy, and a score of them.
//!
//! Counted for one image by tracing shapes, and from the weights where they are
//! known: zeros are neither stored nor computed with, and a ternary layer has two
//! multiplications for each output. There are two [`Mode`]s: `reference` counts as
//! the method's authors did and gives their published figures, `strict` counts all
//! that is computed. `docs/cost.md` has all rules as equations.
//!
//! | module | what it does |
//! |---|---|
//! | `rules` | the two modes, and how wide numbers are |
//! | `trace` | shapes, readers and nonzero weights of each layer |
//! | `operations` | multiplications and additions of each kind of layer |
//! | `storage` | bits of weights in each format |
//! | `strict`, `reference` | the cost of each layer in the two modes |
//! | `energy`, `micronet` | what follows from the sums |
//! | `table` | a table in plain text |

mod energy;
mod micronet;
mod operations;
mod reference;
mod rules;
mod storage;
mod strict;
mod table;
mod trace;

use ec2t_format::graph::{GraphError, Shape};
use ec2t_format::stats::FileStats;
use ec2t_format::{Graph, Network};
use serde::Serialize;

pub use energy::Energy;
pub use micronet::{Baseline, MicroNetScore};
pub use operations::Operations;
pub use rules::{Mode, Rules};
pub use storage::Formats;
use trace::Trace;

/// Cost of a whole network, and of each layer that has any.
///
/// Its `Display` is a table in plain text.
///
/// ```
/// use ec2t_scale::{ArchOptions, build};
/// use ec2t_scale::score::{Mode, Rules, Score};
///
/// let graph = build("resnet20", &ArchOptions::default())?;
/// let score = Score::of_graph(&graph, Rules { mode: Mode::Reference, bits: 32 })?;
/// assert_eq!(score.total.scored_params, 269_034.0);
/// assert_eq!(score.total.operations.multiplications, 40_739_456);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Score {
    /// How it was counted.
    pub rules: Rules,
    /// The layers in the order of the graph.
    pub layers: Vec<LayerScore>,
    /// Sums over all layers, and what follows from them.
    pub total: Total,
}

/// Cost of one layer.
///
/// In `reference` mode it includes that of the normalisation, activation, sum and
/// pooling that the authors reckon to a convolution.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct LayerScore {
    /// Name of the layer.
    pub name: String,
    /// What it computes, such as `conv2d`.
    pub op: &'static str,
    /// Shape of its output.
    pub output: Shape,
    /// Stored numbers, zeros included.
    pub params: u64,
    /// Stored numbers that are not zero.
    pub nonzero: u64,
    /// Bits of its numbers in the smallest format.
    pub stored_bits: u64,
    /// Bits of ternary weights in each format; none for other layers.
    pub formats: Option<Formats>,
    /// Bytes of its tensors in the file, where there is one.
    pub file_bytes: Option<usize>,
    /// What it computes.
    pub operations: Operations,
}

/// Cost of a network.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Total {
    /// Stored numbers, zeros included.
    pub params: u64,
    /// Stored numbers that are not zero.
    pub nonzero: u64,
    /// Stored bits in units of 32: the parameters that the challenge counts.
    pub scored_params: f64,
    /// Bytes of the file, where there is one, with graph and all.
    pub file_bytes: Option<usize>,
    /// Bits of all ternary weights in each format.
    pub formats: Formats,
    /// All operations.
    pub operations: Operations,
    /// Multiplications in units of 32 bits.
    pub scored_multiplications: f64,
    /// Additions in units of 32 bits.
    pub scored_additions: f64,
    /// Energy of the operations.
    pub energy: Energy,
    /// The challenge's score; none for images that it knew nothing of.
    pub micronet: Option<MicroNetScore>,
}

impl Score {
    /// Counts a graph whose weights are all stored, and none zero.
    ///
    /// # Errors
    /// Where the graph is malformed.
    pub fn of_graph(graph: &Graph, rules: Rules) -> Result<Self, GraphError> {
        graph.validate()?;
        Ok(Self::of(&Trace::new(graph, None)?, rules))
    }

    /// Counts a network with its weights.
    ///
    /// # Errors
    /// Where the graph is malformed.
    pub fn of_network(network: &Network, rules: Rules) -> Result<Self, GraphError> {
        Ok(Self::of(&Trace::new(network.graph(), Some(network))?, rules))
    }

    fn of(trace: &Trace<'_>, rules: Rules) -> Self {
        let (layers, scored_params) = match rules.mode {
            Mode::Reference => reference::count(trace, rules),
            Mode::Strict => strict::count(trace, rules),
        };
        let total = Total::new(&layers, scored_params, rules, trace.graph.input);
        Self { rules, layers, total }
    }

    /// The same with the bytes that the network's file takes.
    #[must_use]
    pub fn with_file(mut self, file: &FileStats) -> Self {
        for layer in &mut self.layers {
            let stored = file.layers.iter().find(|stored| stored.name == layer.name);
            layer.file_bytes = stored.map(|stored| stored.bytes);
        }
        self.total.file_bytes = Some(file.total_bytes);
        self
    }
}

impl Total {
    fn new(layers: &[LayerScore], scored_params: f64, rules: Rules, input: Shape) -> Self {
        let operations: Operations = layers.iter().map(|layer| layer.operations).sum();
        let scored_multiplications = rules.scored_multiplications(&operations);
        let scored_additions = operations.scored_additions();
        let baseline = Baseline::for_input(input);
        Self {
            params: layers.iter().map(|layer| layer.params).sum(),
            nonzero: layers.iter().map(|layer| layer.nonzero).sum(),
            scored_params,
            file_bytes: None,
            formats: layers.iter().filter_map(|layer| layer.formats).sum(),
            operations,
            scored_multiplications,
            scored_additions,
            energy: Energy::new(&operations, rules),
            micronet: baseline.map(|baseline| {
                baseline.score(scored_params, scored_multiplications + scored_additions)
            }),
        }
    }
}
