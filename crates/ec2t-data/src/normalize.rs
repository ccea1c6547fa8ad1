//! From bytes to the numbers that a network sees.
//!
//! A pixel becomes `(pixel / 255 − mean) / std`, in f32, with one mean and one
//! standard deviation per channel on the 0…1 scale. Training and evaluation
//! share this arithmetic, so they see the same bits.

use crate::error::DataError;

/// Normalizes one planar image, or several of a single channel.
///
/// ```
/// let mut out = [0.0; 4];
/// ec2t_data::normalize_into(&[0, 255, 51, 51], &[0.0, 0.2], &[1.0, 0.5], &mut out);
/// assert_eq!(out, [0.0, 1.0, 0.0, 0.0]);
/// ```
///
/// # Panics
/// Where `pixels` and `out` differ in length, `mean` and `std` do, or the
/// pixels are no whole number of channels.
pub fn normalize_into(pixels: &[u8], mean: &[f32], std: &[f32], out: &mut [f32]) {
    assert_eq!(pixels.len(), out.len(), "one float per byte");
    out.iter_mut().zip(pixels).for_each(|(value, &pixel)| *value = scale(pixel));
    standardize(out, mean, std);
}

/// A byte to 0…1.
pub(crate) fn scale(pixel: u8) -> f32 {
    f32::from(pixel) / 255.0
}

/// Values of 0…1, planar, to zero mean and unit deviation.
pub(crate) fn standardize(values: &mut [f32], mean: &[f32], std: &[f32]) {
    assert_eq!(mean.len(), std.len(), "one deviation per mean");
    assert!(!mean.is_empty() && values.len().is_multiple_of(mean.len()), "whole channels");
    if values.is_empty() {
        return;
    }
    let plane = values.len() / mean.len();
    for (values, (mean, std)) in values.chunks_exact_mut(plane).zip(mean.iter().zip(std)) {
        for value in values {
            *value = (*value - mean) / std;
        }
    }
}

/// Checks that there is a usable mean and deviation for each channel.
pub(crate) fn check(channels: usize, mean: &[f32], std: &[f32]) -> Result<(), DataError> {
    let finite = |values: &[f32]| values.iter().all(|value| value.is_finite());
    if mean.len() != channels || !finite(mean) {
        return Err(DataError::Option {
            option: "mean",
            expected: format!("{channels} finite numbers"),
            found: format!("{mean:?}"),
        });
    }
    if std.len() != channels || !finite(std) || std.iter().any(|&std| std <= 0.0) {
        return Err(DataError::Option {
            option: "std",
            expected: format!("{channels} finite numbers above 0"),
            found: format!("{std:?}"),
        });
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_channel_has_its_own_statistics() {
        let (mean, std) = ([125.3 / 255.0, 0.0, 1.0], [63.0 / 255.0, 1.0, 2.0]);
        let mut out = [0.0; 6];
        normalize_into(&[0, 255, 0, 255, 0, 255], &mean, &std, &mut out);
        assert_eq!(out, [-mean[0] / std[0], (1.0 - mean[0]) / std[0], 0.0, 1.0, -0.5, 0.0]);
    }

    #[test]
    fn unusable_statistics_are_refused() {
        assert!(check(2, &[0.0, 0.0], &[1.0, 1.0]).is_ok());
        for (mean, std) in [
            (&[0.0][..], &[1.0, 1.0][..]),
            (&[0.0, f32::NAN], &[1.0, 1.0]),
            (&[0.0, 0.0], &[1.0, 0.0]),
            (&[0.0, 0.0], &[1.0, f32::INFINITY]),
        ] {
            assert!(matches!(check(2, mean, std), Err(DataError::Option { .. })));
        }
    }
}
