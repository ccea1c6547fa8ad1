//! `ec2t train --arch`: a run without a preset.

use crate::util::{Sandbox, assert_has, epochs, pictures};

const USAGE: i32 = 2;
const TRAIN: &str = "train --arch digits-cnn --dataset digits --batch 64";

#[test]
fn one_command_trains_and_tests() {
    let sandbox = Sandbox::new();
    let said = sandbox.good(&format!("{TRAIN} --epochs 3"));
    assert_has(&said.stderr, &["settings: runs/digits-cnn-digits/config.toml", "pretrain 3/3"]);
    assert_has(&said.stdout, &["validation ", " %; top-1 ", " % of 360 test images"]);
    let top1: f64 = said.stdout.split_whitespace().nth(4).unwrap().parse().unwrap();
    assert!(top1 > 80.0, "{}", said.stdout);
    let run = |file: &str| format!("runs/digits-cnn-digits/{file}");
    let settings = sandbox.read_text(&run("config.toml"));
    assert_has(&settings, &["# Images per step.\nbatch = 64", "schedule = \"one-cycle\""]);
    assert_eq!(sandbox.read_json(&run("pretrain/summary.json"))["epochs"], 3);

    let network = sandbox.read(&run("pretrain/best.safetensors"));
    for again in [TRAIN, "train --arch digits-cnn --dataset digits --lr 0.2 --epochs 3"] {
        let said_again = sandbox.good(again);
        assert_has(&said_again.stderr, &["continues at step 60 of 60"]);
        let accuracy = |text: &str| text.split(" test images").next().map(str::to_owned);
        assert_eq!(accuracy(&said_again.stdout), accuracy(&said.stdout));
    }
    assert_eq!(sandbox.read(&run("pretrain/best.safetensors")), network);
    the_run_is_as_any_other(&sandbox);
}

fn the_run_is_as_any_other(sandbox: &Sandbox) {
    sandbox.good("train --run-dir runs/digits-cnn-digits");
    let data = sandbox.read_json("runs/digits-cnn-digits/data.json");
    sandbox.good("data prepare --run-dir runs/digits-cnn-digits");
    assert_eq!(sandbox.read_json("runs/digits-cnn-digits/data.json"), data);
    let arch = sandbox.read("runs/digits-cnn-digits/arch.json");
    sandbox.good("scale --run-dir runs/digits-cnn-digits");
    assert_eq!(sandbox.read("runs/digits-cnn-digits/arch.json"), arch);
}

#[test]
fn a_folder_of_pictures_is_brought_to_the_networks_size() {
    let sandbox = Sandbox::new();
    pictures(&sandbox);
    let train = "train --arch digits-cnn --dataset folder --data-dir pictures --batch 64";
    let said = sandbox.good(&format!("{train} --epochs 1 --run-dir run"));
    assert_has(&said.stdout, &[" % of 360 test images"]);
    assert_has(&sandbox.read_text("run/config.toml"), &["image_size = [1, 8, 8]"]);

    // A damaged picture is named when its turn comes.
    sandbox.write("pictures/train/0/0.png", "no picture");
    let again = format!("{train} --epochs 1 --run-dir run --restart");
    let output = sandbox.ec2t(&again).output().unwrap();
    let stderr = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(3), "{stderr}");
    assert_has(&stderr, &["pictures/train/0/0.png"]);
}

#[test]
fn what_is_taken_of_a_picture_travels_in_the_file() {
    let pictured = epochs(12, 2, 1)
        .replace("dataset = \"digits\"", "dataset = \"folder\"\nimage_size = [1, 8, 8]\ncrop = 0.9")
        .replace("hflip = false", "hflip = false\nresized_crop = 0.6");
    let sandbox = Sandbox::new();
    sandbox.write("run/config.toml", pictured);
    pictures(&sandbox);
    sandbox.good("data prepare --run-dir run --data-dir pictures");
    sandbox.good("scale --run-dir run");
    for stage in ["train", "ternarize", "finetune", "export", "eval"] {
        sandbox.good(&format!("{stage} --run-dir run --data-dir pictures"));
    }
    let network = ec2t_format::read(&sandbox.read("run/model.ec2t")).unwrap();
    assert_eq!(network.metadata["crop"], "0.9");
    let file = sandbox.json("eval run/model.ec2t --dataset folder --data-dir pictures --json");
    assert_eq!(file["confusion"], sandbox.read_json("run/eval.json")["ternary"]["confusion"]);
    assert!(file["top1"].as_f64() > Some(50.0), "{}", file["top1"]);
}

#[test]
fn other_settings_begin_another_run() {
    let sandbox = Sandbox::new();
    sandbox.good(&format!("{TRAIN} --epochs 1 --run-dir mine"));
    let stderr = sandbox.fail(USAGE, &format!("{TRAIN} --epochs 2 --seed 3 --run-dir mine"));
    let differences = "(pretrain.epochs: 1 → 2, run.seed: 1 → 3)";
    assert_has(&stderr, &["mine/config.toml", differences, "--restart", "--run-dir"]);
    let network = sandbox.read("mine/pretrain/best.safetensors");
    sandbox.good(&format!("{TRAIN} --epochs 1 --seed 3 --run-dir mine --restart"));
    assert_ne!(sandbox.read("mine/pretrain/best.safetensors"), network);
    sandbox.good(&format!("{TRAIN} --seed 3 --run-dir mine"));
}

#[test]
fn divergence_is_told() {
    let sandbox = Sandbox::new();
    let output = sandbox.ec2t(&format!("{TRAIN} --lr 1e30 --run-dir mine")).output().unwrap();
    let stderr = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(1), "{stderr}");
    let what = "diverged in epoch 1, step 2: the loss is NaN, from layer `";
    assert_has(&stderr, &[what, "` on; there is no checkpoint yet"]);
    assert!(!sandbox.path("mine/pretrain").exists());
}

/// Nothing is left of a run that can't begin.
#[test]
fn what_can_not_be_trained_is_refused() {
    let sandbox = Sandbox::new();
    for (words, part) in [
        ("train", "--run-dir <DIR>"),
        ("train --run-dir run --epochs 3", "--arch <ARCH>"),
        ("train --arch digits-cnn", "--dataset <NAME>"),
        ("train --arch digit --dataset digits", "digits-cnn"),
        ("train --arch digits-cnn --dataset digit", "known are digits"),
        ("train --arch digits-cnn --dataset digits --lr=-1", "`lr`: must be finite and not"),
        ("train --arch digits-cnn --dataset digits --epochs 0", "`epochs`: must be at least 1"),
        ("train --arch digits-cnn --dataset digits --schedule linear", "one-cycle"),
        ("train --arch digits-cnn --dataset digits --label-smoothing 1", "`label_smoothing`"),
    ] {
        assert_has(&sandbox.fail(USAGE, words), &[part]);
    }
}
