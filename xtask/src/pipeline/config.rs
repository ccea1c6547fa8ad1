//! The settings of a run: a preset's text with `--set` values put into it.
//!
//! A preset is TOML: sections of plain values. It is complete, so a key that it
//! does not have is unknown, and a new value must be of the old one's type (an
//! integer may stand where a float is meant). Values are replaced in the text
//! itself: `config.toml` of a run keeps the order and the comments of its preset.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::{fs, mem};

use anyhow::{Context, Result, bail};
use toml::{Spanned, Value};

use crate::cargo;

type Sections = BTreeMap<String, BTreeMap<String, Spanned<Value>>>;

/// A preset, resolved or on its way there.
pub(crate) struct Config {
    text: String,
    sections: Sections,
}

/// The file of a preset, given by its name or as a path.
pub(crate) fn preset_file(preset: &str) -> Result<PathBuf> {
    let path = Path::new(preset);
    if path.extension().is_some_and(|extension| extension == "toml") {
        return Ok(path.to_owned());
    }
    let presets = presets()?;
    match presets.iter().find(|file| file.file_stem() == Some(path.as_os_str())) {
        Some(file) => Ok(file.clone()),
        None => {
            let known: Vec<_> =
                presets.iter().filter_map(|file| file.file_stem()?.to_str()).collect();
            bail!("no preset `{preset}`; there are {}, or give a .toml file", known.join(", "))
        }
    }
}

/// The presets that come with the workspace, sorted by name.
pub(crate) fn presets() -> Result<Vec<PathBuf>> {
    let folder = cargo::package_folder().join("pipelines");
    let entries = fs::read_dir(&folder).with_context(|| folder.display().to_string())?;
    let mut files = entries.map(|e| Ok(e?.path())).collect::<Result<Vec<_>>>()?;
    files.sort();
    Ok(files)
}

impl Config {
    pub(crate) fn read(file: &Path) -> Result<Self> {
        let text = fs::read_to_string(file).with_context(|| file.display().to_string())?;
        Self::parse(text).with_context(|| file.display().to_string())
    }

    fn parse(text: String) -> Result<Self> {
        let sections = toml::from_str(&text)?;
        Ok(Self { text, sections })
    }

    /// The settings as TOML.
    pub(crate) fn text(&self) -> &str {
        &self.text
    }

    /// What the preset is, in its own words: its first line, a comment.
    pub(crate) fn summary(&self) -> &str {
        self.text.lines().next().unwrap_or_default().trim_start_matches(['#', ' '])
    }

    /// Applies one `section.key=value`.
    pub(crate) fn set(&mut self, assignment: &str) -> Result<()> {
        let Some((key, raw)) = assignment.split_once('=') else {
            bail!("--set {assignment}: expected section.key=value");
        };
        let Some(old) = self.find(key) else {
            bail!("--set {key}: no such key; nearest: {}", self.nearest(key).join(", "));
        };
        let Some(new) = parse_like(old.get_ref(), raw) else {
            bail!(
                "--set {key}: expected a value of type {}, found `{raw}`",
                old.get_ref().type_str()
            );
        };
        self.text.replace_range(old.span(), &new.to_string());
        *self = Self::parse(mem::take(&mut self.text))?;
        Ok(())
    }

    /// The settings of whole sections (`pretrain`) and single keys (`run.seed`),
    /// each as `section.key` with its value in TOML.
    pub(crate) fn settings(&self, names: &[&str]) -> Result<BTreeMap<String, String>> {
        let mut settings = BTreeMap::new();
        for &name in names {
            let before = settings.len();
            settings.extend(
                self.entries()
                    .filter(|(section, key, _)| name == *section || is_path(name, section, key))
                    .map(|(section, key, value)| (format!("{section}.{key}"), value.to_string())),
            );
            if settings.len() == before {
                bail!("the preset has no `{name}`");
            }
        }
        Ok(settings)
    }

    fn entries(&self) -> impl Iterator<Item = (&String, &String, &Value)> {
        self.sections.iter().flat_map(|(section, keys)| {
            keys.iter().map(move |(key, value)| (section, key, value.get_ref()))
        })
    }

    fn find(&self, path: &str) -> Option<&Spanned<Value>> {
        let (section, key) = path.split_once('.')?;
        self.sections.get(section)?.get(key)
    }

    /// The keys spelled most like `wanted`, which may lack its section.
    fn nearest(&self, wanted: &str) -> Vec<String> {
        let distance = |section: &str, key: &str| match wanted.contains('.') {
            true => strsim::levenshtein(&format!("{section}.{key}"), wanted),
            false => strsim::levenshtein(key, wanted),
        };
        let ranked: Vec<_> =
            self.entries().map(|(s, k, _)| (distance(s, k), format!("{s}.{k}"))).collect();
        let least = ranked.iter().map(|(distance, _)| *distance).min();
        ranked.into_iter().filter(|(d, _)| Some(*d) == least).map(|(_, key)| key).collect()
    }
}

fn is_path(path: &str, section: &str, key: &str) -> bool {
    path.split_once('.') == Some((section, key))
}

/// Reads `raw` as a value of the type of `old`; strings need no quotes, and commas
/// part those of a list.
fn parse_like(old: &Value, raw: &str) -> Option<Value> {
    match old {
        Value::String(_) => Some(Value::String(raw.to_owned())),
        Value::Integer(_) => raw.parse().ok().map(Value::Integer),
        Value::Float(_) => raw.parse().ok().filter(|x: &f64| x.is_finite()).map(Value::Float),
        Value::Boolean(_) => raw.parse().ok().map(Value::Boolean),
        Value::Array(_) => {
            let words = raw.split(',').filter(|word| !word.is_empty());
            Some(Value::Array(words.map(|word| Value::String(word.to_owned())).collect()))
        }
        Value::Datetime(_) | Value::Table(_) => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::pipeline::stage::STAGES;

    const PRESET: &str = "\
# A test.
[run]
seed = 1 # of everything

[train]
lr = 0.1
optimizer = \"sgd\"
hflip = true
epochs = 3

[tune]
epochs = 2
";

    fn config() -> Config {
        Config::parse(PRESET.to_owned()).expect("valid TOML")
    }

    fn refusal(assignment: &str) -> String {
        config().set(assignment).expect_err(assignment).to_string()
    }

    #[test]
    fn set_replaces_values_and_nothing_else() {
        let mut config = config();
        for assignment in
            ["run.seed=12345", "train.lr=1", "train.optimizer=adam", "train.hflip=false"]
        {
            config.set(assignment).expect(assignment);
        }
        let expected = PRESET
            .replace("seed = 1 ", "seed = 12345 ")
            .replace("0.1", "1.0")
            .replace("sgd", "adam")
            .replace("true", "false");
        assert_eq!(config.text(), expected);
    }

    #[test]
    fn commas_part_the_words_of_a_list() {
        let words = |raw| parse_like(&Value::Array(Vec::new()), raw).expect("a list").to_string();
        assert_eq!(words("classifier,depthwise"), r#"["classifier", "depthwise"]"#);
        assert_eq!(words(""), "[]");
    }

    #[test]
    fn the_last_of_two_values_wins() {
        let mut config = config();
        config.set("train.lr=1e-4").expect("a float");
        config.set("train.lr=0.25").expect("a float");
        assert_eq!(config.settings(&["train.lr"]).expect("known")["train.lr"], "0.25");
    }

    #[test]
    fn unknown_keys_are_refused_with_the_nearest() {
        assert_eq!(
            refusal("train.epoch=1"),
            "--set train.epoch: no such key; nearest: train.epochs"
        );
        assert_eq!(
            refusal("epochs=1"),
            "--set epochs: no such key; nearest: train.epochs, tune.epochs"
        );
        assert_eq!(refusal("train.lr"), "--set train.lr: expected section.key=value");
    }

    #[test]
    fn values_of_another_type_are_refused() {
        for (assignment, expected) in [
            ("train.epochs=many", "integer"),
            ("train.epochs=1.5", "integer"),
            ("train.lr=fast", "float"),
            ("train.lr=nan", "float"),
            ("train.hflip=1", "boolean"),
        ] {
            let message = refusal(assignment);
            assert!(message.contains(&format!("type {expected}")), "{message}");
        }
    }

    #[test]
    fn settings_are_sections_or_single_keys() {
        let settings = config().settings(&["run.seed", "tune"]).expect("known names");
        let expected = [("run.seed", "1"), ("tune.epochs", "2")];
        assert_eq!(settings, expected.map(|(k, v)| (k.to_owned(), v.to_owned())).into());
        assert!(config().settings(&["export"]).is_err());
    }

    #[test]
    fn presets_have_the_same_keys_of_the_same_types_and_all_that_stages_need() {
        // Of pictures in files alone.
        const LEFT_OUT: [&str; 3] = ["image_size", "crop", "resized_crop"];
        let schema = |config: &Config| -> Vec<String> {
            let entries = config.entries().filter(|(_, key, _)| !LEFT_OUT.contains(&key.as_str()));
            entries.map(|(s, k, v)| format!("{s}.{k}: {}", v.type_str())).collect()
        };
        let configs: Vec<_> =
            presets().unwrap().iter().map(|file| Config::read(file).unwrap()).collect();
        assert!(configs.len() >= 2);
        for config in &configs {
            assert_eq!(schema(config), schema(&configs[0]), "{}", config.summary());
            for stage in STAGES {
                config.settings(stage.settings).expect(stage.name);
            }
        }
    }
}
