//! Other programs' forms of a network, as `ec2t export` writes them.

mod check;
mod onnxruntime;

use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};
use clap::{Args, ValueEnum};
use ec2t_data::LoadOptions;
use ec2t_format::{Network, Op};
use ec2t_infer::Model;
use ec2t_interop::safetensors::Weights;
use ec2t_interop::{onnx, safetensors};

use crate::commands::eval::check_fit;
use crate::fit::fit;
use crate::output::{grouped, print, tell, write_file};
use check::check;
use onnxruntime::Runtime;

/// Largest difference of two logits that rounding makes, as a share of the largest one.
const TOLERANCE: f32 = 1e-3;

/// What to know of a state dictionary without normalisations.
const FOLDED: &str = "batch normalisation is folded in this network: its layers have `scale` and \
     `bias`, which PyTorch's original has not; a run with export.fold_batch_norm = false, or \
     `ec2t import` without --fold-batch-norm, keeps it";

/// Which files to write, besides the model file.
#[derive(Args, Clone)]
#[group(skip)]
pub(crate) struct Formats {
    /// Write an ONNX model.
    #[arg(long, value_name = "FILE", group = "format")]
    onnx: Option<PathBuf>,
    /// How the ONNX model stores ternary weights.
    #[arg(long, value_enum, value_name = "CODES", default_value = "u8", requires = "onnx")]
    onnx_codes: OnnxCodes,
    /// Write a state dictionary as a safetensors file, all weights as floats.
    ///
    /// PyTorch's load_state_dict takes it where batch normalisation is not folded.
    #[arg(long, value_name = "FILE", group = "format")]
    safetensors: Option<PathBuf>,
    /// Write a safetensors file that has ternary weights as codes of two bits.
    #[arg(long, value_name = "FILE", group = "format")]
    safetensors_codes: Option<PathBuf>,
    /// Run the ONNX model in onnxruntime, by the Python that EC2T_PYTHON names or python3,
    /// and compare.
    #[arg(long, requires = "onnx")]
    check: bool,
    /// Compare on this dataset's test images; on 64 images of noise, if not given.
    #[arg(long, value_name = "NAME", requires = "check")]
    dataset: Option<String>,
}

/// How an ONNX model stores ternary weights.
#[derive(Clone, Copy, Debug, ValueEnum)]
enum OnnxCodes {
    /// 2-bit codes; opset 25, onnxruntime 1.32 reads it.
    U2,
    /// 4-bit codes; opset 21.
    U4,
    /// A byte per code; opset 13, which everything reads.
    U8,
    /// 32-bit floats; opset 13.
    Dense,
}

impl From<OnnxCodes> for onnx::Codes {
    fn from(codes: OnnxCodes) -> Self {
        match codes {
            OnnxCodes::U2 => onnx::Codes::U2,
            OnnxCodes::U4 => onnx::Codes::U4,
            OnnxCodes::U8 => onnx::Codes::U8,
            OnnxCodes::Dense => onnx::Codes::Dense,
        }
    }
}

impl Formats {
    /// Writes a network in every form that was asked for.
    pub(crate) fn write(&self, network: &Network, data_dir: Option<&Path>) -> Result<()> {
        if let Some(path) = &self.onnx {
            self.write_onnx(path, network, data_dir)?;
        }
        if let Some(path) = &self.safetensors {
            write_safetensors(path, network, Weights::Floats)?;
            if has_scales(network) {
                tell(FOLDED);
            }
        }
        match &self.safetensors_codes {
            Some(path) => write_safetensors(path, network, Weights::Codes),
            None => Ok(()),
        }
    }

    fn write_onnx(&self, path: &Path, network: &Network, data_dir: Option<&Path>) -> Result<()> {
        let runtime = self.check.then(Runtime::find).transpose()?;
        let codes: onnx::Codes = self.onnx_codes.into();
        let file = onnx::write(network, codes)?;
        write_file(path, &file)?;
        let (name, bytes) = (path.display(), grouped(file.len()));
        print(&format!("{name}: {bytes} bytes, {}, opset {}", codes.name(), codes.opset()))?;
        match runtime {
            Some(runtime) => self.compare(&runtime, path, network, data_dir),
            None => Ok(()),
        }
    }

    /// Compares what the file gives in onnxruntime with what we compute.
    fn compare(
        &self,
        runtime: &Runtime,
        path: &Path,
        network: &Network,
        data_dir: Option<&Path>,
    ) -> Result<()> {
        let model = Model::new(network.clone())?;
        let images = match &self.dataset {
            None => None,
            Some(dataset) => {
                let shape = model.input_shape();
                let options = LoadOptions {
                    data_dir: data_dir.map(Path::to_owned),
                    image_size: Some([shape.channels, shape.height, shape.width]),
                    fit: fit(&model)?,
                    ..LoadOptions::default()
                };
                let images = ec2t_data::load(dataset, &options)?.test;
                check_fit(&model, &images)?;
                Some(images)
            }
        };
        let found = check(runtime, path, &model, images.as_ref())?;
        let (same, images) = (grouped(found.same), grouped(found.images));
        let result = format!(
            "onnxruntime {} agrees on {same} of {images} {}; logits differ by at most {:.1e}, \
             the largest is {:.3}",
            runtime.version,
            if self.dataset.is_some() { "test images" } else { "images of noise" },
            found.difference,
            found.magnitude,
        );
        match found.difference <= TOLERANCE * found.magnitude.max(1.0) {
            true => print(&result),
            false => bail!("{}: {result}", path.display()),
        }
    }
}

fn write_safetensors(path: &Path, network: &Network, weights: Weights) -> Result<()> {
    let file = safetensors::write(network, weights)
        .with_context(|| format!("{}: cannot be written", path.display()))?;
    write_file(path, &file)?;
    print(&format!("{}: {} bytes", path.display(), grouped(file.len())))
}

/// Whether batch normalisation has been folded into ternary layers.
fn has_scales(network: &Network) -> bool {
    network.graph().nodes.iter().any(|node| matches!(&node.op, Op::Conv2d(conv) if conv.scale))
}
