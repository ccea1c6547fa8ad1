//! Files put into the page.
//!
//! `{{NAME}}` in `index.html` stands for a file: a text as it is, others in base64.

use anyhow::{Context, Result, ensure};

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
        ("cat.png", base64(&read(&source(PICTURE))?)),
        ("ec2t_wasm_bg.wasm", base64(&build.module)),
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

/// Bytes in base64 (RFC 4648, section 4).
pub(super) fn base64(bytes: &[u8]) -> String {
    const LETTERS: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let mut text = String::with_capacity(bytes.len().div_ceil(3) * 4);
    for three in bytes.chunks(3) {
        let value = three.iter().fold(0, |value, byte| value << 8 | u32::from(*byte));
        let value = value << (8 * (3 - three.len()));
        for digit in 0..4 {
            text.push(match digit <= three.len() {
                true => LETTERS[(value >> (18 - 6 * digit)) as usize % 64] as char,
                false => '=',
            });
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn base64_is_that_of_the_rfc() {
        let words = ["", "f", "fo", "foo", "foob", "fooba", "foobar"];
        let expected = ["", "Zg==", "Zm8=", "Zm9v", "Zm9vYg==", "Zm9vYmE=", "Zm9vYmFy"];
        assert_eq!(words.map(|word| base64(word.as_bytes())), expected);
        assert_eq!(base64(&[0xfb, 0xff, 0xfe]), "+//+");
    }

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
