//! Networks of each kind, and what goes wrong.

use std::ops::Range;

use ec2t_format::graph::{Conv2d, GraphBuilder, Padding, Shape};
use ec2t_format::{Network, Op};
use ec2t_infer::{LoadError, Model, RunError, evaluate};

use super::common::{self, Values, all, interpret, network};

fn images(network: &Network, count: usize) -> Vec<f32> {
    Values(11).floats(count * network.graph().input.numel())
}

/// Asserts that values agree to `tolerance` of the largest that was expected.
fn assert_close(found: &[f32], expected: &[f32], tolerance: f32, what: &str) {
    let largest = expected.iter().fold(0.0f32, |m, v| m.max(v.abs()));
    assert!(largest > 0.01, "{what}: nothing to compare");
    assert_eq!(found.len(), expected.len(), "{what}");
    for (a, b) in found.iter().zip(expected) {
        assert!((a - b).abs() <= tolerance * largest, "{what}: {found:?} for {expected:?}");
    }
}

#[test]
fn the_engine_computes_what_the_graph_says() {
    for network in all() {
        let image = images(&network, 1);
        let logits = Model::new(network.clone()).unwrap().run(&image, 1).unwrap();
        assert_close(&logits, &interpret(&network, &image), 1e-4, &network.graph().name);
    }
}

#[test]
fn ternary_weights_compute_what_their_values_say() {
    for network in all() {
        assert!(network.ternary_layers() > 0);
        let image = images(&network, 1);
        let ternary = Model::new(network.clone()).unwrap().run(&image, 1).unwrap();
        let dense = Model::new(network.to_dense()).unwrap().run(&image, 1).unwrap();
        assert_close(&ternary, &dense, 1e-5, &network.graph().name);
    }
}

#[test]
fn a_file_computes_what_its_network_computes() {
    for network in all() {
        let image = images(&network, 1);
        let bytes = ec2t_format::write(&network);
        let read = Model::from_bytes(&bytes).unwrap().run(&image, 1).unwrap();
        assert_eq!(read, Model::new(network).unwrap().run(&image, 1).unwrap());
    }
}

#[test]
fn batches_and_threads_do_not_change_a_bit() {
    let pool = |threads| rayon::ThreadPoolBuilder::new().num_threads(threads).build().unwrap();
    for network in all() {
        let batch = images(&network, 9);
        let model = Model::new(network).unwrap();
        let mut session = model.session();
        let single: Vec<f32> = batch
            .chunks(model.input_len())
            .flat_map(|image| session.run(image).unwrap().to_vec())
            .collect();
        for threads in [1, 2, 3] {
            let together = pool(threads).install(|| model.run(&batch, 9)).unwrap();
            assert_eq!(together, single, "{} on {threads} threads", model.graph().name);
            let mut session = model.session_on(threads);
            let apart: Vec<f32> = batch
                .chunks(model.input_len())
                .flat_map(|image| pool(threads).install(|| session.run(image).unwrap().to_vec()))
                .collect();
            assert_eq!(apart, single, "{}, each on {threads} threads", model.graph().name);
        }
    }
}

/// A network whose layers are long enough to be shared by threads, between rows, between
/// outputs and between groups.
#[test]
fn layers_that_are_split_keep_their_bits() {
    let mut g = GraphBuilder::new("split", Shape::new(16, 32, 32));
    let rows = g.conv("rows", g.input(), 24, 3, 1);
    let grouped = Conv2d {
        in_channels: 24,
        out_channels: 24,
        kernel: [5, 5],
        stride: [1, 1],
        padding: Padding::Same,
        dilation: [1, 1],
        groups: 24,
        bias: false,
        scale: false,
    };
    let groups = g.push("groups", Op::Conv2d(grouped), &[rows]);
    let x = g.conv("small", groups, 96, 3, 4);
    let outputs = g.conv("outputs", x, 160, 3, 1);
    let pixels = g.conv("pixels", rows, 40, 1, 1);
    let pooled = g.global_avg_pool("pool_pixels", pixels);
    let y = g.global_avg_pool("pool", outputs);
    let y = g.flatten("flat", y);
    let y = g.linear("long", y, 40);
    let pooled = g.flatten("flat_pixels", pooled);
    let y = g.add("sum", y, pooled);
    g.linear("fc", y, 4000);
    let model = Model::new(network(g.finish().unwrap())).unwrap();
    let image = Values(3).floats(model.input_len());
    let single = model.session().run(&image).unwrap().to_vec();
    for threads in [2, 3, 8] {
        let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().unwrap();
        let found = pool.install(|| model.run(&image, 1)).unwrap();
        assert_eq!(found, single, "{threads} threads");
        let outside = model.session_on(threads).run(&image).unwrap().to_vec();
        assert_eq!(outside, single, "{threads} threads of the global pool");
    }
}

#[test]
fn unread_layers_and_networks_without_layers() {
    let mut g = GraphBuilder::new("t", Shape::new(2, 3, 3));
    let x = g.conv("conv", g.input(), 4, 3, 1);
    g.relu("unread", x);
    let y = g.conv("also_unread", x, 8, 1, 1);
    g.relu("unread_too", y);
    g.relu("out", x);
    let network = network(g.finish().unwrap());
    let image = images(&network, 1);
    let logits = Model::new(network.clone()).unwrap().run(&image, 1).unwrap();
    assert_close(&logits, &interpret(&network, &image), 1e-5, "unread");

    let mut g = GraphBuilder::new("t", Shape::new(2, 1, 1));
    g.flatten("flatten", g.input());
    let model = Model::new(common::network(g.finish().unwrap())).unwrap();
    assert_eq!(model.run(&[1.0, 2.0, 3.0, 4.0], 2).unwrap(), [1.0, 2.0, 3.0, 4.0]);
    let mut normalised = [0.0; 2];
    model.preprocess(&[0, 255], &mut normalised).unwrap();
    assert_eq!(model.run_pixels(&[255, 255, 0, 255], 2).unwrap()[2..], normalised);
}

#[test]
fn wrong_lengths_and_labels_are_errors() {
    let model = Model::new(network(common::lenet())).unwrap();
    let expected = RunError::InputLength { images: 2, expected: 512, found: 511 };
    assert_eq!(model.run(&[0.0; 511], 2), Err(expected));
    assert_eq!(model.run(&[], 0), Ok(vec![]));
    assert!(model.run(&[0.0; 256], usize::MAX).is_err());
    assert!(model.session().run(&[0.0; 255]).is_err());
    assert!(model.session().run_pixels(&[0; 257]).is_err());
    assert!(model.preprocess(&[0; 256], &mut [0.0; 255]).is_err());
    let of_length = |len: usize| move |_| Ok::<_, RunError>(vec![0; len].into());
    assert!(evaluate(&model, &[0], of_length(255), |_| ()).is_err());
    let label = RunError::Label { image: 1, label: 10, classes: 10 };
    assert_eq!(evaluate(&model, &[0, 10], of_length(512), |_| ()).unwrap_err(), label);
}

#[test]
fn bad_files_are_errors_with_their_path() {
    let missing = Model::load("no/such/file.ec2t").unwrap_err();
    assert!(matches!(missing, LoadError::Io { .. }));
    assert!(missing.to_string().starts_with("no/such/file.ec2t: "), "{missing}");

    let mut bytes = ec2t_format::write(&network(common::lenet()));
    let middle = bytes.len() / 2;
    bytes[middle] ^= 1;
    assert!(matches!(Model::from_bytes(&bytes), Err(LoadError::Format(_))));
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("damaged.ec2t");
    std::fs::write(&file, &bytes).unwrap();
    let damaged = Model::load(&file).unwrap_err();
    assert!(damaged.to_string().contains("damaged.ec2t: "), "{damaged}");
    assert!(matches!(damaged, LoadError::File { .. }));
}

#[test]
fn networks_too_large_to_run_are_refused() {
    let mut g = GraphBuilder::new("t", Shape::new(1, 1 << 15, 1 << 15));
    let x = g.relu("a", g.input());
    let x = g.global_avg_pool("pool", x);
    g.linear("fc", x, 2);
    let error = Model::new(network(g.finish().unwrap())).unwrap_err();
    assert!(matches!(error, LoadError::Memory { .. }), "{error}");
}

#[test]
fn pixels_are_normalised_and_classes_named() {
    let mut g = GraphBuilder::new("t", Shape::new(3, 1, 1));
    g.flatten("flatten", g.input());
    let mut graph = g.finish().unwrap();
    graph.preprocess.mean = vec![0.5, 0.0, 1.0];
    graph.preprocess.std = vec![0.5, 0.25, 2.0];
    graph.classes = ["cat", "dog", "eel"].map(String::from).into();
    let model = Model::new(network(graph)).unwrap();

    let mut normal = [0.0; 3];
    model.preprocess(&[0, 51, 255], &mut normal).unwrap();
    assert_eq!(normal, [-1.0, 0.8, 0.0]);

    let top = model.classify(&[0, 51, 255], 2).unwrap();
    let names: Vec<_> = top.iter().map(|p| (p.class, p.name.as_deref())).collect();
    assert_eq!(names, [(1, Some("dog")), (2, Some("eel"))]);
    let all = 0.8f32.exp() + 1.0 + (-1.0f32).exp();
    assert!((top[0].probability - 0.8f32.exp() / all).abs() < 1e-6);
}

#[test]
fn an_evaluation_counts_every_image_once() {
    // The logits are the pixels, so the brightest one is the class.
    let mut g = GraphBuilder::new("t", Shape::new(6, 1, 1));
    g.flatten("flatten", g.input());
    let model = Model::new(network(g.finish().unwrap())).unwrap();
    let all = [9, 5, 4, 3, 2, 1].repeat(600);
    let images =
        |range: Range<usize>| Ok::<_, RunError>(all[6 * range.start..6 * range.end].into());
    let labels: Vec<u32> = [0, 0, 1, 5].repeat(150);
    let mut calls = Vec::new();
    let found = evaluate(&model, &labels, images, |done| calls.push(done)).unwrap();
    assert_eq!(calls, [256, 512, 600]);
    assert_eq!((found.images, found.correct, found.top1), (600, 300, 50.0));
    assert_eq!(found.top5, Some(75.0));
    assert_eq!(found.confusion.iter().sum::<u32>(), 600);
    assert_eq!([0, 6, 30].map(|index| found.confusion[index]), [300, 150, 150]);
    let (first, last) = (found.mistakes[0], found.mistakes[299]);
    assert_eq!((first.image, first.label, first.answer), (2, 1, 0));
    assert_eq!((last.image, last.label, last.answer), (599, 5, 0));
    let logits =
        [9.0_f32, 5.0, 4.0, 3.0, 2.0, 1.0].map(|pixel| (pixel / 255.0 - 9.0 / 255.0).exp());
    assert!((first.probability - 1.0 / logits.iter().sum::<f32>()).abs() < 1e-6);
}

#[test]
fn a_profile_names_layers_and_kernels() {
    let model = Model::new(network(common::resnet())).unwrap();
    let profile = model.profile(&vec![0.0; model.input_len()], 3).unwrap();
    let layers: Vec<_> =
        profile.layers.iter().map(|l| (l.name.as_str(), l.kernel.as_str())).collect();
    let expected = [
        ("stem", "dense-conv + relu"),
        ("a.conv1", "ternary-conv + relu"),
        ("a.conv2", "ternary-conv + add + relu"),
        ("b.conv1", "ternary-conv + relu"),
        ("b.short", "pad-shortcut"),
        ("b.conv2", "ternary-conv + add + relu"),
        ("pool", "global-avg-pool"),
        ("fc", "dense-linear"),
    ];
    assert_eq!(layers, expected);
    assert!(!profile.layers.iter().any(|layer| layer.op == "batch_norm"), "folded");
    assert!(profile.seconds() > 0.0 && profile.seconds().is_finite());
}

#[test]
fn models_are_shared_between_threads() {
    fn shared<T: Send + Sync>() {}
    shared::<Model>();
}
