//! The `.ec2t` file: a header, a table of contents, and sections.
//!
//! ```text
//! header │ table of contents │ graph │ dense tensors │ ternary tensor … │ metadata │ grids
//! ```
//!
//! The layout is written down field by field in `docs/format.md`. Three rules
//! keep it small and safe to read:
//!
//! * What follows from something else is not stored, so that it cannot
//!   contradict it: sections lie one after the other in the order of the table,
//!   and tensors in the order of [`Graph::params`](crate::Graph::params), whose
//!   names and shapes they have.
//! * Everything is checked, and charged to a [budget](Limits), before anything
//!   is allocated from it, and every byte is covered by a checksum (CRC-32 as in
//!   IEEE 802.3 and PNG).
//! * One network has one byte string: numbers are as short as they can be,
//!   unused bits are zero, nothing is stored that is as predicted, and a reader
//!   insists on all of that.
//!
//! [`write()`] gives files of version 1.2, which adds a codec to version 1.1. Those of
//! 1.0 can be read, too: they have every field of a layer, and a section for each dense
//! tensor.
#![cfg_attr(not(test), deny(clippy::indexing_slicing, clippy::arithmetic_side_effects))]

mod align;
mod arrange;
mod budget;
mod canonical;
mod contents;
mod cursor;
mod error;
mod graph;
mod grids;
mod header;
mod layout;
mod metadata;
mod names;
mod op;
mod packed;
mod plain;
mod read;
mod sink;
mod tensor;
mod toc;
mod verify;
mod write;

pub use budget::Limits;
pub use error::{FormatError, Place};
pub use header::{MAGIC, Version};
pub use layout::{Layout, Section, StoredTensor, layout};
pub use read::{read, read_with};
pub use toc::{GraphEncoding, SectionKind, TensorEncoding};
pub use verify::verify;
pub use write::{write, write_with};
