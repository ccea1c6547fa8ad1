//! Maxima and means over windows, and over whole maps.

use ec2t_format::Op;
use ec2t_format::graph::Pool2d;

use super::super::error::OnnxError;
use super::reader::{Form, Layer, Reader, Value};
use super::settings::{Settings, sizes};

impl<'a> Reader<'a> {
    pub(super) fn max_pool(&mut self, node: Settings<'a>) -> Result<(), OnnxError> {
        let x = self.map(node, 0)?;
        let pool = self.windows(node, x, [0; 4])?;
        if pool.kernel == [1, 1] && pool.padding == [0; 4] {
            self.set(node.output(), Value::Strided(x, pool.stride, node.name().into()));
            return Ok(());
        }
        self.add_layer(node, Op::MaxPool(pool), x, Form::Map);
        Ok(())
    }

    pub(super) fn average_pool(&mut self, node: Settings<'a>) -> Result<(), OnnxError> {
        let (x, before) = match self.value(node, 0)? {
            Value::Padded(layer, pads) => (*layer, *pads),
            _ => (self.map(node, 0)?, [0; 4]),
        };
        let pool = self.windows(node, x, before)?;
        if pool.padding != before && node.int("count_include_pad", 0) == 0 {
            return Err(node.unsupported("means that leave out the padding"));
        }
        self.add_layer(node, Op::AvgPool(pool), x, Form::Map);
        Ok(())
    }

    /// Windows over a value that has been padded already.
    fn windows(&self, node: Settings, x: Layer, before: [usize; 4]) -> Result<Pool2d, OnnxError> {
        if node.pair("dilations", 1)? != [1, 1] {
            return Err(node.unsupported("windows with holes"));
        }
        let kernel = node.ints("kernel_shape").and_then(sizes);
        let kernel = kernel.ok_or_else(|| node.unsupported("windows of other than two sides"))?;
        let stride = node.pair("strides", 1)?;
        let shape = self.shape(x);
        let padded = padded([shape.height, shape.width], before);
        let own = node.padding(padded, kernel, stride)?;
        let rest = |axis: usize| {
            let padded = padded[axis].saturating_add(own[axis]).saturating_add(own[axis + 2]);
            padded.saturating_sub(kernel[axis]) % stride[axis].max(1)
        };
        if node.int("ceil_mode", 0) != 0 && [rest(0), rest(1)] != [0, 0] {
            return Err(node.unsupported("windows that reach past the end (ceil_mode)"));
        }
        let padding = std::array::from_fn(|side| own[side].saturating_add(before[side]));
        Ok(Pool2d { kernel, stride, padding })
    }

    /// The mean of each whole map.
    pub(super) fn global_average_pool(&mut self, node: Settings<'a>) -> Result<(), OnnxError> {
        let x = self.map(node, 0)?;
        self.add_layer(node, Op::GlobalAvgPool, x, Form::Map);
        Ok(())
    }

    /// The maximum of each whole map: a single window.
    pub(super) fn global_max_pool(&mut self, node: Settings<'a>) -> Result<(), OnnxError> {
        let x = self.map(node, 0)?;
        let shape = self.shape(x);
        let kernel = [shape.height, shape.width];
        let pool = Pool2d { kernel, stride: kernel, padding: [0; 4] };
        self.add_layer(node, Op::MaxPool(pool), x, Form::Map);
        Ok(())
    }

    pub(super) fn reduce_mean(&mut self, node: Settings<'a>) -> Result<(), OnnxError> {
        let axes = self.axes(node)?;
        let x = self.map(node, 0)?;
        if axes != [2, 3] {
            return Err(node.unsupported(format!("over axes {axes:?}, expected rows and columns")));
        }
        let form = if node.int("keepdims", 1) == 0 { Form::Vector } else { Form::Map };
        self.add_layer(node, Op::GlobalAvgPool, x, form);
        Ok(())
    }
}

/// Rows and columns with what is around them at the top, the left, the bottom and the right.
pub(super) fn padded(sizes: [usize; 2], pads: [usize; 4]) -> [usize; 2] {
    std::array::from_fn(|axis| {
        sizes[axis].saturating_add(pads[axis]).saturating_add(pads[axis + 2])
    })
}
