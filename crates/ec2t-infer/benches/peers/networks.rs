//! The networks that are compared.
//!
//! | name | is |
//! |---|---|
//! | `resnet20-64`, `resnet20-73` | `docs/results/models/resnet20-*-s1.ec2t` |
//! | `resnet20-64-authors`, `resnet20-45-authors` | checkpoints of the method's authors, in the folder `EC2T_MODELS_DIR` |
//! | `resnet20-90` | `resnet20-73` with more codes set to zero, at random: good for speed alone |
//! | `conv-320-1280-7-64` | a 1×1 convolution, 320 → 1280 channels on 7×7 pixels, random codes, 64 % zeros |
//! | `efficientnet_lite0-64` | its 1×1 convolutions with random codes, 64 % zeros; random floats in all others |
//! | `rectifier` | a rectifier of one value: what a call costs |

use std::collections::BTreeMap;
use std::env;
use std::error::Error;
use std::path::Path;

use ec2t_format::graph::{Conv2d, GraphBuilder, Padding, Param, ParamKind, Preprocess, Shape};
use ec2t_format::{DenseTensor, Graph, Network, Op, Tensor, TernaryTensor};
use ec2t_scale::ArchOptions;
use rand_chacha::ChaCha8Rng;

use super::random::{self, seeded, unit};

/// A network, or why it can't be had here.
pub(super) enum Found {
    Network(Box<Network>),
    Skipped(String),
}

impl From<Network> for Found {
    fn from(network: Network) -> Self {
        Found::Network(Box::new(network))
    }
}

/// 1×1 convolutions: channels of input and output, rows and columns.
const CONVS: [[usize; 3]; 4] = [[320, 1280, 7], [672, 112, 14], [240, 80, 14], [96, 24, 56]];

/// What is measured without `--serve`.
pub(super) fn names() -> Vec<String> {
    let networks = [
        "resnet20-45-authors",
        "resnet20-64-authors",
        "resnet20-64",
        "resnet20-73",
        "resnet20-90",
        "efficientnet_lite0-64",
        "efficientnet_lite0-90",
        "rectifier",
    ];
    let convs = CONVS.into_iter().flat_map(|[inputs, outputs, side]| {
        [45, 64, 90].map(|zeros| format!("conv-{inputs}-{outputs}-{side}-{zeros}"))
    });
    networks.into_iter().map(String::from).chain(convs).collect()
}

/// The network of this name.
///
/// # Errors
/// Where the name is unknown or a file is not what it should be.
pub(super) fn find(name: &str) -> Result<Found, Box<dyn Error>> {
    let words: Vec<&str> = name.split('-').collect();
    Ok(match words.as_slice() {
        ["resnet20", zeros, "authors"] => return checkpoint(zeros),
        ["resnet20", "90"] => thinned(published("73")?, 0.9)?.into(),
        ["resnet20", zeros] => published(zeros)?.into(),
        ["conv", inputs, outputs, side, zeros] => {
            let [inputs, outputs, side] = [inputs.parse()?, outputs.parse()?, side.parse()?];
            convolution([inputs, outputs, side], zeros.parse()?)?.into()
        }
        ["efficientnet_lite0", zeros] => efficientnet_lite0(zeros.parse()?)?.into(),
        ["rectifier"] => {
            let mut g = GraphBuilder::new("rectifier", Shape::new(1, 1, 1));
            g.relu("relu", g.input());
            Network::new(g.finish()?, BTreeMap::new())?.into()
        }
        _ => return Err(format!("unknown network `{name}`").into()),
    })
}

/// A network of `docs/results`.
fn published(zeros: &str) -> Result<Network, Box<dyn Error>> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../docs/results/models");
    let path = folder.join(format!("resnet20-{zeros}-s1.ec2t"));
    let in_file = |error: &dyn Error| format!("{}: {error}", path.display());
    let file = std::fs::read(&path).map_err(|error| in_file(&error))?;
    Ok(ec2t_format::read(&file).map_err(|error| in_file(&error))?)
}

/// A checkpoint of the method's authors, where there is one.
fn checkpoint(zeros: &str) -> Result<Found, Box<dyn Error>> {
    let Some(folder) = env::var_os("EC2T_MODELS_DIR") else {
        return Ok(Found::Skipped("EC2T_MODELS_DIR is not set".into()));
    };
    let path = Path::new(&folder).join(format!("resnet20_ec2t_spars{zeros}.pt"));
    if !path.exists() {
        return Ok(Found::Skipped(format!("no {}", path.display())));
    }
    let mut graph = ec2t_scale::build("resnet20", &ArchOptions::default())?;
    graph.preprocess = Preprocess::cifar10();
    Ok(ec2t_interop::import(path, graph)?.network.into())
}

/// The network with this share of zeros in each ternary layer that has fewer.
fn thinned(network: Network, zeros: f64) -> Result<Network, Box<dyn Error>> {
    let mut rng = seeded(3);
    let (graph, tensors, _) = network.into_parts();
    let tensors = tensors.into_iter().map(|(name, tensor)| {
        let Tensor::Ternary(ternary) = &tensor else { return Ok((name, tensor)) };
        let kept = ((1.0 - zeros) / (1.0 - ternary.counts().sparsity())) as f32;
        let thin = |code: &i8| if unit(&mut rng) < kept { *code } else { 0 };
        let codes = ternary.codes().iter().map(thin).collect();
        let shape = ternary.shape().to_vec();
        let thinner = TernaryTensor::new(shape, codes, ternary.w_neg(), ternary.w_pos())?;
        Ok((name, thinner.into()))
    });
    let tensors = tensors.collect::<Result<_, Box<dyn Error>>>()?;
    Ok(Network::new(graph, tensors)?)
}

/// A 1×1 convolution with scale and bias, which is what is left of a layer whose batch
/// normalisation is folded.
fn convolution(
    [inputs, outputs, side]: [usize; 3],
    zeros: usize,
) -> Result<Network, Box<dyn Error>> {
    let mut g = GraphBuilder::new("conv", Shape::new(inputs, side, side));
    let conv = Conv2d {
        in_channels: inputs,
        out_channels: outputs,
        kernel: [1; 2],
        stride: [1; 2],
        padding: Padding::all(0),
        dilation: [1; 2],
        groups: 1,
        bias: true,
        scale: true,
    };
    g.push("conv", Op::Conv2d(conv), &[g.input()]);
    fill(g.finish()?, zeros)
}

/// EfficientNet-Lite0 for ImageNet.
fn efficientnet_lite0(zeros: usize) -> Result<Network, Box<dyn Error>> {
    let options = ArchOptions { classes: 1000, ..ArchOptions::default() };
    fill(ec2t_scale::build("efficientnet_lite0", &options)?, zeros)
}

/// Random values for a graph: ternary weights for 1×1 convolutions, with this
/// percentage of zeros.
fn fill(graph: Graph, zeros: usize) -> Result<Network, Box<dyn Error>> {
    if zeros >= 100 {
        return Err(format!("{zeros} % zeros").into());
    }
    let mut rng = seeded(4);
    let tensors = graph.params().into_iter().map(|param| {
        let tensor = match param.kind {
            ParamKind::Weight if param.shape[1..].ends_with(&[1, 1]) => {
                random::ternary(&mut rng, &param.shape, zeros)?.into()
            }
            _ => DenseTensor::new(param.shape.clone(), values(&mut rng, &param))?.into(),
        };
        Ok((param.name, tensor))
    });
    let tensors = tensors.collect::<Result<_, Box<dyn Error>>>()?;
    Ok(Network::new(graph, tensors)?)
}

fn values(rng: &mut ChaCha8Rng, param: &Param) -> Vec<f32> {
    let len = param.numel();
    match param.kind {
        ParamKind::Weight => random::dense(rng, &param.shape),
        ParamKind::Scale | ParamKind::NormWeight | ParamKind::RunningVar => vec![1.0; len],
        ParamKind::Bias | ParamKind::NormBias | ParamKind::RunningMean => {
            random::uniform(rng, len, 0.1)
        }
    }
}
