//! Fused steps against the plain methods.

use proptest::prelude::*;

use super::*;
use crate::ec2t::testing::Random;
use crate::ec2t::{Centroids, InitRule, Method};

/// A layer in the middle of its training, and the next gradient.
#[derive(Clone, Debug)]
struct Case {
    layer: TernaryLayer,
    moments: LayerMoments,
    gradient: Vec<f32>,
    options: Ec2tOptions,
    delta: f64,
    lr: f32,
}

impl Case {
    fn new(weights: Vec<f32>, options: Ec2tOptions, delta: f64, lr: f32, seed: u64) -> Self {
        let mut random = Random::new(seed);
        let len = weights.len();
        let mut draw = |n: usize| -> Vec<f32> { (0..n).map(|_| random.normal()).collect() };
        let mut moments = |n| Moments {
            mean: draw(n),
            square: draw(n).into_iter().map(|v| v * v + 0.5).collect(),
        };
        Self {
            layer: TernaryLayer::new(weights, &options).unwrap(),
            moments: LayerMoments { background: moments(len), centroids: moments(2) },
            gradient: draw(len),
            options,
            delta,
            lr,
        }
    }

    /// A layer of normal weights, long enough for all threads.
    fn long() -> Self {
        let mut random = Random::new(21);
        let weights = (0..50_000).map(|_| random.normal()).collect();
        Self::new(weights, Ec2tOptions::default(), 0.5, 0.01, 22)
    }

    fn adam(&self) -> Adam {
        Adam::new(2, self.lr, 0.0)
    }

    fn learn(&mut self) -> Result<(Requantized, Vec<f32>), Ec2tError> {
        let (options, adam) = (&self.options, self.adam());
        let step = LearningStep { background: adam, centroids: adam, options, delta: self.delta };
        let mut ternary = vec![9.0; self.layer.len()];
        let result = self.layer.learn(&self.gradient, &step, &mut self.moments, &mut ternary)?;
        Ok((result, ternary))
    }

    fn learn_plainly(&mut self) -> Result<Requantized, Ec2tError> {
        let LayerMoments { background, centroids } = &mut self.moments;
        let (adam, layer) = (Adam::new(2, self.lr, 0.0), &mut self.layer);
        let by_centroids = layer.gradients(&mut self.gradient)?;
        adam.step(&by_centroids, layer.centroids_mut(), centroids);
        adam.step(&self.gradient, layer.weights_mut(), background);
        layer.requantize(&self.options, self.delta)
    }

    /// Learns in both ways and compares.
    fn check(&mut self) {
        let mut plain = self.clone();
        plain.learn_plainly().unwrap();
        let (result, ternary) = self.learn().unwrap();
        assert_eq!(self.layer.weights(), plain.layer.weights());
        assert_eq!(self.moments.background, plain.moments.background);
        let (found, expected) = (self.layer.centroids(), plain.layer.centroids());
        for (found, expected) in [(found.neg, expected.neg), (found.pos, expected.pos)] {
            let tolerance = 1e-5 * (self.lr + expected);
            assert!((found - expected).abs() <= tolerance, "{found} is not {expected}");
        }

        // The same codes, for the same weights and centroids.
        let unfloored = Ec2tOptions { centroid_floor: 0.0, ..self.options };
        let mut again = self.layer.clone();
        assert_eq!(again.requantize(&unfloored, self.delta).unwrap(), result);
        assert_eq!(again, self.layer);
        let mut expected = vec![9.0; ternary.len()];
        again.write_ternary(&mut expected).unwrap();
        assert_eq!(ternary, expected);
        assert_eq!(self.layer.constraint(&self.options, self.delta), Ok(result.constraint));
    }
}

fn options() -> impl Strategy<Value = Ec2tOptions> {
    let init = prop_oneof![Just(InitRule::MaxScaling), Just(InitRule::Kmeans)];
    let floor = prop_oneof![Just(0.0), 0.0..1.5];
    let quantile = prop_oneof![Just(1.0), 0.9..1.0];
    let all = (init, 0.01..=1.0, 0.0..=1.0, floor, quantile);
    all.prop_map(|(init, init_scale, gamma, centroid_floor, extreme_quantile)| {
        let rest = Ec2tOptions::default();
        Ec2tOptions { init, init_scale, gamma, centroid_floor, extreme_quantile, ..rest }
    })
}

/// Layers of 1 to 5000 weights, of every kind that [`Random`] has.
fn weights() -> impl Strategy<Value = Vec<f32>> {
    let len = prop_oneof![1usize..40, 1usize..5000];
    (any::<u64>(), len, any::<prop::sample::Index>()).prop_map(|(seed, len, kind)| {
        let mut layers = Random::new(seed).layers(len);
        layers.swap_remove(kind.index(layers.len()))
    })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(200))]

    #[test]
    fn steps_are_those_of_the_plain_methods(
        weights in weights(),
        options in options(),
        delta in 0.0..=1.0,
        lr in prop_oneof![Just(0.0f32), 1e-5f32..1e-1],
        seed in any::<u64>(),
    ) {
        let mut case = Case::new(weights, options, delta, lr, seed);
        for _ in 0..3 {
            case.check();
        }
    }

    #[test]
    fn other_methods_take_the_steps_of_the_plain_methods(
        weights in weights(),
        (method, threshold) in prop_oneof![
            (Just(Method::Reference), Just(0.0)),
            (Just(Method::Ttq), 0.0..0.9),
            (Just(Method::Twn), 0.0..2.0),
        ],
        lr in prop_oneof![Just(0.0f32), 1e-5f32..1e-1],
        seed in any::<u64>(),
    ) {
        let options = Ec2tOptions { method, threshold, ..Ec2tOptions::default() };
        let mut case = Case::new(weights, options, 0.5, lr, seed);
        let mut plain = case.clone();
        if method == Method::Ttq {
            plain.learn_plainly().unwrap();
        } else if method == Method::Reference {
            let Case { layer, moments, gradient, .. } = &mut plain;
            let [neg, pos] = layer.gradients(gradient).unwrap();
            case.adam().step(&[-neg, pos], layer.centroids_mut(), &mut moments.centroids);
            case.adam().step(gradient, layer.weights_mut(), &mut moments.background);
            layer.requantize(&options, 0.5).unwrap();
        } else {
            let (adam, moments) = (case.adam(), &mut plain.moments.background);
            adam.step(&plain.gradient, plain.layer.weights_mut(), moments);
            plain.layer.requantize(&options, 0.5).unwrap();
        }
        let (result, ternary) = case.learn().unwrap();
        assert!(method == Method::Reference || result.constraint.lambda == 0.0);
        assert_eq!(case.layer.weights(), plain.layer.weights());
        assert_eq!(case.layer.codes(), plain.layer.codes());
        let (Centroids { neg, pos }, expected) = (case.layer.centroids(), plain.layer.centroids());
        assert!((neg - expected.neg).abs() <= 1e-5 * (lr + neg), "{neg} {expected:?}");
        assert!((pos - expected.pos).abs() <= 1e-5 * (lr + pos), "{pos} {expected:?}");
        let mut written = vec![9.0; ternary.len()];
        case.layer.write_ternary(&mut written).unwrap();
        assert_eq!(ternary, written);
    }

    #[test]
    fn frozen_steps_are_those_of_the_plain_methods(
        weights in weights(),
        options in options(),
        lr in prop_oneof![Just(0.0f32), 1e-5f32..1e-1],
        seed in any::<u64>(),
    ) {
        let mut case = Case::new(weights, options, 1.0, lr, seed);
        let (adam, floor, mut plain) = (case.adam(), 0.01, case.clone());
        let mut ternary = vec![9.0; case.layer.len()];
        let moments = &mut case.moments.centroids;
        case.layer.tune(&case.gradient, adam, floor, moments, &mut ternary).unwrap();

        let by_centroids = plain.layer.gradients(&mut plain.gradient).unwrap();
        adam.step(&by_centroids, plain.layer.centroids_mut(), &mut plain.moments.centroids);
        plain.layer.raise_centroids(floor).unwrap();
        assert_eq!(case.layer.weights(), plain.layer.weights());
        assert_eq!(case.layer.codes(), plain.layer.codes());
        let (Centroids { neg, pos }, expected) = (case.layer.centroids(), plain.layer.centroids());
        assert!((neg - expected.neg).abs() <= 1e-5 * (lr + neg));
        assert!((pos - expected.pos).abs() <= 1e-5 * (lr + pos));
        let mut expected = vec![9.0; ternary.len()];
        case.layer.write_ternary(&mut expected).unwrap();
        assert_eq!(ternary, expected);
    }
}

/// Weights whose squares `f32` cannot hold, and such as hardly differ.
#[test]
fn awkward_layers_are_floored_exactly() {
    let mut random = Random::new(23);
    for (scale, offset) in [(1e30, 0.0), (1e-30, 0.0), (1e-25, 1e-20), (1e-3, 1.0), (1.0, 1e6)] {
        let mut draw = |_| scale * random.normal() + offset;
        let weights: Vec<f32> = (0..1000).map(&mut draw).collect();
        let large_floor = Ec2tOptions { centroid_floor: 100.0, ..Ec2tOptions::default() };
        let mut case = Case::new(weights, large_floor, 1.0, 0.0, 24);
        let statistics = WeightStatistics::of(case.layer.weights()).unwrap();
        let expected = case.layer.centroids().raised_to(case.options.floor(&statistics));
        case.check();
        assert_eq!(case.layer.centroids(), expected);
    }
}

#[test]
fn threads_do_not_matter() {
    let run = |threads| {
        let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().unwrap();
        pool.install(|| {
            let mut case = Case::long();
            let results: Vec<_> = (0..3).map(|_| case.learn().unwrap()).collect();
            (results, case.layer, case.moments)
        })
    };
    let one = run(1);
    assert!(one == run(2) && one == run(3));
    Case::long().check();
}

#[test]
fn diverged_steps_are_errors_and_keep_the_codes() {
    for position in [0, 1234, 49_999] {
        for value in [f32::NAN, f32::INFINITY] {
            let mut case = Case::long();
            let codes = case.layer.codes().to_vec();
            case.gradient[position] = value;
            let error = case.learn().unwrap_err();
            let expected =
                |error| matches!(error, Ec2tError::Weight { position: p, .. } if p == position);
            assert!(expected(error));
            assert_eq!(case.layer.codes(), codes);
        }
    }
    let mut case = Case::long();
    case.moments.centroids.mean[1] = f32::NAN;
    let error = case.learn().unwrap_err();
    assert!(matches!(error, Ec2tError::Centroid { side: "positive", .. }), "{error}");
}

#[test]
fn wrong_arguments_are_named() {
    let error = |break_it: fn(&mut Case)| {
        let mut case = Case::long();
        break_it(&mut case);
        case.learn().unwrap_err().to_string()
    };
    assert_eq!(
        error(|case| case.gradient.truncate(7)),
        "gradient: the layer has 50000 weights, found 7 values"
    );
    assert_eq!(error(|case| case.delta = 2.0), "delta must be from 0 to 1, found 2");
    assert_eq!(error(|case| case.options.gamma = -1.0), "gamma must be from 0 to 1, found -1");
    let mut layer = Case::long().layer;
    let tuned = layer.tune(&[0.0; 3], Adam::new(1, 0.1, 0.0), 0.0, &mut Moments::new(2), &mut []);
    assert!(matches!(tuned, Err(Ec2tError::Length { what: "gradient", found: 3, .. })));
}
