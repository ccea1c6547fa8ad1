//! `ec2t bench`: figures of models and their dense twins.

use serde_json::Value;

use crate::util::{Sandbox, assert_has, sample};

fn number(value: &Value) -> f64 {
    value.as_f64().unwrap_or_else(|| panic!("{value} is no number"))
}

#[test]
fn every_row_has_its_dense_twin_and_says_where_it_was_measured() {
    let sandbox = Sandbox::with_model();
    let rows = sandbox.json("bench model.ec2t -t 1,2 -b 1,3 -r 3 -o json");
    let rows = rows.as_array().unwrap();
    let settings: Vec<_> = rows.iter().map(|row| (&row["threads"], &row["batch"])).collect();
    assert_eq!(
        serde_json::to_value(settings).unwrap(),
        serde_json::json!([[1, 1], [1, 3], [2, 1], [2, 3]])
    );
    for row in rows {
        assert_eq!((&row["model"], &row["arch"]), (&"model.ec2t".into(), &"digits-cnn".into()));
        assert_eq!(row["zeros"], sample().sparsity());
        for quantity in ["milliseconds", "dense_milliseconds", "ratio"] {
            let quantiles = ["min", "lower", "median", "upper"].map(|q| number(&row[quantity][q]));
            assert!(quantiles[0] > 0.0 && quantiles.is_sorted(), "{row}");
        }
        let per_second = 1e3 / number(&row["milliseconds"]["median"]);
        assert!((number(&row["images_per_second"]) / per_second - 1.0).abs() < 1e-9, "{row}");
        let isas = ["portable", "avx2", "avx512", "neon"];
        assert!(isas.contains(&row["isa"].as_str().unwrap()), "{row}");
        assert_eq!(row["version"], env!("CARGO_PKG_VERSION"));
        assert_eq!(row["noisy"], number(&row["spread"]) > 0.2, "{row}");
        assert_eq!(row["load_average"], rows[0]["load_average"], "from before the first round");
        assert!(row["busy"].is_boolean(), "{row}");
        assert!(row["commit"].is_string() && row["processors"].is_u64(), "{row}");
    }
}

#[test]
fn rows_that_may_have_been_disturbed_are_told_on_stderr() {
    let sandbox = Sandbox::with_model();
    let said = sandbox.good("bench model.ec2t -t 1,2 -r 8 -o json");
    let rows: Value = serde_json::from_str(&said.stdout).unwrap();
    let mut seen = 0;
    for row in rows.as_array().unwrap() {
        let is_seen = row["busy"] == true || row["noisy"] == true;
        let name = format!("model.ec2t (threads: {}, images: 1): ", row["threads"]);
        assert_eq!(said.stderr.contains(&name), is_seen, "{}", said.stderr);
        seen += usize::from(is_seen);
    }
    assert_eq!(said.stderr.contains("when the machine is idle"), seen > 0, "{}", said.stderr);
}

#[test]
fn tables_have_a_line_for_each_row() {
    let sandbox = Sandbox::with_model();
    let text = sandbox.good("bench model.ec2t -b 1,2 -r 1").stdout;
    let rows = text.lines().filter(|line| line.starts_with("| model.ec2t |")).count();
    assert_eq!(rows, 2, "{text}");
    assert_has(&text, &["| ratio |", env!("CARGO_PKG_VERSION"), "processors"]);

    let text = sandbox.good("bench model.ec2t -b 1,2 -r 1 -o csv").stdout;
    let [head, rows @ ..] = &Vec::from_iter(text.lines())[..] else { panic!("{text}") };
    assert_eq!(rows.len(), 2);
    let columns = |line: &str| line.split(',').count();
    assert!(rows.iter().all(|row| columns(row) == columns(head)), "{text}");
}

#[test]
fn random_weights_have_the_zeros_that_are_asked_for() {
    let sandbox = Sandbox::new();
    sandbox.good("scale --arch digits-cnn -o arch.json");
    let words = "bench --random digits-cnn --random arch.json --sparsity 0.75 -r 1 -o json";
    let rows = sandbox.json(words);
    for (row, model) in rows.as_array().unwrap().iter().zip(["digits-cnn", "arch.json"]) {
        assert_eq!(row["model"], format!("random {model}"));
        assert!((0.7..0.75).contains(&number(&row["zeros"])), "first and last are dense: {row}");
    }
}

#[test]
fn a_float_model_has_no_dense_twin() {
    let sandbox = Sandbox::new();
    sandbox.write("float.ec2t", ec2t_format::write(&sample().to_dense()));
    let rows = sandbox.json("bench float.ec2t -r 1 -o json");
    assert_eq!((&rows[0]["dense_milliseconds"], &rows[0]["ratio"]), (&Value::Null, &Value::Null));
}

#[test]
fn what_cannot_be_timed_is_told() {
    let sandbox = Sandbox::with_model();
    let bench = |code, words: &str, parts: &[&str]| {
        assert_has(&sandbox.fail(code, &format!("bench {words}")), parts);
    };
    bench(2, "", &["MODEL"]);
    bench(2, "model.ec2t -t 0", &["0"]);
    bench(2, "--random nonet", &["nonet"]);
    bench(2, "--random digits-cnn --sparsity 1.5", &["sparsity", "1.5"]);
    bench(2, "--random digits-cnn --precision u8", &["--precision u8"]);
    bench(3, "none.ec2t", &["none.ec2t"]);
    bench(3, "model.ec2t --precision u8", &["model.ec2t", "`ec2t calibrate` finds it"]);
}
