//! Files of earlier versions read for ever.

use std::collections::BTreeSet;

use crate::networks::{CODECS_OF_1_1, every_feature, layer_per_codec};
use crate::pieces::Pieces;
use ec2t_format::codec::{CodecId, Effort, Kernels};
use ec2t_format::{Network, Tensor, TensorEncoding, layout, read, write, write_with};

/// Everything that version 1.0 could hold.
const V1_0: &[u8] = include_bytes!("../golden/v1.ec2t");
/// The same network in version 1.1.
const V1_1: &[u8] = include_bytes!("../golden/v1.1.ec2t");
/// The same network in version 1.2, ready for kernels.
const V1_2: &[u8] = include_bytes!("../golden/v1.2.ec2t");
/// The same weights in each codec of version 1.1.
const CODECS: &[u8] = include_bytes!("../golden/codecs.ec2t");

#[test]
fn every_version_reads_as_it_was_written() {
    for (file, minor) in [(V1_0, 0), (V1_1, 1), (V1_2, 2)] {
        assert_eq!(layout(file).unwrap().version.minor, minor);
        assert_eq!(read(file).unwrap(), every_feature());
        assert_eq!(Pieces::of(file).file(), file);
    }
}

#[test]
fn the_current_version_is_still_written_alike() {
    for file in [V1_0, V1_1, V1_2] {
        let network = read(file).unwrap();
        assert!(write_with(&network, Effort::Ready) == V1_2, "the bytes have changed");
        // But for its number, version 1.2 has what 1.1 had.
        let mut pieces = Pieces::of(&write(&network));
        assert_eq!(std::mem::replace(&mut pieces.version[1], 1), 2);
        assert!(pieces.file() == V1_1, "the bytes have changed");
    }
}

#[test]
fn the_golden_files_cover_the_format() {
    for (file, ternary) in [
        (V1_0, &["2-bit", "f16", "f32", "mask+sign"][..]),
        (V1_1, &["f16", "f32", "order-0"]),
        (V1_2, &["f16", "f32", "lists"]),
    ] {
        let network = read(file).unwrap();
        let ops: BTreeSet<_> = network.graph().nodes.iter().map(|node| node.op.name()).collect();
        assert_eq!(ops.len(), 13, "{ops:?}");
        let tensors = layout(file).unwrap().tensors;
        let encodings: BTreeSet<_> =
            tensors.iter().map(|tensor| TensorEncoding::name(tensor.encoding)).collect();
        assert_eq!(Vec::from_iter(encodings), ternary);
    }
}

#[test]
fn every_codec_reads_and_writes_as_ever() {
    let network = layer_per_codec();
    let mut pieces = Pieces::of(&write(&network));
    pieces.version = [1, 1];
    let sections = pieces.sections.iter_mut().filter(|section| section.kind == 3);
    for (section, codec) in sections.zip(CODECS_OF_1_1) {
        section.encoding = codec.number();
        section.bytes.truncate(8);
        section.bytes.extend(codec.encode(weight(&network, codec).0, weight(&network, codec).1));
    }
    assert!(pieces.file() == CODECS, "the bytes have changed");
    assert_eq!(read(CODECS).unwrap(), network);
}

fn weight(network: &Network, codec: CodecId) -> (&[i8], Kernels) {
    match network.tensor(&format!("{}.weight", codec.name())) {
        Some(Tensor::Ternary(weight)) => (weight.codes(), Kernels::of_shape(weight.shape())),
        other => panic!("{other:?}"),
    }
}
