//! How much of the machine others use.

use std::time::Duration;

/// Busy share of all processors, from 0 to 1, while this process sleeps for a
/// second; where Linux tells.
pub(crate) fn busy() -> Option<f64> {
    let times = || parse(&std::fs::read_to_string("/proc/stat").ok()?);
    let before = times()?;
    std::thread::sleep(Duration::from_secs(1));
    let after = times()?;
    let [idle, all] = [after.0 - before.0, after.1 - before.1];
    (all > 0.0).then(|| 1.0 - idle / all)
}

/// Idle and all time in the first line of `/proc/stat`, which is that of all
/// processors: user, nice, system, idle, waiting for disks, …
fn parse(stat: &str) -> Option<(f64, f64)> {
    let fields = stat.lines().next()?.strip_prefix("cpu ")?.split_whitespace();
    let times = fields.map(str::parse).collect::<Result<Vec<f64>, _>>().ok()?;
    let idle = times.get(3)? + times.get(4)?;
    Some((idle, times.iter().sum()))
}

#[cfg(test)]
mod tests {
    use super::parse;

    #[test]
    fn the_first_line_counts() {
        let stat = "cpu  10 1 4 80 5 0 0 0 0 0\ncpu0 1 1 1 1 1 0 0 0 0 0\n";
        assert_eq!(parse(stat), Some((85.0, 100.0)));
        assert_eq!(parse("intr 1 2 3"), None);
    }
}
