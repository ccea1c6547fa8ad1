//! Any bytes are an ONNX model or refused: no panic, no hang, no more memory than allowed.
//! What is read is written, and then read as the same network, but for what a model does
//! not keep.
#![no_main]

use ec2t_format::fold_batch_norm;
use ec2t_interop::onnx::{Codes, Imported, read, write};
use ec2t_interop_fuzz::{bits, networks, write_seeds};
use libfuzzer_sys::fuzz_target;

fuzz_target!(init: write_seeds(models()), |input: &[u8]| {
    let Ok(Imported { network, .. }) = read(input) else { return };
    let folded = fold_batch_norm(&network);
    for codes in Codes::ALL {
        let model = write(&network, codes).expect("what is read is small enough");
        let back = read(&model).expect("what is written is read").network;
        assert_eq!(bits(&back), bits(&folded), "{codes:?}");
    }
});

/// Small models of every form.
fn models() -> Vec<Vec<u8>> {
    let models = |network| Codes::ALL.map(|codes| write(&network, codes).expect("it is small"));
    networks().into_iter().flat_map(models).collect()
}
