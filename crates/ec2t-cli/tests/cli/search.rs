//! `ec2t scale search` on the embedded digits.

use std::process::{Command, Stdio};
use std::thread::sleep;
use std::time::{Duration, Instant};

use serde_json::Value;

use crate::util::{Sandbox, assert_has};

const USAGE: i32 = 2;
const WORDS: &str = "scale search --arch resnet20 --dataset digits --epochs 1 --subset 300 \
                     --lr 0.05 --grid 0.3:0.5,0.3:1.01,0.6:1.02 --run-dir run";

fn point(name: &str) -> String {
    format!("run/search/{name}")
}

fn rows(search: &Value) -> Vec<(String, f64)> {
    let row = |row: &Value| {
        (row["name"].as_str().unwrap().to_owned(), row["validation_top1"].as_f64().unwrap())
    };
    search["points"].as_array().unwrap().iter().map(row).collect()
}

#[test]
fn a_search_scales_the_best_of_the_grid() {
    let sandbox = Sandbox::new();
    let said = sandbox.good(&format!("{WORDS} --max-phi 2"));
    assert_has(&said.stderr, &["point 3 of 3: depth=0.6,width=1.02,phi=1", "the best of the grid"]);
    assert_has(&said.stdout, &["\n* depth=", "validation %"]);
    let search = sandbox.read_json("run/search/search.json");
    let rows = rows(&search);
    let names: Vec<_> = rows.iter().map(|(name, _)| name.as_str()).collect();
    assert_eq!(
        names[..3],
        ["0.3,width=0.5", "0.3,width=1.01", "0.6,width=1.02"]
            .map(|rest| { format!("depth={rest},phi=1") })
    );
    let best = rows[1..3].iter().max_by(|a, b| a.1.total_cmp(&b.1)).unwrap();
    let chosen = search["best"].as_str().unwrap();
    assert_eq!(rows.iter().find(|(name, _)| name == chosen).unwrap().1, best.1);
    assert_eq!(names[3], chosen.replace("phi=1", "phi=2"));
    assert_eq!(search["largest"], names[3]);

    for (row, (name, top1)) in search["points"].as_array().unwrap().iter().zip(&rows) {
        let folder = point(name);
        let summary = sandbox.read_json(&format!("{folder}/pretrain/summary.json"));
        assert_eq!(summary["best"]["top1"], *top1);
        assert_eq!(
            sandbox.json(&format!("scale --run-dir {folder} --json"))["total"]["macs"],
            row["macs"]
        );
        assert!(!sandbox.path(&format!("{folder}/eval.json")).exists(), "tested {name}");
    }
    let data = sandbox.read_json("run/data.json");
    assert_eq!(
        (&data["counts"]["train"], &data["counts"]["validation"]),
        (&240.into(), &60.into())
    );
    what_is_finished_is_not_trained_again(&sandbox, &search, names[1]);
}

fn what_is_finished_is_not_trained_again(sandbox: &Sandbox, search: &Value, name: &str) {
    let float = format!("{}/pretrain/best.safetensors", point(name));
    let before = sandbox.read(&float);
    std::fs::remove_dir_all(sandbox.path(&point(name)).join("pretrain")).unwrap();
    let said = sandbox.good(&format!("{WORDS} --max-phi 2 --json"));
    assert_has(&said.stderr, &["2 of 3 points are finished already", "1 of 1 points are"]);
    assert!(sandbox.read(&float) == before);
    let again: Value = serde_json::from_str(&said.stdout).unwrap();
    assert_eq!(rows(&again), rows(search));

    let stderr = sandbox.fail(USAGE, &WORDS.replace("--epochs 1", "--epochs 2"));
    assert_has(&stderr, &["pretrain.epochs: 1 → 2", "--restart"]);
    let stderr = sandbox.fail(USAGE, &WORDS.replace("--subset 300", "--subset 301"));
    assert_has(&stderr, &["data.subset: 300 → 301"]);
}

#[test]
fn a_search_ends_where_it_is_accurate_enough() {
    let sandbox = Sandbox::new();
    let found = sandbox.json(&format!("{WORDS} --until 0 --json"));
    assert_eq!((&found["reached"], rows(&found).len()), (&true.into(), 3));
    let output = sandbox.ec2t(&format!("{WORDS} --until 1 --max-phi 1")).output().unwrap();
    let stderr = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(1), "{stderr}");
    assert_has(&stderr, &["no point has 100.00 % up to depth=", "--max-phi"]);
}

#[test]
fn points_at_once_give_the_same_networks() {
    let [alone, together] = [Sandbox::new(), Sandbox::new()];
    alone.good(&format!("{WORDS} --max-phi 1"));
    together.good(&format!("{WORDS} --max-phi 1 --jobs 3"));
    for name in ["depth=0.3,width=0.5,phi=1", "depth=0.6,width=1.02,phi=1"] {
        let file = format!("{}/pretrain/best.safetensors", point(name));
        assert!(alone.read(&file) == together.read(&file), "{name}");
        assert_has(&together.read_text(&format!("{}/log.txt", point(name))), &["pretrain 1/1"]);
    }
}

/// The signal reaches the command alone, as from a scheduler; its child has to stop too.
#[test]
fn a_search_that_is_stopped_goes_on() {
    let sandbox = Sandbox::new();
    let words = "scale search --arch resnet20 --dataset digits --epochs 40 --grid 0.3:1.01 \
                 --max-phi 1 --run-dir run";
    let command = &mut sandbox.ec2t(words);
    let child = command.stdout(Stdio::null()).stderr(Stdio::piped()).spawn().unwrap();
    let folder = point("depth=0.3,width=1.01,phi=1");
    let begun = Instant::now();
    while !sandbox.path(&folder).join("pretrain/last.safetensors").exists() {
        assert!(begun.elapsed() < Duration::from_secs(120), "no checkpoint");
        sleep(Duration::from_millis(5));
    }
    let kill = Command::new("kill").arg(child.id().to_string()).status();
    assert!(kill.unwrap().success());
    let output = child.wait_with_output().unwrap();
    let stderr = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(130), "{stderr}");
    assert_has(&stderr, &["interrupted; the same command continues"]);
    assert!(!sandbox.path(&folder).join("pretrain/summary.json").exists());
    assert_has(&sandbox.good(words).stderr, &["pretrain: continues at step ", "pretrain 40/40"]);
}

#[test]
fn what_makes_no_sense_is_refused() {
    let sandbox = Sandbox::new();
    for (words, part) in [
        ("", "--arch NAME"),
        ("--arch resnet20", "--dataset"),
        ("--arch resnet20 --dataset digits --grid 1:1", "a multiplier above 1"),
        ("--arch resnet20 --dataset digits --grid 1.4", "expected DEPTH:WIDTH"),
        ("--arch resnet20 --dataset digits --until 90", "must be from 0 to 1"),
        ("--arch resnet20 --dataset digits --max-phi 0", "1..=8"),
        ("--arch resnet20 --dataset digits --jobs 0", "--jobs"),
        ("--arch resnet21 --dataset digits", "unknown architecture"),
    ] {
        assert_has(&sandbox.fail(USAGE, &format!("scale search {words}")), &[part]);
    }
}
