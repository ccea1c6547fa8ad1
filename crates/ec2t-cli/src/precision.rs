//! `--precision`: what activations are computed in.

use clap::{Args, ValueEnum};

/// What activations are computed in.
#[derive(Args, Clone, Copy, Debug)]
pub(crate) struct PrecisionArgs {
    /// What activations are computed in; u8 needs a file that `ec2t calibrate` has written.
    #[arg(long, value_enum, default_value_t = Precision::F32, value_name = "TYPE")]
    precision: Precision,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Precision {
    /// 32-bit floats.
    F32,
    /// 8 bits, between convolutions with ternary weights.
    U8,
}

impl Precision {
    /// As users write it.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Precision::F32 => "f32",
            Precision::U8 => "u8",
        }
    }
}

impl From<PrecisionArgs> for ec2t_infer::Precision {
    fn from(args: PrecisionArgs) -> Self {
        args.precision.into()
    }
}

impl From<Precision> for ec2t_infer::Precision {
    fn from(precision: Precision) -> Self {
        match precision {
            Precision::F32 => ec2t_infer::Precision::F32,
            Precision::U8 => ec2t_infer::Precision::U8,
        }
    }
}
