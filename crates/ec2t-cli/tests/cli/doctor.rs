//! `ec2t doctor`, `ec2t completions` and `ec2t man`.

use std::os::unix::fs::PermissionsExt;

use crate::util::{Sandbox, assert_has, json};

#[test]
fn a_sound_machine_has_no_problems() {
    let sandbox = Sandbox::new();
    std::fs::create_dir_all(sandbox.path("data/cifar-10-batches-bin")).unwrap();
    let found = sandbox.json("doctor --data-dir data --json");
    assert_eq!(found["problems"], serde_json::json!([]));
    assert_eq!(found["version"], env!("CARGO_PKG_VERSION"));
    let sets = found["instruction_sets"].as_array().unwrap();
    assert!(sets.contains(&"portable".into()) && sets.contains(&found["isa"]), "{found}");
    let datasets = found["datasets"].as_array().unwrap();
    let cifar10 = datasets.iter().find(|dataset| dataset["name"] == "cifar10").unwrap();
    assert_eq!(cifar10["folder"], "data/cifar-10-batches-bin");
    let others = datasets.iter().filter(|dataset| dataset["folder"].is_null()).count();
    assert_eq!(others, datasets.len() - 1);

    let text = sandbox.good("doctor --data-dir data").stdout;
    assert_has(&text, &["data/cifar-10-batches-bin", "not found", "problems\n  none"]);
}

#[test]
fn what_is_set_and_cannot_be_used_is_a_problem() {
    let sandbox = Sandbox::new();
    let mut command = sandbox.ec2t("doctor --json");
    command.env("EC2T_ISA", "sse9").env("EC2T_DATA_DIR", "no-such-folder");
    command.env("EC2T_PYTHON", "./no-such-python");
    let output = command.output().unwrap();
    assert_eq!(output.status.code(), Some(1));
    let found: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
    let problems = found["problems"].as_array().unwrap();
    assert_eq!(problems.len(), 3, "{found}");
    for (problem, part) in problems.iter().zip(["sse9", "no-such-folder", "no-such-python"]) {
        assert_has(problem.as_str().unwrap(), &[part]);
    }
    assert_has(&String::from_utf8(output.stderr).unwrap(), &["3 problems"]);
}

#[test]
fn a_python_says_what_it_has() {
    let sandbox = Sandbox::new();
    sandbox.write("python", "#!/bin/sh\necho python 3.99.1\necho onnxruntime 9.8\n");
    let executable = std::fs::Permissions::from_mode(0o755);
    std::fs::set_permissions(sandbox.path("python"), executable).unwrap();
    let mut command = sandbox.ec2t("doctor --json");
    let found = json(command.env("EC2T_PYTHON", "./python"));
    let versions = serde_json::json!([["python", "3.99.1"], ["onnxruntime", "9.8"]]);
    assert_eq!(found["python"]["versions"], versions);
}

#[test]
fn every_shell_has_completions_of_all_commands() {
    let sandbox = Sandbox::new();
    for shell in ["bash", "zsh", "fish", "elvish", "powershell"] {
        let script = sandbox.good(&format!("completions {shell}")).stdout;
        assert_has(&script, &["calibrate", "ternarize", "target-sparsity"]);
    }
    assert_has(&sandbox.fail(2, "completions csh"), &["csh"]);
}

#[test]
fn every_command_has_a_manual_page() {
    let sandbox = Sandbox::new();
    assert_has(&sandbox.good("man -o pages").stderr, &["pages"]);
    let help = sandbox.good("--help").stdout;
    let commands = help.lines().skip_while(|line| *line != "Commands:").skip(1);
    let commands = commands.take_while(|line| !line.is_empty());
    // Indented by two; the lines of an explanation by more.
    let names = commands.filter_map(|line| line.strip_prefix("  ")?.split(' ').next());
    let names: Vec<&str> = names.filter(|name| !name.is_empty() && *name != "help").collect();
    assert!(names.len() > 15, "{names:?}");
    for name in names {
        let page = sandbox.read_text(&format!("pages/ec2t-{name}.1"));
        assert_has(&page, &[".SH NAME", ".SH OPTIONS", &format!("ec2t\\-{name}")]);
        assert!(sandbox.good(&format!("man {name}")).stdout.trim_end() == page.trim_end());
    }
    assert_has(&sandbox.read_text("pages/ec2t-scale-search.1"), &["\\-\\-until"]);
    assert_has(&sandbox.good("man").stdout, &["ec2t\\-train(1)"]);
    assert_has(&sandbox.fail(2, "man dance"), &["there is no command `dance`"]);
}
