//! Models in Python.

use std::fmt::Display;
use std::fs;
use std::path::PathBuf;

use numpy::{
    PyArray1, PyArray2, PyArrayMethods, PyReadonlyArray4, PyUntypedArray, PyUntypedArrayMethods,
};
use pyo3::exceptions::PyTypeError;
use pyo3::prelude::*;

use crate::error::{io, value};

/// A network that is ready to run.
#[pyclass(module = "ec2t", frozen)]
pub(crate) struct Model {
    model: ec2t_infer::Model,
    bytes: usize,
    sparsity: f64,
}

/// Reads a model file.
#[pyfunction]
pub(crate) fn load(py: Python<'_>, path: PathBuf) -> PyResult<Model> {
    let file = fs::read(&path).map_err(|error| io(&path, &error))?;
    let named = |error: String| value(format!("{}: {error}", path.display()));
    py.detach(|| Model::of_file(&file)).map_err(named)
}

/// A trained model that is part of the package.
#[pyfunction]
pub(crate) fn builtin(name: &str) -> PyResult<Model> {
    let file = ec2t_infer::builtin::file(name).ok_or_else(|| {
        let names: Vec<&str> = ec2t_infer::builtin::names().collect();
        value(format!("no model `{name}` is part of the package; there is {}", names.join(", ")))
    })?;
    Model::of_file(file).map_err(value)
}

impl Model {
    fn of_file(file: &[u8]) -> Result<Self, String> {
        let network = ec2t_format::read(file).map_err(|error| error.to_string())?;
        let sparsity = network.sparsity();
        let model = ec2t_infer::Model::new(network).map_err(|error| error.to_string())?;
        Ok(Self { model, bytes: file.len(), sparsity })
    }

    /// Checks the shape of images.
    fn check_shape(&self, found: &[usize]) -> PyResult<()> {
        let input = self.model.input_shape();
        let shape = [input.channels, input.height, input.width];
        match found {
            [_, image @ ..] if image == shape => Ok(()),
            _ => Err(value(format!("expected images of N×{input}, found {}", times(found)))),
        }
    }
}

fn times<T: Display>(shape: &[T]) -> String {
    shape.iter().map(T::to_string).collect::<Vec<_>>().join("×")
}

#[pymethods]
impl Model {
    fn __call__<'py>(
        &self,
        py: Python<'py>,
        images: &Bound<'py, PyAny>,
    ) -> PyResult<Bound<'py, PyArray2<f32>>> {
        let array = images.cast::<PyUntypedArray>().map_err(|_| {
            PyTypeError::new_err(format!("expected a NumPy array, found {}", images.get_type()))
        })?;
        self.check_shape(array.shape())?;
        let count = array.shape()[0];
        let logits = if let Ok(pixels) = images.extract::<PyReadonlyArray4<'_, u8>>() {
            let pixels: Vec<u8> = pixels.as_array().iter().copied().collect();
            py.detach(|| self.model.run_pixels(&pixels, count))
        } else if let Ok(values) = images.extract::<PyReadonlyArray4<'_, f32>>() {
            let values: Vec<f32> = values.as_array().iter().copied().collect();
            py.detach(|| self.model.run(&values, count))
        } else {
            let found = array.dtype();
            let text = format!("expected uint8 pixels or float32 values, found {found}");
            return Err(PyTypeError::new_err(text));
        };
        let logits = logits.map_err(value)?;
        PyArray1::from_vec(py, logits).reshape([count, self.model.output_len()])
    }

    #[getter]
    fn name(&self) -> &str {
        &self.model.graph().name
    }

    #[getter]
    fn classes(&self) -> Vec<String> {
        self.model.graph().classes.clone()
    }

    #[getter]
    fn input_shape(&self) -> (usize, usize, usize) {
        let shape = self.model.input_shape();
        (shape.channels, shape.height, shape.width)
    }

    #[getter]
    fn outputs(&self) -> usize {
        self.model.output_len()
    }

    #[getter]
    fn mean(&self) -> Vec<f32> {
        self.model.graph().preprocess.mean.clone()
    }

    #[getter]
    fn std(&self) -> Vec<f32> {
        self.model.graph().preprocess.std.clone()
    }

    #[getter]
    fn bytes(&self) -> usize {
        self.bytes
    }

    #[getter]
    fn sparsity(&self) -> f64 {
        self.sparsity
    }

    fn __repr__(&self) -> String {
        let (name, input, bytes) = (self.name(), self.model.input_shape(), self.bytes);
        format!("<ec2t.Model {name}: {input} to {} classes, {bytes} bytes>", self.outputs())
    }
}
