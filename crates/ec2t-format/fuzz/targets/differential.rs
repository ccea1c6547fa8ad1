//! Both encodings of a graph, and both ways to store dense tensors, say the same:
//! what is read as version 1.0, by code that predicts nothing, is the same network
//! when it comes back from a file of the current version.
#![no_main]

use ec2t_format::{layout, write};
use ec2t_format_fuzz::{bits, read, sealed};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|input: &[u8]| {
    let mut plain = input.to_vec();
    if let Some(minor) = plain.get_mut(10..12) {
        minor.fill(0);
    }
    let plain = sealed(&plain);
    let Ok(network) = read(&plain) else { return };
    let packed = write(&network);
    let back = ec2t_format::read(&packed).expect("what is written is read");
    assert_eq!(back.graph(), network.graph());
    assert_eq!(back.metadata, network.metadata);
    assert_eq!(bits(&back), bits(&network));

    let [old, new] = [&plain, &packed].map(|file| layout(file).expect("it was read"));
    assert_eq!((old.version.minor, new.version.minor), (0, 2));
    for (old, new) in old.tensors.iter().zip(&new.tensors) {
        assert_eq!(old.name, new.name);
        assert!(new.len <= old.len, "{}: {} bytes became {}", new.name, old.len, new.len);
    }
});
