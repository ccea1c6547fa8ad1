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
//!
//! Results do not depend on the number of threads: a batch is cut into parts by
//! its size alone, and partial sums are added in the order of the parts. They
//! may differ in the last bits between instruction sets.
//!
//! Slices of the wrong length are errors of the caller: they panic.
#![forbid(unsafe_code)]

pub mod chunks;
pub mod conv;
pub mod scratch;

pub use conv::{ChannelSums, Conv};
pub use scratch::Scratch;
