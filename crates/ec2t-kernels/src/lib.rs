//! Kernels that run a convolutional network with ternary weights on a CPU.
//!
//! The crate knows slices and small geometry structs ([`ConvShape`],
//! [`PoolShape`]); it knows nothing of graphs or files. Every function works on
//! one image: activations are `[C, H, W]`, convolution weights `[O, I, KH, KW]`,
//! linear weights `[O, I]`, all row-major `f32`. Callers run several images on
//! several threads.
//!
//! | module | what it holds |
//! |---|---|
//! | [`arch`] | vector instructions: detection, dispatch, one safe interface |
//! | [`shape`] | geometry of convolutions and pools |
//! | [`ternary`] | convolution and matrix product that skip zeros and multiply once per output |
//! | [`dense`] | the same for ordinary weights |
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
pub mod dense;
pub mod elementwise;
pub mod epilogue;
mod planes;
pub mod reference;
pub mod shape;
pub mod spatial;
pub mod ternary;

pub use dense::{DenseConv, DenseLinear};
pub use elementwise::Activation;
pub use epilogue::Epilogue;
pub use shape::{ConvShape, PoolShape, TooLarge};
pub use ternary::{TernaryConv, TernaryLinear, TernaryWeights};
