//! Reports of synthetic runs.

use std::fs;
use std::path::Path;

use ec2t_format::graph::Role;
use ec2t_format::{DenseTensor, Graph, Network, Tensor, TernaryTensor, fold_batch_norm};
use ec2t_scale::score::{Mode, Rules};
use ec2t_scale::{ArchOptions, Score};
use serde_json::{Value, json};
use tempfile::TempDir;

use super::data::Model;
use super::{Report, build, html, write};
use crate::output::grouped;

/// Writes a finished run of a network with made-up numbers into `folder`.
fn synthetic_run(folder: &Path, arch: &str, classes: &[&str], epochs: [usize; 3]) {
    let graph = ec2t_scale::build(arch, &options(classes.len())).unwrap();
    let model = ec2t_format::write(&fold_batch_norm(&ternary_network(&graph)));
    let put = |path: &str, bytes: &[u8]| {
        let path = folder.join(path);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, bytes).unwrap();
    };
    let put_json = |path: &str, value: &Value| put(path, value.to_string().as_bytes());

    put("config.toml", CONFIG.as_bytes());
    let counts = json!({ "train": 45000, "validation": 5000, "test": 10000 });
    put_json("data.json", &json!({ "name": "pets", "classes": classes, "counts": counts }));
    put_json("arch.json", &serde_json::to_value(&graph).unwrap());
    put("model.ec2t", &model);
    let confusion = confusion(classes.len());
    let evaluation = |top1: f64| {
        json!({ "top1": top1, "images": 10000, "correct": 9101, "seconds": 2.5,
            "confusion": confusion })
    };
    let (float, ternary) = (evaluation(91.73), evaluation(91.01));
    put_json("eval.json", &json!({ "dataset": "pets", "float": float, "ternary": ternary }));
    let mut log = String::new();
    for (stage, epochs) in ["pretrain", "ternarize", "finetune"].into_iter().zip(epochs) {
        let best = json!({ "epoch": epochs.div_ceil(2), "top1": 92.5 });
        let sparsity = if stage == "pretrain" { 0.0 } else { 0.64 };
        for epoch in 1..=epochs {
            log += &event(&graph, stage, epoch, epochs, &best).to_string();
            log.push('\n');
        }
        put_json(
            &format!("{stage}/summary.json"),
            &json!({ "stage": stage, "best": best, "epochs": epochs, "seconds": 900.0,
                "sparsity": sparsity }),
        );
    }
    put("events.jsonl", log.as_bytes());
    let mut commands = json!({});
    for (stage, command) in [("data", "data prepare"), ("pretrain", "train"), ("eval", "eval")] {
        let stamp = json!({ "inputs": {}, "seconds": 1.5, "finished": null });
        put_json(&format!("stamps/{stage}.json"), &stamp);
        let mut words = vec!["ec2t"];
        words.extend(command.split(' ').chain(["--run-dir", "runs/pets"]));
        commands[stage] = json!({ "words": words, "version": "0.1.0", "commit": "abc1234" });
    }
    put_json("commands.json", &commands);
}

/// Writes a sweep with these bytes, accuracies and places on the front.
fn add_sweep(folder: &TempDir, points: &[(u64, f64, bool)]) {
    let point = |(number, &(bytes, top1, pareto)): (usize, &(u64, f64, bool))| {
        json!({ "name": format!("gamma=0.{number},seed=1"), "settings": {}, "sparsity": 0.5,
            "validation_top1": top1, "entropy_bits": 1.2, "bytes": bytes, "seconds": 9.0,
            "pareto": pareto })
    };
    let points: Vec<Value> = points.iter().enumerate().map(point).collect();
    fs::create_dir_all(folder.path().join("sweep")).unwrap();
    let sweep = json!({ "points": points }).to_string();
    fs::write(folder.path().join("sweep/sweep.json"), sweep).unwrap();
}

/// Makes the run one of the embedded digits with 24 wrong answers.
fn add_mistakes(folder: &TempDir) {
    let preset = include_str!("../../../../xtask/pipelines/digits.toml");
    fs::write(folder.path().join("config.toml"), preset).unwrap();
    let digits: Vec<String> = (0..10).map(|digit| digit.to_string()).collect();
    edit(folder, "data.json", |data| data["classes"] = json!(digits));
    let test = ec2t_data::load("digits", &ec2t_data::LoadOptions::default()).unwrap().test;
    let mistake = |image: usize| {
        let class = test.label(image);
        json!({ "image": image, "class": class, "answer": (class + 1) % 10,
            "probability": 0.99 - 0.02 * image as f64 })
    };
    edit(folder, "eval.json", |eval| {
        eval["ternary"]["confusion"] = json!(confusion(10));
        eval["ternary"]["mistakes"] = (0..24).map(mistake).collect();
    });
}

/// A run whose report has all figures.
pub(super) fn whole_run() -> TempDir {
    let folder = run();
    let points = [(14_000, 92.5, true), (9_000, 91.0, true), (12_000, 90.5, false)];
    add_sweep(&folder, &points);
    add_mistakes(&folder);
    folder
}

const CONFIG: &str = "\
[run]
seed = 363636 # of everything
threads = 0
[data]
dataset = 'pets'
[pretrain]
epochs = 200
lr = 5e-4
optimizer = 'sgd'
hflip = true
";

fn options(classes: usize) -> ArchOptions {
    ArchOptions { classes, ..ArchOptions::default() }
}

/// A network whose layers in the body are ternary: zero is every second weight of
/// the small ones, three in four of the large ones.
fn ternary_network(graph: &Graph) -> Network {
    let roles = graph.roles();
    let tensor = |param: &ec2t_format::graph::Param| -> Tensor {
        let (shape, n) = (param.shape.clone(), param.numel());
        let is_body = roles[param.node.index()] == Some(Role::Body);
        match is_body && param.name.ends_with(".weight") {
            true => {
                let period = if n < 20_000 { 4 } else { 8 };
                let code = |i: usize| [1, 0, 0, -1].get(i % period).copied().unwrap_or(0);
                let (w_neg, w_pos) = (0.0625 + n as f32 * 1e-7, 0.125);
                TernaryTensor::new(shape, (0..n).map(code).collect(), w_neg, w_pos).unwrap().into()
            }
            false => DenseTensor::new(shape, vec![0.5; n]).unwrap().into(),
        }
    };
    let tensors = graph.params().iter().map(|param| (param.name.clone(), tensor(param))).collect();
    Network::new(graph.clone(), tensors).unwrap()
}

fn event(graph: &Graph, stage: &str, epoch: usize, epochs: usize, best: &Value) -> Value {
    let progress = epoch as f64 / epochs as f64;
    let mut event = json!({
        "stage": stage, "epoch": epoch, "epochs": epochs, "lr": 0.1, "seconds": 10.0,
        "train_loss": 0.1 + 2.0 * (-4.0 * progress).exp(), "train_top1": 60.0 + 38.0 * progress,
        "validation_top1": 92.0 - 30.0 * (-3.0 * progress).exp(),
        "sparsity": if stage == "pretrain" { 0.0 } else { 0.4 + 0.24 * progress },
        "best": best,
    });
    if stage != "pretrain" {
        let ternary = ternary_network(graph);
        let tensors = ternary.tensors().iter();
        let layers = tensors.filter(|(_, tensor)| matches!(tensor, Tensor::Ternary(_)));
        let layer = |(name, _): (&String, &Tensor)| {
            json!({ "name": name, "w_neg": 0.1, "w_pos": 0.1, "shares": [0.25, 0.5, 0.25],
                "entropy_bits": 1.5 - 0.2 * progress, "lambda": 0.02 })
        };
        event["layers"] = layers.map(layer).collect();
    }
    event
}

fn confusion(classes: usize) -> Vec<Vec<u64>> {
    let count = |class: usize, answer: usize| match class == answer {
        true => 900,
        false => (7 * class + 13 * answer) as u64 % 31,
    };
    (0..classes).map(|class| (0..classes).map(|answer| count(class, answer)).collect()).collect()
}

const CLASSES: [&str; 4] = ["cat", "dog", "<script>alert(1)</script>", "R&D \"frog\""];

fn run() -> TempDir {
    let folder = tempfile::tempdir().unwrap();
    synthetic_run(folder.path(), "digits-cnn", &CLASSES, [4, 2, 1]);
    folder
}

fn edit(folder: &TempDir, file: &str, change: impl FnOnce(&mut Value)) {
    let path = folder.path().join(file);
    let mut value = serde_json::from_slice(&fs::read(&path).unwrap()).unwrap();
    change(&mut value);
    fs::write(path, value.to_string()).unwrap();
}

fn report(folder: &TempDir) -> Report {
    build(folder.path(), "abc1234").unwrap()
}

fn model(report: &Report) -> &Model {
    report.model.as_ref().unwrap()
}

fn failure(folder: &TempDir) -> String {
    format!("{:#}", build(folder.path(), "abc1234").unwrap_err())
}

#[test]
fn the_json_has_what_others_rely_on() {
    let folder = run();
    write(folder.path(), None, "abc1234").unwrap();
    let text = fs::read_to_string(folder.path().join("report.json")).unwrap();
    let json: Value = serde_json::from_str(&text).unwrap();
    let expected = [
        ("/dataset", json!("pets")),
        ("/arch", json!("digits-cnn")),
        ("/float/top1", json!(91.73)),
        ("/ternary/top1", json!(91.01)),
        ("/ternary/sparsity", json!(0.64)),
        ("/float_bytes", json!(4 * report(&folder).parameters)),
        ("/commit", json!("abc1234")),
        ("/seed", json!(363_636)),
        ("/seconds/finetune", json!(900.0)),
        ("/seconds/pretrain", json!(900.0)),
        ("/seconds/eval", json!(1.5)),
        ("/epochs/4/stage", json!("ternarize")),
        ("/confusion/3/3", json!(900)),
        ("/commands/1/command", json!("ec2t train --run-dir runs/pets")),
        ("/settings/pretrain/optimizer", json!("sgd")),
        ("/layers/1/name", json!("conv2")),
        ("/layers/1/shape", json!([32, 16, 3, 3])),
    ];
    for (path, value) in expected {
        assert_eq!(json.pointer(path), Some(&value), "{path}");
    }
    let file_bytes = fs::metadata(folder.path().join("model.ec2t")).unwrap().len();
    let ratio = json["float_bytes"].as_f64().unwrap() / file_bytes as f64;
    assert_eq!(json["file_bytes"], file_bytes);
    assert_eq!(json["compression"], ratio);
}

#[test]
fn the_summary_has_the_numbers_that_matter() {
    let mut report = report(&run());
    let model = report.model.take();
    report.model = model.map(|model| Model { file_bytes: 15_468, compression: 18.125, ..model });
    assert_eq!(
        report.summary(),
        "digits-cnn on pets: top-1 91.01 % ternary, 91.73 % float\n\
         64.0 % zeros, 15,468 bytes, 18.1 × smaller"
    );
}

#[test]
fn the_parts_of_the_file_add_up() {
    let report = report(&run());
    let layers: usize = model(&report).layers.iter().map(|layer| layer.stats.bytes).sum();
    let rest: usize = model(&report).rest.iter().map(|part| part.bytes).sum();
    assert_eq!((layers + rest) as u64, model(&report).file_bytes);
    let totals: Vec<u64> = model(&report).sizes.iter().map(|step| step.total()).collect();
    let two_bits = report.float_bytes - 4 * model(&report).ternary.weights
        + model(&report).ternary.weights / 4;
    assert_eq!(totals, [report.float_bytes, two_bits, model(&report).file_bytes]);
}

#[test]
fn operations_are_those_of_the_dense_sparse_and_ternary_network() {
    let folder = run();
    let report = write(folder.path(), None, "abc1234").unwrap();
    let graph = ec2t_scale::build("digits-cnn", &options(4)).unwrap();
    let network = fold_batch_norm(&ternary_network(&graph));
    let rules = Rules { mode: Mode::Strict, bits: 32 };
    let scores = [
        Score::of_graph(&graph, rules).unwrap(),
        Score::of_network(&network.to_dense(), rules).unwrap(),
        Score::of_network(&network, rules).unwrap(),
    ];
    let expected = scores.map(|score| score.total.operations);
    let expected = expected.map(|counts| (counts.multiplications, counts.additions));
    let [dense, sparse, ternary] = expected;
    assert!(dense.0 > sparse.0 && sparse.0 > ternary.0 && sparse.1 == ternary.1, "{expected:?}");
    assert!(dense.0 > report.macs, "activations count too");
    let found = model(&report).operations.iter().map(|step| (step.multiplications, step.additions));
    assert_eq!(found.collect::<Vec<_>>(), expected);

    let [first, last] = [dense, ternary].map(|(products, sums)| grouped(products + sums));
    let card = fs::read_to_string(folder.path().join("MODEL_CARD.md")).unwrap();
    assert!(card.contains(&format!("| multiplications and additions | {first} | {last} |")));
    let page = html(&report);
    let hint = format!(
        "ternary weights: {} multiplications, {} additions",
        grouped(ternary.0),
        grouped(ternary.1)
    );
    assert!(page.contains(&hint) && page.contains("× fewer</span>"), "{hint}");
    for step in &model(&report).operations {
        assert!(page.contains(step.counts), "{}", step.name);
    }
}

#[test]
fn entropy_is_the_mean_over_weights() {
    let report = report(&run());
    let network = ternary_network(&ec2t_scale::build("digits-cnn", &options(4)).unwrap());
    let (mut bits, mut weights) = (0.0, 0);
    for tensor in network.tensors().values() {
        if let Tensor::Ternary(ternary) = tensor {
            bits += ternary.counts().entropy_bits() * ternary.codes().len() as f64;
            weights += ternary.codes().len();
        }
    }
    assert_eq!(model(&report).ternary.weights, weights as u64);
    assert!((model(&report).ternary.entropy_bits.unwrap() - bits / weights as f64).abs() < 1e-12);
    let of_epochs: Vec<_> = report.epochs.iter().map(|epoch| epoch.entropy_bits).collect();
    assert_eq!(of_epochs[..4], [None; 4]);
    assert!((of_epochs[4].unwrap() - 1.4).abs() < 1e-12);
}

#[test]
fn the_page_says_what_the_json_says() {
    let folder = run();
    let report = write(folder.path(), None, "abc1234").unwrap();
    let page = fs::read_to_string(folder.path().join("report.html")).unwrap();
    assert_eq!(page, html(&report));
    let file_bytes = grouped(model(&report).file_bytes);
    for text in [
        "<h1>digits-cnn on pets</h1>",
        "91.01 %",
        "91.73 % in floats: −0.72 points",
        "64.0 %",
        "abc1234",
        "363636",
        "ec2t train --run-dir runs/pets",
        "15 min 00 s",
        "<dt>optimizer</dt><dd>sgd</dd>",
        "conv5: 12.5 % at −0.0662, 75.0 % at 0, 12.5 % at +0.1250",
        "ternarize epoch 2: validation 90.51, training 98.00",
        &file_bytes,
        include_str!("style.css"),
    ] {
        assert!(page.contains(text), "`{text}` is not in the page");
    }
    for wrong in ["NaN", "inf,", "inf ", "None", "<script", "<dd></dd>", "<th></th>", "http"] {
        assert!(!page.contains(wrong), "`{wrong}` is in the page");
    }
    assert!(page.contains("&lt;script&gt;alert(1)&lt;/script&gt;"));
    assert!(page.contains("R&amp;D &quot;frog&quot;"));
    check_balance(&page);
}

/// Insists that every tag is closed, in order.
fn check_balance(page: &str) {
    let mut open = Vec::new();
    let body = page.strip_prefix("<!DOCTYPE html>").expect("a document type");
    for piece in body.split('<').skip(1) {
        let (tag, text) = piece.split_once('>').expect("a tag ends");
        assert!(!text.contains('>') && tag.matches('"').count().is_multiple_of(2), "{piece}");
        match tag.strip_prefix('/') {
            Some(name) => assert_eq!(open.pop(), Some(name)),
            None if tag.ends_with('/') => {}
            None => open.push(tag.split(' ').next().unwrap()),
        }
    }
    assert_eq!(open, Vec::<&str>::new());
}

#[test]
fn confident_mistakes_are_shown_as_pictures() {
    let folder = whole_run();
    write(folder.path(), None, "abc1234").unwrap();
    let page = fs::read_to_string(folder.path().join("report.html")).unwrap();
    assert_eq!(page.matches("src=\"data:image/png;base64,").count(), 24);
    assert!(page.contains("<span>") && page.contains(", 99.0 %</span>") && page.contains("53.0 %"));
    assert!(!page.contains("Without pictures"));
    check_balance(&page);

    // Another dataset than that of the evaluation.
    edit(&folder, "eval.json", |eval| {
        let class = &mut eval["ternary"]["mistakes"][3]["class"];
        *class = json!((class.as_u64().unwrap() + 1) % 10);
    });
    write(folder.path(), None, "abc1234").unwrap();
    let page = fs::read_to_string(folder.path().join("report.html")).unwrap();
    assert!(page.contains("Without pictures") && !page.contains("<img"));
    assert_eq!(page.matches("class=\"truth\"").count(), 24);

    edit(&folder, "eval.json", |eval| eval["ternary"]["mistakes"][3]["answer"] = json!(10));
    let message = failure(&folder);
    assert!(message.contains("eval.json") && message.contains("classes below 10"), "{message}");
}

#[test]
fn many_classes_give_a_list_of_errors() {
    let folder = tempfile::tempdir().unwrap();
    let names: Vec<String> = (0..21).map(|class| format!("kind {class}")).collect();
    let names: Vec<&str> = names.iter().map(String::as_str).collect();
    synthetic_run(folder.path(), "digits-cnn", &names, [1, 1, 1]);
    let page = html(&report(&folder));
    assert!(page.contains("Most frequent errors") && !page.contains("class=\"matrix"));
    assert!(page.contains("<tr><th>kind 0</th><td>kind 7</td><td class=\"n\">29</td>"), "{page}");
    check_balance(&page);
}

#[test]
fn a_checkpoint_takes_the_place_of_pretraining() {
    let folder = run();
    let summary = json!({ "stage": "pretrain", "init": "resnet20.th", "seconds": 0.5 });
    fs::write(folder.path().join("pretrain/summary.json"), summary.to_string()).unwrap();
    let report = report(&folder);
    assert!(report.epochs.iter().all(|epoch| epoch.stage != "pretrain"));
    assert_eq!(report.seconds["pretrain"], 0.5);
    assert!(html(&report).contains("not trained in this run: it is resnet20.th."));
}

#[test]
fn a_run_without_epochs_stamps_and_commands_has_a_report() {
    let folder = run();
    fs::remove_file(folder.path().join("events.jsonl")).unwrap();
    fs::remove_dir_all(folder.path().join("stamps")).unwrap();
    fs::remove_file(folder.path().join("commands.json")).unwrap();
    let report = report(&folder);
    let page = html(&report);
    assert!(report.commands.is_empty() && !page.contains("<h3>Commands"));
    assert!(!page.contains("class=\"chart"));
    check_balance(&page);
}

#[test]
fn commands_have_quotes_and_remarks_where_there_is_need() {
    let folder = run();
    edit(&folder, "commands.json", |commands| {
        commands["pretrain"]["words"][3] = json!("my <runs>/a");
        commands["pretrain"]["resumed"] = json!(2);
        commands["eval"]["commit"] = json!("def5678");
    });
    let report = write(folder.path(), None, "abc1234").unwrap();
    let card = fs::read_to_string(folder.path().join("MODEL_CARD.md")).unwrap();
    let train = "ec2t train --run-dir 'my <runs>/a'  # 2 times gone on with\n";
    assert!(card.contains(train), "{card}");
    assert!(card.contains("ec2t eval --run-dir runs/pets  # by version def5678\n"), "{card}");
    let escaped = train.replace('<', "&lt;").replace('>', "&gt;");
    assert!(html(&report).contains(&escaped));

    fs::write(folder.path().join("commands.json"), "[]").unwrap();
    let message = failure(&folder);
    assert!(message.contains("commands.json"), "{message}");
}

#[test]
fn each_layer_has_a_curve_of_each_quantity() {
    let report = report(&run());
    let page = html(&report);
    let ternary = model(&report).layers.iter().filter(|layer| layer.clusters.is_some()).count();
    // In the panels of two stages.
    assert_eq!(page.matches("class=\"curve layer\"").count(), 2 * 6 * ternary);
    for title in ["Entropy of each layer", "Negative centroids", "λ of each layer"] {
        assert!(page.contains(&format!("<strong>{title}</strong>")), "{title}");
    }
    assert!(page.contains("conv2.weight 1.400,"), "a hint names layers and their entropy");
}

#[test]
fn quantities_that_no_epoch_tells_are_not_drawn() {
    let folder = run();
    let log = folder.path().join("events.jsonl");
    let text = fs::read_to_string(&log).unwrap();
    fs::write(&log, text.replace("\"lambda\":0.02,", "")).unwrap();
    let page = html(&report(&folder));
    assert!(page.contains("Positive centroids") && !page.contains("λ of each layer"));
    fs::remove_file(&log).unwrap();
    assert!(!html(&report(&folder)).contains("Layers over time"));
}

#[test]
fn a_sweep_is_drawn_with_its_front() {
    let page = html(&report(&whole_run()));
    assert!(page.contains("<h2>Sweep</h2>"));
    assert_eq!(
        page.matches("class=\"dot main\" cx").count(),
        2 + 4,
        "and in four charts a stage of one epoch"
    );
    assert_eq!(page.matches("class=\"front\"").count(), 1);
    assert!(page.contains("gamma=0.1,seed=1: 91.00 %, 9,000 bytes, 50.0 % zeros"), "{page}");
    check_balance(&page);
    assert!(!html(&report(&run())).contains("Sweep"));

    let folder = run();
    add_sweep(&folder, &[(14_000, 92.5, true)]);
    let page = html(&report(&folder));
    assert!(!page.contains("NaN") && page.matches("class=\"front\"").count() == 0);

    fs::write(folder.path().join("sweep/sweep.json"), "{}").unwrap();
    let message = failure(&folder);
    assert!(message.contains("sweep.json, which `ec2t sweep` writes"), "{message}");
}

#[test]
fn the_card_says_what_the_json_says() {
    let folder = run();
    edit(&folder, "data.json", |data| data["name"] = json!("cifar10"));
    let report = write(folder.path(), None, "abc1234").unwrap();
    let card = fs::read_to_string(folder.path().join("MODEL_CARD.md")).unwrap();
    let mut parts = card.splitn(3, "---\n");
    let (before, header, text) = (parts.next(), parts.next().unwrap(), parts.next().unwrap());
    assert_eq!(before, Some(""));
    for line in
        ["license: unknown\n", "datasets: [\"cifar10\"]\n", "type: accuracy, value: 0.9101 }"]
    {
        assert!(header.contains(line), "{line}: {header}");
    }
    let file_bytes = grouped(model(&report).file_bytes);
    for part in [
        "# digits-cnn on cifar10, ternary",
        "| top-1, 10,000 test images | 91.73 % | 91.01 % |",
        &format!("`model.ec2t` has {file_bytes} bytes"),
        "45,000 training, 5,000 validation and 10,000 test images",
        "CIFAR-10: A. Krizhevsky",
        "Licence: none stated by the publisher.",
        "ec2t train --run-dir runs/pets\n",
        "Version abc1234, seed 363636.",
        "The class with most errors is ",
    ] {
        assert!(text.contains(part), "`{part}` is not in: {text}");
    }
}

#[test]
fn the_sparsity_of_ternarization_stands_in() {
    let folder = run();
    edit(&folder, "finetune/summary.json", |summary| {
        summary.as_object_mut().unwrap().remove("sparsity");
    });
    edit(&folder, "ternarize/summary.json", |summary| summary["sparsity"] = json!(0.625));
    assert_eq!(model(&report(&folder)).ternary.sparsity, 0.625);
}

#[test]
fn a_missing_file_is_named_with_its_writer() {
    for (file, writer) in [
        ("config.toml", "cargo xtask pipeline"),
        ("data.json", "ec2t data prepare"),
        ("arch.json", "ec2t scale"),
        ("pretrain/summary.json", "ec2t train"),
    ] {
        let folder = run();
        fs::remove_file(folder.path().join(file)).unwrap();
        let message = failure(&folder);
        assert!(message.contains(&format!("{file}, which `{writer}` writes")), "{message}");
        assert!(write(folder.path(), None, "abc1234").is_err());
        assert!(!folder.path().join("report.json").exists());
    }
}

/// The files after pretraining, and the stages that write them.
const LATER: [(&str, &str); 4] = [
    ("ternarize/summary.json", "ternarize"),
    ("finetune/summary.json", "finetune"),
    ("model.ec2t", "export"),
    ("eval.json", "eval"),
];

/// A run that has a sweep, and of the later stages only so many.
pub(super) fn run_up_to(stages: usize) -> TempDir {
    let folder = run();
    add_sweep(&folder, &[(14_000, 92.5, true), (9_000, 91.0, true)]);
    for (file, _) in &LATER[stages..] {
        fs::remove_file(folder.path().join(file)).unwrap();
    }
    folder
}

#[test]
fn a_run_that_has_not_ended_has_a_report_that_says_so() {
    let sections = ["Training", "Sweep", "How to repeat it", "To come"];
    for (there, (next, _)) in LATER.iter().enumerate() {
        let folder = run_up_to(there);
        let report = write(folder.path(), None, "abc1234").unwrap();
        let page = fs::read_to_string(folder.path().join("report.html")).unwrap();
        assert!(!folder.path().join("MODEL_CARD.md").exists());
        let json = serde_json::to_value(&report).unwrap();
        let commands = json["to_come"].as_array().unwrap();
        assert_eq!((commands.len(), &commands[0]["file"]), (4 - there, &json!(next)));
        for (command, (file, stage)) in commands.iter().zip(&LATER[there..]) {
            let line = format!("ec2t {stage} --run-dir {}", folder.path().display());
            assert_eq!(*command, json!({ "file": file, "command": line }));
            assert!(page.contains(&line) && page.contains(file), "{file}");
        }
        for section in sections {
            assert!(page.contains(&format!("<h2>{section}</h2>")), "{section}");
        }
        assert_eq!(page.contains("<strong>Entropy</strong>"), there > 0);
        for section in ["Weights", "Size", "Operations"] {
            assert_eq!(page.contains(&format!("<h2>{section}</h2>")), there == 3, "{section}");
        }
        assert!(!page.contains("<h2>Errors</h2>") && json.get("confusion").is_none());
        assert_eq!(json.get("file_bytes").is_some(), there == 3);
        assert_eq!(json["training"].as_array().unwrap().len(), 1 + there.min(2));
        let last = ["pretrain", "ternarize", "finetune", "finetune"][there];
        let note = format!("of the validation images, after {last}");
        assert!(page.contains(&note) && page.contains("92.50 %"), "{note}");
        assert!(report.epochs.iter().all(|epoch| epoch.stage == "pretrain" || there > 0));
        check_balance(&page);
    }
    assert!(!html(&report(&run())).contains("To come"));
}

#[test]
fn the_summary_of_a_run_that_has_not_ended_says_how_to_go_on() {
    let folder = run_up_to(1);
    let finetune = format!("next: ec2t finetune --run-dir {}", folder.path().display());
    assert_eq!(
        report(&folder).summary(),
        format!("digits-cnn on pets: validation 92.50 % after ternarize\n{finetune}")
    );
    // A checkpoint that was not tested.
    let folder = run_up_to(0);
    edit(&folder, "pretrain/summary.json", |summary| {
        summary.as_object_mut().unwrap().remove("best");
    });
    assert!(report(&folder).summary().starts_with("digits-cnn on pets: not tested\nnext: "));
    assert!(html(&report(&folder)).contains("not measured yet"));
}

#[test]
fn what_comes_after_a_missing_stage_does_not_count() {
    let folder = run();
    fs::remove_file(folder.path().join("finetune/summary.json")).unwrap();
    let report = report(&folder);
    assert!(report.model.is_none());
    let files: Vec<&str> = report.to_come.iter().map(|stage| stage.file.as_str()).collect();
    assert_eq!(files, ["finetune/summary.json", "model.ec2t", "eval.json"]);
}

#[test]
fn a_malformed_file_is_named_with_its_fault() {
    let folder = run();
    edit(&folder, "eval.json", |eval| eval["ternary"]["confusion"] = json!([[1, 2], [3, 4]]));
    let message = failure(&folder);
    assert!(message.contains("eval.json") && message.contains("4 rows"), "{message}");

    let folder = run();
    edit(&folder, "data.json", |data| data["classes"] = json!([1, 2, 3, 4]));
    let message = failure(&folder);
    assert!(message.contains("data.json") && message.contains("a string"), "{message}");

    let folder = run();
    let log = folder.path().join("events.jsonl");
    let text = fs::read_to_string(&log).unwrap();
    fs::write(&log, text.replacen("conv2.weight", "conv9.weight", 1)).unwrap();
    let message = failure(&folder);
    assert!(message.contains("line 5: arch.json has no weights `conv9.weight`"), "{message}");

    let folder = run();
    let file = folder.path().join("model.ec2t");
    let mut bytes = fs::read(&file).unwrap();
    *bytes.last_mut().unwrap() ^= 1;
    fs::write(&file, bytes).unwrap();
    let message = failure(&folder);
    assert!(message.contains("model.ec2t") && message.contains("checksum"), "{message}");

    let folder = run();
    fs::write(folder.path().join("config.toml"), "[run]\nseed = -1\n").unwrap();
    let message = failure(&folder);
    assert!(message.contains("config.toml") && message.contains("`run.seed`"), "{message}");
}
