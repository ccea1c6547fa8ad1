//! Layers that are computed a few channels at a time.

use std::borrow::Cow;
use std::ops::Range;

use ec2t_format::{DenseTensor, Network};
use ec2t_infer::{Model, RunError, compare};

use super::common::{Values, expanding, interpret, network};

/// The network with depthwise weights in floats, as the engine has loops for.
fn sliced() -> Network {
    let (graph, mut tensors, _) = network(expanding()).into_parts();
    for name in ["depthwise0.weight", "depthwise.weight"] {
        let weight = &tensors[name];
        let dense = DenseTensor::new(weight.shape().to_vec(), weight.to_f32()).unwrap();
        tensors.insert(name.to_owned(), dense.into());
    }
    Network::new(graph, tensors).unwrap()
}

#[test]
fn channels_in_turn_compute_what_whole_layers_do() {
    let network = sliced();
    let image = Values(3).floats(network.graph().input.numel());
    let expected = interpret(&network, &image);
    let model = Model::new(network).unwrap();
    let found = model.run(&image, 1).unwrap();
    let largest = expected.iter().fold(0.0f32, |most, value| most.max(value.abs()));
    for (found, expected) in found.iter().zip(&expected) {
        assert!((found - expected).abs() <= 1e-4 * largest, "{found} for {expected}");
    }
    for threads in [2, 3] {
        let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().unwrap();
        let shared = pool.install(|| model.session_on(threads).run(&image).unwrap().to_vec());
        assert_eq!(shared, found, "{threads} threads");
    }
}

#[test]
fn what_is_computed_in_turn_is_seen_whole() {
    // Depthwise layers with ternary weights are computed whole.
    let [in_turn, whole] = [sliced(), network(expanding())].map(|net| Model::new(net).unwrap());
    let mut values = Values(4);
    let len = in_turn.input_len();
    let pixels: Vec<u8> = (0..2 * len).map(|_| (127.5 * (values.next() + 1.0)) as u8).collect();
    let images = |range: Range<usize>| {
        Ok::<_, RunError>(Cow::Borrowed(&pixels[range.start * len..range.end * len]))
    };
    let found = compare([&in_turn, &whole], &[0, 1], images, |_| {}).unwrap();
    let names: Vec<&str> = found.layers.iter().map(|layer| layer.name.as_str()).collect();
    let expected = ["stem", "depthwise0", "expand", "depthwise", "project", "pool", "fc"];
    assert_eq!(names, expected);
    assert!(found.layers.iter().all(|layer| layer.relative < 1e-5), "{:?}", found.layers);
}

#[test]
fn profiles_have_each_layer_once() {
    let model = Model::new(sliced()).unwrap();
    let layers = model.profile(&vec![0.5; model.input_len()], 2).unwrap().layers;
    let names: Vec<&str> = layers.iter().map(|layer| layer.name.as_str()).collect();
    assert_eq!(names[..4], ["stem", "depthwise0", "expand", "depthwise"]);
    assert!(layers.iter().all(|layer| layer.seconds > 0.0), "{layers:?}");
}
