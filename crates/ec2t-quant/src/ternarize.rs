//! Ternarization and fine-tuning: the two phases of EC2T (§5.2 of the thesis).
//!
//! Both train with ternary weights in the forward and backward pass. While
//! *learning*, the background weights and the centroids of every ternarized
//! layer move, and each step assigns all weights anew. In the *frozen* phase
//! assignments stay, and centroids and all other parameters move. Both phases
//! use Adam throughout, with fresh moments.

mod assigned;

pub use assigned::assigned_sparsity;

use std::collections::BTreeMap;

use ec2t_data::Splits;
use ec2t_format::graph::{ParamKind, Role};
use ec2t_format::tensor::{Tensor, TernaryTensor};
use ec2t_format::{Graph, Network};
use ec2t_ops::optim::Adam;
use rayon::prelude::*;

use crate::checkpoint::Checkpoint;
use crate::ec2t::{
    Centroids, Ec2tError, Ec2tOptions, LayerMoments, LearningStep, Method, TernaryLayer,
    WeightStatistics, size_decay,
};
use crate::engine::Gradients;
use crate::error::QuantError;
use crate::optim::{self, Rate, load_moments, save_moments};
use crate::options::{FinetuneOptions, TernarizeOptions};
use crate::session::{LayerReport, Outcome, Session};
use crate::trainer::{self, Phase};
use crate::weights::Weights;

/// Ternarizes the layers in the body of a float network.
///
/// # Errors
/// Where the network has no such layer, options or data do not fit, a file
/// can't be read or written, training diverges, or the session was told to stop.
pub fn ternarize(
    network: &Network,
    data: &Splits,
    options: &TernarizeOptions,
    session: &mut Session,
) -> Result<Outcome, QuantError> {
    options.validate()?;
    let rates = Rates::new(options.common.lr, options.weight_decay, options.centroid_lr);
    let phase = Ternarize::learning(network, options.ec2t, rates)?;
    trainer::run(phase, network.graph(), data, &options.common, options, session)
}

/// Fine-tunes a ternary network; every weight stays at its centroid.
///
/// # Errors
/// Where the network has no ternary layer, options or data do not fit, a file
/// can't be read or written, training diverges, or the session was told to stop.
pub fn finetune(
    network: &Network,
    data: &Splits,
    options: &FinetuneOptions,
    session: &mut Session,
) -> Result<Outcome, QuantError> {
    options.validate()?;
    let rates = Rates::new(options.common.lr, options.weight_decay, options.centroid_lr);
    let phase = Ternarize::frozen(network, rates)?;
    trainer::run(phase, network.graph(), data, &options.common, options, session)
}

/// Whether EC2T ternarizes a layer of this role.
fn is_ternarized(role: Option<Role>) -> bool {
    role == Some(Role::Body)
}

/// Settings of the optimizers.
#[derive(Clone, Copy)]
struct Rates {
    /// Parameters that stay floats.
    main: Rate,
    background: Rate,
    centroids: Rate,
}

impl Rates {
    fn new(lr: f32, decay: f32, centroid_lr: f32) -> Self {
        Self {
            main: Rate { lr, decay },
            background: Rate { lr, decay: 0.0 },
            centroids: Rate { lr: centroid_lr, decay: 0.0 },
        }
    }

    fn scaled(self, factor: f32) -> Self {
        Self {
            main: self.main.scaled(factor),
            background: self.background.scaled(factor),
            centroids: self.centroids.scaled(factor),
        }
    }
}

/// A ternarized layer of the network.
struct Layer {
    name: String,
    /// Position of its weights among the parameters.
    position: usize,
    state: TernaryLayer,
    moments: LayerMoments,
    assignment: Assignment,
}

/// What becomes of a layer's background weights.
#[derive(Clone, Copy)]
enum Assignment {
    /// They move, and all weights are assigned anew at each step.
    Learning {
        /// δ: the layer's share of the entropy constraint (thesis, eq. 4.9).
        delta: f64,
    },
    /// They rest.
    Frozen {
        /// Least magnitude of a centroid.
        floor: f32,
    },
}

impl Layer {
    fn new(name: String, position: usize, state: TernaryLayer, assignment: Assignment) -> Self {
        let moments = LayerMoments::new(match assignment {
            Assignment::Learning { .. } => state.len(),
            Assignment::Frozen { .. } => 0,
        });
        Self { name, position, state, moments, assignment }
    }

    fn at_fault(&self) -> impl FnOnce(Ec2tError) -> QuantError + use<> {
        let layer = self.name.clone();
        move |source| QuantError::Layer { layer, source }
    }

    /// Gradients of background weights and centroids by the current assignment,
    /// optimizer steps, new assignment (thesis, algorithm 2); then the ternary
    /// weights of the next step.
    fn step(
        &mut self,
        gradient: &[f32],
        background: Adam,
        centroids: Adam,
        options: &Ec2tOptions,
        ternary: &mut [f32],
    ) -> Result<(), QuantError> {
        let Self { state, moments, .. } = self;
        let result = match self.assignment {
            Assignment::Learning { delta } => {
                let step = LearningStep { background, centroids, options, delta };
                state.learn(gradient, &step, moments, ternary).map(drop)
            }
            Assignment::Frozen { floor } => {
                state.tune(gradient, centroids, floor, &mut moments.centroids, ternary)
            }
        };
        result.map_err(self.at_fault())
    }
}

struct Ternarize {
    stage: &'static str,
    weights: Weights,
    /// In the order of the parameters.
    layers: Vec<Layer>,
    options: Ec2tOptions,
    rates: Rates,
    main: optim::Adam,
}

impl Ternarize {
    fn learning(network: &Network, options: Ec2tOptions, rates: Rates) -> Result<Self, QuantError> {
        let graph = network.graph();
        let weights = Weights::from_network(network);
        let roles = graph.roles();
        let body = weights.iter().enumerate().filter(|(_, (param, _))| {
            param.kind == ParamKind::Weight && is_ternarized(roles[param.node.index()])
        });
        let body: Vec<_> = body.collect();
        let largest = body.iter().map(|(_, (_, values))| values.len()).max().unwrap_or_default();
        let mut layers = Vec::new();
        for (position, (param, values)) in body {
            let name = param.name.clone();
            let state = TernaryLayer::new(values.to_vec(), &options)
                .map_err(|source| QuantError::Layer { layer: name.clone(), source })?;
            let delta = size_decay(state.len(), largest, options.sustain);
            layers.push(Layer::new(name, position, state, Assignment::Learning { delta }));
        }
        if layers.is_empty() {
            let reason =
                format!("{} has no layer between its first and last to ternarize", graph.name);
            return Err(QuantError::NothingTernary(reason));
        }
        Self::new("ternarize", weights, layers, options, rates)
    }

    fn frozen(network: &Network, rates: Rates) -> Result<Self, QuantError> {
        // The least floor that keeps a centroid from 0, where its cluster could
        // no longer be told from the zeros in a file of floats.
        let centroid_floor = f64::from(f32::EPSILON);
        let options = Ec2tOptions { centroid_floor, ..Ec2tOptions::default() };
        let weights = Weights::from_network(network);
        let mut layers = Vec::new();
        for (position, param) in weights.params().iter().enumerate() {
            let Some(Tensor::Ternary(ternary)) = network.tensor(&param.name) else { continue };
            let at_fault = |source| QuantError::Layer { layer: param.name.clone(), source };
            let centroids = Centroids { neg: ternary.w_neg(), pos: ternary.w_pos() };
            let state =
                TernaryLayer::from_parts(ternary.to_f32(), centroids, ternary.codes().to_vec())
                    .map_err(at_fault)?;
            let statistics = WeightStatistics::of(state.weights()).map_err(at_fault)?;
            let assignment = Assignment::Frozen { floor: options.floor(&statistics) };
            layers.push(Layer::new(param.name.clone(), position, state, assignment));
        }
        if layers.is_empty() {
            let reason = format!("{} has no ternary layer to fine-tune", network.graph().name);
            return Err(QuantError::NothingTernary(reason));
        }
        Self::new("finetune", weights, layers, options, rates)
    }

    fn new(
        stage: &'static str,
        mut weights: Weights,
        layers: Vec<Layer>,
        options: Ec2tOptions,
        rates: Rates,
    ) -> Result<Self, QuantError> {
        for layer in &layers {
            let ternary = weights.get_mut(layer.position);
            layer.state.write_ternary(ternary).map_err(layer.at_fault())?;
        }
        let sizes = weights.params().iter().zip(weights.sizes()).enumerate();
        let main = sizes.map(|(position, (param, size))| {
            let elsewhere = layers.iter().any(|layer| layer.position == position);
            (param.kind.is_trainable() && !elsewhere).then_some(size)
        });
        Ok(Self { stage, main: optim::Adam::new(main), weights, layers, options, rates })
    }

    /// λ of a layer's last assignment, where there are any: it follows from
    /// weights and centroids, which have not moved since.
    fn lambda(&self, layer: &Layer) -> Option<f64> {
        let Assignment::Learning { delta } = layer.assignment else { return None };
        if self.options.method != Method::Ec2t {
            return None;
        }
        let constraint = layer.state.constraint(&self.options, delta);
        constraint.ok().map(|constraint| constraint.lambda)
    }
}

impl Phase for Ternarize {
    fn stage(&self) -> &'static str {
        self.stage
    }

    fn weights(&self) -> &Weights {
        &self.weights
    }

    fn weights_mut(&mut self) -> &mut Weights {
        &mut self.weights
    }

    fn update(&mut self, gradients: &mut Gradients, factor: f32) -> Result<(), QuantError> {
        let rates = self.rates.scaled(factor);
        let values = self.weights.lists_mut();
        self.main.step(rates.main, values, &gradients.0);

        let (background, centroids) =
            (self.main.at(rates.background), self.main.at(rates.centroids));
        let mut lists = values.iter_mut().zip(&gradients.0).enumerate();
        let steps = self.layers.iter_mut().filter_map(|layer| {
            let (_, (ternary, gradient)) = lists.find(|(i, _)| *i == layer.position)?;
            Some((layer, ternary, gradient.as_ref()?))
        });
        let steps: Vec<_> = steps.collect();
        let step = |(layer, ternary, gradient): (&mut Layer, &mut Vec<f32>, &Vec<f32>)| {
            layer.step(gradient, background, centroids, &self.options, ternary)
        };
        // Of several faults, the first is reported, whatever thread is the fastest.
        steps.into_par_iter().with_max_len(1).map(step).reduce(|| Ok(()), Result::and)
    }

    fn save(&self, checkpoint: &mut Checkpoint) {
        for Layer { name, state, moments, .. } in &self.layers {
            let Centroids { neg, pos } = state.centroids();
            checkpoint.put(&format!("centroids/{name}"), &[neg, pos]);
            checkpoint.put(&format!("background/{name}"), state.weights());
            checkpoint.put_codes(&format!("codes/{name}"), state.codes());
            save_moments(checkpoint, "centroids", name, &moments.centroids);
            save_moments(checkpoint, "background", name, &moments.background);
        }
        self.main.save(checkpoint, "main", &self.weights.names());
    }

    fn load(&mut self, checkpoint: &Checkpoint) -> Result<(), QuantError> {
        for layer in &mut self.layers {
            let (name, LayerMoments { background, centroids }) = (&layer.name, &mut layer.moments);
            load_moments(checkpoint, "centroids", name, centroids)?;
            load_moments(checkpoint, "background", name, background)?;
            let mut centroids = [0.0; 2];
            checkpoint.load(&format!("centroids/{name}"), &mut centroids)?;
            let mut weights = vec![0.0; layer.state.len()];
            checkpoint.load(&format!("background/{name}"), &mut weights)?;
            let codes = checkpoint.codes(&format!("codes/{name}"), weights.len())?;
            let [neg, pos] = centroids;
            layer.state = TernaryLayer::from_parts(weights, Centroids { neg, pos }, codes)
                .map_err(layer.at_fault())?;
        }
        self.main.load(checkpoint, "main", &self.weights.names())
    }

    fn network(&self, graph: &Graph) -> Result<Network, QuantError> {
        let mut ternary = BTreeMap::new();
        for layer in &self.layers {
            let shape = self.weights.params()[layer.position].shape.clone();
            let Centroids { neg, pos } = layer.state.centroids();
            let tensor = TernaryTensor::new(shape, layer.state.codes().to_vec(), neg, pos)?;
            ternary.insert(layer.position, tensor);
        }
        self.weights.to_network(graph, ternary)
    }

    fn layers(&self) -> Vec<LayerReport> {
        let report = |layer| layer_report(layer, self.lambda(layer));
        self.layers.iter().map(report).collect()
    }
}

fn layer_report(layer: &Layer, lambda: Option<f64>) -> LayerReport {
    let counts = layer.state.counts();
    let share = |count: usize| count as f64 / counts.total() as f64;
    let Centroids { neg, pos } = layer.state.centroids();
    LayerReport {
        name: layer.name.clone(),
        lambda,
        w_neg: neg,
        w_pos: pos,
        shares: [share(counts.neg), share(counts.zero), share(counts.pos)],
        entropy_bits: counts.entropy_bits(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use ec2t_format::graph::{GraphBuilder, Shape};
    use ec2t_ops::optim::Moments;

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
        Ternarize::learning(&network, Ec2tOptions::default(), RATES).unwrap()
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
                    Adam::new(1, RATES.main.lr, RATES.main.decay).step(
                        gradient,
                        &mut stepped,
                        moments,
                    );
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
        assert!(
            matches!(&error, QuantError::Layer { layer, .. } if layer == "long.weight"),
            "{error}"
        );
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
    fn both_phases_survive_a_checkpoint() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("last.safetensors");
        for new in [learning, || frozen(RATES).0] as [fn() -> Ternarize; 2] {
            let (mut whole, mut resumed) = (new(), new());
            let mut gradients = gradients(&whole.weights);
            whole.update(&mut gradients, 1.0).unwrap();
            let mut checkpoint = Checkpoint::default();
            whole.weights.save(&mut checkpoint);
            whole.save(&mut checkpoint);
            checkpoint.write(&file).unwrap();

            let checkpoint = Checkpoint::read(&file).unwrap().unwrap();
            resumed.weights.load(&checkpoint).unwrap();
            resumed.load(&checkpoint).unwrap();
            for phase in [&mut whole, &mut resumed] {
                phase.update(&mut gradients, 1.0).unwrap();
            }
            assert!(whole.weights.iter().eq(resumed.weights.iter()));
            for (whole, resumed) in whole.layers.iter().zip(&resumed.layers) {
                assert_eq!((&whole.state, &whole.moments), (&resumed.state, &resumed.moments));
            }
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
}
