//! Pooling and the option-A shortcut.

use candle_core::{D, Result, Tensor, bail};
use ec2t_format::graph::{PadShortcut, Pool2d};

/// Maximum over windows.
pub(crate) fn max_pool(pool: &Pool2d, x: &Tensor) -> Result<Tensor> {
    check(pool)?;
    x.max_pool2d_with_stride(<(usize, usize)>::from(pool.kernel), pool.stride.into())
}

/// Mean over windows.
pub(crate) fn avg_pool(pool: &Pool2d, x: &Tensor) -> Result<Tensor> {
    check(pool)?;
    x.avg_pool2d_with_stride(<(usize, usize)>::from(pool.kernel), pool.stride.into())
}

/// candle's backward pass knows only windows that neither overlap nor leave
/// the image.
fn check(pool: &Pool2d) -> Result<()> {
    if pool.kernel != pool.stride || pool.padding != [0; 4] {
        bail!(
            "training needs pooling windows that do not overlap and are not padded, found {pool:?}"
        );
    }
    Ok(())
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

    #[test]
    fn overlapping_windows_are_refused() {
        let x = Tensor::zeros((1, 1, 8, 8), candle_core::DType::F32, &Device::Cpu).unwrap();
        let pool = Pool2d { kernel: [3, 3], stride: [2, 2], padding: [0; 4] };
        assert!(max_pool(&pool, &x).is_err());
    }
}
