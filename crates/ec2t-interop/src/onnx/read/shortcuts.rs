//! Zeros around a value, and values of every so many pixels.

use ec2t_format::Op;
use ec2t_format::graph::PadShortcut;

use super::super::error::OnnxError;
use super::layers::floats;
use super::reader::{Form, Layer, Reader, Value};
use super::settings::{Settings, sizes};

impl<'a> Reader<'a> {
    /// Zeros around maps, which the convolution behind takes over, or channels of zeros, which
    /// make an option-A shortcut.
    pub(super) fn pad(&mut self, node: Settings<'a>) -> Result<(), OnnxError> {
        let fill = match node.input(2) {
            Some(_) => floats(&*self.floats(node, 2)?).first().copied().unwrap_or(f32::NAN),
            None => node.float("value", 0.0),
        };
        if node.text("mode").unwrap_or("constant") != "constant" || fill != 0.0 {
            return Err(node.unsupported("with other than zeros"));
        }
        let pads = self.ints(node, "pads", 1)?.unwrap_or_default();
        let pads: Option<[usize; 8]> = match self.ints(node, "", 3)? {
            None => sizes(&pads),
            Some(axes) => on_axes(&pads, &axes),
        };
        let pads = pads.ok_or_else(|| node.unsupported("expected zeros around four dimensions"))?;
        match pads {
            [0, 0, 0, 0, 0, 0, 0, 0] => {
                let layer = self.map(node, 0)?;
                self.alias(node, layer.id, Form::Map);
                Ok(())
            }
            [0, 0, top, left, 0, 0, bottom, right] => {
                let layer = self.map(node, 0)?;
                self.set(node.output(), Value::Padded(layer, [top, left, bottom, right]));
                Ok(())
            }
            [0, before, 0, 0, 0, after, 0, 0] => self.pad_channels(node, before, after),
            _ => Err(node.unsupported(format!("pads {pads:?}"))),
        }
    }

    fn pad_channels(
        &mut self,
        node: Settings<'a>,
        before: usize,
        after: usize,
    ) -> Result<(), OnnxError> {
        let missing = before.saturating_add(after);
        if before != missing / 2 {
            let reason = format!("{before} channels before and {after} after, expected halves");
            return Err(node.unsupported(reason));
        }
        let (layer, steps) = match self.value(node, 0)?.clone() {
            Value::Strided(layer, steps, _) => (layer, steps),
            _ => (self.map(node, 0)?, [1, 1]),
        };
        let channels = self.shape(layer).channels.saturating_add(missing);
        let name = self.layer_name(node);
        let layer = self.shortcut(node, layer, steps, channels, &name)?;
        self.set(node.output(), Value::Layer(layer));
        Ok(())
    }

    /// Every so many rows and columns.
    pub(super) fn slice(&mut self, node: Settings<'a>) -> Result<(), OnnxError> {
        if matches!(self.value(node, 0)?, Value::Lengths(_)) {
            return self.select_lengths(node);
        }
        let (layer, mut steps) = match self.value(node, 0)?.clone() {
            Value::Strided(layer, steps, _) => (layer, steps),
            _ => (self.map(node, 0)?, [1, 1]),
        };
        let shape = self.shape(layer);
        let lengths = [usize::MAX, shape.channels, shape.height, shape.width];
        let mut lists = Vec::new();
        for (setting, position) in [("starts", 1), ("ends", 2), ("axes", 3), ("", 4)] {
            lists.push(self.ints(node, setting, position)?);
        }
        let [Some(starts), Some(ends), axes, steps_given] = &lists[..] else {
            return Err(node.unsupported("without starts and ends"));
        };
        for (at, (&start, &end)) in starts.iter().zip(ends).enumerate() {
            let axis = match axes {
                Some(axes) => axes.get(at).map_or(4, |axis| axis.rem_euclid(4)) as usize,
                None => at,
            };
            let step = steps_given.as_ref().map_or(1, |steps| steps.get(at).copied().unwrap_or(0));
            let whole = start == 0
                && lengths.get(axis).is_some_and(|&length| {
                    usize::try_from(end).is_ok_and(|end| end >= length.min(i64::MAX as usize))
                });
            match (usize::try_from(step), axis) {
                (Ok(1), _) if whole => {}
                (Ok(step @ 1..), 2 | 3) if whole => {
                    steps[axis - 2] = steps[axis - 2].saturating_mul(step);
                }
                _ => return Err(node.unsupported("of other than every so many rows and columns")),
            }
        }
        match steps {
            [1, 1] => self.alias(node, layer.id, Form::Map),
            steps => self.set(node.output(), Value::Strided(layer, steps, node.name().into())),
        }
        Ok(())
    }

    /// A layer of every so many rows and columns.
    pub(super) fn strided(
        &mut self,
        node: Settings,
        layer: Layer,
        steps: [usize; 2],
        name: &str,
    ) -> Result<Layer, OnnxError> {
        let channels = self.shape(layer).channels;
        let name = self.unique(name);
        self.shortcut(node, layer, steps, channels, &name)
    }

    fn shortcut(
        &mut self,
        node: Settings,
        layer: Layer,
        [rows, columns]: [usize; 2],
        out_channels: usize,
        name: &str,
    ) -> Result<Layer, OnnxError> {
        if rows != columns {
            return Err(node.unsupported(format!("every {rows} rows and {columns} columns")));
        }
        let op = Op::PadShortcut(PadShortcut { stride: rows, out_channels });
        Ok(self.push(name, op, &[layer], Form::Map))
    }
}

/// Numbers for some axes as numbers for all four, those before and then those behind.
fn on_axes(pads: &[i64], axes: &[i64]) -> Option<[usize; 8]> {
    let mut all = [0; 8];
    let (before, behind) = pads.split_at_checked(axes.len())?;
    for ((axis, before), behind) in axes.iter().zip(before).zip(behind) {
        let axis = axis.rem_euclid(4) as usize;
        all[axis] = usize::try_from(*before).ok()?;
        all[axis + 4] = usize::try_from(*behind).ok()?;
    }
    (behind.len() == axes.len()).then_some(all)
}
