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
//!
//! A block whose needs are not there is skipped, and says so.

use std::ffi::OsString;
use std::path::PathBuf;
use std::process::Command;

use image::{GrayImage, RgbImage};

use crate::util::{Sandbox, folder_of, good, pictures};

/// What a page asks to be installed or typed elsewhere, and no test runs.
const OTHERS: [&str; 5] = ["cargo", "pip", "python", "rustup", "source"];

/// Checkpoints of the pages.
const CHECKPOINTS: [&str; 2] = ["resnet20-12fca82f.th", "resnet20_ec2t_spars64.pt"];

/// A block of commands.
struct Block<'p> {
    needs: Vec<&'p str>,
    lines: Vec<&'p str>,
}

/// The blocks of shell commands of a page.
fn blocks(page: &str) -> Vec<Block<'_>> {
    let mut blocks = Vec::new();
    let mut lines = page.lines();
    while let Some(line) = lines.next() {
        let Some(info) = line.strip_prefix("```") else { continue };
        let body = lines.by_ref().take_while(|line| *line != "```");
        let commands = body.map(|line| line.split(" #").next().unwrap_or(line).trim());
        let commands = commands.filter(|line| !line.is_empty()).collect();
        let mut words = info.split_whitespace();
        if words.next() == Some("sh") {
            blocks.push(Block { needs: words.collect(), lines: commands });
        }
    }
    blocks
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
            need => panic!("a block needs `{need}`, which is unknown"),
        };
        if !is_there {
            println!("skipped, there is no {need}: {}", block.lines.join("; "));
        }
        is_there
    })
}

fn run(sandbox: &Sandbox, line: &str) {
    let (program, words) = line.split_once(' ').unwrap_or((line, ""));
    match program {
        "ec2t" => {
            let mut command = sandbox.ec2t(words);
            command.envs(std::env::var_os("EC2T_DATA_DIR").map(|dir| ("EC2T_DATA_DIR", dir)));
            good(&mut command);
        }
        other => assert!(OTHERS.contains(&other), "`{line}` is no command of ec2t"),
    }
}

/// Runs all commands of a page.
fn try_page(page: &str) {
    let sandbox = folder();
    let blocks = blocks(page);
    assert!(blocks.iter().any(|block| block.lines.iter().any(|line| line.starts_with("ec2t "))));
    for block in blocks.iter().filter(|block| is_possible(&sandbox, block)) {
        block.lines.iter().for_each(|line| run(&sandbox, line));
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

#[test]
fn blocks_have_needs_and_commands() {
    let page =
        "a\n```sh cifar10\nec2t a # b\n\nec2t c\n```\n```text\nec2t d\n```\n```sh\ncargo e\n```\n";
    let blocks = blocks(page);
    assert_eq!(blocks.len(), 2);
    assert_eq!(
        (&blocks[0].needs[..], &blocks[0].lines[..]),
        (&["cifar10"][..], &["ec2t a", "ec2t c"][..])
    );
    assert_eq!((blocks[1].needs.len(), &blocks[1].lines[..]), (0, &["cargo e"][..]));
}
