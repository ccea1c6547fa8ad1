//! Logits of PyTorch's networks, by our engine on the imported checkpoints; those with
//! torchvision's names are written again, for PyTorch to load.
//!
//! `EC2T_LOGITS_DIR` names a folder that logits.py has written; `cargo xtask logits` makes
//! one and runs this test, which is skipped without it.

use std::path::{Path, PathBuf};

use ec2t_format::DenseTensor;
use ec2t_infer::Model;
use ec2t_interop::safetensors::{self, Weights};
use ec2t_interop::{StateDict, import};
use ec2t_scale::{ArchOptions, build};

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

/// Largest difference over the largest logit.
const TOLERANCE: f32 = 1e-4;

/// Images and logits that PyTorch has written.
struct Outputs(StateDict);

impl Outputs {
    fn open(path: &Path) -> Self {
        Self(StateDict::open(path).unwrap())
    }

    fn get(&self, name: &str) -> &DenseTensor {
        self.0.get(name).unwrap()
    }
}

/// The largest difference from PyTorch's logits, over the largest of these.
fn difference(folder: &Path, arch: &str) -> f32 {
    let outputs = Outputs::open(&folder.join(format!("{arch}.outputs.pth")));
    let (images, expected) = (outputs.get("images"), outputs.get("logits"));
    let options = ArchOptions { classes: expected.shape()[1], ..ArchOptions::default() };
    let graph = build(arch, &options).unwrap();
    let network = import(folder.join(format!("{arch}.pth")), graph).unwrap().network;
    if TORCHVISION.contains(&arch) {
        let file = safetensors::write(&network, Weights::Floats).unwrap();
        std::fs::write(folder.join(format!("{arch}.safetensors")), file).unwrap();
    }
    let logits = Model::new(network).unwrap().run(images.data(), images.shape()[0]).unwrap();
    assert_eq!(logits.len(), expected.data().len(), "{arch}");
    let apart = logits.iter().zip(expected.data()).map(|(a, b)| (a - b).abs());
    apart.fold(0.0, f32::max) / expected.data().iter().fold(0.0, |m: f32, x| m.max(x.abs()))
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
