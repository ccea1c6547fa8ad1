//! Kernels that run a convolutional network with ternary weights on a CPU.
//!
//! The crate knows slices and small geometry structs ([`ConvShape`],
//! [`PoolShape`]); it knows nothing of graphs or files. Every function works on
//! one image: activations are `[C, H, W]`, convolution weights `[O, I, KH, KW]`,
//! linear weights `[O, I]`, all row-major `f32`, but for activations of [`int`], which are
//! bytes. Callers run several images on several threads.
//!
//! | module | what it holds |
//! |---|---|
//! | [`arch`] | vector instructions: detection, dispatch, one safe interface |
//! | [`shape`] | geometry of convolutions and pools |
//! | [`conv`] | convolutions: ternary ones, which skip zeros and multiply once per output, and dense ones |
//! | `blocks` | how both kinds of convolutions take up channels |
//! | [`linear`] | the same for matrix products |
//! | [`int`] | ternary convolutions of activations in 8 bits |
//! | [`epilogue`] | what follows the sums of these: scale, bias, residual, activation |
//! | [`elementwise`] | activations, sums, products, batch normalisation, in place |
//! | [`spatial`] | pools and the option-A shortcut |
//! | [`mod@reference`] | slow, obviously right convolution and matrix product, to test against |
//!
//! Each output value is one fixed sequence of additions, so results do not
//! depend on the number of threads.
//!
//! Slices of the wrong length are errors of the caller: they panic.
#![deny(unsafe_code)]

#[allow(unsafe_code)]
pub mod arch;
mod blocks;
pub mod conv;
pub mod elementwise;
pub mod epilogue;
pub mod int;
pub mod linear;
pub mod reference;
pub mod shape;
pub mod spatial;
pub mod weights;

pub use conv::{ConvPart, ConvWork, DenseConv, TernaryConv};
pub use elementwise::Activation;
pub use epilogue::Epilogue;
pub use linear::{DenseLinear, TernaryLinear};
pub use shape::{ConvShape, PoolShape, TooLarge};
pub use weights::TernaryWeights;
