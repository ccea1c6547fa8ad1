//! What decides the result of a run, so that a checkpoint is only taken up by
//! the run that wrote it.
//!
//! A fingerprint is one flat JSON object: the settings as they were given, and
//! what they are applied to. Networks and labels stand in it as the first eight
//! bytes of their SHA-256; images are known by the name of their dataset.

use std::collections::BTreeSet;

use ec2t_data::Splits;
use ec2t_format::{Graph, Network};
use serde::Serialize;
use serde_json::{Map, Value};
use sha2::{Digest, Sha256};

use crate::weights::Weights;

#[derive(Serialize)]
struct Fingerprint<'a, S> {
    dataset: &'a str,
    train_images: usize,
    validation_images: usize,
    /// Tells one split from another of the same size.
    labels: String,
    graph: String,
    initial_weights: String,
    /// Graph and weights of the teacher, if there is one.
    #[serde(skip_serializing_if = "Option::is_none")]
    teacher: Option<String>,
    seed: u64,
    #[serde(flatten)]
    settings: S,
}

/// Everything that decides the result of a run.
pub(crate) fn fingerprint(
    settings: impl Serialize,
    graph: &Graph,
    initial: &Weights,
    data: &Splits,
    teacher: Option<&Network>,
    seed: u64,
) -> serde_json::Result<Value> {
    let labels = data.train.labels().iter().chain(data.validation.labels());
    let all = Fingerprint {
        dataset: data.train.name(),
        train_images: data.train.len(),
        validation_images: data.validation.len(),
        labels: digest(labels.map(|label| label.to_le_bytes())),
        graph: digest([serde_json::to_vec(graph)?]),
        initial_weights: digest_of_weights(initial),
        teacher: teacher.map(digest_of_network).transpose()?,
        seed,
        settings,
    };
    // As text, 0.1 in 32 bits stays 0.1; as a value it would become 0.10000000149.
    serde_json::from_str(&serde_json::to_string(&all)?)
}

fn digest_of_weights(weights: &Weights) -> String {
    let values = weights.iter().flat_map(|(_, values)| values);
    digest(values.map(|value| value.to_le_bytes()))
}

fn digest_of_network(network: &Network) -> serde_json::Result<String> {
    let graph = digest([serde_json::to_vec(network.graph())?]);
    Ok(digest([graph, digest_of_weights(&Weights::from_network(network))]))
}

/// `key: then → now` for every part that differs.
pub(crate) fn differences(then: &Value, now: &Value) -> Vec<String> {
    let empty = Map::new();
    let (then, now) = (then.as_object().unwrap_or(&empty), now.as_object().unwrap_or(&empty));
    let keys: BTreeSet<&String> = then.keys().chain(now.keys()).collect();
    let show = |value: Option<&Value>| value.map_or("nothing".to_owned(), ToString::to_string);
    keys.into_iter()
        .filter(|key| then.get(*key) != now.get(*key))
        .map(|key| format!("{key}: {} → {}", show(then.get(key)), show(now.get(key))))
        .collect()
}

fn digest<T: AsRef<[u8]>>(parts: impl IntoIterator<Item = T>) -> String {
    let mut hash = Sha256::new();
    parts.into_iter().for_each(|part| hash.update(part));
    hash.finalize()[..8].iter().map(|byte| format!("{byte:02x}")).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use ec2t_data::Dataset;
    use ec2t_format::graph::{GraphBuilder, Shape};
    use serde_json::json;

    fn of(graph: &Graph, labels: [u32; 3], weights: u64, seed: u64) -> Value {
        let part = |labels: &[u32]| {
            let classes = vec!["a".into(), "b".into()];
            Dataset::new("d", [1, 1, 1], vec![0; labels.len()], labels.to_vec(), classes).unwrap()
        };
        let (train, validation) = (part(&labels[..2]), part(&labels[2..]));
        let data = Splits { test: validation.clone(), train, validation };
        let initial = Weights::from_network(&crate::initialize(graph, weights).unwrap());
        let settings = json!({"lr": 0.05});
        fingerprint(settings, graph, &initial, &data, None, seed).unwrap()
    }

    #[test]
    fn whatever_decides_the_result_is_told() {
        let mut g = GraphBuilder::new("t", Shape::new(1, 1, 1));
        g.linear("fc", g.input(), 2);
        let graph = g.finish().unwrap();
        let mut brighter = graph.clone();
        brighter.preprocess.mean = vec![0.5];

        let whole = of(&graph, [0, 1, 0], 1, 2);
        assert_eq!((&whole["dataset"], &whole["lr"]), (&json!("d"), &json!(0.05)));
        let cases = [
            (of(&graph, [0, 1, 0], 1, 2), None),
            (of(&brighter, [0, 1, 0], 1, 2), Some("graph: ")),
            (of(&graph, [1, 0, 0], 1, 2), Some("labels: ")),
            (of(&graph, [0, 1, 0], 3, 2), Some("initial_weights: ")),
            (of(&graph, [0, 1, 0], 1, 4), Some("seed: 2 → 4")),
        ];
        for (other, key) in cases {
            let found = differences(&whole, &other);
            assert_eq!(found.len(), usize::from(key.is_some()), "{found:?}");
            assert!(key.is_none_or(|key| found[0].starts_with(key)), "{found:?}");
        }
    }

    #[test]
    fn teachers_are_told_apart_by_their_weights() {
        let mut g = GraphBuilder::new("t", Shape::new(1, 1, 1));
        g.linear("fc", g.input(), 2);
        let graph = g.finish().unwrap();
        let digest = |seed| digest_of_network(&crate::initialize(&graph, seed).unwrap()).unwrap();
        assert_eq!(digest(1), digest(1));
        assert_ne!(digest(1), digest(2));
    }

    #[test]
    fn a_missing_part_is_nothing() {
        let found = differences(&json!({"a": 1}), &json!({"b": 0.5}));
        assert_eq!(found, ["a: 1 → nothing", "b: nothing → 0.5"]);
    }
}
