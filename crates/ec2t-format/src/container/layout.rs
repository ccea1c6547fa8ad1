//! Where everything in a file is, to the byte.

use alloc::string::String;
use alloc::vec::Vec;

use super::contents::{Contents, SKIPPED};
use super::error::FormatError;
use super::header::{Header, Version};
use super::tensor::TensorEntry;
use super::toc::{Entry, SectionKind};
use super::{graph, metadata};

/// The parts of a file: its header and table of contents, then the sections.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Layout {
    /// Version of the format.
    pub version: Version,
    /// Length of the header in bytes.
    pub header_len: usize,
    /// Length of the table of contents, which follows the header.
    pub toc_len: usize,
    /// The sections in the order of the file, without gaps up to its end.
    pub sections: Vec<Section>,
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
    /// Name of the tensor; `graph`, `metadata` or `skipped` for the others.
    pub name: String,
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
    let contents = Contents::open(file)?;
    let tensor = |tensor: &TensorEntry<'_>| Section {
        kind: SectionKind::Tensor(tensor.encoding),
        name: tensor.param.name.clone(),
        offset: tensor.offset,
        len: tensor.bytes.len(),
    };
    let mut sections = Vec::new();
    sections.push(section(&contents.graph_entry, graph::SECTION));
    sections.extend(contents.tensors.iter().map(tensor));
    sections.push(section(&contents.metadata_entry, metadata::SECTION));
    sections.extend(contents.skipped.iter().map(|entry| section(entry, SKIPPED)));
    sections.sort_by_key(|section| section.offset);
    Ok(Layout {
        version: contents.version,
        header_len: Header::LEN,
        toc_len: contents.toc_len,
        sections,
    })
}

fn section(entry: &Entry<'_>, name: &str) -> Section {
    Section { kind: entry.kind, name: name.into(), offset: entry.offset, len: entry.len() }
}
