//! The loop around a stage: ends, beginnings and failures.

use std::sync::atomic::AtomicBool;

use ec2t_data::AugmentOptions;
use ec2t_format::graph::{GraphBuilder, Shape};

use super::*;
use crate::{Backend, DistillOptions, Keep, Observer, Schedule, initialize};

/// A stage of plain gradient descent, which fills its first parameter with a
/// value at one of its steps.
struct Descent {
    weights: Weights,
    steps: usize,
    spoilt: Option<(usize, f32)>,
}

impl Descent {
    fn new(graph: &Graph) -> Self {
        let weights = Weights::from_network(&initialize(graph, 1).unwrap());
        Self { weights, steps: 0, spoilt: None }
    }
}

impl Phase for Descent {
    fn stage(&self) -> &'static str {
        "descent"
    }

    fn weights(&self) -> &Weights {
        &self.weights
    }

    fn weights_mut(&mut self) -> &mut Weights {
        &mut self.weights
    }

    fn update(&mut self, gradients: &mut Gradients, factor: f32) -> Result<(), QuantError> {
        for (position, gradient) in gradients.iter() {
            let values = self.weights.get_mut(position).iter_mut();
            values.zip(gradient).for_each(|(v, g)| *v -= 0.1 * factor * g);
        }
        self.steps += 1;
        if let Some((step, value)) = self.spoilt
            && step == self.steps
        {
            self.weights.get_mut(0).fill(value);
        }
        Ok(())
    }

    fn save(&self, _: &mut Checkpoint) {}

    fn load(&mut self, _: &Checkpoint) -> Result<(), QuantError> {
        Ok(())
    }

    fn network(&self, graph: &Graph) -> Result<Network, QuantError> {
        self.weights.to_network(graph, Default::default())
    }

    fn layers(&self) -> Vec<LayerReport> {
        Vec::new()
    }
}

/// Two layers around a normalisation of vectors, which have no pixels to take
/// a variance over.
fn graph() -> Graph {
    let mut g = GraphBuilder::new("t", Shape::new(1, 2, 2));
    let x = g.flatten("flatten", g.input());
    let x = g.linear("fc1", x, 3);
    let x = g.batch_norm("bn", x);
    g.linear("fc2", x, 2);
    g.finish().unwrap()
}

/// Images of 2×2 pixels, of two classes.
fn dataset(images: usize) -> Dataset {
    let pixels = (0..images * 4).map(|i| (i * 37 % 256) as u8).collect();
    let labels = (0..images as u32).map(|i| i % 2).collect();
    Dataset::new("d", [1, 2, 2], pixels, labels, vec!["even".into(), "odd".into()]).unwrap()
}

fn splits(train: usize) -> Splits {
    Splits { train: dataset(train), validation: dataset(6), test: dataset(1) }
}

fn options(batch: usize) -> LoopOptions {
    let (augment, schedule) = (AugmentOptions::default(), Schedule::Constant);
    LoopOptions {
        epochs: 2,
        batch,
        lr: 0.1,
        schedule,
        label_smoothing: 0.0,
        distillation: DistillOptions::default(),
        augment,
        keep: Keep::Best,
        bn_batches: 0,
        checkpoint_steps: 1,
        log_steps: 0,
    }
}

/// Sets the stop flag after a number of steps, and notes the last step.
struct StopAfter<'a> {
    steps: u64,
    stop: &'a AtomicBool,
    seen: u64,
}

impl Observer for StopAfter<'_> {
    fn step(&mut self, report: &StepReport) {
        self.seen = report.step;
        self.stop.store(report.step == self.steps, Ordering::Relaxed);
    }
}

/// Trains on `data` in `folder` and stops after `steps`; gives the last step.
fn train(
    folder: &Path,
    phase: Descent,
    data: &Splits,
    options: &LoopOptions,
    steps: u64,
    restart: bool,
) -> Result<u64, QuantError> {
    train_taught(folder, phase, data, options, None, steps, restart)
}

/// [`train`] with a teacher.
fn train_taught(
    folder: &Path,
    phase: Descent,
    data: &Splits,
    options: &LoopOptions,
    teacher: Option<&Network>,
    steps: u64,
    restart: bool,
) -> Result<u64, QuantError> {
    let stop = AtomicBool::new(false);
    let mut observer = StopAfter { steps, stop: &stop, seen: 0 };
    let mut session = Session {
        folder: folder.to_owned(),
        logs: (options.log_steps > 0).then(|| folder.to_owned()),
        backend: Backend::Cpu,
        teacher,
        seed: 1,
        restart,
        stop: &stop,
        observer: &mut observer,
    };
    run(phase, &graph(), data, options, options, &mut session)?;
    Ok(observer.seen)
}

/// Trains on ten images in batches of four, so in three steps an epoch.
fn train_ten(folder: &Path, steps: u64, restart: bool) -> Result<u64, QuantError> {
    train(folder, Descent::new(&graph()), &splits(10), &options(4), steps, restart)
}

fn checkpoint(folder: &Path) -> Checkpoint {
    Checkpoint::read(&folder.join("last.safetensors")).unwrap().unwrap()
}

/// A step that leaves values far too large, one whose values are no numbers.
#[test]
fn divergence_leaves_the_last_checkpoint() {
    let folder = tempfile::tempdir().unwrap();
    let last = folder.path().join("last.safetensors");
    let options = LoopOptions { checkpoint_steps: 0, ..options(4) };
    let train = |phase, steps, restart| {
        train(folder.path(), phase, &splits(10), &options, steps, restart).unwrap_err()
    };
    for (value, at, reason) in [
        (f32::MAX, 3, "the loss is NaN, from layer `fc1` on"),
        (f32::NAN, 2, "`fc1.weight` is not finite"),
    ] {
        train(Descent::new(&graph()), 1, true);
        let before = std::fs::read(&last).unwrap();
        // The phase counts its own steps: its first is the second.
        let spoilt = Descent { spoilt: Some((1, value)), ..Descent::new(&graph()) };
        let error = train(spoilt, u64::MAX, false);
        let told = format!("in epoch 1, step {at}: {reason}; the last good checkpoint is ");
        let told = told + &last.display().to_string();
        assert!(error.to_string().contains(&told), "{error}");
        assert!(matches!(error, QuantError::Diverged { epoch: 1, step, .. } if step == at));
        assert!(before == std::fs::read(&last).unwrap(), "overwritten");
    }
}

#[test]
fn divergence_in_the_first_step_has_no_checkpoint() {
    let folder = tempfile::tempdir().unwrap();
    for (layer, position) in [("fc1", 0), ("fc2", 6)] {
        let mut phase = Descent::new(&graph());
        phase.weights.get_mut(position).fill(f32::MAX);
        let error = train(folder.path(), phase, &splits(10), &options(4), 9, true).unwrap_err();
        let told = format!("step 1: the loss is NaN, from layer `{layer}` on; there is no check");
        assert!(error.to_string().contains(&told), "{error}");
        assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 0);
    }
}

#[test]
fn an_epoch_without_validation_continues_with_it() {
    let folder = tempfile::tempdir().unwrap();
    let (whole, cut) = (folder.path().join("whole"), folder.path().join("cut"));
    train_ten(&whole, u64::MAX, false).unwrap();
    for (steps, position) in [(3, (0, 3)), (6, (1, 3))] {
        assert!(matches!(train_ten(&cut, steps, false), Err(QuantError::Interrupted(_))));
        let progress = checkpoint(&cut).progress;
        assert_eq!((progress.epoch, progress.step), position);
    }
    assert_eq!(train_ten(&cut, u64::MAX, false).unwrap(), 0, "trained on");
    let best = |folder: &Path| std::fs::read(folder.join("best.safetensors")).unwrap();
    assert_eq!(best(&whole), best(&cut));
    let end = |folder: &Path| Progress { seconds: 0.0, ..checkpoint(folder).progress };
    assert_eq!(end(&whole), end(&cut));
}

#[test]
fn a_restart_forgets_what_was_there() {
    let folder = tempfile::tempdir().unwrap();
    train_ten(folder.path(), u64::MAX, false).unwrap();
    assert!(matches!(train_ten(folder.path(), 1, true), Err(QuantError::Interrupted(_))));
    assert_eq!(checkpoint(folder.path()).progress.step, 1);
    assert!(!folder.path().join("best.safetensors").exists());
}

#[test]
fn a_checkpoint_that_does_not_fit_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    train_ten(folder.path(), u64::MAX, false).unwrap();
    let refused = |words: &str| {
        let error = train_ten(folder.path(), u64::MAX, false).unwrap_err();
        assert!(matches!(error, QuantError::Checkpoint { .. }), "{error}");
        assert!(error.to_string().contains(words), "{error}");
    };
    let whole = checkpoint(folder.path());
    let spoils: [fn(&mut Progress); 3] = [
        |progress| progress.epoch = usize::MAX,
        |progress| progress.step = 4,
        |progress| progress.correct = 1,
    ];
    for spoil in spoils {
        let mut other = whole.clone();
        spoil(&mut other.progress);
        other.write(&folder.path().join("last.safetensors")).unwrap();
        refused("beyond the end of the run");
    }
    whole.write(&folder.path().join("last.safetensors")).unwrap();
    std::fs::remove_file(folder.path().join("best.safetensors")).unwrap();
    refused("best.safetensors: missing");
}

#[test]
fn batches_of_any_size_train() {
    let folder = tempfile::tempdir().unwrap();
    // The last one with a single image; one of all images; one beyond all.
    for (batch, steps) in [(3, 8), (10, 2), (usize::MAX, 2)] {
        let phase = Descent::new(&graph());
        let done = train(folder.path(), phase, &splits(10), &options(batch), u64::MAX, true);
        assert_eq!(done.unwrap(), steps);
    }
}

#[test]
fn data_that_do_not_fit_are_refused() {
    let folder = tempfile::tempdir().unwrap();
    let classes = vec![String::new(); 3];
    let third_class = Dataset::new("d", [1, 2, 2], vec![0; 4], vec![2], classes.clone()).unwrap();
    let large = Dataset::new("d", [1, 2, 3], vec![0; 6], vec![0], classes).unwrap();
    for (validation, words) in [
        (dataset(0), "the validation split is empty"),
        (third_class, "has 2 outputs, found class 2"),
        (large, "expects images of [1, 2, 2], found [1, 2, 3]"),
    ] {
        let data = Splits { validation, ..splits(10) };
        let phase = Descent::new(&graph());
        let error = train(folder.path(), phase, &data, &options(4), u64::MAX, false).unwrap_err();
        assert!(matches!(error, QuantError::Data(_)), "{error}");
        assert!(error.to_string().contains(words), "{error}");
    }
}

/// The teacher decides the result, so it must stay the same; without a share of the
/// loss it does not matter.
#[test]
fn a_teacher_is_part_of_the_run() {
    let folder = tempfile::tempdir().unwrap();
    let teachers = [2, 3].map(|seed| initialize(&graph(), seed).unwrap());
    let taught = |distill, teacher: usize, steps, restart| {
        let distillation = DistillOptions { distill, temperature: 2.0 };
        let options = LoopOptions { distillation, ..options(4) };
        let (phase, teacher) = (Descent::new(&graph()), Some(&teachers[teacher]));
        let data = splits(10);
        train_taught(folder.path(), phase, &data, &options, teacher, steps, restart)
    };
    let weights = |distill, teacher| {
        taught(distill, teacher, u64::MAX, true).unwrap();
        std::fs::read(folder.path().join("best.safetensors")).unwrap()
    };
    assert_ne!(weights(0.5, 0), weights(0.5, 1));
    assert_eq!(weights(0.0, 0), weights(0.0, 1));

    assert!(matches!(taught(0.5, 0, 1, true), Err(QuantError::Interrupted(_))));
    let error = taught(0.5, 1, u64::MAX, false).unwrap_err().to_string();
    assert!(error.contains("teacher: "), "{error}");
    taught(0.5, 0, u64::MAX, false).unwrap();
}

/// Lines of steps after the checkpoint, which a killed run leaves, are written anew.
#[test]
fn the_log_of_steps_goes_on_where_training_does() {
    let folder = tempfile::tempdir().unwrap();
    let log = folder.path().join("steps.jsonl");
    let options = LoopOptions { log_steps: 2, ..options(4) };
    let train =
        |steps| train(folder.path(), Descent::new(&graph()), &splits(10), &options, steps, false);
    let steps = || -> Vec<u64> {
        let text = std::fs::read_to_string(&log).unwrap();
        let events = text.lines().map(|line| serde_json::from_str(line).unwrap());
        events.map(|event: serde_json::Value| event["step"].as_u64().unwrap()).collect()
    };
    assert!(matches!(train(3), Err(QuantError::Interrupted(_))));
    assert_eq!(steps(), [2]);
    std::fs::write(
        &log,
        r#"{"stage":"descent","step":2}"#.to_owned() + "\n" + r#"{"stage":"descent","step":4}"#,
    )
    .unwrap();
    train(u64::MAX).unwrap();
    assert_eq!(steps(), [2, 4, 6]);
}

/// The last step of two epochs makes all answers alike, so that the first is better.
#[test]
fn the_best_or_the_last_epoch_is_kept() {
    let kept = |keep| {
        let folder = tempfile::tempdir().unwrap();
        let options = LoopOptions { keep, ..options(4) };
        let phase = Descent { spoilt: Some((6, 0.0)), ..Descent::new(&graph()) };
        train(folder.path(), phase, &splits(10), &options, u64::MAX, true).unwrap();
        checkpoint(folder.path()).progress.best.unwrap()
    };
    let (best, last) = (kept(Keep::Best), kept(Keep::Last));
    assert_eq!((best.epoch, last.epoch), (1, 2));
    assert!(best.top1 > last.top1);
}

/// Running statistics that are measured anew change the network that is kept, and no
/// more than that: training goes the same way.
#[test]
fn running_statistics_are_measured_before_validation() {
    let folder = tempfile::tempdir().unwrap();
    let kept = |bn_batches| {
        let options = LoopOptions { bn_batches, keep: Keep::Last, ..options(4) };
        let phase = Descent::new(&graph());
        train(folder.path(), phase, &splits(10), &options, u64::MAX, true).unwrap();
        let mut weights = Descent::new(&graph()).weights;
        weights.load(&checkpoint(folder.path()), WEIGHTS).unwrap();
        weights
    };
    // Of three batches, the last is not full.
    let (plain, measured, all) = (kept(0), kept(2), kept(usize::MAX));
    for ((param, plain), (_, measured)) in plain.iter().zip(measured.iter()) {
        assert_eq!(plain == measured, param.kind.is_trainable(), "{}", param.name);
    }
    assert!(measured.iter().eq(all.iter()));
}
