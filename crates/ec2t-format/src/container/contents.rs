//! A whole file whose parts are known by name: graph, tensors, metadata, grids.

use alloc::collections::BTreeMap;
use alloc::string::String;
use alloc::vec::Vec;

use super::budget::Budget;
use super::error::FormatError;
use super::header::{Header, Version};
use super::tensor::TensorEntry;
use super::toc::{self, Entry, SectionKind, TensorEncoding};
use super::{arrange, graph, grids, metadata};
use crate::codec::{CodecId, Effort};
use crate::graph::Graph;
use crate::grid::Grid;

/// Name of a section of an unknown kind.
const SKIPPED: &str = "skipped";

/// The sections of a file, all intact, each matched to what the graph needs.
pub(super) struct Contents<'a> {
    pub(super) version: Version,
    pub(super) toc_len: usize,
    /// All sections in the order of the file.
    pub(super) sections: Vec<Entry<'a>>,
    pub(super) graph: Graph,
    /// Every tensor that the graph needs, in its order; not yet decoded.
    pub(super) tensors: Vec<TensorEntry<'a>>,
    pub(super) metadata: BTreeMap<String, String>,
    pub(super) grids: BTreeMap<String, Grid>,
}

impl<'a> Contents<'a> {
    /// Checks all but the tensors' values, and every checksum.
    pub(super) fn open(file: &'a [u8], budget: &mut Budget) -> Result<Self, FormatError> {
        let header = Header::read(file)?;
        let sections = toc::read(&header, budget)?;
        let (skipped, known): (Vec<_>, Vec<_>) = sections
            .iter()
            .copied()
            .partition(|entry| matches!(entry.kind, SectionKind::Skipped { .. }));
        for entry in &skipped {
            entry.verified(SKIPPED)?;
        }

        let (graph_entry, rest) =
            known.split_first().ok_or(FormatError::MissingSection { expected: graph::SECTION })?;
        let SectionKind::Graph(_) = graph_entry.kind else {
            return Err(graph_entry.misplaced(graph::SECTION));
        };
        let (grids_entry, rest) = match rest.split_last() {
            Some((last, rest)) if last.kind == SectionKind::Grids => (Some(last), rest),
            _ => (None, rest),
        };
        let (metadata_entry, tensors) =
            rest.split_last().ok_or(FormatError::MissingSection { expected: metadata::SECTION })?;
        let SectionKind::Metadata = metadata_entry.kind else {
            return Err(metadata_entry.misplaced(metadata::SECTION));
        };

        let graph = graph::decode(graph_entry, budget)?;
        let grids = match grids_entry {
            Some(entry) => grids::decode(entry, &graph, budget)?,
            None => BTreeMap::new(),
        };
        Ok(Self {
            version: header.version,
            toc_len: header.toc.len(),
            tensors: arrange::find(&graph, tensors, budget)?,
            graph,
            metadata: metadata::decode(metadata_entry, budget)?,
            grids,
            sections,
        })
    }

    /// What the writer has made the file for.
    pub(super) fn effort(&self) -> Effort {
        let has = |codec| {
            let kind = SectionKind::Tensor(TensorEncoding::Ternary(codec));
            self.sections.iter().any(|entry| entry.kind == kind)
        };
        match (has(CodecId::Lists), has(CodecId::Max)) {
            (true, _) => Effort::Ready,
            (false, true) => Effort::Max,
            (false, false) => Effort::Balanced,
        }
    }

    /// Every section with its name.
    pub(super) fn named_sections(&self) -> impl Iterator<Item = (&str, &Entry<'a>)> {
        let mut tensors = self.tensors.iter();
        self.sections.iter().map(move |entry| {
            let name = match entry.kind {
                SectionKind::Graph(_) => graph::SECTION,
                SectionKind::Dense(storage) => storage.name(),
                SectionKind::Metadata => metadata::SECTION,
                SectionKind::Grids => grids::SECTION,
                SectionKind::Skipped { .. } => SKIPPED,
                // Sections of tensors are in the order of the tensors.
                SectionKind::Tensor(_) => tensors
                    .find(|tensor| tensor.stored.offset == entry.offset)
                    .map_or("", |tensor| &tensor.param.name),
            };
            (name, entry)
        })
    }
}
