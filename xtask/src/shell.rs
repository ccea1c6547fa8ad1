//! Commands as a user would type them.

use std::ffi::OsStr;

/// One line that a POSIX shell splits into exactly these words.
pub(crate) fn line<W: AsRef<OsStr>>(words: impl IntoIterator<Item = W>) -> String {
    let quoted: Vec<_> = words.into_iter().map(|w| quote(&w.as_ref().to_string_lossy())).collect();
    quoted.join(" ")
}

fn quote(word: &str) -> String {
    let plain = |c: char| c.is_alphanumeric() || "-_./=:,+@%".contains(c);
    if !word.is_empty() && word.chars().all(plain) {
        word.to_owned()
    } else {
        format!("'{}'", word.replace('\'', r"'\''"))
    }
}

#[cfg(test)]
mod tests {
    use super::line;

    #[test]
    fn only_words_that_need_it_are_quoted() {
        let words = ["ec2t", "train", "--set", "run.seed=1", "my runs/a", "", "it's"];
        assert_eq!(line(words), r"ec2t train --set run.seed=1 'my runs/a' '' 'it'\''s'");
    }
}
