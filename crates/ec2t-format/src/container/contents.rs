//! A whole file whose parts are known by name: graph, tensors, metadata.

use alloc::collections::BTreeMap;
use alloc::string::String;
use alloc::vec::Vec;

use super::error::FormatError;
use super::header::{Header, Version};
use super::tensor::TensorEntry;
use super::toc::{self, Entry, SectionKind};
use super::{graph, metadata};
use crate::graph::{Graph, Param};

/// Name of a section of an unknown kind.
pub(super) const SKIPPED: &str = "skipped";

/// The sections of a file, all intact, each matched to what the graph needs.
pub(super) struct Contents<'a> {
    pub(super) version: Version,
    pub(super) toc_len: usize,
    pub(super) graph: Graph,
    pub(super) graph_entry: Entry<'a>,
    /// Every tensor that the graph needs, in its order; not yet decoded.
    pub(super) tensors: Vec<TensorEntry<'a>>,
    pub(super) metadata: BTreeMap<String, String>,
    pub(super) metadata_entry: Entry<'a>,
    /// Sections of unknown kinds, all of them optional.
    pub(super) skipped: Vec<Entry<'a>>,
}

impl<'a> Contents<'a> {
    /// Checks all but the tensors' values, and every checksum.
    pub(super) fn open(file: &'a [u8]) -> Result<Self, FormatError> {
        let header = Header::read(file)?;
        let (skipped, known): (Vec<_>, Vec<_>) = toc::read(&header)?
            .into_iter()
            .partition(|entry| matches!(entry.kind, SectionKind::Skipped { .. }));
        for entry in &skipped {
            entry.verified(SKIPPED)?;
        }

        let (graph_entry, rest) =
            known.split_first().ok_or(FormatError::MissingSection { expected: graph::SECTION })?;
        expect(graph_entry, SectionKind::Graph, graph::SECTION)?;
        let (metadata_entry, tensors) =
            rest.split_last().ok_or(FormatError::MissingSection { expected: metadata::SECTION })?;
        expect(metadata_entry, SectionKind::Metadata, metadata::SECTION)?;

        let graph = graph::decode(graph_entry)?;
        let params = graph.params();
        if params.len() != tensors.len() {
            let (expected, found) = (params.len(), tensors.len());
            return Err(FormatError::TensorCount { expected, found });
        }
        let tensors = params.into_iter().zip(tensors);
        Ok(Self {
            version: header.version,
            toc_len: header.toc.len(),
            graph,
            graph_entry: *graph_entry,
            tensors: tensors
                .map(|(param, entry)| tensor_entry(param, entry))
                .collect::<Result<_, _>>()?,
            metadata: metadata::decode(metadata_entry)?,
            metadata_entry: *metadata_entry,
            skipped,
        })
    }
}

fn expect(entry: &Entry<'_>, kind: SectionKind, name: &'static str) -> Result<(), FormatError> {
    match entry.kind == kind {
        true => Ok(()),
        false => Err(misplaced(entry, name)),
    }
}

fn tensor_entry<'a>(param: Param, entry: &Entry<'a>) -> Result<TensorEntry<'a>, FormatError> {
    match entry.kind {
        SectionKind::Tensor(encoding) => {
            let bytes = entry.verified(&param.name)?;
            Ok(TensorEntry { param, encoding, offset: entry.offset, bytes })
        }
        _ => Err(misplaced(entry, "tensor")),
    }
}

fn misplaced(entry: &Entry<'_>, expected: &'static str) -> FormatError {
    let (found, _) = entry.kind.numbers();
    FormatError::SectionOrder { place: entry.place("file"), expected, found }
}
