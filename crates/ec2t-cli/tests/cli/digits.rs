//! The stages of a run, one command after the other, from the embedded digits
//! to a report, in fewer epochs than the preset has.

use ec2t_format::read;
use image::{GrayImage, imageops};

use crate::util::{Sandbox, assert_has, epochs, file_len};

/// The stages after `data prepare` and `scale`.
const STAGES: [&str; 6] = ["train", "ternarize", "finetune", "export", "eval", "report"];

#[test]
fn from_images_to_a_report() {
    let sandbox = Sandbox::with_run(&epochs(8, 4, 2));
    for stage in STAGES {
        sandbox.good(&format!("{stage} --run-dir run"));
        if stage == "train" {
            a_report_says_how_to_go_on(&sandbox);
        }
    }
    the_report_is_whole_and_good(&sandbox);
    the_report_has_the_commands(&sandbox);
    the_stages_leave_their_summaries(&sandbox);
    the_file_alone_says_the_same(&sandbox);
    pictures_are_classified(&sandbox);
    finished_stages_change_nothing(&sandbox);
    changes_of_the_model_are_noted_until_it_is_written_anew(&sandbox);
    the_network_is_written_in_other_formats(&sandbox);
}

fn a_report_says_how_to_go_on(sandbox: &Sandbox) {
    let said = sandbox.good("report --run-dir run").stdout;
    assert_has(&said, &["digits-cnn on digits: validation ", "next: ec2t ternarize --run-dir run"]);
    let report = sandbox.read_json("run/report.json");
    let commands = report["to_come"].as_array().unwrap().iter();
    let commands = commands.map(|stage| stage["command"].as_str().unwrap());
    let expected = STAGES[1..5].iter().map(|stage| format!("ec2t {stage} --run-dir run"));
    assert!(commands.eq(expected), "{report}");
    assert!(!sandbox.path("run/MODEL_CARD.md").exists());
}

fn the_report_is_whole_and_good(sandbox: &Sandbox) {
    let report = sandbox.read_json("run/report.json");
    assert_eq!(report["dataset"], "digits");
    assert_eq!(report["seed"], 1);
    assert!(report["commit"].is_string());
    for stage in ["pretrain", "ternarize", "finetune"] {
        assert!(report["seconds"][stage].as_f64().unwrap() > 0.0, "{stage}");
    }

    let [float, ternary] = ["float", "ternary"].map(|net| report[net]["top1"].as_f64().unwrap());
    assert!(float >= 97.0, "float {float} %");
    assert!(ternary >= float - 2.0, "ternary {ternary} %, float {float} %");
    let sparsity = report["ternary"]["sparsity"].as_f64().unwrap();
    assert!(sparsity >= 0.6, "{sparsity} zeros");

    let bytes = file_len(&sandbox.path("run/model.ec2t"));
    assert_eq!(report["file_bytes"], bytes);
    let float_bytes = 4 * report["parameters"].as_u64().unwrap();
    assert!(12 * bytes <= float_bytes, "{bytes} bytes instead of {float_bytes}");

    let page = sandbox.read_text("run/report.html");
    for part in ["<h1>digits-cnn on digits</h1>", "conv5", &format!("{ternary:.2} %"), "</html>"] {
        assert!(page.contains(part), "no {part} in the page");
    }
    let wrong = report["ternary"]["images"].as_u64().unwrap()
        - report["ternary"]["correct"].as_u64().unwrap();
    let pictures = page.matches("src=\"data:image/png;base64,").count();
    assert_eq!(pictures as u64, wrong.min(24));
    assert_eq!(report["mistakes"].as_array().unwrap().len(), pictures);
    assert_eq!(sandbox.json("report --run-dir run --json"), report);
}

fn the_report_has_the_commands(sandbox: &Sandbox) {
    let report = sandbox.read_json("run/report.json");
    let commands = report["commands"].as_array().unwrap().iter();
    let lines: Vec<_> = commands.map(|command| command["command"].as_str().unwrap()).collect();
    let expected = ["data prepare", "scale"].into_iter().chain(STAGES).filter(|it| *it != "report");
    let expected: Vec<_> = expected.map(|stage| format!("ec2t {stage} --run-dir run")).collect();
    assert_eq!(lines, expected);
    assert!(sandbox.read_text("run/report.html").contains(&expected.join("\n</span><span>")));
}

fn the_stages_leave_their_summaries(sandbox: &Sandbox) {
    for (stage, epochs) in [("pretrain", 8), ("ternarize", 4), ("finetune", 2)] {
        let summary = sandbox.read_json(&format!("run/{stage}/summary.json"));
        assert_eq!(summary["stage"], stage);
        assert_eq!(summary["epochs"], epochs);
        assert!(summary["best"]["top1"].as_f64().unwrap() > 90.0, "{summary}");
        let events = sandbox.read_text("run/events.jsonl");
        let lines = events.lines().filter(|line| line.contains(stage));
        assert_eq!(lines.count(), epochs);
    }
}

/// The file needs nothing of the run but the images.
fn the_file_alone_says_the_same(sandbox: &Sandbox) {
    let report = sandbox.read_json("run/report.json");
    let eval = sandbox.json("eval run/model.ec2t --dataset digits --json");
    assert_eq!(eval["top1"], report["ternary"]["top1"]);
    assert_eq!(eval["confusion"], report["confusion"]);
    let stats = sandbox.json("inspect run/model.ec2t --json");
    assert_eq!(stats["total_bytes"], report["file_bytes"]);
}

/// Test images as files: as they are, and enlarged in another format.
fn pictures_are_classified(sandbox: &Sandbox) {
    const PICTURES: usize = 20;
    let digits = ec2t_data::load("digits", &ec2t_data::LoadOptions::default()).unwrap().test;
    let (mut exact, mut enlarged) = (String::new(), String::new());
    for index in 0..PICTURES {
        let picture = GrayImage::from_raw(8, 8, digits.image(index).unwrap().into_owned()).unwrap();
        picture.save(sandbox.path(&format!("{index}.png"))).unwrap();
        let large = imageops::resize(&picture, 96, 96, imageops::FilterType::CatmullRom);
        large.save(sandbox.path(&format!("{index}.jpg"))).unwrap();
        exact += &format!(" {index}.png");
        enlarged += &format!(" {index}.jpg");
    }
    let right = |files: &str| {
        let answers = sandbox.json(&format!("run run/model.ec2t{files} --json"));
        let answers = answers.as_array().unwrap().iter().zip(digits.labels());
        answers.filter(|(answer, label)| answer["top"][0]["class"] == **label).count()
    };
    assert!(right(&exact) >= PICTURES - 1, "{} of {PICTURES}", right(&exact));
    assert!(right(&enlarged) >= PICTURES - 3, "{} of {PICTURES}", right(&enlarged));
}

/// A stage that is called again goes on from its end.
fn finished_stages_change_nothing(sandbox: &Sandbox) {
    let before = sandbox.read("run/model.ec2t");
    for stage in ["train", "ternarize", "finetune", "export"] {
        sandbox.good(&format!("{stage} --run-dir run"));
    }
    assert_eq!(sandbox.read("run/model.ec2t"), before);
    let commands = sandbox.read_json("run/commands.json");
    assert_eq!(commands["finetune"]["resumed"], 1);
    assert!(commands["export"]["resumed"].is_null(), "it does not go on, it is done anew");
    assert_eq!(sandbox.read_text("run/events.jsonl").lines().count(), 8 + 4 + 2);
}

fn changes_of_the_model_are_noted_until_it_is_written_anew(sandbox: &Sandbox) {
    let repacked = || sandbox.read_json("run/commands.json")["repack"]["words"].clone();
    sandbox.good("repack run/model.ec2t -o elsewhere.ec2t");
    assert!(repacked().is_null());
    sandbox.good("repack run/model.ec2t -o run/model.ec2t");
    assert_eq!(
        repacked(),
        serde_json::json!(["ec2t", "repack", "run/model.ec2t", "-o", "run/model.ec2t"])
    );
    sandbox.good("export --run-dir run");
    assert!(repacked().is_null());
}

/// What other programs get is what the model file has, and that stays as it was.
fn the_network_is_written_in_other_formats(sandbox: &Sandbox) {
    let before = sandbox.read("run/model.ec2t");
    let said = sandbox.good("export --run-dir run --onnx m.onnx --safetensors m.safetensors");
    assert_has(&said.stdout, &["m.onnx: ", "m.safetensors: "]);
    assert_has(&said.stderr, &["run/model.ec2t: "]);
    assert!(sandbox.read("run/model.ec2t") == before, "another model file");
    let expected = read(&before).unwrap();
    for file in ["m.onnx", "m.safetensors"] {
        sandbox.good(&format!("import {file} -o back.ec2t"));
        let found = read(&sandbox.read("back.ec2t")).unwrap();
        assert_eq!(found.graph(), expected.graph(), "{file}");
        assert_eq!(found.metadata, expected.metadata, "{file}");
        for (name, tensor) in expected.tensors() {
            assert_eq!(found.tensor(name).unwrap().to_f32(), tensor.to_f32(), "{file}: {name}");
        }
    }
}
