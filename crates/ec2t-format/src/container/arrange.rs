//! Which section holds which tensor of the graph.
//!
//! In files of version 1.0 each tensor has a section, in the graph's order. From
//! version 1.1 on all dense tensors of one storage share a section: first a map
//! with one bit for each tensor that no section before holds, 1 where this one
//! does, then their values, both in the graph's order. The tensors that are left
//! are ternary and have sections of their own.

use alloc::vec::Vec;

use super::budget::{Budget, TENSOR};
use super::cursor::Cursor;
use super::error::{FormatError, Place};
use super::tensor::{self, Stored, TensorEntry};
use super::toc::{Entry, SectionKind, TensorEncoding};
use crate::codec::Effort;
use crate::graph::{Graph, Param};
use crate::network::Network;
use crate::tensor::{Storage, Tensor};

/// A tensor of the graph and, once that is found, where the file has it.
struct Slot<'a> {
    param: Param,
    stored: Option<Stored<'a>>,
}

/// Finds every tensor that the graph needs in the sections between graph and
/// metadata, and verifies these.
pub(super) fn find<'a>(
    graph: &Graph,
    sections: &[Entry<'a>],
    budget: &mut Budget,
) -> Result<Vec<TensorEntry<'a>>, FormatError> {
    let mut slots = slots(graph, budget)?;
    let mut rest = sections;
    for storage in Storage::ALL {
        if let Some((section, behind)) = rest.split_first()
            && section.kind == SectionKind::Dense(storage)
        {
            take_dense(&mut slots, storage, section)?;
            rest = behind;
        }
    }
    take_singles(&mut slots, rest)?;
    let found = |slot: Slot<'a>| Some(TensorEntry { param: slot.param, stored: slot.stored? });
    Ok(slots.into_iter().filter_map(found).collect())
}

fn slots<'a>(graph: &Graph, budget: &mut Budget) -> Result<Vec<Slot<'a>>, FormatError> {
    let mut slots = Vec::new();
    for (id, node) in graph.iter() {
        for param in node.params(id) {
            let place = || Place { section: super::graph::SECTION.into(), offset: 0 };
            budget.charge_named(TENSOR, param.name.len(), place)?;
            slots.push(Slot { param, stored: None });
        }
    }
    Ok(slots)
}

/// Takes the tensors of a section of dense ones.
fn take_dense<'a>(
    slots: &mut [Slot<'a>],
    storage: Storage,
    section: &Entry<'a>,
) -> Result<(), FormatError> {
    let bytes = section.verified(storage.name())?;
    let mut cursor = Cursor::new(storage.name(), section.offset, bytes);
    let place = cursor.place();
    let mut open: Vec<_> = slots.iter_mut().filter(|slot| slot.stored.is_none()).collect();
    let map = cursor.bytes(open.len().div_ceil(8))?;
    let mut bits = map.iter().flat_map(|byte| (0..8).map(move |bit| byte >> bit & 1 == 1));
    let mut any = false;
    for (slot, _) in open.iter_mut().zip(&mut bits).filter(|(_, taken)| *taken) {
        any = true;
        let offset = cursor.place().offset;
        let bytes = cursor.bytes(slot.param.numel().saturating_mul(storage.width()))?;
        slot.stored = Some(Stored { encoding: TensorEncoding::Dense(storage), offset, bytes });
    }
    match any && !bits.any(|padding| padding) {
        true => cursor.finish(),
        false => Err(FormatError::Map { place, tensors: open.len() }),
    }
}

/// Takes a section for each tensor that is left.
fn take_singles<'a>(slots: &mut [Slot<'a>], sections: &[Entry<'a>]) -> Result<(), FormatError> {
    let open: Vec<_> = slots.iter_mut().filter(|slot| slot.stored.is_none()).collect();
    if open.len() != sections.len() {
        let (expected, found) = (open.len(), sections.len());
        return Err(FormatError::TensorCount { expected, found });
    }
    for (slot, section) in open.into_iter().zip(sections) {
        let SectionKind::Tensor(encoding) = section.kind else {
            return Err(section.misplaced("tensor"));
        };
        let bytes = section.verified(&slot.param.name)?;
        slot.stored = Some(Stored { encoding, offset: section.offset, bytes });
    }
    Ok(())
}

/// The sections of a network's tensors.
pub(super) fn sections(network: &Network, effort: Effort) -> Vec<(SectionKind, Vec<u8>)> {
    let params = network.graph().params();
    let mut left: Vec<&Tensor> =
        params.iter().filter_map(|param| network.tensor(&param.name)).collect();
    let mut sections = Vec::new();
    for storage in Storage::ALL {
        let section = dense_section(&left, storage);
        sections.extend(section.map(|bytes| (SectionKind::Dense(storage), bytes)));
        left.retain(|tensor| !is_stored_as(tensor, storage));
    }
    let ternary = left.into_iter().filter_map(|tensor| match tensor {
        Tensor::Ternary(ternary) => Some(tensor::encode_ternary(ternary, effort)),
        Tensor::Dense(_) => None,
    });
    sections.extend(ternary);
    sections
}

fn is_stored_as(tensor: &Tensor, storage: Storage) -> bool {
    matches!(tensor, Tensor::Dense(dense) if dense.storage() == storage)
}

/// Map and values of the tensors that are stored so, if there are any.
fn dense_section(tensors: &[&Tensor], storage: Storage) -> Option<Vec<u8>> {
    let byte = |eight: &[&Tensor]| {
        let bits = eight.iter().zip(0u32..);
        bits.fold(0u8, |byte, (tensor, bit)| byte | u8::from(is_stored_as(tensor, storage)) << bit)
    };
    let mut out: Vec<u8> = tensors.chunks(8).map(byte).collect();
    if out.iter().all(|&byte| byte == 0) {
        return None;
    }
    for tensor in tensors {
        if let Tensor::Dense(dense) = tensor
            && dense.storage() == storage
        {
            out.extend(tensor::encode_dense(dense));
        }
    }
    Some(out)
}
