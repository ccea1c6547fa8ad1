//! Whole small networks: the engine against a plain interpreter, and against
//! itself with other batches, threads and forms of the weights.

mod common;
mod compared;
mod engine;
mod explained;
mod integers;
mod not_finite;
mod onnx;
mod random;
mod thinned;
mod turns;
