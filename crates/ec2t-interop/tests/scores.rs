//! Scores of the method's own ternary checkpoints, found through `EC2T_MODELS_DIR`,
//! against those that its authors published (table 5.3 of the thesis).

use std::path::PathBuf;

use ec2t_format::Network;
use ec2t_scale::score::{Mode, Rules, Score};
use ec2t_scale::{ArchOptions, build};

/// The network of a checkpoint, or `None`, with the reason printed, where there is
/// none.
#[expect(clippy::print_stdout, reason = "a skipped test says so")]
fn resnet20(file: &str) -> Option<Network> {
    let Some(folder) = std::env::var_os("EC2T_MODELS_DIR") else {
        println!("skipped: EC2T_MODELS_DIR, the folder of {file}, is not set");
        return None;
    };
    let path = PathBuf::from(folder).join(file);
    if !path.exists() {
        println!("skipped: there is no {}", path.display());
        return None;
    }
    let graph = build("resnet20", &ArchOptions::default()).unwrap();
    Some(ec2t_interop::import(path, graph).unwrap().network)
}

fn score(network: &Network, mode: Mode) -> Score {
    Score::of_network(network, Rules::for_network(mode, network)).unwrap()
}

#[test]
fn the_reference_gives_the_authors_figures() {
    // Zeros; parameters, millions of additions and of multiplications.
    let cases = [
        (45, 13_441.0, "10.613", "0.476"),
        (64, 11_810.0, "8.018", "0.476"),
        (73, 10_990.0, "6.131", "0.474"),
    ];
    for (zeros, params, additions, multiplications) in cases {
        let file = format!("resnet20_ec2t_spars{zeros}.pt");
        let Some(network) = resnet20(&file) else { continue };
        let total = score(&network, Mode::Reference).total;
        assert_eq!(total.scored_params, params, "{file}");
        assert_eq!(format!("{:.3}", total.scored_additions / 1e6), additions, "{file}");
        assert_eq!(format!("{:.3}", total.scored_multiplications / 1e6), multiplications, "{file}");
    }
}

#[test]
fn all_that_is_computed_is_two_to_four_per_cent_more() {
    // Zeros; parameters, millions of operations.
    for (zeros, params, operations) in
        [(45, 13_801.0, "11.29"), (64, 12_222.0, "8.66"), (73, 11_434.0, "6.81")]
    {
        let file = format!("resnet20_ec2t_spars{zeros}.pt");
        let Some(network) = resnet20(&file) else { continue };
        let total = score(&network, Mode::Strict).total;
        assert_eq!(total.scored_params.round(), params, "{file}");
        let sum = total.scored_multiplications + total.scored_additions;
        assert_eq!(format!("{:.2}", sum / 1e6), operations, "{file}");
    }
}

#[test]
fn a_folded_network_has_the_same_score() {
    let Some(network) = resnet20("resnet20_ec2t_spars64.pt") else { return };
    let folded = ec2t_format::fold_batch_norm(&network);
    for mode in [Mode::Reference, Mode::Strict] {
        let [a, b] = [&network, &folded].map(|network| score(network, mode).total);
        assert_eq!(a, b, "{mode:?}");
    }
}
