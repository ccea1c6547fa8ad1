//! Writes numbers for people.

/// A number with that many decimals and a true minus sign.
pub(super) fn decimal(value: f64, decimals: usize) -> String {
    let text = format!("{value:.decimals$}");
    match text.strip_prefix('-') {
        Some(digits) if digits.bytes().any(|digit| (b'1'..=b'9').contains(&digit)) => {
            format!("−{digits}")
        }
        Some(digits) => digits.to_owned(),
        None => text,
    }
}

/// A percentage, of 0…100, with that many decimals.
pub(super) fn percent(value: f64, decimals: usize) -> String {
    decimal(value, decimals) + " %"
}

/// A number of at least three digits with a prefix of its unit: 40551040 and
/// `B` → `40.6 MB`.
pub(super) fn prefixed(value: u64, unit: &str) -> String {
    let exponent = (value.max(1).ilog10() / 3).min(4);
    let prefix = ["", "k", "M", "G", "T"][exponent as usize];
    let scaled = value as f64 / 1000f64.powi(exponent as i32);
    let decimals = if exponent == 0 || scaled >= 99.95 { 0 } else { 1 };
    format!("{} {prefix}{unit}", decimal(scaled, decimals)).trim_end().to_owned()
}

/// A time: `0.42 s`, `12.5 s`, `3 min 20 s`, `2 h 05 min`.
pub(super) fn duration(seconds: f64) -> String {
    let whole = seconds.round().max(0.0) as u64;
    match whole {
        0..60 if seconds < 1.0 => decimal(seconds, 2) + " s",
        0..60 => decimal(seconds, 1) + " s",
        60..3600 => format!("{} min {:02} s", whole / 60, whole % 60),
        _ => format!("{} h {:02} min", whole / 3600, whole % 3600 / 60),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn minus_is_a_minus_and_zero_has_none() {
        assert_eq!(decimal(-0.724, 2), "−0.72");
        assert_eq!(decimal(-0.001, 2), "0.00");
        assert_eq!(percent(91.01, 2), "91.01 %");
    }

    #[test]
    fn prefixes_keep_three_digits() {
        let texts = [0, 999, 1000, 99_940, 99_960, 269_722, 40_551_040].map(|n| prefixed(n, "B"));
        assert_eq!(texts, ["0 B", "999 B", "1.0 kB", "99.9 kB", "100 kB", "270 kB", "40.6 MB"]);
        assert_eq!(prefixed(40_551_040, ""), "40.6 M");
    }

    #[test]
    fn durations_change_their_unit() {
        let texts = [0.0, 0.42, 12.54, 59.7, 200.0, 7_500.0].map(duration);
        assert_eq!(texts, ["0.00 s", "0.42 s", "12.5 s", "1 min 00 s", "3 min 20 s", "2 h 05 min"]);
    }
}
