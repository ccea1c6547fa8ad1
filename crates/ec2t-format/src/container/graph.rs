//! The graph section.
//!
//! ```text
//! name C H W mean[C] std[C] class-count class… layer-count layer…
//! ```
//!
//! Counts and sizes are varints. Layers are stored in one of two encodings:
//! [`plain`](super::plain), that of version 1.0, or [`packed`](super::packed).

use alloc::borrow::ToOwned;
use alloc::string::String;
use alloc::vec::Vec;

use super::budget::{Budget, ENTRY};
use super::cursor::Cursor;
use super::error::FormatError;
use super::sink::{put_f32, put_size, put_text};
use super::toc::{Entry, GraphEncoding, SectionKind};
use super::{packed, plain};
use crate::graph::{Graph, MAX_NAME_LEN, MAX_NODES, MAX_NUMEL, Node, Preprocess, Shape};

pub(super) const SECTION: &str = "graph";

/// A graph in the packed encoding.
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
    packed::encode(&mut out, graph);
    out
}

pub(super) fn decode(entry: &Entry<'_>, budget: &mut Budget) -> Result<Graph, FormatError> {
    let bytes = entry.verified(SECTION)?;
    let mut cursor = Cursor::new(SECTION, entry.offset, bytes);
    // For the copy that shows whether the section is canonical, which grows by
    // doubling.
    budget.charge(&[bytes.len().saturating_mul(4)], || cursor.place())?;
    let name = cursor.text(MAX_NAME_LEN)?.to_owned();
    let input = Shape {
        channels: cursor.size("number of channels", MAX_NUMEL)?,
        height: cursor.size("height", MAX_NUMEL)?,
        width: cursor.size("width", MAX_NUMEL)?,
    };
    let preprocess = decode_preprocess(&mut cursor, input.channels, budget)?;
    let classes = decode_classes(&mut cursor, budget)?;
    let nodes = decode_nodes(&mut cursor, entry.kind, input, budget)?;
    cursor.finish()?;

    let graph = Graph { name, input, preprocess, classes, nodes };
    graph.validate()?;
    if entry.kind == SectionKind::Graph(GraphEncoding::Packed) {
        entry.insist_on(SECTION, &encode(&graph))?;
    }
    Ok(graph)
}

fn decode_preprocess(
    cursor: &mut Cursor<'_>,
    channels: usize,
    budget: &mut Budget,
) -> Result<Preprocess, FormatError> {
    let width = channels.saturating_mul(size_of::<f32>());
    budget.charge(&[width, width], || cursor.place())?;
    Ok(Preprocess { mean: cursor.f32s(channels)?, std: cursor.f32s(channels)? })
}

fn decode_classes(
    cursor: &mut Cursor<'_>,
    budget: &mut Budget,
) -> Result<Vec<String>, FormatError> {
    let mut classes = Vec::new();
    for _ in 0..cursor.size("number of classes", MAX_NUMEL)? {
        let name = cursor.text(MAX_NAME_LEN)?;
        budget.charge(&[ENTRY, name.len()], || cursor.place())?;
        classes.push(name.to_owned());
    }
    Ok(classes)
}

fn decode_nodes(
    cursor: &mut Cursor<'_>,
    kind: SectionKind,
    input: Shape,
    budget: &mut Budget,
) -> Result<Vec<Node>, FormatError> {
    let count = cursor.size("number of layers", MAX_NODES)?;
    match kind {
        SectionKind::Graph(GraphEncoding::Plain) => plain::decode(cursor, count, budget),
        _ => packed::decode(cursor, count, input, budget),
    }
}
