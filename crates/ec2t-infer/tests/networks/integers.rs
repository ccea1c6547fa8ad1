//! Networks on bytes against the same networks in floats.

use std::collections::BTreeMap;

use ec2t_format::graph::{Activation, GraphBuilder, Shape};
use ec2t_format::{Grid, Network, fold_batch_norm};
use ec2t_infer::{CalibrateError, LoadError, Model, Precision, calibrate, explain};
use proptest::prelude::*;

use super::common::{Values, all, branches, interpret_all, network, resnet};

/// Images to calibrate with.
const IMAGES: usize = 8;

/// A network that has been calibrated with random images, and these.
fn calibrated(network: &Network) -> (Network, Vec<f32>) {
    let images = Values(3).floats(IMAGES * network.graph().input.numel());
    let grids = calibrate(network, &images, IMAGES).unwrap();
    (network.clone().with_grids(grids).unwrap(), images)
}

/// A network with grids that reach so far that nothing is cut off.
fn widened(network: Network, images: &[f32]) -> Network {
    let mut grids = calibrate(&network, images, IMAGES).unwrap();
    grids.values_mut().for_each(|grid| grid.scale *= 3.0);
    network.with_grids(grids).unwrap()
}

/// Root of the mean square of the differences of logits, over that of the logits.
fn relative_error(network: &Network, images: &[f32]) -> f64 {
    let model = |precision| Model::with_precision(network.clone(), precision).unwrap();
    let [exact, rounded] =
        [Precision::F32, Precision::U8].map(|p| model(p).run(images, IMAGES).unwrap());
    let square = |values: &mut dyn Iterator<Item = f32>| -> f64 {
        values.map(|value| f64::from(value).powi(2)).sum()
    };
    let differences = square(&mut exact.iter().zip(&rounded).map(|(a, b)| a - b));
    (differences / square(&mut exact.iter().copied())).sqrt()
}

#[test]
fn networks_of_every_kind_run_on_bytes() {
    for network in all() {
        let (network, images) = calibrated(&network);
        let error = relative_error(&network, &images);
        assert!(error < 0.1, "{}: {error}", network.graph().name);
    }
}

#[test]
fn ternary_convolutions_are_computed_in_integers() {
    let (network, images) = calibrated(&network(resnet()));
    let model = Model::with_precision(network.clone(), Precision::U8).unwrap();
    let profile = model.profile(&images[..model.input_len()], 1).unwrap();
    let kernels: Vec<&str> = profile.layers.iter().map(|layer| layer.kernel.as_str()).collect();
    let count = |name: &str| kernels.iter().filter(|kernel| kernel.starts_with(name)).count();
    assert!(count("int-ternary-conv") > 0, "{kernels:?}");
    assert_eq!(count("ternary-conv"), 0, "{kernels:?}");
    assert_eq!(count("quantize"), 1, "only what the stem gives: {kernels:?}");
    assert_eq!(count("int-global-avg-pool"), 1, "{kernels:?}");

    let steps = explain(&network, Precision::U8, 1).unwrap().steps;
    let explained = steps.iter().map(|step| step.kernel.as_str());
    assert!(explained.eq(kernels));
    let conversion = steps.iter().find(|step| step.op == "quantize").unwrap();
    assert_eq!(conversion.input, conversion.output);
    for step in steps.iter().filter(|step| step.kernel.starts_with("int-ternary-conv")) {
        assert!(step.weights.is_some() && step.dense_seconds.is_some(), "{}", step.name);
    }
}

#[test]
fn what_has_no_grid_is_computed_in_floats() {
    let (network, images) = calibrated(&network(branches()));
    let exact = Model::new(network.clone()).unwrap().run(&images, IMAGES).unwrap();
    // One grid, and no convolution that reads and writes what has one.
    let input = BTreeMap::from([("input".to_string(), network.grids()["input"])]);
    let network = network.with_grids(input).unwrap();
    let found = Model::with_precision(network, Precision::U8).unwrap().run(&images, IMAGES);
    assert_eq!(found.unwrap(), exact);
}

#[test]
fn a_network_that_is_not_calibrated_does_not_run_on_bytes() {
    let network = network(resnet());
    let error = Model::with_precision(network, Precision::U8).unwrap_err();
    assert!(matches!(error, LoadError::NotCalibrated));
    assert!(error.to_string().contains("ec2t calibrate"), "{error}");
}

#[test]
fn grids_survive_the_file_and_folding() {
    let (network, images) = calibrated(&network(resnet()));
    let file = ec2t_format::write(&network);
    let read = ec2t_format::read(&file).unwrap();
    assert_eq!(read.grids(), network.grids());
    let folded = fold_batch_norm(&read);
    assert_eq!(folded.grids(), network.grids(), "they are for what folding leaves");
    let run = |network| {
        Model::with_precision(network, Precision::U8).unwrap().run(&images, IMAGES).unwrap()
    };
    assert_eq!(run(folded), run(network));
}

#[test]
fn what_cannot_be_calibrated_is_told() {
    let network = network(resnet());
    let len = network.graph().input.numel();
    assert!(matches!(calibrate(&network, &[], 0), Err(CalibrateError::NoImages)));
    let short = calibrate(&network, &vec![0.0; len - 1], 1);
    assert!(matches!(short, Err(CalibrateError::Run(_))));
    let error = calibrate(&network, &vec![f32::NAN; len], 1).unwrap_err();
    assert_eq!(error.to_string(), "layer `input` gives NaN for an image");
    assert!(calibrate(&network, &vec![0.0; len], 1).is_ok(), "nothing but zeros");
}

#[test]
fn the_error_of_a_layer_is_that_of_its_steps() {
    // 1×1: each output is a sum of a few inputs, so bounds are short.
    let mut g = GraphBuilder::new("t", Shape::new(6, 9, 7));
    let x = g.conv("stem", g.input(), 6, 1, 1);
    let x = g.relu("stem.relu", x);
    let y = g.conv("a", x, 8, 1, 1);
    let y = g.activation("a.relu", y, Activation::Relu6);
    let z = g.conv("b", y, 6, 3, 1);
    let sum = g.add("sum", z, x);
    let pool = g.global_avg_pool("pool", sum);
    g.linear("fc", pool, 3);
    let network = network(g.finish().unwrap());
    let images = Values(3).floats(IMAGES * network.graph().input.numel());
    let network = widened(network, &images);
    let bound = error_bound(&network, network.grids());
    let run = |precision| {
        Model::with_precision(network.clone(), precision).unwrap().run(&images, IMAGES).unwrap()
    };
    let (exact, rounded) = (run(Precision::F32), run(Precision::U8));
    let worst = exact.iter().zip(&rounded).map(|(a, b)| (a - b).abs()).fold(0.0, f32::max);
    assert!(worst > 0.0 && worst <= bound, "{worst} of {bound}");
}

/// Most that logits of the network above can be off: half a step at each rounding, grown by
/// the magnitudes of the weights on its way.
fn error_bound(network: &Network, grids: &BTreeMap<String, Grid>) -> f32 {
    let half = |layer: &str| 0.5 * grids[layer].scale;
    let gain = |layer: &str| {
        let weights = network.tensor(&format!("{layer}.weight")).unwrap();
        let taps = weights.numel() / weights.shape()[0];
        let sum = |row: &[f32]| row.iter().map(|w| w.abs()).sum::<f32>();
        weights.to_f32().chunks(taps).map(sum).fold(0.0, f32::max)
    };
    let stem = half("stem.relu");
    let a = stem * gain("a") + half("a.relu");
    let sum = a * gain("b") + stem + half("sum");
    1.001 * sum * gain("fc")
}

proptest! {
    #[test]
    fn random_graphs_run_on_bytes(graph in super::random::graphs()) {
        let network = network(graph);
        let images = Values(3).floats(IMAGES * network.graph().input.numel());
        let network = widened(network, &images);
        let model = Model::with_precision(network.clone(), Precision::U8).unwrap();
        let found = model.run(&images, IMAGES).unwrap();
        prop_assert!(found.iter().all(|logit| logit.is_finite()));
        // Each value is off by half a step, and what that grows to by much less than the
        // values, which grow alike.
        let largest = |values: &[f32]| values.iter().fold(0.0f32, |m, v| m.max(v.abs()));
        let image = &images[..model.input_len()];
        let all = interpret_all(&network, image);
        let scale = all.iter().map(|values| largest(values)).fold(0.0, f32::max);
        let exact = Model::new(network).unwrap().run(&images, IMAGES).unwrap();
        let error = exact.iter().zip(&found).map(|(a, b)| (a - b).abs()).fold(0.0, f32::max);
        prop_assert!(error <= 0.25 * scale.max(1.0), "{} of {}", error, scale);
    }
}
