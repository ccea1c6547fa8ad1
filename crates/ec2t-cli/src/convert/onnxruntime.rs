//! onnxruntime in a Python process.

use std::io::{Read, Write};
use std::path::Path;
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};

use anyhow::{Context, Result, anyhow, bail};

use crate::python::{VARIABLE, program};

const SCRIPT: &str = include_str!("onnxruntime.py");

/// A Python that has onnxruntime.
pub(super) struct Runtime {
    python: String,
    /// Of onnxruntime.
    pub(super) version: String,
}

impl Runtime {
    /// Looks for it.
    pub(super) fn find() -> Result<Self> {
        let python = program();
        let ask = "import numpy, onnxruntime; print(onnxruntime.__version__)";
        let fault = match Command::new(&python).args(["-c", ask]).output() {
            Ok(output) if output.status.success() => {
                let version = String::from_utf8_lossy(&output.stdout).trim().to_owned();
                return Ok(Self { python, version });
            }
            Ok(output) => last_line(&output.stderr),
            Err(error) => error.to_string(),
        };
        bail!(
            "--check needs a Python with onnxruntime and numpy (pip install onnxruntime), \
             {VARIABLE} can name it; {python}: {fault}"
        )
    }

    /// Starts to run a model.
    pub(super) fn start(&self, model: &Path) -> Result<Running> {
        let mut command = Command::new(&self.python);
        command.args(["-c", SCRIPT]).arg(model);
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = command.spawn().context("cannot start Python")?;
        let (Some(stdin), Some(stdout)) = (child.stdin.take(), child.stdout.take()) else {
            bail!("cannot talk to Python");
        };
        Ok(Running { child, stdin, stdout })
    }
}

/// A model that is loaded, or just being loaded.
pub(super) struct Running {
    child: Child,
    stdin: ChildStdin,
    stdout: ChildStdout,
}

impl Running {
    /// The outputs, `len` for each image, of some images of pixels in 0…1.
    pub(super) fn run(&mut self, pixels: &[f32], images: usize, len: usize) -> Result<Vec<f32>> {
        self.exchange(pixels, images, len).map_err(|error| self.fault(error))
    }

    fn exchange(&mut self, pixels: &[f32], images: usize, len: usize) -> std::io::Result<Vec<f32>> {
        self.stdin.write_all(&(images as u32).to_le_bytes())?;
        let bytes: Vec<u8> = pixels.iter().flat_map(|value| value.to_le_bytes()).collect();
        self.stdin.write_all(&bytes)?;
        self.stdin.flush()?;
        let mut bytes = vec![0; images * len * size_of::<f32>()];
        self.stdout.read_exact(&mut bytes)?;
        let (values, _) = bytes.as_chunks();
        Ok(values.iter().map(|value| f32::from_le_bytes(*value)).collect())
    }

    /// What onnxruntime says where it has ended early.
    fn fault(&mut self, error: std::io::Error) -> anyhow::Error {
        let mut said = Vec::new();
        let heard = match self.child.stderr.take() {
            Some(mut stderr) => stderr.read_to_end(&mut said).is_ok(),
            None => false,
        };
        match last_line(&said) {
            line if heard && !line.is_empty() => anyhow!("onnxruntime: {line}"),
            _ => anyhow::Error::new(error).context("onnxruntime gives no answer"),
        }
    }
}

impl Drop for Running {
    /// It waits for more images: nobody has any.
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn last_line(text: &[u8]) -> String {
    let text = String::from_utf8_lossy(text);
    text.trim().lines().last().unwrap_or_default().to_owned()
}
