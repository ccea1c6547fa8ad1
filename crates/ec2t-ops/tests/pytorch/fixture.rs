//! The cases and their results, as `make_fixtures.py` writes them.

use std::env;
use std::process::Command;
use std::sync::LazyLock;

use safetensors::SafeTensors;
use serde::de::DeserializeOwned;
use serde_json::Value;

/// Names a Python that has PyTorch.
const PYTHON_VARIABLE: &str = "EC2T_TORCH_PYTHON";

/// Position k of a stored result is number k · STRIDE of the values, modulo their
/// number.
const STRIDE: usize = 7919;

static FILE: LazyLock<Vec<u8>> = LazyLock::new(|| match env::var_os(PYTHON_VARIABLE) {
    Some(python) => {
        let script = "tests/pytorch/make_fixtures.py"; // tests run in their package's folder
        let output = Command::new(&python).arg(script).arg("--all").output();
        let output = output.unwrap_or_else(|error| panic!("{PYTHON_VARIABLE}={python:?}: {error}"));
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        output.stdout
    }
    None => include_bytes!("operators.safetensors").to_vec(),
});

/// What PyTorch gives for one case.
pub(crate) struct Expected {
    name: String,
    file: SafeTensors<'static>,
}

/// All cases of an operator, with their settings.
pub(crate) fn cases<T: DeserializeOwned>(operator: &str) -> Vec<(T, Expected)> {
    let (_, metadata) = SafeTensors::read_metadata(&FILE).unwrap();
    let table = &metadata.metadata().as_ref().unwrap()["cases"];
    let table: Vec<Value> = serde_json::from_str(table).unwrap();
    let cases = table.into_iter().filter(|case| case["op"] == operator).map(|case| {
        let name = case["name"].as_str().unwrap().to_owned();
        let expected = Expected { name, file: SafeTensors::deserialize(&FILE).unwrap() };
        (serde_json::from_value(case).unwrap(), expected)
    });
    let cases: Vec<_> = cases.collect();
    assert!(!cases.is_empty(), "no case of {operator}");
    cases
}

impl Expected {
    /// Asserts that the values of a result differ by at most `bound` times the
    /// largest one.
    #[track_caller]
    pub(crate) fn assert_close(&self, result: &str, found: &[f32], bound: f64) {
        let what = format!("{result} of {}", self.name);
        let stored = self.file.tensor(&format!("{}/{result}", self.name)).unwrap();
        let (stored, _) = stored.data().as_chunks();
        let expected: Vec<f64> = stored.iter().map(|&x| f32::from_le_bytes(x).into()).collect();
        assert!((1..=found.len()).contains(&expected.len()), "{what}: {} values", found.len());
        let largest = expected.iter().fold(0.0, |largest: f64, value| largest.max(value.abs()));
        for (k, expected) in expected.iter().enumerate() {
            let position = k * STRIDE % found.len();
            let found = f64::from(found[position]);
            let close = (found - expected).abs() <= bound * largest;
            assert!(close, "{what} at {position}: {found} is not {expected}");
        }
    }
}
