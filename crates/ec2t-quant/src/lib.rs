//! Training with entropy-constrained trained ternarization (EC2T).
//!
//! The one crate of the workspace that knows candle.
#![deny(unsafe_code)]

pub mod ec2t;

mod ops;
