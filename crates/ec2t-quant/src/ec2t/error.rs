//! What can be wrong with a layer or its options.

/// Input that the method has no meaning for.
///
/// The mathematics knows no names; a caller with many layers adds that of the
/// layer at fault.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum Ec2tError {
    /// A layer without weights.
    #[error("the layer has no weights")]
    Empty,
    /// A weight is infinite or not a number.
    #[error("weight {value} at position {position} is not finite")]
    Weight {
        /// The value found.
        value: f32,
        /// Where it is.
        position: usize,
    },
    /// A centroid is negative, infinite or not a number.
    #[error("the {side} centroid {value} is not a finite magnitude")]
    Centroid {
        /// `negative` or `positive`.
        side: &'static str,
        /// The value found.
        value: f32,
    },
    /// A code is not −1, 0 or +1.
    #[error("code {code} at position {position} is not −1, 0 or 1")]
    Code {
        /// The value found.
        code: i8,
        /// Where it is.
        position: usize,
    },
    /// A slice has not one value per weight of the layer.
    #[error("{what}: the layer has {expected} weights, found {found} values")]
    Length {
        /// What the slice holds.
        what: &'static str,
        /// Number of weights of the layer.
        expected: usize,
        /// Length of the slice.
        found: usize,
    },
    /// A number lies outside its range.
    #[error("{name} must be {range}, found {value}")]
    OutOfRange {
        /// Name of the option or quantity.
        name: &'static str,
        /// The value found.
        value: f64,
        /// The values allowed, in words.
        range: &'static str,
    },
}

/// Checks that a slice has one value per weight.
pub(super) fn check_length(
    what: &'static str,
    expected: usize,
    found: usize,
) -> Result<(), Ec2tError> {
    match expected == found {
        true => Ok(()),
        false => Err(Ec2tError::Length { what, expected, found }),
    }
}
