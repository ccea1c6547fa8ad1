//! Takes files apart and puts altered ones together, checksums made to fit, by
//! its own reading of `docs/format.md`.

/// A section with the numbers of its kind and encoding.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Piece {
    pub(crate) kind: u8,
    pub(crate) encoding: u8,
    pub(crate) bytes: Vec<u8>,
}

/// Everything in a file that a writer can choose.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Pieces {
    pub(crate) version: [u16; 2],
    pub(crate) required: u32,
    pub(crate) optional: u32,
    pub(crate) sections: Vec<Piece>,
}

impl Pieces {
    /// Takes a whole and well-formed file apart.
    pub(crate) fn of(file: &[u8]) -> Self {
        let u16_at = |at: usize| u16::from_le_bytes(file[at..at + 2].try_into().unwrap());
        let u32_at = |at: usize| u32::from_le_bytes(file[at..at + 4].try_into().unwrap());
        let mut at = 36;
        let toc_end = at + u32_at(28) as usize;
        let mut start = toc_end;
        let mut sections = Vec::new();
        while at < toc_end {
            let [kind, encoding] = [file[at], file[at + 1]];
            let (length, width) = varint(&file[at + 2..]);
            let bytes = file[start..start + length].to_vec();
            sections.push(Piece { kind, encoding, bytes });
            start += length;
            at += 2 + width + 4;
        }
        assert_eq!(start, file.len());
        Self {
            version: [u16_at(8), u16_at(10)],
            required: u32_at(12),
            optional: u32_at(16),
            sections,
        }
    }

    /// The file of these pieces.
    pub(crate) fn file(&self) -> Vec<u8> {
        let mut toc = Vec::new();
        for section in &self.sections {
            toc.extend([section.kind, section.encoding]);
            put_varint(&mut toc, section.bytes.len() as u64);
            toc.extend(crc32fast::hash(&section.bytes).to_le_bytes());
        }
        let body: Vec<u8> = self.sections.iter().flat_map(|piece| piece.bytes.clone()).collect();
        let mut file = b"\xecEC2T\r\n\x1a".to_vec();
        file.extend(self.version.iter().flat_map(|part| part.to_le_bytes()));
        file.extend(self.required.to_le_bytes());
        file.extend(self.optional.to_le_bytes());
        file.extend((36 + toc.len() as u64 + body.len() as u64).to_le_bytes());
        file.extend((toc.len() as u32).to_le_bytes());
        file.extend([0; 4]);
        file.extend(toc);
        file.extend(body);
        reseal(&mut file);
        file
    }
}

/// Makes the checksum of header and table fit, where the table's length lets it.
pub(crate) fn reseal(file: &mut [u8]) {
    let toc_len = u32::from_le_bytes(file[28..32].try_into().unwrap()) as usize;
    if let Some(toc) = file[36..].get(..toc_len) {
        let sealed = [&file[..32], toc].concat();
        let checksum = crc32fast::hash(&sealed).to_le_bytes();
        file[32..36].copy_from_slice(&checksum);
    }
}

pub(crate) fn put_varint(out: &mut Vec<u8>, mut value: u64) {
    while value >= 128 {
        out.push((value % 128) as u8 + 128);
        value /= 128;
    }
    out.push(value as u8);
}

/// A number and its width.
fn varint(bytes: &[u8]) -> (usize, usize) {
    let width = bytes.iter().position(|byte| byte & 0x80 == 0).unwrap() + 1;
    let value = bytes[..width].iter().rev().fold(0, |n, byte| n << 7 | usize::from(byte & 0x7f));
    (value, width)
}
