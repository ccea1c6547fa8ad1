//! Networks of every architecture as ONNX models, in onnxruntime.
//!
//! `EC2T_PYTHON` names a Python that has onnx and onnxruntime. Without it `python3` is
//! taken, and the test is skipped where that, or one of the packages, is not there.

use std::env;
use std::ffi::OsString;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use ec2t_format::graph::{Preprocess, Shape};
use ec2t_format::{Graph, Network, fold_batch_norm};
use ec2t_infer::Model;
use ec2t_interop::onnx::{self, Codes};
use ec2t_scale::{ArchError, ArchOptions, Scaling};

use super::common::{Values, all, network};

const VARIABLE: &str = "EC2T_PYTHON";
/// Tests run in their package's folder.
const SCRIPT: &str = "tests/networks/run_onnx.py";
const IMAGES: usize = 2;
/// Sides of images for networks that usually take larger ones; halved five times with and
/// without a remainder.
const SIDE: usize = 48;

/// A Python that has the packages; `None`, once the reason is printed, where there is none.
#[expect(clippy::print_stdout, reason = "a skipped test says so")]
fn find_python() -> Option<OsString> {
    let named = env::var_os(VARIABLE);
    let python = named.unwrap_or_else(|| "python3".into());
    let fault = match Command::new(&python).args(["-c", "import onnx, onnxruntime"]).output() {
        Ok(output) if output.status.success() => return Some(python),
        Ok(output) => String::from_utf8_lossy(&output.stderr).trim().to_owned(),
        Err(error) => error.to_string(),
    };
    println!("skipped, since no Python has onnxruntime; {VARIABLE} can name one: {fault}");
    None
}

/// An architecture, narrow and shallow where it can be.
fn small(name: &str) -> Graph {
    let usual = ec2t_scale::build(name, &ArchOptions::default()).unwrap().input;
    let side = usual.height.min(SIDE);
    let scaling = Scaling { depth: 0.3, width: 0.25, ..Scaling::default() };
    let mut options =
        ArchOptions { classes: 7, input: Some(Shape::new(usual.channels, side, side)), scaling };
    let mut graph = match ec2t_scale::build(name, &options) {
        Err(ArchError::NotScalable { .. }) => {
            options.scaling = Scaling::default();
            ec2t_scale::build(name, &options).unwrap()
        }
        graph => graph.unwrap(),
    };
    if usual.channels == 3 {
        graph.preprocess = Preprocess::imagenet();
    }
    graph
}

/// What the engine makes of pixels in 0…1.
fn ours(network: &Network, pixels: &[f32]) -> Vec<f32> {
    let graph = network.graph();
    let plane = graph.input.height * graph.input.width;
    let planes = pixels.chunks_exact(plane).enumerate();
    let normalized: Vec<f32> = planes
        .flat_map(|(plane, pixels)| {
            let channel = plane % graph.input.channels;
            let [mean, std] =
                [&graph.preprocess.mean, &graph.preprocess.std].map(|values| values[channel]);
            pixels.iter().map(move |pixel| (pixel - mean) / std)
        })
        .collect();
    Model::new(network.clone()).unwrap().run(&normalized, IMAGES).unwrap()
}

fn write_floats(path: &Path, values: &[f32]) {
    fs::write(path, values.iter().flat_map(|value| value.to_le_bytes()).collect::<Vec<u8>>())
        .unwrap();
}

fn read_floats(path: &Path) -> Vec<f32> {
    let bytes = fs::read(path).unwrap();
    bytes.as_chunks().0.iter().map(|value| f32::from_le_bytes(*value)).collect()
}

#[test]
fn onnxruntime_computes_the_same_with_codes_of_any_width() {
    let Some(python) = find_python() else { return };
    let folder = PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join("onnx");
    fs::create_dir_all(&folder).unwrap();
    let mut networks = all();
    networks.extend(ec2t_scale::names().map(|name| network(small(name))));
    let mut expected = Vec::new();
    for (number, network) in networks.iter().enumerate() {
        let pixels = Values(number as u64).floats(IMAGES * network.graph().input.numel());
        let pixels: Vec<f32> = pixels.iter().map(|value| (value + 1.0) / 2.0).collect();
        write_floats(&folder.join(format!("{number}.pixels")), &pixels);
        for codes in Codes::ALL {
            let path = folder.join(format!("{number}-{}.onnx", codes.name()));
            fs::write(path, onnx::write(network, codes).unwrap()).unwrap();
        }
        expected.push(ours(network, &pixels));
    }
    let output = Command::new(python).arg("-B").arg(SCRIPT).arg(&folder).output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    for (number, (network, expected)) in networks.iter().zip(expected).enumerate() {
        let largest = expected.iter().fold(0.0f32, |largest, logit| largest.max(logit.abs()));
        let name = &network.graph().name;
        assert!(largest > 0.01, "{name}: nothing to compare");
        for codes in Codes::ALL {
            let found = read_floats(&folder.join(format!("{number}-{}.logits", codes.name())));
            assert_eq!(found.len(), expected.len(), "{name}, {codes:?}");
            for (a, b) in found.iter().zip(&expected) {
                let close = (a - b).abs() <= 1e-4 * largest;
                assert!(close, "{name}, {codes:?}: {found:?} for {expected:?}");
            }
        }
    }
    fs::remove_dir_all(&folder).unwrap();
}

#[test]
fn a_model_that_is_read_back_is_the_same_network() {
    let architectures = ec2t_scale::names().map(|name| network(small(name)));
    for mut network in all().into_iter().chain(architectures) {
        network.metadata.insert("source".into(), "test".into());
        let folded = fold_batch_norm(&network);
        for codes in Codes::ALL {
            let read = onnx::read(&onnx::write(&network, codes).unwrap()).unwrap().network;
            assert!(read == folded, "{}, {codes:?}", network.graph().name);
        }
    }
}
