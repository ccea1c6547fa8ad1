//! A score as columns of text.

use std::fmt;

use super::{LayerScore, Score};
use crate::cost::group_digits;

/// Titles and widths of the columns behind the names.
const COLUMNS: [(&str, usize); 8] = [
    ("output", 12),
    ("params", 11),
    ("nonzero", 11),
    ("bits", 12),
    ("file bytes", 10),
    ("multiplications", 15),
    ("additions", 13),
    ("in trees", 13),
];

impl fmt::Display for Score {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let names = self.layers.iter().map(|layer| layer.name.chars().count());
        let width = names.max().unwrap_or(0).max("layer".len());
        row(f, width, "layer", COLUMNS.map(|(title, _)| title.to_owned()))?;
        for layer in &self.layers {
            row(f, width, &layer.name, cells(layer))?;
        }
        row(f, width, "total", self.total_cells())?;
        self.summary(f)
    }
}

fn row(f: &mut fmt::Formatter<'_>, width: usize, name: &str, cells: [String; 8]) -> fmt::Result {
    write!(f, "{name:width$}")?;
    for (cell, (_, width)) in cells.iter().zip(COLUMNS) {
        write!(f, "  {cell:>width$}")?;
    }
    writeln!(f)
}

fn cells(layer: &LayerScore) -> [String; 8] {
    let operations = &layer.operations;
    [
        layer.output.to_string(),
        group_digits(layer.params),
        group_digits(layer.nonzero),
        group_digits(layer.stored_bits),
        bytes(layer.file_bytes),
        group_digits(operations.multiplications),
        group_digits(operations.additions),
        whole(operations.scored_additions()),
    ]
}

fn bytes(bytes: Option<usize>) -> String {
    bytes.map_or("–".to_owned(), |bytes| group_digits(bytes as u64))
}

/// A count that may have a fraction.
fn whole(count: f64) -> String {
    group_digits(count.round() as u64)
}

impl Score {
    fn total_cells(&self) -> [String; 8] {
        let total = &self.total;
        [
            String::new(),
            group_digits(total.params),
            group_digits(total.nonzero),
            group_digits(self.layers.iter().map(|layer| layer.stored_bits).sum()),
            bytes(total.file_bytes),
            group_digits(total.operations.multiplications),
            group_digits(total.operations.additions),
            whole(total.scored_additions),
        ]
    }

    fn summary(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let total = &self.total;
        let formats = total.formats;
        if formats.two_masks > 0 {
            writeln!(
                f,
                "ternary layers, bits: two masks {}, mask and signs {}, CSR {}, CER {}",
                group_digits(formats.two_masks),
                group_digits(formats.mask_sign),
                group_digits(formats.csr),
                group_digits(formats.cer),
            )?;
        }
        writeln!(
            f,
            "in units of 32 bits: {} parameters, {} multiplications, {} additions",
            whole(total.scored_params),
            whole(total.scored_multiplications),
            whole(total.scored_additions),
        )?;
        let energy = total.energy;
        writeln!(
            f,
            "energy at 45 nm: {:.2} µJ, multiplications {:.2}, additions {:.2}",
            energy.total(),
            energy.multiplications,
            energy.additions,
        )?;
        let Some(score) = total.micronet else { return Ok(()) };
        writeln!(
            f,
            "MicroNet score: {:.5}, {:.5} + {:.5} ({})",
            score.score, score.params, score.operations, score.baseline.name,
        )
    }
}
