//! Settings of a node, by name.

use super::super::error::OnnxError;
use super::super::proto::{Attribute, Node, Tensor};

/// A node with typed access to what is set.
#[derive(Clone, Copy)]
pub(super) struct Settings<'a>(pub(super) &'a Node);

impl<'a> Settings<'a> {
    pub(super) fn operator(self) -> &'a str {
        self.0.op_type.as_deref().unwrap_or_default()
    }

    /// What to call the node: its name or, where it has none, that of its first value.
    pub(super) fn name(self) -> &'a str {
        let name = self.0.name.as_deref().filter(|name| !name.is_empty());
        name.or(self.0.output.first().map(String::as_str)).unwrap_or_default()
    }

    /// Name of an operand; `None` where it is left out.
    pub(super) fn input(self, position: usize) -> Option<&'a str> {
        self.0.input.get(position).map(String::as_str).filter(|name| !name.is_empty())
    }

    /// Name of the value that the node computes; others of some operators are not read.
    pub(super) fn output(self) -> &'a str {
        self.0.output.first().map(String::as_str).unwrap_or_default()
    }

    pub(super) fn int(self, name: &str, default: i64) -> i64 {
        self.find(name).and_then(|attribute| attribute.i).unwrap_or(default)
    }

    pub(super) fn float(self, name: &str, default: f32) -> f32 {
        self.find(name).and_then(|attribute| attribute.f).unwrap_or(default)
    }

    pub(super) fn ints(self, name: &str) -> Option<&'a [i64]> {
        self.find(name).map(|attribute| attribute.ints.as_slice())
    }

    pub(super) fn text(self, name: &str) -> Option<&'a str> {
        self.find(name).and_then(|attribute| std::str::from_utf8(attribute.s.as_deref()?).ok())
    }

    pub(super) fn tensor(self, name: &str) -> Option<&'a Tensor> {
        self.find(name).and_then(|attribute| attribute.t.as_ref())
    }

    pub(super) fn find(self, name: &str) -> Option<&'a Attribute> {
        self.0.attribute.iter().find(|attribute| attribute.name.as_deref() == Some(name))
    }

    /// The error that the node can't be what it is.
    pub(super) fn unsupported(self, reason: impl Into<String>) -> OnnxError {
        OnnxError::Unsupported {
            node: self.name().into(),
            operator: self.operator().into(),
            reason: reason.into(),
        }
    }

    /// Two sizes, rows and columns; `default` for both where they are not set.
    pub(super) fn pair(self, name: &str, default: usize) -> Result<[usize; 2], OnnxError> {
        match self.ints(name) {
            None => Ok([default; 2]),
            Some(values) => sizes(values)
                .ok_or_else(|| self.unsupported(format!("{name} {values:?}, expected two sizes"))),
        }
    }

    /// Padding, by pads or by `auto_pad`, around so many rows and columns for windows that
    /// reach so far.
    pub(super) fn padding(
        self,
        sizes: [usize; 2],
        extent: [usize; 2],
        stride: [usize; 2],
    ) -> Result<[usize; 4], OnnxError> {
        let mode = self.text("auto_pad").unwrap_or("NOTSET");
        match mode {
            "NOTSET" => self.pads(),
            "VALID" => Ok([0; 4]),
            "SAME_UPPER" | "SAME_LOWER" => {
                let [rows, columns] = [0, 1].map(|axis| {
                    let steps = sizes[axis].saturating_sub(1) / stride[axis].max(1);
                    let covered = steps.saturating_mul(stride[axis]).saturating_add(extent[axis]);
                    let total = covered.saturating_sub(sizes[axis]);
                    let less = total / 2;
                    if mode == "SAME_UPPER" { [less, total - less] } else { [total - less, less] }
                });
                Ok([rows[0], columns[0], rows[1], columns[1]])
            }
            other => Err(self.unsupported(format!("auto_pad {other}"))),
        }
    }

    /// Padding at the top, the left, the bottom and the right.
    fn pads(self) -> Result<[usize; 4], OnnxError> {
        match self.ints("pads") {
            None => Ok([0; 4]),
            Some(values) => sizes(values)
                .ok_or_else(|| self.unsupported(format!("pads {values:?}, expected four sizes"))),
        }
    }
}

/// Exactly so many sizes, none negative.
pub(super) fn sizes<const N: usize>(values: &[i64]) -> Option<[usize; N]> {
    let sizes: Option<Vec<usize>> =
        values.iter().map(|&value| usize::try_from(value).ok()).collect();
    sizes?.try_into().ok()
}
