//! Files put into the page.
//!
//! `{{NAME}}` in `index.html` stands for a file: a text as it is, others in base64.

use anyhow::{Context, Result, ensure};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;

use super::{Build, read, read_text, source};

/// The folder of the page's own files.
pub(super) const FOLDER: &str = "crates/ec2t-wasm/page";
/// The picture that the page shows first.
pub(super) const PICTURE: &str = "crates/ec2t-infer/models/cat.png";

/// The page with all files in it.
pub(super) fn assemble(build: &Build) -> Result<String> {
    let own = |name: &str| read_text(&source(FOLDER).join(name));
    let files = [
        ("style.css", own("style.css")?),
        ("ec2t_wasm.js", build.script.clone()),
        ("page.js", own("page.js")?),
        ("cat.png", STANDARD.encode(read(&source(PICTURE))?)),
        ("ec2t_wasm_bg.wasm", STANDARD.encode(&build.module)),
    ];
    fill(&own("index.html")?, &files)
}

/// The file of a test, as it stands beside the page's own.
pub(super) fn test_script(name: &str) -> Result<String> {
    read_text(&source(FOLDER).join(name))
}

/// The page with each file in the one place that names it.
fn fill(page: &str, files: &[(&str, String)]) -> Result<String> {
    let mut filled = String::new();
    let mut rest = page;
    let mut places = 0;
    while let Some((before, behind)) = rest.split_once("{{") {
        let (name, after) = behind.split_once("}}").context("no }} behind {{")?;
        let file = files.iter().find(|(known, _)| *known == name);
        let (_, text) = file.with_context(|| format!("no file for {{{{{name}}}}}"))?;
        ensure!(!text.contains("</script"), "{name} would end the script that it is in");
        filled.extend([before, text.trim_end()]);
        (rest, places) = (after, places + 1);
    }
    ensure!(places == files.len(), "{places} places for {} files", files.len());
    filled.push_str(rest);
    Ok(filled)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_file_has_one_place() {
        let files = |b: &str| [("a", "1\n".to_owned()), ("b", b.to_owned())];
        assert_eq!(fill("<{{a}}>{{b}}.", &files("{{a}}")).unwrap(), "<1>{{a}}.");
        let error = |page: &str, b: &str| fill(page, &files(b)).unwrap_err().to_string();
        assert_eq!(error("{{a}}", "2"), "1 places for 2 files");
        assert_eq!(error("{{a}}{{c}}", "2"), "no file for {{c}}");
        assert_eq!(error("{{a}}{{b}}", "</script>"), "b would end the script that it is in");
    }
}
