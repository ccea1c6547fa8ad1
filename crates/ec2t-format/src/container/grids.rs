//! The grids section: a count, then the position of a layer, the distance of its grid's
//! numbers and the byte that stands for 0, positions in ascending order.
//!
//! Readers may skip it: its kind is 128. It stands behind the metadata, and only where a
//! network has grids.

use alloc::collections::BTreeMap;
use alloc::string::String;
use alloc::vec::Vec;

use super::budget::{Budget, ENTRY};
use super::cursor::Cursor;
use super::error::FormatError;
use super::sink::{put_f32, put_size};
use super::toc::Entry;
use crate::graph::Graph;
use crate::grid::Grid;
use crate::network::Network;

pub(super) const SECTION: &str = "grids";

/// The section of a network that has grids.
pub(super) fn encode(network: &Network) -> Option<Vec<u8>> {
    let grids = network.grids();
    if grids.is_empty() {
        return None;
    }
    let mut out = Vec::new();
    put_size(&mut out, grids.len());
    for (position, node) in network.graph().nodes.iter().enumerate() {
        if let Some(grid) = grids.get(&node.name) {
            put_size(&mut out, position);
            put_f32(&mut out, grid.scale);
            out.push(grid.zero);
        }
    }
    Some(out)
}

/// The grids of the layers of a graph.
pub(super) fn decode(
    entry: &Entry<'_>,
    graph: &Graph,
    budget: &mut Budget,
) -> Result<BTreeMap<String, Grid>, FormatError> {
    let bytes = entry.verified(SECTION)?;
    let mut cursor = Cursor::new(SECTION, entry.offset, bytes);
    let place = cursor.place();
    let count = cursor.size("number of grids", graph.nodes.len())?;
    if count == 0 {
        return Err(FormatError::NoGrids { place });
    }
    let mut grids = BTreeMap::new();
    let mut next = 0usize;
    for _ in 0..count {
        let place = cursor.place();
        let position = cursor.size("layer of a grid", graph.nodes.len().saturating_sub(1))?;
        let name = graph.nodes.get(position).map(|node| node.name.clone());
        let Some(layer) = name.filter(|_| position >= next) else {
            return Err(FormatError::GridOrder { place, position });
        };
        next = position.saturating_add(1);
        let place = cursor.place();
        let grid = Grid { scale: cursor.f32()?, zero: cursor.u8()? };
        if !grid.is_valid() {
            return Err(FormatError::GridScale { place, layer, scale: grid.scale });
        }
        budget.charge(&[ENTRY, layer.len()], || place)?;
        grids.insert(layer, grid);
    }
    cursor.finish()?;
    Ok(grids)
}
