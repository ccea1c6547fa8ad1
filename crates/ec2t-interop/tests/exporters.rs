//! Networks of torchvision and timm, as PyTorch's two exporters write them: they compute here
//! what they do in onnxruntime, or are refused by the name of a node.
//!
//! `EC2T_EXPORTERS_DIR` names a folder that exporters.py has written; `cargo xtask logits`
//! makes one and runs this test, which is skipped without it.

mod outputs;

use std::path::{Path, PathBuf};

use ec2t_interop::onnx::OnnxError;
use ec2t_interop::{InteropError, onnx};

use outputs::{Outputs, TOLERANCE};

const VARIABLE: &str = "EC2T_EXPORTERS_DIR";

/// As in exporters.py: networks of layers that we have.
const READ: [&str; 7] = [
    "resnet18",
    "mobilenet_v2",
    "mobilenet_v3_small",
    "efficientnet_b0",
    "resnet26",
    "mobilenetv3_small_050",
    "efficientnet_lite0",
];
/// Those that join the channels of several layers.
const REFUSED: [&str; 3] = ["squeezenet1_1", "shufflenet_v2_x0_5", "densenet121"];

const EXPORTERS: [&str; 2] = ["legacy", "dynamo"];

/// The largest difference from onnxruntime's logits, over the largest of these.
fn difference(path: &Path) -> f32 {
    let outputs = Outputs::open(&path.with_extension("outputs.pth"));
    outputs.difference(onnx::open(path).unwrap().network)
}

#[test]
#[expect(clippy::print_stdout, reason = "a skipped test says so, and figures are shown")]
fn networks_of_pytorchs_exporters_have_onnxruntimes_logits_here() {
    let Some(folder) = std::env::var_os(VARIABLE).map(PathBuf::from) else {
        println!("skipped: {VARIABLE} names no folder that exporters.py has written");
        return;
    };
    let path = |name: &str, exporter: &str| folder.join(format!("{name}-{exporter}.onnx"));
    for name in READ {
        let differences = EXPORTERS.map(|exporter| difference(&path(name, exporter)));
        let [legacy, dynamo] = differences;
        println!("{name:24} legacy {legacy:.1e}, dynamo {dynamo:.1e}");
        assert!(differences.into_iter().all(|difference| difference <= TOLERANCE), "{name}");
    }
    for name in REFUSED {
        for exporter in EXPORTERS {
            let Err(InteropError::Onnx { source, .. }) = onnx::open(path(name, exporter)) else {
                panic!("{name}-{exporter} was read");
            };
            println!("{name:24} {exporter}: {source}");
            assert!(
                matches!(&*source, OnnxError::Unsupported { operator, .. } if operator == "Concat")
            );
        }
    }
}
