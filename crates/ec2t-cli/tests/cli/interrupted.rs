//! Training that is killed, interrupted, continued, restarted.

use std::os::unix::process::ExitStatusExt;
use std::process::{Child, Command, Output, Stdio};
use std::thread::sleep;
use std::time::{Duration, Instant};

use serde_json::Value;

use crate::util::{Sandbox, assert_has, settings};

/// Epochs and steps of the next one that are done.
type Position = (u64, u64);

/// Short training with a checkpoint every seven steps.
fn short_settings(pretrain_lr: f64) -> String {
    let mut changes = vec![("pretrain", "lr", pretrain_lr.into())];
    for (stage, epochs) in [("pretrain", 2), ("ternarize", 3), ("finetune", 1)] {
        changes.push((stage, "epochs", epochs.into()));
        changes.push((stage, "checkpoint_steps", 7.into()));
    }
    settings(&changes)
}

/// How far the checkpoint of a stage is; `None` where there is none. The file
/// is whole at every moment.
fn position(sandbox: &Sandbox, stage: &str) -> Option<Position> {
    let file = std::fs::read(sandbox.path(&format!("run/{stage}/last.safetensors"))).ok()?;
    let (length, rest) = file.split_first_chunk::<8>().unwrap();
    let header = &rest[..u64::from_le_bytes(*length) as usize];
    let header: Value = serde_json::from_slice(header).unwrap();
    let progress = header["__metadata__"]["ec2t"].as_str().unwrap();
    let progress: Value = serde_json::from_str(progress).unwrap();
    Some((progress["epoch"].as_u64().unwrap(), progress["step"].as_u64().unwrap()))
}

/// Starts a stage and sends it a signal once its checkpoint is at a position.
fn stop_at(sandbox: &Sandbox, stage: &str, place: Position, signal: &str) -> Output {
    let command = &mut sandbox.ec2t(&format!("{stage} --run-dir run"));
    let mut child = command.stdout(Stdio::null()).stderr(Stdio::piped()).spawn().unwrap();
    let folder = if stage == "train" { "pretrain" } else { stage };
    let begun = Instant::now();
    while position(sandbox, folder) < Some(place) {
        assert!(begun.elapsed() < Duration::from_secs(120), "{stage} takes too long");
        assert!(child.try_wait().unwrap().is_none(), "{stage} ended before {place:?}");
        sleep(Duration::from_millis(2));
    }
    send(signal, &child);
    child.wait_with_output().unwrap()
}

fn send(signal: &str, child: &Child) {
    let status = Command::new("kill").args(["-s", signal, &child.id().to_string()]).status();
    assert!(status.unwrap().success());
}

fn stderr(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).into_owned()
}

/// Asserts that a stage is killed at a position.
fn kill_at(sandbox: &Sandbox, stage: &str, place: Position) -> String {
    let output = stop_at(sandbox, stage, place, "KILL");
    assert_eq!(output.status.signal(), Some(9), "{stage}: {}", stderr(&output));
    assert!(!sandbox.path(&format!("run/{stage}/summary.json")).exists());
    stderr(&output)
}

/// Asserts that Ctrl-C ends a stage at a position.
fn interrupt_at(sandbox: &Sandbox, stage: &str, place: Position) -> String {
    let output = stop_at(sandbox, stage, place, "INT");
    assert_eq!(output.status.code(), Some(130), "{stage}: {}", stderr(&output));
    assert_has(&stderr(&output), &["interrupted; the same command continues"]);
    stderr(&output)
}

/// The lines of `events.jsonl` without what the clock says.
fn events(sandbox: &Sandbox) -> Vec<Value> {
    let parse = |line: &str| {
        let mut event: Value = serde_json::from_str(line).unwrap();
        for measured in ["seconds", "loader_wait_ms"] {
            assert!(event[measured].take().is_number(), "{measured} in {line}");
        }
        event
    };
    sandbox.read_text("run/events.jsonl").lines().map(parse).collect()
}

/// The words that `commands.json` has for pretraining.
fn noted(sandbox: &Sandbox) -> Vec<String> {
    let commands = sandbox.read_json("run/commands.json");
    serde_json::from_value(commands["pretrain"]["words"].clone()).unwrap()
}

#[test]
fn a_run_that_is_killed_ends_with_the_same_bytes() {
    let whole = Sandbox::with_run(&short_settings(0.1));
    whole.good("train --run-dir run");
    let cut = Sandbox::with_run(&short_settings(0.1));
    for file in ["run/pretrain/best.safetensors", "run/events.jsonl"] {
        cut.write(file, whole.read(file));
    }
    for stage in ["ternarize", "finetune", "export"] {
        whole.good(&format!("{stage} --run-dir run"));
    }

    kill_at(&cut, "ternarize", (0, 14));
    let said = kill_at(&cut, "ternarize", (0, 35));
    assert_has(&said, &["ternarize: continues at step "]);
    let said = interrupt_at(&cut, "ternarize", (1, 7));
    assert_has(&said, &["ternarize: continues at step "]);
    kill_at(&cut, "ternarize", (2, 21));
    let said = cut.good("ternarize --run-dir run").stderr;
    assert_has(&said, &["ternarize: continues at step ", " of 117"]);
    kill_at(&cut, "finetune", (0, 21));
    cut.good("finetune --run-dir run");
    cut.good("export --run-dir run");

    for file in ["ternarize/best.safetensors", "finetune/best.safetensors", "model.ec2t"] {
        let file = format!("run/{file}");
        assert!(whole.read(&file) == cut.read(&file), "{file} differs");
    }
    assert_eq!(events(&whole), events(&cut));
}

#[test]
fn an_interrupted_stage_goes_on_or_begins_again() {
    let sandbox = Sandbox::with_run(&short_settings(0.1));
    interrupt_at(&sandbox, "train", (0, 7));
    let stopped = position(&sandbox, "pretrain");
    assert!(stopped >= Some((0, 7)));
    assert_eq!(noted(&sandbox), ["ec2t", "train", "--run-dir", "run"]);

    sandbox.write("run/config.toml", short_settings(0.05));
    let stderr = sandbox.fail(2, "train --run-dir run");
    assert_has(&stderr, &["run/pretrain/last.safetensors", "lr: 0.1 → 0.05", "restart"]);
    assert_eq!(position(&sandbox, "pretrain"), stopped);

    let said = sandbox.good("train --run-dir run --restart").stderr;
    assert!(!said.contains("continues"), "{said}");
    assert_eq!(noted(&sandbox), ["ec2t", "train", "--run-dir", "run", "--restart"]);
    sandbox.good("train --run-dir run");
    assert_eq!(noted(&sandbox), ["ec2t", "train", "--run-dir", "run", "--restart"]);
    let trained = sandbox.read("run/pretrain/best.safetensors");
    let fresh = Sandbox::with_run(&short_settings(0.05));
    fresh.good("train --run-dir run");
    assert!(fresh.read("run/pretrain/best.safetensors") == trained, "not from the beginning");
}

#[test]
fn a_checkpoint_in_place_of_training_is_not_trained_on() {
    let sandbox = Sandbox::with_run(&short_settings(0.1));
    interrupt_at(&sandbox, "train", (0, 7));
    let network = crate::util::sample();
    ec2t_quant::save_network(&sandbox.path("init.safetensors"), &network).unwrap();
    sandbox.good("train --run-dir run --init init.safetensors");
    assert_eq!(sandbox.read("run/pretrain/best.safetensors"), sandbox.read("init.safetensors"));
    let summary = sandbox.read_json("run/pretrain/summary.json");
    assert_eq!(summary["init"], "init.safetensors");
    assert_eq!(summary["epochs"], Value::Null);
    assert_eq!(position(&sandbox, "pretrain"), None);
}
