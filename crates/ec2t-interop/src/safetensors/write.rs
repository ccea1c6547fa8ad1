//! A network becomes a safetensors file.

use std::collections::HashMap;

use ::safetensors::tensor::{Dtype, TensorView};
use ec2t_format::{Network, Op, Tensor, TernaryTensor};

use super::codes::SUFFIXES;
use super::description::{Description, KEY};
use crate::error::CheckpointError;
use crate::onnx::pack;

/// How a safetensors file stores ternary weights.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Weights {
    /// As the floats that they stand for: a state dictionary for PyTorch.
    Floats,
    /// As codes of two bits and a codebook.
    Codes,
}

/// The bytes of a safetensors file with the network's tensors, all floats of 32 bits.
///
/// Its metadata say what the layers are, so that [`open`](super::open) needs nothing else.
/// With [`Weights::Floats`], normalisations also have the counter `num_batches_tracked`, at 0,
/// which PyTorch's `load_state_dict` insists on. It takes such a file where names and
/// layers are those of the PyTorch model: as long as batch normalisation is not folded.
///
/// # Errors
/// Where the header, in which all layers are described, exceeds the format's 100 MB.
pub fn write(network: &Network, weights: Weights) -> Result<Vec<u8>, CheckpointError> {
    let mut tensors = Vec::new();
    for (name, tensor) in network.tensors() {
        match (tensor, weights) {
            (Tensor::Ternary(ternary), Weights::Codes) => tensors.extend(codes(name, ternary)),
            _ => tensors.push(floats(name.clone(), tensor.shape(), &tensor.to_f32())),
        }
    }
    if weights == Weights::Floats {
        let is_norm = |op: &Op| matches!(op, Op::BatchNorm(_));
        for node in network.graph().nodes.iter().filter(|node| is_norm(&node.op)) {
            let name = format!("{}.num_batches_tracked", node.name);
            tensors.push(Stored { name, dtype: Dtype::I64, shape: Vec::new(), data: vec![0; 8] });
        }
    }
    let views = tensors
        .iter()
        .map(|stored| {
            let view = TensorView::new(stored.dtype, stored.shape.clone(), &stored.data)?;
            Ok((stored.name.as_str(), view))
        })
        .collect::<Result<Vec<_>, CheckpointError>>()?;
    let description =
        Description { graph: network.graph().clone(), metadata: network.metadata.clone() };
    let description = serde_json::to_string(&description)
        .map_err(|error| CheckpointError::Description(error.to_string()))?;
    let metadata = HashMap::from([(KEY.to_owned(), description)]);
    Ok(::safetensors::serialize(views, Some(metadata))?)
}

/// A tensor as the file holds it.
struct Stored {
    name: String,
    dtype: Dtype,
    shape: Vec<usize>,
    data: Vec<u8>,
}

fn floats(name: String, shape: &[usize], values: &[f32]) -> Stored {
    let data = values.iter().flat_map(|value| value.to_le_bytes()).collect();
    Stored { name, dtype: Dtype::F32, shape: shape.to_vec(), data }
}

fn codes(name: &str, weight: &TernaryTensor) -> [Stored; 3] {
    let [codes, codebook, shape] = SUFFIXES.map(|suffix| format!("{name}{suffix}"));
    let packed = pack(weight.codes(), 2);
    let lengths = weight.shape();
    let bytes = lengths.iter().flat_map(|&length| (length as i64).to_le_bytes()).collect();
    [
        Stored { name: codes, dtype: Dtype::U8, shape: vec![packed.len()], data: packed },
        floats(codebook, &[3], &[-weight.w_neg(), 0.0, weight.w_pos()]),
        Stored { name: shape, dtype: Dtype::I64, shape: vec![lengths.len()], data: bytes },
    ]
}
