//! The stages of a pipeline, as one table.
//!
//! A stage is one `ec2t` command. It reads its sections of the run's
//! `config.toml` and files that earlier stages wrote, and writes its own; all
//! files are named relative to the run's folder. Which stages run, and in which
//! order, follows from the table alone.

/// One row of the table.
pub(crate) struct Stage {
    /// Name on the command line, in messages, and of the stamp.
    pub(crate) name: &'static str,
    /// The words after `ec2t`.
    pub(crate) command: &'static [&'static str],
    /// Settings that decide the outcome: sections, or single keys (`run.seed`).
    /// The number of threads is none of them: results do not depend on it.
    pub(crate) settings: &'static [&'static str],
    /// Files that decide the outcome.
    pub(crate) reads: &'static [&'static str],
    /// Files that exist once the stage is finished.
    pub(crate) writes: &'static [&'static str],
    /// File from which an interrupted stage goes on, where it can.
    pub(crate) checkpoint: Option<&'static str>,
    /// Whether the stage looks at images, and so takes `--data-dir`.
    pub(crate) data_dir: bool,
    /// Whether the stage takes `--init`.
    pub(crate) init: bool,
    /// Whether the stage takes `--teacher`.
    pub(crate) teacher: bool,
}

/// What most rows have in common.
const COMMON: Stage = Stage {
    name: "",
    command: &[],
    settings: &[],
    reads: &[],
    writes: &[],
    checkpoint: None,
    data_dir: false,
    init: false,
    teacher: false,
};

/// All stages, in the order in which they run.
pub(crate) const STAGES: &[Stage] = &[
    Stage {
        name: "data",
        command: &["data", "prepare"],
        settings: &["run.seed", "data"],
        writes: &["data.json"],
        data_dir: true,
        ..COMMON
    },
    Stage {
        name: "scale",
        command: &["scale"],
        settings: &["arch"],
        reads: &["data.json"],
        writes: &["arch.json"],
        ..COMMON
    },
    Stage {
        name: "pretrain",
        command: &["train"],
        settings: &["run.seed", "teacher", "pretrain"],
        reads: &["data.json", "arch.json"],
        writes: &["pretrain/best.safetensors"],
        checkpoint: Some("pretrain/last.safetensors"),
        data_dir: true,
        init: true,
        teacher: true,
    },
    Stage {
        name: "ternarize",
        command: &["ternarize"],
        settings: &["run.seed", "teacher", "ternarize"],
        reads: &["data.json", "arch.json", "pretrain/best.safetensors"],
        writes: &["ternarize/best.safetensors"],
        checkpoint: Some("ternarize/last.safetensors"),
        data_dir: true,
        teacher: true,
        ..COMMON
    },
    Stage {
        name: "finetune",
        command: &["finetune"],
        settings: &["run.seed", "teacher", "finetune"],
        reads: &[
            "data.json",
            "arch.json",
            "pretrain/best.safetensors",
            "ternarize/best.safetensors",
        ],
        writes: &["finetune/best.safetensors"],
        checkpoint: Some("finetune/last.safetensors"),
        data_dir: true,
        teacher: true,
        ..COMMON
    },
    Stage {
        name: "export",
        command: &["export"],
        settings: &["export"],
        reads: &["data.json", "arch.json", "finetune/best.safetensors"],
        writes: &["model.ec2t"],
        data_dir: true,
        ..COMMON
    },
    Stage {
        name: "eval",
        command: &["eval"],
        reads: &["data.json", "arch.json", "pretrain/best.safetensors", "model.ec2t"],
        writes: &["eval.json"],
        data_dir: true,
        ..COMMON
    },
    Stage {
        name: "report",
        command: &["report"],
        settings: &[
            "run.seed",
            "data",
            "arch",
            "teacher",
            "pretrain",
            "ternarize",
            "finetune",
            "export",
        ],
        reads: &[
            "data.json",
            "arch.json",
            "model.ec2t",
            "eval.json",
            // The report states the time that each stage took.
            "stamps/data.json",
            "stamps/scale.json",
            "stamps/pretrain.json",
            "stamps/ternarize.json",
            "stamps/finetune.json",
            "stamps/export.json",
            "stamps/eval.json",
        ],
        writes: &["report.json", "report.html", "MODEL_CARD.md"],
        ..COMMON
    },
];

/// The place of the stage called `name`.
pub(crate) fn position(name: &str) -> Option<usize> {
    STAGES.iter().position(|stage| stage.name == name)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_file_is_written_once_and_before_it_is_read() {
        let mut written: Vec<String> = Vec::new();
        for stage in STAGES {
            for &file in stage.reads {
                assert!(written.iter().any(|w| w == file), "{} reads {file} too early", stage.name);
            }
            for file in stage.writes.iter().map(|&f| f.to_owned()).chain([stage.stamp_file()]) {
                assert!(!written.contains(&file), "{file} is written twice");
                written.push(file);
            }
        }
    }

    #[test]
    fn stages_are_found_by_name() {
        assert_eq!(position("data"), Some(0));
        assert_eq!(position("report"), Some(STAGES.len() - 1));
        assert_eq!(position("bench"), None);
    }
}
