//! Checkpoints with the names of EfficientNet-PyTorch and efficientnet-lite-pytorch.

use std::collections::HashMap;
use std::path::PathBuf;

use ec2t_interop::{InteropError, import};
use ec2t_scale::{ArchOptions, build};

/// Writes a safetensors file of zeros with these tensors.
fn write(folder: &tempfile::TempDir, tensors: &[(String, Vec<usize>)]) -> PathBuf {
    let path = folder.path().join("net.safetensors");
    let largest = tensors.iter().map(|(_, shape)| shape.iter().product::<usize>()).max().unwrap();
    let zeros = vec![0u8; 4 * largest];
    let views: HashMap<String, safetensors::tensor::TensorView<'_>> = (tensors.iter())
        .map(|(name, shape)| {
            let data = &zeros[..4 * shape.iter().product::<usize>()];
            let dtype = safetensors::Dtype::F32;
            let view = safetensors::tensor::TensorView::new(dtype, shape.clone(), data).unwrap();
            (name.clone(), view)
        })
        .collect();
    safetensors::serialize_to_file(views, None, &path).unwrap();
    path
}

/// A checkpoint as the two programs would write it: B0 or Lite0, for ten classes.
#[derive(Default)]
struct Checkpoint(Vec<(String, Vec<usize>)>);

impl Checkpoint {
    fn of(squeezes: bool) -> Self {
        let mut all = Self::default();
        all.conv("_conv_stem", &[32, 3, 3, 3]);
        all.norm("_bn0", 32);
        let (mut input, mut number) = (32, 0);
        // Expansion, kernel, channels, blocks.
        let stages = [
            [1, 3, 16, 1],
            [6, 3, 24, 2],
            [6, 5, 40, 2],
            [6, 3, 80, 3],
            [6, 5, 112, 3],
            [6, 5, 192, 4],
            [6, 3, 320, 1],
        ];
        for [expand, kernel, output, blocks] in stages {
            for _ in 0..blocks {
                all.block(number, [input, expand * input, kernel, output], squeezes);
                (input, number) = (output, number + 1);
            }
        }
        all.conv("_conv_head", &[1280, 320, 1, 1]);
        all.norm("_bn1", 1280);
        all.conv("_fc", &[10, 1280]);
        all.bias("_fc", 10);
        all
    }

    fn block(&mut self, number: usize, sizes: [usize; 4], squeezes: bool) {
        let [input, hidden, kernel, output] = sizes;
        let layer = |layer: &str| format!("_blocks.{number}.{layer}");
        if hidden != input {
            self.conv(&layer("_expand_conv"), &[hidden, input, 1, 1]);
            self.norm(&layer("_bn0"), hidden);
        }
        self.conv(&layer("_depthwise_conv"), &[hidden, 1, kernel, kernel]);
        self.norm(&layer("_bn1"), hidden);
        if squeezes {
            self.conv(&layer("_se_reduce"), &[input / 4, hidden, 1, 1]);
            self.bias(&layer("_se_reduce"), input / 4);
            self.conv(&layer("_se_expand"), &[hidden, input / 4, 1, 1]);
            self.bias(&layer("_se_expand"), hidden);
        }
        self.conv(&layer("_project_conv"), &[output, hidden, 1, 1]);
        self.norm(&layer("_bn2"), output);
    }

    fn conv(&mut self, layer: &str, shape: &[usize]) {
        self.0.push((format!("{layer}.weight"), shape.to_vec()));
    }

    fn bias(&mut self, layer: &str, channels: usize) {
        self.0.push((format!("{layer}.bias"), vec![channels]));
    }

    fn norm(&mut self, layer: &str, channels: usize) {
        for suffix in ["weight", "bias", "running_mean", "running_var"] {
            self.0.push((format!("{layer}.{suffix}"), vec![channels]));
        }
    }
}

#[test]
fn their_names_become_the_graphs() {
    let folder = tempfile::tempdir().unwrap();
    for (arch, squeezes) in [("tf_efficientnet_b0", true), ("efficientnet_lite0", false)] {
        let path = write(&folder, &Checkpoint::of(squeezes).0);
        let graph = build(arch, &ArchOptions::default()).unwrap();
        let tensors = graph.params().len();
        let imported = import(&path, graph).unwrap();
        assert_eq!(imported.report.matched.len(), tensors, "{arch}");
    }
}

#[test]
fn a_graph_that_pads_otherwise_gets_none_of_them() {
    let folder = tempfile::tempdir().unwrap();
    let path = write(&folder, &Checkpoint::of(true).0);
    let graph = build("efficientnet_b0", &ArchOptions::default()).unwrap();
    let Err(InteropError::Mismatch { report, .. }) = import(&path, graph) else {
        panic!("torchvision's EfficientNet has other padding");
    };
    assert!(report.matched.is_empty(), "{report}");
}
