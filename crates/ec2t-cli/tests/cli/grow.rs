//! Growing trained networks: what they compute stays, and training goes on from there.

use ec2t_format::graph::ParamKind;
use ec2t_format::{DenseTensor, Graph, Network, Tensor};
use ec2t_infer::Model;
use ec2t_scale::{ArchOptions, Scaling, grow};

use crate::util::{Sandbox, assert_has, folder_of, graph, settings};

const USAGE: i32 = 2;

fn scaled(name: &str, depth: f64, width: f64) -> Graph {
    let scaling = Scaling { depth, width, ..Scaling::default() };
    ec2t_scale::build(name, &ArchOptions { scaling, ..ArchOptions::default() }).unwrap()
}

/// A network whose normalisations do something, as in one that was trained.
fn lively(graph: &Graph) -> Network {
    let (graph, mut tensors, _) = ec2t_quant::initialize(graph, 5).unwrap().into_parts();
    for (number, param) in graph.params().into_iter().enumerate() {
        let wave = |i: usize| ((number * 31 + i * 17) as f32).sin();
        let value = |i: usize| match param.kind {
            ParamKind::NormWeight | ParamKind::RunningVar => Some(1.0 + 0.5 * wave(i)),
            ParamKind::NormBias | ParamKind::RunningMean => Some(0.2 * wave(i)),
            _ => None,
        };
        let values: Option<Vec<f32>> = (0..param.numel()).map(value).collect();
        if let Some(values) = values {
            let tensor = DenseTensor::new(param.shape, values).unwrap();
            tensors.insert(param.name, tensor.into());
        }
    }
    Network::new(graph, tensors).unwrap()
}

/// The logits of two images.
fn logits(network: &Network) -> Vec<f32> {
    let model = Model::new(network.clone()).unwrap();
    let pixel = |i: usize| (i as f32 * 0.37).sin() + (i as f32 * 0.011).cos();
    let images: Vec<f32> = (0..2 * model.input_shape().numel()).map(pixel).collect();
    model.run(&images, 2).unwrap()
}

/// Asserts that a grown network gives the same logits, to 1e-4 of the largest.
fn assert_same_function(small: &Network, large: &Graph) {
    let initial = ec2t_quant::initialize(large, 9).unwrap();
    let grown = grow(small, &initial, 0.5, 3).unwrap();
    assert!(grown.graph().parameter_count() > small.graph().parameter_count());
    let (expected, found) = (logits(small), logits(&grown));
    let largest = expected.iter().fold(0f32, |most, logit| most.max(logit.abs()));
    for (a, b) in expected.iter().zip(&found) {
        assert!((a - b).abs() <= 1e-4 * largest, "{}: {expected:?} {found:?}", large.name);
    }
}

#[test]
fn a_grown_network_computes_the_same() {
    for (name, depth, width) in [
        ("micronet", 1.4, 1.0),
        ("micronet", 1.0, 1.4),
        ("micronet", 1.4, 1.2),
        ("resnet20", 3.0, 1.0),
        ("resnet20", 1.4, 1.5),
        ("efficientnet_lite0", 1.2, 1.1),
        ("efficientnet_b0", 1.2, 1.1),
        ("mobilenet_v2", 1.0, 1.4),
    ] {
        let small = lively(&scaled(name, 1.0, 1.0));
        assert_same_function(&small, &scaled(name, depth, width));
    }
}

#[test]
fn the_published_resnet_grows() {
    let Some(folder) = folder_of("EC2T_MODELS_DIR") else { return };
    let file = folder.join("resnet20-12fca82f.th");
    let small = ec2t_interop::import(&file, graph("resnet20", 10)).unwrap().network;
    assert_same_function(&small, &graph("resnet56", 10));
    for (depth, width) in [(1.0, 1.25), (1.0, 2.0), (2.0, 1.6)] {
        assert_same_function(&small, &scaled("resnet20", depth, width));
    }
}

/// The gradients of copies differ, so training parts them: tested where they are the same
/// but for their shares.
#[test]
fn the_copies_of_a_channel_differ_in_what_reads_them() {
    let small = lively(&scaled("micronet", 1.0, 1.0));
    let large = scaled("micronet", 1.0, 2.0);
    let grown = grow(&small, &ec2t_quant::initialize(&large, 9).unwrap(), 0.5, 3).unwrap();
    let values = |name: &str| grown.tensor(name).map(Tensor::to_f32).unwrap();
    let first = values("conv1.weight");
    assert_eq!(first[..16 * 27], first[16 * 27..]);
    let next = values("layer1.0.conv1.weight");
    let ratio = |output: usize| next[output * 32 * 9] / next[(output * 32 + 16) * 9];
    assert!((ratio(0) - 1.0).abs() > 1e-3 && (ratio(0) - ratio(1)).abs() > 1e-3);
}

/// Settings for digits with another network.
fn digits(arch: &str, width: f64, epochs: i64) -> String {
    settings(&[
        ("arch", "name", arch.into()),
        ("arch", "width", width.into()),
        ("pretrain", "epochs", epochs.into()),
        ("pretrain", "lr", 0.02.into()),
    ])
}

#[test]
fn training_goes_on_from_a_smaller_network() {
    let sandbox = Sandbox::with_run(&digits("resnet20", 0.5, 3));
    sandbox.good("train --run-dir run");
    let float = "run/pretrain/best.safetensors";
    let top1 = sandbox.read_json("run/pretrain/summary.json")["best"]["top1"].clone();

    sandbox.write("large/config.toml", digits("resnet20", 1.0, 1));
    sandbox.good("data prepare --run-dir large");
    sandbox.good("scale --run-dir large");
    let words = format!("train --run-dir large --init {float} --grow");
    let said = sandbox.good(&words).stderr;
    let before = format!("validation {:.2} % before training", top1.as_f64().unwrap());
    assert_has(&said, &["grown from run/pretrain/best.safetensors: ", &before, "pretrain 1/1"]);
    let summary = sandbox.read_json("large/pretrain/summary.json");
    assert_eq!(summary["grown_from"], "best.safetensors");
    assert_eq!(summary["epochs"], 1);
    let trained = sandbox.read("large/pretrain/best.safetensors");
    sandbox.good(&format!("{words} run/arch.json"));
    assert!(sandbox.read("large/pretrain/best.safetensors") == trained);
    other_origins_are_refused(&sandbox, float);
}

fn other_origins_are_refused(sandbox: &Sandbox, float: &str) {
    std::fs::copy(sandbox.path(float), sandbox.path("loose.safetensors")).unwrap();
    for (code, words, parts) in [
        (USAGE, "--grow", &["--init"][..]),
        (USAGE, "--init loose.safetensors --grow", &["is not in a run", "--grow ARCH"]),
        (3, "--init loose.safetensors --grow resnet32", &["loose.safetensors", "missing"]),
        (3, "--init loose.safetensors --grow large/config.json", &["large/config.json"]),
        (USAGE, "--init loose.safetensors --grow resnet21", &["unknown architecture"]),
    ] {
        assert_has(&sandbox.fail(code, &format!("train --run-dir large {words}")), parts);
    }
    // Without growing, the weights of another network do not fit.
    let said = sandbox.fail(3, &format!("train --run-dir large --init {float}"));
    assert_has(&said, &["shape"]);
}
