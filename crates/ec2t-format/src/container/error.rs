//! What can be wrong with a file: one variant per fault.

use alloc::string::String;
use alloc::vec::Vec;
use core::fmt;

use super::header::Version;
use crate::codec::{CodecError, CodecId};
use crate::graph::GraphError;
use crate::network::NetworkError;
use crate::tensor::TensorError;

/// Where in a file a fault is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Place {
    /// `header`, `toc`, `graph`, `f32`, `f16`, `metadata`, `grids`, or the name of a tensor.
    pub section: String,
    /// Position in bytes from the start of the file.
    pub offset: usize,
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} at byte {}", self.section, self.offset)
    }
}

/// A file that is damaged, hostile, or from a later version.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum FormatError {
    /// The file does not start as an `.ec2t` file does.
    #[error(
        "header at byte 0: not an .ec2t file; it starts with {found:02x?}, expected {:02x?}",
        super::MAGIC
    )]
    Magic {
        /// The file's first bytes, eight at most.
        found: Vec<u8>,
    },
    /// The file's major version is not one that this reader knows.
    #[error("header at byte 8: version {found} is not supported, only {}.x is", Version::CURRENT.major)]
    Version {
        /// Version of the file.
        found: Version,
    },
    /// The file needs abilities that this reader does not have.
    #[error("header at byte 12: this reader does not know the required features {unknown:#x}")]
    Features {
        /// The required feature bits that are not known.
        unknown: u32,
    },
    /// The file is shorter or longer than its header says.
    #[error("file ends at byte {found}, expected {expected} bytes")]
    FileLength {
        /// Length by the header.
        expected: u64,
        /// Actual length.
        found: usize,
    },
    /// The table of contents is longer than any can be.
    #[error("header at byte 28: table of contents of {found} bytes, at most {limit} are allowed")]
    TocLength {
        /// Length by the header.
        found: u32,
        /// Largest length.
        limit: u32,
    },
    /// Bytes have changed since they were written.
    #[error("{place}: checksum is {found:#010x}, expected {expected:#010x}")]
    Checksum {
        /// The damaged part; the header stands for itself and the table.
        place: Place,
        /// Checksum by the file.
        expected: u32,
        /// Checksum of the bytes.
        found: u32,
    },
    /// A part ends in the middle of a value.
    #[error("{place}: {expected} more bytes expected, {found} left")]
    Truncated {
        /// Where the value starts.
        place: Place,
        /// Length of the value.
        expected: usize,
        /// Bytes that are left.
        found: usize,
    },
    /// A part goes on after its last value.
    #[error("{place}: {found} bytes after the last value")]
    Trailing {
        /// Where the part should end.
        place: Place,
        /// Bytes that are left.
        found: usize,
    },
    /// The sections of the table do not end where the file ends.
    #[error("{place}: a section of {length} bytes where {left} are left in the file")]
    SectionLength {
        /// The table's entry.
        place: Place,
        /// Length of the section.
        length: usize,
        /// Bytes between the section's start and the end of the file.
        left: usize,
    },
    /// The sections of the table end before the file does.
    #[error("bytes from {offset} on belong to no section, {found} in all")]
    Unclaimed {
        /// Where the last section ends.
        offset: usize,
        /// Bytes that are left.
        found: usize,
    },
    /// A section that must be understood is of an unknown kind.
    #[error("{place}: unknown section kind {kind} in a file of version {version}")]
    SectionKind {
        /// The table's entry.
        place: Place,
        /// The kind's number.
        kind: u8,
        /// Version of the file.
        version: Version,
    },
    /// A section of a known kind is encoded in an unknown way.
    #[error(
        "{place}: unknown encoding {encoding} of section kind {kind} in a file of version {version}"
    )]
    Encoding {
        /// The table's entry.
        place: Place,
        /// The kind's number.
        kind: u8,
        /// The encoding's number.
        encoding: u8,
        /// Version of the file.
        version: Version,
    },
    /// The sections are not graph, tensors, metadata, grids.
    #[error("{place}: expected {expected}, found section kind {found}")]
    SectionOrder {
        /// The section.
        place: Place,
        /// What belongs here.
        expected: &'static str,
        /// Number of the kind that is here.
        found: u8,
    },
    /// There is no graph or no metadata.
    #[error("the file has no {expected} section")]
    MissingSection {
        /// What is missing.
        expected: &'static str,
    },
    /// There are more or fewer tensors than the graph needs.
    #[error("the graph needs {expected} sections of tensors, the file has {found}")]
    TensorCount {
        /// Tensors that the graph names, less those of dense sections.
        expected: usize,
        /// Sections of single tensors in the file.
        found: usize,
    },
    /// A map of the tensors in a section names none, or more than there are.
    #[error("{place}: the map must name at least one of {tensors} tensors, and no others")]
    Map {
        /// The map.
        place: Place,
        /// Tensors that it can name.
        tensors: usize,
    },
    /// A byte that is there to align others is set.
    #[error("{place}: padding is {found:#04x}, expected zero")]
    Padding {
        /// Where the byte is.
        place: Place,
        /// The byte.
        found: u8,
    },
    /// A number is longer than necessary or exceeds 64 bits.
    #[error("{place}: number is not in its shortest form or exceeds 64 bits")]
    Varint {
        /// Where the number starts.
        place: Place,
    },
    /// A number exceeds its range.
    #[error("{place}: {what} is {found}, at most {limit} is allowed")]
    TooLarge {
        /// Where the number starts.
        place: Place,
        /// What it counts.
        what: &'static str,
        /// The number.
        found: u64,
        /// Largest value.
        limit: u64,
    },
    /// A number stands for nothing.
    #[error("{place}: {found} is no {what}")]
    Unknown {
        /// Where the number is.
        place: Place,
        /// What it should be.
        what: &'static str,
        /// The number.
        found: u8,
    },
    /// Text is not UTF-8.
    #[error("{place}: text is not UTF-8")]
    Text {
        /// Where the text starts.
        place: Place,
    },
    /// A layer's name shares more with the one before than that one has.
    #[error("{place}: the name shares {found} bytes with `{previous}`")]
    SharedName {
        /// Where the number of shared bytes is.
        place: Place,
        /// The name before.
        previous: String,
        /// Bytes to be shared.
        found: usize,
    },
    /// An edge leads to no earlier layer.
    #[error("{place}: layer {node} reads the one {distance} places before it")]
    Edge {
        /// Where the distance is.
        place: Place,
        /// Position of the layer.
        node: usize,
        /// How far back it reads.
        distance: usize,
    },
    /// Metadata keys are not in ascending order, or one appears twice.
    #[error("{place}: metadata key `{key}` is not in ascending order")]
    KeyOrder {
        /// Where the key is.
        place: Place,
        /// The key.
        key: String,
    },
    /// There is a section for grids, but there are none.
    #[error("{place}: a section of grids without any")]
    NoGrids {
        /// Where their number is.
        place: Place,
    },
    /// Layers of grids are not in ascending order, or one appears twice.
    #[error("{place}: the grid of layer {position} is not in ascending order")]
    GridOrder {
        /// Where the position is.
        place: Place,
        /// Position of the layer.
        position: usize,
    },
    /// A grid whose numbers have no distance.
    #[error("{place}: the grid of `{layer}` has scale {scale}, expected a finite one above zero")]
    GridScale {
        /// Where the scale is.
        place: Place,
        /// Name of the layer.
        layer: String,
        /// The scale.
        scale: f32,
    },
    /// A dense tensor has more or fewer bytes than its shape needs.
    #[error("{place}: {expected} bytes of values expected, found {found}")]
    TensorLength {
        /// The tensor.
        place: Place,
        /// Bytes that the shape needs.
        expected: usize,
        /// Bytes in the section.
        found: usize,
    },
    /// Codes of a ternary tensor are malformed.
    #[error("{place}: {source}")]
    Codec {
        /// Where the fault is.
        place: Place,
        /// The fault.
        source: CodecError,
    },
    /// A ternary tensor breaks its rules.
    #[error("{place}: {source}")]
    Tensor {
        /// The tensor.
        place: Place,
        /// The fault.
        source: TensorError,
    },
    /// What the file holds would take more memory than allowed.
    #[error("{place}: reading up to here takes {needed} bytes of memory, {limit} are allowed")]
    Budget {
        /// What is too much.
        place: Place,
        /// Bytes for all that comes up to it.
        needed: u64,
        /// [`Limits::max_decoded_bytes`](super::Limits::max_decoded_bytes).
        limit: u64,
    },
    /// The file could have been written in more than one way, and this is not
    /// the one that a writer takes.
    #[error("{place}: not in canonical form: expected {expected:02x?}, found {found:02x?}")]
    NotCanonical {
        /// The first byte that a writer would not have put there.
        place: Place,
        /// What a writer puts there, at most eight bytes.
        expected: Vec<u8>,
        /// What is there, at most eight bytes.
        found: Vec<u8>,
    },
    /// A writer would have taken another codec: a shorter one, or that of other
    /// tensors in the file. Only [`verify`](super::verify()) tries them all.
    #[error(
        "{place}: {found} bytes in codec {}, expected {expected} in codec {}",
        codec.name(),
        best.name()
    )]
    OtherCodec {
        /// The tensor.
        place: Place,
        /// Its codec.
        codec: CodecId,
        /// Length of the section.
        found: usize,
        /// The codec that a writer takes.
        best: CodecId,
        /// Length of the section in that one.
        expected: usize,
    },
    /// The graph breaks one of its rules.
    #[error("graph: {0}")]
    Graph(#[from] GraphError),
    /// The tensors do not fit the graph.
    #[error(transparent)]
    Network(#[from] NetworkError),
}

impl FormatError {
    /// Where the fault is, if it is at one place.
    pub fn place(&self) -> Option<&Place> {
        use FormatError as E;
        match self {
            E::Checksum { place, .. }
            | E::Truncated { place, .. }
            | E::Trailing { place, .. }
            | E::SectionLength { place, .. }
            | E::SectionKind { place, .. }
            | E::Encoding { place, .. }
            | E::SectionOrder { place, .. }
            | E::Map { place, .. }
            | E::Padding { place, .. }
            | E::Varint { place }
            | E::TooLarge { place, .. }
            | E::Unknown { place, .. }
            | E::Text { place }
            | E::SharedName { place, .. }
            | E::Edge { place, .. }
            | E::KeyOrder { place, .. }
            | E::NoGrids { place }
            | E::GridOrder { place, .. }
            | E::GridScale { place, .. }
            | E::TensorLength { place, .. }
            | E::Codec { place, .. }
            | E::Tensor { place, .. }
            | E::Budget { place, .. }
            | E::NotCanonical { place, .. }
            | E::OtherCodec { place, .. } => Some(place),
            E::Magic { .. }
            | E::Version { .. }
            | E::Features { .. }
            | E::FileLength { .. }
            | E::TocLength { .. }
            | E::Unclaimed { .. }
            | E::MissingSection { .. }
            | E::TensorCount { .. }
            | E::Graph(_)
            | E::Network(_) => None,
        }
    }
}
