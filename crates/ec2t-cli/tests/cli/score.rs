//! `ec2t score`: its sums, its two modes, and what it reads.

use serde_json::Value;

use crate::util::{Sandbox, assert_has, file_len, sample};

const BAD_FILE: i32 = 3;

fn sum(layers: &Value, number: impl Fn(&Value) -> Option<u64>) -> u64 {
    layers.as_array().unwrap().iter().filter_map(number).sum()
}

#[test]
fn layers_add_up_in_both_modes() {
    let sandbox = Sandbox::with_model();
    for mode in ["strict", "reference"] {
        let found = sandbox.json(&format!("score model.ec2t --mode {mode} --json"));
        let (layers, total) = (&found["layers"], &found["total"]);
        assert_eq!(found["rules"], serde_json::json!({ "mode": mode, "bits": 16 }));
        for key in ["params", "nonzero"] {
            assert_eq!(total[key], sum(layers, |layer| layer[key].as_u64()), "{mode} {key}");
        }
        for key in ["multiplications", "additions", "addition_bits"] {
            let all = sum(layers, |layer| layer["operations"][key].as_u64());
            assert_eq!(total["operations"][key], all, "{mode} {key}");
        }
        let ternary = sum(layers, |layer| Some(layer["formats"].is_object().into()));
        assert_eq!(ternary, sample().ternary_layers() as u64, "{mode}");
        assert_eq!(total["file_bytes"], file_len(&sandbox.path("model.ec2t")), "{mode}");
    }
}

#[test]
fn people_see_the_same_numbers() {
    let sandbox = Sandbox::with_model();
    let found = sandbox.json("score model.ec2t --json");
    let text = sandbox.good("score model.ec2t").stdout.replace(',', "");
    let total = text.lines().find(|line| line.starts_with("total")).unwrap();
    for number in [&found["total"]["params"], &found["total"]["operations"]["additions"]] {
        assert_has(total, &[&number.to_string()]);
    }
    for layer in found["layers"].as_array().unwrap() {
        assert_has(&text, &[layer["name"].as_str().unwrap()]);
    }
    assert_has(&text, &["mask and signs", "energy at 45 nm"]);
}

#[test]
fn a_graph_alone_is_counted_with_all_weights() {
    let sandbox = Sandbox::new();
    sandbox.good("scale --arch resnet20 -o arch.json");
    let found = sandbox.json("score arch.json --mode reference --json");
    assert_eq!(found["total"]["scored_params"], 269_034.0);
    assert_eq!(found["total"]["micronet"]["baseline"]["name"], "WRN-28-10");
    assert_eq!(found["total"]["file_bytes"], Value::Null);
    let half = sandbox.json("score arch.json --mode reference --bits 16 --json");
    assert_eq!(half["total"]["scored_params"], 269_034.0 / 2.0);
}

#[test]
fn a_graph_that_is_none_is_refused() {
    let sandbox = Sandbox::new();
    sandbox.write("arch.json", "{}");
    assert_has(&sandbox.fail(BAD_FILE, "score arch.json"), &["arch.json", "missing field"]);
    assert_has(&sandbox.fail(BAD_FILE, "score none.json"), &["none.json", "No such file"]);
    sandbox.good("scale --arch resnet20 -o arch.json");
    let graph = sandbox.read_text("arch.json").replace("\"groups\": 1", "\"groups\": 7");
    sandbox.write("arch.json", graph);
    assert_has(&sandbox.fail(BAD_FILE, "score arch.json"), &["arch.json", "conv1", "7 groups"]);
}
