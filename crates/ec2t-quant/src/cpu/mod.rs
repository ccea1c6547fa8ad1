//! Training on the CPU: a reverse pass of our own over the static graph.
//!
//! Activations are `[N, H, W, C]`. The plan ([`plan`]) turns a graph into steps
//! once, fused where that saves a pass over memory; every batch then runs the
//! steps forward, and backward in reverse order. There is no tape. Where each
//! value and gradient lies in memory is decided once, too ([`layout`]), so no
//! memory is allocated after the largest batch.
//!
//! The operators themselves are those of [`ec2t_ops`].

mod convolution;
mod layer;
mod layout;
mod normalization;
mod plan;
mod pointwise;
mod windows;

use ec2t_format::Graph;
use ec2t_format::graph::NodeId;
use ec2t_ops::shape::nchw_to_nhwc;
use ec2t_ops::{ChannelSums, Scratch};
use rand_chacha::ChaCha8Rng;

use self::layer::{Mode, Pass, Target};
use self::layout::{Layout, Parts, TargetValue, Value};
use self::plan::Plan;
use crate::engine::{Gradients, no_such_batch};
use crate::error::QuantError;
use crate::weights::Weights;

/// Images that are evaluated at once. Nothing is kept for a backward pass, so their
/// values stay in the cache: ResNet-56 takes a third less time than with 128 at once.
const EVALUATED: usize = 32;

/// Computes training steps on the CPU.
pub(crate) struct CpuEngine {
    plan: Plan,
    training: Layout,
    evaluation: Layout,
    gradients: Gradients,
    sums: Vec<Option<ChannelSums>>,
    /// Values and their gradients, laid out for one of the passes.
    memory: Scratch,
    /// Images of the batch that waits for its backward pass; 0 for none.
    waiting: usize,
    scratch: Scratch,
    /// What the last evaluation gave.
    logits: Vec<f32>,
}

impl CpuEngine {
    pub(crate) fn new(graph: &Graph, weights: &Weights) -> Result<Self, QuantError> {
        let plan = Plan::new(graph, weights)?;
        Ok(Self {
            training: Layout::training(&plan),
            evaluation: Layout::evaluation(&plan),
            gradients: Gradients::zeros(weights),
            sums: plan.sums(),
            memory: Scratch::new(),
            waiting: 0,
            scratch: Scratch::new(),
            logits: Vec::new(),
            plan,
        })
    }

    /// See [`Engine::forward`](crate::engine::Engine::forward), and for the share of
    /// the batch in running statistics [`Engine::measure`](crate::engine::Engine).
    pub(crate) fn forward(
        &mut self,
        weights: &mut Weights,
        images: &[f32],
        batch: usize,
        share: Option<f32>,
        rng: &mut ChaCha8Rng,
    ) -> &[f32] {
        self.run(weights, batch, true).forward(images, Mode::Train(rng));
        self.plan.steps.iter().for_each(|step| step.layer.update_running(weights, share));
        self.waiting = batch;
        let layout = &self.training;
        let (memory, _) = self.memory.take(layout.len(batch), 0);
        layout.split(memory, batch, [layout.logits]).take(layout.logits)
    }

    /// See [`Engine::backward`](crate::engine::Engine::backward).
    pub(crate) fn backward(
        &mut self,
        weights: &Weights,
        gradient: &[f32],
    ) -> Result<(), QuantError> {
        let batch = std::mem::take(&mut self.waiting);
        let mut run = self.run(weights, batch, true);
        let expected = run.logits().len();
        if gradient.len() != expected || batch == 0 {
            return Err(no_such_batch(expected, gradient.len()));
        }
        run.backward(gradient);
        Ok(())
    }

    /// See [`Engine::not_finite`](crate::engine::Engine::not_finite). Of fused
    /// nodes, it is the normalisation.
    pub(crate) fn not_finite(
        &mut self,
        weights: &Weights,
        images: &[f32],
        batch: usize,
        rng: &mut ChaCha8Rng,
    ) -> Option<NodeId> {
        self.waiting = 0;
        let mut found = None;
        let watch = |node, values: &[f32]| {
            if found.is_none() && !values.iter().all(|value| value.is_finite()) {
                found = Some(node);
            }
        };
        self.run(weights, batch, true).forward_watched(images, Mode::Train(rng), watch);
        found
    }

    /// See [`Engine::logits`](crate::engine::Engine::logits).
    pub(crate) fn logits(&mut self, weights: &Weights, images: &[f32], batch: usize) -> &[f32] {
        self.waiting = 0;
        let mut logits = std::mem::take(&mut self.logits);
        logits.clear();
        let image_len = images.len() / batch;
        for images in images.chunks(EVALUATED * image_len) {
            let mut run = self.run(weights, images.len() / image_len, false);
            run.forward(images, Mode::Eval);
            logits.extend_from_slice(run.logits());
        }
        self.logits = logits;
        &self.logits
    }

    /// Gradients of the last batch.
    pub(crate) fn gradients(&mut self) -> &mut Gradients {
        &mut self.gradients
    }

    fn run<'a>(&'a mut self, weights: &'a Weights, batch: usize, training: bool) -> Run<'a> {
        let layout = if training { &self.training } else { &self.evaluation };
        let (memory, _) = self.memory.take(layout.len(batch), 0);
        let pass = Pass {
            batch,
            weights,
            gradients: &mut self.gradients,
            sums: &mut self.sums,
            scratch: &mut self.scratch,
        };
        Run { plan: &mut self.plan, layout, memory, pass }
    }
}

/// One batch on its way through the network.
struct Run<'a> {
    plan: &'a mut Plan,
    layout: &'a Layout,
    memory: &'a mut [f32],
    pass: Pass<'a>,
}

impl Run<'_> {
    fn parts(&mut self, values: impl IntoIterator<Item = Value>) -> Parts<'_> {
        self.layout.split(self.memory, self.pass.batch, values)
    }

    fn forward(&mut self, images: &[f32], mode: Mode) {
        self.forward_watched(images, mode, |_, _| ());
    }

    /// Shows every value as soon as it is there, with its node.
    fn forward_watched(
        &mut self,
        images: &[f32],
        mut mode: Mode,
        mut watch: impl FnMut(NodeId, &[f32]),
    ) {
        let Layout { images: input, forward, .. } = self.layout;
        let (batch, channels) = (self.pass.batch, self.plan.input_channels);
        watch(NodeId::INPUT, images);
        nchw_to_nhwc(batch, channels, images, self.parts([*input]).take(*input));
        for (step, values) in self.plan.steps.iter_mut().zip(forward) {
            let mut parts = self.layout.split(self.memory, batch, values.values());
            let y = parts.take(values.output);
            let inputs: Vec<&[f32]> =
                values.inputs.iter().map(|&input| &*parts.take(input)).collect();
            step.layer.forward(&mut self.pass, &mut mode, &inputs, y);
            watch(step.node, y);
        }
    }

    fn logits(&mut self) -> &[f32] {
        let logits = self.layout.logits;
        self.parts([logits]).take(logits)
    }

    /// Everything backward, from the gradient of the logits.
    fn backward(&mut self, gradient: &[f32]) {
        let logits_gradient = self.layout.logits_gradient;
        self.parts([logits_gradient]).take(logits_gradient).copy_from_slice(gradient);
        for values in &self.layout.backward {
            let mut parts = self.layout.split(self.memory, self.pass.batch, values.values());
            let g = parts.take(values.gradient);
            let inputs = values.inputs.iter().map(|input| match input {
                Some(input) => &*parts.take(*input),
                None => &[],
            });
            let inputs: Vec<&[f32]> = inputs.collect();
            let targets = values.targets.iter().map(|target| {
                let &TargetValue { values, add, part } = target.as_ref()?;
                let part = part.map(|part| parts.take(part));
                Some(Target { values: parts.take(values), add, part })
            });
            let mut targets: Vec<Option<Target>> = targets.collect();
            let layer = &mut self.plan.steps[values.step].layer;
            layer.backward(&mut self.pass, &inputs, g, &mut targets);
        }
    }
}

#[cfg(test)]
mod tests;
