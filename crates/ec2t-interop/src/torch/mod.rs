//! PyTorch checkpoints, read as data.
//!
//! Both forms hold one pickle that describes a dictionary of tensors, and the
//! raw values of each tensor's *storage* beside it.
//!
//! * Legacy streams (before PyTorch 1.6): a magic number, a protocol version,
//!   facts about the machine, the dictionary, a list of storage keys, each as
//!   one pickle; then the storages in the order of the list.
//! * Zip archives: `data.pkl`, `byteorder`, and one member `data/KEY` for each
//!   storage.
//!
//! | module | what it does |
//! |---|---|
//! | `reader` | takes bytes from the front, and tells where they end |
//! | `opcode` | the names of pickle's instructions |
//! | `pickle` | interprets the few instructions that build data |
//! | `value` | the values that they build |
//! | `global` | the short list of names that a pickle may use |
//! | `state` | finds the dictionary of tensors, and gathers their values |
//! | `legacy`, `archive` | the two forms of files |

mod archive;
mod global;
mod legacy;
mod opcode;
mod pickle;
mod reader;
mod state;
mod value;

pub(crate) use archive::{is_archive, read as read_archive};
pub(crate) use legacy::{is_legacy, read as read_legacy};
