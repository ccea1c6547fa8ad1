//! Dense and ternary tensors, as a network and its file hold them.

use alloc::vec::Vec;

use half::f16;

/// A tensor of either form.
#[derive(Clone, Debug, PartialEq)]
pub enum Tensor {
    /// One float per value.
    Dense(DenseTensor),
    /// Values −a, 0 or +b.
    Ternary(TernaryTensor),
}

impl Tensor {
    /// Length of each dimension.
    pub fn shape(&self) -> &[usize] {
        match self {
            Tensor::Dense(dense) => dense.shape(),
            Tensor::Ternary(ternary) => ternary.shape(),
        }
    }

    /// Number of values.
    pub fn numel(&self) -> usize {
        self.shape().iter().product()
    }

    /// Number of values that are exactly zero.
    pub fn zeros(&self) -> usize {
        match self {
            Tensor::Dense(dense) => dense.data().iter().filter(|v| **v == 0.0).count(),
            Tensor::Ternary(ternary) => ternary.counts().zero,
        }
    }

    /// The values as floats, in row-major order.
    pub fn to_f32(&self) -> Vec<f32> {
        match self {
            Tensor::Dense(dense) => dense.data().to_vec(),
            Tensor::Ternary(ternary) => ternary.to_f32(),
        }
    }
}

impl From<DenseTensor> for Tensor {
    fn from(tensor: DenseTensor) -> Self {
        Tensor::Dense(tensor)
    }
}

impl From<TernaryTensor> for Tensor {
    fn from(tensor: TernaryTensor) -> Self {
        Tensor::Ternary(tensor)
    }
}

/// How a file stores the values of a dense tensor.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Storage {
    /// 32-bit floats.
    F32,
    /// 16-bit floats.
    F16,
}

impl Storage {
    /// Every storage, in the order in which files hold them.
    pub const ALL: [Storage; 2] = [Storage::F32, Storage::F16];

    /// A short name to show.
    pub const fn name(self) -> &'static str {
        match self {
            Storage::F32 => "f32",
            Storage::F16 => "f16",
        }
    }

    /// Bytes per value.
    pub const fn width(self) -> usize {
        match self {
            Storage::F32 => size_of::<f32>(),
            Storage::F16 => size_of::<f16>(),
        }
    }
}

/// Data that contradict a tensor's shape or rules.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum TensorError {
    /// Shape and number of values differ.
    #[error("shape {shape:?} needs {expected} values, found {found}")]
    Length {
        /// The shape given.
        shape: Vec<usize>,
        /// Its product.
        expected: usize,
        /// The number of values given.
        found: usize,
    },
    /// A value is a signalling NaN. Processors may turn it into a quiet one when
    /// they touch it, so it can't be kept.
    #[error("value at position {position} is a signalling NaN")]
    SignallingNan {
        /// Where it is.
        position: usize,
    },
    /// A centroid is negative, infinite or not a number.
    #[error("centroid {value} is not a finite magnitude")]
    Centroid {
        /// The value given.
        value: f32,
    },
    /// A code is not −1, 0 or +1.
    #[error("code {code} at position {position} is not −1, 0 or 1")]
    Code {
        /// The value given.
        code: i8,
        /// Where it is.
        position: usize,
    },
}

fn check_length(shape: &[usize], found: usize) -> Result<(), TensorError> {
    let expected = shape.iter().fold(1usize, |n, &dim| n.saturating_mul(dim));
    match expected == found {
        true => Ok(()),
        false => Err(TensorError::Length { shape: shape.to_vec(), expected, found }),
    }
}

/// A tensor of floats in row-major order.
///
/// Values are always at the precision of their [`Storage`], so that writing a
/// tensor and reading it back changes nothing.
#[derive(Clone, Debug, PartialEq)]
pub struct DenseTensor {
    shape: Vec<usize>,
    data: Vec<f32>,
    storage: Storage,
}

impl DenseTensor {
    /// A tensor stored as 32-bit floats.
    ///
    /// # Errors
    /// Where shape and data differ in length, or a value is a signalling NaN.
    pub fn new(shape: Vec<usize>, data: Vec<f32>) -> Result<Self, TensorError> {
        check_length(&shape, data.len())?;
        let signals = |value: &f32| value.is_nan() && value.to_bits() & 0x0040_0000 == 0;
        if let Some(position) = data.iter().position(signals) {
            return Err(TensorError::SignallingNan { position });
        }
        Ok(Self { shape, data, storage: Storage::F32 })
    }

    /// The same tensor at the precision of `storage`; values beyond the range
    /// of 16 bits become infinite.
    pub fn with_storage(mut self, storage: Storage) -> Self {
        if storage == Storage::F16 {
            for value in &mut self.data {
                *value = f16::from_f32(*value).to_f32();
            }
        }
        self.storage = storage;
        self
    }

    /// Length of each dimension.
    pub fn shape(&self) -> &[usize] {
        &self.shape
    }

    /// The values in row-major order.
    pub fn data(&self) -> &[f32] {
        &self.data
    }

    /// How a file stores the values.
    pub fn storage(&self) -> Storage {
        self.storage
    }
}

/// How many weights are assigned to each centroid.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct TernaryCounts {
    /// Weights at −`w_neg`.
    pub neg: usize,
    /// Weights at 0.
    pub zero: usize,
    /// Weights at +`w_pos`.
    pub pos: usize,
}

impl TernaryCounts {
    /// Number of all weights.
    pub fn total(self) -> usize {
        self.neg + self.zero + self.pos
    }

    /// Share of zeros, 0…1; 0 for an empty tensor.
    pub fn sparsity(self) -> f64 {
        self.zero as f64 / self.total().max(1) as f64
    }

    /// Zeroth-order entropy in bits per weight: `−Σ P·log₂ P`, 0…log₂ 3.
    pub fn entropy_bits(self) -> f64 {
        let total = self.total().max(1) as f64;
        [self.neg, self.zero, self.pos]
            .into_iter()
            .filter(|&count| count > 0)
            .map(|count| count as f64 / total)
            .map(|p| -p * libm::log2(p))
            .sum()
    }
}

/// A tensor whose values are −`w_neg`, 0 or +`w_pos`.
///
/// Both centroids are magnitudes, so neither is negative. A code of −1, 0 or
/// +1 for each value, in row-major order, says which it is.
#[derive(Clone, Debug, PartialEq)]
pub struct TernaryTensor {
    shape: Vec<usize>,
    codes: Vec<i8>,
    w_neg: f32,
    w_pos: f32,
}

impl TernaryTensor {
    /// A tensor from codes and centroids.
    ///
    /// # Errors
    /// Where shape and codes differ in length, a code is not −1, 0 or +1, or a
    /// centroid is no finite magnitude.
    pub fn new(
        shape: Vec<usize>,
        codes: Vec<i8>,
        w_neg: f32,
        w_pos: f32,
    ) -> Result<Self, TensorError> {
        check_length(&shape, codes.len())?;
        for value in [w_neg, w_pos] {
            if !value.is_finite() || value.is_sign_negative() {
                return Err(TensorError::Centroid { value });
            }
        }
        if let Some(position) = codes.iter().position(|code| !(-1..=1).contains(code)) {
            return Err(TensorError::Code { code: codes[position], position });
        }
        Ok(Self { shape, codes, w_neg, w_pos })
    }

    /// The ternary form of floats that have at most one negative and one
    /// positive value besides 0, bit for bit; `None` for any others, and where
    /// shape and data differ.
    ///
    /// ```
    /// use ec2t_format::TernaryTensor;
    ///
    /// let ternary = TernaryTensor::from_f32(&[4], &[0.5, 0.0, -0.25, 0.5]).unwrap();
    /// assert_eq!(ternary.codes(), [1, 0, -1, 1]);
    /// assert_eq!((ternary.w_neg(), ternary.w_pos()), (0.25, 0.5));
    /// assert!(TernaryTensor::from_f32(&[2], &[0.5, 0.75]).is_none());
    /// ```
    pub fn from_f32(shape: &[usize], data: &[f32]) -> Option<Self> {
        check_length(shape, data.len()).ok()?;
        let (mut w_neg, mut w_pos) = (0.0f32, 0.0f32);
        let mut codes = Vec::with_capacity(data.len());
        for &value in data {
            let (code, centroid) = match value {
                v if v > 0.0 => (1, &mut w_pos),
                v if v < 0.0 => (-1, &mut w_neg),
                v if v.to_bits() == 0 => {
                    codes.push(0);
                    continue;
                }
                _ => return None,
            };
            let magnitude = value.abs();
            if *centroid == 0.0 {
                *centroid = magnitude;
            }
            if *centroid != magnitude || !magnitude.is_finite() {
                return None;
            }
            codes.push(code);
        }
        Some(Self { shape: shape.to_vec(), codes, w_neg, w_pos })
    }

    /// Length of each dimension.
    pub fn shape(&self) -> &[usize] {
        &self.shape
    }

    /// −1, 0 or +1 for each value, in row-major order.
    pub fn codes(&self) -> &[i8] {
        &self.codes
    }

    /// Magnitude of the negative centroid.
    pub fn w_neg(&self) -> f32 {
        self.w_neg
    }

    /// Value of the positive centroid.
    pub fn w_pos(&self) -> f32 {
        self.w_pos
    }

    /// The values as floats.
    pub fn to_f32(&self) -> Vec<f32> {
        let value = |&code: &i8| match code {
            1 => self.w_pos,
            -1 => -self.w_neg,
            _ => 0.0,
        };
        self.codes.iter().map(value).collect()
    }

    /// How many weights are assigned to each centroid.
    pub fn counts(&self) -> TernaryCounts {
        let mut counts = TernaryCounts::default();
        for &code in &self.codes {
            match code {
                1 => counts.pos += 1,
                -1 => counts.neg += 1,
                _ => counts.zero += 1,
            }
        }
        counts
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use alloc::vec;

    #[test]
    fn ternary_values_survive_bit_for_bit() {
        let data = [0.13375573, 0.0, -0.09711894, 0.13375573, 0.0, 0.0];
        let ternary = TernaryTensor::from_f32(&[2, 3], &data).unwrap();
        assert_eq!(ternary.to_f32(), data);
        assert_eq!(ternary.counts(), TernaryCounts { neg: 1, zero: 3, pos: 2 });
    }

    #[test]
    fn values_that_would_change_are_not_ternary() {
        for data in [[-0.0, 0.0], [f32::NAN, 0.0], [f32::INFINITY, 0.0], [0.1, 0.2]] {
            assert_eq!(TernaryTensor::from_f32(&[2], &data), None, "{data:?}");
        }
        assert_eq!(TernaryTensor::from_f32(&[3], &[0.0, 0.0]), None);
    }

    #[test]
    fn broken_parts_are_named() {
        let long = TernaryTensor::new(vec![2, 2], vec![0; 3], 1.0, 1.0);
        assert_eq!(long, Err(TensorError::Length { shape: vec![2, 2], expected: 4, found: 3 }));
        let code = TernaryTensor::new(vec![2], vec![0, 2], 1.0, 1.0);
        assert_eq!(code, Err(TensorError::Code { code: 2, position: 1 }));
        let centroid = TernaryTensor::new(vec![1], vec![0], -1.0, 1.0);
        assert_eq!(centroid, Err(TensorError::Centroid { value: -1.0 }));
    }

    #[test]
    fn entropy_of_known_shares() {
        let counts = TernaryCounts { neg: 1, zero: 2, pos: 1 };
        assert_eq!(counts.entropy_bits(), 1.5);
        assert_eq!(TernaryCounts { neg: 0, zero: 9, pos: 0 }.entropy_bits(), 0.0);
    }

    #[test]
    fn sixteen_bits_are_a_fixed_point() {
        let dense = DenseTensor::new(vec![2], vec![0.1, 1.0]).unwrap();
        let half = dense.with_storage(Storage::F16);
        assert_ne!(half.data()[0], 0.1);
        assert_eq!(half.clone().with_storage(Storage::F16), half);
    }
}
