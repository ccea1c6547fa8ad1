//! Steps of both phases, and their checkpoints.

use super::*;
use crate::options::{LoopOptions, Prunable};
use ec2t_format::graph::{GraphBuilder, Shape};
use ec2t_ops::optim::{Adam, Moments};

const RATES: Rates = Rates {
    main: Rate { lr: 0.01, decay: 0.1 },
    background: Rate { lr: 0.01, decay: 0.0 },
    centroids: Rate { lr: 0.001, decay: 0.0 },
};

/// Two ternary layers, of which all threads share the first.
fn learning() -> Ternarize {
    let mut g = GraphBuilder::new("t", Shape::new(3, 1, 1));
    let x = g.linear("first", g.input(), 130);
    let x = g.linear("long", x, 130);
    let x = g.linear("short", x, 4);
    g.linear("last", x, 2);
    let network = crate::initialize(&g.finish().unwrap(), 1).unwrap();
    Ternarize::learning(&network, Ec2tOptions::default(), &PruneOptions::default(), RATES).unwrap()
}

/// A gradient for everything that is trained.
fn gradients(weights: &Weights) -> Gradients {
    let mut gradients = Gradients::zeros(weights);
    for values in gradients.0.iter_mut().flatten() {
        values.iter_mut().zip(1..).for_each(|(value, i)| *value = (i as f32).sin());
    }
    gradients
}

#[test]
fn threads_do_not_change_a_step() {
    let run = |threads| {
        let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().unwrap();
        let mut phase = learning();
        for _ in 0..3 {
            let mut gradients = gradients(&phase.weights);
            pool.install(|| phase.update(&mut gradients, 1.0)).unwrap();
        }
        let values: Vec<Vec<f32>> = phase.weights.iter().map(|(_, v)| v.to_vec()).collect();
        (values, phase.layers.into_iter().map(|layer| layer.state).collect::<Vec<_>>())
    };
    let one = run(1);
    assert!(one == run(2) && one == run(3));
}

/// Ternary layers take what their state says, all others a step of Adam.
#[test]
fn every_parameter_takes_its_step() {
    let mut phase = learning();
    let before = phase.weights.clone();
    let mut gradients = gradients(&before);
    phase.update(&mut gradients, 1.0).unwrap();
    for (position, (param, values)) in phase.weights.iter().enumerate() {
        let layer = phase.layers.iter().find(|layer| layer.position == position);
        let expected = match (layer, &gradients.0[position]) {
            (Some(layer), _) => {
                let mut ternary = vec![0.0; values.len()];
                layer.state.write_ternary(&mut ternary).unwrap();
                ternary
            }
            (None, Some(gradient)) => {
                let mut stepped = before.get(position).to_vec();
                let moments = &mut Moments::new(stepped.len());
                Adam::new(1, RATES.main.lr, RATES.main.decay).step(gradient, &mut stepped, moments);
                stepped
            }
            (None, None) => before.get(position).to_vec(),
        };
        assert_eq!(values, expected, "{}", param.name);
        assert_ne!(values, before.get(position), "{}", param.name);
    }
    let names: Vec<&str> = phase.layers.iter().map(|layer| layer.name.as_str()).collect();
    assert_eq!(names, ["long.weight", "short.weight"]);
}

#[test]
fn the_first_layer_at_fault_is_named() {
    let mut phase = learning();
    let mut gradients = gradients(&phase.weights);
    for layer in &phase.layers {
        gradients.0[layer.position].as_mut().unwrap()[3] = f32::NAN;
    }
    let error = phase.update(&mut gradients, 1.0).unwrap_err();
    assert!(matches!(&error, QuantError::Layer { layer, .. } if layer == "long.weight"), "{error}");
}

/// [`learning`], with a mean of the clusters' shares.
fn smoothing() -> Ternarize {
    let mut phase = learning();
    for layer in &mut phase.layers {
        if let Change::Ternarize { options, .. } = &mut layer.change {
            options.share_smoothing = 0.9;
        }
    }
    phase
}

const CODES: [i8; 4] = [1, 0, -1, -1];

/// One layer with [`CODES`].
fn frozen(rates: Rates) -> (Ternarize, Graph) {
    let mut g = GraphBuilder::new("t", Shape::new(2, 1, 1));
    g.linear("fc", g.input(), 2);
    let graph = g.finish().unwrap();
    let weight = TernaryTensor::new(vec![2, 2], CODES.to_vec(), 0.5, 0.25).unwrap();
    let mut tensors = crate::initialize(&graph, 1).unwrap().into_parts().1;
    tensors.insert("fc.weight".into(), weight.into());
    let network = Network::new(graph.clone(), tensors).unwrap();
    (Ternarize::frozen(&network, rates).unwrap(), graph)
}

#[test]
fn all_phases_survive_a_checkpoint() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("last.safetensors");
    let phases: [fn() -> Ternarize; 5] =
        [learning, smoothing, || pruning().0, || frozen(RATES).0, averaged];
    for new in phases {
        let (mut whole, mut resumed) = (new(), new());
        let mut gradients = gradients(&whole.weights);
        whole.update(&mut gradients, 1.0).unwrap();
        let mut checkpoint = Checkpoint::default();
        whole.weights.save(&mut checkpoint, "weights");
        whole.save(&mut checkpoint);
        checkpoint.write(&file).unwrap();

        let checkpoint = Checkpoint::read(&file).unwrap().unwrap();
        resumed.weights.load(&checkpoint, "weights").unwrap();
        resumed.load(&checkpoint).unwrap();
        for phase in [&mut whole, &mut resumed] {
            phase.update(&mut gradients, 1.0).unwrap();
        }
        assert!(whole.weights.iter().eq(resumed.weights.iter()));
        assert!(whole.judged().iter().eq(resumed.judged().iter()));
        for (whole, resumed) in whole.layers.iter().zip(&resumed.layers) {
            assert_eq!((&whole.state, &whole.moments), (&resumed.state, &resumed.moments));
        }
    }
}

/// [`frozen`], judged by the mean of its weights.
fn averaged() -> Ternarize {
    let mut phase = frozen(RATES).0;
    phase.average = Average::new(1.0, &phase.weights);
    phase
}

/// What is judged is the mean of all steps: the codes, and the means of the centroids
/// and of all floats.
#[test]
fn the_mean_of_the_steps_is_judged() {
    let mut phase = averaged();
    let graph = frozen(RATES).1;
    let mut gradients = gradients(&phase.weights);
    let (mut centroids, mut biases) = (Vec::new(), Vec::new());
    for _ in 0..3 {
        phase.update(&mut gradients, 1.0).unwrap();
        centroids.push(phase.layers[0].state.centroids());
        biases.push(phase.weights.get(1)[0]);
    }
    let network = phase.network(&graph).unwrap();
    let Some(Tensor::Ternary(weight)) = network.tensor("fc.weight") else { panic!() };
    assert_eq!(weight.codes(), CODES);
    let bias = network.tensor("fc.bias").unwrap().to_f32()[0];
    let close = |found: f32, values: Vec<f32>| {
        let mean = values.iter().sum::<f32>() / values.len() as f32;
        assert!((found - mean).abs() < 1e-6, "{found} is not {mean}");
        assert!((found - values[2]).abs() > 1e-4, "{found} is the last one");
    };
    close(weight.w_neg(), centroids.iter().map(|centroids| centroids.neg).collect());
    close(weight.w_pos(), centroids.iter().map(|centroids| centroids.pos).collect());
    close(bias, biases);
}

/// Of a mean of weights, nobody has seen the statistics.
#[test]
fn a_mean_needs_its_own_running_statistics() {
    let options = |bn_batches, average| FinetuneOptions {
        common: LoopOptions { bn_batches, ..loop_options() },
        centroid_lr: 0.0,
        weight_decay: 0.0,
        average,
    };
    let [plain, normed] = [false, true].map(|has_norm| {
        let mut g = GraphBuilder::new("t", Shape::new(2, 1, 1));
        let x = g.linear("fc", g.input(), 2);
        if has_norm {
            g.batch_norm("bn", x);
        }
        Weights::from_network(&crate::initialize(&g.finish().unwrap(), 1).unwrap())
    });
    assert!(average(&options(0, 1.0), &plain).unwrap().is_some());
    assert!(average(&options(1, 1.0), &normed).unwrap().is_some());
    assert!(average(&options(0, 0.0), &normed).unwrap().is_none());
    let error = average(&options(0, 1.0), &normed).unwrap_err().to_string();
    assert!(error.contains("`average`: needs `bn_batches`"), "{error}");
}

fn loop_options() -> LoopOptions {
    LoopOptions {
        epochs: 1,
        batch: 1,
        lr: 0.0,
        schedule: crate::Schedule::Constant,
        label_smoothing: 0.0,
        distillation: crate::DistillOptions::default(),
        augment: ec2t_data::AugmentOptions::default(),
        keep: crate::Keep::Best,
        bn_batches: 0,
        checkpoint_steps: 0,
        log_steps: 0,
    }
}

/// A step that throws both centroids far below 0 leaves every code legible
/// in the floats of the file.
#[test]
fn frozen_codes_survive_a_file_of_floats() {
    let (mut phase, graph) = frozen(Rates::new(0.0, 0.0, 10.0));
    let mut gradients = Gradients(vec![Some(vec![1.0, 1.0, -1.0, -1.0]), None]);
    phase.update(&mut gradients, 1.0).unwrap();
    let tuned = phase.network(&graph).unwrap();
    let floats = tuned.tensor("fc.weight").unwrap().to_f32();
    let read = TernaryTensor::from_f32(&[2, 2], &floats).unwrap();
    assert_eq!(read.codes(), CODES);
    assert!(read.w_neg() < 1e-6 && read.w_pos() < 1e-6, "{floats:?}");
}

/// Two linear layers: one ternary, the last pruned.
fn pruning() -> (Ternarize, Graph) {
    let mut g = GraphBuilder::new("t", Shape::new(3, 1, 1));
    let x = g.linear("first", g.input(), 40);
    let x = g.linear("body", x, 40);
    g.linear("last", x, 5);
    let graph = g.finish().unwrap();
    let network = crate::initialize(&graph, 1).unwrap();
    let pruning =
        PruneOptions { prune: vec![Prunable::Classifier], prune_gamma: 0.3, prune_init_scale: 0.3 };
    let phase = Ternarize::learning(&network, Ec2tOptions::default(), &pruning, RATES).unwrap();
    (phase, graph)
}

/// What is left of a pruned layer takes Adam's steps by the plain gradient, and so
/// does what is left out, which may come back.
#[test]
fn pruned_weights_are_zero_or_their_own() {
    let (mut phase, graph) = pruning();
    let at = phase.layers.iter().position(|layer| layer.name == "last.weight").unwrap();
    let mut plain = phase.layers[at].state.weights().to_vec();
    let (centroids, mut moments) = (phase.layers[at].state.centroids(), Moments::new(plain.len()));
    for step in 1..=3 {
        let mut gradients = gradients(&phase.weights);
        let position = phase.layers[at].position;
        let gradient = gradients.0[position].clone().unwrap();
        phase.update(&mut gradients, 1.0).unwrap();
        Adam::new(step, RATES.background.lr, 0.0).step(&gradient, &mut plain, &mut moments);
        let layer = &phase.layers[at];
        assert_eq!((layer.state.weights(), layer.state.centroids()), (&*plain, centroids));
        let values = phase.weights.get(position).iter().zip(&plain).zip(layer.state.codes());
        for ((&value, &weight), &code) in values {
            assert_eq!(value, if code == 0 { 0.0 } else { weight });
        }
        let zeros = layer.state.counts().zero;
        assert!((1..plain.len()).contains(&zeros), "{zeros}");
    }
    let network = phase.network(&graph).unwrap();
    assert!(matches!(network.tensor("last.weight"), Some(Tensor::Dense(_))));
    assert!(matches!(network.tensor("body.weight"), Some(Tensor::Ternary(_))));
}

#[test]
fn the_frozen_phase_keeps_pruned_weights_at_zero() {
    let (phase, graph) = pruning();
    let network = phase.network(&graph).unwrap();
    let before = network.tensor("last.weight").unwrap().to_f32();
    let mut frozen = Ternarize::frozen(&network, RATES).unwrap();
    for _ in 0..3 {
        let mut gradients = gradients(&frozen.weights);
        frozen.update(&mut gradients, 1.0).unwrap();
    }
    let after = frozen.network(&graph).unwrap().tensor("last.weight").unwrap().to_f32();
    for (before, after) in before.iter().zip(&after) {
        assert_eq!(*before == 0.0, *after == 0.0);
        assert!(*before == 0.0 || before != after, "{before} did not move");
    }
}

/// With a goal, the share of zeros of all trained values is reached and held, and a
/// run that was interrupted goes on with the same strength.
#[test]
fn the_strength_follows_the_goal() {
    let new = || {
        let mut phase = learning();
        phase.target = SparsityTarget::new(0.8, &Ec2tOptions::default());
        phase
    };
    let mut phase = new();
    let mut gradients = gradients(&phase.weights);
    gradients.0.iter_mut().flatten().for_each(|values| values.fill(0.0));
    for _ in 0..300 {
        phase.update(&mut gradients, 0.0).unwrap();
    }
    let zeros: usize = phase.layers.iter().map(|layer| layer.state.counts().zero).sum();
    let weights_and_biases = [390 + 130, 16_900 + 130, 520 + 4, 8 + 2];
    let trained: usize = weights_and_biases.iter().sum();
    let share = zeros as f64 / trained as f64;
    assert!((share - 0.8).abs() < 2e-3, "{share}");

    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("last.safetensors");
    let mut checkpoint = Checkpoint::default();
    phase.weights.save(&mut checkpoint, "weights");
    phase.save(&mut checkpoint);
    checkpoint.write(&file).unwrap();
    let checkpoint = Checkpoint::read(&file).unwrap().unwrap();
    let mut resumed = new();
    resumed.weights.load(&checkpoint, "weights").unwrap();
    resumed.load(&checkpoint).unwrap();
    resumed.update(&mut gradients, 0.0).unwrap();
    phase.update(&mut gradients, 0.0).unwrap();
    let gamma = |phase: &Ternarize| phase.layers()[0].gamma.unwrap();
    assert_eq!(gamma(&phase), gamma(&resumed));
    assert!(gamma(&phase) > 0.15, "{}", gamma(&phase));
}
