//! ONNX models: other runtimes' form of a network.
//!
//! | module | what it does |
//! |---|---|
//! | `proto` | the messages that a file consists of |
//! | [`codes`](Codes) | ternary weights as codes and a codebook |
//! | [`write()`] | a network becomes a model |
//! | [`read()`] | a model becomes a network |
//! | `constant` | constants and settings as messages |
//!
//! `docs/interop.md` says what is written, byte by byte where it matters.

mod codes;
mod constant;
mod error;
mod proto;
mod read;
mod write;

pub use codes::Codes;
pub(crate) use codes::pack;
pub use error::OnnxError;
pub use read::{Imported, open, read};
pub use write::write;

/// Name of a model's input.
const INPUT: &str = "pixels";
/// Name of a model's output.
const OUTPUT: &str = "logits";
/// Key of the class names: a JSON array of texts.
const CLASSES_KEY: &str = "ec2t.classes";
/// Key of what the input is, in words.
const INPUT_KEY: &str = "ec2t.input";
