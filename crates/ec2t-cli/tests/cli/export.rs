//! `ec2t export FILE` and `ec2t import` of what it writes.

use std::process::Command;

use ec2t_format::{Network, fold_batch_norm};

use crate::util::{Sandbox, assert_has, sample};

fn read(sandbox: &Sandbox, file: &str) -> Network {
    ec2t_format::read(&sandbox.read(file)).unwrap()
}

#[test]
fn an_onnx_model_is_imported_as_the_folded_network() {
    let sandbox = Sandbox::with_model();
    for codes in ["u2", "u4", "u8", "dense"] {
        let said = sandbox.good(&format!("export model.ec2t --onnx m.onnx --onnx-codes {codes}"));
        assert_has(&said.stdout, &["m.onnx: ", &format!(" bytes, {codes}, opset ")]);
        sandbox.good("import m.onnx -o back.ec2t");
        assert!(read(&sandbox, "back.ec2t") == fold_batch_norm(&sample()), "{codes}");
    }
}

#[test]
fn safetensors_are_imported_as_the_same_network() {
    let sandbox = Sandbox::with_model();
    sandbox.good("export model.ec2t --safetensors f.safetensors --safetensors-codes c.safetensors");
    for file in ["f.safetensors", "c.safetensors"] {
        sandbox.good(&format!("import {file} -o back.ec2t"));
        assert!(read(&sandbox, "back.ec2t") == sample(), "{file}");
    }
    sandbox.good("import f.safetensors --arch digits-cnn -o back.ec2t");
    assert_eq!(read(&sandbox, "back.ec2t").tensors(), sample().tensors());
}

#[test]
fn class_names_and_preprocessing_are_added_to_a_model_that_has_none() {
    let sandbox = Sandbox::with_model();
    sandbox.good("export model.ec2t --onnx m.onnx");
    sandbox.write("names.txt", "a\nb\nc\nd\ne\nf\ng\nh\ni\nj\n");
    sandbox.good("import m.onnx --class-names names.txt --preprocess signed -o back.ec2t");
    let graph = read(&sandbox, "back.ec2t").graph().clone();
    assert_eq!((graph.classes[9].as_str(), &graph.preprocess.mean), ("j", &vec![0.5]));

    sandbox.good("export back.ec2t --onnx m.onnx");
    let stderr = sandbox.fail(2, "import m.onnx --preprocess signed -o again.ec2t");
    assert_has(&stderr, &["m.onnx", "normalizes pixels itself"]);
    sandbox.good("import m.onnx -o again.ec2t");
    assert_eq!(read(&sandbox, "again.ec2t").graph(), &graph);
}

#[test]
fn folded_scales_are_told_of() {
    let sandbox = Sandbox::new();
    sandbox.write("model.ec2t", ec2t_format::write(&fold_batch_norm(&sample())));
    let said = sandbox.good("export model.ec2t --safetensors f.safetensors");
    assert_has(&said.stderr, &["batch normalisation is folded"]);
}

#[test]
fn what_cannot_be_written_or_read_is_said() {
    let sandbox = Sandbox::with_model();
    sandbox.write("bare.safetensors", [&8u64.to_le_bytes()[..], b"{}      "].concat());
    sandbox.write("bad.onnx", b"\x0a\x00no model");
    for (code, words, part) in [
        (2, "export model.ec2t", "--onnx <FILE>"),
        (2, "export --onnx m.onnx", "<FILE>"),
        (2, "export model.ec2t --check --safetensors f", "--onnx"),
        (3, "export none.ec2t --onnx m.onnx", "none.ec2t"),
        (2, "import bare.safetensors -o y", "--arch"),
        (2, "import bad.onnx --arch digits-cnn -o y", "leave out --arch"),
        (3, "import bad.onnx -o y", "bad.onnx: no ONNX model"),
        (3, "import none.onnx -o y", "none.onnx"),
    ] {
        assert_has(&sandbox.fail(code, words), &[part]);
    }
}

#[test]
fn a_check_without_onnxruntime_says_what_it_needs() {
    let sandbox = Sandbox::with_model();
    let mut command = sandbox.ec2t("export model.ec2t --onnx m.onnx --check");
    let output = command.env("EC2T_PYTHON", "no-such-python").output().unwrap();
    assert_eq!(output.status.code(), Some(1));
    let stderr = String::from_utf8(output.stderr).unwrap();
    assert_has(&stderr, &["pip install onnxruntime", "EC2T_PYTHON", "no-such-python"]);
    assert!(!sandbox.path("m.onnx").exists());
}

#[test]
#[expect(clippy::print_stdout, reason = "a skipped test says so")]
fn a_check_compares_all_images() {
    let python = std::env::var_os("EC2T_PYTHON").unwrap_or_else(|| "python3".into());
    let found = Command::new(&python).args(["-c", "import numpy, onnxruntime"]).output();
    if !found.is_ok_and(|output| output.status.success()) {
        println!("skipped: {python:?} has no onnxruntime; EC2T_PYTHON can name one that has");
        return;
    }
    let sandbox = Sandbox::with_model();
    let said = sandbox.good("export model.ec2t --onnx m.onnx --check");
    assert_has(&said.stdout, &["agrees on 64 of 64 images of noise", "logits differ by at most"]);
    let said = sandbox.good("export model.ec2t --onnx m.onnx --check --dataset digits");
    assert_has(&said.stdout, &[" test images; logits differ"]);
}
