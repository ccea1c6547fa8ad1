//! Network architectures, compound scaling and cost accounting.
//!
//! [`build`] makes the [`Graph`](ec2t_format::Graph) of an architecture by
//! name. Each architecture is one builder function in its family's module and
//! one row in the registry; nothing else in the workspace knows the names.
//!
//! | module | what it defines |
//! |---|---|
//! | [`registry`] | architectures by name, and what can be chosen about them |
//! | [`scaling`] | EfficientNet's compound scaling: multipliers and their rounding |
//! | [`grid`] | the combinations of multipliers that double a network's cost |
//! | [`mod@grow`] | a trained network made wider and deeper without changing what it computes |
//! | [`cost`] | parameters, multiply-accumulates and activations, layer by layer |
//! | [`score`] | stored bits, operations and energy of sparse and ternary networks |
//! | [`mod@thin`] | channels that do nothing, taken out of a network |
//!
//! ```
//! use ec2t_scale::{ArchOptions, CostTable, build};
//!
//! let graph = build("resnet20", &ArchOptions::default())?;
//! let cost = CostTable::of(&graph)?;
//! assert_eq!((cost.total.params, cost.total.macs), (269_722, 40_551_040));
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
#![forbid(unsafe_code)]

mod arch;
pub mod cost;
pub mod grid;
pub mod grow;
pub mod registry;
pub mod scaling;
pub mod score;
pub mod thin;

pub use cost::CostTable;
pub use grid::Grid;
pub use grow::{GrowError, grow};
pub use registry::{ArchError, ArchOptions, build, names};
pub use scaling::Scaling;
pub use score::Score;
pub use thin::thin;
