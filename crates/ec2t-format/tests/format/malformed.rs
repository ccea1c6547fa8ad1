//! Every fault has its own error, which says where it is: in files of version
//! 1.0, whose every field has a fixed place. `packed` has what is new since.

use ec2t_format::codec::CodecError;
use ec2t_format::container::{Place, Version};
use ec2t_format::graph::GraphError;
use ec2t_format::network::NetworkError;
use ec2t_format::tensor::TensorError;
use ec2t_format::{FormatError, Limits, Network, layout, read, read_with, write};

use crate::networks::tiny;
use crate::pieces::{Piece, Pieces, put_varint, reseal};

/// Sections of [`tiny`] by their position.
const GRAPH: usize = 0;
const WEIGHT: usize = 1;
const BIAS: usize = 2;
const METADATA: usize = 3;
/// Length of header and table of [`tiny`]: each entry takes 7 bytes.
const BODY: usize = 36 + 4 * 7;

/// The graph section of [`tiny`], byte by byte.
fn graph_bytes() -> Vec<u8> {
    let mut bytes = b"\x01t\x04\x01\x01".to_vec();
    bytes.extend([0.0f32; 4].iter().flat_map(|mean| mean.to_le_bytes()));
    bytes.extend([1.0f32; 4].iter().flat_map(|std| std.to_le_bytes()));
    bytes.extend(b"\x00\x02");
    bytes.extend(b"\x00\x05input\x00");
    bytes.extend(b"\x00\x02fc\x02\x04\x02\x01\x01");
    bytes
}

/// Where the parts of [`graph_bytes`] are.
const MEAN: usize = 5;
const CLASS_COUNT: usize = 37;
const NODE_COUNT: usize = 38;
const INPUT_OP: usize = 46;
const FC_SHARED: usize = 47;
const FC_TEXT: usize = 49;
const FC_OP: usize = 51;
const FC_FLAGS: usize = 54;
const FC_EDGE: usize = 55;

/// [`tiny`] as version 1.0 wrote it.
fn pieces() -> Pieces {
    let centroids = [0.5f32, 0.75].iter().flat_map(|c| c.to_le_bytes());
    let bias = [0.5f32, 0.25].iter().flat_map(|b| b.to_le_bytes());
    let sections = vec![
        Piece { kind: 1, encoding: 0, bytes: graph_bytes() },
        Piece { kind: 3, encoding: 0, bytes: centroids.chain([0b1001_0000, 0]).collect() },
        Piece { kind: 2, encoding: 0, bytes: bias.collect() },
        Piece { kind: 4, encoding: 0, bytes: b"\x01\x01a\x01b".to_vec() },
    ];
    Pieces { version: [1, 0], required: 0, optional: 0, sections }
}

fn file() -> Vec<u8> {
    pieces().file()
}

const VERSION: Version = Version { major: 1, minor: 0 };

/// The error of [`tiny`] after a change to its pieces.
fn error(change: impl FnOnce(&mut Pieces)) -> FormatError {
    let mut pieces = pieces();
    change(&mut pieces);
    let file = pieces.file();
    read(&file).unwrap_err()
}

/// The error of [`tiny`] after a change to one section.
fn section_error(section: usize, change: impl FnOnce(&mut Vec<u8>)) -> FormatError {
    error(|pieces| change(&mut pieces.sections[section].bytes))
}

fn graph_error(change: impl FnOnce(&mut Vec<u8>)) -> FormatError {
    section_error(GRAPH, change)
}

/// A place in the graph of [`tiny`].
fn in_graph(offset: usize) -> Place {
    Place { section: "graph".into(), offset: BODY + offset }
}

fn place(section: &str, offset: usize) -> Place {
    Place { section: section.into(), offset }
}

fn offset_of(section: usize) -> usize {
    layout(&file()).unwrap().sections[section].offset
}

#[test]
fn files_of_version_1_0_are_read() {
    assert_eq!(read(&file()), Ok(tiny()));
    assert_eq!(offset_of(GRAPH), BODY);
    assert_eq!(layout(&file()).unwrap().version, VERSION);
}

#[test]
fn magic() {
    let found = b"PK\x03\x04 and".to_vec();
    assert_eq!(read(b"PK\x03\x04 and more"), Err(FormatError::Magic { found }));
    assert_eq!(read(b""), Err(FormatError::Magic { found: vec![] }));
    let mut text_mode = file();
    text_mode.remove(5);
    assert!(matches!(read(&text_mode), Err(FormatError::Magic { .. })));
}

#[test]
fn version() {
    let later = error(|pieces| pieces.version = [2, 7]);
    assert_eq!(later, FormatError::Version { found: Version { major: 2, minor: 7 } });
    let earlier = error(|pieces| pieces.version = [0, 9]);
    assert_eq!(earlier, FormatError::Version { found: Version { major: 0, minor: 9 } });
}

#[test]
fn minor_versions_and_optional_features_are_read() {
    let mut pieces = pieces();
    pieces.optional = u32::MAX;
    assert_eq!(read(&pieces.file()), Ok(tiny()));
    let mut later = Pieces::of(&write(&tiny()));
    later.version = [1, 9];
    later.optional = u32::MAX;
    assert_eq!(read(&later.file()), Ok(tiny()));
    assert_eq!(layout(&later.file()).unwrap().version.minor, 9);
}

#[test]
fn features() {
    let unknown = error(|pieces| pieces.required = 0b101);
    assert_eq!(unknown, FormatError::Features { unknown: 0b101 });
}

#[test]
fn file_length() {
    let mut file = file();
    let expected = file.len() as u64;
    file.push(0);
    let found = file.len();
    assert_eq!(read(&file), Err(FormatError::FileLength { expected, found }));
}

#[test]
fn toc_length() {
    let mut file = file();
    let found = (1u32 << 20) + 1;
    file[28..32].copy_from_slice(&found.to_le_bytes());
    assert_eq!(read(&file), Err(FormatError::TocLength { found, limit: 1 << 20 }));
}

#[test]
fn checksum() {
    let mut header = file();
    header[16] ^= 1;
    let error = read(&header).unwrap_err();
    assert!(matches!(error, FormatError::Checksum { place, .. } if place.section == "header"));

    let mut weight = file();
    weight[offset_of(WEIGHT)] ^= 1;
    let error = read(&weight).unwrap_err();
    let FormatError::Checksum { place: found, .. } = error else { panic!("{error}") };
    assert_eq!(found, place("fc.weight", offset_of(WEIGHT)));
}

#[test]
fn truncated() {
    let header = read(&file()[..21]);
    let (expected, found) = (8, 1);
    assert_eq!(header, Err(FormatError::Truncated { place: place("header", 20), expected, found }));

    let graph = graph_error(|bytes| bytes.truncate(MEAN + 3));
    let (expected, found) = (16, 3);
    assert_eq!(graph, FormatError::Truncated { place: in_graph(MEAN), expected, found });
}

#[test]
fn trailing() {
    let graph = graph_error(|bytes| bytes.push(0));
    let end = in_graph(graph_bytes().len());
    assert_eq!(graph, FormatError::Trailing { place: end, found: 1 });
    let metadata = section_error(METADATA, |bytes| bytes.extend([0, 0]));
    assert!(matches!(metadata, FormatError::Trailing { found: 2, .. }));
}

#[test]
fn section_length() {
    let mut file = file();
    let (entry, length) = (36 + 3 * 7, 6);
    file[entry + 2] = length;
    reseal(&mut file);
    let (length, left) = (length.into(), 5);
    let expected = FormatError::SectionLength { place: place("toc", entry), length, left };
    assert_eq!(read(&file), Err(expected));
}

#[test]
fn unclaimed() {
    let mut file = file();
    file[36 + 3 * 7 + 2] = 3;
    reseal(&mut file);
    let offset = file.len() - 2;
    assert_eq!(read(&file), Err(FormatError::Unclaimed { offset, found: 2 }));
}

#[test]
fn section_kind() {
    for kind in [0, 5, 127] {
        let unknown = error(|pieces| pieces.sections[WEIGHT].kind = kind);
        let (place, version) = (place("toc", 43), VERSION);
        assert_eq!(unknown, FormatError::SectionKind { place, kind, version });
    }
}

#[test]
fn unknown_optional_sections_are_skipped() {
    let mut pieces = pieces();
    let extra = Piece { kind: 128, encoding: 9, bytes: b"later".to_vec() };
    pieces.sections.insert(2, extra.clone());
    pieces.sections.push(extra);
    let file = pieces.file();
    assert_eq!(read(&file), Ok(tiny()));
    let layout = layout(&file).unwrap();
    let names: Vec<&str> = layout.sections.iter().map(|section| section.name.as_str()).collect();
    assert_eq!(names, ["graph", "fc.weight", "skipped", "fc.bias", "metadata", "skipped"]);
    assert_eq!(layout.file_len(), file.len());
}

#[test]
fn encoding() {
    for (section, kind, encoding) in
        [(GRAPH, 1, 1), (WEIGHT, 3, 7), (BIAS, 2, 2), (METADATA, 4, 255)]
    {
        let unknown = error(|pieces| pieces.sections[section].encoding = encoding);
        let place = place("toc", 36 + 7 * section);
        assert_eq!(unknown, FormatError::Encoding { place, kind, encoding, version: VERSION });
    }
}

#[test]
fn section_order() {
    let swapped = error(|pieces| pieces.sections.swap(GRAPH, METADATA));
    let expected = "graph";
    assert_eq!(
        swapped,
        FormatError::SectionOrder { place: place("file", BODY), expected, found: 4 }
    );
    let behind = error(|pieces| pieces.sections.swap(BIAS, METADATA));
    assert!(matches!(behind, FormatError::SectionOrder { expected: "metadata", found: 2, .. }));
    let twice = error(|pieces| pieces.sections[BIAS] = pieces.sections[METADATA].clone());
    assert!(matches!(twice, FormatError::SectionOrder { expected: "tensor", found: 4, .. }));
}

#[test]
fn missing_section() {
    let empty = error(|pieces| pieces.sections.clear());
    assert_eq!(empty, FormatError::MissingSection { expected: "graph" });
    let graph = error(|pieces| pieces.sections.truncate(1));
    assert_eq!(graph, FormatError::MissingSection { expected: "metadata" });
}

#[test]
fn tensor_count() {
    let fewer = error(|pieces| drop(pieces.sections.remove(BIAS)));
    assert_eq!(fewer, FormatError::TensorCount { expected: 2, found: 1 });
}

#[test]
fn varint() {
    let long = graph_error(|bytes| drop(bytes.splice(CLASS_COUNT..=CLASS_COUNT, [0x80, 0])));
    assert_eq!(long, FormatError::Varint { place: in_graph(CLASS_COUNT) });
}

#[test]
fn too_large() {
    let mut count = Vec::new();
    put_varint(&mut count, 16_385);
    let nodes = graph_error(|bytes| drop(bytes.splice(NODE_COUNT..=NODE_COUNT, count)));
    let (what, found, limit) = ("number of layers", 16_385, 16_384);
    let place = in_graph(NODE_COUNT);
    assert_eq!(nodes, FormatError::TooLarge { place, what, found, limit });
}

#[test]
fn unknown() {
    let op = graph_error(|bytes| bytes[FC_OP] = 13);
    let (what, found) = ("operation", 13);
    assert_eq!(op, FormatError::Unknown { place: in_graph(FC_OP), what, found });
    let flags = graph_error(|bytes| bytes[FC_FLAGS] = 3);
    let (what, found) = ("set of flags", 3);
    assert_eq!(flags, FormatError::Unknown { place: in_graph(FC_FLAGS), what, found });
}

#[test]
fn text() {
    let name = graph_error(|bytes| bytes[FC_TEXT] = 0xff);
    assert_eq!(name, FormatError::Text { place: in_graph(FC_TEXT) });
}

#[test]
fn shared_name() {
    let shared = graph_error(|bytes| bytes[FC_SHARED] = 6);
    let (place, previous) = (in_graph(FC_SHARED), "input".into());
    assert_eq!(shared, FormatError::SharedName { place, previous, found: 6 });
}

#[test]
fn edge() {
    for distance in [0, 2] {
        let edge = graph_error(|bytes| bytes[FC_EDGE] = distance);
        let (place, distance) = (in_graph(FC_EDGE), distance.into());
        assert_eq!(edge, FormatError::Edge { place, node: 1, distance });
    }
}

#[test]
fn key_order() {
    let twice = section_error(METADATA, |bytes| *bytes = b"\x02\x01a\x00\x01a\x00".to_vec());
    let place = place("metadata", offset_of(METADATA) + 4);
    assert_eq!(twice, FormatError::KeyOrder { place, key: "a".into() });
}

#[test]
fn tensor_length() {
    let bias = section_error(BIAS, |bytes| bytes.truncate(7));
    let (expected, found) = (8, 7);
    let place = place("fc.bias", offset_of(BIAS));
    assert_eq!(bias, FormatError::TensorLength { place, expected, found });
}

#[test]
fn codec() {
    let code = section_error(WEIGHT, |bytes| bytes[9] = 0b1100);
    let source = CodecError::InvalidCode { offset: 1, found: 0b1100 };
    let place = place("fc.weight", offset_of(WEIGHT) + 9);
    assert_eq!(code, FormatError::Codec { place, source });
}

#[test]
fn tensor() {
    let centroid = section_error(WEIGHT, |bytes| bytes[..4].copy_from_slice(&[0, 0, 0, 0xbf]));
    let place = place("fc.weight", offset_of(WEIGHT));
    let source = TensorError::Centroid { value: -0.5 };
    assert_eq!(centroid, FormatError::Tensor { place, source });
}

/// What is too much for each limit, from none at all to what the file needs.
#[test]
fn budget() {
    let file = file();
    let read = |max_decoded_bytes| read_with(&file, &Limits { max_decoded_bytes });
    let mut parts = Vec::new();
    let mut limit = 0;
    while let Err(error) = read(limit) {
        let FormatError::Budget { place, needed, limit: found } = error else { panic!("{error}") };
        assert_eq!(found, limit);
        assert!(needed > limit, "{place}: {needed}");
        parts.push(place.section);
        limit = needed;
    }
    assert_eq!(read(limit), Ok(tiny()));
    parts.dedup();
    assert_eq!(parts, ["toc", "graph", "metadata", "fc.weight", "fc.bias"]);
    let (place, needed) = (place("fc.bias", offset_of(BIAS)), limit);
    let limit = limit - 1;
    assert_eq!(read(limit), Err(FormatError::Budget { place, needed, limit }));
}

#[test]
fn graph() {
    let second_input = graph_error(|bytes| {
        bytes.truncate(FC_OP);
        bytes.push(0);
    });
    let source = GraphError::MisplacedInput("fc".into());
    assert_eq!(second_input, FormatError::Graph(source));
    let first_op = graph_error(|bytes| bytes[INPUT_OP] = 12);
    assert!(matches!(first_op, FormatError::Edge { node: 0, .. }));
}

#[test]
fn network() {
    let ternary_bias = error(|pieces| {
        let mut bytes = pieces.sections[WEIGHT].bytes.clone();
        bytes.truncate(9);
        bytes[8] = 0;
        pieces.sections[BIAS] = Piece { kind: 3, encoding: 0, bytes };
    });
    let source = NetworkError::TernarySide("fc.bias".into());
    assert_eq!(ternary_bias, FormatError::Network(source));
}

/// A file of under 200 bytes that asks for 8 GiB.
#[test]
fn no_claim_is_believed() {
    let claims: Result<Network, FormatError> = {
        let mut pieces = pieces();
        let graph = &mut pieces.sections[GRAPH].bytes;
        let mut channels = Vec::new();
        put_varint(&mut channels, 1 << 31);
        graph.splice(2..3, channels);
        read(&pieces.file())
    };
    let Err(FormatError::Budget { place, needed, .. }) = claims else { panic!("{claims:?}") };
    assert_eq!(place, in_graph(MEAN + 4));
    assert!(needed > 1 << 33);
}
