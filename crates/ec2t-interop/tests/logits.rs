//! Logits of PyTorch's networks, by our engine on the imported checkpoints; those with
//! torchvision's names are written again, for PyTorch to load.
//!
//! `EC2T_LOGITS_DIR` names a folder that logits.py has written; `cargo xtask logits` makes
//! one and runs this test, which is skipped without it.

mod outputs;

use std::path::{Path, PathBuf};

use ec2t_interop::import;
use ec2t_interop::safetensors::{self, Weights};
use ec2t_scale::{ArchOptions, build};

use outputs::{Outputs, TOLERANCE};

const VARIABLE: &str = "EC2T_LOGITS_DIR";

/// As those of logits.py. B1 takes images of 240² here and there.
const NETWORKS: [&str; 9] = [
    "efficientnet_lite0",
    "resnet18",
    "resnet34",
    "resnet50",
    "mobilenet_v2",
    "efficientnet_b0",
    "efficientnet_b1",
    "tf_efficientnet_b0",
    "tf_efficientnet_b1",
];

/// Those of which the graph has PyTorch's names.
const TORCHVISION: [&str; 6] =
    ["resnet18", "resnet34", "resnet50", "mobilenet_v2", "efficientnet_b0", "efficientnet_b1"];

/// The largest difference from PyTorch's logits, over the largest of these.
fn difference(folder: &Path, arch: &str) -> f32 {
    let outputs = Outputs::open(&folder.join(format!("{arch}.outputs.pth")));
    let options = ArchOptions { classes: outputs.logits().shape()[1], ..ArchOptions::default() };
    let graph = build(arch, &options).unwrap();
    let network = import(folder.join(format!("{arch}.pth")), graph).unwrap().network;
    if TORCHVISION.contains(&arch) {
        let file = safetensors::write(&network, Weights::Floats).unwrap();
        std::fs::write(folder.join(format!("{arch}.safetensors")), file).unwrap();
    }
    outputs.difference(network)
}

#[test]
#[expect(clippy::print_stdout, reason = "a skipped test says so, and figures are shown")]
fn networks_of_pytorch_have_the_same_logits_here() {
    let Some(folder) = std::env::var_os(VARIABLE).map(PathBuf::from) else {
        println!("skipped: {VARIABLE} names no folder that logits.py has written");
        return;
    };
    let differences = NETWORKS.map(|arch| (arch, difference(&folder, arch)));
    for (arch, difference) in differences {
        println!("{arch:20} {difference:.1e}");
    }
    assert!(differences.iter().all(|(_, difference)| *difference <= TOLERANCE), "{differences:?}");
}
