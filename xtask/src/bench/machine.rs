//! The machine, and how much of it others use.

use std::fs::read_to_string;
use std::time::Duration;

use serde::Serialize;

/// A share of the processors that spoils a comparison when others use it.
const TOO_BUSY: f64 = 0.05;

/// What figures depend on besides the programs; unknown where Linux does not tell.
#[derive(Debug, Serialize)]
pub(crate) struct Machine {
    /// Name of the processor's model.
    pub(crate) processor: Option<String>,
    /// Number of processors that this process may use.
    pub(crate) processors: usize,
    /// Share of the processors that others used before the comparison.
    pub(crate) busy: Option<f64>,
    /// Processes that ran or waited to run, in the mean of the last minute.
    pub(crate) load: Option<f64>,
}

impl Machine {
    /// Looks for a second, and warns where others are at work.
    pub(crate) fn look() -> Self {
        let busy = busy();
        if let Some(busy) = busy.filter(|busy| *busy > TOO_BUSY) {
            let percent = 100.0 * busy;
            eprintln!(
                "warning: others use {percent:.0} % of this machine; do not trust the figures"
            );
        }
        Self {
            processor: read_to_string("/proc/cpuinfo").ok().and_then(|text| processor(&text)),
            processors: std::thread::available_parallelism().map_or(1, usize::from),
            busy,
            load: read_to_string("/proc/loadavg").ok().and_then(|text| load(&text)),
        }
    }
}

/// The number of the first processor that this process may use; where Linux tells.
pub(crate) fn first_processor() -> Option<String> {
    allowed(&read_to_string("/proc/self/status").ok()?)
}

/// The first number of a list such as `Cpus_allowed_list:   0-3,8`.
fn allowed(status: &str) -> Option<String> {
    let mut lines = status.lines();
    let list = lines.find_map(|line| line.strip_prefix("Cpus_allowed_list:"))?.trim();
    let end = list.find(|c: char| !c.is_ascii_digit()).unwrap_or(list.len());
    (end > 0).then(|| list[..end].into())
}

/// Busy share of all processors, from 0 to 1, while this process sleeps for a
/// second; where Linux tells.
fn busy() -> Option<f64> {
    let times = || times(&read_to_string("/proc/stat").ok()?);
    let before = times()?;
    std::thread::sleep(Duration::from_secs(1));
    let after = times()?;
    let [idle, all] = [after.0 - before.0, after.1 - before.1];
    (all > 0.0).then(|| 1.0 - idle / all)
}

/// Idle and all time in the first line of `/proc/stat`, which is that of all
/// processors: user, nice, system, idle, waiting for disks, …
fn times(stat: &str) -> Option<(f64, f64)> {
    let fields = stat.lines().next()?.strip_prefix("cpu ")?.split_whitespace();
    let times = fields.map(str::parse).collect::<Result<Vec<f64>, _>>().ok()?;
    let idle = times.get(3)? + times.get(4)?;
    Some((idle, times.iter().sum()))
}

/// The first `model name` of `/proc/cpuinfo`.
fn processor(cpuinfo: &str) -> Option<String> {
    let names = cpuinfo.lines().filter_map(|line| line.split_once(':'));
    let (_, name) = names.into_iter().find(|(field, _)| field.trim() == "model name")?;
    Some(name.trim().into())
}

/// The first number of `/proc/loadavg`.
fn load(loadavg: &str) -> Option<f64> {
    loadavg.split_whitespace().next()?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_line_counts() {
        let stat = "cpu  10 1 4 80 5 0 0 0 0 0\ncpu0 1 1 1 1 1 0 0 0 0 0\n";
        assert_eq!(times(stat), Some((85.0, 100.0)));
        assert_eq!(times("intr 1 2 3"), None);
    }

    #[test]
    fn the_processor_has_a_name() {
        let cpuinfo = "processor\t: 0\nmodel\t\t: 17\nmodel name\t: A CPU @ 3 GHz\n";
        assert_eq!(processor(cpuinfo).as_deref(), Some("A CPU @ 3 GHz"));
        assert_eq!(processor("processor\t: 0\n"), None);
    }

    #[test]
    fn the_first_processor_may_be_any() {
        let status = |list: &str| format!("Name:\tsh\nCpus_allowed_list:\t{list}\nThreads:\t1\n");
        assert_eq!(allowed(&status("0-1")).as_deref(), Some("0"));
        assert_eq!(allowed(&status("12,14")).as_deref(), Some("12"));
        assert_eq!(allowed(&status("7")).as_deref(), Some("7"));
        assert_eq!(allowed("Name:\tsh\n"), None);
    }

    #[test]
    fn the_load_is_that_of_the_last_minute() {
        assert_eq!(load("1.25 0.50 0.10 3/121 999\n"), Some(1.25));
        assert_eq!(load(""), None);
    }
}
