//! Streams that are closed or full, and output to devices.

use std::fs::{self, File};
use std::os::unix::fs::{FileTypeExt, PermissionsExt, symlink};
use std::process::Stdio;

use crate::util::{Sandbox, assert_has, good, sample};

/// A pipe that nobody reads.
fn closed_pipe() -> Stdio {
    let (_, writer) = std::io::pipe().unwrap();
    writer.into()
}

/// A sandbox with a checkpoint and the command that imports it to a file.
fn import_to(file: &str) -> (Sandbox, String) {
    let sandbox = Sandbox::new();
    ec2t_quant::save_network(&sandbox.path("net.safetensors"), &sample()).unwrap();
    (sandbox, format!("import net.safetensors --arch digits-cnn -o {file}"))
}

#[test]
fn a_reader_that_goes_away_is_no_error() {
    let sandbox = Sandbox::with_model();
    let said = good(sandbox.ec2t("inspect model.ec2t").stdout(closed_pipe()));
    assert_eq!(said.stderr, "");
    // Without stderr, the work is still done and errors keep their codes.
    let (sandbox, words) = import_to("model.ec2t");
    good(sandbox.ec2t(&words).stderr(closed_pipe()));
    assert!(sandbox.path("model.ec2t").exists());
    let status = sandbox.ec2t("inspect none.ec2t").stderr(closed_pipe()).status().unwrap();
    assert_eq!(status.code(), Some(3));
}

#[test]
#[cfg(target_os = "linux")]
fn a_full_disk_is_told() {
    let full = File::options().write(true).open("/dev/full").unwrap();
    let sandbox = Sandbox::with_model();
    let output = sandbox.ec2t("inspect model.ec2t").stdout(full).output().unwrap();
    assert_eq!(output.status.code(), Some(3));
    assert_has(&String::from_utf8_lossy(&output.stderr), &["stdout", "No space left"]);

    let (sandbox, words) = import_to("full");
    symlink("/dev/full", sandbox.path("full")).unwrap();
    assert_has(&sandbox.fail(3, &words), &["cannot write full", "No space left"]);
}

#[test]
fn a_device_is_written_to_and_not_replaced() {
    let (sandbox, words) = import_to("null");
    symlink("/dev/null", sandbox.path("null")).unwrap();
    sandbox.good(&words);
    assert!(fs::metadata(sandbox.path("null")).unwrap().file_type().is_char_device());
}

#[test]
fn no_file_can_be_written_below_a_file() {
    let (sandbox, words) = import_to("net.safetensors/model.ec2t");
    assert_has(&sandbox.fail(3, &words), &["cannot write net.safetensors/model.ec2t"]);
    let (sandbox, words) = import_to("folder");
    fs::create_dir(sandbox.path("folder")).unwrap();
    assert_has(&sandbox.fail(3, &words), &["cannot write folder"]);
}

#[test]
fn a_new_file_is_as_readable_as_any_other() {
    let (sandbox, words) = import_to("model.ec2t");
    sandbox.good(&words);
    sandbox.write("other", "");
    let mode = |file: &str| fs::metadata(sandbox.path(file)).unwrap().permissions().mode();
    assert_eq!(mode("model.ec2t"), mode("other"));
}
