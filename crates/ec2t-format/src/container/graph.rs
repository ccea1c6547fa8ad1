//! The graph section.
//!
//! ```text
//! name C H W mean[C] std[C] class-count class… node-count node…
//! ```
//!
//! A node is its name, its operation and one distance per input. Counts, sizes
//! and distances are varints; a distance is how many nodes back the input is.
//! Layers in a row have alike names, so a name is stored as the number of bytes
//! that it shares with the one before, and the rest as text.

use alloc::borrow::ToOwned;
use alloc::string::String;
use alloc::vec::Vec;

use super::cursor::Cursor;
use super::error::FormatError;
use super::op;
use super::sink::{put_f32, put_size, put_text};
use super::toc::Entry;
use crate::graph::{Graph, MAX_NAME_LEN, MAX_NODES, MAX_NUMEL, Node, NodeId, Preprocess, Shape};

pub(super) const SECTION: &str = "graph";

pub(super) fn encode(graph: &Graph) -> Vec<u8> {
    let mut out = Vec::new();
    put_text(&mut out, &graph.name);
    for size in [graph.input.channels, graph.input.height, graph.input.width] {
        put_size(&mut out, size);
    }
    for &value in graph.preprocess.mean.iter().chain(&graph.preprocess.std) {
        put_f32(&mut out, value);
    }
    put_size(&mut out, graph.classes.len());
    for class in &graph.classes {
        put_text(&mut out, class);
    }
    put_size(&mut out, graph.nodes.len());
    let mut previous = "";
    for (id, node) in graph.iter() {
        encode_name(&mut out, previous, &node.name);
        op::encode(&mut out, &node.op);
        for input in &node.inputs {
            put_size(&mut out, id.index().saturating_sub(input.index()));
        }
        previous = &node.name;
    }
    out
}

fn encode_name(out: &mut Vec<u8>, previous: &str, name: &str) {
    let same = name.chars().zip(previous.chars()).take_while(|(a, b)| a == b);
    let shared: usize = same.map(|(a, _)| a.len_utf8()).sum();
    put_size(out, shared);
    put_text(out, name.get(shared..).unwrap_or_default());
}

pub(super) fn decode(entry: &Entry<'_>) -> Result<Graph, FormatError> {
    let mut cursor = Cursor::new(SECTION, entry.offset, entry.verified(SECTION)?);
    let name = cursor.text(MAX_NAME_LEN)?.to_owned();
    let input = Shape {
        channels: cursor.size("number of channels", MAX_NUMEL)?,
        height: cursor.size("height", MAX_NUMEL)?,
        width: cursor.size("width", MAX_NUMEL)?,
    };
    let preprocess =
        Preprocess { mean: cursor.f32s(input.channels)?, std: cursor.f32s(input.channels)? };
    let mut classes = Vec::new();
    for _ in 0..cursor.size("number of classes", MAX_NUMEL)? {
        classes.push(cursor.text(MAX_NAME_LEN)?.to_owned());
    }
    let mut nodes: Vec<Node> = Vec::new();
    for _ in 0..cursor.size("number of layers", MAX_NODES)? {
        let node = decode_node(&mut cursor, &nodes)?;
        nodes.push(node);
    }
    cursor.finish()?;

    let graph = Graph { name, input, preprocess, classes, nodes };
    graph.validate()?;
    Ok(graph)
}

fn decode_node(cursor: &mut Cursor<'_>, earlier: &[Node]) -> Result<Node, FormatError> {
    let name = decode_name(cursor, earlier.last().map_or("", |node| &node.name))?;
    let op = op::decode(cursor)?;
    let mut inputs = Vec::new();
    for _ in 0..op.arity() {
        inputs.push(decode_edge(cursor, earlier.len())?);
    }
    Ok(Node { name, op, inputs })
}

fn decode_name(cursor: &mut Cursor<'_>, previous: &str) -> Result<String, FormatError> {
    let place = cursor.place();
    let shared = cursor.size("shared part of the name", MAX_NAME_LEN)?;
    let Some(start) = previous.get(..shared) else {
        let previous = previous.to_owned();
        return Err(FormatError::SharedName { place, previous, found: shared });
    };
    let mut name = start.to_owned();
    name.push_str(cursor.text(MAX_NAME_LEN)?);
    Ok(name)
}

fn decode_edge(cursor: &mut Cursor<'_>, node: usize) -> Result<NodeId, FormatError> {
    let place = cursor.place();
    let distance = cursor.size("distance", MAX_NODES)?;
    match node.checked_sub(distance) {
        Some(input) if input < node => Ok(NodeId(input as u32)),
        _ => Err(FormatError::Edge { place, node, distance }),
    }
}
