//! Whole image networks: a training pass as in PyTorch, and its evaluation as
//! in the inference engine.
//!
//! The numbers were printed by `tests/image_networks.py`, which computes in
//! float64. PyTorch's own float32 differs from them by up to half of the
//! tolerances: a ReLU that lets a value through in one and not in the other makes
//! much of a rounding error.

use ec2t_infer::Model;

use super::*;

const SIZE: usize = 64;
const BATCH: usize = 6;

struct Expected {
    network: &'static str,
    loss: f64,
    /// Those of the first image after the pass, in evaluation.
    logits: [f64; 10],
    /// For a parameter of each kind, the product of its gradient with
    /// `ramp(_, 7)`, and the sum of the gradient's magnitudes.
    gradients: &'static [(&'static str, f64, f64)],
    /// Of both, relative to the second.
    tolerance: f64,
}

const NETWORKS: [Expected; 3] = [
    Expected {
        network: "efficientnet_b0",
        loss: 2.534_145,
        logits: [
            0.049_712, 0.343_385, 0.725_649, 0.890_221, 0.922_785, //
            0.151_179, -0.590_986, -0.871_472, -0.856_516, -0.627_638,
        ],
        gradients: &[
            ("features.0.0.weight", -16.988_401, 1_026.170_576),
            ("features.1.0.block.0.1.bias", -3.027_503, 15.251_073),
            ("features.1.0.block.1.fc1.bias", -0.998_971, 2.714_017),
            ("features.2.0.block.0.0.weight", -4.922_056, 250.389_523),
            ("features.2.0.block.1.0.weight", 1.279_531, 212.491_909),
            ("features.3.1.block.1.0.weight", 1.860_989, 402.096_260),
            ("features.4.0.block.3.1.weight", -0.666_776, 7.498_620),
            ("features.6.0.block.1.0.weight", -1.390_214, 257.132_950),
            ("features.7.0.block.2.fc1.weight", -0.250_836, 41.643_755),
            ("features.7.0.block.2.fc2.weight", -0.083_249, 27.239_516),
            ("features.7.0.block.2.fc2.bias", 0.072_937, 1.783_539),
            ("features.8.0.weight", 1.678_040, 2_830.617_266),
            ("classifier.1.bias", 0.078_655, 0.873_842),
        ],
        tolerance: 1e-4,
    },
    Expected {
        network: "efficientnet_lite0",
        loss: 2.569_504,
        logits: [
            0.101_770, 0.728_257, 1.070_842, 0.972_920, 1.065_856, //
            0.264_694, -0.739_955, -1.153_731, -1.075_510, -0.869_742,
        ],
        gradients: &[
            ("conv_stem.weight", -183.669_723, 3_949.936_392),
            ("blocks.0.0.conv_dw.weight", 31.313_457, 1_067.248_748),
            ("blocks.1.0.conv_dw.weight", 11.155_107, 646.437_095),
            ("blocks.2.0.conv_dw.weight", -17.980_878, 588.016_721),
            ("blocks.5.3.conv_pwl.weight", -4.890_663, 2_374.518_009),
            ("conv_head.weight", 0.469_455, 3_063.149_367),
            ("classifier.weight", 4.099_436, 505.961_081),
        ],
        tolerance: 4e-3,
    },
    Expected {
        network: "resnet18",
        loss: 2.877_405,
        logits: [
            0.243_449, -1.266_541, 1.348_036, -0.370_004, -1.073_860, //
            0.936_455, -0.897_373, -0.144_906, 0.876_267, -1.115_274,
        ],
        gradients: &[
            ("conv1.weight", 4.003_884, 5_365.199_450),
            ("layer2.0.downsample.0.weight", 0.940_543, 458.568_509),
            ("layer4.1.conv2.weight", -1.125_349, 32_333.794_718),
            ("fc.weight", 18.483_119, 507.577_771),
        ],
        tolerance: 2e-2,
    },
];

#[test]
fn image_networks_compute_as_in_pytorch_and_in_inference() {
    for expected in &NETWORKS {
        check_pass(expected);
    }
}

/// The network for small images, without dropout.
fn graph(name: &str) -> Graph {
    let input = Some(Shape::new(3, SIZE, SIZE));
    let options = ec2t_scale::ArchOptions { input, ..Default::default() };
    let mut graph = ec2t_scale::build(name, &options).unwrap();
    for node in &mut graph.nodes {
        if let Op::Dropout { p } = &mut node.op {
            *p = 0.0;
        }
    }
    graph
}

fn check_pass(expected: &Expected) {
    let graph = graph(expected.network);
    let mut phase = Pretrain::new(&initial(&graph, 1.0), &options(OptimizerKind::Sgd));
    let mut engine = Engine::new(Backend::Cpu, &graph, phase.weights()).unwrap();
    let images: Vec<f32> = ramp(BATCH * graph.input.numel(), 1000).collect();
    let labels: Vec<u32> = (0..BATCH as u32).map(|i| i * 3 % 10).collect();

    let mut rng = ChaCha8Rng::seed_from_u64(0);
    let loss =
        engine.train(phase.weights_mut(), &images, &Target::labels(&labels), &mut rng).unwrap();
    assert_close(expected.network, loss.mean, expected.loss, 2e-5);
    check_gradients(&engine.gradients().clone(), phase.weights(), expected);

    let logits = engine.logits(phase.weights(), &images, BATCH).unwrap();
    for (&found, expected) in logits.iter().zip(expected.logits) {
        assert_close("logit", f64::from(found), expected, 1e-5);
    }
    let file = ec2t_format::write(&phase.network(&graph).unwrap());
    let inferred = Model::from_bytes(&file).unwrap().run(&images, BATCH).unwrap();
    for (&found, &trained) in inferred.iter().zip(logits) {
        assert!((found - trained).abs() < 1e-5, "{}: {found}, {trained}", expected.network);
    }
}

fn check_gradients(gradients: &Gradients, weights: &Weights, expected: &Expected) {
    let names = weights.names();
    let mut compared = 0;
    for (position, gradient) in gradients.iter() {
        let name = &names[position];
        let Some(row) = expected.gradients.iter().find(|row| row.0 == name) else { continue };
        let (_, product, size) = row;
        let products = gradient.iter().zip(ramp(gradient.len(), 7));
        let found: f64 = products.map(|(&g, factor)| f64::from(g) * f64::from(factor)).sum();
        let found_size: f64 = gradient.iter().map(|g| f64::from(g.abs())).sum();
        assert_close(name, found, *product, expected.tolerance * size);
        assert_close(name, found_size, *size, expected.tolerance * size);
        compared += 1;
    }
    assert_eq!(compared, expected.gradients.len());
}
