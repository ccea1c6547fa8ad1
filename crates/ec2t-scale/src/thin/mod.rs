//! Takes channels out of a network that do nothing.
//!
//! Ternary networks have many: filters without weights, and channels that no filter
//! reads. [`thin`] gives the network without them. What is left computes the same:
//! every sum has the same terms in the same order, but for those that were zero.
//!
//! A channel is the same *class* as the channels that it becomes one by one, in
//! activations, normalisations, poolings, depthwise convolutions, and in the sums and
//! products of branches. A class goes as a whole, where each convolution or linear layer that
//! reads it has only zeros as weights for it, or finds only zeros in it. So a channel
//! of a residual sum goes if it is dead or unread on all branches.
//!
//! A filter without weights gives its bias, or the shift of the normalisation behind
//! it: a constant. Where that is 0 behind the activation, the channel is zero.
//! Where it is not, the channel stays: folded into the next bias it would be
//! rounded otherwise, and be wrong where that layer pads its input with zeros.
//!
//! What else stays: channels of the image and of the output, those that option-A
//! shortcuts read and give, those of grouped convolutions that are not depthwise, and
//! one of each layer where all would go.
//!
//! So the outputs are the same bits, if sums are made channel by channel. An engine that
//! adds channels in blocks, or chooses its kernel by a layer's zeros, adds in another
//! order than before, and last bits can differ.
//!
//! Activations are taken to be finite: a weight of 0 makes nothing of an infinite one.

mod classes;
mod layer;
mod live;
mod rebuild;
mod values;

use ec2t_format::{Network, Op};
use serde::Serialize;

use classes::Classes;
use live::Live;
use values::Values;

/// A network and what it had more before.
#[derive(Clone, Debug, PartialEq)]
pub struct Thinned {
    /// What is left.
    pub network: Network,
    /// Every convolution and linear layer that has lost channels.
    pub layers: Vec<ThinnedLayer>,
}

/// A layer that has lost channels; the numbers are those before and after.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct ThinnedLayer {
    /// Name of the layer.
    pub name: String,
    /// Input channels or features.
    pub inputs: [usize; 2],
    /// Output channels or features.
    pub outputs: [usize; 2],
    /// Trained values.
    pub params: [usize; 2],
}

/// Takes out all channels that do nothing.
///
/// Names, preprocessing, grids and metadata stay. A network without such channels
/// comes back as it is.
///
/// ```
/// use ec2t_format::graph::{GraphBuilder, Shape};
/// use ec2t_format::{Network, TernaryTensor};
///
/// let mut g = GraphBuilder::new("tiny", Shape::new(1, 1, 1));
/// let x = g.conv("first", g.input(), 3, 1, 1);
/// let x = g.relu("relu", x);
/// g.conv("second", x, 1, 1, 1);
/// // The second filter is empty, and nobody reads the third one's channel.
/// let weights = |shape, codes: &[i8]| TernaryTensor::new(shape, codes.to_vec(), 0.5, 0.5);
/// let tensors = [
///     ("first.weight".into(), weights(vec![3, 1, 1, 1], &[1, 0, 1])?.into()),
///     ("second.weight".into(), weights(vec![1, 3, 1, 1], &[1, -1, 0])?.into()),
/// ];
/// let thinned = ec2t_scale::thin(&Network::new(g.finish()?, tensors.into())?);
/// assert_eq!(thinned.network.tensor("second.weight").unwrap().shape(), [1, 1, 1, 1]);
/// assert_eq!(thinned.layers[0].outputs, [3, 1]);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub fn thin(network: &Network) -> Thinned {
    let classes = Classes::of(network.graph());
    let values = Values::of(network, &classes);
    let live = Live::of(network, &classes, &values);
    let thinned = rebuild::rebuild(network, &live);
    let layers = changed_layers(network, &thinned);
    Thinned { network: thinned, layers }
}

fn changed_layers(before: &Network, after: &Network) -> Vec<ThinnedLayer> {
    let nodes = before.graph().iter().zip(&after.graph().nodes);
    let layers = nodes.filter_map(|((id, old), new)| {
        let params = [old, new].map(|node| {
            let trained = node.params(id).into_iter().filter(|param| param.kind.is_trainable());
            trained.map(|param| param.numel()).sum()
        });
        let (inputs, outputs) = match (&old.op, &new.op) {
            (Op::Conv2d(old), Op::Conv2d(new)) => {
                ([old.in_channels, new.in_channels], [old.out_channels, new.out_channels])
            }
            (Op::Linear(old), Op::Linear(new)) => {
                ([old.in_features, new.in_features], [old.out_features, new.out_features])
            }
            _ => return None,
        };
        let name = old.name.clone();
        Some(ThinnedLayer { name, inputs, outputs, params })
    });
    layers.filter(|layer| layer.params[0] != layer.params[1]).collect()
}
