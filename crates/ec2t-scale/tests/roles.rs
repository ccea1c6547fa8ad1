//! The part that each layer of the image networks plays, and so what EC2T
//! makes ternary of them.

use ec2t_format::Graph;
use ec2t_format::graph::{ParamKind, Role};
use ec2t_scale::{ArchOptions, build};

fn graph(name: &str) -> Graph {
    build(name, &ArchOptions { classes: 1000, ..ArchOptions::default() }).unwrap()
}

/// Names of the layers in this role.
fn layers(graph: &Graph, role: Role) -> Vec<&str> {
    let nodes = graph.nodes.iter().zip(graph.roles());
    nodes.filter(|(_, found)| *found == Some(role)).map(|(node, _)| node.name.as_str()).collect()
}

/// Weights of all layers in this role.
fn weights(graph: &Graph, role: Role) -> usize {
    let roles = graph.roles();
    let params = graph.params().into_iter();
    params
        .filter(|param| param.kind == ParamKind::Weight)
        .filter(|param| roles[param.node.index()] == Some(role))
        .map(|param| param.numel())
        .sum()
}

#[test]
fn the_parts_of_efficientnet_are_told_apart() {
    let graph = graph("efficientnet_b1");
    assert_eq!(layers(&graph, Role::Stem), ["features.0.0"]);
    assert_eq!(layers(&graph, Role::Classifier), ["classifier.1"]);
    assert!(layers(&graph, Role::Shortcut).is_empty());
    let gates = layers(&graph, Role::SqueezeExcite);
    assert!(gates.iter().all(|name| name.ends_with(".fc1") || name.ends_with(".fc2")));
    assert_eq!((gates.len(), layers(&graph, Role::Depthwise).len()), (2 * 23, 23));
    let body = layers(&graph, Role::Body);
    assert_eq!(body.len(), 21 + 23 + 1);
    assert_eq!(body[..2], ["features.1.0.block.2.0", "features.1.1.block.2.0"]);
    assert_eq!(body.last(), Some(&"features.8.0"));
    // In torchvision's modules: those that widen, those that narrow, the head.
    assert_eq!(weights(&graph, Role::Body), 2_215_680 + 2_445_696 + 409_600);
    assert_eq!(weights(&graph, Role::Depthwise), 256_656);
    assert_eq!(weights(&graph, Role::SqueezeExcite), 1_108_480);
}

#[test]
fn networks_without_gates_have_a_body_of_1x1_convolutions() {
    for (name, depthwise, stem, head, classifier) in [
        ("efficientnet_lite0", 16, "conv_stem", "conv_head", "classifier"),
        ("mobilenet_v2", 17, "features.0.0", "features.18.0", "classifier.1"),
    ] {
        let graph = graph(name);
        assert_eq!(layers(&graph, Role::Stem), [stem], "{name}");
        assert_eq!(layers(&graph, Role::Classifier), [classifier], "{name}");
        assert_eq!(layers(&graph, Role::Depthwise).len(), depthwise, "{name}");
        let body = layers(&graph, Role::Body);
        // All blocks but the first widen, all narrow, and the head.
        assert_eq!((body.len(), body.last()), (2 * depthwise, Some(&head)), "{name}");
        assert!(layers(&graph, Role::Shortcut).is_empty(), "{name}");
        assert!(layers(&graph, Role::SqueezeExcite).is_empty(), "{name}");
    }
}

#[test]
fn shortcuts_of_resnets_are_their_downsampling_convolutions() {
    for (name, body, shortcuts) in [("resnet18", 16, 3), ("resnet34", 32, 3), ("resnet50", 48, 4)] {
        let graph = graph(name);
        let found = layers(&graph, Role::Shortcut);
        assert!(found.iter().all(|layer| layer.ends_with(".downsample.0")), "{name}: {found:?}");
        assert_eq!(found.len(), shortcuts, "{name}");
        assert_eq!(layers(&graph, Role::Body).len(), body, "{name}");
        assert_eq!(layers(&graph, Role::Stem), ["conv1"], "{name}");
        assert_eq!(layers(&graph, Role::Classifier), ["fc"], "{name}");
    }
}
