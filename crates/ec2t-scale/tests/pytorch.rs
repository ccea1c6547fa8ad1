//! Networks that torchvision or timm have as well: the same parameters by name
//! and shape, so that their checkpoints can be imported, and the same costs.

use ec2t_format::Graph;
use ec2t_scale::{ArchOptions, CostTable, build};
use sha2::{Digest, Sha256};

/// Written by `reference.py`.
const REFERENCE: &str = include_str!("reference.txt");

/// `NAME SHAPE` of each tensor, sorted.
fn tensors(graph: &Graph) -> Vec<String> {
    let mut lines: Vec<String> = (graph.params().iter())
        .map(|param| {
            let dims: Vec<String> = param.shape.iter().map(usize::to_string).collect();
            format!("{} {}", param.name, dims.join("x"))
        })
        .collect();
    lines.sort();
    lines
}

fn sha256(text: &str) -> String {
    Sha256::digest(text).iter().map(|byte| format!("{byte:02x}")).collect()
}

#[test]
fn tensors_and_costs_are_those_of_pytorchs_networks() {
    assert_eq!(REFERENCE.lines().count(), 17);
    for row in REFERENCE.lines() {
        let name = row.split(' ').next().unwrap();
        let options = ArchOptions { classes: 1000, ..ArchOptions::default() };
        let graph = build(name, &options).unwrap();
        let (cost, lines) = (CostTable::of(&graph).unwrap().total, tensors(&graph));
        let (height, count, text) = (graph.input.height, lines.len(), lines.join("\n"));
        let found =
            format!("{name} {height} {} {} {count} {}", cost.params, cost.macs, sha256(&text));
        assert_eq!(found, row, "compare with `reference.py {name}`:\n{text}");
    }
}
