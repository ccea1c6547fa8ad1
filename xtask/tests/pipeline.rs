//! The pipeline as a program, with a shell script in the place of `ec2t`.
#![cfg(unix)]

use std::os::unix::process::CommandExt;
use std::path::PathBuf;
use std::process::{Child, Command, Output, Stdio};
use std::time::{Duration, Instant};
use std::{fs, thread};

use tempfile::TempDir;

/// A folder for runs, and the one run `runs/digits` in it.
struct Sandbox(TempDir);

impl Sandbox {
    fn new() -> Self {
        Self(tempfile::tempdir().expect("a temporary folder"))
    }

    fn path(&self, file: &str) -> PathBuf {
        self.0.path().join("runs/digits").join(file)
    }

    fn read(&self, file: &str) -> String {
        fs::read_to_string(self.path(file)).unwrap_or_else(|error| panic!("{file}: {error}"))
    }

    fn write(&self, file: &str, text: &str) {
        fs::write(self.path(file), text).unwrap_or_else(|error| panic!("{file}: {error}"));
    }

    /// `cargo xtask pipeline digits ARGUMENTS…`, not yet started.
    fn pipeline(&self, arguments: &[&str]) -> Command {
        // Tests run in the folder of their package.
        let fake = std::path::absolute("tests/fake_ec2t.sh").expect("a current folder");
        let mut command = Command::new(env!("CARGO_BIN_EXE_xtask"));
        command.current_dir(self.0.path()).env("EC2T_BIN", fake);
        command.args(["pipeline", "digits"]).args(arguments);
        command
    }

    /// Runs the pipeline to its good end; gives the commands that it ran.
    fn calls(&self, arguments: &[&str]) -> Vec<String> {
        let output = self.pipeline(arguments).output().expect("xtask starts");
        assert_eq!(code(&output), 0, "{}", stderr(&output));
        self.take_calls()
    }

    /// The commands run since the last call.
    fn take_calls(&self) -> Vec<String> {
        let log = fs::read_to_string(self.path("calls.log")).unwrap_or_default();
        let _ = fs::remove_file(self.path("calls.log"));
        log.lines().map(str::to_owned).collect()
    }

    /// Runs the pipeline to a bad end; gives its exit code and what it said.
    fn fail(&self, arguments: &[&str]) -> (i32, String) {
        let output = self.pipeline(arguments).output().expect("xtask starts");
        (code(&output), stderr(&output))
    }

    /// Starts a pipeline whose training does not end by itself, and waits until
    /// that has begun. Parent and child form a process group of their own.
    fn hang(&self, mut command: Command) -> Child {
        command.env("FAKE_HANG", "train").process_group(0);
        command.stdout(Stdio::null()).stderr(Stdio::piped());
        let pipeline = command.spawn().expect("xtask starts");
        wait_until(|| self.path("hanging").exists());
        pipeline
    }
}

fn code(output: &Output) -> i32 {
    output.status.code().expect("an exit code")
}

fn stderr(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).into_owned()
}

fn wait_until(done: impl Fn() -> bool) {
    let begun = Instant::now();
    while !done() {
        assert!(begun.elapsed() < Duration::from_secs(20), "waited in vain");
        thread::sleep(Duration::from_millis(10));
    }
}

/// `kill SIGNAL PROCESS`; a negative number is a process group.
fn kill(signal: &str, process: &str) {
    let status = Command::new("kill").args([signal, "--", process]).status();
    assert!(status.expect("kill starts").success(), "kill {signal} {process}");
}

/// Sends a signal to a pipeline and its child, as a terminal does.
fn kill_group(signal: &str, pipeline: Child) -> Output {
    kill(signal, &format!("-{}", pipeline.id()));
    pipeline.wait_with_output().expect("it ends")
}

const ALL: [&str; 8] = [
    "data prepare --run-dir runs/digits",
    "scale --run-dir runs/digits",
    "train --run-dir runs/digits",
    "ternarize --run-dir runs/digits",
    "finetune --run-dir runs/digits",
    "export --run-dir runs/digits",
    "eval --run-dir runs/digits",
    "report --run-dir runs/digits",
];

#[test]
fn all_stages_run_once_in_order() {
    let sandbox = Sandbox::new();
    assert_eq!(sandbox.calls(&[]), ALL);
    assert_eq!(sandbox.calls(&[]), [""; 0]);
    let output = sandbox.pipeline(&[]).output().expect("xtask starts");
    let said = String::from_utf8_lossy(&output.stdout).into_owned();
    assert_eq!(said.matches(": up to date (0.").count(), ALL.len(), "{said}");
}

#[test]
fn each_command_is_printed_as_it_could_be_typed() {
    let sandbox = Sandbox::new();
    let output = sandbox.pipeline(&[]).output().expect("xtask starts");
    let said = String::from_utf8_lossy(&output.stdout).into_owned();
    let printed: Vec<_> = said.lines().filter_map(|line| line.strip_prefix("$ ec2t ")).collect();
    assert_eq!(printed, ALL);
}

#[test]
fn a_stamp_states_inputs_time_and_end() {
    let sandbox = Sandbox::new();
    sandbox.calls(&["--until", "scale"]);
    let stamp = sandbox.read("stamps/scale.json");
    for part in ["\"arch.name\": \"\\\"digits-cnn\\\"\"", "\"data.json\": \"", "\"seconds\": 0."] {
        assert!(stamp.contains(part), "{part} in {stamp}");
    }
    assert!(stamp.contains("\"finished\": \"20"), "{stamp}");
}

#[test]
fn until_stops_and_from_starts_again() {
    let sandbox = Sandbox::new();
    assert_eq!(sandbox.calls(&["--until", "scale"]), ALL[..2]);
    assert_eq!(sandbox.calls(&["--until", "pretrain"]), ALL[2..3]);
    assert_eq!(
        sandbox.calls(&["--from", "scale", "--until", "pretrain"]),
        [ALL[1], "train --run-dir runs/digits --restart"]
    );
}

#[test]
fn wrong_arguments_end_with_code_2_and_write_nothing() {
    let sandbox = Sandbox::new();
    for (arguments, expected) in [
        (&["--from", "pretrian"][..], "a similar value exists: 'pretrain'"),
        (&["--until", "bench"], "possible values: data, scale, pretrain"),
        (&["--from", "eval", "--until", "data"], "--from eval comes after --until data"),
        (&["--set", "pretrain.epoch=1"], "no such key; nearest: pretrain.epochs"),
        (&["--set", "pretrain.epochs=few"], "expected a value of type integer, found `few`"),
        (&["--set", "pretrain.epochs"], "expected section.key=value"),
        (&["--name", "../elsewhere"], "expected a name without path separators"),
    ] {
        let (code, said) = sandbox.fail(arguments);
        assert_eq!(code, 2, "{arguments:?}: {said}");
        assert!(said.contains(expected), "{arguments:?}: {said}");
    }
    assert_eq!(fs::read_dir(sandbox.0.path()).expect("readable").count(), 0);
}

#[test]
fn unknown_presets_are_refused_and_files_accepted() {
    let sandbox = Sandbox::new();
    let pipeline = |preset: &str| {
        let mut command = Command::new(env!("CARGO_BIN_EXE_xtask"));
        command.args(["pipeline", preset, "--dry-run"]).current_dir(sandbox.0.path());
        command.output().expect("xtask starts")
    };
    let refused = pipeline("digit");
    assert_eq!(code(&refused), 2);
    assert!(
        stderr(&refused)
            .contains("no preset `digit`; there are cifar10, cifar100, digits, fashion-mnist, ")
    );

    fs::copy("pipelines/digits.toml", sandbox.0.path().join("mine.toml")).expect("a copy");
    let accepted = pipeline("mine.toml");
    assert_eq!(code(&accepted), 0, "{}", stderr(&accepted));
    assert!(String::from_utf8_lossy(&accepted.stdout).contains("--run-dir runs/mine"));
}

#[test]
fn settings_reach_the_run() {
    let sandbox = Sandbox::new();
    sandbox.calls(&["--until", "data", "--set", "pretrain.lr=1", "--set", "arch.name=lenet5"]);
    let config = sandbox.read("config.toml");
    assert!(config.contains("lr = 1.0\n") && config.contains("name = \"lenet5\"\n"), "{config}");
    sandbox.calls(&["--until", "data"]);
    assert!(sandbox.read("config.toml").contains("name = \"digits-cnn\"\n"));
}

#[test]
fn a_changed_section_restarts_its_stage_and_what_it_changes() {
    let sandbox = Sandbox::new();
    sandbox.calls(&[]);
    let restarted = sandbox.calls(&["--set", "pretrain.lr=0.5"]);
    let [train, ternarize, finetune] = [2, 3, 4].map(|stage| format!("{} --restart", ALL[stage]));
    assert_eq!(restarted, [&train, &ternarize, &finetune, ALL[5], ALL[6], ALL[7]]);
}

#[test]
fn stages_that_read_the_same_as_before_are_not_run() {
    let sandbox = Sandbox::new();
    sandbox.calls(&[]);
    let arguments = ["--set", "pretrain.epochs=7", "--set", "run.threads=3"];
    let restarted = sandbox.calls(&arguments);
    let train = format!("{} --restart", ALL[2]);
    assert_eq!(restarted, [&train, ALL[7]], "the report states times, so it is new too");
}

#[test]
fn a_changed_file_restarts_the_stages_that_read_it() {
    let sandbox = Sandbox::new();
    sandbox.calls(&["--until", "ternarize"]);
    sandbox.write("pretrain/best.safetensors", "another");
    let restarted = sandbox.calls(&["--until", "ternarize"]);
    assert_eq!(restarted, [format!("{} --restart", ALL[3])]);
}

#[test]
fn a_missing_file_restarts_the_stage_that_writes_it() {
    let sandbox = Sandbox::new();
    sandbox.calls(&["--until", "scale"]);
    fs::remove_file(sandbox.path("arch.json")).expect("written before");
    assert_eq!(sandbox.calls(&["--until", "scale"]), ALL[1..2]);
}

#[test]
fn a_stage_that_does_not_write_its_files_is_not_finished() {
    let sandbox = Sandbox::new();
    sandbox.calls(&["--until", "data"]);
    let mut command = sandbox.pipeline(&["--until", "scale"]);
    let output = command.env("EC2T_BIN", "true").output().expect("xtask starts");
    assert_eq!(code(&output), 1);
    assert!(stderr(&output).contains("scale: ended well, but did not write arch.json"));
    assert_eq!(sandbox.calls(&["--until", "scale"]), ALL[1..2]);
}

#[test]
fn init_is_passed_on_and_its_content_counts() {
    let sandbox = Sandbox::new();
    let checkpoint = sandbox.0.path().join("resnet.th");
    let arguments = ["--until", "pretrain", "--init", "resnet.th"];
    fs::write(&checkpoint, "one").expect("writable");
    assert_eq!(sandbox.calls(&arguments)[2], "train --run-dir runs/digits --init resnet.th");
    assert_eq!(sandbox.calls(&arguments), [""; 0]);
    fs::write(&checkpoint, "two").expect("writable");
    let restarted = sandbox.calls(&arguments);
    assert_eq!(restarted, ["train --run-dir runs/digits --init resnet.th --restart"]);
    fs::remove_file(&checkpoint).expect("written before");
    let (code, said) = sandbox.fail(&arguments);
    assert!(code == 1 && said.contains("error: resnet.th: No such file"), "{code}: {said}");
}

#[test]
fn growing_is_passed_on_and_counts() {
    let sandbox = Sandbox::new();
    fs::write(sandbox.0.path().join("resnet.th"), "one").expect("writable");
    let arguments = ["--until", "pretrain", "--init", "resnet.th", "--grow", "resnet20"];
    let train = "train --run-dir runs/digits --init resnet.th --grow";
    assert_eq!(sandbox.calls(&arguments)[2], format!("{train} resnet20"));
    assert_eq!(sandbox.calls(&arguments), [""; 0]);
    assert_eq!(sandbox.calls(&arguments[..5]), [format!("{train} --restart")]);
    let (code, said) = sandbox.fail(&["--grow"]);
    assert!(code == 2 && said.contains("--init"), "{code}: {said}");
}

#[test]
fn the_data_folder_is_passed_on_and_does_not_count() {
    let sandbox = Sandbox::new();
    let calls = sandbox.calls(&["--data-dir", "my data"]);
    let given: Vec<_> = calls.iter().map(|c| c.contains("--data-dir my data")).collect();
    assert_eq!(given, [true, false, true, true, true, true, true, false]);
    assert_eq!(sandbox.calls(&["--data-dir", "elsewhere"]), [""; 0]);
}

#[test]
fn a_failure_is_passed_on_and_the_stage_run_again() {
    let sandbox = Sandbox::new();
    let output = sandbox.pipeline(&[]).env("FAKE_FAIL", "ternarize").output().expect("starts");
    assert_eq!(code(&output), 3);
    assert_eq!(stderr(&output), "error: ternarize failed (exit status: 3)\n");
    assert_eq!(sandbox.take_calls(), ALL[..4]);
    assert_eq!(sandbox.calls(&[]), ALL[3..]);
}

#[test]
fn an_interrupted_run_goes_on() {
    let sandbox = Sandbox::new();
    let pipeline = sandbox.hang(sandbox.pipeline(&["--from", "scale"]));
    let output = kill_group("-INT", pipeline);
    assert_eq!(code(&output), 130);
    assert_eq!(stderr(&output), "interrupted; to continue: cargo xtask pipeline digits\n");

    sandbox.take_calls();
    assert_eq!(sandbox.calls(&[]), ALL[2..]);
    assert_eq!(sandbox.read("pretrain/last.safetensors"), "unfinished\n");
}

#[test]
fn an_interrupted_run_stops_even_if_its_stage_finishes() {
    let sandbox = Sandbox::new();
    let mut command = sandbox.pipeline(&[]);
    command.env("FAKE_FINISH", "yes");
    let output = kill_group("-INT", sandbox.hang(command));
    assert_eq!(code(&output), 130);
    assert_eq!(sandbox.take_calls(), ALL[..3]);
    assert_eq!(sandbox.calls(&[]), ALL[3..]);
}

#[test]
fn unfinished_work_with_other_settings_is_forgotten() {
    for signal in ["-INT", "-KILL"] {
        let sandbox = Sandbox::new();
        kill_group(signal, sandbox.hang(sandbox.pipeline(&[])));
        sandbox.take_calls();
        let calls = sandbox.calls(&["--until", "pretrain", "--set", "pretrain.lr=0.5"]);
        assert_eq!(calls, [format!("{} --restart", ALL[2])], "after {signal}");
        assert!(!sandbox.path("pretrain/last.safetensors").exists(), "after {signal}");
    }
}

#[test]
fn a_run_in_use_is_refused_until_its_last_process_ends() {
    let sandbox = Sandbox::new();
    let mut pipeline = sandbox.hang(sandbox.pipeline(&[]));
    let (code, said) = sandbox.fail(&[]);
    assert_eq!(code, 1);
    let holder = format!("in use by another pipeline (process {}, or its child)", pipeline.id());
    assert!(said.contains("runs/digits/pipeline.lock") && said.contains(&holder), "{said}");

    pipeline.kill().expect("it runs");
    pipeline.wait().expect("it ends");
    assert_eq!(sandbox.fail(&[]).0, 1, "the child still works there");

    kill("-KILL", sandbox.read("hanging").trim());
    sandbox.take_calls();
    wait_until(|| sandbox.pipeline(&[]).output().is_ok_and(|output| output.status.success()));
    assert_eq!(sandbox.take_calls(), ALL[2..]);
}

#[test]
fn a_dry_run_prints_commands_and_writes_nothing() {
    let sandbox = Sandbox::new();
    let dry_run = |arguments: &[&str]| -> Vec<String> {
        let mut command = sandbox.pipeline(&["--dry-run"]);
        let output = command.args(arguments).env_remove("EC2T_BIN").output().expect("starts");
        let said = String::from_utf8_lossy(&output.stdout).into_owned();
        said.lines().filter_map(|line| line.strip_prefix("$ ec2t ").map(str::to_owned)).collect()
    };
    assert_eq!(dry_run(&[]), ALL);
    assert_eq!(fs::read_dir(sandbox.0.path()).expect("readable").count(), 0);

    sandbox.calls(&["--until", "ternarize"]);
    let before = sandbox.read("config.toml");
    let [train, ternarize] = [2, 3].map(|stage| format!("{} --restart", ALL[stage]));
    let expected = [&train, &ternarize, ALL[4], ALL[5], ALL[6], ALL[7]];
    assert_eq!(dry_run(&["--set", "pretrain.lr=0.5"]), expected);
    assert_eq!(sandbox.read("config.toml"), before);
    assert_eq!(sandbox.take_calls(), [""; 0]);
}

#[test]
fn presets_and_stages_are_listed() {
    let mut command = Command::new(env!("CARGO_BIN_EXE_xtask"));
    let output = command.args(["pipeline", "--list"]).output().expect("xtask starts");
    let said = String::from_utf8_lossy(&output.stdout).into_owned();
    for line in ["  cifar10    ResNet-20 on CIFAR-10", "  export     model.ec2t"] {
        assert!(said.contains(line), "{said}");
    }
}
