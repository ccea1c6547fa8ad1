//! Training state on disk: one safetensors file, replaced atomically.
//!
//! A checkpoint holds everything that a run needs to go on as if it had never
//! stopped: weights, optimizer state, assignments, and, as JSON in the file's
//! metadata, the position in the data and the settings of the run.

use std::collections::{BTreeMap, HashMap};
use std::io::Write;
use std::path::{Path, PathBuf};

use ec2t_format::{Network, Tensor};
use safetensors::tensor::{Dtype, SafeTensors, TensorView};
use serde::{Deserialize, Serialize};

use crate::error::QuantError;
use crate::fingerprint::differences;

/// Key of the JSON text in the file's metadata.
const PROGRESS: &str = "ec2t";

/// How far a run has come.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub(crate) struct Progress {
    /// Name of the stage.
    pub(crate) stage: String,
    /// Settings of the run; another run's checkpoint is refused.
    pub(crate) settings: serde_json::Value,
    /// Epochs that are complete.
    pub(crate) epoch: usize,
    /// Steps that are complete inside the epoch after those.
    pub(crate) step: usize,
    /// Loss summed over the images of the epoch so far.
    pub(crate) loss_sum: f64,
    /// Right answers in the epoch so far.
    pub(crate) correct: usize,
    /// The best epoch so far.
    pub(crate) best: Option<Best>,
    /// Seconds of training so far, over all sessions.
    pub(crate) seconds: f64,
}

/// The epoch with the highest validation accuracy; of equal ones the last,
/// at which the learning rate is lowest.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Best {
    /// Epoch, from 1.
    pub epoch: usize,
    /// Validation accuracy in percent.
    pub top1: f64,
}

/// Values of one entry.
#[derive(Clone, Debug, PartialEq)]
enum Entry {
    F32(Vec<f32>),
    F64(Vec<f64>),
    I8(Vec<i8>),
    U64(u64),
}

/// Named value lists and the progress that they belong to.
#[derive(Clone, Debug, Default)]
pub(crate) struct Checkpoint {
    pub(crate) progress: Progress,
    entries: BTreeMap<String, Entry>,
    /// The file that this was read from, for messages.
    path: PathBuf,
}

impl Checkpoint {
    pub(crate) fn new(progress: Progress) -> Self {
        Self { progress, ..Self::default() }
    }

    /// Stores floats.
    pub(crate) fn put(&mut self, name: &str, values: &[f32]) {
        self.entries.insert(name.to_owned(), Entry::F32(values.to_vec()));
    }

    /// Stores floats of double precision.
    pub(crate) fn put_doubles(&mut self, name: &str, values: &[f64]) {
        self.entries.insert(name.to_owned(), Entry::F64(values.to_vec()));
    }

    /// Stores codes of a ternary layer.
    pub(crate) fn put_codes(&mut self, name: &str, codes: &[i8]) {
        self.entries.insert(name.to_owned(), Entry::I8(codes.to_vec()));
    }

    /// Stores a counter.
    pub(crate) fn put_count(&mut self, name: &str, count: u64) {
        self.entries.insert(name.to_owned(), Entry::U64(count));
    }

    /// Copies stored floats into `values`, whose length they must have.
    pub(crate) fn load(&self, name: &str, values: &mut [f32]) -> Result<(), QuantError> {
        match self.entries.get(name) {
            Some(Entry::F32(stored)) if stored.len() == values.len() => {
                values.copy_from_slice(stored);
                Ok(())
            }
            found => Err(self.mismatch(name, &format!("{} floats", values.len()), found)),
        }
    }

    /// The stored floats of double precision, of which there must be so many.
    pub(crate) fn doubles<const N: usize>(&self, name: &str) -> Result<[f64; N], QuantError> {
        let found = self.entries.get(name);
        let values = match found {
            Some(Entry::F64(values)) => values.as_slice().try_into().ok(),
            _ => None,
        };
        values.ok_or_else(|| self.mismatch(name, &format!("{N} doubles"), found))
    }

    /// The stored codes, which must be `len` of −1, 0 or +1.
    pub(crate) fn codes(&self, name: &str, len: usize) -> Result<Vec<i8>, QuantError> {
        match self.entries.get(name) {
            Some(Entry::I8(codes))
                if codes.len() == len && codes.iter().all(|code| (-1..=1).contains(code)) =>
            {
                Ok(codes.clone())
            }
            found => Err(self.mismatch(name, &format!("{len} ternary codes"), found)),
        }
    }

    /// The stored counter.
    pub(crate) fn count(&self, name: &str) -> Result<u64, QuantError> {
        match self.entries.get(name) {
            Some(Entry::U64(count)) => Ok(*count),
            found => Err(self.mismatch(name, "a counter", found)),
        }
    }

    fn mismatch(&self, name: &str, expected: &str, found: Option<&Entry>) -> QuantError {
        let found = match found {
            None => "nothing".to_owned(),
            Some(Entry::F32(values)) => format!("{} floats", values.len()),
            Some(Entry::F64(values)) => format!("{} doubles", values.len()),
            Some(Entry::I8(codes)) => format!("{} bytes", codes.len()),
            Some(Entry::U64(_)) => "a counter".to_owned(),
        };
        let reason = format!("entry `{name}`: expected {expected}, found {found}");
        QuantError::Checkpoint { path: self.path.clone(), reason }
    }

    /// Writes the file beside its place and then moves it there.
    pub(crate) fn write(&self, path: &Path) -> Result<(), QuantError> {
        let bytes: BTreeMap<&str, (Dtype, Vec<u8>)> =
            self.entries.iter().map(|(name, entry)| (name.as_str(), entry.to_bytes())).collect();
        let mut views = Vec::with_capacity(bytes.len());
        for (name, (dtype, bytes)) in &bytes {
            let shape = vec![bytes.len() * 8 / dtype.bitsize()];
            let view = TensorView::new(*dtype, shape, bytes).map_err(|e| malformed(path, e))?;
            views.push((*name, view));
        }
        let progress = serde_json::to_string(&self.progress).map_err(|e| malformed(path, e))?;
        let metadata = HashMap::from([(PROGRESS.to_owned(), progress)]);
        let file = safetensors::serialize(views, Some(metadata)).map_err(|e| malformed(path, e))?;
        write_atomically(path, &file)
    }

    /// Reads a file; `None` where there is none.
    pub(crate) fn read(path: &Path) -> Result<Option<Self>, QuantError> {
        let bytes = match std::fs::read(path) {
            Ok(bytes) => bytes,
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(QuantError::io(path)(error)),
        };
        let (_, header) = SafeTensors::read_metadata(&bytes).map_err(|e| malformed(path, e))?;
        let text = header.metadata().as_ref().and_then(|metadata| metadata.get(PROGRESS));
        let text = text.ok_or_else(|| malformed(path, "not a training checkpoint of ec2t"))?;
        let progress = serde_json::from_str(text).map_err(|e| malformed(path, e))?;
        let tensors = SafeTensors::deserialize(&bytes).map_err(|e| malformed(path, e))?;
        let mut entries = BTreeMap::new();
        for (name, view) in tensors.tensors() {
            let entry = Entry::from_bytes(view.dtype(), view.data());
            let entry = entry.ok_or_else(|| {
                malformed(path, format!("entry `{name}` has unknown type {:?}", view.dtype()))
            })?;
            entries.insert(name, entry);
        }
        Ok(Some(Self { progress, entries, path: path.to_owned() }))
    }

    /// Refuses a checkpoint of another stage or of other settings.
    pub(crate) fn check_settings(&self, expected: &Progress) -> Result<(), QuantError> {
        if self.progress.stage != expected.stage {
            let reason =
                format!("expected stage {}, found {}", expected.stage, self.progress.stage);
            return Err(QuantError::Checkpoint { path: self.path.clone(), reason });
        }
        let differences = differences(&self.progress.settings, &expected.settings);
        match differences.is_empty() {
            true => Ok(()),
            false => Err(QuantError::OtherSettings {
                path: self.path.clone(),
                differences: differences.join(", "),
            }),
        }
    }
}

impl Entry {
    fn to_bytes(&self) -> (Dtype, Vec<u8>) {
        match self {
            Entry::F32(values) => (Dtype::F32, to_le_bytes(values)),
            Entry::F64(values) => {
                (Dtype::F64, values.iter().flat_map(|value| value.to_le_bytes()).collect())
            }
            Entry::I8(codes) => (Dtype::I8, codes.iter().map(|code| *code as u8).collect()),
            Entry::U64(count) => (Dtype::U64, count.to_le_bytes().to_vec()),
        }
    }

    fn from_bytes(dtype: Dtype, bytes: &[u8]) -> Option<Self> {
        Some(match dtype {
            Dtype::F32 => {
                let (words, _) = bytes.as_chunks::<4>();
                Entry::F32(words.iter().map(|word| f32::from_le_bytes(*word)).collect())
            }
            Dtype::F64 => {
                let (words, _) = bytes.as_chunks::<8>();
                Entry::F64(words.iter().map(|word| f64::from_le_bytes(*word)).collect())
            }
            Dtype::I8 => Entry::I8(bytes.iter().map(|byte| *byte as i8).collect()),
            Dtype::U64 => Entry::U64(u64::from_le_bytes(bytes.try_into().ok()?)),
            _ => return None,
        })
    }
}

/// Writes a network as a safetensors file with the graph's names, its ternary
/// tensors as the floats that they stand for.
///
/// # Errors
/// Where the file can't be written; what was there before is then untouched.
pub fn save_network(path: &Path, network: &Network) -> Result<(), QuantError> {
    let values: Vec<(&String, &Tensor, Vec<u8>)> = network
        .tensors()
        .iter()
        .map(|(name, tensor)| (name, tensor, to_le_bytes(&tensor.to_f32())))
        .collect();
    let mut views = Vec::with_capacity(values.len());
    for (name, tensor, bytes) in &values {
        let view = TensorView::new(Dtype::F32, tensor.shape().to_vec(), bytes);
        views.push((name.as_str(), view.map_err(|e| malformed(path, e))?));
    }
    let file = safetensors::serialize(views, None).map_err(|e| malformed(path, e))?;
    write_atomically(path, &file)
}

fn to_le_bytes(values: &[f32]) -> Vec<u8> {
    values.iter().flat_map(|value| value.to_le_bytes()).collect()
}

/// Writes a file so that its place holds the old or the new bytes, never a part.
pub(crate) fn write_atomically(path: &Path, bytes: &[u8]) -> Result<(), QuantError> {
    let folder = path.parent().unwrap_or(Path::new("."));
    std::fs::create_dir_all(folder).map_err(QuantError::io(folder))?;
    let mut builder = tempfile::Builder::new();
    // As readable as any other new file.
    #[cfg(unix)]
    builder.permissions(std::os::unix::fs::PermissionsExt::from_mode(0o666));
    let mut file = builder.tempfile_in(folder).map_err(QuantError::io(folder))?;
    file.write_all(bytes).map_err(QuantError::io(path))?;
    file.as_file().sync_all().map_err(QuantError::io(path))?;
    file.persist(path).map_err(|error| QuantError::io(path)(error.error))?;
    Ok(())
}

/// A file that is not what it should be.
pub(crate) fn malformed(path: &Path, reason: impl ToString) -> QuantError {
    QuantError::Checkpoint { path: path.to_owned(), reason: reason.to_string() }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn checkpoint() -> Checkpoint {
        let settings = json!({"epochs": 3, "lr": 0.1});
        let mut checkpoint = Checkpoint::new(Progress {
            stage: "pretrain".into(),
            settings,
            loss_sum: 0.1,
            ..Progress::default()
        });
        checkpoint.put("w", &[1.5, -0.0, f32::MIN_POSITIVE]);
        checkpoint.put_doubles("d", &[0.1, f64::MAX]);
        checkpoint.put_codes("c", &[-1, 0, 1]);
        checkpoint.put_count("n", u64::MAX);
        checkpoint
    }

    #[test]
    fn everything_comes_back_bit_for_bit() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("deep/last.safetensors");
        checkpoint().write(&path).unwrap();
        let read = Checkpoint::read(&path).unwrap().unwrap();
        assert_eq!(read.progress, checkpoint().progress);
        assert_eq!(read.entries, checkpoint().entries);
        assert_eq!(read.codes("c", 3).unwrap(), [-1, 0, 1]);
        assert_eq!(read.doubles("d").unwrap(), [0.1, f64::MAX]);
        let first = std::fs::read(&path).unwrap();
        read.write(&path).unwrap();
        assert_eq!(std::fs::read(&path).unwrap(), first);
    }

    #[test]
    fn damage_and_mismatches_are_named() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("last.safetensors");
        assert!(Checkpoint::read(&path).unwrap().is_none());
        checkpoint().write(&path).unwrap();
        let bytes = std::fs::read(&path).unwrap();
        std::fs::write(&path, &bytes[..bytes.len() - 1]).unwrap();
        let error = Checkpoint::read(&path).unwrap_err().to_string();
        assert!(error.contains("last.safetensors"), "{error}");

        let error = checkpoint().load("w", &mut [0.0; 2]).unwrap_err().to_string();
        assert!(error.contains("`w`: expected 2 floats, found 3 floats"), "{error}");
        let error = checkpoint().doubles::<3>("d").unwrap_err().to_string();
        assert!(error.contains("`d`: expected 3 doubles, found 2 doubles"), "{error}");
        assert!(checkpoint().count("w").is_err());
    }

    #[test]
    fn other_settings_are_listed() {
        let mut other = checkpoint().progress;
        other.settings = json!({"epochs": 5, "lr": 0.1});
        let error = checkpoint().check_settings(&other).unwrap_err().to_string();
        assert!(error.contains("epochs: 3 → 5") && !error.contains("lr"), "{error}");
        assert!(checkpoint().check_settings(&checkpoint().progress).is_ok());
    }
}
