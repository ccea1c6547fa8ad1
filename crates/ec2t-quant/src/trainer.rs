//! The training loop that all stages share.
//!
//! A stage is a [`Phase`]: it owns the weights and knows what to do with a
//! gradient. The loop does the rest: batches, schedule, running statistics,
//! validation, choice of the best epoch, checkpoints, log.
//!
//! Everything random is drawn from (seed, epoch, step), so a run that was cut
//! off anywhere and continued ends with the same bytes. An epoch is complete
//! once it is validated: a checkpoint of its last step continues there.

use std::path::{Path, PathBuf};
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use ec2t_data::{Batch, BatchOptions, Batches, Dataset, Loader, Splits};
use ec2t_format::graph::NodeId;
use ec2t_format::{Graph, Network};
use ec2t_ops::loss::Target;
use rand_chacha::ChaCha8Rng;
use rand_chacha::rand_core::SeedableRng;
use serde::Serialize;

use crate::checkpoint::{Best, Checkpoint, Progress, malformed, save_network};
use crate::engine::{Engine, Gradients, correct, in_pool};
use crate::error::QuantError;
use crate::events;
use crate::fingerprint::fingerprint;
use crate::options::{Keep, LoopOptions};
use crate::running;
use crate::session::{EpochReport, LayerReport, Outcome, Session, StepEvent, StepReport};
use crate::teacher::TeacherNetwork;
use crate::weights::Weights;

/// Images per step of evaluation; bounds memory, does not change results.
const EVAL_BATCH: usize = 100;
/// Where the weights are in a checkpoint.
const WEIGHTS: &str = "weights";
/// First stream of dropout's random numbers, one for each step. Initial weights
/// use the streams from 0.
const DROPOUT_STREAMS: u64 = 1 << 32;

/// A way to train: what is kept, and how a gradient changes it.
pub(crate) trait Phase: Send {
    /// Name of the stage in checkpoints and logs.
    fn stage(&self) -> &'static str;

    /// The values that the network computes with.
    fn weights(&self) -> &Weights;

    /// The values that the network computes with.
    fn weights_mut(&mut self) -> &mut Weights;

    /// The values that are validated and kept: those that the network computes with,
    /// or others that are made of them.
    fn judged(&self) -> &Weights {
        self.weights()
    }

    /// As [`judged`](Self::judged), for running statistics to be set.
    fn judged_mut(&mut self) -> &mut Weights {
        self.weights_mut()
    }

    /// Uses the gradients of one step; `factor` is the schedule's. Fails where
    /// a value is no longer finite.
    fn update(&mut self, gradients: &mut Gradients, factor: f32) -> Result<(), QuantError>;

    /// Adds all state besides the weights.
    fn save(&self, checkpoint: &mut Checkpoint);

    /// Takes back what [`save`](Self::save) added; the weights are there.
    fn load(&mut self, checkpoint: &Checkpoint) -> Result<(), QuantError>;

    /// The network as it is judged now.
    fn network(&self, graph: &Graph) -> Result<Network, QuantError>;

    /// State of the ternarized layers.
    fn layers(&self) -> Vec<LayerReport>;
}

/// Trains to the end of the last epoch; continues where a checkpoint is found.
/// All settings are in their ranges.
pub(crate) fn run<P: Phase>(
    phase: P,
    graph: &Graph,
    data: &Splits,
    common: &LoopOptions,
    settings: impl Serialize,
    session: &mut Session,
) -> Result<Outcome, QuantError> {
    check_data(graph, data)?;
    let distillation = common.distillation;
    let teacher = TeacherNetwork::new(session.backend, session.teacher, graph, distillation)?;
    let known = teacher.is_some().then_some(session.teacher).flatten();
    let settings = fingerprint(settings, graph, phase.weights(), data, known, session.seed)
        .map_err(|error| malformed(&session.folder, error))?;
    let trainer = Trainer {
        progress: Progress { stage: phase.stage().into(), settings, ..Progress::default() },
        engine: Engine::new(session.backend, graph, phase.weights())?,
        teacher,
        phase,
        graph,
        data,
        common,
        session,
        earlier: 0.0,
        started: Instant::now(),
    };
    trainer.run()
}

struct Trainer<'a, 's, P> {
    phase: P,
    graph: &'a Graph,
    data: &'a Splits,
    common: &'a LoopOptions,
    session: &'a mut Session<'s>,
    engine: Engine,
    teacher: Option<TeacherNetwork>,
    progress: Progress,
    /// Seconds of the sessions before this one.
    earlier: f64,
    started: Instant,
}

impl<'a, P: Phase> Trainer<'a, '_, P> {
    fn run(mut self) -> Result<Outcome, QuantError> {
        self.resume()?;
        let (done, total) = (self.steps_done(), self.total_steps());
        self.session.observer.begin(self.phase.stage(), done, total);
        if self.progress.epoch < self.common.epochs {
            let batches = self.batches()?.starting_at(self.progress.step);
            let epochs = self.common.epochs - self.progress.epoch;
            std::thread::scope(|scope| self.train_epochs(Loader::start(scope, batches, epochs)))?;
        }
        let Some(best) = self.progress.best else {
            return Err(malformed(&self.last(), "complete, but names no best epoch"));
        };
        Ok(Outcome { best, network: self.best(), seconds: self.progress.seconds })
    }

    fn last(&self) -> PathBuf {
        self.session.folder.join("last.safetensors")
    }

    fn best(&self) -> PathBuf {
        self.session.folder.join("best.safetensors")
    }

    fn steps_per_epoch(&self) -> usize {
        self.data.train.len().div_ceil(self.common.batch)
    }

    fn total_steps(&self) -> u64 {
        (self.steps_per_epoch() as u64).saturating_mul(self.common.epochs as u64)
    }

    /// Steps done so far, over all epochs.
    fn steps_done(&self) -> u64 {
        (self.progress.epoch * self.steps_per_epoch() + self.progress.step) as u64
    }

    /// Images seen in the epoch so far.
    fn images_seen(&self) -> usize {
        self.data.train.len().min(self.progress.step.saturating_mul(self.common.batch))
    }

    /// Takes up a checkpoint of the same settings. Where there is none, removes
    /// what another run has left, so that nothing goes on from there.
    fn resume(&mut self) -> Result<(), QuantError> {
        let found = match self.session.restart {
            true => None,
            false => Checkpoint::read(&self.last())?,
        };
        match found {
            Some(checkpoint) => self.take_up(checkpoint)?,
            None => {
                remove(&self.last())?;
                remove(&self.best())?;
            }
        }
        let Some(folder) = &self.session.logs else { return Ok(()) };
        let stage = self.phase.stage();
        events::EPOCHS.rewind(folder, stage, self.progress.epoch as u64)?;
        match self.common.log_steps {
            0 => Ok(()),
            _ => events::STEPS.rewind(folder, stage, self.steps_done()),
        }
    }

    fn take_up(&mut self, checkpoint: Checkpoint) -> Result<(), QuantError> {
        checkpoint.check_settings(&self.progress)?;
        self.phase.weights_mut().load(&checkpoint, WEIGHTS)?;
        self.phase.load(&checkpoint)?;
        self.progress = checkpoint.progress;
        self.earlier = self.progress.seconds;
        let Progress { epoch, step, correct, best, .. } = self.progress;
        let within = epoch <= self.common.epochs && step <= self.steps_per_epoch();
        if !within || correct > self.images_seen() {
            return Err(malformed(&self.last(), "has a position beyond the end of the run"));
        }
        if best.is_some() && !self.best().exists() {
            let reason = "missing beside its checkpoint; ask for a restart to begin again";
            return Err(malformed(&self.best(), reason));
        }
        Ok(())
    }

    /// The batches of the current epoch, and of those after it.
    fn batches(&self) -> Result<Batches<'a>, QuantError> {
        let (data, prep) = (&self.data.train, &self.graph.preprocess);
        let options = BatchOptions {
            size: self.common.batch,
            drop_last: false,
            seed: self.session.seed,
            augment: self.common.augment.clone(),
        };
        let epoch = self.progress.epoch as u64;
        Ok(Batches::train(data, &prep.mean, &prep.std, &options, epoch)?)
    }

    /// Trains to the end. The loader ends with this function, however it ends.
    fn train_epochs(&mut self, mut loader: Loader) -> Result<(), QuantError> {
        while self.progress.epoch < self.common.epochs {
            self.train_epoch(&mut loader)?;
            self.finish_epoch(loader.take_wait())?;
        }
        Ok(())
    }

    /// Trains from the current step to the end of the epoch.
    fn train_epoch(&mut self, loader: &mut Loader) -> Result<(), QuantError> {
        while self.progress.step < self.steps_per_epoch() {
            self.train_batch(loader.next_batch()?)?;
            let stop = self.session.stop.load(Ordering::Relaxed);
            // No step is a multiple of 0.
            if stop || self.progress.step.is_multiple_of(self.common.checkpoint_steps) {
                self.save()?;
            }
            if stop {
                return Err(QuantError::Interrupted(self.last()));
            }
        }
        Ok(())
    }

    fn train_batch(&mut self, batch: &Batch) -> Result<(), QuantError> {
        let factor = self.common.schedule.factor(self.steps_done(), self.total_steps());
        let (mut rng, smoothing) = (self.dropout_rng(), self.common.label_smoothing);
        let Batch { images, labels } = batch;
        let teacher = match &mut self.teacher {
            Some(teacher) => Some(teacher.answer(images, labels.len())?),
            None => None,
        };
        let target = Target { labels, smoothing, teacher };
        let step = self.engine.train(self.phase.weights_mut(), images, &target, &mut rng)?;
        if !step.mean.is_finite() {
            return Err(self.lost(batch, step.mean));
        }
        let (phase, gradients) = (&mut self.phase, self.engine.gradients());
        let updated = in_pool(|| phase.update(gradients, factor));
        updated.map_err(|error| self.diverged(error))?;
        if let Some(name) = self.phase.weights().not_finite() {
            return Err(self.diverged(format!("`{name}` is not finite")));
        }
        self.progress.step += 1;
        self.progress.correct += step.correct;
        self.progress.loss_sum += step.mean * batch.labels.len() as f64;
        self.report_step(step.mean)
    }

    /// Random numbers of the current step's dropout.
    fn dropout_rng(&self) -> ChaCha8Rng {
        let mut rng = ChaCha8Rng::seed_from_u64(self.session.seed);
        rng.set_stream(DROPOUT_STREAMS + self.steps_done());
        rng
    }

    /// The error of a loss that is not finite.
    fn lost(&mut self, batch: &Batch, loss: f64) -> QuantError {
        let (mut rng, images) = (self.dropout_rng(), batch.labels.len());
        let node = self.engine.not_finite(self.phase.weights(), &batch.images, images, &mut rng);
        let name = |node: NodeId| self.graph.nodes.get(node.index()).map(|node| &node.name);
        match node.map(|node| node.and_then(name)) {
            Ok(Some(layer)) => {
                self.diverged(format!("the loss is {loss}, from layer `{layer}` on"))
            }
            Ok(None) => self.diverged(format!("the loss is {loss}")),
            Err(error) => error,
        }
    }

    /// The error of the step after those that are done.
    fn diverged(&self, what: impl ToString) -> QuantError {
        let Progress { epoch, step, .. } = self.progress;
        let (epoch, step, what) = (epoch + 1, step + 1, what.to_string());
        let checkpoint = Some(self.last()).filter(|last| last.exists());
        QuantError::Diverged { epoch, step, what, checkpoint }
    }

    fn report_step(&mut self, loss: f64) -> Result<(), QuantError> {
        let report = StepReport {
            step: self.steps_done(),
            epoch: self.progress.epoch + 1,
            loss: self.progress.loss_sum / self.images_seen() as f64,
            top1: percent(self.progress.correct, self.images_seen()),
        };
        self.session.observer.step(&report);
        match &self.session.logs {
            // No step is a multiple of 0.
            Some(folder) if report.step.is_multiple_of(self.common.log_steps) => {
                let (stage, layers) = (self.phase.stage(), self.phase.layers());
                let StepReport { step, epoch, .. } = report;
                events::STEPS.append(folder, &StepEvent { stage, step, epoch, loss, layers })
            }
            _ => Ok(()),
        }
    }

    /// Validates, keeps the network if it is the best so far, logs, saves.
    fn finish_epoch(&mut self, wait: Duration) -> Result<(), QuantError> {
        self.measure_statistics()?;
        let validation_top1 = self.validate()?;
        let epoch = self.progress.epoch + 1;
        let network = self.phase.network(self.graph)?;
        let keep = self.common.keep;
        let best = match self.progress.best {
            Some(best) if keep == Keep::Best && best.top1 > validation_top1 => best,
            _ => {
                save_network(&self.best(), &network)?;
                Best { epoch, top1: validation_top1 }
            }
        };
        let report = self.epoch_report(&network, validation_top1, best, wait);
        if let Some(folder) = &self.session.logs {
            events::EPOCHS.append(folder, &report)?;
        }
        let progress = &mut self.progress;
        (progress.epoch, progress.step, progress.best) = (epoch, 0, Some(best));
        (progress.loss_sum, progress.correct) = (0.0, 0);
        self.save()?;
        self.session.observer.epoch(&report);
        Ok(())
    }

    fn epoch_report(
        &self,
        network: &Network,
        validation_top1: f64,
        best: Best,
        wait: Duration,
    ) -> EpochReport {
        let last_step = self.steps_done().saturating_sub(1);
        let factor = self.common.schedule.factor(last_step, self.total_steps());
        EpochReport {
            stage: self.phase.stage().into(),
            epoch: self.progress.epoch + 1,
            epochs: self.common.epochs,
            lr: f64::from(self.common.lr * factor),
            train_loss: self.progress.loss_sum / self.images_seen() as f64,
            train_top1: percent(self.progress.correct, self.images_seen()),
            validation_top1,
            sparsity: network.sparsity(),
            best,
            seconds: self.seconds(),
            loader_wait_ms: 1e3 * wait.as_secs_f64(),
            layers: self.phase.layers(),
        }
    }

    /// Measures running statistics anew, where the settings say so: on the first
    /// batches of the epoch, but for one that is not full.
    fn measure_statistics(&mut self) -> Result<(), QuantError> {
        let full = (self.data.train.len() / self.common.batch).max(1);
        let count = self.common.bn_batches.min(full);
        if count == 0 || !self.phase.judged().has_running_statistics() {
            return Ok(());
        }
        let (batches, mut rng) = (self.batches()?, self.dropout_rng());
        let (engine, weights) = (&mut self.engine, self.phase.judged_mut());
        running::measure(engine, weights, batches, count, &mut rng)
    }

    /// Accuracy on the validation split in percent.
    fn validate(&mut self) -> Result<f64, QuantError> {
        let prep = &self.graph.preprocess;
        let data = &self.data.validation;
        let mut right = 0;
        let mut batches = Batches::in_order(data, &prep.mean, &prep.std, EVAL_BATCH)?;
        let mut batch = batches.room();
        while batches.fill(&mut batch)? {
            let Batch { images, labels } = &batch;
            let logits = self.engine.logits(self.phase.judged(), images, labels.len())?;
            right += correct(logits, labels);
        }
        Ok(percent(right, data.len()))
    }

    fn seconds(&self) -> f64 {
        self.earlier + self.started.elapsed().as_secs_f64()
    }

    fn save(&mut self) -> Result<(), QuantError> {
        self.progress.seconds = self.seconds();
        let mut checkpoint = Checkpoint::new(self.progress.clone());
        self.phase.weights().save(&mut checkpoint, WEIGHTS);
        self.phase.save(&mut checkpoint);
        checkpoint.write(&self.last())
    }
}

/// Removes a file if there is one.
fn remove(path: &Path) -> Result<(), QuantError> {
    match std::fs::remove_file(path) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
            Err(QuantError::io(path)(error))
        }
        _ => Ok(()),
    }
}

fn percent(part: usize, whole: usize) -> f64 {
    100.0 * part as f64 / whole as f64
}

fn check_data(graph: &Graph, data: &Splits) -> Result<(), QuantError> {
    let outputs = graph.output_shape().map_err(ec2t_format::graph::GraphError::from)?.numel();
    for (name, split) in [("training", &data.train), ("validation", &data.validation)] {
        check_split(graph, outputs, name, split)?;
    }
    Ok(())
}

fn check_split(
    graph: &Graph,
    outputs: usize,
    name: &str,
    split: &Dataset,
) -> Result<(), QuantError> {
    let shape = [graph.input.channels, graph.input.height, graph.input.width];
    if split.is_empty() {
        return Err(QuantError::Data(format!("the {name} split is empty")));
    }
    if split.shape() != shape {
        let found = split.shape();
        return Err(QuantError::Data(format!(
            "{} expects images of {shape:?}, found {found:?}",
            graph.name
        )));
    }
    match split.labels().iter().max() {
        Some(&label) if label as usize >= outputs => Err(QuantError::Data(format!(
            "{} has {outputs} outputs, found class {label}",
            graph.name
        ))),
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests;
