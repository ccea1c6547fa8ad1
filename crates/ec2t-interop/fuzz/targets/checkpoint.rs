//! Any bytes are a checkpoint or refused, whichever of the forms they resemble.
#![no_main]

use ec2t_interop::StateDict;
use ec2t_interop::safetensors::{Weights, write};
use ec2t_interop_fuzz::{networks, write_seeds};
use libfuzzer_sys::fuzz_target;

fuzz_target!(init: write_seeds(files()), |input: &[u8]| {
    let Ok(state) = StateDict::from_bytes(input) else { return };
    for (name, tensor) in state.iter() {
        let count: usize = tensor.shape().iter().product();
        assert_eq!(tensor.data().len(), count, "{name}");
    }
});

/// Small safetensors files of both forms.
fn files() -> Vec<Vec<u8>> {
    let forms = [Weights::Floats, Weights::Codes];
    let files = |network| forms.map(|form| write(&network, form).expect("it is small"));
    networks().into_iter().flat_map(files).collect()
}
