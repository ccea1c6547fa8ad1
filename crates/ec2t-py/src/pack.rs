//! Named tensors of Python, written to a model file.

use std::io::Write;
use std::path::{Path, PathBuf};

use ec2t_format::codec::Effort;
use ec2t_format::graph::Preprocess;
use ec2t_format::{DenseTensor, Graph};
use ec2t_interop::{StateDict, import_state};
use ec2t_scale::ArchOptions;
use numpy::{PyArrayLikeDyn, TypeMustMatch};
use pyo3::prelude::*;
use pyo3::types::{PyDict, PyMapping};

use crate::error::{io, value};

/// What stands for the file of a checkpoint in messages.
const SOURCE: &str = "tensors";

/// Classes of a network: how many, or their names.
#[derive(FromPyObject)]
pub(crate) enum Classes {
    Count(usize),
    Names(Vec<String>),
}

/// The names of all architectures.
#[pyfunction]
pub(crate) fn architectures() -> Vec<&'static str> {
    ec2t_scale::names().collect()
}

/// Writes a model file of named tensors.
#[pyfunction]
#[pyo3(signature = (
    tensors, path, *, arch, classes = Classes::Count(10), mean = None, std = None, effort = "balanced"
))]
#[expect(clippy::too_many_arguments, reason = "they have names in Python")]
pub(crate) fn pack(
    py: Python<'_>,
    tensors: &Bound<'_, PyMapping>,
    path: PathBuf,
    arch: &str,
    classes: Classes,
    mean: Option<Vec<f32>>,
    std: Option<Vec<f32>>,
    effort: &str,
) -> PyResult<usize> {
    let effort = match effort {
        "balanced" => Effort::Balanced,
        "max" => Effort::Max,
        "ready" => Effort::Ready,
        _ => return Err(value(format!("effort is balanced, max or ready, found {effort:?}"))),
    };
    let graph = graph(arch, classes, mean, std)?;
    let state = state(tensors)?;
    py.detach(|| {
        let imported = import_state(Path::new(SOURCE), state, graph).map_err(value)?;
        let file = ec2t_format::write_with(&imported.network, effort);
        replace(&path, &file).map_err(|error| io(&path, &error))?;
        Ok(file.len())
    })
}

/// The graph of an architecture, with class names and preprocessing.
fn graph(
    arch: &str,
    classes: Classes,
    mean: Option<Vec<f32>>,
    std: Option<Vec<f32>>,
) -> PyResult<Graph> {
    let (count, names) = match classes {
        Classes::Count(count) => (count, Vec::new()),
        Classes::Names(names) => (names.len(), names),
    };
    let options = ArchOptions { classes: count, ..ArchOptions::default() };
    let mut graph = ec2t_scale::build(arch, &options).map_err(value)?;
    graph.classes = names;
    let plain = Preprocess::none(graph.input.channels);
    graph.preprocess =
        Preprocess { mean: mean.unwrap_or(plain.mean), std: std.unwrap_or(plain.std) };
    graph.validate().map_err(value)?;
    Ok(graph)
}

/// All tensors, as 32-bit floats.
fn state(tensors: &Bound<'_, PyMapping>) -> PyResult<StateDict> {
    let mut state = Vec::new();
    for item in tensors.items()?.iter() {
        let (name, tensor): (String, Bound<'_, PyAny>) = item.extract()?;
        let tensor = dense(&tensor).map_err(|error| value(format!("{SOURCE}: {name}: {error}")))?;
        state.push((name, tensor));
    }
    Ok(state.into_iter().collect())
}

/// A tensor of PyTorch, or what NumPy makes an array of.
fn dense(tensor: &Bound<'_, PyAny>) -> PyResult<DenseTensor> {
    let py = tensor.py();
    let tensor = match tensor.hasattr("detach")? {
        // NumPy refuses tensors with gradients or on other devices, and does not know bfloat16.
        true => tensor.call_method0("detach")?.call_method0("cpu")?.call_method0("float")?,
        false => tensor.clone(),
    };
    let numpy = py.import("numpy")?;
    let options = PyDict::new(py);
    options.set_item("dtype", "float32")?;
    let array = numpy.call_method("asarray", (tensor,), Some(&options))?;
    let array: PyArrayLikeDyn<'_, f32, TypeMustMatch> = array.extract()?;
    let array = array.as_array();
    DenseTensor::new(array.shape().to_vec(), array.iter().copied().collect()).map_err(value)
}

/// Writes a file, whole or not at all.
fn replace(path: &Path, bytes: &[u8]) -> std::io::Result<()> {
    let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty());
    let mut file = tempfile::NamedTempFile::new_in(folder.unwrap_or(Path::new(".")))?;
    file.write_all(bytes)?;
    file.persist(path)?;
    Ok(())
}
