//! Constants whose values are selected from those of others, or put in another order.
//!
//! Codes select weights from a codebook; matrices are stored transposed. PyTorch's older
//! exporter also computes the pads of `Pad` so, in eight nodes.

use super::super::error::OnnxError;
use super::constant::{Constant, Data};
use super::settings::Settings;

/// Most values of a constant that is nothing but a length: those of lists of pads.
const MAX_FILLED: i64 = 64;

impl Data {
    /// Values at these positions, all of which must be there.
    fn pick(&self, positions: impl Iterator<Item = usize>) -> Data {
        match self {
            Data::Floats(values) => Data::Floats(positions.map(|at| values[at]).collect()),
            Data::Ints(values) => Data::Ints(positions.map(|at| values[at]).collect()),
        }
    }
}

/// Entries of a list, such as a codebook, at these positions.
pub(super) fn gather(
    node: Settings,
    list: &Constant,
    at: &Constant,
) -> Result<Constant, OnnxError> {
    let (Some(positions), &[length]) = (at.ints(), &list.dims[..]) else {
        return Err(node.unsupported("expected a list and integers that select from it"));
    };
    let position = |&at: &i64| {
        let at = if at < 0 { at.saturating_add(length as i64) } else { at };
        usize::try_from(at).ok().filter(|&at| at < length)
    };
    let positions: Option<Vec<usize>> = positions.iter().map(position).collect();
    let positions = positions
        .ok_or_else(|| node.unsupported(format!("a code selects none of {length} entries")))?;
    Ok(Constant { dims: at.dims.clone(), data: list.data.pick(positions.into_iter()) })
}

/// A matrix with rows and columns exchanged.
pub(super) fn transpose(node: Settings, x: &Constant) -> Result<Constant, OnnxError> {
    let swaps = node.ints("perm").is_none_or(|order| order == [1, 0]);
    match x.dims[..] {
        [rows, columns] if swaps => Ok(transposed(x, rows, columns)),
        _ => Err(node.unsupported(format!("of a constant of dimensions {:?}", x.dims))),
    }
}

/// A matrix of so many rows and columns, column by column.
pub(super) fn transposed(x: &Constant, rows: usize, columns: usize) -> Constant {
    let column = |at| (0..rows).map(move |row| row * columns + at);
    Constant { dims: vec![columns, rows], data: x.data.pick((0..columns).flat_map(column)) }
}

/// The same values with other dimensions.
pub(super) fn reshape(node: Settings, x: &Constant, to: &Constant) -> Result<Constant, OnnxError> {
    let count: usize = x.dims.iter().product();
    let to = to.ints().unwrap_or_default();
    let known = to.iter().filter(|&&length| length != -1).try_fold(1i64, |product, &length| {
        product.checked_mul(length).filter(|product| *product > 0)
    });
    let rest = known.map(|known| count as i64 / known);
    let length = |&length: &i64| usize::try_from(if length == -1 { rest? } else { length }).ok();
    let dims: Option<Vec<usize>> = to.iter().map(length).collect();
    let fits = |dims: &Vec<usize>| {
        dims.iter().try_fold(1usize, |product, &dim| product.checked_mul(dim)) == Some(count)
    };
    match dims.filter(fits) {
        Some(dims) => Ok(Constant { dims, data: x.data.clone() }),
        None => Err(node.unsupported(format!("{:?} to {to:?}", x.dims))),
    }
}

/// Some of the rows of a list or matrix, in this or the opposite order.
pub(super) fn slice(
    node: Settings,
    x: &Constant,
    limits: [&Constant; 4],
) -> Result<Constant, OnnxError> {
    let [start, end, axis, step] = limits.map(|limit| match limit.ints() {
        Some(&[value]) => Some(value),
        _ => None,
    });
    let (Some(start), Some(end), Some(0), Some(step @ (1 | -1))) = (start, end, axis, step) else {
        return Err(node.unsupported("of other than all rows of a constant"));
    };
    let rows = x.dims.first().copied().unwrap_or(0) as i64;
    let (low, high) = if step > 0 { (0, rows) } else { (-1, rows - 1) };
    let bound = |at: i64| if at < 0 { at.saturating_add(rows) } else { at }.clamp(low, high);
    let mut picked: Vec<usize> = match step > 0 {
        true => (bound(start)..bound(end)).map(|row| row as usize).collect(),
        false => (bound(end) + 1..=bound(start)).map(|row| row as usize).collect(),
    };
    if step < 0 {
        picked.reverse();
    }
    let width: usize = x.dims.iter().skip(1).product();
    let dims = std::iter::once(picked.len()).chain(x.dims.iter().skip(1).copied()).collect();
    let positions = picked.into_iter().flat_map(|row| row * width..(row + 1) * width);
    Ok(Constant { dims, data: x.data.pick(positions) })
}

/// Lists of integers, one after the other.
pub(super) fn concat<'c>(
    node: Settings,
    lists: impl Iterator<Item = &'c Constant>,
) -> Result<Constant, OnnxError> {
    let mut joined = Vec::new();
    for list in lists {
        let ints = list.ints().filter(|_| list.dims.len() == 1);
        joined.extend(ints.ok_or_else(|| node.unsupported("of other than lists of integers"))?);
    }
    Ok(Constant { dims: vec![joined.len()], data: Data::Ints(joined) })
}

/// So many times the same integer.
pub(super) fn filled(node: Settings, length: &Constant) -> Result<Constant, OnnxError> {
    let value = match node.tensor("value").map(Constant::new) {
        None => Some(0),
        Some(value) => value.ok().and_then(|value| value.ints()?.first().copied()),
    };
    match (value, length.ints()) {
        (Some(value), Some(&[length @ 0..=MAX_FILLED])) => Ok(Constant {
            dims: vec![length as usize],
            data: Data::Ints(vec![value; length as usize]),
        }),
        _ => Err(node.unsupported(format!("of other than up to {MAX_FILLED} integers"))),
    }
}

#[cfg(test)]
mod tests {
    use super::super::super::proto::Node;
    use super::*;

    fn ints(values: &[i64]) -> Constant {
        Constant { dims: vec![values.len()], data: Data::Ints(values.to_vec()) }
    }

    #[test]
    fn pads_are_computed_as_pytorchs_older_exporter_does() {
        let node = Node::default();
        let node = Settings(&node);
        let zeros = filled(node, &ints(&[2])).unwrap();
        let joined = concat(node, [&ints(&[0, 0, 0, 0, 2, 3]), &zeros].into_iter()).unwrap();
        let pairs = reshape(node, &joined, &ints(&[-1, 2])).unwrap();
        assert_eq!(pairs.dims, [4, 2]);
        let limits = [-1, i64::MIN + 1, 0, -1].map(|limit| ints(&[limit]));
        let [start, end, axis, step] = &limits;
        let reversed = slice(node, &pairs, [start, end, axis, step]).unwrap();
        let transposed = transpose(node, &reversed).unwrap();
        let pads = reshape(node, &transposed, &ints(&[-1])).unwrap();
        assert_eq!(pads, ints(&[0, 2, 0, 0, 0, 3, 0, 0]));
    }

    #[test]
    fn what_does_not_fit_is_refused() {
        let node = Node::default();
        let node = Settings(&node);
        let list = ints(&[5, 6, 7]);
        assert_eq!(gather(node, &list, &ints(&[2, -3])), Ok(ints(&[7, 5])));
        assert!(gather(node, &list, &ints(&[3])).is_err());
        assert!(gather(node, &list, &ints(&[i64::MIN])).is_err());
        assert!(reshape(node, &list, &ints(&[2, -1])).is_err());
        assert!(reshape(node, &list, &ints(&[0, 3])).is_err());
        assert!(filled(node, &ints(&[65])).is_err());
        assert!(transpose(node, &list).is_err());
    }
}
