//! Runs convolutional networks with ternary weights on a CPU.
//!
//! [`Model`] is made from an [`ec2t_format::Network`] or an `.ec2t` file. What
//! can be known before the first image is settled then: batch normalisation is
//! folded, sums and activations are fused into the layers before them, shapes
//! are traced, weights packed for their kernels, buffers assigned. After that it is
//! read-only and shared between threads.
//!
//! ```
//! use std::collections::BTreeMap;
//! use ec2t_format::graph::{GraphBuilder, Shape};
//! use ec2t_format::{DenseTensor, Network, TernaryTensor};
//! use ec2t_infer::Model;
//!
//! let mut g = GraphBuilder::new("tiny", Shape::new(2, 1, 1));
//! g.linear("fc", g.input(), 2);
//! let weight = TernaryTensor::new(vec![2, 2], vec![1, 0, -1, 1], 0.5, 2.0)?;
//! let bias = DenseTensor::new(vec![2], vec![0.0, 1.0])?;
//! let tensors = BTreeMap::from([
//!     ("fc.weight".to_string(), weight.into()),
//!     ("fc.bias".to_string(), bias.into()),
//! ]);
//!
//! let model = Model::new(Network::new(g.finish()?, tensors)?)?;
//! let logits = model.run(&[1.0, 10.0, 2.0, 20.0], 2)?;
//! assert_eq!(logits, [2.0, 20.5, 4.0, 40.0]);
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! Images are `[C, H, W]`: `u8` pixels, or `f32` values that are already
//! normalised. Images of a batch run in parallel on the caller's rayon pool, and
//! where there are fewer images than threads, so do the layers of each. Every value
//! is computed by one thread, in one order, so results have the same bits for any
//! batch and any number of threads.
#![forbid(unsafe_code)]

mod aligned;
mod bench;
mod buffers;
pub mod builtin;
mod bytes;
mod calibrate;
mod classify;
mod compare;
mod cost;
mod error;
mod evaluate;
mod explain;
mod fuse;
mod kernel;
mod layout;
mod model;
mod paired;
mod parallel;
mod plan;
mod profile;
mod session;
mod spread;
mod turns;

pub use bench::{Work, bench};
pub use calibrate::{CalibrateError, calibrate};
pub use classify::Prediction;
pub use compare::{ClassCounts, Comparison, Divergence, LayerDrift, compare};
pub use error::{LoadError, RunError};
pub use evaluate::{Evaluation, Mistake, evaluate, largest_logit};
pub use explain::{ExplainedStep, ExplainedWeights, Explanation, explain};
pub use model::Model;
pub use paired::PairedCounts;
pub use plan::Precision;
pub use profile::{LayerProfile, Profile};
pub use session::Session;
pub use spread::Spread;

/// Compiles what pages for users say of this crate.
#[cfg(doctest)]
#[doc = include_str!("../../../README.md")]
#[doc = include_str!("../../../docs/performance.md")]
mod pages {}
