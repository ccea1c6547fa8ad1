//! The Python package `ec2t`: models on NumPy arrays.
//!
//! | module | has |
//! |---|---|
//! | [`model`] | `Model`: what `load` and `builtin` give |
//! | [`pack`] | `pack`: tensors to a file |
//! | [`error`] | the exceptions that errors become |
//!
//! Arrays are copied as they come in: other threads of Python may change them while the
//! network is computed without its lock. `ec2t.pyi` says to type checkers what is here.
#![forbid(unsafe_code)]

mod error;
mod model;
mod pack;

use pyo3::prelude::*;

/// Runs and writes .ec2t models: sparse ternary convolutional networks.
#[pymodule]
fn ec2t(module: &Bound<'_, PyModule>) -> PyResult<()> {
    module.add("__version__", env!("CARGO_PKG_VERSION"))?;
    module.add_class::<model::Model>()?;
    module.add_function(wrap_pyfunction!(model::load, module)?)?;
    module.add_function(wrap_pyfunction!(model::builtin, module)?)?;
    module.add_function(wrap_pyfunction!(pack::architectures, module)?)?;
    module.add_function(wrap_pyfunction!(pack::pack, module)?)
}
