//! Steps of whole stages, as `ec2t train` and `ec2t ternarize` run them: batches,
//! engine, checks, and what becomes of the gradients. Both stages use Adam, so that
//! the difference is what EC2T adds.

use std::error::Error;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use ec2t_data::{AugmentOptions, Dataset, Splits};
use ec2t_format::Network;
use ec2t_quant::ec2t::Ec2tOptions;
use ec2t_quant::{
    Backend, DistillOptions, Keep, LoopOptions, Observer, OptimizerKind, PretrainOptions,
    PruneOptions, QuantError, Schedule, Session, StepReport, TernarizeOptions, initialize,
    pretrain, ternarize,
};
use ec2t_scale::{ArchOptions, build};

use super::{Work, trained_parameters};

const BATCH: usize = 128;
/// Steps that are timed; the one before them allocates.
const STEPS: usize = 4;

/// ResNet-20 in floats.
pub(super) fn adam_step() -> Result<Work, Box<dyn Error>> {
    let options = PretrainOptions {
        common: common(),
        optimizer: OptimizerKind::Adam,
        momentum: 0.0,
        weight_decay: 0.0,
    };
    steps(move |network, data, session| pretrain(network, data, &options, session).map(drop))
}

/// ResNet-20 with ternary weights, assigned anew at each step.
pub(super) fn ec2t_step() -> Result<Work, Box<dyn Error>> {
    let options = TernarizeOptions {
        common: common(),
        centroid_lr: 1e-4,
        weight_decay: 0.0,
        ec2t: Ec2tOptions::default(),
        target_sparsity: 0.0,
        pruning: PruneOptions::default(),
    };
    steps(move |network, data, session| ternarize(network, data, &options, session).map(drop))
}

fn common() -> LoopOptions {
    let (augment, schedule) = (AugmentOptions::default(), Schedule::Constant);
    LoopOptions {
        epochs: 1,
        batch: BATCH,
        lr: 1e-4,
        schedule,
        label_smoothing: 0.0,
        distillation: DistillOptions::default(),
        augment,
        keep: Keep::Best,
        bn_batches: 0,
        checkpoint_steps: 0,
        log_steps: 0,
    }
}

/// The first steps of a stage.
fn steps(
    stage: impl Fn(&Network, &Splits, &mut Session) -> Result<(), QuantError> + 'static,
) -> Result<Work, Box<dyn Error>> {
    let network = initialize(&build("resnet20", &ArchOptions::default())?, 1)?;
    let parameters = trained_parameters(network.graph());
    // One batch more than is trained on, so that the epoch does not end.
    let data =
        Splits { train: images(BATCH * (STEPS + 2))?, validation: images(1)?, test: images(1)? };
    let folder = tempfile::tempdir()?;
    let run = move || {
        let stop = AtomicBool::new(false);
        let mut clock = Clock { stop: &stop, steps: Vec::new() };
        let mut session = Session {
            folder: folder.path().to_owned(),
            logs: None,
            backend: Backend::Cpu,
            teacher: None,
            seed: 1,
            restart: true,
            stop: &stop,
            observer: &mut clock,
        };
        match stage(&network, &data, &mut session) {
            Err(QuantError::Interrupted(_)) => clock.time(),
            Err(error) => Err(error.into()),
            Ok(()) => Err("the stage did not stop".into()),
        }
    };
    Ok(Work { parameters, repetitions: STEPS as u32, run: Box::new(run) })
}

/// Images in CIFAR-10's size, of noise.
fn images(count: usize) -> Result<Dataset, Box<dyn Error>> {
    let shape = [3, 32, 32];
    let pixels = (0..count * 3 * 32 * 32).map(|i| (i * 7919 % 251) as u8).collect();
    let labels = (0..count as u32).map(|i| i % 10).collect();
    Ok(Dataset::new("noise", shape, pixels, labels, vec![String::new(); 10])?)
}

/// Notes when steps are done, and stops after the last one.
struct Clock<'a> {
    stop: &'a AtomicBool,
    steps: Vec<Instant>,
}

impl Clock<'_> {
    /// From the end of the first step to that of the last.
    fn time(&self) -> Result<Duration, Box<dyn Error>> {
        match self.steps.as_slice() {
            [first, .., last] => Ok(*last - *first),
            _ => Err("the stage made no steps".into()),
        }
    }
}

impl Observer for Clock<'_> {
    fn step(&mut self, _: &StepReport) {
        self.steps.push(Instant::now());
        self.stop.store(self.steps.len() > STEPS, Ordering::Relaxed);
    }
}
