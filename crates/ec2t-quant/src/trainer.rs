//! The training loop that all stages share.
//!
//! A stage is a [`Phase`]: it owns the weights and knows what to do with a
//! gradient. The loop does the rest: batches, schedule, validation, choice of
//! the best epoch, checkpoints, log.
//!
//! Everything random is drawn from (seed, epoch, step), so a run that was cut
//! off anywhere and continued ends with the same bytes.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::atomic::Ordering;
use std::time::Instant;

use candle_core::Device;
use ec2t_data::{BatchOptions, Batches, Dataset, Splits};
use ec2t_format::{Graph, Network};
use rand_chacha::ChaCha8Rng;
use rand_chacha::rand_core::SeedableRng;
use serde::Serialize;
use sha2::{Digest, Sha256};

use crate::checkpoint::{Best, Checkpoint, Progress, save_network};
use crate::error::QuantError;
use crate::events::EventLog;
use crate::forward::{Leaves, TrainStep, count_correct, to_tensor, train_step};
use crate::options::LoopOptions;
use crate::session::{EpochReport, LayerReport, Outcome, Session, StepReport};
use crate::weights::Weights;

/// Images per step of evaluation; does not change results.
const EVAL_BATCH: usize = 250;

/// A way to train: what is kept, and how a gradient changes it.
pub(crate) trait Phase {
    /// Name of the stage in checkpoints and logs.
    fn stage(&self) -> &'static str;

    /// The values that the network computes with.
    fn weights(&mut self) -> &mut Weights;

    /// Uses the gradients of one step; `factor` is the schedule's.
    fn update(&mut self, gradients: Vec<Option<Vec<f32>>>, factor: f32) -> Result<(), QuantError>;

    /// Adds all state besides the weights.
    fn save(&self, checkpoint: &mut Checkpoint);

    /// Takes back what [`save`](Self::save) added; the weights are there.
    fn load(&mut self, checkpoint: &Checkpoint) -> Result<(), QuantError>;

    /// The network as it is now.
    fn network(&self, graph: &Graph) -> Result<Network, QuantError>;

    /// State of the ternarized layers.
    fn layers(&self) -> Vec<LayerReport>;
}

/// Trains to the end of the last epoch; continues where a checkpoint is found.
pub(crate) fn run<P: Phase>(
    phase: P,
    graph: &Graph,
    data: &Splits,
    common: &LoopOptions,
    settings: impl Serialize,
    session: &mut Session,
) -> Result<Outcome, QuantError> {
    common.validate()?;
    check_data(graph, data)?;
    let mut trainer = Trainer::new(phase, graph, data, common, settings, session)?;
    trainer.resume()?;
    trainer.run()
}

struct Trainer<'a, 's, P> {
    phase: P,
    graph: &'a Graph,
    data: &'a Splits,
    common: &'a LoopOptions,
    session: &'a mut Session<'s>,
    device: Device,
    batches: BatchOptions,
    progress: Progress,
    events: EventLog,
    /// Seconds of the sessions before this one.
    earlier: f64,
    started: Instant,
}

impl<'a, 's, P: Phase> Trainer<'a, 's, P> {
    fn new(
        mut phase: P,
        graph: &'a Graph,
        data: &'a Splits,
        common: &'a LoopOptions,
        settings: impl Serialize,
        session: &'a mut Session<'s>,
    ) -> Result<Self, QuantError> {
        let settings = fingerprint(settings, phase.weights(), data, session.seed);
        Ok(Self {
            progress: Progress { stage: phase.stage().into(), settings, ..Progress::default() },
            device: session.backend.device()?,
            batches: BatchOptions {
                size: common.batch,
                drop_last: false,
                seed: session.seed,
                augment: common.augment.clone(),
            },
            events: EventLog::disabled(),
            phase,
            graph,
            data,
            common,
            session,
            earlier: 0.0,
            started: Instant::now(),
        })
    }

    fn last(&self) -> PathBuf {
        self.session.folder.join("last.safetensors")
    }

    fn best(&self) -> PathBuf {
        self.session.folder.join("best.safetensors")
    }

    /// Takes up a checkpoint of the same settings, if there is one.
    fn resume(&mut self) -> Result<(), QuantError> {
        let found = match self.session.restart {
            true => None,
            false => Checkpoint::read(&self.last())?,
        };
        if let Some(checkpoint) = found {
            checkpoint.check_settings(&self.progress)?;
            let weights = self.phase.weights();
            for (position, param) in weights.params().to_vec().iter().enumerate() {
                checkpoint.load(&format!("weights/{}", param.name), weights.get_mut(position))?;
            }
            self.phase.load(&checkpoint)?;
            self.earlier = checkpoint.progress.seconds;
            self.progress = checkpoint.progress;
        }
        self.events = EventLog::open(
            self.session.events.as_deref(),
            self.phase.stage(),
            self.progress.epoch,
        )?;
        Ok(())
    }

    fn run(&mut self) -> Result<Outcome, QuantError> {
        let total = self.steps_per_epoch() * self.common.epochs as u64;
        self.session.observer.begin(self.phase.stage(), self.steps_done(), total);
        while self.progress.epoch < self.common.epochs {
            self.train_epoch(total)?;
            self.finish_epoch(total)?;
        }
        let Some(best) = self.progress.best else {
            return Err(QuantError::Data("no epoch has been validated".into()));
        };
        Ok(Outcome { best, network: self.best(), seconds: self.progress.seconds })
    }

    fn steps_per_epoch(&self) -> u64 {
        self.data.train.len().div_ceil(self.common.batch) as u64
    }

    /// Steps done so far, over all epochs.
    fn steps_done(&self) -> u64 {
        self.progress.epoch as u64 * self.steps_per_epoch() + self.progress.step as u64
    }

    /// Trains from the current step to the end of the epoch.
    fn train_epoch(&mut self, total: u64) -> Result<(), QuantError> {
        let prep = &self.graph.preprocess;
        let epoch = self.progress.epoch as u64;
        let batches =
            Batches::train(&self.data.train, &prep.mean, &prep.std, &self.batches, epoch)?
                .starting_at(self.progress.step);
        for batch in batches {
            let factor = self.common.schedule.factor(self.steps_done(), total);
            let images = to_tensor(batch.images, self.data.train.shape(), &self.device)?;
            let mut rng = self.dropout_rng();
            let weights = self.phase.weights();
            let result = train_step(self.graph, weights, &images, &batch.labels, &mut rng)?;
            self.count(&result, batch.labels.len())?;
            self.phase.update(result.gradients, factor)?;
            self.report_step();
            if self.session.stop.load(Ordering::Relaxed) {
                self.save()?;
                return Err(QuantError::Interrupted(self.last()));
            }
            let every = self.common.checkpoint_steps;
            if every > 0 && self.progress.step.is_multiple_of(every) {
                self.save()?;
            }
        }
        Ok(())
    }

    /// Random numbers of the current step's dropout.
    fn dropout_rng(&self) -> ChaCha8Rng {
        let mut rng = ChaCha8Rng::seed_from_u64(self.session.seed);
        rng.set_stream(self.steps_done());
        rng
    }

    fn count(&mut self, result: &TrainStep, images: usize) -> Result<(), QuantError> {
        let progress = &mut self.progress;
        progress.step += 1;
        if !result.loss.is_finite() {
            let (epoch, step) = (progress.epoch + 1, progress.step);
            return Err(QuantError::Diverged {
                epoch,
                step,
                what: format!("loss is {}", result.loss),
            });
        }
        progress.images += images;
        progress.correct += result.correct;
        progress.loss_sum += result.loss * images as f64;
        Ok(())
    }

    fn report_step(&mut self) {
        let report = StepReport {
            step: self.steps_done(),
            epoch: self.progress.epoch + 1,
            loss: self.progress.loss_sum / self.progress.images as f64,
            top1: percent(self.progress.correct, self.progress.images),
        };
        self.session.observer.step(&report);
    }

    /// Validates, keeps the network if it is the best so far, logs, saves.
    fn finish_epoch(&mut self, total: u64) -> Result<(), QuantError> {
        let validation_top1 = self.validate()?;
        let epoch = self.progress.epoch + 1;
        let network = self.phase.network(self.graph)?;
        let best = match self.progress.best {
            Some(best) if best.top1 >= validation_top1 => best,
            _ => {
                let best = Best { epoch, top1: validation_top1 };
                save_network(&self.best(), &network)?;
                best
            }
        };
        let last_step = self.steps_done().saturating_sub(1);
        let report = EpochReport {
            stage: self.phase.stage().into(),
            epoch,
            epochs: self.common.epochs,
            lr: f64::from(self.common.lr * self.common.schedule.factor(last_step, total)),
            train_loss: self.progress.loss_sum / self.progress.images.max(1) as f64,
            train_top1: percent(self.progress.correct, self.progress.images),
            validation_top1,
            sparsity: network.sparsity(),
            best,
            seconds: self.seconds(),
            layers: self.phase.layers(),
        };
        self.events.append(&report)?;
        let progress = &mut self.progress;
        (progress.epoch, progress.step, progress.best) = (epoch, 0, Some(best));
        (progress.loss_sum, progress.correct, progress.images) = (0.0, 0, 0);
        self.save()?;
        self.session.observer.epoch(&report);
        Ok(())
    }

    /// Accuracy on the validation split in percent.
    fn validate(&mut self) -> Result<f64, QuantError> {
        let prep = &self.graph.preprocess;
        let data = &self.data.validation;
        let weights = self.phase.weights();
        let leaves = Leaves::new(weights, &self.device)?;
        let mut correct = 0;
        for batch in Batches::in_order(data, &prep.mean, &prep.std, EVAL_BATCH)? {
            let images = to_tensor(batch.images, data.shape(), &self.device)?;
            correct += count_correct(self.graph, weights, &leaves, &images, &batch.labels)?;
        }
        Ok(percent(correct, data.len()))
    }

    fn seconds(&self) -> f64 {
        self.earlier + self.started.elapsed().as_secs_f64()
    }

    fn save(&mut self) -> Result<(), QuantError> {
        self.progress.seconds = self.seconds();
        let mut checkpoint = Checkpoint::new(self.progress.clone());
        let weights = self.phase.weights();
        for (position, param) in weights.params().iter().enumerate() {
            checkpoint.put(&format!("weights/{}", param.name), weights.get(position));
        }
        self.phase.save(&mut checkpoint);
        checkpoint.write(&self.last())
    }
}

fn percent(part: usize, whole: usize) -> f64 {
    100.0 * part as f64 / whole.max(1) as f64
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

/// Everything that decides the result of a run, as one flat JSON object.
fn fingerprint(
    settings: impl Serialize,
    initial: &Weights,
    data: &Splits,
    seed: u64,
) -> serde_json::Value {
    let mut hash = Sha256::new();
    for position in 0..initial.params().len() {
        initial.get(position).iter().for_each(|value| hash.update(value.to_le_bytes()));
    }
    let network: String = hash.finalize()[..8].iter().map(|byte| format!("{byte:02x}")).collect();
    let mut all = BTreeMap::from([
        ("dataset".to_owned(), data.train.name().into()),
        ("train_images".to_owned(), data.train.len().into()),
        ("validation_images".to_owned(), data.validation.len().into()),
        ("initial_weights".to_owned(), serde_json::Value::from(network)),
        ("seed".to_owned(), seed.into()),
    ]);
    // As text, 0.1 in 32 bits stays 0.1; as a value it would become 0.10000000149.
    let settings = serde_json::to_string(&settings).and_then(|text| serde_json::from_str(&text));
    if let Ok(serde_json::Value::Object(settings)) = settings {
        all.extend(settings);
    }
    all.into_iter().collect()
}
