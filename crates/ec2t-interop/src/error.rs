//! Every way in which a checkpoint can be malformed or not fit.

use std::io;
use std::path::PathBuf;

use ec2t_format::network::NetworkError;
use ec2t_format::tensor::TensorError;

use crate::keymap::MatchReport;
use crate::onnx::OnnxError;

/// A checkpoint file that cannot be imported.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum InteropError {
    /// The file cannot be read at all.
    #[error("{}: {source}", path.display())]
    Io {
        /// The file.
        path: PathBuf,
        /// What the system says.
        source: io::Error,
    },
    /// The file is no well-formed checkpoint.
    #[error("{}: {source}", path.display())]
    Checkpoint {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        source: Box<CheckpointError>,
    },
    /// The file is no ONNX model that can be a network.
    #[error("{}: {source}", path.display())]
    Onnx {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        source: Box<OnnxError>,
    },
    /// The tensors are not exactly those that the graph names.
    #[error("{}: does not fit `{graph}`: {report}", path.display())]
    Mismatch {
        /// The file.
        path: PathBuf,
        /// Name of the architecture.
        graph: String,
        /// Every name that does not fit.
        report: Box<MatchReport>,
    },
    /// The graph itself is malformed.
    #[error(transparent)]
    Network(#[from] NetworkError),
}

/// Bytes that are no well-formed checkpoint.
///
/// Offsets count bytes from the start of the file or, in a zip archive, of its
/// member `data.pkl`.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum CheckpointError {
    /// The first bytes are those of no known form.
    #[error("neither a PyTorch checkpoint nor a safetensors file; it starts with {start:02x?}")]
    UnknownFormat {
        /// The first bytes.
        start: Vec<u8>,
    },
    /// The file ends too early.
    #[error("truncated at offset {offset}: {needed} bytes needed, {left} left")]
    Truncated {
        /// Where the bytes should start.
        offset: usize,
        /// How many should follow.
        needed: usize,
        /// How many do.
        left: usize,
    },
    /// Bytes follow where the file should end.
    #[error("{count} unexpected bytes at offset {offset}, where the file should end")]
    TrailingBytes {
        /// Where the file should end.
        offset: usize,
        /// Number of bytes that follow.
        count: usize,
    },
    /// A pickle instruction that is not needed for data.
    #[error("refused pickle opcode {opcode} at offset {offset}")]
    Opcode {
        /// Where it is.
        offset: usize,
        /// Its name in Python's `pickletools`.
        opcode: String,
    },
    /// A pickle names a class or function that is not on the short list.
    #[error("refused global `{name}` at offset {offset}; only tensors and plain data are read")]
    Global {
        /// Where it is named.
        offset: usize,
        /// Module and name.
        name: String,
    },
    /// A pickle instruction finds other operands than it needs.
    #[error("pickle at offset {offset}: expected {expected}, found {found}")]
    Operand {
        /// Where the instruction is.
        offset: usize,
        /// What it needs.
        expected: &'static str,
        /// What it finds.
        found: &'static str,
    },
    /// A pickle recalls a value that it has not stored.
    #[error("pickle at offset {offset}: nothing was stored as number {index}")]
    Memo {
        /// Where the instruction is.
        offset: usize,
        /// The number recalled.
        index: u32,
    },
    /// Text that is not UTF-8, or a name without an end.
    #[error("malformed text at offset {offset}")]
    Text {
        /// Where the text starts.
        offset: usize,
    },
    /// An integer of more than 64 bits.
    #[error("integer of {bytes} bytes at offset {offset}")]
    Integer {
        /// Where the integer starts.
        offset: usize,
        /// Its length.
        bytes: usize,
    },
    /// The header of a legacy checkpoint is not as expected.
    #[error("legacy header: expected {expected}")]
    Header {
        /// What should be there.
        expected: &'static str,
    },
    /// More of something than any real checkpoint has.
    #[error("more than {limit} {what}")]
    TooLarge {
        /// What there is too much of.
        what: &'static str,
        /// The limit.
        limit: usize,
    },
    /// One storage is described in two ways.
    #[error("storage `{key}` is described in two ways")]
    StorageConflict {
        /// Key of the storage.
        key: String,
    },
    /// The bytes of a storage are not in the file.
    #[error("storage `{key}` is not in the file")]
    StorageMissing {
        /// Key of the storage.
        key: String,
    },
    /// The file has bytes for a storage that no tensor describes.
    #[error("storage `{key}` is not described by any tensor")]
    StorageUnknown {
        /// Key of the storage.
        key: String,
    },
    /// A storage is shorter or longer than its description.
    #[error("storage `{key}`: expected {expected}, found {found}")]
    StorageSize {
        /// Key of the storage.
        key: String,
        /// Size as described.
        expected: u64,
        /// Size as found, in the same unit.
        found: u64,
    },
    /// A tensor reaches past the end of its storage.
    #[error(
        "tensor `{name}`: offset {offset}, shape {shape:?} and strides {strides:?} \
         do not fit a storage of {values} values"
    )]
    View {
        /// Name of the tensor.
        name: String,
        /// First value.
        offset: usize,
        /// Length of each dimension.
        shape: Vec<usize>,
        /// Distance between neighbours in each dimension.
        strides: Vec<usize>,
        /// Length of the storage.
        values: usize,
    },
    /// A tensor has another number of values than its shape says.
    #[error(transparent)]
    Tensor(#[from] TensorError),
    /// The outermost object is not a dictionary.
    #[error("expected a dictionary of tensors, found {found}")]
    NotADict {
        /// What it is.
        found: &'static str,
    },
    /// A key of the dictionary is not text, or too long for a name.
    #[error("expected names of at most 1024 bytes as keys of the dictionary, found {found}")]
    NotAName {
        /// What it is.
        found: &'static str,
    },
    /// An entry of the dictionary is not a tensor.
    #[error("`{name}`: expected a tensor, found {found}")]
    NotATensor {
        /// Key of the entry.
        name: String,
        /// What it is.
        found: &'static str,
    },
    /// The zip archive is malformed or misses a member.
    #[error("zip archive, `{member}`: {source}")]
    Archive {
        /// The member that was wanted.
        member: String,
        /// What is wrong.
        source: zip::result::ZipError,
    },
    /// The byte order is neither `little` nor `big`.
    #[error("unknown byte order `{found}`")]
    ByteOrder {
        /// The order given.
        found: String,
    },
    /// The safetensors file is malformed.
    #[error("safetensors: {0}")]
    Safetensors(#[from] ::safetensors::SafeTensorError),
    /// A safetensors file has values of a kind that no network uses.
    #[error("tensor `{name}`: values of type {dtype} are not supported")]
    DType {
        /// Name of the tensor.
        name: String,
        /// Type of the values.
        dtype: String,
    },
    /// Codes of ternary weights that contradict what belongs to them.
    #[error("codes of `{name}`: {reason}")]
    Codes {
        /// Name of the weights.
        name: String,
        /// What is wrong.
        reason: String,
    },
    /// The description of the layers is not what we write.
    #[error("metadata `ec2t`: {0}")]
    Description(String),
}
