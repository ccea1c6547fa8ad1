//! Shapes of convolutions and values for them.

use ec2t_kernels::ConvShape;
use proptest::prelude::*;

/// Repeatable values that look random (Knuth's multiplicative generator).
pub(crate) struct Values(pub(crate) u64);

impl Values {
    /// Uniform in −1…1.
    pub(crate) fn next(&mut self) -> f32 {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
        (self.0 >> 40) as f32 / (1 << 23) as f32 - 1.0
    }

    pub(crate) fn floats(&mut self, len: usize) -> Vec<f32> {
        (0..len).map(|_| self.next()).collect()
    }

    /// Codes of which about `zeros` are 0, the others both signs alike.
    pub(crate) fn codes(&mut self, len: usize, zeros: f32) -> Vec<i8> {
        let code = |v: f32| if v.abs() < zeros { 0 } else { v.signum() as i8 };
        (0..len).map(|_| code(self.next())).collect()
    }
}

/// Shape with the output size that follows from the rest; `None` where no
/// window fits.
pub(crate) fn shape(
    channels: [usize; 2],
    groups: usize,
    input: [usize; 2],
    kernel: [usize; 2],
    stride: [usize; 2],
    dilation: [usize; 2],
    padding: [usize; 4],
) -> Option<ConvShape> {
    let output = |axis: usize| {
        let padded = input[axis] + padding[axis] + padding[axis + 2];
        let extent = (kernel[axis] - 1) * dilation[axis] + 1;
        Some(padded.checked_sub(extent)? / stride[axis] + 1)
    };
    Some(ConvShape {
        in_channels: channels[0],
        out_channels: channels[1],
        input,
        kernel,
        stride,
        dilation,
        padding,
        groups,
        output: [output(0)?, output(1)?],
    })
}

prop_compose! {
    pub(crate) fn shapes()(
        per_group in prop::array::uniform2(1..4usize),
        groups in 1..4usize,
        input in prop::array::uniform2(1..20usize),
        kernel in prop::array::uniform2(1..6usize),
        stride in prop::array::uniform2(1..5usize),
        dilation in prop::array::uniform2(1..4usize),
        padding in prop::array::uniform4(0..6usize),
    ) -> Option<ConvShape> {
        let channels = per_group.map(|n| n * groups);
        shape(channels, groups, input, kernel, stride, dilation, padding)
    }
}
