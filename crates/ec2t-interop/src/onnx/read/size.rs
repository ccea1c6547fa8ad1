//! How many messages a file has, counted before any is decoded.
//!
//! A decoded message takes a few hundred bytes, an empty one in a file two. So the number
//! of them is limited: what is decoded then takes at most eight times the file (a list of
//! small integers) and 100 MB.

use super::super::error::OnnxError;

/// Most messages and texts of a model; ResNet-152 has some 10,000.
const MAX_MESSAGES: usize = 1 << 18;

/// Kinds of messages that hold others.
#[derive(Clone, Copy)]
enum Kind {
    Model,
    Graph,
    Node,
    Attribute,
    Tensor,
    ValueInfo,
    Type,
    TensorType,
    Shape,
    /// One that holds no others, or a text.
    Leaf,
}

impl Kind {
    /// What a field holds, where that is a message or one of several texts.
    fn child(self, field: u64) -> Option<Kind> {
        Some(match (self, field) {
            (Kind::Model, 7) => Kind::Graph,
            (Kind::Model, 8 | 14) => Kind::Leaf,
            (Kind::Graph, 1) => Kind::Node,
            (Kind::Graph, 5) => Kind::Tensor,
            (Kind::Graph, 11 | 12) => Kind::ValueInfo,
            (Kind::Node, 1 | 2) => Kind::Leaf,
            (Kind::Node, 5) => Kind::Attribute,
            (Kind::Attribute, 5) => Kind::Tensor,
            (Kind::Tensor, 13) => Kind::Leaf,
            (Kind::ValueInfo, 2) => Kind::Type,
            (Kind::Type, 1) => Kind::TensorType,
            (Kind::TensorType, 2) => Kind::Shape,
            (Kind::Shape, 1) => Kind::Leaf,
            _ => return None,
        })
    }
}

/// Refuses a model of too many messages. Where the bytes are malformed, counting ends: so
/// does decoding, which says why.
pub(super) fn check(model: &[u8]) -> Result<(), OnnxError> {
    count(model, Kind::Model, &mut MAX_MESSAGES.clone())
}

fn count(bytes: &[u8], kind: Kind, left: &mut usize) -> Result<(), OnnxError> {
    let mut rest = bytes;
    loop {
        let offset = bytes.len() - rest.len();
        let Some(key) = varint(&mut rest) else { return Ok(()) };
        let length = match key & 7 {
            0 => varint(&mut rest).map(|_| 0),
            1 => Some(8),
            2 => varint(&mut rest),
            5 => Some(4),
            _ => return Err(OnnxError::Wire { offset }),
        };
        let length = length.and_then(|length| usize::try_from(length).ok());
        let Some((field, after)) = length.and_then(|length| rest.split_at_checked(length)) else {
            return Ok(());
        };
        rest = after;
        if let (2, Some(child)) = (key & 7, kind.child(key >> 3)) {
            *left = left.checked_sub(1).ok_or(OnnxError::Crowded { limit: MAX_MESSAGES })?;
            if !matches!(child, Kind::Leaf) {
                count(field, child, left)?;
            }
        }
    }
}

/// An integer of seven bits a byte, the lowest first.
fn varint(bytes: &mut &[u8]) -> Option<u64> {
    let mut value = 0;
    for shift in (0..64).step_by(7) {
        let (byte, rest) = bytes.split_first()?;
        *bytes = rest;
        value |= u64::from(byte & 0x7f) << shift;
        if byte & 0x80 == 0 {
            return Some(value);
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nodes_are_counted_before_they_are_decoded() {
        let graph = |nodes: usize| {
            let nodes = [0x0a, 0].repeat(nodes);
            let mut model = vec![0x3a];
            model.extend(
                [nodes.len() & 0x7f | 0x80, nodes.len() >> 7 & 0x7f | 0x80].map(|b| b as u8),
            );
            model.extend([nodes.len() >> 14 & 0x7f | 0x80, nodes.len() >> 21].map(|b| b as u8));
            model.extend(nodes);
            model
        };
        assert_eq!(check(&graph(MAX_MESSAGES - 1)), Ok(()));
        let crowded = Err(OnnxError::Crowded { limit: MAX_MESSAGES });
        assert_eq!(check(&graph(MAX_MESSAGES)), crowded);
    }

    #[test]
    fn groups_are_refused() {
        assert_eq!(check(&[0x08, 1, 0x0b]), Err(OnnxError::Wire { offset: 2 }));
        assert_eq!(check(&[0x08]), Ok(()));
    }
}
