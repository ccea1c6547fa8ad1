//! What can be wrong with the bytes of a tensor's codes.

/// Bytes that no tensor encodes to. Offsets count from the payload's start.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum CodecError {
    /// There are too few or too many bytes.
    #[error("expected {expected} bytes of codes, found {found}")]
    Length {
        /// What the number of codes, or the bytes so far, call for.
        expected: usize,
        /// Length of the payload.
        found: usize,
    },
    /// Two bits that stand for none of −1, 0 and +1.
    #[error("byte {found:#04x} holds the invalid code 11")]
    InvalidCode {
        /// Position of the byte.
        offset: usize,
        /// The byte.
        found: u8,
    },
    /// A byte of 243 or more, which is no number of five digits to base three.
    #[error("byte {found:#04x} holds no five codes")]
    InvalidTrits {
        /// Position of the byte.
        offset: usize,
        /// The byte.
        found: u8,
    },
    /// An arithmetic code begins with eight bytes of 255, which stand for nothing.
    #[error("the arithmetic code begins with eight bytes of 255, which no writer gives")]
    Beginning,
    /// An arithmetic code goes on behind its last decision.
    #[error("expected at most {limit} bytes of codes, found {found}")]
    TooLong {
        /// Bytes that were taken in.
        limit: usize,
        /// Length of the payload.
        found: usize,
    },
    /// An arithmetic code does not end in the shortest way.
    #[error("the arithmetic code does not end as it should")]
    Ending {
        /// Position of the last byte.
        offset: usize,
    },
    /// The density that a stream starts with is not that of its codes.
    #[error("the codes have the density {expected}/256, the stream says {found}/256")]
    Density {
        /// That of the codes.
        expected: u8,
        /// That of the stream.
        found: u8,
    },
    /// A channel holds nothing but zeros and is not named as such.
    #[error("a channel of zeros is not named as such")]
    ZeroChannel,
    /// A bit past the last code, or between counts and positions, is set.
    #[error("bits of padding are not zero in byte {found:#04x}")]
    Padding {
        /// Position of the byte.
        offset: usize,
        /// The byte.
        found: u8,
    },
    /// Positions can't number all weights of an output.
    #[error("outputs have {found} weights, lists number at most {limit}")]
    ManyWeights {
        /// Weights of each output.
        found: usize,
        /// The most that can be numbered.
        limit: usize,
    },
    /// A list has more positions than its output has weights.
    #[error("a list of {found} positions where an output has {limit} weights")]
    Count {
        /// Position of the count.
        offset: usize,
        /// The count.
        found: usize,
        /// Weights of each output.
        limit: usize,
    },
    /// A list goes on behind the last weight of its output.
    #[error("a list has position {found} where an output has {limit} weights")]
    Position {
        /// Where it is in the payload.
        offset: usize,
        /// The position.
        found: u16,
        /// Weights of each output.
        limit: usize,
    },
    /// A position in a list does not exceed the one before.
    #[error("position {found} of a list is not in ascending order")]
    Order {
        /// Where it is in the payload.
        offset: usize,
        /// The position.
        found: u16,
    },
    /// A position is in both lists of an output.
    #[error("position {found} is in both lists of an output")]
    Overlap {
        /// Where it is in the payload.
        offset: usize,
        /// The position.
        found: u16,
    },
}

impl CodecError {
    /// Position of the fault in the payload; where it should end, for a length.
    pub fn offset(&self) -> usize {
        match *self {
            CodecError::Length { expected, found } => expected.min(found),
            CodecError::TooLong { limit, .. } => limit,
            CodecError::InvalidCode { offset, .. }
            | CodecError::InvalidTrits { offset, .. }
            | CodecError::Ending { offset }
            | CodecError::Padding { offset, .. }
            | CodecError::Count { offset, .. }
            | CodecError::Position { offset, .. }
            | CodecError::Order { offset, .. }
            | CodecError::Overlap { offset, .. } => offset,
            CodecError::Beginning
            | CodecError::Density { .. }
            | CodecError::ZeroChannel
            | CodecError::ManyWeights { .. } => 0,
        }
    }
}
