//! Pooling and the option-A shortcut.
//!
//! Windows become a last dimension, over which maximum and mean are taken. The
//! gradients are then right whatever the size of the image; those of candle's
//! own pooling operators are not.

use candle_core::{D, Result, Tensor, bail};
use ec2t_format::graph::{PadShortcut, Pool2d};

/// Maximum over windows; of equal values the first has the gradient, as in
/// PyTorch.
pub(crate) fn max_pool(pool: &Pool2d, x: &Tensor) -> Result<Tensor> {
    let windows = windows(pool, x)?;
    let largest = windows.argmax_keepdim(D::Minus1)?;
    windows.gather(&largest, D::Minus1)?.squeeze(D::Minus1)
}

/// Mean over windows.
pub(crate) fn avg_pool(pool: &Pool2d, x: &Tensor) -> Result<Tensor> {
    windows(pool, x)?.mean(D::Minus1)
}

/// `[N, C, H, W]` → `[N, C, H', W', KH·KW]`; rows and columns that fill no
/// window are left out.
fn windows(pool: &Pool2d, x: &Tensor) -> Result<Tensor> {
    if pool.kernel != pool.stride || pool.padding != [0; 4] {
        bail!(
            "training needs pooling windows that do not overlap and are not padded, found {pool:?}"
        );
    }
    let (batch, channels, height, width) = x.dims4()?;
    let [kernel_height, kernel_width] = pool.kernel;
    let (rows, columns) = (height / kernel_height, width / kernel_width);
    x.narrow(2, 0, rows * kernel_height)?
        .narrow(3, 0, columns * kernel_width)?
        .reshape((batch, channels, rows, kernel_height, columns, kernel_width))?
        .permute((0, 1, 2, 4, 3, 5))?
        .reshape((batch, channels, rows, columns, kernel_height * kernel_width))
}

/// Mean over all pixels, `[N, C, H, W]` → `[N, C, 1, 1]`.
pub(crate) fn global_avg_pool(x: &Tensor) -> Result<Tensor> {
    x.mean_keepdim(D::Minus1)?.mean_keepdim(D::Minus2)
}

/// Every `stride`-th pixel, with zero channels around the existing ones.
pub(crate) fn pad_shortcut(pad: &PadShortcut, x: &Tensor) -> Result<Tensor> {
    let (_, channels, height, width) = x.dims4()?;
    let every = |len: usize| {
        let picked: Vec<u32> = (0..len as u32).step_by(pad.stride).collect();
        Tensor::new(picked, x.device())
    };
    let x = match pad.stride {
        1 => x.clone(),
        _ => x.index_select(&every(height)?, 2)?.index_select(&every(width)?, 3)?,
    };
    let missing = pad.out_channels - channels;
    x.pad_with_zeros(1, missing / 2, missing - missing / 2)
}

#[cfg(test)]
mod tests {
    use super::*;
    use candle_core::{Device, Var};

    #[test]
    fn the_shortcut_subsamples_and_pads() {
        let x =
            Var::from_vec((1..=9).map(|v| v as f32).collect(), (1, 1, 3, 3), &Device::Cpu).unwrap();
        let pad = PadShortcut { stride: 2, out_channels: 4 };
        let y = pad_shortcut(&pad, &x).unwrap();
        assert_eq!(y.dims(), [1, 4, 2, 2]);
        let values = y.flatten_all().unwrap().to_vec1::<f32>().unwrap();
        assert_eq!(values[4..8], [1.0, 3.0, 7.0, 9.0]);
        assert_eq!(values.iter().sum::<f32>(), 20.0);
        let grads = y.sum_all().unwrap().backward().unwrap();
        let gradient = grads.get(&x).unwrap().flatten_all().unwrap().to_vec1::<f32>().unwrap();
        assert_eq!(gradient, [1.0, 0.0, 1.0, 0.0, 0.0, 0.0, 1.0, 0.0, 1.0]);
    }

    /// Result and input gradient of the sum of squares of a pooled 3×5 image.
    fn pooled(pool: impl Fn(&Pool2d, &Tensor) -> Result<Tensor>) -> (Vec<f32>, Vec<f32>) {
        let image = vec![
            1.0f32, 1.0, 2.0, 4.0, 9.0, //
            0.0, 1.0, 3.0, -4.0, 9.0, //
            9.0, 9.0, 9.0, 9.0, 9.0,
        ];
        let x = Var::from_vec(image, (1, 1, 3, 5), &Device::Cpu).unwrap();
        let y = pool(&Pool2d::square(2), &x).unwrap();
        assert_eq!(y.dims(), [1, 1, 1, 2]);
        let grads = y.sqr().unwrap().sum_all().unwrap().backward().unwrap();
        let flat = |t: &Tensor| t.flatten_all().unwrap().to_vec1().unwrap();
        (flat(&y), flat(grads.get(&x).unwrap()))
    }

    #[test]
    fn the_first_maximum_has_the_gradient() {
        let (y, gradient) = pooled(max_pool);
        assert_eq!(y, [1.0, 4.0]);
        assert_eq!(gradient[..5], [2.0, 0.0, 0.0, 8.0, 0.0]);
        assert_eq!(gradient[5..], [0.0; 10]);
    }

    #[test]
    fn a_mean_spreads_the_gradient() {
        let (y, gradient) = pooled(avg_pool);
        assert_eq!(y, [0.75, 1.25]);
        assert_eq!(gradient[..5], [0.375, 0.375, 0.625, 0.625, 0.0]);
        assert_eq!(gradient[5..10], [0.375, 0.375, 0.625, 0.625, 0.0]);
        assert_eq!(gradient[10..], [0.0; 5]);
    }

    #[test]
    fn overlapping_windows_are_refused() {
        let x = Tensor::zeros((1, 1, 8, 8), candle_core::DType::F32, &Device::Cpu).unwrap();
        let pool = Pool2d { kernel: [3, 3], stride: [2, 2], padding: [0; 4] };
        assert!(max_pool(&pool, &x).is_err());
    }
}
