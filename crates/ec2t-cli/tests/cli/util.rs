//! Runs the program in a folder of its own and checks how it ends.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use std::time::SystemTime;

use ec2t_format::{Graph, Network, Tensor, TernaryTensor};
use ec2t_scale::ArchOptions;
use image::{GrayImage, imageops};
use serde_json::Value;
use tempfile::TempDir;

/// A folder in which the program runs.
pub(crate) struct Sandbox(TempDir);

/// What the program said before its good end.
pub(crate) struct Said {
    pub(crate) stdout: String,
    pub(crate) stderr: String,
}

impl Sandbox {
    pub(crate) fn new() -> Self {
        Self(tempfile::tempdir().unwrap())
    }

    /// A sandbox with `model.ec2t`, which holds [`sample`].
    pub(crate) fn with_model() -> Self {
        let sandbox = Self::new();
        sandbox.write("model.ec2t", ec2t_format::write(&sample()));
        sandbox
    }

    /// A sandbox with the folder `run`, ready for `ec2t train`.
    pub(crate) fn with_run(settings: &str) -> Self {
        let sandbox = Self::new();
        sandbox.write("run/config.toml", settings);
        sandbox.good("data prepare --run-dir run");
        sandbox.good("scale --run-dir run");
        sandbox
    }

    pub(crate) fn path(&self, file: &str) -> PathBuf {
        self.0.path().join(file)
    }

    /// Writes a file, and the folders above it.
    pub(crate) fn write(&self, file: &str, bytes: impl AsRef<[u8]>) {
        let path = self.path(file);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, bytes).unwrap();
    }

    pub(crate) fn read(&self, file: &str) -> Vec<u8> {
        fs::read(self.path(file)).unwrap_or_else(|error| panic!("{file}: {error}"))
    }

    pub(crate) fn read_text(&self, file: &str) -> String {
        String::from_utf8(self.read(file)).unwrap()
    }

    pub(crate) fn read_json(&self, file: &str) -> Value {
        serde_json::from_slice(&self.read(file)).unwrap()
    }

    /// `ec2t WORDS…` in this folder, not yet started. It finds no dataset but
    /// those that the words name, and no network.
    pub(crate) fn ec2t(&self, words: &str) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_ec2t"));
        command.args(words.split_whitespace()).current_dir(self.0.path());
        command.env_remove("EC2T_DATA_DIR").env("ALL_PROXY", "http://127.0.0.1:9");
        for proxy in ["HTTPS_PROXY", "https_proxy", "all_proxy", "NO_PROXY", "no_proxy"] {
            command.env_remove(proxy);
        }
        command
    }

    /// Runs `ec2t WORDS…` to its good end.
    pub(crate) fn good(&self, words: &str) -> Said {
        good(&mut self.ec2t(words))
    }

    /// Runs `ec2t WORDS…` to its good end; stdout is one JSON value.
    pub(crate) fn json(&self, words: &str) -> Value {
        json(&mut self.ec2t(words))
    }

    /// Runs `ec2t WORDS…` to its bad end and gives what it said on stderr.
    /// Nothing may be on stdout, and no file may have changed or be left over.
    pub(crate) fn fail(&self, code: i32, words: &str) -> String {
        let before = self.snapshot();
        let output = self.ec2t(words).output().unwrap();
        let stderr = String::from_utf8(output.stderr).unwrap();
        assert_eq!(output.status.code(), Some(code), "ec2t {words}: {stderr}");
        assert_eq!(String::from_utf8_lossy(&output.stdout), "", "ec2t {words}: {stderr}");
        assert_eq!(self.snapshot(), before, "ec2t {words}: {stderr}");
        stderr
    }

    /// Every file with its length and time of change, and every folder.
    fn snapshot(&self) -> BTreeMap<PathBuf, Option<(u64, SystemTime)>> {
        let mut found = BTreeMap::new();
        let mut folders = vec![self.0.path().to_owned()];
        while let Some(folder) = folders.pop() {
            for entry in fs::read_dir(&folder).unwrap() {
                let path = entry.unwrap().path();
                let metadata = path.symlink_metadata().unwrap();
                if metadata.is_dir() {
                    folders.push(path.clone());
                    found.insert(path, None);
                } else {
                    found.insert(path, Some((metadata.len(), metadata.modified().unwrap())));
                }
            }
        }
        found
    }
}

/// Runs a command to its good end.
pub(crate) fn good(command: &mut Command) -> Said {
    let Output { status, stdout, stderr } = command.output().unwrap();
    let stderr = String::from_utf8(stderr).unwrap();
    assert!(status.success(), "{command:?}: {status}: {stderr}");
    Said { stdout: String::from_utf8(stdout).unwrap(), stderr }
}

/// Runs a command to its good end; stdout is one JSON value.
pub(crate) fn json(command: &mut Command) -> Value {
    let Said { stdout, .. } = good(command);
    serde_json::from_str(&stdout).unwrap_or_else(|error| panic!("{command:?}: {error}: {stdout}"))
}

/// Asserts that a text has all the parts.
#[track_caller]
pub(crate) fn assert_has(text: &str, parts: &[&str]) {
    for part in parts {
        assert!(text.contains(part), "no `{part}` in: {text}");
    }
}

/// The folder in an environment variable, or `None` and a line that says so.
#[expect(clippy::print_stdout, reason = "a skipped test says so")]
pub(crate) fn folder_of(variable: &str) -> Option<PathBuf> {
    let folder = std::env::var_os(variable).map(PathBuf::from);
    if folder.is_none() {
        println!("skipped: {variable} is not set");
    }
    folder
}

/// The graph of an architecture.
pub(crate) fn graph(arch: &str, classes: usize) -> Graph {
    ec2t_scale::build(arch, &ArchOptions { classes, ..ArchOptions::default() }).unwrap()
}

/// The network for digits, untrained, with four ternary layers.
pub(crate) fn sample() -> Network {
    let network = ec2t_quant::initialize(&graph("digits-cnn", 10), 7).unwrap();
    let (graph, mut tensors, _) = network.into_parts();
    for layer in 2..=5 {
        let weight = tensors.get_mut(&format!("conv{layer}.weight")).unwrap();
        *weight = ternary(weight).into();
    }
    Network::new(graph, tensors).unwrap()
}

/// The signs of the larger values; the others become zeros.
fn ternary(tensor: &Tensor) -> TernaryTensor {
    let values = tensor.to_f32();
    let limit = values.iter().copied().fold(0.0, f32::max) / 3.0;
    let code = |value: &f32| match value.abs() > limit {
        true => value.signum() as i8,
        false => 0,
    };
    let codes = values.iter().map(code).collect();
    TernaryTensor::new(tensor.shape().to_vec(), codes, 0.0625, 0.078_125).unwrap()
}

/// The settings for digits with some of them changed.
pub(crate) fn settings(changes: &[(&str, &str, toml::Value)]) -> String {
    let preset = include_str!("../../../../xtask/pipelines/digits.toml");
    let mut table: toml::Table = preset.parse().unwrap();
    for (section, key, value) in changes {
        let old = table[*section].as_table_mut().unwrap().insert((*key).into(), value.clone());
        assert!(old.is_some(), "the preset has no {section}.{key}");
    }
    table.to_string()
}

/// `settings` with so many epochs of each training stage.
pub(crate) fn epochs(pretrain: i64, ternarize: i64, finetune: i64) -> String {
    settings(&[
        ("pretrain", "epochs", pretrain.into()),
        ("ternarize", "epochs", ternarize.into()),
        ("finetune", "epochs", finetune.into()),
    ])
}

/// Digits as pictures of another size and shape, a folder for each class.
pub(crate) fn pictures(sandbox: &Sandbox) {
    let digits = ec2t_data::load("digits", &ec2t_data::LoadOptions::default()).unwrap();
    for (split, data) in [("train", digits.train), ("val", digits.test)] {
        for index in 0..data.len().min(600) {
            let pixels = data.image(index).unwrap().into_owned();
            let small = GrayImage::from_raw(8, 8, pixels).unwrap();
            let large = imageops::resize(&small, 24, 20, imageops::FilterType::CatmullRom);
            let folder = sandbox.path(&format!("pictures/{split}/{}", data.label(index)));
            fs::create_dir_all(&folder).unwrap();
            large.save(folder.join(format!("{index}.png"))).unwrap();
        }
    }
}

/// The length of a file.
pub(crate) fn file_len(path: &Path) -> u64 {
    path.metadata().unwrap().len()
}
