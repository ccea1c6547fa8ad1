//! Where activations and their gradients lie in memory.
//!
//! All of them lie in one run of memory, each at a place that is found once for
//! a network: two share memory where the one has been read for the last time
//! before the other is written. Lengths are per image, and a batch of n images
//! has all of them n times over: one layout serves every batch.
//!
//! Time is counted in steps. With S steps in the plan, step i runs forward at
//! time i and backward at time 2 S − i; between the two, at time S, is the loss.

use std::ops::Range;

use ec2t_format::graph::NodeId;

use super::plan::{Plan, Step};

/// Places start at multiples of this many values, a line of the cache.
const LINE: usize = 16;

/// A list of values that has a place.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Value(usize);

/// What each step of a pass reads and writes, and where that is.
pub(super) struct Layout {
    places: Vec<Range<usize>>,
    /// Memory for an image.
    len: usize,
    pub(super) images: Value,
    pub(super) logits: Value,
    pub(super) logits_gradient: Value,
    /// One for each step of the plan.
    pub(super) forward: Vec<Forward>,
    /// In the order in which they run: from the last step to the first.
    pub(super) backward: Vec<Backward>,
}

/// Values of a step's forward pass.
pub(super) struct Forward {
    pub(super) inputs: Vec<Value>,
    pub(super) output: Value,
}

/// Values of a step's backward pass.
pub(super) struct Backward {
    pub(super) step: usize,
    /// The gradient of the output.
    pub(super) gradient: Value,
    /// The inputs; `None` for those that the layer does not read again.
    pub(super) inputs: Vec<Option<Value>>,
    /// Where the gradients of the inputs go, if anybody wants them.
    pub(super) targets: Vec<Option<TargetValue>>,
}

/// The gradient of an input.
pub(super) struct TargetValue {
    pub(super) values: Value,
    /// Whether to add to what is there.
    pub(super) add: bool,
    /// Memory for what is to be added, if the layer can't add.
    pub(super) part: Option<Value>,
}

impl Layout {
    /// For a forward pass alone.
    pub(super) fn evaluation(plan: &Plan) -> Self {
        Draft::new(plan).finish(plan, Vec::new())
    }

    /// For a forward pass and a backward pass.
    pub(super) fn training(plan: &Plan) -> Self {
        let mut draft = Draft::new(plan);
        let mut gradients = vec![None; draft.values.len()];
        gradients[plan.output.index()] = Some(draft.logits_gradient);
        let steps = plan.steps.iter().enumerate().rev();
        let backward = steps.filter_map(|(index, step)| {
            let gradient = gradients[step.output.index()]?; // else the loss does not depend on it
            let time = 2 * plan.steps.len() - index;
            Some(draft.backward(time, index, step, gradient, &mut gradients))
        });
        let backward = backward.collect();
        draft.finish(plan, backward)
    }

    /// Number of values that a batch takes.
    pub(super) fn len(&self, batch: usize) -> usize {
        batch * self.len
    }

    /// The values of one step, all at once.
    ///
    /// # Panics
    ///
    /// If two of them share memory, as a value does with itself.
    pub(super) fn split<'m>(
        &self,
        mut memory: &'m mut [f32],
        batch: usize,
        values: impl IntoIterator<Item = Value>,
    ) -> Parts<'m> {
        let mut values: Vec<Value> = values.into_iter().collect();
        let place = |value: Value| self.places[value.0].clone();
        values.sort_unstable_by_key(|&value| (place(value).start, place(value).end));
        let mut position = 0;
        let part = |value| {
            let (start, end) = (batch * place(value).start, batch * place(value).end);
            let gap = start.checked_sub(position).expect("values share no memory");
            let rest = std::mem::take(&mut memory).split_at_mut(gap).1;
            let (part, rest) = rest.split_at_mut(end - start);
            (position, memory) = (end, rest);
            (value, part)
        };
        Parts(values.into_iter().map(part).collect())
    }
}

impl Forward {
    pub(super) fn values(&self) -> impl Iterator<Item = Value> {
        self.inputs.iter().chain([&self.output]).copied()
    }
}

impl Backward {
    pub(super) fn values(&self) -> impl Iterator<Item = Value> {
        let targets = self.targets.iter().flatten();
        let targets = targets.flat_map(|target| [Some(target.values), target.part]);
        [Some(self.gradient)]
            .into_iter()
            .chain(self.inputs.iter().copied())
            .chain(targets)
            .flatten()
    }
}

/// Memory of some values.
pub(super) struct Parts<'m>(Vec<(Value, &'m mut [f32])>);

impl<'m> Parts<'m> {
    /// That of one value.
    ///
    /// # Panics
    ///
    /// If it has been taken before, or was not asked for.
    pub(super) fn take(&mut self, value: Value) -> &'m mut [f32] {
        let at = self.0.iter().position(|(found, _)| *found == value);
        self.0.swap_remove(at.expect("each value is taken once")).1
    }
}

/// Values and how long they live, before they have places.
struct Draft {
    lives: Lives,
    /// By node; empty for those inside a step.
    values: Vec<Option<Value>>,
    images: Value,
    logits: Value,
    logits_gradient: Value,
}

impl Draft {
    /// Every step reads its inputs and writes its output; the loss reads the
    /// logits.
    fn new(plan: &Plan) -> Self {
        let mut lives = Lives::default();
        let mut values = vec![None; plan.nodes];
        let images = lives.begin(plan.input_len, 0);
        values[NodeId::INPUT.index()] = Some(images);
        let mut logits = images;
        for (time, step) in plan.steps.iter().enumerate() {
            let inputs = step.inputs.iter().filter_map(|input| values[input.index()]);
            inputs.for_each(|input| lives.read(input, time));
            logits = lives.begin(step.len, time);
            values[step.output.index()] = Some(logits);
        }
        let loss = plan.steps.len();
        lives.read(logits, loss);
        let logits_gradient = lives.begin(lives.len(logits), loss);
        Self { lives, values, images, logits, logits_gradient }
    }

    fn value(&self, node: NodeId) -> Value {
        self.values[node.index()].expect("steps read what steps write")
    }

    /// The backward pass of a step, which makes gradients of its inputs.
    fn backward(
        &mut self,
        time: usize,
        index: usize,
        step: &Step,
        gradient: Value,
        gradients: &mut [Option<Value>],
    ) -> Backward {
        self.lives.read(gradient, time);
        let (mut inputs, mut targets) = (Vec::new(), Vec::new());
        for (position, &node) in step.inputs.iter().enumerate() {
            let value = self.value(node);
            let read = step.layer.reads(position);
            if read {
                self.lives.read(value, time);
            }
            inputs.push(read.then_some(value));
            let wanted = node != NodeId::INPUT || step.layer.needs_target(position);
            targets.push(wanted.then(|| {
                let len = self.lives.len(value);
                let place = &mut gradients[node.index()];
                let add = place.is_some();
                let values = *place.get_or_insert_with(|| self.lives.begin(len, time));
                let apart = add && !step.layer.adds(position);
                TargetValue { values, add, part: apart.then(|| self.lives.begin(len, time)) }
            }));
        }
        Backward { step: index, gradient, inputs, targets }
    }

    fn finish(self, plan: &Plan, backward: Vec<Backward>) -> Layout {
        let value = |node: &NodeId| self.value(*node);
        let forward = plan.steps.iter().map(|step| Forward {
            inputs: step.inputs.iter().map(value).collect(),
            output: value(&step.output),
        });
        let forward = forward.collect();
        let Self { lives, images, logits, logits_gradient, .. } = self;
        let (places, len) = lives.arrange();
        Layout { places, len, images, logits, logits_gradient, forward, backward }
    }
}

/// How long values are kept: from when they are written to when they are last
/// read, both included.
#[derive(Default)]
struct Lives(Vec<Life>);

struct Life {
    len: usize,
    first: usize,
    last: usize,
}

impl Life {
    fn meets(&self, other: &Self) -> bool {
        self.first <= other.last && other.first <= self.last
    }
}

impl Lives {
    fn begin(&mut self, len: usize, time: usize) -> Value {
        self.0.push(Life { len, first: time, last: time });
        Value(self.0.len() - 1)
    }

    fn read(&mut self, value: Value, time: usize) {
        let last = &mut self.0[value.0].last;
        *last = time.max(*last);
    }

    fn len(&self, value: Value) -> usize {
        self.0[value.0].len
    }

    /// A place for each value, and the memory that they take together: from the
    /// largest to the smallest, each where it first fits between those that live
    /// at the same time (Pisarchyk & Lee, "Efficient Memory Management for Deep
    /// Neural Net Inference", 2020, greedy by size).
    fn arrange(&self) -> (Vec<Range<usize>>, usize) {
        let mut order: Vec<usize> = (0..self.0.len()).collect();
        order.sort_by_key(|&at| std::cmp::Reverse(self.0[at].len));
        let mut places = vec![0..0; self.0.len()];
        let mut placed: Vec<usize> = Vec::new(); // by where they start
        for at in order {
            let life = &self.0[at];
            let mut start = 0;
            for &other in placed.iter().filter(|&&other| life.meets(&self.0[other])) {
                if start + life.len <= places[other].start {
                    break;
                }
                start = start.max(places[other].end.next_multiple_of(LINE));
            }
            places[at] = start..start + life.len;
            placed.insert(placed.partition_point(|&other| places[other].start <= start), at);
        }
        let end = places.iter().map(|place| place.end.next_multiple_of(LINE)).max();
        (places, end.unwrap_or(0))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn lives(lives: &[(usize, usize, usize)]) -> Lives {
        Lives(lives.iter().map(|&(len, first, last)| Life { len, first, last }).collect())
    }

    #[test]
    fn values_share_memory_where_they_do_not_meet() {
        let lives = lives(&[(32, 0, 2), (16, 1, 1), (16, 2, 3), (40, 3, 4), (8, 0, 4), (0, 1, 2)]);
        let (places, len) = lives.arrange();
        for (a, place) in places.iter().enumerate() {
            assert!(place.start.is_multiple_of(LINE) && place.end <= len);
            assert_eq!(place.len(), lives.0[a].len);
            for (b, other) in places.iter().enumerate().take(a) {
                let apart = place.end <= other.start || other.end <= place.start;
                assert!(apart || !lives.0[a].meets(&lives.0[b]), "{a} on {b}: {places:?}");
            }
        }
        // At time 3 there are 16, 40 and 8, in whole lines.
        assert_eq!(len, 16 + 48 + 16);
    }

    fn layout(lives: &Lives) -> Layout {
        let (places, len) = lives.arrange();
        let [images, logits, logits_gradient] = [Value(0); 3];
        let (forward, backward) = (Vec::new(), Vec::new());
        Layout { places, len, images, logits, logits_gradient, forward, backward }
    }

    #[test]
    fn values_are_taken_in_any_order() {
        let layout = layout(&lives(&[(16, 0, 0), (20, 0, 0), (3, 0, 0), (0, 0, 0)]));
        let mut memory: Vec<f32> = (0..layout.len(2)).map(|i| i as f32).collect();
        for wanted in [[0, 1, 2, 3], [2, 3, 0, 1], [3, 1, 2, 0]] {
            let mut parts = layout.split(&mut memory, 2, wanted.map(Value));
            for value in [2, 0, 3, 1] {
                let part = parts.take(Value(value));
                assert_eq!(part.len(), 2 * [16, 20, 3, 0][value]);
                let start = 2 * layout.places[value].start;
                assert!(part.first().is_none_or(|&first| first == start as f32));
            }
        }
    }

    #[test]
    #[should_panic(expected = "values share no memory")]
    fn values_that_share_memory_are_not_handed_out_together() {
        let layout = layout(&lives(&[(16, 0, 0), (16, 1, 1)]));
        layout.split(&mut [0.0; 16], 1, [Value(0), Value(1)]);
    }

    /// What the layout of ResNet-20 takes is what has to be kept at the worst
    /// moment: all inputs of convolutions and normalisations.
    #[test]
    fn the_layout_of_resnet20_leaves_no_gaps() {
        let graph = ec2t_scale::build("resnet20", &ec2t_scale::ArchOptions::default()).unwrap();
        let network = crate::initialize(&graph, 1).unwrap();
        let weights = crate::weights::Weights::from_network(&network);
        let plan = Plan::new(&graph, &weights).unwrap();
        let kept = 32 * 32 * 3 + 14 * (32 * 32 * 16) + 12 * (16 * 16 * 32) + 11 * (8 * 8 * 64);
        let gradients = 3 * (8 * 8 * 64);
        let training = Layout::training(&plan).len(1);
        assert!((kept..=kept + gradients).contains(&training), "{training} of {kept}");
        let evaluation = Layout::evaluation(&plan).len(1);
        assert_eq!(evaluation, 3 * (32 * 32 * 16));
    }
}
