//! Scores against the figures that the method's authors published, and against
//! counts by hand.
//!
//! Those of ternary networks need their checkpoints, which `EC2T_MODELS_DIR` has.

use ec2t_format::Graph;
use ec2t_format::graph::{GraphBuilder, Shape};
use ec2t_scale::score::{Mode, Operations, Rules, Score};
use ec2t_scale::{ArchOptions, CostTable, Scaling, build};

fn graph(name: &str, classes: usize) -> Graph {
    build(name, &ArchOptions { classes, ..ArchOptions::default() }).unwrap()
}

fn micronet() -> Graph {
    let scaling = Scaling { depth: 1.4, width: 1.2, phi: 3.5, ..Scaling::default() };
    build("micronet", &ArchOptions { classes: 100, scaling, ..ArchOptions::default() }).unwrap()
}

fn dense(mode: Mode, graph: &Graph) -> Score {
    Score::of_graph(graph, Rules { mode, bits: 32 }).unwrap()
}

/// Multiplications and additions in millions.
fn millions(score: &Score) -> [f64; 2] {
    [score.total.scored_multiplications, score.total.scored_additions].map(|count| count / 1e6)
}

fn digits(values: [f64; 2], digits: usize) -> [String; 2] {
    values.map(|value| format!("{value:.digits$}"))
}

#[test]
fn dense_networks_have_the_authors_figures() {
    let resnet = dense(Mode::Reference, &graph("resnet20", 10));
    assert_eq!(resnet.total.scored_params, 269_034.0);
    assert_eq!(digits(millions(&resnet), 3), ["40.739", "40.555"]);

    let micronet = dense(Mode::Reference, &micronet());
    assert_eq!(micronet.total.scored_params, 8_030_268.0);
    assert_eq!(digits(millions(&micronet), 2), ["1243.41", "1243.39"]);
    assert_eq!(format!("{:.1}", millions(&micronet).iter().sum::<f64>()), "2486.8");

    let resnet = dense(Mode::Reference, &graph("resnet18", 1000));
    assert_eq!(digits(millions(&resnet), 1), ["1797.1", "1794.8"]);

    let efficientnet = graph("efficientnet_b1", 1000);
    assert_eq!(efficientnet.input, Shape::new(3, 240, 240));
    let score = dense(Mode::Reference, &efficientnet);
    // The scorer's table says 670 and 654; 0.07 of the latter are residual sums.
    let sums: f64 = [(60.0, 16), (15.0, 2 * 24), (3.75, 2 * 40), (0.9375, 3 * (80 + 112))]
        .map(|(rows, channels)| rows * rows * f64::from(channels) / 1e6)
        .iter()
        .sum();
    let [multiplications, additions] = millions(&score);
    assert_eq!(digits([multiplications, additions - sums], 1), ["670.6", "654.6"]);
    assert_eq!(format!("{:.3}", score.total.scored_params / 1e6), "7.763");
}

#[test]
fn all_operations_are_counted() {
    // With all pixels of the convolutions that widen, and without 0.67 of residual sums.
    let efficientnet = dense(Mode::Strict, &graph("efficientnet_b1", 1000));
    let sums = sum_of(&efficientnet, "add").additions as f64 / 1e6;
    let [multiplications, additions] = millions(&efficientnet);
    assert_eq!(digits([multiplications, additions - sums], 1), ["720.3", "700.8"]);
    assert_eq!(format!("{sums:.2}"), "0.67");

    // A sum for each of 23 blocks of each stage, where the authors count one in all.
    let micronet = dense(Mode::Strict, &micronet());
    let sums = sum_of(&micronet, "add");
    assert_eq!(sums.additions, 23 * (32 * 1024 + 64 * 256 + 120 * 64));
}

#[test]
fn convolutions_have_the_products_of_the_cost_table() {
    for name in ["lenet5", "resnet20", "resnet50", "mobilenet_v2", "efficientnet_b0"] {
        let graph = graph(name, 10);
        let score = dense(Mode::Strict, &graph);
        let products: u64 =
            ["conv2d", "linear"].map(|op| sum_of(&score, op).multiplications).iter().sum();
        assert_eq!(products, CostTable::of(&graph).unwrap().total.macs, "{name}");
    }
}

#[test]
fn a_network_beyond_all_reason_is_counted_without_overflow() {
    let mut g = GraphBuilder::new("huge", Shape::new(1, 1 << 15, 1 << 15));
    let x = g.conv("conv", g.input(), 1, (1 << 15) - 1, 1);
    g.conv("wide", x, 2, 1, 1);
    let graph = g.finish().unwrap();
    for mode in [Mode::Reference, Mode::Strict] {
        let operations = dense(mode, &graph).total.operations;
        assert_eq!(operations.addition_bits, u64::MAX, "{mode:?}");
    }
}

#[test]
fn the_table_lines_up() {
    let text = dense(Mode::Strict, &graph("resnet20", 10)).to_string();
    let rows: Vec<&str> = text.lines().take_while(|line| !line.starts_with("in units")).collect();
    let widths = rows.iter().map(|row| row.chars().count());
    assert!(widths.clone().all(|width| Some(width) == widths.clone().next()), "{text}");
    assert!(rows.last().unwrap().starts_with("total"), "{text}");
    assert!(text.contains("MicroNet score"), "{text}");
}

/// All operations of one kind of layer.
fn sum_of(score: &Score, op: &str) -> Operations {
    let layers = score.layers.iter().filter(|layer| layer.op == op);
    layers.fold(Operations::default(), |sum, layer| sum + layer.operations)
}
