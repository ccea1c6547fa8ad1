//! Which channels have to stay.

use ec2t_format::graph::NodeId;
use ec2t_format::{Network, Op};

use super::classes::{Classes, Grouping};
use super::layer::Layer;
use super::values::Values;

/// The channels that stay: those that pinned ones are computed from.
pub(super) struct Live<'a> {
    classes: &'a Classes,
    /// By the slot that stands for a class.
    live: Vec<bool>,
}

/// Layers whose outputs are classes of their own: node and first output slot.
struct Search<'a> {
    values: &'a Values,
    live: Live<'a>,
    /// Of each class, the layers and outputs that compute it.
    producers: Vec<Vec<(usize, usize)>>,
    layers: Vec<Layer<'a>>,
    /// Classes that are live, but whose producers have not been looked at.
    open: Vec<usize>,
}

impl<'a> Live<'a> {
    pub(super) fn of(network: &Network, classes: &'a Classes, values: &'a Values) -> Self {
        let count = classes.slot_count();
        let live = Live { classes, live: vec![false; count] };
        let (producers, layers) = (vec![Vec::new(); count], Vec::new());
        let mut search = Search { values, live, producers, layers, open: Vec::new() };
        for (id, node) in network.graph().iter() {
            let computes_classes = match &node.op {
                Op::Conv2d(conv) => Grouping::of(conv) == Grouping::Full,
                op => matches!(op, Op::Linear(_)),
            };
            if computes_classes {
                search.add_layer(Layer::of(network, classes, id), id);
            }
        }
        for &slot in classes.pinned() {
            search.keep(slot);
        }
        search.follow();
        for (id, _) in network.graph().iter() {
            search.keep_one(id);
        }
        search.live
    }

    /// Whether a node's channel stays.
    pub(super) fn keeps_channel(&self, id: NodeId, channel: usize) -> bool {
        self.keeps(self.classes.of_channel(id, channel))
    }

    /// Which of a node's channels stay.
    pub(super) fn channels(&self, id: NodeId) -> Vec<bool> {
        let channels = 0..self.classes.shape(id).channels;
        channels.map(|channel| self.keeps_channel(id, channel)).collect()
    }

    /// Which of a node's values stay.
    pub(super) fn values(&self, id: NodeId) -> Vec<bool> {
        let values = 0..self.classes.shape(id).numel();
        values.map(|position| self.keeps(self.classes.of_value(id, position))).collect()
    }

    fn keeps(&self, slot: usize) -> bool {
        self.live[self.classes.class(slot)]
    }
}

impl<'a> Search<'a> {
    fn add_layer(&mut self, layer: Layer<'a>, id: NodeId) {
        for (output, slot) in self.live.classes.slots(id).enumerate() {
            let class = self.live.classes.class(slot);
            self.producers[class].push((self.layers.len(), output));
        }
        self.layers.push(layer);
    }

    /// Lets a slot's class stay.
    fn keep(&mut self, slot: usize) {
        let class = self.live.classes.class(slot);
        if !std::mem::replace(&mut self.live.live[class], true) {
            self.open.push(class);
        }
    }

    /// Keeps all that those classes are computed from that are kept.
    fn follow(&mut self) {
        while let Some(class) = self.open.pop() {
            for (layer, output) in std::mem::take(&mut self.producers[class]) {
                let layer = &self.layers[layer];
                let reads = layer.row(output).iter().zip(layer.reads(output));
                let counting = reads
                    .filter(|(weight, slot)| self.values.at(*slot).counts_for(**weight))
                    .map(|(_, slot)| slot);
                for slot in counting.collect::<Vec<_>>() {
                    self.keep(slot);
                }
            }
        }
    }

    /// Keeps a node's first channel if no other stays.
    fn keep_one(&mut self, id: NodeId) {
        let slots = self.live.classes.slots(id);
        if !slots.clone().any(|slot| self.live.keeps(slot)) {
            self.keep(slots.start);
            self.follow();
        }
    }
}
