//! The machine that the program runs on.

use std::fs::read_to_string;

use ec2t_kernels::arch::Isa;
use serde::Serialize;

/// The processor, and what the program uses of it.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct Machine {
    /// Name of the processor's model, where Linux tells.
    pub(crate) cpu: Option<String>,
    /// Processors that this process may use.
    pub(crate) processors: usize,
    /// The instruction set that kernels are run with.
    pub(crate) isa: &'static str,
}

impl Machine {
    /// This machine.
    pub(crate) fn look() -> Self {
        Self {
            cpu: read_to_string("/proc/cpuinfo").ok().and_then(|text| model_name(&text)),
            processors: std::thread::available_parallelism().map_or(1, usize::from),
            isa: ec2t_kernels::arch::isa().name(),
        }
    }
}

/// The first `model name` of `/proc/cpuinfo`.
fn model_name(cpuinfo: &str) -> Option<String> {
    let names = cpuinfo.lines().filter_map(|line| line.split_once(':'));
    let (_, name) = names.into_iter().find(|(field, _)| field.trim() == "model name")?;
    Some(name.trim().into())
}

/// Mean number of programs that wanted a processor in the last minute, where Linux tells.
pub(crate) fn load_average() -> Option<f64> {
    let text = read_to_string("/proc/loadavg").ok()?;
    text.split_whitespace().next()?.parse().ok()
}

/// Names of all instruction sets that kernels could be run with here, best last.
pub(crate) fn instruction_sets() -> Vec<&'static str> {
    Isa::available().map(Isa::name).collect()
}

/// Names of the features of this CPU that kernels ask for, and whether it has them.
pub(crate) fn features() -> Vec<(&'static str, bool)> {
    macro_rules! detected {
        ($detect:ident: $($name:tt)*) => {
            vec![$(($name, std::arch::$detect!($name))),*]
        };
    }
    #[cfg(target_arch = "x86_64")]
    let found = detected!(is_x86_feature_detected:
        "avx2" "fma" "avx512f" "avx512vl" "avx512dq" "avx512bw");
    #[cfg(target_arch = "aarch64")]
    let found = detected!(is_aarch64_feature_detected: "neon");
    #[cfg(not(any(target_arch = "x86_64", target_arch = "aarch64")))]
    let found = Vec::new();
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_processor_has_a_name() {
        let cpuinfo = "processor\t: 0\nmodel\t\t: 17\nmodel name\t: A CPU @ 3 GHz\n";
        assert_eq!(model_name(cpuinfo).as_deref(), Some("A CPU @ 3 GHz"));
        assert_eq!(model_name("processor\t: 0\n"), None);
    }

    #[test]
    fn an_instruction_set_is_there_with_all_its_features() {
        let has = |name: &str| features().contains(&(name, true));
        let sets = instruction_sets();
        assert_eq!(sets.contains(&"avx2"), has("avx2") && has("fma"));
        assert_eq!(sets.contains(&"neon"), has("neon"));
    }
}
