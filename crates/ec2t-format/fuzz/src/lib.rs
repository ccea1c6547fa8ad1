//! What the fuzz targets share.
//!
//! A fuzzer changes bytes, and nearly every change of a file breaks a checksum,
//! behind which nothing else would ever be tried. So a target takes its input
//! for a file whose lengths and checksums are [made to fit](sealed).

use ec2t_format::{FormatError, Limits, Network, read_with};

/// Small, so that a file that asks for much is refused early.
const LIMITS: Limits = Limits { max_decoded_bytes: 1 << 24 };

/// Length of a file's header.
const HEADER: usize = 36;

/// Input as a file whose magic, major version, length and checksums fit, as far
/// as there are bytes for them.
pub fn sealed(input: &[u8]) -> Vec<u8> {
    let mut file = input.to_vec();
    if file.len() < HEADER {
        return file;
    }
    file[..10].copy_from_slice(b"\xecEC2T\r\n\x1a\x01\x00");
    let len = file.len() as u64;
    file[20..28].copy_from_slice(&len.to_le_bytes());
    let toc_len = u32::from_le_bytes([file[28], file[29], file[30], file[31]]) as usize;
    let toc_end = HEADER.saturating_add(toc_len).min(file.len());
    seal_sections(&mut file, toc_end);
    let checksum = crc32fast::hash(&[&file[..32], &file[HEADER..toc_end]].concat());
    file[32..36].copy_from_slice(&checksum.to_le_bytes());
    file
}

/// Makes the checksum of each section fit, up to the first that is not there.
fn seal_sections(file: &mut [u8], toc_end: usize) {
    let (mut entry, mut start) = (HEADER, toc_end);
    while let Some((len, width)) = file.get(entry + 2..toc_end).and_then(varint) {
        let checksum_at = entry + 2 + width;
        let end = start.saturating_add(len);
        let Some(section) = file.get(start..end) else { return };
        let checksum = crc32fast::hash(section).to_le_bytes();
        if checksum_at + 4 > toc_end {
            return;
        }
        file[checksum_at..checksum_at + 4].copy_from_slice(&checksum);
        (entry, start) = (checksum_at + 4, end);
    }
}

/// A number in LEB128 and its width.
fn varint(bytes: &[u8]) -> Option<(usize, usize)> {
    let width = bytes.iter().take(9).position(|byte| byte & 0x80 == 0)? + 1;
    let value = bytes[..width].iter().rev().fold(0u64, |n, byte| n << 7 | u64::from(byte & 0x7f));
    Some((usize::try_from(value).ok()?, width))
}

/// Reads a file, whatever it is, within small limits.
pub fn read(file: &[u8]) -> Result<Network, FormatError> {
    read_with(file, &LIMITS)
}

/// Every tensor's values, bit by bit, in the order of the names: NaNs, too, are
/// equal where they are the same.
pub fn bits(network: &Network) -> Vec<(&str, Vec<u32>)> {
    let tensors = network.tensors().iter();
    tensors
        .map(|(name, t)| (name.as_str(), t.to_f32().iter().map(|v| v.to_bits()).collect()))
        .collect()
}
