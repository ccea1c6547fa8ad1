//! The section of grids, which readers may skip.

use std::collections::BTreeMap;

use crate::networks::tiny;
use crate::pieces::{Piece, Pieces};
use ec2t_format::{
    FormatError, Grid, Limits, Network, SectionKind, layout, read, stats::file_stats, verify, write,
};

/// A network with grids for its input and its only layer.
fn calibrated() -> Network {
    let names = tiny().graph().nodes.iter().map(|node| node.name.clone()).collect::<Vec<_>>();
    let grid = |index: usize| Grid { scale: 0.5 + index as f32, zero: 7 * index as u8 };
    let grids = names.into_iter().enumerate().map(|(index, name)| (name, grid(index)));
    tiny().with_grids(grids.collect()).unwrap()
}

fn pieces() -> Pieces {
    Pieces::of(&write(&calibrated()))
}

/// The error of a file whose section of grids has been changed.
fn error(change: impl FnOnce(&mut Vec<u8>)) -> FormatError {
    let mut pieces = pieces();
    change(&mut pieces.sections.last_mut().unwrap().bytes);
    read(&pieces.file()).unwrap_err()
}

#[test]
fn grids_are_read_as_they_were_written() {
    let file = write(&calibrated());
    assert_eq!(read(&file).unwrap(), calibrated());
    assert_eq!(verify(&file, &Limits::default()).unwrap(), calibrated());
    let last = layout(&file).unwrap().sections.pop().unwrap();
    assert_eq!((last.kind, last.name.as_str()), (SectionKind::Grids, "grids"));
    let stats = file_stats(&calibrated(), &layout(&file).unwrap());
    assert_eq!(stats.rest.last().unwrap().bytes, last.len);
}

#[test]
fn their_bytes_are_those_of_the_page() {
    let Piece { kind, encoding, bytes } = pieces().sections.pop().unwrap();
    assert_eq!((kind, encoding), (128, 0));
    let mut expected = vec![calibrated().grids().len() as u8];
    for (position, node) in calibrated().graph().nodes.iter().enumerate() {
        let grid = calibrated().grids()[&node.name];
        expected.push(position as u8);
        expected.extend(grid.scale.to_le_bytes());
        expected.push(grid.zero);
    }
    assert_eq!(bytes, expected);
}

#[test]
fn a_network_without_grids_has_no_section() {
    let without = calibrated().with_grids(BTreeMap::new()).unwrap();
    assert_eq!(write(&without), write(&tiny()));
}

#[test]
fn other_encodings_are_skipped() {
    let mut pieces = pieces();
    pieces.sections.last_mut().unwrap().encoding = 1;
    assert_eq!(read(&pieces.file()).unwrap(), tiny());
}

#[test]
fn grids_stand_behind_the_metadata() {
    let mut pieces = pieces();
    let grids = pieces.sections.pop().unwrap();
    let mut twice = Pieces::of(&write(&calibrated()));
    twice.sections.push(Piece { kind: 128, encoding: 0, bytes: grids.bytes.clone() });
    assert!(matches!(read(&twice.file()), Err(FormatError::SectionOrder { .. })));
    let metadata = pieces.sections.len() - 1;
    pieces.sections.insert(metadata, grids);
    let error = read(&pieces.file()).unwrap_err();
    assert!(matches!(error, FormatError::SectionOrder { .. } | FormatError::TensorCount { .. }));
}

#[test]
fn what_grids_cannot_be_is_refused() {
    let none = error(|bytes| *bytes = vec![0]);
    assert!(matches!(none, FormatError::NoGrids { .. }), "{none}");
    let many = error(|bytes| bytes[0] = 100);
    assert!(matches!(many, FormatError::TooLarge { what: "number of grids", .. }), "{many}");
    let unknown = error(|bytes| bytes[1] = 100);
    assert!(matches!(unknown, FormatError::TooLarge { what: "layer of a grid", .. }), "{unknown}");
    let twice = error(|bytes| bytes[7] = 0);
    assert!(matches!(twice, FormatError::GridOrder { position: 0, .. }), "{twice}");
    let long = error(|bytes| bytes.push(0));
    assert!(matches!(long, FormatError::Trailing { .. }), "{long}");
    let short = error(|bytes| bytes.truncate(9));
    assert!(matches!(short, FormatError::Truncated { .. }), "{short}");
    for scale in [0.0, -0.0, -1.0, f32::NAN, f32::INFINITY] {
        let error = error(|bytes| bytes[2..6].copy_from_slice(&scale.to_le_bytes()));
        assert!(matches!(error, FormatError::GridScale { .. }), "{scale}: {error}");
        assert!(error.to_string().starts_with("grids at byte "), "{error}");
    }
}
