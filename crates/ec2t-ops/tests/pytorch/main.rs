//! All operators against PyTorch's results in `f64`.
//!
//! `make_fixtures.py` beside this file computes them; `operators.safetensors`
//! holds what it wrote, a selection of the values of large tensors. Where
//! `EC2T_TORCH_PYTHON` names a Python that has PyTorch, the script runs again and
//! every value is compared.
//!
//! Errors are relative to the largest value of a tensor. Dropout is not here:
//! PyTorch draws other random numbers.

#[path = "../common/mod.rs"]
mod common;
mod convolution;
mod fixture;
mod loss;
mod norm;
mod pointwise;
mod pool;

use ec2t_kernels::arch::{ISA_VARIABLE, Isa, isa};

/// Runs all tests again with each instruction set that is not in use, but for
/// those of convolution, which choose their own.
#[test]
fn every_instruction_set_agrees() {
    if std::env::var_os(ISA_VARIABLE).is_some() {
        return; // the rerun, or the user's choice
    }
    for other in Isa::available().filter(|other| *other != isa()) {
        let output = std::process::Command::new(std::env::current_exe().unwrap())
            .args(["--skip", "convolution::"])
            .env(ISA_VARIABLE, other.name())
            .output()
            .unwrap();
        let log = String::from_utf8_lossy(&output.stdout);
        assert!(output.status.success(), "with {}:\n{log}", other.name());
    }
}
