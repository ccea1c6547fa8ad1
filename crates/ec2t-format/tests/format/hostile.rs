//! Damaged and hostile files give an error: no panic, no large allocation.
//!
//! The ordinary tests take small files and some edits. Those of a whole
//! ResNet-20, and a million edits, are run by `cargo xtask fuzz --deterministic`.

use std::sync::atomic::{AtomicU64, Ordering};
use std::thread;

use crate::edits::{Counts, Original, needed, read_canonical_or_refuse, read_or_refuse};
use crate::networks::{Random, every_feature, tiny};
use crate::pieces::{Piece, Pieces, reseal};
use ec2t_format::codec::Effort;
use ec2t_format::{FormatError, Limits, layout, read, write, write_with};
use proptest::prelude::*;

/// A trained ResNet-20 in version 1.1, as small as can be.
const RESNET20: &[u8] = include_bytes!("../../../../docs/results/models/resnet20-64-s1.ec2t");
const GOLDEN: [&[u8]; 3] = [
    include_bytes!("../golden/v1.ec2t"),
    include_bytes!("../golden/v1.1.ec2t"),
    include_bytes!("../golden/v1.2.ec2t"),
];

/// A trained ResNet-20 in three forms: small, smaller, and ready for kernels.
fn resnet20() -> [Vec<u8>; 3] {
    let network = read(RESNET20).unwrap();
    [write(&network), RESNET20.to_vec(), write_with(&network, Effort::Ready)]
}

fn assert_every_truncation_is_refused(file: &[u8]) {
    for length in 0..file.len() {
        assert!(read(&file[..length]).is_err(), "{length} bytes");
        assert!(layout(&file[..length]).is_err(), "{length} bytes");
    }
}

/// Flips the bits of some of the bytes, and calls `tell` after each byte.
fn assert_every_flip_is_noticed(file: &[u8], bytes: impl Iterator<Item = usize>, tell: impl Fn()) {
    let mut file = file.to_vec();
    for byte in bytes {
        for bit in 0..8 {
            file[byte] ^= 1 << bit;
            assert!(read(&file).is_err(), "bit {bit} of byte {byte}");
            assert!(layout(&file).is_err(), "bit {bit} of byte {byte}");
            file[byte] ^= 1 << bit;
        }
        tell();
    }
}

#[test]
fn every_truncation_is_refused() {
    GOLDEN.into_iter().for_each(assert_every_truncation_is_refused);
}

#[test]
fn every_flipped_bit_is_noticed() {
    for file in GOLDEN {
        assert_every_flip_is_noticed(file, 0..file.len(), || ());
    }
}

#[test]
fn flipped_bits_under_a_fitting_checksum_do_no_harm() {
    for effort in [Effort::Balanced, Effort::Ready] {
        let file = write_with(&every_feature(), effort);
        let (pieces, limits) = (Pieces::of(&file), needed(&file));
        for section in 0..pieces.sections.len() {
            for bit in 0..pieces.sections[section].bytes.len() * 8 {
                let mut pieces = pieces.clone();
                pieces.sections[section].bytes[bit / 8] ^= 1 << (bit % 8);
                let _ = read_canonical_or_refuse(&pieces.file(), &limits);
            }
        }
    }
}

#[test]
fn flipped_bits_of_header_and_table_do_no_harm() {
    let file = write(&every_feature());
    let limits = needed(&file);
    let first_section = layout(&file).unwrap().sections[0].offset;
    for bit in 0..first_section * 8 {
        let mut file = file.clone();
        file[bit / 8] ^= 1 << (bit % 8);
        reseal(&mut file);
        let _ = read_canonical_or_refuse(&file, &limits);
    }
}

#[test]
fn reading_takes_no_more_memory_than_is_charged() {
    for file in GOLDEN.map(<[u8]>::to_vec).into_iter().chain(resnet20()) {
        let limits = needed(&file);
        assert!(read_or_refuse(&file, &limits).is_ok());
        assert!(limits.max_decoded_bytes < 2 << 20, "{limits:?}");
    }
}

/// Files of many sections, layers, classes or keys, whose costs are not those of
/// values.
#[test]
fn small_files_that_unfold_are_charged_for_it() {
    let pieces = || Pieces::of(&write(&tiny()));
    let mut layers = pieces();
    let graph = &mut layers.sections[0].bytes;
    graph.truncate(38);
    // As many layers as there may be: the input, one behind a start of 1,000 bytes,
    // and others that follow from it.
    graph.extend([0x80, 0x80, 0x01, 0x00, 0x34, 0x00, 0xe8, 0x07]);
    graph.extend([b'a'; 999]);
    graph.extend(b".\x01b");
    graph.extend((2..16_384).flat_map(|layer| format!("\x24\x05{layer:05}").into_bytes()));

    let mut keys = pieces();
    let mut bytes = vec![0x80, 0x80, 0x04];
    let digit = |key: u32, shift: u32| (key >> shift & 0x7f) as u8;
    bytes.extend((0..65_536).flat_map(|key| [3, digit(key, 14), digit(key, 7), digit(key, 0), 0]));
    keys.sections[3].bytes = bytes;

    let mut sections = pieces();
    let skipped = Piece { kind: 200, encoding: 0, bytes: vec![] };
    sections.sections.extend(vec![skipped; 100_000]);

    for (pieces, section) in [(layers, "graph"), (keys, "metadata"), (sections, "toc")] {
        let file = pieces.file();
        let read = |max_decoded_bytes| read_or_refuse(&file, &Limits { max_decoded_bytes });
        for limit in [1 << 16, 1 << 20, 1 << 23] {
            let Err(FormatError::Budget { place, .. }) = read(limit) else { panic!("{section}") };
            assert_eq!(place.section, section);
        }
        let enough = read(1 << 28);
        assert!(!matches!(enough, Err(FormatError::Budget { .. })), "{section}: {enough:?}");
    }
}

/// Makes so many edits, by threads that share them evenly, and says how far it is.
fn edits(count: u64, threads: u64) -> Counts {
    let small = GOLDEN.map(Original::new);
    let large = resnet20().map(|file| Original::new(&file));
    let done = AtomicU64::new(0);
    let part = |thread: u64| {
        let mut counts = Counts::default();
        for seed in (thread..count).step_by(threads as usize) {
            let mut random = Random(seed);
            // One of 9 edits is one of each file of ResNet-20, which takes longer.
            let original = match random.below(9) as usize {
                at @ 0..3 => &large[at],
                at => &small[at % 3],
            };
            original.edit(&mut random, &mut counts);
            say_each_tenth(&done, count);
        }
        counts
    };
    let mut counts = Counts::default();
    thread::scope(|scope| {
        let parts = (0..threads).map(|thread| scope.spawn(move || part(thread)));
        let parts: Vec<_> = parts.collect();
        parts.into_iter().for_each(|part| counts.merge(part.join().unwrap()));
    });
    counts
}

#[expect(clippy::print_stdout, reason = "a long test says how far it is")]
fn say_each_tenth(done: &AtomicU64, count: u64) {
    let done = done.fetch_add(1, Ordering::Relaxed) + 1;
    if done.is_multiple_of(count.div_ceil(10)) {
        println!("{done} of {count}");
    }
}

#[test]
fn some_edits_do_no_harm() {
    let counts = edits(2000, 1);
    assert_eq!(counts.total(), 2000);
    assert!(counts.of("read") > 100 && counts.of("NotCanonical") > 0, "{counts}");
    assert!(counts.kinds() > 24, "{counts}");
}

#[test]
#[ignore = "a quarter of an hour; `some_edits_do_no_harm` is the short form, `cargo xtask fuzz --deterministic` runs this"]
#[expect(clippy::print_stdout, reason = "a long test says what it has done")]
fn a_million_edits_do_no_harm() {
    let counts = edits(1_000_000, 2);
    println!("{} edits ended so:\n{counts}", counts.total());
    assert_eq!(counts.total(), 1_000_000);
}

#[test]
#[ignore = "minutes; smaller files are tried above, `cargo xtask fuzz --deterministic` runs this"]
#[expect(clippy::print_stdout, reason = "a long test says what it has done")]
fn nothing_can_be_cut_off_or_flipped_in_a_resnet20() {
    for file in &resnet20() {
        let done = AtomicU64::new(0);
        let tell = || say_each_tenth(&done, file.len() as u64);
        thread::scope(|scope| {
            scope.spawn(|| assert_every_truncation_is_refused(file));
            for odd in 0..2 {
                let bytes = (odd..file.len()).step_by(2);
                scope.spawn(move || assert_every_flip_is_noticed(file, bytes, tell));
            }
        });
        println!("{} truncations and {} flipped bits refused", file.len(), 8 * file.len());
    }
}

proptest! {
    #[test]
    fn any_bytes_do_no_harm(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
        let limits = Limits { max_decoded_bytes: 1 << 16 };
        let _ = read_canonical_or_refuse(&bytes, &limits);
        let mut pieces = Pieces::of(&write(&tiny()));
        for section in 0..pieces.sections.len() {
            let old = std::mem::replace(&mut pieces.sections[section].bytes, bytes.clone());
            let _ = read_canonical_or_refuse(&pieces.file(), &limits);
            pieces.sections[section].bytes = old;
        }
    }
}
