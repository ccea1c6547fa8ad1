//! How the codes of ternary weights are stored in an ONNX model.
//!
//! A code of 0, 1 or 2 stands for −a, 0 or +b: it is the position in a table of these
//! three floats, the codebook.
//!
//! ```text
//! NAME.weight.codes ─ Cast to int32 ─┐
//! NAME.weight.codebook ──────────── Gather ─ NAME.weight
//! ```
//!
//! A runtime that folds constants does this once, when it loads the model, and then has
//! the weights in floats, bit for bit.
//!
//! | | opset | IR | bytes of four codes |
//! |---|---:|---:|---|
//! | [`Codes::Dense`] | 13 | 7 | sixteen; floats, no codes |
//! | [`Codes::U8`] | 13 | 7 | four |
//! | [`Codes::U4`] | 21 | 10 | two: the first code in the low half of the first byte |
//! | [`Codes::U2`] | 25 | 13 | one: the first code in the lowest two bits |

use ec2t_format::TernaryTensor;

use super::proto::data_type::{FLOAT, UINT2, UINT4, UINT8};

/// How ternary weights are stored in an ONNX model.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Codes {
    /// 32-bit floats; no codes.
    Dense,
    /// A byte per code: what every runtime since opset 13 reads.
    U8,
    /// Four bits per code.
    U4,
    /// Two bits per code.
    U2,
}

impl Codes {
    /// Every way, the largest first.
    pub const ALL: [Codes; 4] = [Codes::Dense, Codes::U8, Codes::U4, Codes::U2];

    /// A short name to show.
    pub const fn name(self) -> &'static str {
        match self {
            Codes::Dense => "dense",
            Codes::U8 => "u8",
            Codes::U4 => "u4",
            Codes::U2 => "u2",
        }
    }

    /// The oldest version of the operators that has what the model needs.
    pub const fn opset(self) -> i64 {
        match self {
            Codes::Dense | Codes::U8 => 13,
            Codes::U4 => 21,
            Codes::U2 => 25,
        }
    }

    /// The version of the file that came with these operators.
    pub(super) const fn ir_version(self) -> i64 {
        match self {
            Codes::Dense | Codes::U8 => 7,
            Codes::U4 => 10,
            Codes::U2 => 13,
        }
    }

    /// ONNX's number for the type of the stored values.
    pub(super) const fn data_type(self) -> i32 {
        match self {
            Codes::Dense => FLOAT,
            Codes::U8 => UINT8,
            Codes::U4 => UINT4,
            Codes::U2 => UINT2,
        }
    }

    /// The bytes of a weight tensor.
    pub(super) fn pack(self, weight: &TernaryTensor) -> Vec<u8> {
        let bits = match self {
            Codes::Dense => return floats(&weight.to_f32()),
            Codes::U8 => 8,
            Codes::U4 => 4,
            Codes::U2 => 2,
        };
        pack(weight.codes(), bits)
    }
}

/// Codes of 0, 1 and 2 for −1, 0 and +1, of so many bits each, the lowest bits first; the
/// bits behind the last one are zeros.
pub(crate) fn pack(codes: &[i8], bits: usize) -> Vec<u8> {
    let byte = |codes: &[i8]| {
        let shifted = codes.iter().enumerate().map(|(at, code)| ((code + 1) as u8) << (at * bits));
        shifted.fold(0, |byte, code| byte | code)
    };
    codes.chunks(8 / bits).map(byte).collect()
}

/// Floats as bytes.
pub(super) fn floats(values: &[f32]) -> Vec<u8> {
    values.iter().flat_map(|value| value.to_le_bytes()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_code_is_in_the_lowest_bits() {
        let weight = TernaryTensor::new(vec![5], vec![1, 0, -1, 1, 1], 0.5, 2.0).unwrap();
        assert_eq!(Codes::U8.pack(&weight), [2, 1, 0, 2, 2]);
        assert_eq!(Codes::U4.pack(&weight), [0x12, 0x20, 0x02]);
        assert_eq!(Codes::U2.pack(&weight), [0b10_00_01_10, 0b10]);
        assert_eq!(Codes::Dense.pack(&weight), floats(&[2.0, 0.0, -0.5, 2.0, 2.0]));
    }
}
