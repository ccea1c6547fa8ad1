//! Codecs: how the codes −1, 0 and +1 of a ternary tensor become bytes.
//!
//! A codec is a pair of functions between `&[i8]` and bytes. Each gives exactly
//! one byte string for a tensor, and decoders insist on it, so no two files hold
//! the same tensor in the same codec. The number of codes is not part of the
//! bytes; the tensor's shape gives it, as [`Kernels`].
//!
//! | number | codec | bits per weight at a share s of zeros |
//! |---|---|---|
//! | 0 | [`TwoBit`](CodecId::TwoBit) | 2 |
//! | 1 | [`Trits`](CodecId::Trits) | 1.6 |
//! | 2 | [`MaskSign`](CodecId::MaskSign) | 2 − s |
//! | 3 | [`Balanced`](CodecId::Balanced) | less than the zeroth-order entropy where kernels have structure |
//! | 4 | [`Max`](CodecId::Max) | less again, at a quarter of the speed |
//! | 5 | [`Lists`](CodecId::Lists) | 16 (1 − s) and two counts for each output |
//! | 6 | [`Order0`](CodecId::Order0) | the zeroth-order entropy and a few bytes |
//!
//! Numbers are never reused, and 240–255 are for private use. The arithmetic coders
//! are `range`, which codes decisions, and the models that predict them: `order0`,
//! `balanced`, `mixed`. Lists are large, and need no decoding.
#![cfg_attr(not(test), deny(clippy::indexing_slicing, clippy::arithmetic_side_effects))]

mod adaptive;
mod balanced;
mod bits;
mod contexts;
mod density;
mod entropy;
mod error;
mod kernels;
mod lists;
mod logistic;
mod mask_sign;
mod mixed;
mod mixer;
mod order0;
mod range;
mod trits;
mod two_bit;
mod zero_map;

use alloc::vec::Vec;

use self::entropy::Model;
pub use self::error::CodecError;
pub use self::kernels::Kernels;

/// The codecs by their number in a file.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[repr(u8)]
#[non_exhaustive]
pub enum CodecId {
    /// Four codes per byte.
    TwoBit = 0,
    /// Five codes per byte.
    Trits = 1,
    /// One bit per weight that says "not zero", then one sign per such weight.
    MaskSign = 2,
    /// Arithmetic coding; one adaptive probability per decision.
    Balanced = 3,
    /// Arithmetic coding; many predictions mixed. Smaller and slower.
    Max = 4,
    /// Positions of the weights that are not zero; for kernels.
    Lists = 5,
    /// Arithmetic coding of each weight by itself.
    Order0 = 6,
}

impl CodecId {
    /// Every codec, in the order of the numbers.
    pub const ALL: [CodecId; 7] = [
        CodecId::TwoBit,
        CodecId::Trits,
        CodecId::MaskSign,
        CodecId::Balanced,
        CodecId::Max,
        CodecId::Lists,
        CodecId::Order0,
    ];

    /// The codec's number in a file.
    pub const fn number(self) -> u8 {
        self as u8
    }

    /// The codec of this number, if there is one.
    pub fn from_number(number: u8) -> Option<Self> {
        Self::ALL.into_iter().find(|codec| codec.number() == number)
    }

    /// A short name to show.
    pub const fn name(self) -> &'static str {
        match self {
            CodecId::TwoBit => "2-bit",
            CodecId::Trits => "trits",
            CodecId::MaskSign => "mask+sign",
            CodecId::Balanced => "balanced",
            CodecId::Max => "max",
            CodecId::Lists => "lists",
            CodecId::Order0 => "order-0",
        }
    }

    /// Whether it can hold such a tensor: lists number at most 65,536 weights of an
    /// output, all others take any.
    pub fn fits(self, kernels: Kernels) -> bool {
        self != CodecId::Lists || lists::fits(kernels)
    }

    /// What the position of its bytes in a file is a multiple of, so that they can be
    /// used as they lie in memory.
    pub const fn alignment(self) -> usize {
        match self {
            CodecId::Lists => lists::ALIGNMENT,
            _ => 1,
        }
    }

    /// Upper bound of the memory that [`decode`](Self::decode) takes for a while
    /// besides the codes that it gives.
    pub fn working_bytes(self, kernels: Kernels) -> usize {
        match self {
            CodecId::TwoBit | CodecId::Trits | CodecId::MaskSign => 0,
            CodecId::Lists | CodecId::Order0 => 0,
            CodecId::Balanced => entropy::working_bytes(kernels, balanced::working_bytes(kernels)),
            CodecId::Max => entropy::working_bytes(kernels, mixed::working_bytes(kernels)),
        }
    }

    /// Codes to bytes. Only the sign of a code counts.
    ///
    /// # Panics
    /// Where the number of codes is not that of the kernels, or they do not
    /// [fit](Self::fits).
    pub fn encode(self, codes: &[i8], kernels: Kernels) -> Vec<u8> {
        assert_eq!(codes.len(), kernels.count(), "codes of {kernels:?}");
        match self {
            CodecId::TwoBit => two_bit::encode(codes),
            CodecId::Trits => trits::encode(codes),
            CodecId::MaskSign => mask_sign::encode(codes),
            CodecId::Balanced => Model::Balanced.encode(codes, kernels),
            CodecId::Max => Model::Mixed.encode(codes, kernels),
            CodecId::Lists => lists::encode(codes, kernels),
            CodecId::Order0 => entropy::encode_order0(codes),
        }
    }

    /// Bytes to as many codes as the kernels have.
    ///
    /// # Errors
    /// Where the bytes are not what [`encode`](Self::encode) gives for any
    /// codes.
    pub fn decode(self, bytes: &[u8], kernels: Kernels) -> Result<Vec<i8>, CodecError> {
        let count = kernels.count();
        match self {
            CodecId::TwoBit => two_bit::decode(bytes, count),
            CodecId::Trits => trits::decode(bytes, count),
            CodecId::MaskSign => mask_sign::decode(bytes, count),
            CodecId::Balanced => Model::Balanced.decode(bytes, kernels),
            CodecId::Max => Model::Mixed.decode(bytes, kernels),
            CodecId::Lists => lists::decode(bytes, kernels),
            CodecId::Order0 => entropy::decode_order0(bytes, count),
        }
    }
}

/// What a file is made for: to be small, or to be read at once.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Effort {
    /// The shortest of all codecs but `max` and `lists`.
    #[default]
    Balanced,
    /// The shortest of all codecs but `lists`.
    Max,
    /// `lists`, which take several times as much; `Balanced` where they do not
    /// [fit](CodecId::fits).
    Ready,
}

impl Effort {
    /// Whether this codec may be taken where it is the shortest.
    fn tries(self, codec: CodecId) -> bool {
        match codec {
            CodecId::Lists => false,
            CodecId::Max => self == Effort::Max,
            _ => true,
        }
    }
}

/// The codec that an effort asks for, and its bytes: the shortest encoding of any that
/// the effort allows, and of equally short ones that of the lowest number.
///
/// ```
/// use ec2t_format::codec::{CodecId, Effort, Kernels, encode_best};
///
/// let kernels = Kernels::of_shape(&[3, 4]);
/// let codes = [0, 0, 0, 1, 0, 0, 0, 0, -1, 0, 0, 0];
/// let (codec, bytes) = encode_best(&codes, kernels, Effort::Balanced);
/// assert_eq!(codec.decode(&bytes, kernels)?, codes);
/// # Ok::<(), ec2t_format::codec::CodecError>(())
/// ```
pub fn encode_best(codes: &[i8], kernels: Kernels, effort: Effort) -> (CodecId, Vec<u8>) {
    if effort == Effort::Ready && CodecId::Lists.fits(kernels) {
        return (CodecId::Lists, CodecId::Lists.encode(codes, kernels));
    }
    let mut best = (CodecId::TwoBit, CodecId::TwoBit.encode(codes, kernels));
    let others = CodecId::ALL.into_iter().skip(1).filter(|&codec| effort.tries(codec));
    for codec in others {
        let bytes = codec.encode(codes, kernels);
        if bytes.len() < best.1.len() {
            best = (codec, bytes);
        }
    }
    best
}

#[cfg(test)]
mod tests {
    use super::*;
    use alloc::vec;
    use proptest::prelude::*;

    /// Tensors of any shape, up to 7×7 kernels, with any share of zeros.
    fn tensors() -> impl Strategy<Value = (Kernels, Vec<i8>)> {
        let shape = (0usize..9, 0usize..9, 1usize..8, 1usize..8, 0u32..=100);
        shape.prop_flat_map(|(outputs, inputs, rows, cols, zeros)| {
            let kernels = Kernels { outputs, inputs, rows, cols };
            let code = prop_oneof![zeros => Just(0i8), (101 - zeros) => Just(1), 30 => Just(-1)];
            prop::collection::vec(code, kernels.count()).prop_map(move |codes| (kernels, codes))
        })
    }

    #[test]
    fn numbers_are_the_registry() {
        assert_eq!(CodecId::ALL.map(CodecId::number), [0, 1, 2, 3, 4, 5, 6]);
        assert_eq!(CodecId::from_number(3), Some(CodecId::Balanced));
        assert_eq!(CodecId::from_number(7), None);
    }

    #[test]
    fn the_shortest_wins_and_ties_go_to_the_lowest_number() {
        let best = |codes: &[i8]| {
            encode_best(codes, Kernels::of_shape(&[1, codes.len()]), Effort::Balanced)
        };
        assert_eq!(best(&[]), (CodecId::TwoBit, vec![]));
        assert_eq!(best(&[0, 1, -1, 0]), (CodecId::TwoBit, vec![0b0010_0100]));
        assert_eq!(best(&[1, -1, 0, 1, -1]).0, CodecId::Trits);
        assert_eq!(best(&[0; 1000]).0, CodecId::Order0);
    }

    #[test]
    fn max_is_tried_on_request_alone() {
        let kernels = Kernels::of_shape(&[16, 8, 3, 3]);
        let ramp = |at: usize| ((at / 9 * 5 % 7 + at % 9) / 3) as i8 % 3 - 1;
        let codes: Vec<i8> = (0..kernels.count()).map(ramp).collect();
        let (balanced, max) = (
            encode_best(&codes, kernels, Effort::Balanced),
            encode_best(&codes, kernels, Effort::Max),
        );
        assert_eq!((balanced.0, max.0), (CodecId::Balanced, CodecId::Max));
        assert!(max.1.len() < balanced.1.len());
    }

    #[test]
    fn lists_are_taken_on_request_wherever_they_fit() {
        let best = |inputs, effort| {
            let kernels = Kernels { outputs: 1, inputs, rows: 1, cols: 1 };
            encode_best(&vec![0; inputs], kernels, effort).0
        };
        assert_eq!(best(65_536, Effort::Ready), CodecId::Lists);
        assert_eq!(best(65_537, Effort::Ready), CodecId::Order0);
    }

    proptest! {
        #[test]
        fn every_codec_is_exact((kernels, codes) in tensors()) {
            for codec in CodecId::ALL {
                let bytes = codec.encode(&codes, kernels);
                prop_assert_eq!(codec.decode(&bytes, kernels), Ok(codes.clone()), "{:?}", codec);
            }
        }

        #[test]
        fn what_decodes_is_the_encoding(
            bytes in prop::collection::vec(any::<u8>(), 0..12),
            outputs in 0usize..5,
            inputs in 0usize..4,
            cols in 1usize..4,
        ) {
            let kernels = Kernels { outputs, inputs, rows: 2, cols };
            for codec in CodecId::ALL {
                if let Ok(codes) = codec.decode(&bytes, kernels) {
                    prop_assert_eq!(codes.len(), kernels.count());
                    prop_assert_eq!(codec.encode(&codes, kernels), bytes.clone(), "{:?}", codec);
                }
            }
        }

        #[test]
        fn damage_is_found_or_harmless((kernels, codes) in tensors(), at in any::<prop::sample::Index>(), bit in 0u8..8) {
            for codec in CodecId::ALL {
                let mut bytes = codec.encode(&codes, kernels);
                if bytes.is_empty() {
                    continue;
                }
                let at = at.index(bytes.len());
                bytes[at] ^= 1 << bit;
                if let Ok(other) = codec.decode(&bytes, kernels) {
                    prop_assert_ne!(&other, &codes, "{:?}", codec);
                    prop_assert_eq!(codec.encode(&other, kernels), bytes, "{:?}", codec);
                }
            }
        }

        #[test]
        fn no_tensor_takes_much_more_than_its_entropy(
            seed in any::<u64>(),
            outputs in 1usize..40,
            row in 1usize..400,
            share in 0.0f64..1.0,
        ) {
            let kernels = Kernels::of_shape(&[outputs, row]);
            let mut state = seed;
            let mut code = || {
                state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
                let uniform = (state >> 33) as f64 / (1u64 << 31) as f64;
                if uniform < share { 0 } else if uniform < share + (1.0 - share) / 3.0 { 1 } else { -1 }
            };
            let codes: Vec<i8> = (0..kernels.count()).map(|_| code()).collect();
            let (found, allowed) = found_and_allowed(codes, kernels);
            prop_assert!(found <= allowed, "{found} bytes, {allowed} allowed");
        }
    }

    /// Bytes of the shortest encoding, and half a per cent and 16 bytes more than the
    /// zeroth-order entropy.
    fn found_and_allowed(codes: Vec<i8>, kernels: Kernels) -> (f64, f64) {
        let count = codes.len();
        let (_, bytes) = encode_best(&codes, kernels, Effort::Balanced);
        let tensor = crate::TernaryTensor::new(vec![count], codes, 1.0, 1.0).unwrap();
        let entropy = tensor.counts().entropy_bits() * count as f64 / 8.0;
        (bytes.len() as f64, 1.005 * entropy + 16.0)
    }

    #[test]
    fn large_tensors_of_nearly_one_value_take_a_few_bytes() {
        const COUNT: usize = 4_000_000;
        let kernels = Kernels::of_shape(&[1000, COUNT / 1000]);
        for (common, rare) in [(-1, -1), (1, 0), (0, 0), (0, 1)] {
            let mut codes = vec![common; COUNT];
            codes[COUNT / 2] = rare;
            let (found, allowed) = found_and_allowed(codes, kernels);
            assert!(found <= allowed, "{common}, {rare}: {found} bytes, {allowed} allowed");
        }
    }

    #[test]
    fn any_other_length_is_refused() {
        let kernels = Kernels::of_shape(&[3, 3]);
        let codes = vec![1, -1, 0, 0, 1, 1, -1, 0, 1];
        for codec in [CodecId::TwoBit, CodecId::Trits, CodecId::MaskSign, CodecId::Lists] {
            let bytes = codec.encode(&codes, kernels);
            let expected = bytes.len();
            let mut long = bytes.clone();
            long.push(0);
            let error = CodecError::Length { expected, found: expected + 1 };
            assert_eq!(codec.decode(&long, kernels), Err(error));
            for cut in 0..expected {
                let error = codec.decode(&bytes[..cut], kernels).unwrap_err();
                assert!(matches!(error, CodecError::Length { found, .. } if found == cut));
                assert_eq!(error.offset(), cut);
            }
        }
    }
}
