//! Comparisons of networks with themselves and with changed ones.

use std::borrow::Cow;

use ec2t_format::graph::{GraphBuilder, Shape};
use ec2t_format::{DenseTensor, Network};
use ec2t_infer::{Comparison, Model, Precision, RunError, calibrate, compare};

use super::common::{Values, all, lenet, network, resnet};

/// More than are asked for at a time.
const IMAGES: usize = 300;

fn pixels(model: &Model, images: usize) -> Vec<u8> {
    let mut values = Values(11);
    (0..images * model.input_len()).map(|_| (127.5 * (values.next() + 1.0)) as u8).collect()
}

fn compared(first: &Model, second: &Model) -> Comparison {
    let (len, pixels) = (first.input_len(), pixels(first, IMAGES));
    let labels: Vec<u32> = (0..IMAGES).map(|i| (i % first.output_len()) as u32).collect();
    let images = |range: std::ops::Range<usize>| {
        Ok(Cow::Borrowed(&pixels[range.start * len..range.end * len]))
    };
    compare::<RunError>([first, second], &labels, images, |_| {}).unwrap()
}

/// A network with one of its tensors multiplied.
fn scaled(network: &Network, name: &str, factor: f32) -> Network {
    let (graph, mut tensors, _) = network.clone().into_parts();
    let tensor = tensors.get_mut(name).unwrap();
    let values = tensor.to_f32().into_iter().map(|value| factor * value).collect();
    *tensor = DenseTensor::new(tensor.shape().to_vec(), values).unwrap().into();
    Network::new(graph, tensors).unwrap()
}

#[test]
fn a_network_does_not_differ_from_itself() {
    for network in all() {
        let model = Model::new(network).unwrap();
        let found = compared(&model, &model);
        let steps = model.profile(&vec![0.0; model.input_len()], 1).unwrap().layers;
        assert_eq!(found.layers.len(), steps.len());
        assert!(found.layers.iter().all(|layer| layer.relative == 0.0), "{:?}", found.layers);
        assert_eq!((found.agreeing, found.counts.images()), (IMAGES, IMAGES));
        assert_eq!((found.counts.first, found.counts.second), (0, 0));
        assert_eq!(found.divergence.mean, 0.0);
        let of_classes = found.classes.iter().map(|class| class.correct[1]).sum::<usize>();
        assert_eq!([of_classes; 2], found.counts.correct());
    }
}

#[test]
fn layers_drift_from_where_a_network_was_changed() {
    let network = network(lenet());
    let first = Model::new(network.clone()).unwrap();
    let layers = compared(&first, &first).layers;
    let last = &layers.last().unwrap().name;
    let second = Model::new(scaled(&network, &format!("{last}.weight"), 1.5)).unwrap();
    let found = compared(&first, &second);
    let (end, before) = found.layers.split_last().unwrap();
    assert!(before.iter().all(|layer| layer.relative == 0.0), "{before:?}");
    assert!((0.2..0.8).contains(&end.relative), "{end:?}");
    assert!(found.divergence.mean > 3.0 * found.divergence.standard_error);
    assert!(found.divergence.standard_error > 0.0);
    let flips = found.counts.first + found.counts.second;
    assert!(IMAGES - found.agreeing >= flips, "{found:?}");
}

#[test]
fn values_in_bytes_are_compared_by_what_they_stand_for() {
    let network = network(resnet());
    let images = Values(3).floats(8 * network.graph().input.numel());
    let grids = calibrate(&network, &images, 8).unwrap();
    let network = network.with_grids(grids).unwrap();
    let [floats, bytes] = [Precision::F32, Precision::U8]
        .map(|precision| Model::with_precision(network.clone(), precision).unwrap());
    let found = compared(&floats, &bytes);
    assert_eq!(found.layers.len(), compared(&floats, &floats).layers.len());
    assert!(found.layers[0].relative == 0.0, "the stem is in floats: {:?}", found.layers);
    for layer in &found.layers[1..] {
        assert!((1e-4..0.2).contains(&layer.relative), "{layer:?}");
    }
}

#[test]
fn the_threads_do_not_change_a_bit() {
    let network = network(resnet());
    let changed = Model::new(scaled(&network, "fc.bias", 2.0)).unwrap();
    let model = Model::new(network).unwrap();
    let on = |threads| {
        let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().unwrap();
        pool.install(|| compared(&model, &changed))
    };
    assert_eq!(on(1), on(3));
}

#[test]
fn only_models_for_the_same_images_and_classes_can_be_compared() {
    let model = |inputs: usize, classes: usize| {
        let mut g = GraphBuilder::new("t", Shape::new(inputs, 1, 1));
        g.linear("fc", g.input(), classes);
        let zeros = |shape: Vec<usize>| {
            let values = vec![0.0; shape.iter().product()];
            DenseTensor::new(shape, values).unwrap().into()
        };
        let tensors = [
            ("fc.weight".to_owned(), zeros(vec![classes, inputs])),
            ("fc.bias".to_owned(), zeros(vec![classes])),
        ];
        Model::new(Network::new(g.finish().unwrap(), tensors.into()).unwrap()).unwrap()
    };
    let failure = |second: &Model, labels: &[u32], pixels: &'static [u8]| {
        let images = |_| Ok(Cow::Borrowed(pixels));
        compare::<RunError>([&model(2, 3), second], labels, images, |_| {}).unwrap_err()
    };
    let unlike = RunError::Unlike { first: [2, 3], second: [4, 3] };
    assert_eq!(failure(&model(4, 3), &[0], &[0; 2]), unlike);
    let unlike = RunError::Unlike { first: [2, 3], second: [2, 5] };
    assert_eq!(failure(&model(2, 5), &[0], &[0; 2]), unlike);
    let label = RunError::Label { image: 1, label: 3, classes: 3 };
    assert_eq!(failure(&model(2, 3), &[0, 3], &[0; 4]), label);
    let length = RunError::InputLength { images: 1, expected: 2, found: 3 };
    assert_eq!(failure(&model(2, 3), &[0], &[0; 3]), length);
}
