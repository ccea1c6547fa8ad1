//! The three stages on real digits: they learn, freeze and resume.

use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};

use ec2t_data::{AugmentOptions, LoadOptions, Splits};
use ec2t_format::{Graph, Network, Tensor};
use ec2t_quant::ec2t::Ec2tOptions;
use ec2t_quant::{
    Backend, DistillOptions, FinetuneOptions, Keep, LoopOptions, Observer, OptimizerKind, Outcome,
    PretrainOptions, PruneOptions, QuantError, Schedule, Session, StepReport, TernarizeOptions,
    finetune, initialize, pretrain, ternarize,
};
use safetensors::SafeTensors;

fn digits() -> Splits {
    let options = LoadOptions { validation: 180, seed: 1, ..LoadOptions::default() };
    ec2t_data::load("digits", &options).unwrap()
}

fn graph() -> Graph {
    let mut graph = ec2t_scale::build("digits-cnn", &ec2t_scale::ArchOptions::default()).unwrap();
    graph.preprocess.mean = vec![0.3];
    graph.preprocess.std = vec![0.3];
    graph
}

fn common(epochs: usize, lr: f32) -> LoopOptions {
    let augment = AugmentOptions { crop_pad: 1, ..AugmentOptions::default() };
    let schedule = Schedule::Cosine;
    LoopOptions {
        epochs,
        batch: 64,
        lr,
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

fn pretrain_options() -> PretrainOptions {
    PretrainOptions {
        common: common(3, 0.05),
        optimizer: OptimizerKind::Sgd,
        momentum: 0.9,
        weight_decay: 5e-4,
    }
}

fn ternarize_options() -> TernarizeOptions {
    let ec2t = Ec2tOptions { init_scale: 0.4, gamma: 0.2, ..Ec2tOptions::default() };
    TernarizeOptions {
        common: common(3, 1e-3),
        centroid_lr: 1e-4,
        weight_decay: 5e-6,
        ec2t,
        target_sparsity: 0.0,
        pruning: PruneOptions::default(),
    }
}

fn finetune_options() -> FinetuneOptions {
    FinetuneOptions {
        common: LoopOptions { bn_batches: 3, ..common(1, 1e-3) },
        centroid_lr: 1e-4,
        weight_decay: 5e-6,
        average: 0.9,
    }
}

/// Sets the stop flag after a number of steps.
struct StopAfter<'a> {
    steps: u64,
    stop: &'a AtomicBool,
}

impl Observer for StopAfter<'_> {
    fn step(&mut self, report: &StepReport) {
        if report.step == self.steps {
            self.stop.store(true, Ordering::Relaxed);
        }
    }
}

/// Calls `stage` with a session in `folder` that stops after `steps`.
fn run(
    folder: &Path,
    steps: u64,
    stage: impl FnOnce(&mut Session) -> Result<Outcome, QuantError>,
) -> Result<Outcome, QuantError> {
    let stop = AtomicBool::new(false);
    let mut observer = StopAfter { steps, stop: &stop };
    stage(&mut Session {
        folder: folder.to_owned(),
        logs: Some(folder.to_owned()),
        backend: Backend::Cpu,
        teacher: None,
        seed: 5,
        restart: false,
        stop: &stop,
        observer: &mut observer,
    })
}

fn read(outcome: &Outcome) -> Network {
    ec2t_interop::import(&outcome.network, graph()).unwrap().network
}

fn codes(network: &Network) -> Vec<(String, Vec<i8>)> {
    let ternary = |(name, tensor): (&String, &Tensor)| match tensor {
        Tensor::Ternary(ternary) => Some((name.clone(), ternary.codes().to_vec())),
        Tensor::Dense(_) => None,
    };
    network.tensors().iter().filter_map(ternary).collect()
}

#[test]
fn the_stages_learn_and_freeze() {
    let (folder, data) = (tempfile::tempdir().unwrap(), digits());
    let initial = initialize(&graph(), 3).unwrap();
    let float = run(&folder.path().join("pretrain"), u64::MAX, |session| {
        pretrain(&initial, &data, &pretrain_options(), session)
    })
    .unwrap();
    assert!(float.best.top1 > 90.0, "{float:?}");

    let learnt = run(&folder.path().join("ternarize"), u64::MAX, |session| {
        ternarize(&read(&float), &data, &ternarize_options(), session)
    })
    .unwrap();
    assert!(learnt.best.top1 > 85.0, "{learnt:?}");
    assert_three_values(&learnt);
    let learnt = read(&learnt);
    assert!(learnt.sparsity() > 0.4, "{} zeros", learnt.sparsity());

    let tuned = run(&folder.path().join("finetune"), u64::MAX, |session| {
        finetune(&learnt, &data, &finetune_options(), session)
    })
    .unwrap();
    assert_three_values(&tuned);
    let tuned = read(&tuned);
    assert!(!codes(&learnt).is_empty());
    assert_eq!(codes(&tuned), codes(&learnt), "frozen assignments moved");
    assert_ne!(tuned, learnt, "nothing was tuned");
}

/// Every layer of the body holds a negative value, 0 and a positive one, and
/// nothing else; first and last layer hold many.
fn assert_three_values(outcome: &Outcome) {
    let file = std::fs::read(&outcome.network).unwrap();
    let tensors = SafeTensors::deserialize(&file).unwrap();
    for layer in ["conv1", "conv2", "conv3", "conv4", "conv5", "linear"] {
        let tensor = tensors.tensor(&format!("{layer}.weight")).unwrap();
        let (words, _) = tensor.data().as_chunks::<4>();
        let mut values: Vec<f32> = words.iter().map(|word| f32::from_le_bytes(*word)).collect();
        values.sort_unstable_by(f32::total_cmp);
        values.dedup_by_key(|value| value.to_bits());
        match layer {
            "conv1" | "linear" => assert!(values.len() > 100, "{layer}: {values:?}"),
            _ => match values[..] {
                [neg, zero, pos] => assert!(neg < 0.0 && zero.to_bits() == 0 && pos > 0.0),
                _ => panic!("{layer}: {} values", values.len()),
            },
        }
    }
}

#[test]
fn an_interrupted_stage_ends_with_the_same_bytes() {
    let (folder, data) = (tempfile::tempdir().unwrap(), digits());
    let network = initialize(&graph(), 3).unwrap();
    let plain = ternarize_options();
    let ternary = check_interrupted(&folder.path().join("plain"), &data, |session| {
        ternarize(&network, &data, &plain, session)
    });

    // All that has a state of its own.
    let mut full = ternarize_options();
    full.common.bn_batches = 3;
    full.ec2t = Ec2tOptions { extreme_quantile: 0.99, share_smoothing: 0.9, ..full.ec2t };
    let other = check_interrupted(&folder.path().join("full"), &data, |session| {
        ternarize(&network, &data, &full, session)
    });
    assert_ne!(read(&ternary), read(&other));

    let ternary = read(&ternary);
    let mut options = finetune_options();
    options.common.epochs = 2;
    check_interrupted(&folder.path().join("finetune"), &data, |session| {
        finetune(&ternary, &data, &options, session)
    });
}

/// Asserts that a stage ends in the same way whether it was interrupted or not.
fn check_interrupted(
    folder: &Path,
    data: &Splits,
    stage: impl Fn(&mut Session) -> Result<Outcome, QuantError>,
) -> Outcome {
    let whole = run(&folder.join("whole"), u64::MAX, &stage).unwrap();
    let cut = folder.join("cut");
    let epoch = data.train.len().div_ceil(64) as u64;
    for steps in [3, 17, epoch, epoch + 7] {
        let interrupted = run(&cut, steps, &stage).unwrap_err();
        assert!(matches!(interrupted, QuantError::Interrupted(_)), "{interrupted}");
    }
    let resumed = run(&cut, u64::MAX, &stage).unwrap();
    assert_eq!(std::fs::read(&whole.network).unwrap(), std::fs::read(&resumed.network).unwrap());
    assert_eq!(whole.best, resumed.best);
    assert_eq!(events(&folder.join("whole")), events(&cut));
    whole
}

/// The log without what the clock says.
fn events(folder: &Path) -> Vec<serde_json::Value> {
    let parse = |line: &str| {
        let mut event: serde_json::Value = serde_json::from_str(line).unwrap();
        for measured in ["seconds", "loader_wait_ms"] {
            assert!(event[measured].take().is_number(), "{measured} in {line}");
        }
        event
    };
    std::fs::read_to_string(folder.join("events.jsonl")).unwrap().lines().map(parse).collect()
}

#[test]
fn a_checkpoint_of_other_settings_is_refused() {
    let (folder, data) = (tempfile::tempdir().unwrap(), digits());
    let network = initialize(&graph(), 3).unwrap();
    let mut options = pretrain_options();
    let _ = run(folder.path(), 2, |session| pretrain(&network, &data, &options, session));
    options.common.lr = 0.1;
    let error =
        run(folder.path(), 2, |session| pretrain(&network, &data, &options, session)).unwrap_err();
    assert!(error.to_string().contains("lr: 0.05 → 0.1)"), "{error}");
}

#[test]
fn threads_do_not_change_a_bit() {
    let (folder, data) = (tempfile::tempdir().unwrap(), digits());
    let network = initialize(&graph(), 3).unwrap();
    let bytes = [1, 2, 3].map(|threads| {
        let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().unwrap();
        let folder = folder.path().join(threads.to_string());
        let options = PretrainOptions { common: common(1, 0.05), ..pretrain_options() };
        let outcome = pool.install(|| {
            run(&folder, u64::MAX, |session| pretrain(&network, &data, &options, session))
        });
        std::fs::read(outcome.unwrap().network).unwrap()
    });
    assert_eq!(bytes[0], bytes[1]);
    assert_eq!(bytes[0], bytes[2]);
}
