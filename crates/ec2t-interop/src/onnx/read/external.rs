//! Values that a model keeps in files beside its own, as PyTorch's exporter does unless told
//! otherwise.
//!
//! A tensor names the file, relative to the model's folder, and the bytes in it. Files are
//! taken from this folder and those in it only, and no more bytes than they have together.

use std::collections::HashMap;
use std::fs::File;
use std::io::{Read, Seek, SeekFrom};
use std::path::{Component, Path};

use super::super::error::OnnxError;
use super::super::proto::{Model, Tensor};
use super::constant::is_external;

/// Files beside a model.
struct Files<'f> {
    folder: &'f Path,
    /// Those that have been opened, with their lengths.
    open: HashMap<String, (File, u64)>,
    /// Bytes of these that may still be read.
    left: u64,
}

/// Puts values that are in other files into the model; gives how many bytes these are.
///
/// # Errors
/// [`OnnxError::Constant`] where a file, or the bytes in it, are not there.
pub(super) fn load(model: &mut Model, folder: &Path) -> Result<usize, OnnxError> {
    let mut files = Files { folder, open: HashMap::new(), left: 0 };
    let mut total = 0;
    let constants = model.graph.iter_mut().flat_map(|graph| &mut graph.initializer);
    for tensor in constants.filter(|tensor| is_external(tensor)) {
        let bytes = files.bytes(tensor).map_err(|reason| OnnxError::Constant {
            name: tensor.name.clone().unwrap_or_default(),
            reason,
        })?;
        total += bytes.len();
        tensor.raw_data = Some(bytes);
        tensor.data_location = None;
        tensor.external_data.clear();
    }
    Ok(total)
}

impl Files<'_> {
    /// The values of a tensor; else what is wrong, in words.
    fn bytes(&mut self, tensor: &Tensor) -> Result<Vec<u8>, String> {
        let entry = |key: &str| {
            let entries = &mut tensor.external_data.iter();
            entries.find(|entry| entry.key.as_deref() == Some(key))?.value.as_deref()
        };
        let number = |key: &str| {
            let number = |text: &str| text.parse().map_err(|_| format!("{key} `{text}`"));
            entry(key).map(number).transpose()
        };
        let name = entry("location").ok_or("no location of its values")?;
        let offset: u64 = number("offset")?.unwrap_or(0);
        let length: Option<u64> = number("length")?;
        if !self.open.contains_key(name) {
            self.open(name)?;
        }
        let (file, size) = &mut self.open.get_mut(name).ok_or("its file is not open")?;
        let length = length.unwrap_or(size.saturating_sub(offset));
        let fault = |reason: String| format!("its values are in `{name}`: {reason}");
        if offset.checked_add(length).is_none_or(|end| end > *size) {
            let bytes = format!("{length} bytes at offset {offset}, the file has {size}");
            return Err(fault(bytes));
        }
        let left = self.left.checked_sub(length);
        self.left = left.ok_or_else(|| fault("more is read than the files have".into()))?;
        let mut bytes = Vec::new();
        let read = file.seek(SeekFrom::Start(offset));
        let read = read.and_then(|_| file.take(length).read_to_end(&mut bytes));
        read.map_err(|error| fault(error.to_string()))?;
        Ok(bytes)
    }

    fn open(&mut self, name: &str) -> Result<(), String> {
        let fault = |reason: String| format!("its values are in `{name}`: {reason}");
        let mut parts = Path::new(name).components();
        if !parts.all(|part| matches!(part, Component::Normal(_))) {
            return Err(fault("expected a file in the model's folder".into()));
        }
        let path = self.folder.join(name);
        let metadata = path.metadata().map_err(|error| fault(error.to_string()))?;
        if !metadata.is_file() || metadata.len() > i32::MAX as u64 {
            return Err(fault("expected a file of at most 2 GiB".into()));
        }
        let file = File::open(&path).map_err(|error| fault(error.to_string()))?;
        self.left += metadata.len();
        self.open.insert(name.into(), (file, metadata.len()));
        Ok(())
    }
}
