//! Parameters and multiply-accumulates of every architecture against
//! published or hand-derived figures.

use ec2t_format::Graph;
use ec2t_format::graph::{ParamKind, Role};
use ec2t_scale::{ArchOptions, CostTable, Scaling, build};

fn graph(name: &str, classes: usize) -> Graph {
    build(name, &ArchOptions { classes, ..ArchOptions::default() }).unwrap()
}

fn micronet(scaling: Scaling, classes: usize) -> Graph {
    build("micronet", &ArchOptions { classes, scaling, ..ArchOptions::default() }).unwrap()
}

#[test]
fn fixed_architectures_have_their_known_parameters() {
    // ResNet-32, -44, -56: 18 (16² + 32² + 64²) weights and 12 (16 + 32 + 64)
    // norm values more for every two blocks per stage than ResNet-20.
    let step = 4 * 9 * (256 + 1024 + 4096) + 8 * (16 + 32 + 64);
    let cases = [
        ("digits-cnn", 70_330),
        ("lenet5", 61_706),
        ("resnet20", 269_722),
        ("resnet32", 269_722 + step),
        ("resnet44", 269_722 + 2 * step),
        ("resnet56", 269_722 + 3 * step),
    ];
    for (name, params) in cases {
        assert_eq!(graph(name, 10).parameter_count(), params, "{name}");
    }
}

#[test]
fn cifar_resnets_scale_like_their_names() {
    let scaled = |name, depth, width| {
        let scaling = Scaling { depth, width, ..Scaling::default() };
        build(name, &ArchOptions { scaling, ..ArchOptions::default() }).unwrap()
    };
    assert_eq!(scaled("resnet20", 3.0, 1.0).nodes, graph("resnet56", 10).nodes);
    // Twice the channels: four times the weights between the first layer and the last.
    let narrow = 9 * (16 * 3 + 16 * 16 * 6 + 32 * 16 + 32 * 32 * 5 + 64 * 32 + 64 * 64 * 5);
    let wide = 9 * (32 * 3 + 4 * (narrow / 9 - 16 * 3));
    let norms = 4 * (16 * 7 + 32 * 6 + 64 * 6) + 128 * 10 + 10;
    assert_eq!(scaled("resnet20", 1.0, 2.0).parameter_count(), wide + norms);
}

#[test]
fn sharper_images_cost_the_square() {
    let macs = |resolution| {
        let scaling = Scaling { resolution, ..Scaling::default() };
        let options = ArchOptions { scaling, ..ArchOptions::default() };
        let graph = build("micronet", &options).unwrap();
        let classifier = 64 * 10;
        CostTable::of(&graph).unwrap().total.macs - classifier
    };
    assert_eq!(macs(2.0), 4 * macs(1.0));
}

#[test]
fn a_mobilenet_of_another_width_is_torchvisions() {
    for (width, params) in [(0.5, 1_968_680), (0.75, 2_636_424), (1.4, 6_108_776)] {
        let scaling = Scaling { width, ..Scaling::default() };
        let options = ArchOptions { classes: 1000, scaling, ..ArchOptions::default() };
        let graph = build("mobilenet_v2", &options).unwrap();
        assert_eq!(graph.parameter_count(), params, "width {width}");
    }
}

#[test]
fn efficientnets_are_the_first_one_scaled() {
    let scaling = Scaling { depth: 1.2, width: 1.1, phi: 1.0, ..Scaling::default() };
    let options = ArchOptions { classes: 1000, scaling, ..ArchOptions::default() };
    for [first, scaled] in
        [["efficientnet_b0", "efficientnet_b2"], ["efficientnet_lite0", "efficientnet_lite2"]]
    {
        assert_eq!(build(first, &options).unwrap().params(), graph(scaled, 1000).params());
    }
}

#[test]
fn original_efficientnets_have_the_tensors_of_torchvisions() {
    for i in 0..8 {
        let [original, torchvision] =
            ["tf_efficientnet_b", "efficientnet_b"].map(|name| graph(&format!("{name}{i}"), 1000));
        assert_eq!(original.params(), torchvision.params(), "B{i}");
    }
    // At 240 pixels the last depthwise convolution of stride 2 reads an odd map.
    let graph = graph("tf_efficientnet_b1", 1000);
    let (id, node) = graph.find("features.6.0.block.1.0").unwrap();
    let ec2t_format::Op::Conv2d(conv) = &node.op else { panic!("{node:?}") };
    let shapes = graph.shapes().unwrap();
    let read = shapes[node.inputs[0].index()];
    assert_eq!((read.height, shapes[id.index()].height, conv.kernel), (15, 8, [5, 5]));
    assert_eq!(conv.geometry([read.height, read.width]).unwrap().padding, [2; 4]);
}

#[test]
fn a_lenet_grows_in_channels_units_and_convolutions() {
    let lenet = |depth, width| {
        let scaling = Scaling { depth, width, phi: 1.0, ..Scaling::default() };
        build("lenet5", &ArchOptions { scaling, ..ArchOptions::default() }).unwrap()
    };
    assert_eq!(lenet(1.0, 1.0), graph("lenet5", 10));
    // Weights and biases of two convolutions and three linear layers.
    let wide = 12 * 26 + 32 * (25 * 12 + 1) + 240 * (800 + 1) + 168 * 241 + 10 * 169;
    assert_eq!(lenet(1.0, 2.0).parameter_count(), wide);
    // One convolution more in each stage, of as many inputs as outputs.
    let deep = 61_706 + 6 * (25 * 6 + 1) + 16 * (25 * 16 + 1);
    assert_eq!(lenet(1.5, 1.0).parameter_count(), deep);
    assert_eq!(lenet(2.0, 1.0).parameter_count(), deep);
    let narrow = lenet(1.0, 0.01);
    assert_eq!(narrow.parameter_count(), 26 + 26 + 26 + 2 + 10 * 2);
}

#[test]
fn the_micronet_for_larger_images_has_the_stages_of_efficientnet() {
    // Stem and head with their normalisations, classifier.
    let mut params = 27 * 32 + 2 * 32 + 320 * 1280 + 2 * 1280 + 1280 * 1000 + 1000;
    let mut input = 32;
    let stages = [(16, 1), (24, 2), (40, 2), (80, 3), (112, 3), (192, 4), (320, 1)];
    for (channels, blocks) in stages {
        for _ in 0..blocks {
            params += 9 * channels * (input + channels) + 2 * input + 4 * channels;
            params += if input == channels { 0 } else { (input + 2) * channels };
            input = channels;
        }
    }
    let graph = graph("image-micronet", 1000);
    assert_eq!(graph.parameter_count(), params);
    let (last, _) = graph.find("layer7.0.add").unwrap();
    assert_eq!(graph.shapes().unwrap()[last.index()].height, 7);
}

#[test]
fn micronet_has_its_published_parameters() {
    // Depth, width, phi; blocks per stage, channels; parameters for 10 and 100 classes.
    let cases = [
        ([1.0, 1.0, 1.0], 7, [16, 32, 64], 662_810, 668_660),
        ([1.9, 1.0, 1.0], 14, [16, 32, 64], 1_344_890, 1_350_740),
        ([1.7, 1.1, 1.0], 12, [16, 32, 72], 1_378_442, 1_385_012),
        ([1.6, 1.1, 1.0], 12, [16, 32, 72], 1_378_442, 1_385_012),
        ([1.4, 1.2, 1.0], 10, [24, 40, 80], 1_523_554, 1_530_844),
        ([1.2, 1.3, 1.0], 9, [24, 40, 80], 1_368_322, 1_375_612),
        ([1.0, 1.4, 1.0], 7, [24, 48, 88], 1_310_402, 1_318_412),
        ([1.4, 1.2, 3.5], 23, [32, 64, 120], 8_044_234, 8_055_124),
    ];
    for ([depth, width, phi], blocks, channels, c10, c100) in cases {
        let scaling = Scaling { depth, width, phi, ..Scaling::default() };
        assert_eq!(scaling.blocks(7), blocks, "{scaling:?}");
        assert_eq!([16, 32, 64].map(|base| scaling.channels(base)), channels, "{scaling:?}");
        assert_eq!(micronet(scaling, 10).parameter_count(), c10, "{scaling:?}");
        assert_eq!(micronet(scaling, 100).parameter_count(), c100, "{scaling:?}");
    }
}

#[test]
fn micronet_grows_with_phi_as_published() {
    // Phi; blocks per stage, channels; millions of parameters for 10 and 100 classes.
    let cases = [
        (1.5, 12, [24, 40, 88], "2.116", "2.124"),
        (2.0, 14, [24, 48, 96], "3.018", "3.027"),
        (2.5, 17, [24, 48, 104], "4.154", "4.164"),
        (3.0, 20, [32, 56, 112], "5.979", "5.989"),
        (3.5, 23, [32, 64, 120], "8.044", "8.055"),
        (4.0, 27, [32, 64, 136], "11.42", "11.43"),
        (5.0, 38, [40, 80, 160], "22.92", "22.94"),
    ];
    for (phi, blocks, channels, c10, c100) in cases {
        let scaling = Scaling { depth: 1.4, width: 1.2, phi, ..Scaling::default() };
        assert_eq!(scaling.blocks(7), blocks, "phi {phi}");
        assert_eq!([16, 32, 64].map(|base| scaling.channels(base)), channels, "phi {phi}");
        for (classes, expected) in [(10, c10), (100, c100)] {
            let millions = micronet(scaling, classes).parameter_count() as f64 / 1e6;
            let decimals = expected.len() - expected.find('.').unwrap() - 1;
            assert_eq!(format!("{millions:.decimals$}"), expected, "phi {phi}");
        }
    }
    let wide = Scaling { depth: 1.2, width: 1.3, phi: 3.6, ..Scaling::default() };
    assert_eq!(format!("{:.3}", micronet(wide, 100).parameter_count() as f64 / 1e6), "9.026");
}

#[test]
fn micronet_ternarizes_its_published_weights() {
    let graph = micronet(Scaling { depth: 1.4, width: 1.2, phi: 3.5, ..Scaling::default() }, 100);
    let roles = graph.roles();
    let body: Vec<usize> = (graph.params().iter())
        .filter(|param| param.kind == ParamKind::Weight)
        .filter(|param| roles[param.node.index()] == Some(Role::Body))
        .map(|param| param.numel())
        .collect();
    assert_eq!((body.len(), body.iter().sum()), (138, 8_002_368));
}

#[test]
fn multiply_accumulates_agree_with_hand_counts() {
    // Stem, six convolutions of stage 1, one narrow and five full ones in each
    // of stages 2 and 3, and the classifier.
    let full = 16 * 16 * 9 * 32 * 32;
    let by_hand = 3 * 16 * 9 * 32 * 32 + 6 * full + 2 * (full / 2 + 5 * full) + 64 * 10;
    let resnet = graph("resnet20", 10);
    assert_eq!(CostTable::of(&resnet).unwrap().total.macs, by_hand);

    let micronet =
        micronet(Scaling { depth: 1.4, width: 1.2, phi: 3.5, ..Scaling::default() }, 100);
    assert_eq!(CostTable::of(&micronet).unwrap().total.macs, 1_243_086_560);
}
