//! What bytes stand for, where values are kept in 8 bits.

/// Evenly spaced numbers: byte q stands for `(q − zero) · scale`.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Grid {
    /// Distance of neighbours: finite and above zero.
    pub scale: f32,
    /// The byte that stands for 0.
    pub zero: u8,
}

impl Grid {
    /// Whether the scale is one.
    pub fn is_valid(&self) -> bool {
        self.scale.is_finite() && self.scale > 0.0
    }
}
