//! Training on the CPU: a reverse pass of our own over the static graph.
//!
//! Activations are `[N, H, W, C]`. The plan ([`plan`]) turns a graph into steps
//! once, fused where that saves a pass over memory; every batch then runs the
//! steps forward, and backward in reverse order. There is no tape, and no memory
//! is allocated after the first batch of a size: values and gradients come from
//! a pool ([`pool`]) and go back to it as soon as nobody reads them any more.
//!
//! The operators themselves are those of [`ec2t_ops`].

mod convolution;
mod layer;
mod normalization;
mod plan;
mod pointwise;
mod pool;
mod windows;

use ec2t_format::Graph;
use ec2t_format::graph::NodeId;
use ec2t_ops::shape::nchw_to_nhwc;
use ec2t_ops::{ChannelSums, Scratch};
use rand_chacha::ChaCha8Rng;

use self::layer::{Mode, Pass, Target};
use self::plan::{Plan, Step};
use self::pool::Pool;
use crate::engine::{Gradients, no_such_batch};
use crate::error::QuantError;
use crate::weights::Weights;

/// Computes training steps on the CPU.
pub(crate) struct CpuEngine {
    plan: Plan,
    gradients: Gradients,
    sums: Vec<Option<ChannelSums>>,
    /// The output of each node in the current batch; empty where there is none.
    values: Vec<Vec<f32>>,
    /// The gradient of each node's output, so far.
    value_gradients: Vec<Vec<f32>>,
    /// Images of the batch that ran forward last.
    batch: usize,
    pool: Pool,
    scratch: Scratch,
}

impl CpuEngine {
    pub(crate) fn new(graph: &Graph, weights: &Weights) -> Result<Self, QuantError> {
        let plan = Plan::new(graph, weights)?;
        let nodes = graph.nodes.len();
        Ok(Self {
            gradients: Gradients::zeros(weights),
            sums: plan.sums(),
            values: vec![Vec::new(); nodes],
            value_gradients: vec![Vec::new(); nodes],
            batch: 0,
            pool: Pool::default(),
            scratch: Scratch::new(),
            plan,
        })
    }

    /// See [`Engine::forward`](crate::engine::Engine::forward).
    pub(crate) fn forward(
        &mut self,
        weights: &mut Weights,
        images: &[f32],
        batch: usize,
        rng: &mut ChaCha8Rng,
    ) -> &[f32] {
        self.run(weights, images, batch, Mode::Train(rng));
        self.plan.steps.iter().for_each(|step| step.layer.update_running(weights));
        self.batch = batch;
        &self.values[self.plan.output.index()]
    }

    /// Logits of the network in its evaluation form, `[N, classes]`.
    pub(crate) fn logits(&mut self, weights: &Weights, images: &[f32], batch: usize) -> Vec<f32> {
        self.run(weights, images, batch, Mode::Eval);
        std::mem::take(&mut self.values[self.plan.output.index()])
    }

    /// Gradients of the last batch.
    pub(crate) fn gradients(&mut self) -> &mut Gradients {
        &mut self.gradients
    }

    fn run(&mut self, weights: &Weights, images: &[f32], batch: usize, mut mode: Mode) {
        let training = matches!(mode, Mode::Train(_));
        // Those of a batch that never went backward.
        self.values.iter_mut().for_each(|values| self.pool.put(std::mem::take(values)));
        let input = NodeId::INPUT.index();
        let mut values = self.pool.take(images.len());
        nchw_to_nhwc(batch, self.plan.input_channels, images, &mut values);
        self.values[input] = values;
        for (index, step) in self.plan.steps.iter_mut().enumerate() {
            let mut y = self.pool.take(batch * step.len);
            let inputs: Vec<&[f32]> =
                step.inputs.iter().map(|input| self.values[input.index()].as_slice()).collect();
            let mut pass = Pass {
                batch,
                weights,
                gradients: &mut self.gradients,
                sums: &mut self.sums,
                pool: &mut self.pool,
                scratch: &mut self.scratch,
            };
            step.layer.forward(&mut pass, &mut mode, &inputs, &mut y);
            self.values[step.output.index()] = y;
            if !training {
                release(step, index, &mut self.values, &mut self.pool);
            }
        }
    }

    /// See [`Engine::backward`](crate::engine::Engine::backward).
    pub(crate) fn backward(
        &mut self,
        weights: &Weights,
        gradient: &[f32],
    ) -> Result<(), QuantError> {
        let output = self.plan.output.index();
        let (expected, found) = (self.values[output].len(), gradient.len());
        if found != expected || found == 0 {
            return Err(no_such_batch(expected, found));
        }
        let mut values = self.pool.take(found);
        values.copy_from_slice(gradient);
        self.value_gradients[output] = values;
        for step in self.plan.steps.iter_mut().rev() {
            let output = step.output.index();
            self.pool.put(std::mem::take(&mut self.values[output]));
            let mut g = std::mem::take(&mut self.value_gradients[output]);
            if g.is_empty() {
                continue; // the loss does not depend on it
            }
            let mut buffers: Vec<Buffer> = Vec::with_capacity(step.inputs.len());
            for &node in &step.inputs {
                let before = std::mem::take(&mut self.value_gradients[node.index()]);
                let add = !before.is_empty();
                let len = self.values[node.index()].len();
                let values = match (add, node) {
                    (_, NodeId::INPUT) => Vec::new(),
                    (true, _) => before,
                    (false, _) => self.pool.take(len),
                };
                buffers.push(Buffer { node, values, add });
            }
            let inputs: Vec<&[f32]> =
                step.inputs.iter().map(|input| self.values[input.index()].as_slice()).collect();
            let mut targets: Vec<Option<Target>> = buffers.iter_mut().map(Buffer::target).collect();
            let mut pass = Pass {
                batch: self.batch,
                weights,
                gradients: &mut self.gradients,
                sums: &mut self.sums,
                pool: &mut self.pool,
                scratch: &mut self.scratch,
            };
            step.layer.backward(&mut pass, &inputs, &mut g, &mut targets);
            self.pool.put(g);
            for Buffer { node, values, .. } in buffers {
                deposit(values, &mut self.value_gradients[node.index()], &mut self.pool);
            }
        }
        let input = NodeId::INPUT.index();
        self.pool.put(std::mem::take(&mut self.values[input]));
        Ok(())
    }
}

/// Keeps a gradient; a layer that reads a node twice leaves two to be added.
fn deposit(gradient: Vec<f32>, place: &mut Vec<f32>, pool: &mut Pool) {
    if place.is_empty() {
        *place = gradient;
    } else {
        ec2t_ops::elementwise::accumulate(&gradient, place);
        pool.put(gradient);
    }
}

/// Gives the values back that no later step reads.
fn release(step: &Step, index: usize, values: &mut [Vec<f32>], pool: &mut Pool) {
    for (node, last) in step.inputs.iter().zip(&step.last_use) {
        if *last == index {
            pool.put(std::mem::take(&mut values[node.index()]));
        }
    }
}

/// The gradient of a step's input while the step works on it.
struct Buffer {
    node: NodeId,
    values: Vec<f32>,
    add: bool,
}

impl Buffer {
    fn target(&mut self) -> Option<Target<'_>> {
        let wanted = self.node != NodeId::INPUT;
        wanted.then_some(Target { values: &mut self.values, add: self.add })
    }
}
