//! What the reading commands print: data on stdout, and all of it.

use ec2t_format::Tensor;
use image::GrayImage;
use serde_json::Value;

use crate::util::{Sandbox, assert_has, file_len, sample};

/// Sum of a number over the elements of an array.
fn sum(array: &Value, key: &str) -> u64 {
    array.as_array().unwrap().iter().map(|element| element[key].as_u64().unwrap()).sum()
}

#[test]
fn import_keeps_every_bit() {
    let sandbox = Sandbox::new();
    ec2t_quant::save_network(&sandbox.path("net.safetensors"), &sample()).unwrap();
    let words = "import net.safetensors --arch digits-cnn -o new/model.ec2t --json";
    let imported = sandbox.json(words);
    assert_eq!(imported["file"], "new/model.ec2t");
    assert_eq!(imported["arch"], "digits-cnn");
    assert_eq!(imported["params"], 70_330);
    assert_eq!(imported["ternary_layers"], 4);
    assert_eq!(imported["tensors"], sample().tensors().len());
    assert_eq!(imported["sparsity"], sample().sparsity());
    assert_eq!(imported["bytes"], file_len(&sandbox.path("new/model.ec2t")));
    let read = ec2t_format::read(&sandbox.read("new/model.ec2t")).unwrap();
    assert_eq!(read, sample());

    let said = sandbox.good(words);
    assert_has(&said.stderr, &["net.safetensors: 27 matched, 0 missing"]);
}

#[test]
fn inspect_adds_up_to_the_byte() {
    let sandbox = Sandbox::with_model();
    let network = sample();
    let bytes = file_len(&sandbox.path("model.ec2t"));
    let found = sandbox.json("inspect model.ec2t --json");
    assert_eq!(found["total_bytes"], bytes);
    assert_eq!(sum(&found["layers"], "bytes") + sum(&found["rest"], "bytes"), bytes);
    assert_eq!(sum(&found["layers"], "params"), 70_330);

    for layer in found["layers"].as_array().unwrap() {
        let weight = network.tensor(&format!("{}.weight", layer["name"].as_str().unwrap()));
        let weight = weight.unwrap();
        assert_eq!(layer["shape"], Value::from(weight.shape()));
        match weight {
            Tensor::Ternary(ternary) => {
                let counts = ternary.counts();
                assert_eq!(layer["zeros"], counts.zero);
                assert_eq!(layer["entropy_bits"], counts.entropy_bits());
                let least = counts.entropy_bits() * counts.total() as f64 / 8.0;
                assert!(layer["bytes"].as_f64().unwrap() >= least, "{layer}");
                assert!(layer["stored_bits"].as_f64().unwrap() <= 2.0, "{layer}");
            }
            Tensor::Dense(_) => {
                assert_eq!(layer["entropy_bits"], Value::Null);
                assert_eq!(layer["stored_bits"], 32.0);
            }
        }
    }
}

#[test]
fn repack_makes_a_file_ready_and_small_again() {
    let sandbox = Sandbox::with_model();
    let encodings = |file: &str| -> Vec<String> {
        let layers = sandbox.json(&format!("inspect {file} --json"))["layers"].take();
        let layers = layers.as_array().unwrap().iter();
        layers.map(|layer| layer["encoding"].as_str().unwrap().to_owned()).collect()
    };
    sandbox.good("repack model.ec2t -o ready.ec2t --effort ready");
    sandbox.good("verify ready.ec2t");
    assert_eq!(encodings("ready.ec2t").iter().filter(|encoding| *encoding == "lists").count(), 4);
    assert!(!encodings("model.ec2t").contains(&"lists".to_owned()));
    sandbox.good("repack ready.ec2t -o again.ec2t");
    assert!(sandbox.read("again.ec2t") == sandbox.read("ready.ec2t"));
    sandbox.good("repack ready.ec2t -o small.ec2t --effort balanced");
    assert!(sandbox.read("small.ec2t") == sandbox.read("model.ec2t"));
}

#[test]
fn inspect_shows_the_same_numbers_to_people() {
    let sandbox = Sandbox::with_model();
    let text = sandbox.good("inspect model.ec2t").stdout;
    let last_column = |line: &str| -> u64 {
        line.split_whitespace().last().unwrap().replace(',', "").parse().unwrap()
    };
    let (table, summary) = text.trim_end().rsplit_once('\n').unwrap();
    let rows: Vec<u64> = table.lines().skip(1).map(last_column).collect();
    let [parts @ .., total] = rows.as_slice() else { panic!("{text}") };
    assert_eq!(parts.iter().sum::<u64>(), *total);
    assert_eq!(*total, file_len(&sandbox.path("model.ec2t")));

    let words = summary.replace(',', "");
    let numbers = words.split_whitespace().filter_map(|word| word.parse::<u64>().ok());
    let [codes, values, overhead] = Vec::from_iter(numbers)[..] else { panic!("{summary}") };
    assert_eq!(codes + values + overhead, *total);
    let found = sandbox.json("inspect model.ec2t --json");
    assert_eq!((&found["payload_bytes"], &found["side_bytes"]), (&codes.into(), &values.into()));
    assert_eq!(sum(&found["rest"], "bytes"), overhead);
}

#[test]
fn explain_accounts_for_every_step() {
    let sandbox = Sandbox::with_model();
    let found = sandbox.json("explain model.ec2t --runs 3 --json");
    assert_eq!((&found["file"], &found["runs"]), (&"model.ec2t".into(), &3.into()));
    let (steps, total) = (found["steps"].as_array().unwrap(), &found["total"]);
    let costs = sandbox.json("scale --arch digits-cnn --json");
    assert_eq!(total["macs"], costs["total"]["macs"]);

    let network = sample();
    let number = |value: &Value| value.as_f64().unwrap();
    for step in steps {
        let ternary = network.tensor(&format!("{}.weight", step["name"].as_str().unwrap()));
        let ternary = ternary.filter(|weight| matches!(weight, Tensor::Ternary(_)));
        assert_eq!(step.get("ratio").is_some(), ternary.is_some(), "{step}");
        if let Some(weight) = ternary {
            assert!(step["kernel"].as_str().unwrap().starts_with("ternary-conv"), "{step}");
            assert_eq!(step["zeros"], weight.zeros());
            assert!(step["reason"].as_str().unwrap().ends_with("fewer additions"), "{step}");
            assert!(number(&step["predicted_dense_microseconds"]) > 0.0, "{step}");
            let share = number(&step["additions"]) / number(&step["macs"]);
            let nonzero = 1.0 - weight.zeros() as f64 / weight.numel() as f64;
            assert!((share - nonzero).abs() < 1e-9, "{step}");
            let ratio = number(&step["dense_microseconds"]) / number(&step["microseconds"]);
            assert!((ratio - number(&step["ratio"])).abs() <= 1e-9 * ratio, "{step}");
        }
    }
    for step in steps {
        let has_weights = step.get("weights").is_some();
        assert_eq!(step["reason"].is_string(), has_weights, "{step}");
        assert_eq!(step["predicted_microseconds"].is_f64(), has_weights, "{step}");
    }
    let all = |key: &str| steps.iter().filter_map(|step| step[key].as_u64()).sum::<u64>();
    for key in ["weights", "zeros", "macs", "additions", "packed_bytes"] {
        assert_eq!(total[key], all(key), "{key}");
    }
    let microseconds: f64 = steps.iter().map(|step| number(&step["microseconds"])).sum();
    assert!((microseconds - number(&total["microseconds"])).abs() <= 1e-9 * microseconds);
}

#[test]
fn explain_has_a_line_for_every_step() {
    let sandbox = Sandbox::with_model();
    let steps = sandbox.json("explain model.ec2t --runs 1 --json");
    let text = sandbox.good("explain model.ec2t --runs 1").stdout;
    let [head, lines @ .., total] = &Vec::from_iter(text.lines())[..] else { panic!("{text}") };
    assert_has(head, &["layer", "kernel", "zeros %", "MACs", "additions", "ratio"]);
    assert_has(&total.replace(',', ""), &["total", &steps["total"]["macs"].to_string()]);
    let steps = steps["steps"].as_array().unwrap();
    assert_eq!(lines.len(), steps.len());
    for (line, step) in lines.iter().zip(steps) {
        assert_has(line, &["name", "kernel"].map(|key| step[key].as_str().unwrap()));
        assert_has(line, &[step["reason"].as_str().unwrap_or("")]);
    }
}

#[test]
fn eval_counts_every_test_image_once() {
    let sandbox = Sandbox::with_model();
    let found = sandbox.json("eval model.ec2t --dataset digits --json");
    assert_eq!((&found["file"], &found["dataset"]), (&"model.ec2t".into(), &"digits".into()));
    assert_eq!(found["images"], 360);
    let confusion: Vec<Vec<u64>> = serde_json::from_value(found["confusion"].clone()).unwrap();
    assert_eq!(confusion.iter().flatten().sum::<u64>(), 360);
    let correct: u64 = (0..10).map(|class| confusion[class][class]).sum();
    assert_eq!(found["correct"], correct);
    assert_eq!(found["top1"], 100.0 * correct as f64 / 360.0);
    let [top1, top5] = ["top1", "top5"].map(|key| found[key].as_f64().unwrap());
    assert!((top1..=100.0).contains(&top5), "{top5}");
    assert!(found["seconds"].as_f64().unwrap() > 0.0);

    let text = sandbox.good("eval model.ec2t --dataset digits").stdout;
    assert_has(&text, &["model.ec2t", "360 test images", &format!("{top1:.2} %")]);
}

#[test]
fn run_answers_for_each_picture() {
    let sandbox = Sandbox::new();
    ec2t_quant::save_network(&sandbox.path("net.safetensors"), &sample()).unwrap();
    sandbox.write("names", "zero\none\ntwo\nthree\nfour\nfive\nsix\nseven\neight\nnine\n");
    sandbox.good("import net.safetensors --arch digits-cnn --class-names names -o model.ec2t");
    let picture = GrayImage::from_fn(8, 8, |x, y| image::Luma([(x * y * 5) as u8]));
    picture.save(sandbox.path("small.png")).unwrap();
    let large = image::imageops::resize(&picture, 50, 70, image::imageops::FilterType::Nearest);
    image::DynamicImage::from(large).into_rgb8().save(sandbox.path("large.jpg")).unwrap();

    let answers = sandbox.json("run model.ec2t small.png large.jpg --top 3 --json");
    let answers = answers.as_array().unwrap();
    assert_eq!(answers.len(), 2);
    for (answer, file) in answers.iter().zip(["small.png", "large.jpg"]) {
        assert_eq!(answer["image"], file);
        assert!(answer["milliseconds"].as_f64().unwrap() > 0.0);
        let top = answer["top"].as_array().unwrap();
        assert_eq!(top.len(), 3);
        let probability = |guess: &Value| guess["probability"].as_f64().unwrap();
        assert!(top.is_sorted_by(|a, b| probability(a) >= probability(b)), "{answer}");
        assert!(top.iter().map(probability).sum::<f64>() <= 1.0 + 1e-6, "{answer}");
        assert_has(
            "zero one two three four five six seven eight nine",
            &[top[0]["name"].as_str().unwrap()],
        );
    }
    let text = sandbox.good("run model.ec2t small.png").stdout;
    assert_has(&text, &["small.png (", " ms)", answers[0]["top"][0]["name"].as_str().unwrap()]);
    assert_eq!(text.lines().count(), 1 + 5);
}

#[test]
fn run_answers_with_a_model_of_its_own() {
    let sandbox = Sandbox::new();
    sandbox.write("cat.png", include_bytes!("../../../ec2t-infer/models/cat.png"));
    let answers = sandbox.json("run --builtin cifar10 cat.png cat.png --json");
    let answers = answers.as_array().unwrap();
    assert_eq!(answers.len(), 2);
    for answer in answers {
        assert_eq!(answer["top"][0]["name"], "cat");
        assert!(answer["top"][0]["probability"].as_f64().unwrap() > 0.99, "{answer}");
    }
    let text = sandbox.good("run --builtin cifar10 --top 1 cat.png").stdout;
    assert_has(&text, &["cat.png (", "%  cat"]);
}

#[test]
fn scale_counts_the_published_networks() {
    let sandbox = Sandbox::new();
    let total = |words: &str| sandbox.json(words)["total"].clone();
    assert_eq!(total("scale --arch resnet20 --json")["params"], 269_722);
    assert_eq!(total("scale --arch resnet20 --json")["macs"], 40_551_040);
    assert_eq!(total("scale --arch lenet5 --json")["params"], 61_706);
    let base = total("scale --arch micronet --classes 100 --json");
    let wide = total("scale --arch micronet --classes 100 --width 1.5 --json");
    assert!(base["macs"].as_u64() < wide["macs"].as_u64());

    let costs = sandbox.json("scale --arch digits-cnn --json -o arch.json");
    assert_eq!(costs["total"]["params"], sum(&costs["layers"], "params"));
    assert_eq!(costs["total"]["macs"], sum(&costs["layers"], "macs"));
    assert_eq!(sandbox.read_json("arch.json")["name"], "digits-cnn");
    assert_has(&sandbox.good("scale --arch resnet20").stdout, &["269,722", "40,551,040"]);
}

#[test]
fn scale_says_what_multiplies_what() {
    let sandbox = Sandbox::new();
    let words = "scale --arch micronet --depth 1.4 --width 1.2 --phi 3.5";
    let text = sandbox.good(words).stdout;
    let first = "micronet, images of 3×32×32\n\
                 depth 1.4^3.5 = 3.247, width 1.2^3.5 = 1.893, resolution 1^3.5 = 1.000\n";
    assert!(text.starts_with(first), "{text}");
    assert_has(&text, &["layer3.22.conv2", "120×8×8", "8,044,234"]);

    let found = sandbox.json(&format!("{words} --resolution 1.1 --json -o arch.json"));
    let side = (32.0 * 1.1f64.powf(3.5)).round() as u64;
    let input = serde_json::json!({ "channels": 3, "height": side, "width": side });
    assert_eq!(found["input"], input);
    assert_eq!(found["scaling"]["resolution"], 1.1);
    assert_eq!(sandbox.read_json("arch.json")["input"], found["input"]);
}

#[test]
fn data_verify_says_what_is_there() {
    let sandbox = Sandbox::new();
    let found = sandbox.json("data verify digits --json");
    assert_eq!(found["name"], "digits");
    assert_eq!(found["shape"], serde_json::json!([1, 8, 8]));
    assert_eq!(found["classes"].as_array().unwrap().len(), 10);
    let counts = serde_json::json!({ "train": 1437, "validation": 0, "test": 360 });
    assert_eq!(found["counts"], counts);
    assert_eq!(found["files"][0]["bytes"], 57_523);
    assert_eq!(found["files"][0]["sha256"].as_str().unwrap().len(), 64);
    assert_has(&sandbox.good("data verify digits").stdout, &["1,437 training", "360 test"]);
}

#[test]
fn help_and_version_are_data() {
    let sandbox = Sandbox::new();
    assert_has(&sandbox.good("--version").stdout, &["ec2t ", env!("CARGO_PKG_VERSION")]);
    let help = sandbox.good("--help").stdout;
    assert_has(
        &help,
        &["import", "train", "ternarize", "finetune", "export", "eval", "inspect", "explain"],
    );
}
