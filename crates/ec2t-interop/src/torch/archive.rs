//! Zip archives: a pickle and one member for each storage.

use std::borrow::Cow;
use std::io::{Cursor, Read};

use zip::ZipArchive;
use zip::result::ZipError;

use super::pickle;
use super::reader::Reader;
use super::state::{self, Storages};
use super::value::{Heap, Storage};
use crate::dtype::ByteOrder;
use crate::error::CheckpointError;
use crate::state_dict::StateDict;

/// Largest pickle that is read.
const MAX_PICKLE_BYTES: usize = 1 << 26;
/// Most bytes in all storages together.
const MAX_STORAGE_BYTES: usize = 1 << 31;

/// Whether the bytes start as a zip archive does.
pub(crate) fn is_archive(bytes: &[u8]) -> bool {
    bytes.starts_with(b"PK\x03\x04")
}

/// All tensors of a zip archive.
pub(crate) fn read(bytes: &[u8]) -> Result<StateDict, CheckpointError> {
    let mut members = Members::open(bytes)?;
    let order = members.byte_order()?;
    let data = members.read("data.pkl", MAX_PICKLE_BYTES)?;
    let mut reader = Reader::new(&data);
    let mut heap = Heap::default();
    let root = pickle::load(&mut reader, &mut heap)?;
    let tensors = state::tensors(root, &heap)?;

    let mut storages = Storages::new();
    let mut left = MAX_STORAGE_BYTES;
    for view in tensors.values() {
        if storages.contains_key(view.storage.key) {
            continue;
        }
        let values = members.storage(view.storage, &mut left)?;
        storages.insert(view.storage.key, Cow::Owned(values));
    }
    state::gather(&tensors, &storages, order)
}

/// The members of an archive, all of which are in one folder.
struct Members<'a> {
    archive: ZipArchive<Cursor<&'a [u8]>>,
    /// Name of the folder, with its slash.
    folder: String,
}

impl<'a> Members<'a> {
    fn open(bytes: &'a [u8]) -> Result<Self, CheckpointError> {
        let archive = ZipArchive::new(Cursor::new(bytes)).map_err(fault("data.pkl"))?;
        let folder = archive
            .file_names()
            .filter_map(Result::ok)
            .filter_map(|name| name.strip_suffix("data.pkl").map(String::from))
            .find(|folder| folder.is_empty() || folder.ends_with('/'))
            .ok_or(ZipError::FileNotFound)
            .map_err(fault("data.pkl"))?;
        Ok(Self { archive, folder })
    }

    /// All bytes of a member.
    fn read(&mut self, member: &str, limit: usize) -> Result<Vec<u8>, CheckpointError> {
        let path = format!("{}{member}", self.folder);
        let file = self.archive.by_name(&path).map_err(fault(member))?;
        let mut bytes = Vec::new();
        // The end of the member has to be reached for its checksum to be verified.
        file.take(limit as u64 + 1)
            .read_to_end(&mut bytes)
            .map_err(|error| fault(member)(ZipError::Io(error)))?;
        match bytes.len() <= limit {
            true => Ok(bytes),
            false => Err(CheckpointError::TooLarge { what: "bytes in a member", limit }),
        }
    }

    /// The order named by the member `byteorder`, which older archives lack.
    fn byte_order(&mut self) -> Result<ByteOrder, CheckpointError> {
        if self.archive.index_for_name(&format!("{}byteorder", self.folder)).is_none() {
            return Ok(ByteOrder::Little);
        }
        match self.read("byteorder", 16)?.as_slice() {
            b"little" => Ok(ByteOrder::Little),
            b"big" => Ok(ByteOrder::Big),
            other => {
                let found = String::from_utf8_lossy(other).into();
                Err(CheckpointError::ByteOrder { found })
            }
        }
    }

    /// The bytes of a storage, which are taken off the budget.
    fn storage(&mut self, storage: Storage, left: &mut usize) -> Result<Vec<u8>, CheckpointError> {
        let size = storage.len.saturating_mul(storage.dtype.size());
        *left = left.checked_sub(size).ok_or(CheckpointError::TooLarge {
            what: "bytes in all storages",
            limit: MAX_STORAGE_BYTES,
        })?;
        let bytes = self.read(&format!("data/{}", storage.key), size)?;
        match bytes.len() == size {
            true => Ok(bytes),
            false => Err(CheckpointError::StorageSize {
                key: storage.key.into(),
                expected: size as u64,
                found: bytes.len() as u64,
            }),
        }
    }
}

/// Puts the member's name to an error of the archive.
fn fault(member: &str) -> impl Fn(ZipError) -> CheckpointError {
    move |source| CheckpointError::Archive { member: member.into(), source }
}
