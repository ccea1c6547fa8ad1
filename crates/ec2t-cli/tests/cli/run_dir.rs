//! Faults in the folder of a run: the file, and the command that writes it.

use std::fs;

use crate::util::{Sandbox, assert_has, epochs, settings};

const BAD_FILE: i32 = 3;
const USAGE: i32 = 2;

#[test]
fn settings_that_are_wrong_are_named() {
    let sandbox = Sandbox::new();
    let stderr = sandbox.fail(BAD_FILE, "scale --run-dir run");
    assert_has(&stderr, &["run/config.toml", "No such file"]);

    let good = epochs(1, 1, 1);
    for (settings, part) in [
        (good.replace("[export]", "[export]\ncolour = 1"), "unknown key `export.colour`"),
        (good.replace("\ngamma =", "\ngama ="), "unknown key `ternarize.gama`"),
        (good.replace("optimizer = \"sgd\"", ""), "missing field `optimizer`"),
        (good.replace("seed = 1", "seed = \"one\""), "invalid type: string \"one\""),
        (good.replace("[run]", "[run"), "TOML parse error at line "),
    ] {
        assert_ne!(settings, good, "{part}");
        sandbox.write("run/config.toml", settings);
        for command in ["data prepare", "scale", "train", "eval", "export"] {
            let stderr = sandbox.fail(USAGE, &format!("{command} --run-dir run"));
            assert_has(&stderr, &["run/config.toml", part]);
        }
    }
}

#[test]
fn values_out_of_range_are_named() {
    for (stage, section, key, value, part) in [
        ("data prepare", "data", "dataset", "didgits".into(), "unknown dataset `didgits`"),
        ("data prepare", "data", "validation", 1437.into(), "cannot split 1437 of 1437 images"),
        ("scale", "arch", "name", "resnet21".into(), "unknown architecture `resnet21`"),
        ("scale", "arch", "classes", 7.into(), "arch.classes is 7, but digits has 10 classes"),
        ("scale", "arch", "preprocess", "cifar10".into(), "preprocessing"),
        ("scale", "arch", "width", 2.5.into(), "takes no scaling"),
        ("train", "data", "validation", 0.into(), "the validation split is empty"),
        ("train", "pretrain", "epochs", 0.into(), "`epochs`: must be at least 1"),
        ("train", "pretrain", "lr", (-0.1).into(), "`lr`: must be finite and not negative"),
    ] {
        let sandbox = Sandbox::new();
        sandbox.write("run/config.toml", settings(&[(section, key, value)]));
        for earlier in ["data prepare", "scale"].into_iter().take_while(|&it| it != stage) {
            sandbox.good(&format!("{earlier} --run-dir run"));
        }
        let stderr = sandbox.fail(USAGE, &format!("{stage} --run-dir run"));
        assert_has(&stderr, &[part]);
    }
}

#[test]
fn a_missing_file_is_named_with_its_writer() {
    let sandbox = Sandbox::new();
    sandbox.write("run/config.toml", epochs(1, 1, 1));
    let missing = |words: &str, file: &str, writer: &str| {
        let stderr = sandbox.fail(BAD_FILE, words);
        assert_has(&stderr, &[file, writer, "No such file"]);
    };
    missing("scale --run-dir run", "run/data.json", "`ec2t data prepare`");
    sandbox.good("data prepare --run-dir run");
    missing("train --run-dir run", "run/arch.json", "`ec2t scale`");
    sandbox.good("scale --run-dir run");
    missing("ternarize --run-dir run", "run/pretrain/best.safetensors", "`ec2t train`");
    missing("finetune --run-dir run", "run/ternarize/best.safetensors", "`ec2t ternarize`");
    missing("export --run-dir run", "run/finetune/best.safetensors", "`ec2t finetune`");
    missing("eval --run-dir run", "run/pretrain/best.safetensors", "`ec2t train`");
    missing("report --run-dir run", "run/pretrain/summary.json", "`ec2t train`");
    missing("train --run-dir run --init none.pt", "none.pt", "");
}

#[test]
fn a_damaged_file_is_named() {
    let sandbox = Sandbox::with_run(&epochs(1, 1, 1));
    for (file, words) in [
        ("run/data.json", "scale --run-dir run"),
        ("run/arch.json", "train --run-dir run"),
        ("run/pretrain/last.safetensors", "train --run-dir run"),
        ("run/pretrain/best.safetensors", "ternarize --run-dir run"),
    ] {
        let whole = fs::read(sandbox.path(file)).ok();
        for bad in [&b""[..], b"{", b"nonsense with a few more bytes"] {
            sandbox.write(file, bad);
            assert_has(&sandbox.fail(BAD_FILE, words), &[file]);
        }
        match whole {
            Some(whole) => sandbox.write(file, whole),
            None => fs::remove_file(sandbox.path(file)).unwrap(),
        }
    }
}

#[test]
fn no_folder_can_be_made_in_a_file() {
    let sandbox = Sandbox::with_run(&epochs(1, 1, 1));
    sandbox.write("run/pretrain", "a file");
    let stderr = sandbox.fail(BAD_FILE, "train --run-dir run");
    assert_has(&stderr, &["run/pretrain"]);
    let stderr = sandbox.fail(BAD_FILE, "scale --run-dir run/config.toml");
    assert_has(&stderr, &["run/config.toml/config.toml", "Not a directory"]);
}
