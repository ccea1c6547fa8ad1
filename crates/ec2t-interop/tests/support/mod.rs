//! Writes PyTorch checkpoints by hand: pickles, legacy streams, zip archives.

use std::io::Write;

use zip::write::SimpleFileOptions;
use zip::{CompressionMethod, ZipWriter};

/// A pickle under construction, instruction by instruction.
#[derive(Clone)]
pub(crate) struct Pickle(Vec<u8>);

impl Pickle {
    /// Protocol 2, and nothing yet.
    pub(crate) fn new() -> Self {
        Pickle(vec![0x80, 2])
    }

    /// Appends instructions as they are.
    pub(crate) fn raw(mut self, bytes: &[u8]) -> Self {
        self.0.extend(bytes);
        self
    }

    pub(crate) fn text(self, text: &str) -> Self {
        let length = (text.len() as u32).to_le_bytes();
        self.raw(b"X").raw(&length).raw(text.as_bytes())
    }

    pub(crate) fn int(self, value: i32) -> Self {
        self.raw(b"J").raw(&value.to_le_bytes())
    }

    pub(crate) fn global(self, module: &str, name: &str) -> Self {
        self.raw(format!("c{module}\n{name}\n").as_bytes())
    }

    pub(crate) fn ints(self, values: &[i32]) -> Self {
        let open = self.raw(b"(");
        values.iter().fold(open, |pickle, &value| pickle.int(value)).raw(b"t")
    }

    /// A storage, by its persistent id.
    pub(crate) fn storage(self, class: &str, key: &str, len: i32) -> Self {
        let id = self.raw(b"(").text("storage").global("torch", class).text(key).text("cpu");
        id.int(len).raw(b"tQ")
    }

    /// A tensor of a storage, as `torch._utils._rebuild_tensor_v2` makes it.
    pub(crate) fn tensor(self, view: &View) -> Self {
        self.global("torch._utils", "_rebuild_tensor_v2")
            .raw(b"(")
            .storage(view.class, view.key, view.len)
            .int(view.offset)
            .ints(view.shape)
            .ints(view.strides)
            .raw(b"\x89")
            .global("collections", "OrderedDict")
            .raw(b")RtR")
    }

    /// The finished pickle.
    pub(crate) fn stop(self) -> Vec<u8> {
        self.raw(b".").0
    }
}

/// Where the values of a tensor lie.
#[derive(Clone, Copy)]
pub(crate) struct View {
    pub(crate) class: &'static str,
    pub(crate) key: &'static str,
    pub(crate) len: i32,
    pub(crate) offset: i32,
    pub(crate) shape: &'static [i32],
    pub(crate) strides: &'static [i32],
}

/// A contiguous 2×3 matrix of floats in a storage `0` of its size.
pub(crate) const MATRIX: View =
    View { class: "FloatStorage", key: "0", len: 6, offset: 0, shape: &[2, 3], strides: &[3, 1] };

/// The floats as bytes.
pub(crate) fn floats(values: &[f32]) -> Vec<u8> {
    values.iter().flat_map(|value| value.to_le_bytes()).collect()
}

/// A storage of a file: its key, number of values, and bytes.
pub(crate) type StorageBytes<'a> = (&'a str, u64, Vec<u8>);

/// The storage of [`MATRIX`]: 0, 1, … 5.
pub(crate) fn matrix_storage() -> StorageBytes<'static> {
    ("0", 6, floats(&[0.0, 1.0, 2.0, 3.0, 4.0, 5.0]))
}

/// A state dictionary of one tensor.
pub(crate) fn one_tensor(name: &str, view: &View) -> Pickle {
    Pickle::new().raw(b"}").text(name).tensor(view).raw(b"s")
}

/// The first 15 bytes of every legacy stream.
pub(crate) const MAGIC: &[u8] = b"\x80\x02\x8a\x0al\xfc\x9cF\xf9 j\xa8P\x19.";

/// A legacy stream around a pickle.
pub(crate) fn legacy(state: Pickle, storages: &[StorageBytes]) -> Vec<u8> {
    let mut file = MAGIC.to_vec();
    file.extend(Pickle::new().raw(b"M\xe9\x03").stop());
    let facts = Pickle::new().raw(b"}(").text("protocol_version").raw(b"M\xe9\x03");
    file.extend(facts.text("little_endian").raw(b"\x88u").stop());
    file.extend(state.stop());
    let keys = storages.iter().fold(Pickle::new().raw(b"]("), |keys, (key, ..)| keys.text(key));
    file.extend(keys.raw(b"e").stop());
    for (_, len, bytes) in storages {
        file.extend(len.to_le_bytes());
        file.extend(bytes);
    }
    file
}

/// A zip archive of members in the folder `archive/`; as in PyTorch's, the
/// sizes of a member stand behind it.
pub(crate) fn zip(members: &[(&str, &[u8])], method: CompressionMethod) -> Vec<u8> {
    let mut writer = ZipWriter::new_stream(Vec::new());
    let options = SimpleFileOptions::default().compression_method(method);
    for (name, bytes) in members {
        writer.start_file(format!("archive/{name}"), options).unwrap();
        writer.write_all(bytes).unwrap();
    }
    writer.finish().unwrap().into_inner()
}

/// A zip archive around a pickle.
pub(crate) fn archive(state: Pickle, storages: &[StorageBytes]) -> Vec<u8> {
    let pickle = state.stop();
    let names: Vec<String> = storages.iter().map(|(key, ..)| format!("data/{key}")).collect();
    let mut members: Vec<(&str, &[u8])> = vec![("data.pkl", &pickle), ("byteorder", b"little")];
    members.extend(names.iter().zip(storages).map(|(name, s)| (name.as_str(), s.2.as_slice())));
    zip(&members, CompressionMethod::Stored)
}
