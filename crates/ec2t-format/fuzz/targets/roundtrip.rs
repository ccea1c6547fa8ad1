//! What is read is written back: the same bytes, but for what a reader may skip
//! and for codecs that are not the shortest.
#![no_main]

use ec2t_format::container::Version;
use ec2t_format::{FormatError, Limits, SectionKind, layout, verify, write_with};
use ec2t_format_fuzz::{bits, read, sealed};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|input: &[u8]| {
    let file = sealed(input);
    let Ok(network) = read(&file) else { return };
    let layout = layout(&file).expect("what is read has a layout");
    let again = write_with(&network, layout.effort);
    let back = ec2t_format::read(&again).expect("what is written is read");
    assert_eq!(bits(&back), bits(&network));
    assert_eq!((back.graph(), &back.metadata), (network.graph(), &network.metadata));
    assert!(write_with(&back, layout.effort) == again, "writing twice differs");

    let skipped = |kind| matches!(kind, SectionKind::Skipped { .. });
    let is_current = layout.version == Version::CURRENT
        && file[12..20] == [0; 8]
        && !layout.sections.iter().any(|section| skipped(section.kind));
    match verify(&file, &Limits::default()) {
        Ok(_) => assert!(!is_current || again == file, "two forms of one network"),
        Err(FormatError::OtherCodec { .. }) => {}
        Err(error) => panic!("it was read, but: {error}"),
    }
});
