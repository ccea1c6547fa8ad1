//! The training operators: forward and backward of every [`Op`].
//!
//! This is the only place that knows which device it runs on. On the CPU the
//! operators that dominate a training step (convolution, batch normalisation,
//! ReLU) are our own; everything else, and everything on CUDA, is candle's.
//! All tensors are f32, activations NCHW, weights OIHW.
//!
//! Results do not depend on the number of threads: images are dealt to a fixed
//! number of chunks, and sums over chunks are taken in order.
//!
//! [`Op`]: ec2t_format::graph::Op

mod activation;
mod batch_norm;
mod conv;
mod cpu;
mod loss;
#[allow(unsafe_code)]
mod matmul;
mod pool;

pub(crate) use activation::{activation, dropout};
pub(crate) use batch_norm::{BatchStatistics, batch_norm_eval, batch_norm_train};
pub(crate) use conv::conv2d;
pub(crate) use loss::{correct, cross_entropy};
pub(crate) use pool::{avg_pool, global_avg_pool, max_pool, pad_shortcut};
