//! Batch normalisation with residual and rectifier: training, running
//! statistics, evaluation.

use ec2t_ops::norm::{
    AffineGradient, BatchNorm, OutputGradient, Rectifier, ResidualGradient, Statistics,
};
use ec2t_ops::{ChannelSums, Scratch, mask_len};
use serde::Deserialize;

use crate::common::values;
use crate::fixture::{Expected, cases};

#[derive(Deserialize)]
struct Case {
    pixels: usize,
    channels: usize,
    #[serde(with = "Kind")]
    rectifier: Rectifier,
    residual: bool,
    offset: f32,
}

#[derive(Deserialize)]
#[serde(remote = "Rectifier", rename_all = "snake_case")]
enum Kind {
    Identity,
    Relu,
    Relu6,
}

#[test]
fn batch_normalisation() {
    for (case, expected) in cases("batch_norm") {
        check(&case, &expected);
    }
}

fn check(case: &Case, expected: &Expected) {
    let &Case { pixels, channels, rectifier, residual, offset } = case;
    let len = pixels * channels;
    let shifted = |values: Vec<f32>, by| values.iter().map(|x| x + by).collect::<Vec<_>>();
    let x = shifted(values(1, len), offset);
    let [weight, bias] = [2, 3].map(|seed| values(seed, channels));
    let skip: Vec<f32> = values(4, len).iter().map(|x| 8.0 * x).collect();
    let skip = residual.then_some(skip.as_slice());
    let scratch = &mut Scratch::new();

    let mut sums = ChannelSums::new(channels);
    sums.measure(&x, scratch);
    let mut statistics = Statistics::new(channels, 1e-5);
    statistics.set_batch(&x, &sums, scratch);
    let norm = BatchNorm { weight: &weight, bias: &bias, statistics: &statistics };
    let (mut y, mut mask) = (vec![f32::NAN; len], vec![0; mask_len(len)]);
    norm.forward(&x, skip, rectifier, &mut y, Some(&mut mask), scratch);
    expected.assert_close("y", &y, 1e-5);

    let (g, mut gx, mut gskip) = (values(7, len), vec![f32::NAN; len], vec![f32::NAN; len]);
    let (mut gweight, mut gbias) = (vec![f32::NAN; channels], vec![f32::NAN; channels]);
    norm.backward(
        &x,
        OutputGradient { values: &g, mask: Some(&mask) },
        &mut gx,
        if residual { ResidualGradient::Write(&mut gskip) } else { ResidualGradient::None },
        AffineGradient { weight: &mut gweight, bias: &mut gbias },
        scratch,
    );
    expected.assert_close("gx", &gx, 1e-5);
    expected.assert_close("gweight", &gweight, 1e-5);
    expected.assert_close("gbias", &gbias, 1e-6);
    if residual {
        // The residual was scaled by 8.
        gskip.iter_mut().for_each(|g| *g *= 8.0);
        expected.assert_close("gskip", &gskip, 0.0);
    }

    let mut mean = shifted(values(5, channels), offset);
    let mut var = shifted(values(6, channels), 1.5);
    statistics.update_running(pixels, 0.1, &mut mean, &mut var);
    expected.assert_close("mean", &mean, 1e-6);
    expected.assert_close("var", &var, 1e-5);
    statistics.set_running(&mean, &var);
    let norm = BatchNorm { weight: &weight, bias: &bias, statistics: &statistics };
    norm.forward(&x, skip, rectifier, &mut y, None, scratch);
    expected.assert_close("eval", &y, 1e-5);
}
