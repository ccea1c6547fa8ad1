//! Operations in the graph section: a number, then the operation's own fields.
//!
//! Sizes are varints, pairs go rows before columns, padding goes top, left,
//! bottom, right. Numbers are never reused.
//!
//! | number | operation | fields |
//! |---|---|---|
//! | 0 | input | |
//! | 1 | convolution | in, out, kernel[2], stride[2], padding, dilation[2], groups, flags |
//! | 2 | linear | in, out, flags |
//! | 3 | batch normalisation | channels, eps f32, momentum f32 |
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

use alloc::vec::Vec;

use super::cursor::Cursor;
use super::error::FormatError;
use super::sink::{put_f32, put_size};
use crate::graph::{
    Activation, BatchNorm, Conv2d, Linear, MAX_DIM, Op, PadShortcut, Padding, Pool2d,
};

type Result<T> = core::result::Result<T, FormatError>;

const BIAS: u8 = 1;
const SCALE: u8 = 2;

/// Appends an operation.
pub(super) fn encode(out: &mut Vec<u8>, op: &Op) {
    match op {
        Op::Input => out.push(0),
        Op::Conv2d(conv) => {
            out.push(1);
            encode_conv(out, conv);
        }
        Op::Linear(linear) => {
            out.push(2);
            put_sizes(out, &[linear.in_features, linear.out_features]);
            out.push(flag(linear.bias, BIAS));
        }
        Op::BatchNorm(norm) => {
            out.push(3);
            put_size(out, norm.channels);
            put_f32(out, norm.eps);
            put_f32(out, norm.momentum);
        }
        Op::Activation(activation) => out.extend([4, activation_number(*activation)]),
        Op::Add => out.push(5),
        Op::Multiply => out.push(6),
        Op::MaxPool(pool) => {
            out.push(7);
            encode_pool(out, pool);
        }
        Op::AvgPool(pool) => {
            out.push(8);
            encode_pool(out, pool);
        }
        Op::GlobalAvgPool => out.push(9),
        Op::PadShortcut(pad) => {
            out.push(10);
            put_sizes(out, &[pad.stride, pad.out_channels]);
        }
        Op::Dropout { p } => {
            out.push(11);
            put_f32(out, *p);
        }
        Op::Flatten => out.push(12),
    }
}

fn encode_conv(out: &mut Vec<u8>, conv: &Conv2d) {
    put_sizes(out, &[conv.in_channels, conv.out_channels]);
    put_sizes(out, &conv.kernel);
    put_sizes(out, &conv.stride);
    match &conv.padding {
        Padding::Explicit(padding) => {
            out.push(0);
            put_sizes(out, padding);
        }
        Padding::Same => out.push(1),
    }
    put_sizes(out, &conv.dilation);
    put_size(out, conv.groups);
    out.push(flag(conv.bias, BIAS) | flag(conv.scale, SCALE));
}

fn encode_pool(out: &mut Vec<u8>, pool: &Pool2d) {
    put_sizes(out, &pool.kernel);
    put_sizes(out, &pool.stride);
    put_sizes(out, &pool.padding);
}

fn put_sizes(out: &mut Vec<u8>, sizes: &[usize]) {
    for &size in sizes {
        put_size(out, size);
    }
}

fn flag(set: bool, flag: u8) -> u8 {
    if set { flag } else { 0 }
}

fn activation_number(activation: Activation) -> u8 {
    match activation {
        Activation::Relu => 0,
        Activation::Relu6 => 1,
        Activation::Swish => 2,
        Activation::HardSwish => 3,
        Activation::Sigmoid => 4,
    }
}

/// Reads an operation.
pub(super) fn decode(cursor: &mut Cursor<'_>) -> Result<Op> {
    let place = cursor.place();
    Ok(match cursor.u8()? {
        0 => Op::Input,
        1 => Op::Conv2d(decode_conv(cursor)?),
        2 => {
            let [in_features, out_features] = sizes(cursor)?;
            let bias = decode_flags(cursor, BIAS)? & BIAS != 0;
            Op::Linear(Linear { in_features, out_features, bias })
        }
        3 => {
            let [channels] = sizes(cursor)?;
            Op::BatchNorm(BatchNorm { channels, eps: cursor.f32()?, momentum: cursor.f32()? })
        }
        4 => Op::Activation(decode_activation(cursor)?),
        5 => Op::Add,
        6 => Op::Multiply,
        7 => Op::MaxPool(decode_pool(cursor)?),
        8 => Op::AvgPool(decode_pool(cursor)?),
        9 => Op::GlobalAvgPool,
        10 => {
            let [stride, out_channels] = sizes(cursor)?;
            Op::PadShortcut(PadShortcut { stride, out_channels })
        }
        11 => Op::Dropout { p: cursor.f32()? },
        12 => Op::Flatten,
        found => return Err(FormatError::Unknown { place, what: "operation", found }),
    })
}

fn decode_conv(cursor: &mut Cursor<'_>) -> Result<Conv2d> {
    let [in_channels, out_channels] = sizes(cursor)?;
    let kernel = sizes(cursor)?;
    let stride = sizes(cursor)?;
    let padding = decode_padding(cursor)?;
    let dilation = sizes(cursor)?;
    let [groups] = sizes(cursor)?;
    let flags = decode_flags(cursor, BIAS | SCALE)?;
    let (bias, scale) = (flags & BIAS != 0, flags & SCALE != 0);
    Ok(Conv2d { in_channels, out_channels, kernel, stride, padding, dilation, groups, bias, scale })
}

fn decode_padding(cursor: &mut Cursor<'_>) -> Result<Padding> {
    let place = cursor.place();
    match cursor.u8()? {
        0 => Ok(Padding::Explicit(sizes(cursor)?)),
        1 => Ok(Padding::Same),
        found => Err(FormatError::Unknown { place, what: "padding", found }),
    }
}

fn decode_pool(cursor: &mut Cursor<'_>) -> Result<Pool2d> {
    Ok(Pool2d { kernel: sizes(cursor)?, stride: sizes(cursor)?, padding: sizes(cursor)? })
}

fn decode_activation(cursor: &mut Cursor<'_>) -> Result<Activation> {
    let place = cursor.place();
    Ok(match cursor.u8()? {
        0 => Activation::Relu,
        1 => Activation::Relu6,
        2 => Activation::Swish,
        3 => Activation::HardSwish,
        4 => Activation::Sigmoid,
        found => return Err(FormatError::Unknown { place, what: "activation", found }),
    })
}

fn decode_flags(cursor: &mut Cursor<'_>, known: u8) -> Result<u8> {
    let place = cursor.place();
    match cursor.u8()? {
        flags if flags & !known == 0 => Ok(flags),
        found => Err(FormatError::Unknown { place, what: "set of flags", found }),
    }
}

fn sizes<const N: usize>(cursor: &mut Cursor<'_>) -> Result<[usize; N]> {
    let mut sizes = [0; N];
    for size in &mut sizes {
        *size = cursor.size("size", MAX_DIM)?;
    }
    Ok(sizes)
}
