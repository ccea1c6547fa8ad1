//! Operations in the graph section: a number, then the operation's own fields.
//!
//! Sizes are varints, pairs go rows before columns, padding goes top, left,
//! bottom, right. Numbers are never reused.
//!
//! | number | operation | fields |
//! |---|---|---|
//! | 0 | input | |
//! | 1 | convolution | *in*, out, kernel[2], stride[2], padding, dilation[2], groups, flags |
//! | 2 | linear | *in*, out, flags |
//! | 3 | batch normalisation | *channels*, eps f32, momentum f32 |
//! | 4 | activation | number of the function |
//! | 5, 6 | add, multiply | |
//! | 7, 8 | max pool, average pool | kernel[2], stride[2], padding[4] |
//! | 9 | global average pool | |
//! | 10 | pad shortcut | stride, out |
//! | 11 | dropout | probability f32 |
//! | 12 | flatten | |
//!
//! A convolution's padding is the number 0 and four sizes, or the number 1 for
//! "same". Flags are one byte: 1 for a bias, 2 for a scale.
//!
//! The plain encoding stores all fields. The packed one predicts an operation
//! from an earlier one and from the shape of its input; it leaves out the
//! fields in italics, which follow from that shape, and stores of the others
//! those alone that differ. Both read fields by the same functions ([`Fields`]).

use alloc::vec::Vec;

use super::cursor::Cursor;
use super::error::FormatError;
use super::sink::{put_f32, put_size};
use crate::graph::{
    Activation, BatchNorm, Conv2d, Linear, MAX_DIM, Op, PadShortcut, Padding, Pool2d, Shape,
};

type Result<T> = core::result::Result<T, FormatError>;

const BIAS: u8 = 1;
const SCALE: u8 = 2;

/// Activations in the order of their numbers.
const ACTIVATIONS: [Activation; 5] = [
    Activation::Relu,
    Activation::Relu6,
    Activation::Swish,
    Activation::HardSwish,
    Activation::Sigmoid,
];

/// The number of an operation in a file.
pub(super) fn number(op: &Op) -> u8 {
    match op {
        Op::Input => 0,
        Op::Conv2d(_) => 1,
        Op::Linear(_) => 2,
        Op::BatchNorm(_) => 3,
        Op::Activation(_) => 4,
        Op::Add => 5,
        Op::Multiply => 6,
        Op::MaxPool(_) => 7,
        Op::AvgPool(_) => 8,
        Op::GlobalAvgPool => 9,
        Op::PadShortcut(_) => 10,
        Op::Dropout { .. } => 11,
        Op::Flatten => 12,
    }
}

/// The operation of this number with the fields that the first of its kind in a
/// graph is predicted to have.
pub(super) fn usual(number: u8) -> Option<Op> {
    Some(match number {
        0 => Op::Input,
        1 => Op::Conv2d(Conv2d {
            in_channels: 1,
            out_channels: 1,
            kernel: [3; 2],
            stride: [1; 2],
            padding: Padding::all(1),
            dilation: [1; 2],
            groups: 1,
            bias: true,
            scale: false,
        }),
        2 => Op::Linear(Linear { in_features: 1, out_features: 1, bias: true }),
        3 => Op::BatchNorm(BatchNorm::new(1)),
        4 => Op::Activation(Activation::Relu),
        5 => Op::Add,
        6 => Op::Multiply,
        7 => Op::MaxPool(Pool2d::square(2)),
        8 => Op::AvgPool(Pool2d::square(2)),
        9 => Op::GlobalAvgPool,
        10 => Op::PadShortcut(PadShortcut { stride: 2, out_channels: 1 }),
        11 => Op::Dropout { p: 0.5 },
        12 => Op::Flatten,
        _ => return None,
    })
}

/// What an operation is predicted to be that comes where `earlier` came before,
/// with an input of this shape: as many outputs as inputs, or one group per
/// channel, are taken for a rule.
pub(super) fn predict(earlier: &Op, input: Shape) -> Op {
    let outputs = |inputs: usize, outputs: usize, now: usize| match inputs == outputs {
        true => now,
        false => outputs,
    };
    match earlier {
        Op::Conv2d(conv) => Op::Conv2d(Conv2d {
            in_channels: input.channels,
            out_channels: outputs(conv.in_channels, conv.out_channels, input.channels),
            groups: match conv.groups > 1 && conv.groups == conv.in_channels {
                true => input.channels,
                false => conv.groups,
            },
            ..conv.clone()
        }),
        Op::Linear(linear) => Op::Linear(Linear {
            in_features: input.numel(),
            out_features: outputs(linear.in_features, linear.out_features, input.numel()),
            bias: linear.bias,
        }),
        Op::BatchNorm(norm) => {
            Op::BatchNorm(BatchNorm { channels: input.channels, ..norm.clone() })
        }
        other => other.clone(),
    }
}

/// The fields in which an operation differs from a predicted one of its kind: a
/// bit for each field, the first lowest, and the fields' bytes.
pub(super) fn changes(op: &Op, predicted: &Op) -> (u8, Vec<u8>) {
    let (mut mask, mut bytes) = (0u8, Vec::new());
    for ((field, expected), bit) in fields(op).iter().zip(fields(predicted)).zip(0u32..) {
        if *field != expected {
            mask |= 1 << bit;
            bytes.extend(field);
        }
    }
    (mask, bytes)
}

/// The bytes of each field that does not follow from the input's shape.
fn fields(op: &Op) -> Vec<Vec<u8>> {
    match op {
        Op::Conv2d(conv) => Vec::from([
            sizes(&[conv.out_channels]),
            sizes(&conv.kernel),
            sizes(&conv.stride),
            match &conv.padding {
                Padding::Explicit(padding) => [Vec::from([0]), sizes(padding)].concat(),
                Padding::Same => Vec::from([1]),
            },
            sizes(&conv.dilation),
            sizes(&[conv.groups]),
            Vec::from([flag(conv.bias, BIAS) | flag(conv.scale, SCALE)]),
        ]),
        Op::Linear(linear) => {
            Vec::from([sizes(&[linear.out_features]), Vec::from([flag(linear.bias, BIAS)])])
        }
        Op::BatchNorm(norm) => Vec::from([float(norm.eps), float(norm.momentum)]),
        Op::Activation(function) => {
            let number = (0u8..).zip(ACTIVATIONS).find(|(_, known)| known == function);
            Vec::from([number.map(|(number, _)| number).into_iter().collect()])
        }
        Op::MaxPool(pool) | Op::AvgPool(pool) => {
            Vec::from([sizes(&pool.kernel), sizes(&pool.stride), sizes(&pool.padding)])
        }
        Op::PadShortcut(pad) => Vec::from([sizes(&[pad.stride]), sizes(&[pad.out_channels])]),
        Op::Dropout { p } => Vec::from([float(*p)]),
        Op::Input | Op::Add | Op::Multiply | Op::GlobalAvgPool | Op::Flatten => Vec::new(),
    }
}

fn sizes(sizes: &[usize]) -> Vec<u8> {
    let mut bytes = Vec::new();
    for &size in sizes {
        put_size(&mut bytes, size);
    }
    bytes
}

fn float(value: f32) -> Vec<u8> {
    let mut bytes = Vec::new();
    put_f32(&mut bytes, value);
    bytes
}

fn flag(set: bool, flag: u8) -> u8 {
    if set { flag } else { 0 }
}

/// Reads an operation in the plain encoding: its number and all its fields.
pub(super) fn decode_plain(cursor: &mut Cursor<'_>) -> Result<Op> {
    let place = cursor.place();
    let found = cursor.u8()?;
    let kind = usual(found).ok_or(FormatError::Unknown { place, what: "operation", found })?;
    decode(kind, &mut Fields { cursor, mask: None })
}

/// Reads the fields that differ from a predicted operation.
pub(super) fn decode_changes(cursor: &mut Cursor<'_>, mask: u8, predicted: Op) -> Result<Op> {
    decode(predicted, &mut Fields { cursor, mask: Some(mask) })
}

fn decode(predicted: Op, fields: &mut Fields<'_, '_>) -> Result<Op> {
    Ok(match predicted {
        Op::Conv2d(conv) => Op::Conv2d(decode_conv(&conv, fields)?),
        Op::Linear(linear) => Op::Linear(Linear {
            in_features: fields.implied(linear.in_features)?,
            out_features: fields.size(linear.out_features)?,
            bias: fields.flags(flag(linear.bias, BIAS), BIAS)? & BIAS != 0,
        }),
        Op::BatchNorm(norm) => Op::BatchNorm(BatchNorm {
            channels: fields.implied(norm.channels)?,
            eps: fields.float(norm.eps)?,
            momentum: fields.float(norm.momentum)?,
        }),
        Op::Activation(function) => Op::Activation(fields.activation(function)?),
        Op::MaxPool(pool) => Op::MaxPool(decode_pool(&pool, fields)?),
        Op::AvgPool(pool) => Op::AvgPool(decode_pool(&pool, fields)?),
        Op::PadShortcut(pad) => Op::PadShortcut(PadShortcut {
            stride: fields.size(pad.stride)?,
            out_channels: fields.size(pad.out_channels)?,
        }),
        Op::Dropout { p } => Op::Dropout { p: fields.float(p)? },
        Op::Input | Op::Add | Op::Multiply | Op::GlobalAvgPool | Op::Flatten => predicted,
    })
}

fn decode_conv(predicted: &Conv2d, fields: &mut Fields<'_, '_>) -> Result<Conv2d> {
    let flags = flag(predicted.bias, BIAS) | flag(predicted.scale, SCALE);
    let mut conv = Conv2d {
        in_channels: fields.implied(predicted.in_channels)?,
        out_channels: fields.size(predicted.out_channels)?,
        kernel: fields.sizes(predicted.kernel)?,
        stride: fields.sizes(predicted.stride)?,
        padding: fields.padding(predicted.padding)?,
        dilation: fields.sizes(predicted.dilation)?,
        groups: fields.size(predicted.groups)?,
        bias: false,
        scale: false,
    };
    let flags = fields.flags(flags, BIAS | SCALE)?;
    (conv.bias, conv.scale) = (flags & BIAS != 0, flags & SCALE != 0);
    Ok(conv)
}

fn decode_pool(predicted: &Pool2d, fields: &mut Fields<'_, '_>) -> Result<Pool2d> {
    Ok(Pool2d {
        kernel: fields.sizes(predicted.kernel)?,
        stride: fields.sizes(predicted.stride)?,
        padding: fields.sizes(predicted.padding)?,
    })
}

/// The fields of an operation, each either stored or as predicted.
struct Fields<'c, 'a> {
    cursor: &'c mut Cursor<'a>,
    /// Which of the fields to come are stored, the next in the lowest bit; none
    /// where all are.
    mask: Option<u8>,
}

impl Fields<'_, '_> {
    fn is_stored(&mut self) -> bool {
        let Some(mask) = self.mask else { return true };
        self.mask = Some(mask >> 1);
        mask & 1 == 1
    }

    /// A field that the packed encoding has no bit for.
    fn implied(&mut self, predicted: usize) -> Result<usize> {
        match self.mask {
            Some(_) => Ok(predicted),
            None => self.cursor.size("size", MAX_DIM),
        }
    }

    fn size(&mut self, predicted: usize) -> Result<usize> {
        self.sizes([predicted]).map(|[size]| size)
    }

    fn sizes<const N: usize>(&mut self, predicted: [usize; N]) -> Result<[usize; N]> {
        match self.is_stored() {
            true => read_sizes(self.cursor),
            false => Ok(predicted),
        }
    }

    fn float(&mut self, predicted: f32) -> Result<f32> {
        match self.is_stored() {
            true => self.cursor.f32(),
            false => Ok(predicted),
        }
    }

    fn flags(&mut self, predicted: u8, known: u8) -> Result<u8> {
        if !self.is_stored() {
            return Ok(predicted);
        }
        let place = self.cursor.place();
        match self.cursor.u8()? {
            flags if flags & !known == 0 => Ok(flags),
            found => Err(FormatError::Unknown { place, what: "set of flags", found }),
        }
    }

    fn padding(&mut self, predicted: Padding) -> Result<Padding> {
        if !self.is_stored() {
            return Ok(predicted);
        }
        let place = self.cursor.place();
        match self.cursor.u8()? {
            0 => Ok(Padding::Explicit(read_sizes(self.cursor)?)),
            1 => Ok(Padding::Same),
            found => Err(FormatError::Unknown { place, what: "padding", found }),
        }
    }

    fn activation(&mut self, predicted: Activation) -> Result<Activation> {
        if !self.is_stored() {
            return Ok(predicted);
        }
        let place = self.cursor.place();
        let found = self.cursor.u8()?;
        let known = ACTIVATIONS.get(usize::from(found)).copied();
        known.ok_or(FormatError::Unknown { place, what: "activation", found })
    }
}

fn read_sizes<const N: usize>(cursor: &mut Cursor<'_>) -> Result<[usize; N]> {
    let mut sizes = [0; N];
    for size in &mut sizes {
        *size = cursor.size("size", MAX_DIM)?;
    }
    Ok(sizes)
}
