//! Energy of operations, by Horowitz's table for 45 nm (ISSCC 2014).

use serde::Serialize;

use super::operations::Operations;
use super::rules::{Mode, Rules};

/// Picojoules of a product of floats of 32 and of 16 bits.
const MULTIPLY_32: f64 = 3.7;
const MULTIPLY_16: f64 = 1.1;
/// Picojoules of a sum of floats of 32 bits.
const ADD_32: f64 = 0.9;

/// Microjoules for one image; what memory takes is left out.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct Energy {
    /// Of all multiplications.
    pub multiplications: f64,
    /// Of all additions.
    pub additions: f64,
}

impl Energy {
    /// Additions take energy in proportion to their width. So do multiplications by the
    /// authors' rules; else those of 16 bits take what the table says.
    pub(super) fn new(operations: &Operations, rules: Rules) -> Self {
        let half = rules.mode == Mode::Strict && rules.bits == 16;
        let multiplications = match half {
            true => operations.multiplications as f64 * MULTIPLY_16,
            false => rules.scored_multiplications(operations) * MULTIPLY_32,
        };
        Self {
            multiplications: multiplications / 1e6,
            additions: operations.scored_additions() * ADD_32 / 1e6,
        }
    }

    /// Of all operations.
    pub fn total(&self) -> f64 {
        self.multiplications + self.additions
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn energies_by_hand() {
        let operations = Operations::new(2_000_000, 3_000_000);
        let energy = |mode, bits| Energy::new(&operations, Rules { mode, bits });
        let close = |a: f64, b: f64| (a - b).abs() < 1e-9;
        let full = energy(Mode::Strict, 32);
        assert!(close(full.multiplications, 7.4) && close(full.total(), 10.1), "{full:?}");
        assert!(close(energy(Mode::Strict, 16).multiplications, 2.2));
        assert!(close(energy(Mode::Reference, 16).multiplications, 3.7));
    }
}
