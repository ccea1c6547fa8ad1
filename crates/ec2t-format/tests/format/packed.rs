//! What is new since version 1.0: the packed graph, sections of all dense
//! tensors, and the insistence on the canonical form.

use ec2t_format::container::{Place, Version};
use ec2t_format::graph::{Conv2d, Graph, GraphBuilder, GraphError, Padding, Shape};
use ec2t_format::tensor::TensorError;
use ec2t_format::{
    CodecId, FormatError, Limits, Network, Op, Storage, Tensor, layout, read, verify, write,
};

use crate::networks::{Random, every_feature, tiny};
use crate::pieces::{Piece, Pieces};

/// Sections of [`tiny`] by their position.
const GRAPH: usize = 0;
const DENSE: usize = 1;
const WEIGHT: usize = 2;
const METADATA: usize = 3;
const BODY: usize = 36 + 4 * 7;

const VERSION: Version = Version { major: 1, minor: 2 };

/// The start of the graph section of [`tiny`].
fn head() -> Vec<u8> {
    let mut bytes = b"\x01t\x04\x01\x01".to_vec();
    bytes.extend([0.0f32; 4].iter().flat_map(|mean| mean.to_le_bytes()));
    bytes.extend([1.0f32; 4].iter().flat_map(|std| std.to_le_bytes()));
    bytes.extend(b"\x00\x02");
    bytes
}

/// Length of [`head`].
const LAYERS: usize = 39;

fn with_layers(layers: &[u8]) -> Vec<u8> {
    [head().as_slice(), layers].concat()
}

/// The input as predicted; then a linear layer with its name and 2 outputs.
const TINY: &[u8] = b"\x00\xa2\x02fc\x01\x02";

fn pieces() -> Pieces {
    Pieces::of(&write(&tiny()))
}

/// The error of [`tiny`] after a change to its pieces.
fn error(change: impl FnOnce(&mut Pieces)) -> FormatError {
    let mut pieces = pieces();
    change(&mut pieces);
    read(&pieces.file()).unwrap_err()
}

/// The error of [`tiny`] with other layers.
fn layers_error(layers: &[u8]) -> FormatError {
    error(|pieces| pieces.sections[GRAPH].bytes = with_layers(layers))
}

/// A place in the layers of [`tiny`].
fn in_layers(offset: usize) -> Place {
    place("graph", BODY + LAYERS + offset)
}

fn place(section: &str, offset: usize) -> Place {
    Place { section: section.into(), offset }
}

fn offset_of(section: usize) -> usize {
    layout(&write(&tiny())).unwrap().sections[section].offset
}

#[test]
fn the_bytes_are_as_documented() {
    let pieces = pieces();
    assert_eq!(pieces.version, [1, 2]);
    assert_eq!((pieces.required, pieces.optional), (0, 0));
    let centroids = [0.5f32, 0.75].iter().flat_map(|c| c.to_le_bytes());
    let bias = [0.5f32, 0.25].iter().flat_map(|b| b.to_le_bytes());
    let expected = [
        Piece { kind: 1, encoding: 1, bytes: with_layers(TINY) },
        Piece { kind: 5, encoding: 0, bytes: [0b10].into_iter().chain(bias).collect() },
        Piece { kind: 3, encoding: 0, bytes: centroids.chain([0b1001_0000, 0]).collect() },
        Piece { kind: 4, encoding: 0, bytes: b"\x01\x01a\x01b".to_vec() },
    ];
    assert_eq!(pieces.sections, expected);
    assert_eq!(offset_of(GRAPH), BODY);
}

/// The page's example: each line is an offset, bytes and what they are.
#[test]
fn the_example_of_the_page_is_the_file() {
    let page = include_str!("../../../../docs/format.md");
    let (_, example) = page.rsplit_once("```text").unwrap();
    let mut bytes = Vec::new();
    for line in example.lines() {
        let mut words = line.split_whitespace();
        let Some(Ok(offset)) = words.next().map(|word| usize::from_str_radix(word, 16)) else {
            continue;
        };
        assert_eq!(offset, bytes.len(), "{line}");
        let byte = |word: &str| u8::from_str_radix(word, 16).ok().filter(|_| word.len() == 2);
        bytes.extend(words.map_while(byte));
    }
    assert_eq!(bytes, write(&tiny()));
}

/// Layers of a graph without its name, its shapes and its labels.
fn layers_of(graph: Graph) -> Vec<u8> {
    let mut random = Random(1);
    let tensors = graph.params().into_iter().map(|param| {
        let tensor = random.dense(&param.shape, Storage::F16);
        (param.name, tensor.into())
    });
    let channels = graph.input.channels;
    let (name, count) = (graph.name.len(), graph.nodes.len());
    assert!(count < 128 && graph.classes.is_empty());
    let network = Network::new(graph.clone(), tensors.collect()).unwrap();
    let mut pieces = Pieces::of(&write(&network));
    let start = 1 + name + 3 + 8 * channels + 2;
    pieces.sections[GRAPH].bytes.split_off(start)
}

#[test]
fn a_block_that_repeats_takes_a_byte_per_layer() {
    let mut g = GraphBuilder::new("t", Shape::new(8, 9, 9));
    let mut x = g.input();
    for block in ["a.0", "a.1", "a.2"] {
        let name = |layer: &str| format!("{block}.{layer}");
        let y = g.conv(&name("conv1"), x, 8, 3, 1);
        let y = g.batch_norm(&name("bn1"), y);
        let y = g.relu(&name("relu1"), y);
        let y = g.conv(&name("conv2"), y, 8, 3, 1);
        let y = g.add(&name("sum"), y, x);
        x = g.relu(&name("relu2"), y);
    }
    let first = b"\x00\
        \xb1\x00\x04a.0.\x05conv1\x40\x00\
        \x23\x03bn1\
        \x24\x05relu1\
        \xa1\x05conv2\x40\x00\
        \x65\x03sum\x01\x05\
        \x24\x05relu2";
    // Nothing has followed `relu2` yet.
    let second = b"\xb1\x02\x021.\x05conv1\x40\x00\x03\x04\x01\x05\x04";
    let third = b"\x11\x02\x022.\x03\x04\x01\x05\x04";
    let expected = [first.as_slice(), second, third].concat();
    assert_eq!(layers_of(g.finish().unwrap()), expected);
}

#[test]
fn channels_and_groups_follow_the_input() {
    let conv = |inputs, outputs, groups| {
        Op::Conv2d(Conv2d {
            in_channels: inputs,
            out_channels: outputs,
            kernel: [3; 2],
            stride: [1; 2],
            padding: Padding::all(1),
            dilation: [1; 2],
            groups,
            bias: true,
            scale: false,
        })
    };
    let mut g = GraphBuilder::new("t", Shape::new(2, 4, 4));
    let mut x = g.input();
    for (name, op) in
        [("a", conv(2, 6, 1)), ("b", conv(6, 6, 6)), ("a.a", conv(6, 8, 1)), ("a.b", conv(8, 8, 8))]
    {
        x = g.push(name, op, &[x]);
    }
    let expected = b"\x00\xa1\x01a\x01\x06\xa1\x01b\x20\x06\xb1\x00\x02a.\x01a\x01\x08\x01";
    assert_eq!(layers_of(g.finish().unwrap()), expected);
}

#[test]
fn encodings_belong_to_their_version() {
    let graph = error(|pieces| pieces.sections[GRAPH].encoding = 0);
    let (kind, encoding, version) = (1, 0, VERSION);
    let place = place("toc", 36);
    assert_eq!(graph, FormatError::Encoding { place: place.clone(), kind, encoding, version });
    let (encoding, version) = (1, Version { major: 1, minor: 0 });
    let graph = error(|pieces| pieces.version = [1, 0]);
    assert_eq!(graph, FormatError::Encoding { place, kind, encoding, version });

    let bias = error(|pieces| pieces.sections[DENSE].kind = 2);
    assert!(matches!(bias, FormatError::SectionKind { kind: 2, version: VERSION, .. }), "{bias}");
    let dense = error(|pieces| pieces.sections[DENSE].encoding = 2);
    assert!(matches!(dense, FormatError::Encoding { kind: 5, encoding: 2, .. }), "{dense}");
}

#[test]
fn an_unknown_operation_is_refused() {
    for found in [13, 15] {
        let unknown = layers_error(&[0x00, 0xa0 | found, 2, b'f', b'c', 1, 2]);
        let what = "operation";
        assert_eq!(unknown, FormatError::Unknown { place: in_layers(1), what, found });
    }
}

#[test]
fn layers_must_fit_where_they_are_read() {
    let edge = layers_error(b"\x00\xe2\x02fc\x02\x01\x02");
    assert_eq!(edge, FormatError::Edge { place: in_layers(5), node: 1, distance: 2 });
    let two_inputs = layers_error(b"\x00\x00");
    assert_eq!(two_inputs, GraphError::MisplacedInput("input".into()).into());
    let first = layers_error(b"\xa2\x02fc\x01\x02\x00");
    assert!(matches!(first, FormatError::Graph(GraphError::Shape(_))), "{first}");
}

/// All that says the same as [`TINY`] with more bytes.
#[test]
fn what_is_as_predicted_is_not_stored() {
    let longer: [(&[u8], usize); 6] = [
        (b"\x20\x05input\xa2\x02fc\x01\x02", 0),
        (b"\x10\x00\x00\xa2\x02fc\x01\x02", 0),
        (b"\x00\xe2\x02fc\x01\x01\x02", 1),
        (b"\x00\xa2\x02fc\x03\x02\x01", 5),
        (b"\x00\xa2\x02fc\x81\x02", 5),
        (b"\x80\x00\xa2\x02fc\x01\x02", 0),
    ];
    for (layers, at) in longer {
        let error = layers_error(layers);
        let shown = |bytes: &[u8]| bytes[at..bytes.len().min(at + 8)].to_vec();
        let (expected, found) = (shown(TINY), shown(layers));
        assert_eq!(error, FormatError::NotCanonical { place: in_layers(at), expected, found });
    }
}

#[test]
fn a_name_may_not_hide_its_dot() {
    let hidden = layers_error(b"\x00\xa2\x04a.fc\x01\x02");
    assert!(matches!(hidden, FormatError::NotCanonical { .. }), "{hidden}");
}

#[test]
fn dense_sections_come_in_order_and_once() {
    let mut pieces = Pieces::of(&write(&every_feature()));
    let kinds: Vec<_> = pieces.sections.iter().map(|s| (s.kind, s.encoding)).collect();
    assert_eq!(kinds[..4], [(1, 1), (5, 0), (5, 1), (3, 6)]);
    pieces.sections.swap(1, 2);
    let swapped = read(&pieces.file()).unwrap_err();
    assert!(matches!(swapped, FormatError::Map { tensors: 18, .. }), "{swapped}");

    let twice = error(|pieces| pieces.sections[WEIGHT] = pieces.sections[DENSE].clone());
    let (place, expected, found) = (place("file", offset_of(WEIGHT)), "tensor", 5);
    assert_eq!(twice, FormatError::SectionOrder { place, expected, found });
    let none = error(|pieces| drop(pieces.sections.remove(DENSE)));
    assert_eq!(none, FormatError::TensorCount { expected: 2, found: 1 });
}

#[test]
fn a_map_names_tensors_that_are_there() {
    let map = |map: u8, values: usize| {
        error(|pieces| {
            pieces.sections[DENSE].bytes = vec![0; 1 + values];
            pieces.sections[DENSE].bytes[0] = map;
        })
    };
    let refused = FormatError::Map { place: place("f32", offset_of(DENSE)), tensors: 2 };
    assert_eq!(map(0b000, 0), refused);
    assert_eq!(map(0b110, 8), refused);
    let after = place("f32", offset_of(DENSE) + 9);
    assert_eq!(map(0b010, 9), FormatError::Trailing { place: after, found: 1 });
    let start = place("f32", offset_of(DENSE) + 1);
    let (expected, found) = (8, 7);
    assert_eq!(map(0b010, 7), FormatError::Truncated { place: start, expected, found });
}

/// A file whose weights are dense, too, has sections for nothing but floats.
#[test]
fn networks_of_floats_have_no_sections_of_single_tensors() {
    let (graph, tensors, _) = tiny().into_parts();
    let mut random = Random(3);
    let dense = |(name, tensor): (String, Tensor)| {
        let storage = if name == "fc.bias" { Storage::F16 } else { Storage::F32 };
        (name, random.dense(tensor.shape(), storage).into())
    };
    let network = Network::new(graph, tensors.into_iter().map(dense).collect()).unwrap();
    let file = write(&network);
    let names: Vec<_> =
        layout(&file).unwrap().sections.into_iter().map(|section| section.name).collect();
    assert_eq!(names, ["graph", "f32", "f16", "metadata"]);
    let pieces = Pieces::of(&file);
    assert_eq!([1, 2].map(|section: usize| pieces.sections[section].bytes[0]), [0b01, 0b1]);
    assert_eq!(read(&file), Ok(network));
}

#[test]
fn signalling_nans_are_refused_and_others_kept() {
    let bias = |bits: u32| {
        let mut pieces = pieces();
        pieces.sections[DENSE].bytes[5..9].copy_from_slice(&bits.to_le_bytes());
        pieces.file()
    };
    let (place, source) =
        (place("fc.bias", offset_of(DENSE) + 1), TensorError::SignallingNan { position: 1 });
    let refused = Err(FormatError::Tensor { place, source });
    assert_eq!(read(&bias(0x7f80_0001)), refused);
    assert_eq!(read(&bias(0xffbf_ffff)), refused);
    for kept in [0x7fc0_0000, 0xffc1_2345, 0x7f80_0000] {
        assert!(write(&read(&bias(kept)).unwrap()) == bias(kept), "{kept:#x}");
    }
}

#[test]
fn half_precision_keeps_every_value_but_signalling_nans() {
    let mut pieces = pieces();
    for half in 0..=u16::MAX {
        let values = [half.to_le_bytes(), [0, 0]].concat();
        pieces.sections[DENSE] =
            Piece { kind: 5, encoding: 1, bytes: [[0b10].as_slice(), &values].concat() };
        let file = pieces.file();
        let signals = half & 0x7c00 == 0x7c00 && half & 0x03ff != 0 && half & 0x0200 == 0;
        match read(&file) {
            Ok(network) => assert!(!signals && write(&network) == file, "{half:#x}"),
            Err(error) => {
                let source = TensorError::SignallingNan { position: 0 };
                let place = place("fc.bias", offset_of(DENSE) + 1);
                assert!(signals, "{half:#x}");
                assert_eq!(error, FormatError::Tensor { place, source });
            }
        }
    }
}

#[test]
fn only_verifying_minds_another_codec() {
    let mut pieces = pieces();
    let centroids = pieces.sections[WEIGHT].bytes[..8].to_vec();
    let mask_and_signs = [centroids, vec![0b1100, 0b10]].concat();
    pieces.sections[WEIGHT] = Piece { kind: 3, encoding: 2, bytes: mask_and_signs };
    let file = pieces.file();
    assert_eq!(read(&file), Ok(tiny()));
    let (place, codec, best) =
        (place("fc.weight", offset_of(WEIGHT)), CodecId::MaskSign, CodecId::TwoBit);
    let (expected, found) = (10, 10);
    let error = FormatError::OtherCodec { place, codec, found, best, expected };
    assert_eq!(verify(&file, &Limits::default()), Err(error));
}

#[test]
fn good_files_are_verified_whatever_they_hold_besides() {
    let limits = Limits::default();
    let mut pieces = Pieces::of(&write(&every_feature()));
    assert_eq!(verify(&pieces.file(), &limits), Ok(every_feature()));
    pieces.sections.insert(2, Piece { kind: 200, encoding: 1, bytes: b"later".to_vec() });
    pieces.version = [1, 3];
    assert_eq!(verify(&pieces.file(), &limits), Ok(every_feature()));
    let old = include_bytes!("../golden/v1.ec2t");
    assert_eq!(verify(old, &limits), Ok(every_feature()));
}

#[test]
fn metadata_stays_last() {
    let behind = error(|pieces| pieces.sections.swap(WEIGHT, METADATA));
    assert!(matches!(behind, FormatError::SectionOrder { expected: "metadata", .. }), "{behind}");
}
