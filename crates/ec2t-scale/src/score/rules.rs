//! The two ways of counting.

use ec2t_format::Network;
use serde::{Deserialize, Serialize};

use super::operations::Operations;

/// Bits of a number that counts as one parameter, and of an operation that counts
/// as one.
pub(super) const UNIT_BITS: u64 = 32;

/// Bits of an addition, but for those of a tree.
pub(super) const ADD_BITS: u64 = 32;

/// Bits of values where a network has ternary layers: the challenge let networks be
/// scored as if in 16 bits.
const HALF_BITS: u64 = 16;

/// What is counted.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Mode {
    /// As the method's authors count, with what they leave out: gives their figures.
    Reference,
    /// All that a network stores and computes.
    Strict,
}

/// How to count.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub struct Rules {
    /// What is counted.
    pub mode: Mode,
    /// Bits of a stored number, and of the operands of a multiplication. Additions
    /// have 32, but for the trees of ternary layers, which begin with this width.
    pub bits: u64,
}

impl Rules {
    /// The rules for a network: 16 bits where layers are ternary, else 32.
    pub fn for_network(mode: Mode, network: &Network) -> Self {
        let bits = if network.ternary_layers() > 0 { HALF_BITS } else { UNIT_BITS };
        Self { mode, bits }
    }

    /// Multiplications in units of 32 bits.
    pub(super) fn scored_multiplications(&self, operations: &Operations) -> f64 {
        operations.multiplications as f64 * self.bits as f64 / UNIT_BITS as f64
    }
}
