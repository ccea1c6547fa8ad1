//! Nodes whose operands are all constants: computed once, here.
//!
//! These are how models store weights in other forms: codes that select from a codebook,
//! integers with a scale, transposed matrices. What could make much of little, such as
//! `Expand`, is not among them.

use std::rc::Rc;

use super::super::error::OnnxError;
use super::FLOATS;
use super::constant::{Constant, Data};
use super::rearrange;
use super::settings::Settings;

/// The value of a node, or `None` where its operator is none of those here.
pub(super) fn fold(
    node: Settings,
    operands: &[Option<Rc<Constant>>],
) -> Result<Option<Rc<Constant>>, OnnxError> {
    let operand = |position: usize| {
        let operand = operands.get(position).and_then(Option::as_ref);
        operand.ok_or_else(|| node.unsupported(format!("operand {position} is missing")))
    };
    Ok(Some(match node.operator() {
        "Constant" => Rc::new(constant(node)?),
        "Identity" => operand(0)?.clone(),
        "Cast" => cast(node, operand(0)?)?,
        "Gather" => Rc::new(rearrange::gather(node, operand(0)?, operand(1)?)?),
        "Transpose" => Rc::new(rearrange::transpose(node, operand(0)?)?),
        "Reshape" => Rc::new(rearrange::reshape(node, operand(0)?, operand(1)?)?),
        "Slice" => {
            let limits = [operand(1)?, operand(2)?, operand(3)?, operand(4)?];
            Rc::new(rearrange::slice(node, operand(0)?, limits.map(Rc::as_ref))?)
        }
        "Concat" => {
            let lists = operands.iter().flatten().map(Rc::as_ref);
            Rc::new(rearrange::concat(node, lists)?)
        }
        "ConstantOfShape" => Rc::new(rearrange::filled(node, operand(0)?)?),
        "DequantizeLinear" => {
            let zero = operands.get(2).and_then(Option::as_ref);
            Rc::new(dequantize(node, operand(0)?, operand(1)?, zero)?)
        }
        _ => return Ok(None),
    }))
}

fn constant(node: Settings) -> Result<Constant, OnnxError> {
    if let Some(tensor) = node.tensor("value") {
        return Constant::new(tensor)
            .map_err(|reason| OnnxError::Constant { name: node.output().into(), reason });
    }
    let one = |data| Constant { dims: Vec::new(), data };
    let list = |count, data| Constant { dims: vec![count], data };
    if let Some(value) = node.find("value_float").and_then(|attribute| attribute.f) {
        return Ok(one(Data::Floats(vec![value])));
    }
    if let Some(value) = node.find("value_int").and_then(|attribute| attribute.i) {
        return Ok(one(Data::Ints(vec![value])));
    }
    if let Some(values) = node.ints("value_ints") {
        return Ok(list(values.len(), Data::Ints(values.to_vec())));
    }
    if let Some(attribute) = node.find("value_floats") {
        return Ok(list(attribute.floats.len(), Data::Floats(attribute.floats.clone())));
    }
    Err(node.unsupported("expected a tensor, numbers or a number"))
}

fn cast(node: Settings, x: &Rc<Constant>) -> Result<Rc<Constant>, OnnxError> {
    let to_float = FLOATS.map(i64::from).contains(&node.int("to", 0));
    match (&x.data, to_float) {
        (Data::Ints(_), false) | (Data::Floats(_), true) => Ok(x.clone()),
        (Data::Ints(values), true) => {
            let floats = values.iter().map(|&value| value as f32).collect();
            Ok(Rc::new(Constant { dims: x.dims.clone(), data: Data::Floats(floats) }))
        }
        (Data::Floats(_), false) => Err(node.unsupported("floats to integers")),
    }
}

/// `(x − zero) · scale`, with numbers for all of the tensor or for each row of an axis.
fn dequantize(
    node: Settings,
    x: &Constant,
    scale: &Constant,
    zero: Option<&Rc<Constant>>,
) -> Result<Constant, OnnxError> {
    let (Some(values), Some(scales)) = (x.ints(), scale.floats()) else {
        return Err(node.unsupported("expected integers and a scale in floats"));
    };
    let rank = x.dims.len() as i64;
    let axis = match node.int("axis", 1) {
        axis if axis < 0 => axis.saturating_add(rank),
        axis => axis,
    };
    let axis = usize::try_from(axis).ok().filter(|&axis| axis < x.dims.len());
    let (rows, inner) = match (scales, axis) {
        ([_], _) => (1, 1),
        (_, Some(axis)) => (x.dims[axis], x.dims[axis + 1..].iter().product()),
        (_, None) => return Err(node.unsupported("an axis that the tensor does not have")),
    };
    let zeros = match zero {
        None => &[][..],
        Some(zero) => zero.ints().ok_or_else(|| node.unsupported("a zero point in floats"))?,
    };
    let fits = |count: usize| count == rows;
    if !fits(scales.len()) || !(zeros.is_empty() || fits(zeros.len())) {
        let counts = format!("{} scales and {} zero points", scales.len(), zeros.len());
        return Err(node.unsupported(format!("{counts} for dimensions {:?}", x.dims)));
    }
    let value = |(at, value): (usize, &i64)| {
        let row = at / inner % rows;
        let zero = zeros.get(row).copied().unwrap_or(0);
        value.saturating_sub(zero) as f32 * scales[row]
    };
    let floats = values.iter().enumerate().map(value).collect();
    Ok(Constant { dims: x.dims.clone(), data: Data::Floats(floats) })
}
