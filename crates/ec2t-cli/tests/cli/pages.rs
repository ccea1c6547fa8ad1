//! The pages for users: every `ec2t` command on them runs.
//!
//! The blocks of shell commands of a page run one after the other in a folder of its own, in
//! which there are pictures and, where `EC2T_MODELS_DIR` has them, checkpoints. Words behind
//! the language of a block say what it needs:
//!
//! | word | needs |
//! |---|---|
//! | `cifar10` | `EC2T_DATA_DIR`, the folder of CIFAR-10 |
//! | `models` | `EC2T_MODELS_DIR`, a folder of PyTorch checkpoints |
//! | `onnxruntime` | a Python that has it, which `EC2T_PYTHON` may name |
//! | `long` | more time than a test has: that its commands are understood is all that is tried |
//!
//! A block whose needs are not there is skipped, and says so. `--data-dir DIR` is left out:
//! the variable says where CIFAR-10 is.

use std::ffi::OsString;
use std::path::PathBuf;
use std::process::Command;

use image::{GrayImage, RgbImage};

use crate::util::{Sandbox, folder_of, good, pictures, sample};

/// What a page asks to be installed or typed elsewhere, and no test runs.
const OTHERS: [&str; 5] = ["cargo", "pip", "python", "rustup", "source"];

/// Checkpoints of the pages.
const CHECKPOINTS: [&str; 2] = ["resnet20-12fca82f.th", "resnet20_ec2t_spars64.pt"];

/// A block of commands.
struct Block<'p> {
    needs: Vec<&'p str>,
    lines: Vec<String>,
}

/// The blocks of shell commands of a page.
fn blocks(page: &str) -> Vec<Block<'_>> {
    let mut blocks = Vec::new();
    let mut lines = page.lines();
    while let Some(line) = lines.next() {
        let Some(info) = line.strip_prefix("```") else { continue };
        let body: Vec<&str> = lines.by_ref().take_while(|line| *line != "```").collect();
        let mut words = info.split_whitespace();
        if words.next() == Some("sh") {
            blocks.push(Block { needs: words.collect(), lines: commands(&body) });
        }
    }
    blocks
}

/// Commands without remarks; a backslash at the end of a line goes on with the next.
fn commands(lines: &[&str]) -> Vec<String> {
    let text: String = lines
        .iter()
        .map(|line| line.split(" #").next().unwrap_or(line).trim())
        .map(|line| line.strip_suffix('\\').map_or(format!("{line}\n"), str::to_owned))
        .collect();
    text.lines().filter(|line| !line.is_empty()).map(str::to_owned).collect()
}

/// A folder with what pages speak of.
fn folder() -> Sandbox {
    let sandbox = Sandbox::new();
    pictures(&sandbox);
    sandbox.write("photo.png", include_bytes!("../../../ec2t-infer/models/cat.png"));
    let digit: RgbImage = {
        let digits = ec2t_data::load("digits", &ec2t_data::LoadOptions::default()).unwrap();
        let pixels = digits.test.image(0).unwrap().into_owned();
        image::DynamicImage::from(GrayImage::from_raw(8, 8, pixels).unwrap()).into_rgb8()
    };
    digit.save(sandbox.path("digit.png")).unwrap();
    let photo = image::open(sandbox.path("photo.png")).unwrap().into_rgb8();
    photo.save(sandbox.path("photo.jpg")).unwrap();
    for checkpoint in CHECKPOINTS {
        let folder = std::env::var_os("EC2T_MODELS_DIR").map(PathBuf::from);
        if let Some(bytes) = folder.and_then(|folder| std::fs::read(folder.join(checkpoint)).ok()) {
            sandbox.write(checkpoint, bytes);
        }
    }
    sandbox
}

/// The Python of the pages, if it has onnxruntime.
fn python() -> Option<OsString> {
    let python = std::env::var_os("EC2T_PYTHON").unwrap_or_else(|| "python3".into());
    let found = Command::new(&python).args(["-c", "import onnxruntime"]).output();
    found.is_ok_and(|output| output.status.success()).then_some(python)
}

/// Whether all that a block needs is there.
#[expect(clippy::print_stdout, reason = "a skipped block says so")]
fn is_possible(sandbox: &Sandbox, block: &Block<'_>) -> bool {
    block.needs.iter().all(|need| {
        let is_there = match *need {
            "cifar10" => folder_of("EC2T_DATA_DIR").is_some(),
            "models" => CHECKPOINTS.iter().all(|file| sandbox.path(file).exists()),
            "onnxruntime" => python().is_some(),
            "long" => true,
            need => panic!("a block needs `{need}`, which is unknown"),
        };
        if !is_there {
            println!("skipped, there is no {need}: {}", block.lines.join("; "));
        }
        is_there
    })
}

/// A command of ec2t as a page has it; `None` where it is one of others.
fn command(sandbox: &Sandbox, line: &str, is_long: bool) -> Option<Command> {
    let (program, words) = line.split_once(' ').unwrap_or((line, ""));
    if program != "ec2t" {
        assert!(OTHERS.contains(&program), "`{line}` is no command of ec2t");
        return None;
    }
    let mut command = sandbox.ec2t(&words.replace("--data-dir DIR", ""));
    command.envs(std::env::var_os("EC2T_DATA_DIR").map(|dir| ("EC2T_DATA_DIR", dir)));
    if is_long {
        // All words before this one are looked at first.
        command.arg("--help");
    }
    Some(command)
}

/// Runs all commands of a page.
fn try_page(page: &str) {
    try_page_in(&folder(), page);
}

/// Runs all commands of a page in a folder that has what they begin with.
#[expect(clippy::print_stdout, reason = "a block that is not run says so")]
fn try_page_in(sandbox: &Sandbox, page: &str) {
    let blocks = blocks(page);
    assert!(blocks.iter().any(|block| block.lines.iter().any(|line| line.starts_with("ec2t "))));
    for block in blocks.iter().filter(|block| is_possible(sandbox, block)) {
        let is_long = block.needs.contains(&"long");
        if is_long {
            println!("not run, since it takes long: {}", block.lines.join("; "));
        }
        let commands = block.lines.iter().filter_map(|line| command(sandbox, line, is_long));
        commands.for_each(|mut command| drop(good(&mut command)));
    }
}

#[test]
fn quickstart() {
    try_page(include_str!("../../../../docs/quickstart.md"));
}

#[test]
fn bring_your_own_model() {
    try_page(include_str!("../../../../docs/bring-your-own-model.md"));
}

#[test]
fn performance() {
    try_page(include_str!("../../../../docs/performance.md"));
}

#[test]
fn faq() {
    try_page(include_str!("../../../../docs/faq.md"));
}

#[test]
fn bring_your_own_data() {
    try_page(include_str!("../../../../docs/bring-your-own-data.md"));
}

/// What `cargo xtask pipeline digits` leaves, untrained, and a file of the reader's own.
#[test]
fn readme() {
    let sandbox = folder();
    let model = ec2t_format::write(&sample());
    sandbox.write("runs/digits/model.ec2t", &model);
    sandbox.write("model.ec2t", &model);
    sandbox.write("picture.png", sandbox.read("digit.png"));
    try_page_in(&sandbox, include_str!("../../../../README.md"));
}

#[test]
fn interop() {
    let sandbox = folder();
    sandbox.write("model.ec2t", ec2t_format::write(&sample()));
    try_page_in(&sandbox, include_str!("../../../../docs/interop.md"));
}

#[test]
fn cost() {
    let sandbox = folder();
    sandbox.write("model.ec2t", ec2t_format::write(&sample()));
    sandbox.write("arch.json", serde_json::to_vec(sample().graph()).unwrap());
    try_page_in(&sandbox, include_str!("../../../../docs/cost.md"));
}

#[test]
fn scaling() {
    try_page(include_str!("../../../../docs/scaling.md"));
}

#[test]
fn what_takes_long_must_be_understood() {
    let sandbox = Sandbox::new();
    for (line, is_good) in [
        ("ec2t sweep --run-dir none --gamma 0.1", true),
        ("ec2t sweep --run-dir none --gama 0.1", false),
        ("ec2t sweep --run-dir none --gamma much", false),
    ] {
        let output = command(&sandbox, line, true).unwrap().output().unwrap();
        assert_eq!(output.status.success(), is_good, "{line}");
    }
}

#[test]
fn blocks_have_needs_and_commands() {
    let page = "a\n```sh cifar10\nec2t a # b\n\nec2t c \\\n  d\n```\n```text\nec2t d\n```\n```sh\ncargo e\n```\n";
    let blocks = blocks(page);
    let [first, second] = &blocks[..] else { panic!() };
    assert_eq!(
        (&first.needs[..], first.lines.join("; ").as_str()),
        (&["cifar10"][..], "ec2t a; ec2t c d")
    );
    assert_eq!((second.needs.len(), second.lines.join("; ").as_str()), (0, "cargo e"));
}
