//! Tensors by name, as a checkpoint holds them.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{self, Read};
use std::path::Path;

use ec2t_format::DenseTensor;

use crate::error::{CheckpointError, InteropError};
use crate::{safetensors, torch};

/// Largest file that is read; any real network of the field is far smaller.
const MAX_FILE_BYTES: usize = 1 << 32;
/// What PyTorch's `DataParallel` puts before every name.
const PARALLEL_PREFIX: &str = "module.";

/// Tensors by name, sorted; all values as 32-bit floats.
///
/// In a PyTorch checkpoint, the dictionary may be nested under the first of
/// `state_dict_ema`, `model_ema`, `ema_state_dict`, `state_dict`,
/// `model_state_dict`, `model` and `net` that is there, so that averaged
/// weights are preferred. Where every name of a file starts with `module.`, as those of a network in
/// PyTorch's `DataParallel` do, the prefix is dropped.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct StateDict {
    tensors: BTreeMap<String, DenseTensor>,
}

impl StateDict {
    /// Reads a checkpoint file; its form is told by its content.
    ///
    /// # Errors
    /// Where the file cannot be read or is malformed.
    pub fn open(path: impl AsRef<Path>) -> Result<Self, InteropError> {
        let path = path.as_ref();
        Self::from_bytes(&read_checkpoint(path)?).map_err(|source| InteropError::Checkpoint {
            path: path.into(),
            source: Box::new(source),
        })
    }

    /// Reads a checkpoint from memory; its form is told by its content.
    ///
    /// Known are PyTorch's legacy streams and zip archives, and safetensors.
    ///
    /// # Errors
    /// Where the bytes are of no known form, or malformed.
    pub fn from_bytes(bytes: &[u8]) -> Result<Self, CheckpointError> {
        if torch::is_archive(bytes) {
            torch::read_archive(bytes)
        } else if torch::is_legacy(bytes) {
            torch::read_legacy(bytes)
        } else if safetensors::is_safetensors(bytes) {
            safetensors::read(bytes)
        } else {
            let start = bytes.iter().copied().take(8).collect();
            Err(CheckpointError::UnknownFormat { start })
        }
    }

    /// The tensor of this name.
    pub fn get(&self, name: &str) -> Option<&DenseTensor> {
        self.tensors.get(name)
    }

    /// All tensors, by name.
    pub fn iter(&self) -> impl Iterator<Item = (&str, &DenseTensor)> {
        self.tensors.iter().map(|(name, tensor)| (name.as_str(), tensor))
    }

    /// Number of tensors.
    pub fn len(&self) -> usize {
        self.tensors.len()
    }

    /// Whether there are no tensors.
    pub fn is_empty(&self) -> bool {
        self.tensors.is_empty()
    }

    /// The tensors themselves.
    pub fn into_tensors(self) -> BTreeMap<String, DenseTensor> {
        self.tensors
    }
}

impl FromIterator<(String, DenseTensor)> for StateDict {
    fn from_iter<I: IntoIterator<Item = (String, DenseTensor)>>(tensors: I) -> Self {
        let tensors: BTreeMap<_, _> = tensors.into_iter().collect();
        if !tensors.keys().all(|name| name.starts_with(PARALLEL_PREFIX)) {
            return Self { tensors };
        }
        let strip = |(name, tensor): (String, _)| (name[PARALLEL_PREFIX.len()..].into(), tensor);
        Self { tensors: tensors.into_iter().map(strip).collect() }
    }
}

/// The bytes of a file that is not too large.
pub(crate) fn read_checkpoint(path: &Path) -> Result<Vec<u8>, InteropError> {
    let bytes = read_file(path).map_err(|source| InteropError::Io { path: path.into(), source })?;
    if bytes.len() > MAX_FILE_BYTES {
        let source = CheckpointError::TooLarge { what: "bytes", limit: MAX_FILE_BYTES };
        return Err(InteropError::Checkpoint { path: path.into(), source: Box::new(source) });
    }
    Ok(bytes)
}

/// The whole file, or one byte more than is allowed.
fn read_file(path: &Path) -> io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    File::open(path)?.take(MAX_FILE_BYTES as u64 + 1).read_to_end(&mut bytes)?;
    Ok(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn dict(names: &[&str]) -> StateDict {
        let tensor = DenseTensor::new(vec![1], vec![0.0]).unwrap();
        names.iter().map(|name| (name.to_string(), tensor.clone())).collect()
    }

    #[test]
    fn the_parallel_prefix_is_dropped_only_where_all_have_it() {
        let names = |dict: &StateDict| dict.iter().map(|(n, _)| n.to_string()).collect::<Vec<_>>();
        assert_eq!(names(&dict(&["module.b", "module.a"])), ["a", "b"]);
        assert_eq!(names(&dict(&["module.a", "a"])), ["a", "module.a"]);
    }

    #[test]
    fn an_unknown_form_shows_its_first_bytes() {
        let error = StateDict::from_bytes(b"\x89PNG\r\n").unwrap_err();
        assert!(error.to_string().contains("[89, 50, 4e, 47"), "{error}");
        assert!(matches!(
            StateDict::from_bytes(b""),
            Err(CheckpointError::UnknownFormat { start }) if start.is_empty()
        ));
    }

    #[test]
    fn a_missing_file_is_named() {
        let error = StateDict::open("no/such/file.pt").unwrap_err();
        assert!(matches!(error, InteropError::Io { .. }));
        assert!(error.to_string().starts_with("no/such/file.pt: "), "{error}");
    }
}
