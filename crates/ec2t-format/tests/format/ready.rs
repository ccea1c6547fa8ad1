//! Files whose weights lie as kernels use them.

use ec2t_format::codec::{CodecError, Effort, Kernels};
use ec2t_format::container::{Place, Version};
use ec2t_format::graph::{GraphBuilder, Linear, Shape};
use ec2t_format::{
    CodecId, FormatError, Limits, Network, NodeId, Op, Tensor, TensorEncoding, TernaryTensor,
    layout, read, verify, write, write_with,
};

use crate::networks::{Random, every_feature, tiny};
use crate::pieces::{Piece, Pieces};

const TERNARY: u8 = 3;
const LISTS: TensorEncoding = TensorEncoding::Ternary(CodecId::Lists);
/// Section of the weights of [`named`], and where it is: behind header and table, the
/// graph and the dense values.
const WEIGHT: usize = 2;
const WEIGHT_AT: usize = 36 + 29 + 49 + 9;
/// Where the counts and the positions are in that section.
const COUNTS: usize = 192 - WEIGHT_AT;
const POSITIONS: usize = COUNTS + 64;

/// [`tiny`] with a name of four bytes, so that zeros stand on both sides of its lists.
fn named() -> Network {
    let (mut graph, tensors, metadata) = tiny().into_parts();
    graph.name = "tiny".into();
    let mut network = Network::new(graph, tensors).unwrap();
    network.metadata = metadata;
    network
}

fn pieces() -> Pieces {
    Pieces::of(&write_with(&named(), Effort::Ready))
}

/// The error of [`named`] after a change to the bytes of its weights.
fn error(change: impl FnOnce(&mut Vec<u8>)) -> FormatError {
    let mut pieces = pieces();
    change(&mut pieces.sections[WEIGHT].bytes);
    read(&pieces.file()).unwrap_err()
}

/// A place in the weights of [`named`].
fn place(offset: usize) -> Place {
    Place { section: "fc.weight".into(), offset: WEIGHT_AT + offset }
}

/// Makes a section that of a tensor in lists, which begin at a multiple of 64.
fn put_lists(pieces: &mut Pieces, section: usize, weight: &TernaryTensor) {
    let codes = CodecId::Lists.encode(weight.codes(), Kernels::of_shape(weight.shape()));
    let centroids = [weight.w_neg(), weight.w_pos()].map(f32::to_le_bytes).concat();
    let bytes = [centroids, codes, vec![0; 63]].concat();
    pieces.sections[section] = Piece { kind: TERNARY, encoding: 5, bytes };
    let behind: usize = pieces.sections[section..].iter().map(|piece| piece.bytes.len()).sum();
    let codes_at = pieces.file().len() - behind + 8;
    pieces.sections[section].bytes[8..].rotate_right(codes_at.next_multiple_of(64) - codes_at);
}

fn ternary<'a>(network: &'a Network, name: &str) -> &'a TernaryTensor {
    match network.tensor(name) {
        Some(Tensor::Ternary(weight)) => weight,
        other => panic!("{name}: {other:?}"),
    }
}

#[test]
fn the_bytes_are_as_documented() {
    let mut expected: Vec<u8> = [0.5f32, 0.75].iter().flat_map(|c| c.to_le_bytes()).collect();
    expected.resize(COUNTS, 0);
    expected.extend([1, 0, 0, 0, 1, 0, 0, 0]);
    expected.resize(POSITIONS, 0);
    expected.extend([2, 0, 3, 0]);
    expected.resize(8 + 63 + 64 + 4, 0);
    let bytes = expected;
    assert_eq!(pieces().sections[WEIGHT], Piece { kind: TERNARY, encoding: 5, bytes });
    let file = write_with(&named(), Effort::Ready);
    assert_eq!(layout(&file).unwrap().sections[WEIGHT].offset, WEIGHT_AT);
    assert_eq!(verify(&file, &Limits::default()), Ok(named()));
}

#[test]
fn lists_begin_at_a_multiple_of_64_bytes() {
    let network = every_feature();
    let file = write_with(&network, Effort::Ready);
    let layout = layout(&file).unwrap();
    assert_eq!(layout.effort, Effort::Ready);
    let lists: Vec<_> = layout.tensors.iter().filter(|tensor| tensor.encoding == LISTS).collect();
    assert_eq!(lists.len(), 3);
    for tensor in lists {
        let weight = ternary(&network, &tensor.name);
        let codes = CodecId::Lists.encode(weight.codes(), Kernels::of_shape(weight.shape()));
        let start = (tensor.offset + 8).next_multiple_of(64);
        assert!(file[start..].starts_with(&codes), "{}", tensor.name);
        assert_eq!(tensor.len, 8 + 63 + codes.len());
    }
}

#[test]
fn zeros_around_the_lists_are_checked() {
    let last = pieces().sections[WEIGHT].bytes.len() - 1;
    for offset in [8, COUNTS - 1, POSITIONS + 4, last] {
        let padding = error(|bytes| bytes[offset] = 4);
        assert_eq!(padding, FormatError::Padding { place: place(offset), found: 4 });
    }
}

#[test]
fn lists_are_checked_at_their_place() {
    let source = CodecError::Padding { offset: 16, found: 4 };
    let between = error(|bytes| bytes[COUNTS + 16] = 4);
    assert_eq!(between, FormatError::Codec { place: place(COUNTS + 16), source });
    let source = CodecError::Position { offset: 64 + 2, found: 4, limit: 4 };
    let position = error(|bytes| bytes[POSITIONS + 2] = 4);
    assert_eq!(position, FormatError::Codec { place: place(POSITIONS + 2), source });
}

#[test]
fn lists_are_nowhere_else() {
    let mut moved = pieces();
    moved.sections.insert(0, Piece { kind: 200, encoding: 0, bytes: vec![] });
    let padding = read(&moved.file()).unwrap_err();
    assert!(matches!(padding, FormatError::Padding { .. }), "{padding}");
}

#[test]
fn there_is_room_for_the_zeros() {
    // A section of under 128 bytes has a shorter entry in the table.
    let at = WEIGHT_AT - 1;
    for (len, offset, expected, found) in [(40, 8, 62, 32), (8 + 62, 8 + 62, 1, 0)] {
        let short = error(|bytes| *bytes = vec![0; len]);
        let place = Place { section: "fc.weight".into(), offset: at + offset };
        assert_eq!(short, FormatError::Truncated { place, expected, found });
    }
    let empty = error(|bytes| *bytes = vec![0; 8 + 63]);
    let place = Place { section: "fc.weight".into(), offset: at + 8 + 62 };
    let source = CodecError::Length { expected: 64, found: 0 };
    assert_eq!(empty, FormatError::Codec { place, source });
}

#[test]
fn versions_before_1_2_have_no_lists() {
    for (minor, sections_before) in [(1, 2), (0, 1)] {
        let mut pieces = pieces();
        pieces.version = [1, minor];
        if minor == 0 {
            pieces.sections[0].encoding = 0;
            pieces.sections.remove(1);
        }
        let version = Version { major: 1, minor };
        let place = Place { section: "toc".into(), offset: 36 + 7 * sections_before };
        let (kind, encoding) = (TERNARY, 5);
        let error = FormatError::Encoding { place, kind, encoding, version };
        assert_eq!(read(&pieces.file()), Err(error));
    }
}

#[test]
fn files_with_skipped_sections_are_verified() {
    let network = named();
    for len in 0..64 {
        let mut pieces = pieces();
        pieces.sections.insert(1, Piece { kind: 200, encoding: 0, bytes: vec![1; len] });
        put_lists(&mut pieces, WEIGHT + 1, ternary(&network, "fc.weight"));
        assert_eq!(verify(&pieces.file(), &Limits::default()), Ok(named()), "{len}");
    }
}

#[test]
fn lists_are_in_all_tensors_or_in_none() {
    let network = every_feature();
    let mut pieces = Pieces::of(&write(&network));
    let last = pieces.sections.iter().rposition(|section| section.kind == TERNARY).unwrap();
    put_lists(&mut pieces, last, ternary(&network, "neck.weight"));
    let file = pieces.file();
    assert_eq!(read(&file), Ok(network));
    let error = verify(&file, &Limits::default()).unwrap_err();
    let FormatError::OtherCodec { place, codec, best, found, expected } = error else {
        panic!("{error}")
    };
    assert_eq!(place.section, "body.conv.weight");
    assert_eq!((codec, best), (CodecId::Order0, CodecId::Lists));
    assert!(found < expected);
}

#[test]
fn tensors_with_too_many_weights_per_output_take_another_codec() {
    let mut g = GraphBuilder::new("t", Shape::new(65_537, 1, 1));
    let wide = Linear { in_features: 65_537, out_features: 1, bias: false };
    let x = g.push("wide", Op::Linear(wide), &[NodeId::INPUT]);
    let narrow = Linear { in_features: 1, out_features: 9, bias: false };
    g.push("narrow", Op::Linear(narrow), &[x]);
    let graph = g.finish().unwrap();
    let mut random = Random(5);
    let tensors = graph.params().into_iter().map(|param| {
        let weight = random.ternary(&param.shape, 200);
        (param.name, weight.into())
    });
    let network = Network::new(graph.clone(), tensors.collect()).unwrap();
    let file = write_with(&network, Effort::Ready);
    let encodings: Vec<_> =
        layout(&file).unwrap().tensors.iter().map(|tensor| tensor.encoding).collect();
    assert_eq!(encodings, [TensorEncoding::Ternary(CodecId::Order0), LISTS]);
    assert_eq!(verify(&file, &Limits::default()), Ok(network));
}
