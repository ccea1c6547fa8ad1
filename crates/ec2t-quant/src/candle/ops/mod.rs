//! Every [`Op`] on candle tensors: f32, activations NCHW, weights OIHW.
//!
//! Where candle's own gradient is not that of PyTorch, the operator is composed
//! of others.
//!
//! [`Op`]: ec2t_format::graph::Op

mod activation;
mod batch_norm;
mod conv;
mod pool;

pub(super) use activation::{activation, dropout};
pub(super) use batch_norm::{BatchStatistics, batch_norm_eval, batch_norm_train};
pub(super) use conv::conv2d;
pub(super) use pool::{avg_pool, global_avg_pool, max_pool, pad_shortcut};
