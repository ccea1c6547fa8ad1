//! `ec2t sweep` on the embedded digits: grids, searches, and what they refuse.

use std::fs;

use serde_json::Value;

use crate::util::{Sandbox, assert_has, epochs, file_len};

const USAGE: i32 = 2;
/// What each point writes, but for the time that it took.
const FILES: [&str; 3] = ["ternarize/best.safetensors", "finetune/best.safetensors", "model.ec2t"];

/// A run with its float network.
fn trained(pretrain: i64, ternarize: i64, finetune: i64) -> Sandbox {
    let sandbox = Sandbox::with_run(&epochs(pretrain, ternarize, finetune));
    sandbox.good("train --run-dir run");
    sandbox
}

fn folder(point: &str) -> String {
    format!("run/sweep/{point}")
}

/// All points of a sweep with their names.
fn points(sweep: &Value) -> Vec<(&str, &Value)> {
    let points = sweep["points"].as_array().unwrap();
    points.iter().map(|point| (point["name"].as_str().unwrap(), point)).collect()
}

const GRID: &str = "sweep --run-dir run --gamma 0.05,0.6 --seed 1,2";
const NAMES: [&str; 4] = [
    "gamma=0.05,init_scale=0.3,seed=1",
    "gamma=0.05,init_scale=0.3,seed=2",
    "gamma=0.6,init_scale=0.3,seed=1",
    "gamma=0.6,init_scale=0.3,seed=2",
];

#[test]
fn a_grid_is_trained_and_goes_on_where_it_stopped() {
    let sandbox = trained(3, 2, 1);
    let said = sandbox.good(GRID);
    assert_has(&said.stderr, &["point 1 of 4: gamma=0.05,init_scale=0.3,seed=1", "point 4 of 4"]);
    let mean = ["gamma=0.6,init_scale=0.3, mean of 2 seeds", " ± "];
    assert_has(&said.stdout, &[&mean[..], &NAMES, &["\n* gamma", "run/sweep/POINT"]].concat());

    let sweep = sandbox.read_json("run/sweep/sweep.json");
    the_table_says_what_the_files_hold(&sandbox, &sweep);
    the_points_are_runs(&sandbox);
    the_seeds_share_their_validation_images(&sandbox);

    let files = || {
        let path = |(point, file)| format!("{}/{file}", folder(point));
        let all = NAMES.into_iter().flat_map(|point| FILES.map(|file| (point, file)));
        all.map(|at| sandbox.read(&path(at))).collect::<Vec<_>>()
    };
    let before = files();
    let noted = |file: &str, stage: &str| {
        let words = sandbox.read_json(file)[stage]["words"].clone();
        serde_json::from_value::<Vec<String>>(words).unwrap().join(" ")
    };
    assert_eq!(noted("run/commands.json", "sweep"), format!("ec2t {GRID}"));
    let of_point = format!("ec2t ternarize --run-dir {} --device=cpu", folder(NAMES[0]));
    let file = format!("{}/commands.json", folder(NAMES[0]));
    assert_has(&noted(&file, "ternarize"), &[&of_point]);
    fs::remove_dir_all(sandbox.path(&folder(NAMES[3]))).unwrap();
    fs::remove_dir_all(sandbox.path(&folder(NAMES[1])).join("finetune")).unwrap();
    let said = sandbox.good(&format!("{GRID} --json"));
    assert!(files() == before, "other bytes");
    assert_has(&said.stderr, &["2 of 4 points are finished already", "point 2 of 2: "]);
    let again: Value = serde_json::from_str(&said.stdout).unwrap();
    assert_eq!(again, sandbox.read_json("run/sweep/sweep.json"));
    assert_eq!(points(&again)[0], points(&sweep)[0]);
}

fn the_table_says_what_the_files_hold(sandbox: &Sandbox, sweep: &Value) {
    let points = points(sweep);
    assert_eq!(points.iter().map(|(name, _)| *name).collect::<Vec<_>>(), NAMES);
    for (name, point) in &points {
        let summary = sandbox.read_json(&format!("{}/finetune/summary.json", folder(name)));
        assert_eq!(point["sparsity"], summary["sparsity"]);
        assert_eq!(point["validation_top1"], summary["best"]["top1"]);
        let file = format!("{}/model.ec2t", folder(name));
        assert_eq!(point["bytes"], file_len(&sandbox.path(&file)));
        let network = ec2t_format::read(&sandbox.read(&file)).unwrap();
        assert_eq!(point["entropy_bits"].as_f64(), network.entropy_bits());
    }
    let number = |index: usize, key: &str| points[index].1[key].as_f64().unwrap();
    assert!(number(2, "sparsity") > number(0, "sparsity"));
    assert!(points.iter().any(|(_, point)| point["pareto"] == true));
    let seeds = &sweep["seeds"][1];
    assert_eq!((&seeds["name"], &seeds["seeds"]), (&"gamma=0.6,init_scale=0.3".into(), &2.into()));
    let mean = (number(2, "validation_top1") + number(3, "validation_top1")) / 2.0;
    assert_eq!(seeds["validation_top1"]["mean"], mean);
}

/// Their settings are those of the run but for the point's own, and all commands work.
fn the_points_are_runs(sandbox: &Sandbox) {
    let point = folder(NAMES[3]);
    let table = |file: &str| sandbox.read_text(file).parse::<toml::Table>().unwrap();
    let (mut expected, found) = (table("run/config.toml"), table(&format!("{point}/config.toml")));
    expected["ternarize"]["gamma"] = 0.6.into();
    expected["run"]["seed"] = 2.into();
    expected["data"].as_table_mut().unwrap().insert("split_seed".into(), 1.into());
    assert_eq!(found, expected);
    let float = "pretrain/best.safetensors";
    assert_eq!(sandbox.read(&format!("{point}/{float}")), sandbox.read(&format!("run/{float}")));

    for name in NAMES {
        assert!(!sandbox.path(&folder(name)).join("eval.json").exists(), "tested {name}");
    }
    let model = sandbox.read(&format!("{point}/model.ec2t"));
    for stage in ["ternarize", "finetune", "export", "eval", "report"] {
        sandbox.good(&format!("{stage} --run-dir {point}"));
    }
    assert!(sandbox.read(&format!("{point}/model.ec2t")) == model);
    fs::remove_file(sandbox.path(&format!("{point}/eval.json"))).unwrap();
}

/// The float network has seen all other images.
fn the_seeds_share_their_validation_images(sandbox: &Sandbox) {
    let labels = |name: &str| {
        let file = sandbox.read(&format!("{}/ternarize/last.safetensors", folder(name)));
        let length = u64::from_le_bytes(file[..8].try_into().unwrap()) as usize;
        let header: Value = serde_json::from_slice(&file[8..8 + length]).unwrap();
        let progress = header["__metadata__"]["ec2t"].as_str().unwrap();
        let settings = &serde_json::from_str::<Value>(progress).unwrap()["settings"];
        (settings["labels"].clone(), settings["seed"].clone())
    };
    let (first, second) = (labels(NAMES[0]), labels(NAMES[1]));
    assert_eq!(first.0, second.0);
    assert_eq!((first.1, second.1), (1.into(), 2.into()));
}

#[test]
fn other_settings_of_the_run_are_refused_for_its_points() {
    let sandbox = trained(1, 1, 1);
    let words = "sweep --run-dir run --method twn --threshold 0.7";
    sandbox.good(words);
    let settings = sandbox.read_text("run/config.toml").replace("batch = 32", "batch = 64");
    sandbox.write("run/config.toml", settings);
    let output = sandbox.ec2t(words).output().unwrap();
    let stderr = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(USAGE), "{stderr}");
    let name = "method=twn,threshold=0.7,seed=1";
    assert_has(&stderr, &[&format!("point {name}: "), "batch: 32 → 64", "restart"]);
    sandbox.good(&format!("{words} --restart"));
    sandbox.good(words);
}

#[test]
fn a_search_finds_the_zeros_that_are_wanted() {
    let sandbox = trained(3, 2, 1);
    let words = "sweep --run-dir run --target-sparsity 0.7 --tolerance 0.01 --json";
    let sweep = sandbox.json(words);
    let search = &sweep["search"];
    assert_eq!(
        (&search["reached"], &search["goal"]["target_sparsity"]),
        (&true.into(), &0.7.into())
    );
    let points = points(&sweep);
    assert!(points.len() <= 8);
    let (found, point) = points.last().unwrap();
    assert_eq!(search["found"], *found);
    assert!((point["sparsity"].as_f64().unwrap() - 0.7).abs() <= 0.01, "{point}");
    assert_eq!(sandbox.json(words), sweep);

    let output = sandbox.ec2t("sweep --run-dir run --target-sparsity 1").output().unwrap();
    let stderr = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(1), "{stderr}");
    assert_has(&stderr, &["no point has 100.00 % zeros; out of reach: none has more", "gamma=1,"]);
    assert_has(&String::from_utf8(output.stdout).unwrap(), &["gamma=1,init_scale=0.3,seed=1"]);
    assert_eq!(sandbox.read_json("run/sweep/sweep.json")["search"]["reached"], false);
}

#[test]
fn a_search_finds_the_largest_file_that_is_small_enough() {
    let sandbox = trained(2, 1, 1);
    let words = "sweep --run-dir run --target-size 14000 --tolerance 0.05 --json";
    let sweep = sandbox.json(words);
    let search = &sweep["search"];
    assert_eq!(
        (&search["reached"], &search["goal"]["target_size"]),
        (&true.into(), &14_000.into())
    );
    let points = points(&sweep);
    let bytes = |point: &Value| point["bytes"].as_u64().unwrap();
    let (_, found) = points.iter().find(|(name, _)| search["found"] == *name).unwrap();
    assert!(bytes(found) <= 14_000, "{sweep}");
    assert!(bytes(found) >= 13_300 || points.len() == 8, "{sweep}");
    let fits = points.iter().map(|(_, point)| bytes(point)).filter(|bytes| *bytes <= 14_000);
    assert_eq!(fits.max(), Some(bytes(found)));

    let output = sandbox.ec2t("sweep --run-dir run --target-size 100").output().unwrap();
    let stderr = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(1), "{stderr}");
    assert_has(&stderr, &["every file is larger than --target-size"]);
}

#[test]
fn a_search_finds_how_sparse_a_network_may_become() {
    let sandbox = trained(4, 2, 1);
    let sweep = sandbox.json("sweep --run-dir run --max-drop 3 --tolerance 0.02 --json");
    let search = &sweep["search"];
    assert_eq!(search["reached"], true, "{sweep}");
    let goal = &search["goal"]["max_drop"];
    let least = goal["float_top1"].as_f64().unwrap() - goal["points"].as_f64().unwrap();
    let number = |point: &Value, key: &str| point[key].as_f64().unwrap();
    let points = points(&sweep);
    let (_, found) = points.iter().find(|(name, _)| search["found"] == *name).unwrap();
    assert!(number(found, "validation_top1") >= least, "{sweep}");
    for (_, point) in &points {
        let sparser = number(point, "sparsity") > number(found, "sparsity");
        assert!(!sparser || number(point, "validation_top1") < least, "{sweep}");
    }
}

#[test]
fn what_makes_no_sense_is_refused_before_anything_is_written() {
    let sandbox = Sandbox::with_run(&epochs(1, 1, 1));
    let missing = ["run/pretrain/best.safetensors", "float network", "`ec2t train`"];
    assert_has(&sandbox.fail(USAGE, "sweep --run-dir run"), &missing);
    sandbox.good("train --run-dir run");
    for (words, part) in [
        ("--target-sparsity 1.5", "must be from 0 to 1"),
        ("--target-sparsity half", "must be from 0 to 1"),
        ("--max-drop=-1", "must be a number from 0"),
        ("--target-sparsity 0.5 --max-drop 1", "cannot be used with"),
        ("--target-size 9000 --max-drop 1", "cannot be used with"),
        ("--target-size -1", "-1"),
        ("--tolerance 0.1", "--target-sparsity"),
        ("--method tqt", "unknown method `tqt`; expected ec2t, reference, ttq or twn"),
        ("--gamma 0.1,1.2", "gamma must be from 0 to 1, found 1.2"),
        ("--gamma 0.1,,0.2", "--gamma"),
        ("--init-scale 0", "init_scale must be above 0"),
        ("--method ttq --threshold 1", "threshold must be from 0 to below 1"),
        ("--threshold 0.1", "--threshold changes nothing with the method ec2t"),
        ("--method ttq --gamma 0.1", "--gamma changes nothing with the method ttq"),
        ("--target-sparsity 0.5 --gamma 0.1", "a search finds --gamma itself"),
        ("--method twn --max-drop 1 --seed 1,2", "a search finds --threshold itself"),
    ] {
        assert_has(&sandbox.fail(USAGE, &format!("sweep --run-dir run {words}")), &[part]);
    }
}

/// A strength that training moves by itself can't be searched, or have many values.
#[test]
fn a_target_in_the_settings_leaves_no_strength_to_choose() {
    let sandbox = trained(1, 1, 1);
    let config = sandbox.path("run/config.toml");
    let text = fs::read_to_string(&config).unwrap();
    fs::write(&config, text.replace("target_sparsity = 0.0", "target_sparsity = 0.5")).unwrap();
    for words in ["--gamma 0.1", "--target-sparsity 0.6", "--max-drop 1"] {
        let said = sandbox.fail(USAGE, &format!("sweep --run-dir run {words}"));
        assert_has(&said, &["ternarize.target_sparsity", "set it to 0"]);
    }
    sandbox.good("sweep --run-dir run --seed 1,2");
}
