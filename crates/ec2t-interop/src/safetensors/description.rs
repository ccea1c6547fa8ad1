//! What a file's metadata say about the network whose tensors it holds.

use std::collections::BTreeMap;
use std::path::Path;

use ::safetensors::SafeTensors;
use ec2t_format::{Graph, Network};
use serde::{Deserialize, Serialize};

use crate::error::{CheckpointError, InteropError};
use crate::import::import_state;
use crate::state_dict::{StateDict, read_checkpoint};

/// Key of the description in the file's metadata. It is the only one, so that a network
/// always gives the same bytes: the format's own crate writes several in random order.
pub(super) const KEY: &str = "ec2t";

/// Layers and free text, as JSON.
#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Description {
    pub(super) graph: Graph,
    pub(super) metadata: BTreeMap<String, String>,
}

/// Reads the network of a safetensors file that says what its layers are, as
/// [`write`](super::write()) makes it; `None` where the file, of whatever form, says nothing.
///
/// # Errors
/// Where the file can't be read or is malformed, or its tensors are not those of its layers.
pub fn open(path: impl AsRef<Path>) -> Result<Option<Network>, InteropError> {
    let path = path.as_ref();
    let bytes = read_checkpoint(path)?;
    let checkpoint =
        |source| InteropError::Checkpoint { path: path.into(), source: Box::new(source) };
    let Some(description) = description(&bytes).map_err(checkpoint)? else { return Ok(None) };
    let state = StateDict::from_bytes(&bytes).map_err(checkpoint)?;
    description.graph.validate().map_err(ec2t_format::network::NetworkError::from)?;
    let mut network = import_state(path, state, description.graph)?.network;
    network.metadata = description.metadata;
    Ok(Some(network))
}

fn description(bytes: &[u8]) -> Result<Option<Description>, CheckpointError> {
    if !super::is_safetensors(bytes) {
        return Ok(None);
    }
    let (_, header) = SafeTensors::read_metadata(bytes)?;
    let text = header.metadata().as_ref().and_then(|metadata| metadata.get(KEY));
    match text.map(|text| serde_json::from_str(text)) {
        None => Ok(None),
        Some(Ok(description)) => Ok(Some(description)),
        Some(Err(error)) => Err(CheckpointError::Description(error.to_string())),
    }
}
