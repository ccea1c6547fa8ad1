//! Any bytes are read or refused: no panic, no hang, no more memory than allowed.
#![no_main]

use ec2t_format::layout;
use ec2t_format_fuzz::{read, sealed};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|input: &[u8]| {
    for file in [input, &sealed(input)] {
        let (network, layout) = (read(file), layout(file));
        if let (Ok(network), Ok(layout)) = (network, layout) {
            assert_eq!(layout.file_len(), file.len());
            assert_eq!(layout.tensors.len(), network.tensors().len());
        }
    }
});
