//! Where everything in a file is, to the byte.

use alloc::string::String;
use alloc::vec::Vec;

use super::budget::{Budget, Limits};
use super::contents::Contents;
use super::error::FormatError;
use super::header::{Header, Version};
use super::toc::{SectionKind, TensorEncoding};
use crate::codec::Effort;

/// The parts of a file: its header and table of contents, then the sections.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Layout {
    /// Version of the format.
    pub version: Version,
    /// What the writer has made it for.
    pub effort: Effort,
    /// Length of the header in bytes.
    pub header_len: usize,
    /// Length of the table of contents, which follows the header.
    pub toc_len: usize,
    /// The sections in the order of the file, without gaps up to its end.
    pub sections: Vec<Section>,
    /// Every tensor of the graph, in its order.
    pub tensors: Vec<StoredTensor>,
}

impl Layout {
    /// Length of the file: the sum of all its parts.
    pub fn file_len(&self) -> usize {
        self.sections.iter().fold(self.header_len.saturating_add(self.toc_len), |sum, section| {
            sum.saturating_add(section.len)
        })
    }
}

/// One section of a file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Section {
    /// What it holds, and how.
    pub kind: SectionKind,
    /// Name of the tensor; `graph`, `f32` or `f16` for the values of all dense
    /// tensors, `metadata`, `grids`, or `skipped`.
    pub name: String,
    /// Position in the file.
    pub offset: usize,
    /// Length in bytes.
    pub len: usize,
}

/// Where a tensor is: the whole of a section, or a part of a dense one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StoredTensor {
    /// Name of the tensor.
    pub name: String,
    /// How it is stored.
    pub encoding: TensorEncoding,
    /// Position in the file.
    pub offset: usize,
    /// Length in bytes.
    pub len: usize,
}

/// The parts of a file, whose checksums are all verified but whose tensors are
/// not decoded.
///
/// # Errors
/// The first fault of a file that is not whole and well formed.
pub fn layout(file: &[u8]) -> Result<Layout, FormatError> {
    let contents = Contents::open(file, &mut Budget::new(&Limits::default()))?;
    let sections = contents.named_sections().map(|(name, entry)| Section {
        kind: entry.kind,
        name: name.into(),
        offset: entry.offset,
        len: entry.len(),
    });
    let tensors = contents.tensors.iter().map(|tensor| StoredTensor {
        name: tensor.param.name.clone(),
        encoding: tensor.stored.encoding,
        offset: tensor.stored.offset,
        len: tensor.stored.bytes.len(),
    });
    Ok(Layout {
        version: contents.version,
        effort: contents.effort(),
        header_len: Header::LEN,
        toc_len: contents.toc_len,
        sections: sections.collect(),
        tensors: tensors.collect(),
    })
}
