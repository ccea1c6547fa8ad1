//! Real checkpoints of the field, found through `EC2T_MODELS_DIR`.

use std::path::PathBuf;

use ec2t_format::{Tensor, TernaryTensor};
use ec2t_interop::{Imported, InteropError, import};
use ec2t_scale::{ArchOptions, build};

/// Path of a checkpoint, or `None`, with the reason printed, where it cannot
/// be tested.
#[expect(clippy::print_stdout, reason = "a skipped test says so")]
fn checkpoint(file: &str) -> Option<PathBuf> {
    match std::env::var_os("EC2T_MODELS_DIR") {
        Some(folder) => Some(PathBuf::from(folder).join(file)),
        None => {
            println!("skipped: EC2T_MODELS_DIR, the folder of {file}, is not set");
            None
        }
    }
}

fn import_as(arch: &str, path: PathBuf) -> Result<Imported, InteropError> {
    import(path, build(arch, &ArchOptions::default()).unwrap())
}

#[test]
fn float_resnets_import_whole() {
    let cases = [
        ("resnet20", "resnet20-12fca82f.th", 97),
        ("resnet32", "resnet32-d509ac18.th", 157),
        ("resnet56", "resnet56-4bfd9763.th", 277),
    ];
    for (arch, file, tensors) in cases {
        let Some(path) = checkpoint(file) else { return };
        let Imported { network, report } = import_as(arch, path).unwrap();
        assert_eq!(report.matched.len(), tensors, "{file}");
        assert_eq!(network.ternary_layers(), 0, "{file}");
    }
}

#[test]
fn lenet5_imports_whole() {
    let Some(path) = checkpoint("lenet5-mnist.pt") else { return };
    let Imported { network, report } = import_as("lenet5", path).unwrap();
    assert_eq!((report.matched.len(), report.ignored), (10, 0));
    assert_eq!(network.ternary_layers(), 0);
}

fn ternary<'n>(imported: &'n Imported, name: &str) -> &'n TernaryTensor {
    match imported.network.tensor(name) {
        Some(Tensor::Ternary(ternary)) => ternary,
        other => panic!("{name} is {other:?}"),
    }
}

#[test]
fn ternary_resnets_stay_ternary() {
    for file in ["resnet20_ec2t_spars45.pt", "resnet20_ec2t_spars64.pt"] {
        let Some(path) = checkpoint(file) else { return };
        let imported = import_as("resnet20", path).unwrap();
        assert_eq!((imported.report.matched.len(), imported.report.ignored), (97, 19), "{file}");
        assert_eq!(imported.network.ternary_layers(), 18, "{file}");
        for stage in 1..=3 {
            for (block, conv) in [(0, 1), (0, 2), (1, 1), (1, 2), (2, 1), (2, 2)] {
                ternary(&imported, &format!("layer{stage}.{block}.conv{conv}.weight"));
            }
        }
    }
}

#[test]
fn centroids_and_shares_are_as_published() {
    let Some(path) = checkpoint("resnet20_ec2t_spars64.pt") else { return };
    let imported = import_as("resnet20", path).unwrap();
    let layer = ternary(&imported, "layer3.0.conv2.weight");
    assert_eq!((layer.w_neg(), layer.w_pos()), (0.097_118_94, 0.133_755_73));
    let counts = layer.counts();
    let share = |count: usize| format!("{:.4}", count as f64 / counts.total() as f64);
    assert_eq!([counts.neg, counts.zero, counts.pos].map(share), ["0.2261", "0.6249", "0.1490"]);
    assert_eq!(format!("{:.4}", counts.entropy_bits()), "1.3181");
}

#[test]
fn the_wrong_architecture_is_a_report() {
    let Some(path) = checkpoint("resnet32-d509ac18.th") else { return };
    let Err(InteropError::Mismatch { graph, report, .. }) = import_as("resnet20", path) else {
        panic!("a ResNet-32 is no ResNet-20");
    };
    assert_eq!(graph, "resnet20");
    assert_eq!((report.matched.len(), report.unexpected.len()), (97, 60));
    assert!(report.to_string().contains("unexpected  layer1.3.conv1.weight"), "{report}");
}
