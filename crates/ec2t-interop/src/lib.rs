//! Reads PyTorch and safetensors checkpoints onto ec2t graphs.
//!
//! [`import()`] reads a checkpoint, maps its tensors onto a graph by name and
//! reports every name that does not fit. Weights that are already ternary are
//! stored as such, bit for bit.
//!
//! | module | what it does |
//! |---|---|
//! | [`state_dict`] | tensors by name, from a file of any known form |
//! | `torch` | PyTorch checkpoints: legacy streams and zip archives |
//! | [`mod@safetensors`] | safetensors files |
//! | [`keymap`] | checkpoint names against graph names, as a strict report |
//! | `rename` | other names of layers that a graph has too |
//! | [`onnx`] | ONNX models |
//! | [`import`](mod@import) | both together: a file and a graph make a network |
//! | [`error`] | every way in which a checkpoint can be malformed |
//!
//! A pickle is a program. The reader here interprets the few instructions that
//! build data and refuses every other one; nothing in a file is ever executed.
#![forbid(unsafe_code)]

mod dtype;
pub mod error;
pub mod import;
pub mod keymap;
pub mod onnx;
mod rename;
pub mod safetensors;
pub mod state_dict;
mod torch;

pub use error::{CheckpointError, InteropError};
pub use import::{Imported, import, import_state};
pub use keymap::MatchReport;
pub use state_dict::StateDict;
