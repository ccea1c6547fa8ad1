//! Files of earlier versions read for ever.

use std::collections::BTreeSet;

use crate::networks::every_feature;
use crate::pieces::Pieces;
use ec2t_format::{SectionKind, layout, read, write};

const V1: &[u8] = include_bytes!("../golden/v1.ec2t");

#[test]
fn version_1_reads_as_it_was_written() {
    assert_eq!(read(V1).unwrap(), every_feature());
}

#[test]
fn version_1_is_still_written_alike() {
    assert!(write(&read(V1).unwrap()) == V1, "the bytes have changed");
    assert_eq!(Pieces::of(V1).file(), V1);
}

#[test]
fn the_golden_file_covers_the_format() {
    let network = read(V1).unwrap();
    let ops: BTreeSet<_> = network.graph().nodes.iter().map(|node| node.op.name()).collect();
    assert_eq!(ops.len(), 13, "{ops:?}");
    let encodings: BTreeSet<_> = layout(V1)
        .unwrap()
        .sections
        .iter()
        .filter_map(|section| match section.kind {
            SectionKind::Tensor(encoding) => Some(encoding.name()),
            _ => None,
        })
        .collect();
    assert_eq!(Vec::from_iter(encodings), ["2-bit", "f16", "f32", "mask+sign"]);
}
