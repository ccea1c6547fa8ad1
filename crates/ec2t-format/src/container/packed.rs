//! The layers of a graph as differences to what the layers before suggest.
//!
//! Networks repeat themselves: what followed `conv1` in one block follows it in
//! the next. So the *model* of a layer is the latest earlier layer with the same
//! operation behind a layer with the same last part of its name, and a layer is
//! stored as one byte and what differs from its model:
//!
//! | bits | are |
//! |---|---|
//! | 0–3 | number of the operation |
//! | 4 | the start of the name is stored: it is not that of the layer before |
//! | 5 | the last part of the name is stored: it is not the model's |
//! | 6 | distances are stored: they are not the model's |
//! | 7 | fields are stored: not all are as [predicted](op::predict) from the model |
//!
//! What is stored follows in this order; fields begin with a byte that has a bit
//! for each. A name's start is all up to and with its last dot. Without a model,
//! the last part is the name of the operation, distances are 1, and fields are
//! [the usual ones](op::usual).
//!
//! Nothing is stored that is as suggested. The reader does not check that here:
//! it writes the section again and compares.

use alloc::borrow::ToOwned;
use alloc::collections::BTreeMap;
use alloc::format;
use alloc::string::String;
use alloc::vec::Vec;

use super::budget::{Budget, LAYER};
use super::cursor::Cursor;
use super::error::FormatError;
use super::sink::{put_size, put_text};
use super::{names, op, plain};
use crate::graph::{
    Graph, GraphError, MAX_NAME_LEN, Node, NodeId, Op, Shape, ShapeError, output_shape,
};

const OPERATION: u8 = 0x0f;
const START: u8 = 0x10;
const LAST: u8 = 0x20;
const DISTANCES: u8 = 0x40;
const FIELDS: u8 = 0x80;

/// Appends the layers of a valid graph.
pub(super) fn encode(out: &mut Vec<u8>, graph: &Graph) {
    let mut known = Known::new(graph.input);
    for node in &graph.nodes {
        encode_node(out, node, &known);
        // The shapes of a valid graph fit, so there is no error to pass on.
        let _ = known.push(node.clone());
    }
}

fn encode_node(out: &mut Vec<u8>, node: &Node, known: &Known) {
    let number = op::number(&node.op);
    let model = known.model(number).unwrap_or_else(|| Model::first(node.op.clone()));
    let (start, last) = split(&node.name);
    let distances = known.distances(&node.inputs);
    let predicted = op::predict(&model.op, known.shape_of_input(&node.inputs));
    let (mask, fields) = op::changes(&node.op, &predicted);

    let flag = |set: bool, flag: u8| if set { flag } else { 0 };
    let head = number
        | flag(start != known.start(), START)
        | flag(last != model.last, LAST)
        | flag(distances != model.distances, DISTANCES)
        | flag(mask != 0, FIELDS);
    out.push(head);
    if head & START != 0 {
        names::encode(out, known.start(), start);
    }
    if head & LAST != 0 {
        put_text(out, last);
    }
    if head & DISTANCES != 0 {
        distances.iter().for_each(|&distance| put_size(out, distance));
    }
    if head & FIELDS != 0 {
        out.push(mask);
        out.extend(fields);
    }
}

/// Reads so many layers of a network with an input of this shape.
pub(super) fn decode(
    cursor: &mut Cursor<'_>,
    count: usize,
    input: Shape,
    budget: &mut Budget,
) -> Result<Vec<Node>, FormatError> {
    let mut known = Known::new(input);
    for _ in 0..count {
        let node = decode_node(cursor, &known, budget)?;
        known.push(node).map_err(GraphError::from)?;
    }
    Ok(known.nodes)
}

fn decode_node(
    cursor: &mut Cursor<'_>,
    known: &Known,
    budget: &mut Budget,
) -> Result<Node, FormatError> {
    let place = cursor.place();
    let head = cursor.u8()?;
    let found = head & OPERATION;
    let Some(model) = known.model(found) else {
        return Err(FormatError::Unknown { place, what: "operation", found });
    };
    let start = match head & START {
        0 => known.start().to_owned(),
        _ => names::decode(cursor, known.start())?,
    };
    let last = match head & LAST {
        0 => model.last,
        _ => cursor.text(MAX_NAME_LEN)?,
    };
    let name = format!("{start}{last}");
    budget.charge_named(LAYER, name.len(), || place)?;
    let inputs = match head & DISTANCES {
        0 => known.inputs(&model.distances),
        _ => plain::decode_edges(cursor, known.nodes.len(), model.op.arity())?,
    };
    let predicted = op::predict(&model.op, known.shape_of_input(&inputs));
    let op = match head & FIELDS {
        0 => predicted,
        _ => {
            let mask = cursor.u8()?;
            op::decode_changes(cursor, mask, predicted)?
        }
    };
    Ok(Node { name, op, inputs })
}

/// A name's start, up to and with its last dot, and its last part.
fn split(name: &str) -> (&str, &str) {
    let end = name.rfind('.').map_or(0, |dot| dot.saturating_add(1));
    name.split_at_checked(end).unwrap_or(("", name))
}

/// What a layer is expected to be.
struct Model<'k> {
    /// Last part of the name.
    last: &'k str,
    op: Op,
    /// How many layers back each input is.
    distances: Vec<usize>,
}

impl Model<'_> {
    /// The model where there is no earlier layer to go by, but the usual fields of
    /// the operation.
    fn first(op: Op) -> Self {
        Self { last: op.name(), distances: alloc::vec![1; op.arity()], op }
    }
}

/// The layers so far, by which writer and reader expect the next one.
struct Known {
    input: Shape,
    nodes: Vec<Node>,
    /// Shape of each layer's output.
    shapes: Vec<Shape>,
    /// The latest layer for each operation and last part of the name before it.
    latest: BTreeMap<(String, u8), usize>,
}

impl Known {
    fn new(input: Shape) -> Self {
        Self { input, nodes: Vec::new(), shapes: Vec::new(), latest: BTreeMap::new() }
    }

    /// Start of the last layer's name.
    fn start(&self) -> &str {
        split(self.last_name()).0
    }

    fn last_name(&self) -> &str {
        self.nodes.last().map_or("", |node| &node.name)
    }

    /// The model of the next layer, whose operation has this number; none if no
    /// operation has.
    fn model(&self, number: u8) -> Option<Model<'_>> {
        let first = || op::usual(number).map(Model::first);
        self.earlier(number).or_else(first)
    }

    /// The model among the earlier layers.
    fn earlier(&self, number: u8) -> Option<Model<'_>> {
        let key = (split(self.last_name()).1.to_owned(), number);
        let &position = self.latest.get(&key)?;
        let node = self.nodes.get(position)?;
        let distance = |input: &NodeId| position.saturating_sub(input.index());
        Some(Model {
            last: split(&node.name).1,
            op: node.op.clone(),
            distances: node.inputs.iter().map(distance).collect(),
        })
    }

    /// How many layers back each input of the next layer is.
    fn distances(&self, inputs: &[NodeId]) -> Vec<usize> {
        inputs.iter().map(|input| self.nodes.len().saturating_sub(input.index())).collect()
    }

    /// The inputs of the next layer at these distances.
    fn inputs(&self, distances: &[usize]) -> Vec<NodeId> {
        let id = |distance: &usize| NodeId(self.nodes.len().saturating_sub(*distance) as u32);
        distances.iter().map(id).collect()
    }

    /// Shape of the first input of the next layer.
    fn shape_of_input(&self, inputs: &[NodeId]) -> Shape {
        let shape = inputs.first().and_then(|id| self.shapes.get(id.index()));
        shape.copied().unwrap_or(self.input)
    }

    /// Adds the next layer.
    fn push(&mut self, node: Node) -> Result<(), ShapeError> {
        let shape = output_shape(&node, self.input, &self.shapes)
            .map_err(|reason| ShapeError { node: node.name.clone(), reason })?;
        let key = (split(self.last_name()).1.to_owned(), op::number(&node.op));
        self.latest.insert(key, self.nodes.len());
        self.shapes.push(shape);
        self.nodes.push(node);
        Ok(())
    }
}
