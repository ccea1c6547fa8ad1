//! Commands as a POSIX shell reads them.

/// One line that a shell splits into exactly these words.
pub(crate) fn line<'w>(words: impl IntoIterator<Item = &'w str>) -> String {
    words.into_iter().map(quoted).collect::<Vec<_>>().join(" ")
}

/// A word, in quotes where it needs them.
fn quoted(word: &str) -> String {
    let is_plain = |c: char| c.is_alphanumeric() || "-_./=:,+@%".contains(c);
    match !word.is_empty() && word.chars().all(is_plain) {
        true => word.to_owned(),
        false => format!("'{}'", word.replace('\'', r"'\''")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    #[cfg(unix)]
    fn a_shell_gives_the_words_back() {
        let words =
            ["train", "--lr=1e-3", "my runs/é", "", "it's", "$HOME", "~", "a\nb", "*", "\\"];
        let script = format!("printf '%s|' {}", line(words));
        let output = std::process::Command::new("sh").args(["-c", &script]).output().unwrap();
        let said = String::from_utf8(output.stdout).unwrap();
        assert_eq!(said.strip_suffix('|').unwrap().split('|').collect::<Vec<_>>(), words);
    }

    #[test]
    fn only_words_that_need_them_have_quotes() {
        assert_eq!(line(["ec2t", "run", "a b.png", "x=1"]), "ec2t run 'a b.png' x=1");
    }
}
