//! An ONNX model becomes a network.
//!
//! Constants are computed first (`fold`), then the nodes that the output depends on become
//! layers, in their order (`layers`). Some layers are several nodes there: a layer takes
//! those behind it along where nobody else reads what lies between.
//!
//! | nodes | layer |
//! |---|---|
//! | `Conv`, then `Mul` and `Add` of a constant per channel | convolution with scale and bias |
//! | `Gemm`, `MatMul`, then `Add` of a constant | linear |
//! | `BatchNormalization`; `Add`, `Sub`, `Mul`, `Div` with a constant | batch normalisation |
//! | `Relu`, `Clip`, `Sigmoid`, `HardSwish`, `Swish` | activation |
//! | `Sigmoid` or `HardSigmoid`, then `Mul` with what they read | swish, hard swish |
//! | `HardSigmoid` | batch normalisation, ReLU6, batch normalisation |
//! | `Sub` and `Div` of the input | preprocessing |
//! | `Pad` of zeros around maps | padding of the convolution behind it |
//! | `MaxPool` of single pixels or `Slice` with a step, then `Pad` of channels | option-A shortcut |
//! | `GlobalAveragePool`, `ReduceMean` over rows and columns | global average pool |
//! | `GlobalMaxPool` | max pool of one window |
//! | `Flatten`, `Reshape` to vectors, also with a length from `Shape` | flatten |
//! | `Identity`, `Dropout`, `Squeeze`, `Unsqueeze` | nothing |
//! | `Softmax`, `LogSoftmax` at the end | nothing, which is noted |

mod activations;
mod affine;
mod constant;
#[cfg(test)]
mod edits;
mod external;
mod fold;
mod layers;
mod lengths;
mod pools;
mod reader;
mod rearrange;
mod settings;
mod shortcuts;
mod size;
#[cfg(test)]
mod tests;

use std::collections::{BTreeMap, HashSet};
use std::fs::File;
use std::io::Read;
use std::path::Path;

use ec2t_format::Network;
use ec2t_format::graph::Shape;
use prost::Message;

use super::error::OnnxError;
use super::proto::data_type::{BFLOAT16, DOUBLE, FLOAT, FLOAT16};
use super::proto::{Entry, Length, Model, ValueInfo};
use super::{CLASSES_KEY, INPUT_KEY};
use crate::error::InteropError;
use reader::Reader;

/// The oldest operators that are read: those of PyTorch 1.2.
const OLDEST_OPSET: i64 = 9;
/// Types of floats, of which the network computes with those of 32 bits.
const FLOATS: [i32; 4] = [FLOAT, DOUBLE, FLOAT16, BFLOAT16];
/// Most channels of an image.
const MAX_CHANNELS: usize = 1 << 16;
/// Values of constants that nodes compute, for each byte of the file: a byte holds four
/// codes of two bits, which become four floats.
const VALUES_PER_BYTE: usize = 8;

/// A network that a model became.
#[derive(Clone, Debug, PartialEq)]
pub struct Imported {
    /// The network.
    pub network: Network,
    /// What of the model the network does not compute, a sentence for each such node.
    pub notes: Vec<String>,
}

/// Reads an ONNX file, and the files beside it that have its values.
///
/// # Errors
/// Where a file can't be read, or as [`read`].
pub fn open(path: impl AsRef<Path>) -> Result<Imported, InteropError> {
    let path = path.as_ref();
    let io = |source| InteropError::Io { path: path.into(), source };
    let onnx = |source| InteropError::Onnx { path: path.into(), source: Box::new(source) };
    let mut bytes = Vec::new();
    let file = File::open(path).map_err(io)?;
    file.take(i32::MAX as u64 + 1).read_to_end(&mut bytes).map_err(io)?;
    let mut model = decode(&bytes).map_err(onnx)?;
    let folder = path.parent().unwrap_or(Path::new(""));
    let beside = external::load(&mut model, folder).map_err(onnx)?;
    import(model, bytes.len() + beside).map_err(onnx)
}

/// The network of an ONNX model that is in one piece.
///
/// Weights that are −a, 0 or +b become ternary, bit for bit, however they are stored. Class
/// names are those that [`write`](super::write()) has put there. Preprocessing is what the
/// model does first with its input; none where it takes normalized images.
///
/// # Errors
/// Where the bytes are malformed, or a node computes what no layer does.
pub fn read(bytes: &[u8]) -> Result<Imported, OnnxError> {
    import(decode(bytes)?, bytes.len())
}

fn decode(bytes: &[u8]) -> Result<Model, OnnxError> {
    if bytes.len() > i32::MAX as usize {
        return Err(OnnxError::TooLarge { bytes: bytes.len() });
    }
    size::check(bytes)?;
    Ok(Model::decode(bytes)?)
}

/// The network of a model of so many bytes.
fn import(model: Model, bytes: usize) -> Result<Imported, OnnxError> {
    check_opset(&model)?;
    let missing = |what| OnnxError::Model { what, expected: "one", found: "none".into() };
    let graph = model.graph.ok_or_else(|| missing("graph"))?;
    let constants: HashSet<_> = graph.initializer.iter().map(|constant| &constant.name).collect();
    let inputs = graph.input.iter().filter(|input| !constants.contains(&input.name));
    let (input_name, input) = input(only("inputs", &inputs.collect::<Vec<_>>())?)?;
    let outputs: Vec<_> = graph.output.iter().collect();
    let output = only("outputs", &outputs)?.name.as_deref().unwrap_or_default();
    let mut reader = Reader::new(&graph, input_name, input, output, VALUES_PER_BYTE * bytes)?;
    reader.add_layers()?;
    let (network, notes) = reader.finish(output)?;
    let mut metadata = metadata(&model.metadata_props);
    let (mut graph, tensors, _) = network.into_parts();
    if let Some(classes) = metadata.remove(CLASSES_KEY) {
        graph.classes = serde_json::from_str(&classes).map_err(|error| OnnxError::Model {
            what: "class names",
            expected: "a JSON array of texts",
            found: error.to_string(),
        })?;
    }
    metadata.remove(INPUT_KEY);
    let mut network = Network::new(graph, tensors)?;
    network.metadata = metadata;
    Ok(Imported { network, notes })
}

fn check_opset(model: &Model) -> Result<(), OnnxError> {
    let standard = model
        .opset_import
        .iter()
        .find(|opset| matches!(opset.domain.as_deref(), None | Some("" | "ai.onnx")));
    match standard.and_then(|opset| opset.version) {
        Some(version) if version >= OLDEST_OPSET => Ok(()),
        found => Err(OnnxError::Model {
            what: "version of the operators",
            expected: "9 or above",
            found: found.map_or("none".into(), |version| version.to_string()),
        }),
    }
}

fn only<'a>(what: &'static str, found: &[&'a ValueInfo]) -> Result<&'a ValueInfo, OnnxError> {
    match found {
        [one] => Ok(one),
        _ => Err(OnnxError::Model { what, expected: "one", found: found.len().to_string() }),
    }
}

/// Name of the input, and shape of one image.
fn input(info: &ValueInfo) -> Result<(&str, Shape), OnnxError> {
    let name = info.name.as_deref().unwrap_or_default();
    let tensor = info.kind.as_ref().and_then(|kind| kind.tensor.as_ref());
    let data_type = tensor.and_then(|tensor| tensor.elem_type).unwrap_or(FLOAT);
    if !FLOATS.contains(&data_type) {
        let (what, expected) = ("type of the input", "floats");
        return Err(OnnxError::Model { what, expected, found: format!("type {data_type}") });
    }
    let shape = tensor.and_then(|tensor| tensor.shape.as_ref());
    let lengths: Vec<Option<usize>> = shape
        .iter()
        .flat_map(|shape| &shape.dim)
        .map(|dim| match &dim.length {
            Some(Length::Value(value)) => usize::try_from(*value).ok(),
            _ => None,
        })
        .collect();
    match lengths[..] {
        [_, Some(channels @ ..=MAX_CHANNELS), Some(height), Some(width)] => {
            Ok((name, Shape::new(channels, height, width)))
        }
        _ => Err(OnnxError::Model {
            what: "shape of the input",
            expected: "four dimensions, all but the first fixed, and at most 65536 channels",
            found: format!("{lengths:?}"),
        }),
    }
}

fn metadata(entries: &[Entry]) -> BTreeMap<String, String> {
    let text = |text: &Option<String>| text.clone().unwrap_or_default();
    entries.iter().map(|entry| (text(&entry.key), text(&entry.value))).collect()
}
