//! The layers of a graph as files of version 1.0 have them; only read.
//!
//! A layer is its name, its operation and one distance per input: how many
//! layers back that is. A name is stored as the number of bytes that it shares
//! with the one before, and the rest as text.

use alloc::vec::Vec;

use super::budget::{Budget, LAYER};
use super::cursor::Cursor;
use super::error::FormatError;
use super::{names, op};
use crate::graph::{MAX_NODES, Node, NodeId};

/// Reads so many layers.
pub(super) fn decode(
    cursor: &mut Cursor<'_>,
    count: usize,
    budget: &mut Budget,
) -> Result<Vec<Node>, FormatError> {
    let mut nodes: Vec<Node> = Vec::new();
    for position in 0..count {
        let place = cursor.place();
        let previous = nodes.last().map_or("", |node| &node.name);
        let name = names::decode(cursor, previous)?;
        budget.charge_named(LAYER, name.len(), || place)?;
        let op = op::decode_plain(cursor)?;
        let inputs = decode_edges(cursor, position, op.arity())?;
        nodes.push(Node { name, op, inputs });
    }
    Ok(nodes)
}

/// Reads the distances of the layers that the one at `position` reads.
pub(super) fn decode_edges(
    cursor: &mut Cursor<'_>,
    position: usize,
    count: usize,
) -> Result<Vec<NodeId>, FormatError> {
    let mut inputs = Vec::new();
    for _ in 0..count {
        let place = cursor.place();
        let distance = cursor.size("distance", MAX_NODES)?;
        match position.checked_sub(distance) {
            Some(input) if input < position => inputs.push(NodeId(input as u32)),
            _ => return Err(FormatError::Edge { place, node: position, distance }),
        }
    }
    Ok(inputs)
}
