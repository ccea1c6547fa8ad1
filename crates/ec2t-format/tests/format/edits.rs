//! Seeded edits of files, with checksums that fit, so that they reach what is
//! behind the checksums. The same seed gives the same edits on any machine.

use std::collections::BTreeMap;

use ec2t_format::{FormatError, Limits, Network, layout, read, read_with, verify, write_with};

use crate::allocator::peak;
use crate::networks::Random;
use crate::pieces::{Piece, Pieces, reseal};

/// What an error and its cause may take besides what is charged.
const SLACK: u64 = 8 << 10;

/// What has come of edits: how many of them ended in each kind of error.
#[derive(Default)]
pub(crate) struct Counts(BTreeMap<String, u64>);

impl Counts {
    fn add(&mut self, result: &Result<Network, FormatError>) {
        let name = match result {
            Ok(_) => "read".to_owned(),
            Err(error) => {
                let text = format!("{error:?}");
                text.split([' ', '(', '{']).next().unwrap_or_default().to_owned()
            }
        };
        *self.0.entry(name).or_default() += 1;
    }

    pub(crate) fn merge(&mut self, other: Counts) {
        for (name, count) in other.0 {
            *self.0.entry(name).or_default() += count;
        }
    }

    pub(crate) fn of(&self, name: &str) -> u64 {
        self.0.get(name).copied().unwrap_or(0)
    }

    /// How many kinds of end there were.
    pub(crate) fn kinds(&self) -> usize {
        self.0.len()
    }

    pub(crate) fn total(&self) -> u64 {
        self.0.values().sum()
    }
}

impl std::fmt::Display for Counts {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let mut rows: Vec<_> = self.0.iter().collect();
        rows.sort_by_key(|(_, count)| std::cmp::Reverse(**count));
        rows.iter().try_for_each(|(name, count)| writeln!(f, "{count:>9}  {name}"))
    }
}

/// The least limit that a file can be read with.
pub(crate) fn needed(file: &[u8]) -> Limits {
    let mut limits = Limits { max_decoded_bytes: 0 };
    loop {
        match read_with(file, &limits) {
            Err(FormatError::Budget { needed, .. }) => limits.max_decoded_bytes = needed,
            Err(error) => panic!("{error}"),
            Ok(_) => return limits,
        }
    }
}

/// Reads a file that may be anything: within the limits, and to a network that
/// survives writing, or to an error.
pub(crate) fn read_or_refuse(file: &[u8], limits: &Limits) -> Result<Network, FormatError> {
    let (result, most) = peak(|| read_with(file, limits));
    let limit = limits.max_decoded_bytes + SLACK;
    assert!(most <= limit, "{most} bytes allocated, {limit} allowed; {result:?}");
    result
}

/// As [`read_or_refuse`]; what is read must be what a writer writes.
pub(crate) fn read_canonical_or_refuse(file: &[u8], limits: &Limits) -> Result<(), FormatError> {
    let network = read_or_refuse(file, limits)?;
    let known = layout(file)?;
    let again = write_with(&network, known.effort);
    let only_known = known.file_len() == again.len() && file[10..20] == again[10..20];
    match verify(file, limits) {
        Ok(_) if only_known => assert!(again == file, "another form of the same network"),
        Ok(_) | Err(FormatError::OtherCodec { .. }) => {
            let back = read(&again).expect("what is written is read");
            assert!(write_with(&back, known.effort) == again, "writing twice differs");
        }
        Err(error) => panic!("it was read, but: {error}"),
    }
    Ok(())
}

/// A file to be edited.
pub(crate) struct Original {
    pieces: Pieces,
    limits: Limits,
    /// Whether to write again all that can be read, not just some.
    is_small: bool,
}

impl Original {
    pub(crate) fn new(file: &[u8]) -> Self {
        let is_small = file.len() < 4096;
        Self { pieces: Pieces::of(file), limits: needed(file), is_small }
    }

    /// Edits a copy in one to four places, and reads it.
    pub(crate) fn edit(&self, random: &mut Random, counts: &mut Counts) {
        let mut pieces = self.pieces.clone();
        for _ in 0..=random.below(4) {
            edit_once(&mut pieces, random);
        }
        let mut file = pieces.file();
        if random.below(16) == 0 {
            edit_table(&mut file, random);
        }
        counts.add(&read_or_refuse(&file, &self.limits));
        if self.is_small || random.below(256) == 0 {
            let _ = read_canonical_or_refuse(&file, &self.limits);
        }
    }
}

fn edit_once(pieces: &mut Pieces, random: &mut Random) {
    let count = pieces.sections.len();
    // The graph has the most to go wrong, and is one section of many.
    let section = match random.below(4) {
        0 => 0,
        _ => random.below(count.max(1) as u64) as usize,
    };
    match random.below(64) {
        0 => pieces.version[1] = random.below(3) as u16,
        1 => pieces.required ^= 1 << random.below(32),
        2 => pieces.optional ^= 1 << random.below(32),
        3 if count > 0 => drop(pieces.sections.remove(section)),
        4 if count > 0 => pieces.sections.swap(section, random.below(count as u64) as usize),
        5 => {
            let kind = 128 + random.below(128) as u8;
            pieces.sections.insert(section, Piece { kind, encoding: 0, bytes: vec![1, 2, 3] });
        }
        6 if count > 0 => pieces.sections[section].encoding = random.below(8) as u8,
        7 if count > 0 => pieces.sections[section].kind = random.below(8) as u8,
        _ if count > 0 => edit_bytes(&mut pieces.sections[section].bytes, random),
        _ => {}
    }
}

/// Overwrites, inserts, removes or moves some bytes.
fn edit_bytes(bytes: &mut Vec<u8>, random: &mut Random) {
    let at = random.below(bytes.len() as u64 + 1) as usize;
    let end = (at + 1 + random.below(8) as usize).min(bytes.len());
    let byte = |random: &mut Random| match random.below(4) {
        0 => [0, 1, 0x7f, 0x80, 0xff][random.below(5) as usize],
        _ => random.next() as u8,
    };
    match random.below(8) {
        0 => drop(bytes.drain(at..end)),
        1 => bytes.insert(at, byte(random)),
        2 => {
            let from = random.below(at as u64 + 1) as usize;
            let copied = bytes[from..(from + end - at).min(bytes.len())].to_vec();
            bytes.splice(at..at, copied);
        }
        3 => bytes.truncate(at),
        4 if at < end => bytes[at] ^= 1 << random.below(8),
        _ => bytes[at..end].iter_mut().for_each(|old| *old = byte(random)),
    }
}

/// Overwrites a byte of header or table, whose checksum then fits.
fn edit_table(file: &mut [u8], random: &mut Random) {
    let end = (36 + u32::from_le_bytes([file[28], file[29], file[30], file[31]]) as usize)
        .min(file.len());
    file[random.below(end as u64) as usize] = random.next() as u8;
    if file.len() >= 36 {
        reseal(file);
    }
}
