//! Training with entropy-constrained trained ternarization (EC2T).
//!
//! Three stages, each a function that takes a [`Network`] and leaves a better
//! one in its folder:
//!
//! | stage | what moves |
//! |---|---|
//! | [`pretrain`] | all parameters, in floats |
//! | [`ternarize`] | background weights, centroids and assignments of the layers in the network's body; everything else in floats |
//! | [`finetune`] | centroids and float parameters; assignments are frozen |
//!
//! A stage can be killed at any time and continues from its last checkpoint,
//! with the same bytes as if it had not been. The best epoch is chosen on the
//! validation split; test images are never looked at.
//!
//! [`Engine`] computes the steps of all three: batches of images in, gradients
//! out. It can be used alone, for another loop or another method.
//!
//! The mathematics of the method stands by itself in [`ec2t`]. This is the one
//! crate of the workspace that knows candle; with the feature `cuda` the same
//! code trains on an NVIDIA GPU.
//!
//! [`Network`]: ec2t_format::Network
#![forbid(unsafe_code)]

mod average;
mod candle;
mod checkpoint;
mod cpu;
pub mod ec2t;
mod engine;
mod error;
mod events;
mod fingerprint;
mod init;
mod optim;
mod options;
mod pretrain;
mod running;
mod session;
mod teacher;
mod ternarize;
mod trainer;
mod weights;

pub use checkpoint::{Best, save_network};
pub use ec2t_ops::loss::{Loss, Target, Teacher};
pub use engine::{Engine, Gradients};
pub use error::QuantError;
pub use init::{initialize, initialize_ternary};
pub use optim::{OptimizerKind, Schedule};
pub use options::{
    DistillOptions, FinetuneOptions, Keep, LoopOptions, PretrainOptions, Prunable, PruneOptions,
    TernarizeOptions,
};
pub use pretrain::pretrain;
pub use session::{
    Backend, EpochReport, LayerReport, Observer, Outcome, Session, Silent, StepReport,
};
pub use ternarize::{assigned_sparsity, finetune, ternarize};
pub use weights::Weights;
