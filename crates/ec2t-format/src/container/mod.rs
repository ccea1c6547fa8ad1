//! The `.ec2t` file: a header, a table of contents, and sections.
//!
//! ```text
//! header │ table of contents │ graph │ tensor … tensor │ metadata
//! ```
//!
//! The layout is written down field by field in `docs/format.md`. Three rules
//! keep it small and safe to read:
//!
//! * What follows from something else is not stored, so that it cannot
//!   contradict it: sections lie one after the other in the order of the table,
//!   and tensors in the order of [`Graph::params`](crate::Graph::params), whose
//!   names and shapes they have.
//! * Everything is checked before anything is allocated from it, and every byte
//!   is covered by a checksum (CRC-32 as in IEEE 802.3 and PNG).
//! * One network has one byte string: numbers are as short as they can be,
//!   unused bits are zero, and a reader insists on both.
#![cfg_attr(not(test), deny(clippy::indexing_slicing, clippy::arithmetic_side_effects))]

mod contents;
mod cursor;
mod error;
mod graph;
mod header;
mod layout;
mod metadata;
mod op;
mod read;
mod sink;
mod tensor;
mod toc;
mod write;

pub use error::{FormatError, Place};
pub use header::{MAGIC, Version};
pub use layout::{Layout, Section, layout};
pub use read::{Limits, read, read_with};
pub use toc::{SectionKind, TensorEncoding};
pub use write::write;
