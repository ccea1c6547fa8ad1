//! Files of earlier versions read for ever.

use std::collections::BTreeSet;

use crate::networks::every_feature;
use crate::pieces::Pieces;
use ec2t_format::{TensorEncoding, layout, read, write};

/// Everything that version 1.0 could hold.
const V1_0: &[u8] = include_bytes!("../golden/v1.ec2t");
/// The same network in version 1.1.
const V1_1: &[u8] = include_bytes!("../golden/v1.1.ec2t");

#[test]
fn every_version_reads_as_it_was_written() {
    for (file, minor) in [(V1_0, 0), (V1_1, 1)] {
        assert_eq!(layout(file).unwrap().version.minor, minor);
        assert_eq!(read(file).unwrap(), every_feature());
        assert_eq!(Pieces::of(file).file(), file);
    }
}

#[test]
fn the_current_version_is_still_written_alike() {
    assert!(write(&read(V1_1).unwrap()) == V1_1, "the bytes have changed");
    assert!(write(&read(V1_0).unwrap()) == V1_1, "an old file becomes another new one");
}

#[test]
fn the_golden_files_cover_the_format() {
    for file in [V1_0, V1_1] {
        let network = read(file).unwrap();
        let ops: BTreeSet<_> = network.graph().nodes.iter().map(|node| node.op.name()).collect();
        assert_eq!(ops.len(), 13, "{ops:?}");
        let tensors = layout(file).unwrap().tensors;
        let encodings: BTreeSet<_> =
            tensors.iter().map(|tensor| TensorEncoding::name(tensor.encoding)).collect();
        assert_eq!(Vec::from_iter(encodings), ["2-bit", "f16", "f32", "mask+sign"]);
    }
}
