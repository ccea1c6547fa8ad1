//! Bad files, bad words and absent data: the exit code, the name of what is
//! wrong, and nothing left behind.

use std::fs::{self, File};

use crate::util::{Sandbox, assert_has, folder_of, graph, sample};

const BAD_FILE: i32 = 3;
const USAGE: i32 = 2;

/// Every command that reads a model file; there is a picture beside it.
const READERS: [&str; 11] = [
    "inspect bad.ec2t",
    "inspect bad.ec2t --json",
    "score bad.ec2t --json",
    "explain bad.ec2t --json",
    "bench bad.ec2t",
    "verify bad.ec2t",
    "eval bad.ec2t --dataset digits --json",
    "compare bad.ec2t bad.ec2t --dataset digits --json",
    "run bad.ec2t picture.png --json",
    "calibrate bad.ec2t --dataset digits -o good.ec2t",
    "thin bad.ec2t -o good.ec2t",
];

/// Asserts that every command refuses `bad.ec2t` with these words.
fn assert_refused(sandbox: &Sandbox, words: &[&str]) {
    for reader in READERS {
        let stderr = sandbox.fail(BAD_FILE, reader);
        assert_has(&stderr, &["bad.ec2t"]);
        assert_has(&stderr, words);
    }
}

fn sandbox_with_picture() -> Sandbox {
    let sandbox = Sandbox::new();
    image::GrayImage::new(8, 8).save(sandbox.path("picture.png")).unwrap();
    sandbox
}

#[test]
fn what_is_no_model_is_refused() {
    let sandbox = sandbox_with_picture();
    assert_refused(&sandbox, &["No such file"]);
    sandbox.write("bad.ec2t", "");
    assert_refused(&sandbox, &["not an .ec2t file"]);
    sandbox.write("bad.ec2t", "A model, it says.\n");
    assert_refused(&sandbox, &["not an .ec2t file"]);
    fs::remove_file(sandbox.path("bad.ec2t")).unwrap();
    fs::create_dir(sandbox.path("bad.ec2t")).unwrap();
    assert_refused(&sandbox, &["Is a directory"]);
}

#[test]
fn a_model_that_is_not_calibrated_does_not_run_in_8_bits() {
    let sandbox = sandbox_with_picture();
    sandbox.write("bad.ec2t", ec2t_format::write(&sample()));
    for command in
        ["explain bad.ec2t", "eval bad.ec2t --dataset digits", "run bad.ec2t picture.png"]
    {
        let stderr = sandbox.fail(BAD_FILE, &format!("{command} --precision u8"));
        assert_has(&stderr, &["bad.ec2t", "`ec2t calibrate` finds it"]);
    }
    let words = "calibrate bad.ec2t --dataset digits --images 5000 -o good.ec2t";
    assert_has(&sandbox.fail(USAGE, words), &["5000 images wanted, digits has "]);
}

#[test]
fn a_model_cut_short_or_too_long_is_refused() {
    let sandbox = sandbox_with_picture();
    let mut file = ec2t_format::write(&sample());
    let whole = format!("expected {} bytes", file.len());
    for length in [file.len() / 2, file.len() - 1] {
        sandbox.write("bad.ec2t", &file[..length]);
        assert_refused(&sandbox, &[&whole, &format!("file ends at byte {length},")]);
    }
    sandbox.write("bad.ec2t", &file[..20]);
    assert_refused(&sandbox, &["header at byte "]);
    file.push(0);
    sandbox.write("bad.ec2t", &file);
    assert_refused(&sandbox, &[&whole, &format!("file ends at byte {},", file.len())]);
}

#[test]
fn a_flipped_byte_in_any_part_is_found_and_placed() {
    let sandbox = sandbox_with_picture();
    let file = ec2t_format::write(&sample());
    let layout = ec2t_format::layout(&file).unwrap();
    let mut parts = vec![("header".to_owned(), 0, layout.header_len + layout.toc_len / 2)];
    parts.extend(layout.sections.into_iter().map(|section| {
        let middle = section.offset + section.len / 2;
        (section.name, section.offset, middle)
    }));
    // Header, graph, floats, four ternary tensors, metadata.
    assert_eq!(parts.len(), 8);
    for (name, offset, position) in parts {
        let mut bad = file.clone();
        bad[position] ^= 0x10;
        sandbox.write("bad.ec2t", &bad);
        let stderr = sandbox.fail(BAD_FILE, READERS[position % READERS.len()]);
        assert_has(&stderr, &["bad.ec2t", &format!("{name} at byte {offset}: checksum")]);
    }
}

#[test]
fn verify_goes_on_behind_a_bad_file_and_tells_the_place() {
    let sandbox = Sandbox::with_model();
    let mut file = sandbox.read("model.ec2t");
    let weight = ec2t_format::layout(&file).unwrap().sections.remove(3);
    file[weight.offset + 9] ^= 1;
    sandbox.write("bad.ec2t", &file);
    let place = format!("{} at byte {}: checksum is 0x", weight.name, weight.offset);
    let verify = |words: &str| {
        let output = sandbox.ec2t(words).output().unwrap();
        assert_eq!(output.status.code(), Some(BAD_FILE));
        [output.stdout, output.stderr].map(|text| String::from_utf8(text).unwrap())
    };
    let [stdout, stderr] = verify("verify bad.ec2t none.ec2t model.ec2t");
    assert_has(&stderr, &["bad.ec2t: ", &place, ", expected 0x", "none.ec2t: No such file"]);
    assert_has(&stderr, &["bad files: 2 of 3"]);
    assert_eq!(stdout.lines().count(), 1);
    assert_has(&stdout, &["model.ec2t: good, version 1.2"]);

    let [stdout, _] = verify("verify bad.ec2t none.ec2t model.ec2t --json");
    let found: serde_json::Value = serde_json::from_str(&stdout).unwrap();
    assert_eq!([0, 1, 2].map(|at: usize| found[at]["good"] == true), [false, false, true]);
    assert_eq!(
        (&found[0]["section"], &found[0]["offset"]),
        (&weight.name.into(), &weight.offset.into())
    );
    assert_eq!(found[1]["section"], serde_json::Value::Null);
    assert_eq!(found[2]["bytes"], file.len());
    assert_eq!(found[2]["tensors"], sample().tensors().len());
}

#[test]
fn what_is_no_picture_is_refused() {
    let sandbox = Sandbox::with_model();
    let refused = |picture: &str, words: &str| {
        let stderr = sandbox.fail(BAD_FILE, &format!("run model.ec2t {picture} --json"));
        assert_has(&stderr, &[picture, words]);
    };
    refused("none.png", "No such file");
    sandbox.write("text.png", "A picture, it says.\n");
    refused("text.png", "Invalid PNG signature");
    sandbox.write("empty.jpg", "");
    refused("empty.jpg", "");
    image::GrayImage::from_fn(64, 64, |x, y| image::Luma([(x ^ y) as u8]))
        .save(sandbox.path("whole.png"))
        .unwrap();
    let whole = sandbox.read("whole.png");
    sandbox.write("cut.png", &whole[..whole.len() / 2]);
    refused("cut.png", "unexpected end of file");
    let stderr = sandbox.fail(BAD_FILE, "run model.ec2t whole.png cut.png");
    assert_has(&stderr, &["cut.png"]);
}

/// A legacy PyTorch stream around the instructions of a pickle.
fn legacy_checkpoint(state: &[u8]) -> Vec<u8> {
    let magic: &[u8] = b"\x80\x02\x8a\x0al\xfc\x9cF\xf9 j\xa8P\x19.";
    let protocol = b"\x80\x02M\xe9\x03.";
    let facts = b"\x80\x02}X\x0d\x00\x00\x00little_endian\x88s.";
    [magic, protocol, facts, b"\x80\x02", state, b"."].concat()
}

#[test]
fn a_checkpoint_that_calls_a_program_is_refused() {
    let sandbox = Sandbox::new();
    let call = b"cos\nsystem\n(X\x0a\x00\x00\x00touch harmtR";
    sandbox.write("harm.pt", legacy_checkpoint(call));
    let stderr = sandbox.fail(BAD_FILE, "import harm.pt --arch resnet20 -o model.ec2t");
    assert_has(&stderr, &["harm.pt", "refused global `os.system` at offset "]);

    sandbox.write("plain.pt", [b"\x80\x02", call.as_slice(), b"."].concat());
    let stderr = sandbox.fail(BAD_FILE, "import plain.pt --arch resnet20 -o model.ec2t");
    assert_has(&stderr, &["plain.pt"]);
    assert!(!sandbox.path("harm").exists());
}

#[test]
fn what_is_no_checkpoint_is_refused() {
    let sandbox = Sandbox::with_model();
    ec2t_quant::save_network(&sandbox.path("net.safetensors"), &sample()).unwrap();
    let refused = |file: &str, words: &[&str]| {
        let stderr =
            sandbox.fail(BAD_FILE, &format!("import {file} --arch digits-cnn -o model.ec2t"));
        assert_has(&stderr, &[file]);
        assert_has(&stderr, words);
    };
    refused("none.pt", &["No such file"]);
    sandbox.write("empty.pt", "");
    refused("empty.pt", &["neither a PyTorch checkpoint nor a safetensors file"]);
    sandbox.write("text.pt", "A checkpoint, it says.\n");
    refused("text.pt", &["neither a PyTorch checkpoint nor a safetensors file"]);
    refused("model.ec2t", &["neither a PyTorch checkpoint nor a safetensors file"]);
    sandbox.write("state.pt", &legacy_checkpoint(b"}")[..30]);
    refused("state.pt", &["truncated at offset "]);
    let whole = sandbox.read("net.safetensors");
    for length in [9, 500, whole.len() - 1] {
        sandbox.write("cut.safetensors", &whole[..length]);
        refused("cut.safetensors", &["safetensors: "]);
    }
}

#[test]
fn a_checkpoint_of_another_network_is_compared_name_by_name() {
    let sandbox = Sandbox::new();
    ec2t_quant::save_network(&sandbox.path("net.safetensors"), &sample()).unwrap();
    let stderr = sandbox.fail(BAD_FILE, "import net.safetensors --arch lenet5 -o model.ec2t");
    assert_has(&stderr, &["net.safetensors: does not fit `lenet5`"]);
    for row in ["missing fc1.weight", "unexpected conv5.weight", "wrong shape conv1.weight"] {
        let has = |line: &str| line.split_whitespace().collect::<Vec<_>>().join(" ").contains(row);
        assert!(stderr.lines().any(has), "no `{row}` in: {stderr}");
    }
}

#[test]
fn a_real_checkpoint_cut_short_or_of_another_depth_is_refused() {
    let Some(models) = folder_of("EC2T_MODELS_DIR") else { return };
    let sandbox = Sandbox::new();
    for file in ["resnet20-12fca82f.th", "resnet20_ec2t_spars64.pt"] {
        let whole = fs::read(models.join(file)).unwrap();
        sandbox.write("whole.pt", &whole);
        let stderr = sandbox.fail(BAD_FILE, "import whole.pt --arch resnet32 -o model.ec2t");
        assert_has(&stderr, &["does not fit `resnet32`", "60 missing", "layer1.3.conv1.weight"]);
        for length in [100, whole.len() / 2, whole.len() - 1] {
            sandbox.write("cut.pt", &whole[..length]);
            let stderr = sandbox.fail(BAD_FILE, "import cut.pt --arch resnet20 -o model.ec2t");
            assert_has(&stderr, &["cut.pt: truncated at offset "]);
        }
    }
}

#[test]
fn a_damaged_dataset_is_refused() {
    let sandbox = Sandbox::with_model();
    let words =
        ["data verify cifar10 --data-dir .", "eval model.ec2t --dataset cifar10 --data-dir ."];
    sandbox.write("cifar-10-batches-bin/data_batch_1.bin", [0; 1000]);
    for words in words {
        let stderr = sandbox.fail(BAD_FILE, words);
        assert_has(&stderr, &["data_batch_1.bin", "expected 30730000 bytes, found 1000"]);
    }
    let [good, bad] = [[0; 3073], [10; 3073]];
    sandbox.write("cifar-10-batches-bin/data_batch_1.bin", [good, bad].concat());
    let path = sandbox.path("cifar-10-batches-bin/data_batch_1.bin");
    File::options().append(true).open(path).unwrap().set_len(30_730_000).unwrap();
    for words in words {
        let stderr = sandbox.fail(BAD_FILE, words);
        assert_has(&stderr, &["data_batch_1.bin: label at byte 3073", "found 10"]);
    }
}

#[test]
fn words_that_mean_nothing_are_usage_errors() {
    let sandbox = Sandbox::with_model();
    for (words, part) in [
        ("", "Usage"),
        ("trane", "trane"),
        ("inspect", "FILE"),
        ("verify", "FILE"),
        ("inspect model.ec2t --jsn", "--jsn"),
        ("explain", "FILE"),
        ("explain model.ec2t --runs 0", "--runs"),
        ("eval model.ec2t", "--dataset"),
        ("eval model.ec2t --dataset didgits", "unknown dataset `didgits`; known are digits"),
        ("run model.ec2t", "IMAGE"),
        ("run --builtin cifar10", "FILE"),
        ("run --builtin cifar model.ec2t", "possible values: cifar10"),
        ("import x.pt --arch resnet21 -o y", "unknown architecture `resnet21`; known are "),
        ("import x.pt --arch resnet20 --preprocess mean -o y", "mean"),
        ("import x.pt --arch lenet5 --preprocess cifar10 -o y", "preprocessing"),
        ("import x.pt --arch resnet20", "--output"),
        ("scale", "--arch"),
        ("scale --arch resnet20 --classes 0", "features is 0"),
        ("scale --arch micronet --width 0", "width 0"),
        ("data verify cifar11", "unknown dataset `cifar11`"),
        ("data fetch digits", "no home page"),
        ("train", "--run-dir"),
        ("train --run-dir run --device gpu", "unknown device `gpu`"),
    ] {
        assert_has(&sandbox.fail(USAGE, words), &[part]);
    }
}

#[test]
fn images_must_fit_the_model() {
    let sandbox = Sandbox::new();
    let write = |file: &str, arch: &str, classes| {
        let network = ec2t_quant::initialize(&graph(arch, classes), 1).unwrap();
        sandbox.write(file, ec2t_format::write(&network));
    };
    write("large.ec2t", "lenet5", 10);
    let stderr = sandbox.fail(USAGE, "eval large.ec2t --dataset digits");
    assert_has(&stderr, &["1×28×28", "digits has 1×8×8"]);
    write("few.ec2t", "digits-cnn", 7);
    let stderr = sandbox.fail(USAGE, "eval few.ec2t --dataset digits --json");
    assert_has(&stderr, &["7 classes, digits has 10"]);
}

#[test]
fn class_names_must_be_as_many_as_classes() {
    let sandbox = Sandbox::new();
    ec2t_quant::save_network(&sandbox.path("net.safetensors"), &sample()).unwrap();
    let words = "import net.safetensors --arch digits-cnn --class-names names -o model.ec2t";
    assert_has(&sandbox.fail(BAD_FILE, words), &["names", "No such file"]);
    sandbox.write("names", "one\ntwo\n\n");
    let stderr = sandbox.fail(BAD_FILE, words);
    assert_has(&stderr, &["names: expected 10 class names, found 2"]);
}

#[test]
fn absent_data_are_an_error_that_names_the_ways() {
    let sandbox = Sandbox::with_model();
    let ways = ["`cifar10` not found", "--data-dir", "EC2T_DATA_DIR", "datasets/"];
    for words in [
        "eval model.ec2t --dataset cifar10",
        "eval model.ec2t --dataset cifar10 --data-dir .",
        "data verify cifar10 --json",
    ] {
        assert_has(&sandbox.fail(BAD_FILE, words), &ways);
    }
}

#[test]
fn a_failed_download_leaves_nothing() {
    let sandbox = Sandbox::new();
    sandbox
        .write("run/config.toml", crate::util::settings(&[("data", "dataset", "cifar10".into())]));
    fs::create_dir(sandbox.path("data")).unwrap();
    let stderr = sandbox.fail(BAD_FILE, "data prepare --run-dir run --data-dir data");
    let parts = ["`cifar10` not found", "--data-dir", "EC2T_DATA_DIR", "datasets/"];
    assert_has(&stderr, &parts);
    assert_has(&stderr, &["the download failed: https://", "cifar-10-binary.tar.gz"]);
    let stderr = sandbox.fail(BAD_FILE, "data fetch cifar10 --data-dir data");
    assert_has(&stderr, &["https://"]);
}

#[test]
fn instructions_that_are_not_there_are_refused() {
    let sandbox = Sandbox::with_model();
    let inspect = |isa: &str| {
        let output = sandbox.ec2t("inspect model.ec2t").env("EC2T_ISA", isa).output().unwrap();
        (output.status.code(), String::from_utf8(output.stderr).unwrap())
    };
    for good in ["", "portable"] {
        assert_eq!(inspect(good), (Some(0), String::new()));
    }
    let (code, stderr) = inspect("sse9");
    assert_eq!(code, Some(USAGE), "{stderr}");
    assert_has(&stderr, &["EC2T_ISA: unknown instruction set \"sse9\"; this CPU has portable"]);
}
