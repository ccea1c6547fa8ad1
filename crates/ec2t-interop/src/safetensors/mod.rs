//! safetensors files: a JSON header, then the values of all tensors.
//!
//! | module | what it does |
//! |---|---|
//! | `read` | tensors of any file |
//! | `codes` | ternary weights as codes of two bits |
//! | [`write()`] | a network becomes a file, which also says what its layers are |
//! | [`open`] | and a network again |

mod codes;
mod description;
mod read;
mod write;

pub use description::open;
pub use write::{Weights, write};

pub(crate) use read::{is_safetensors, read};
