//! Damaged and hostile files give an error: no panic, no large allocation.

use crate::networks::{every_feature, tiny};
use crate::pieces::{Pieces, reseal};
use ec2t_format::{layout, read, write};
use proptest::prelude::*;

#[test]
fn every_truncation_is_refused() {
    let file = write(&every_feature());
    for length in 0..file.len() {
        assert!(read(&file[..length]).is_err(), "{length} bytes");
        assert!(layout(&file[..length]).is_err(), "{length} bytes");
    }
}

#[test]
fn every_flipped_bit_is_noticed() {
    let mut file = write(&every_feature());
    for bit in 0..file.len() * 8 {
        file[bit / 8] ^= 1 << (bit % 8);
        assert!(read(&file).is_err(), "bit {bit}");
        assert!(layout(&file).is_err(), "bit {bit}");
        file[bit / 8] ^= 1 << (bit % 8);
    }
}

/// What decodes must be a network that survives writing: nothing in between.
fn read_or_refuse(file: &[u8]) {
    if let Ok(network) = read(file) {
        let again = write(&network);
        assert!(write(&read(&again).unwrap()) == again);
    }
    let _ = layout(file);
}

#[test]
fn flipped_bits_under_a_fitting_checksum_do_no_harm() {
    let pieces = Pieces::of(&write(&every_feature()));
    for section in 0..pieces.sections.len() {
        for bit in 0..pieces.sections[section].bytes.len() * 8 {
            let mut pieces = pieces.clone();
            pieces.sections[section].bytes[bit / 8] ^= 1 << (bit % 8);
            read_or_refuse(&pieces.file());
        }
    }
}

#[test]
fn flipped_bits_of_header_and_table_do_no_harm() {
    let file = write(&every_feature());
    let first_section = layout(&file).unwrap().sections[0].offset;
    for bit in 0..first_section * 8 {
        let mut file = file.clone();
        file[bit / 8] ^= 1 << (bit % 8);
        reseal(&mut file);
        read_or_refuse(&file);
    }
}

proptest! {
    #[test]
    fn any_bytes_do_no_harm(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
        read_or_refuse(&bytes);
        let mut pieces = Pieces::of(&write(&tiny()));
        for section in 0..pieces.sections.len() {
            let old = std::mem::replace(&mut pieces.sections[section].bytes, bytes.clone());
            read_or_refuse(&pieces.file());
            pieces.sections[section].bytes = old;
        }
    }

    #[test]
    fn edits_in_several_places_do_no_harm(
        edits in prop::collection::vec((any::<usize>(), any::<usize>(), any::<u8>()), 1..8),
    ) {
        let mut pieces = Pieces::of(&write(&every_feature()));
        for (section, position, byte) in edits {
            let count = pieces.sections.len();
            let bytes = &mut pieces.sections[section % count].bytes;
            let length = bytes.len();
            bytes[position % length] = byte;
        }
        read_or_refuse(&pieces.file());
    }
}
