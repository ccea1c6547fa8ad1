//! CPU operators that train convolutional networks, forward and backward.
//!
//! The crate knows slices and geometry; it knows no graph, no tensor library, no
//! files. Activations are `[N, H, W, C]`, convolution weights `[O, I, KH, KW]` as
//! in PyTorch's files, all row-major `f32`. The innermost channels are what the
//! vector instructions of [`ec2t_kernels::arch`] work on.
//!
//! | module | what it holds |
//! |---|---|
//! | [`conv`] | convolution of any geometry |
//! | [`chunks`] | the fixed parts of a batch that threads work on |
//! | [`scratch`] | memory that operators work in, kept by the caller |
//! | [`norm`] | batch normalisation, fused with residual and rectifier |
//! | [`activation`] | functions of each element |
//! | [`dropout`] | random zeros |
//! | [`pool`] | maximum and mean over windows, mean over all pixels |
//! | [`elementwise`] | sums and products of activations |
//! | [`shape`] | the option-A shortcut, the order of dimensions |
//! | [`loss`] | softmax cross entropy |
//! | [`optim`] | steps of gradient descent and Adam |
//! | [`ternary`] | passes over a ternary layer's weights |
//!
//! Results do not depend on the number of threads: a batch is cut into parts by
//! its size alone, and partial sums are added in the order of the parts. They
//! may differ in the last bits between instruction sets.
//!
//! Slices of the wrong length are errors of the caller: they panic.
#![forbid(unsafe_code)]

pub mod activation;
pub mod chunks;
pub mod conv;
pub mod dropout;
pub mod elementwise;
mod lanes;
pub mod loss;
pub mod norm;
pub mod optim;
pub mod pool;
pub mod scratch;
pub mod shape;
mod shares;
mod sums;
pub mod ternary;
#[cfg(test)]
mod testing;

pub use conv::{ChannelSums, Conv};
pub use lanes::mask_len;
pub use scratch::Scratch;
