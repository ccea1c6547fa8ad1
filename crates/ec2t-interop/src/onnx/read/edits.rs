//! Models that nobody would write: seeded edits of good ones.
//!
//! Edits of bytes nearly always break a length. So these are edits of messages, which then
//! are encoded again: other operators, operands, settings and dimensions, nodes in another
//! order. The same seed gives the same edits on any machine. `cargo xtask fuzz
//! --deterministic` makes a million of them, and libFuzzer those of bytes.

use ec2t_format::fold_batch_norm;

use super::super::proto::{Attribute, Graph, Node, Tensor};
use super::super::{Codes, write};
use super::*;

/// Models of both of PyTorch's exporters, for batches of any size, and their operators.
const MODELS: [&[u8]; 6] = [
    include_bytes!("../../../../ec2t-infer/tests/exported/efficientnet-dynamo.onnx"),
    include_bytes!("../../../../ec2t-infer/tests/exported/efficientnet-legacy.onnx"),
    include_bytes!("../../../../ec2t-infer/tests/exported/mobilenet-dynamo.onnx"),
    include_bytes!("../../../../ec2t-infer/tests/exported/mobilenet-legacy.onnx"),
    include_bytes!("../../../../ec2t-infer/tests/exported/resnet-dynamo.onnx"),
    include_bytes!("../../../../ec2t-infer/tests/exported/resnet-legacy.onnx"),
];

/// Operators that the models do not have.
const OPERATORS: [&str; 10] = [
    "AveragePool",
    "BatchNormalization",
    "Clip",
    "DequantizeLinear",
    "Div",
    "Flatten",
    "HardSigmoid",
    "MatMul",
    "Squeeze",
    "Sub",
];

const NUMBERS: [i64; 12] = [0, 1, 2, 3, 6, -1, -2, 255, 1 << 31, 1 << 40, i64::MAX, i64::MIN];
const FLOATS: [f32; 6] = [0.0, 1.0, -1.0, 1e-30, f32::INFINITY, f32::NAN];

/// SplitMix64.
struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    fn below(&mut self, end: usize) -> usize {
        (self.next() % end.max(1) as u64) as usize
    }

    fn one_of<'v, T>(&mut self, values: &'v [T]) -> Option<&'v T> {
        values.get(self.below(values.len()))
    }

    fn number(&mut self) -> i64 {
        NUMBERS[self.below(NUMBERS.len())]
    }
}

/// Changes something about a graph.
fn edit(graph: &mut Graph, random: &mut Random) {
    match random.below(8) {
        0 => {
            let (a, b) = (random.below(graph.node.len()), random.below(graph.node.len()));
            graph.node.swap(a, b);
        }
        1 => drop(graph.node.remove(random.below(graph.node.len()))),
        2 => {
            let at = random.below(graph.initializer.len());
            edit_tensor(&mut graph.initializer[at], random);
        }
        3 => {
            let at = random.below(graph.node.len());
            let values: Vec<String> = values(graph);
            let others = random.one_of(&values).cloned();
            let inputs = &mut graph.node[at].input;
            match random.below(4) {
                0 => drop(inputs.pop()),
                1 => inputs.extend(others),
                _ => {
                    let operand = random.below(inputs.len());
                    inputs.get_mut(operand).into_iter().zip(others).for_each(|(a, b)| *a = b);
                }
            }
        }
        4 => {
            let at = random.below(graph.node.len());
            let own = random.one_of(&graph.node).and_then(|node| node.op_type.clone());
            let foreign = random.one_of(&OPERATORS).map(|name| name.to_string());
            graph.node[at].op_type = if random.below(2) == 0 { own } else { foreign };
        }
        5 => {
            let settings = random.one_of(&graph.node).map(|node| node.attribute.clone());
            let at = random.below(graph.node.len());
            graph.node[at].attribute.extend(settings.unwrap_or_default());
        }
        _ => {
            let at = random.below(graph.node.len());
            edit_settings(&mut graph.node[at], random);
        }
    }
}

/// Names of all values.
fn values(graph: &Graph) -> Vec<String> {
    let computed = graph.node.iter().flat_map(|node| node.output.clone());
    let constants = graph.initializer.iter().filter_map(|constant| constant.name.clone());
    computed.chain(constants).chain([String::new()]).collect()
}

fn edit_settings(node: &mut Node, random: &mut Random) {
    let at = random.below(node.attribute.len());
    let Some(Attribute { i, f, ints, t, s, .. }) = node.attribute.get_mut(at) else { return };
    match (random.below(4), i, f, t) {
        (0, ..) => drop(node.attribute.remove(at)),
        (_, Some(value), ..) => *value = random.number(),
        (_, _, Some(value), _) => *value = FLOATS[random.below(FLOATS.len())],
        (_, _, _, Some(tensor)) => edit_tensor(tensor, random),
        (1, ..) => ints.push(random.number()),
        (2, ..) => *s = None,
        _ => {
            let entry = random.below(ints.len());
            ints.get_mut(entry).into_iter().for_each(|value| *value = random.number());
        }
    }
}

fn edit_tensor(tensor: &mut Tensor, random: &mut Random) {
    let at = random.below(tensor.dims.len());
    match random.below(6) {
        0 => tensor.dims.push(random.number()),
        1 => drop(tensor.dims.pop()),
        2 => tensor.data_type = Some(random.below(28) as i32),
        3 if at + 1 < tensor.dims.len() => tensor.dims.swap(at, at + 1),
        4 => {
            let bytes = tensor.raw_data.get_or_insert_default();
            let number = random.number().to_le_bytes();
            let at = random.below(bytes.len());
            bytes.iter_mut().skip(at).zip(number).for_each(|(old, new)| *old = new);
        }
        _ => tensor.dims.iter_mut().skip(at).take(1).for_each(|dim| *dim = random.number()),
    }
}

/// Makes so many edits of so many models; gives how many of those can still be read, and
/// how many kinds of errors there were.
fn edits(count: u64) -> (usize, usize) {
    let models = MODELS.map(|bytes| Model::decode(bytes).unwrap());
    let mut read_anyway = 0;
    let mut errors = HashSet::new();
    for seed in 0..count {
        let mut random = Random(seed);
        let mut model = models[random.below(models.len())].clone();
        for _ in 0..=random.below(4) {
            edit(model.graph.as_mut().unwrap(), &mut random);
        }
        match read(&model.encode_to_vec()) {
            Ok(Imported { network, .. }) => {
                assert_written(&network, seed);
                read_anyway += 1;
            }
            Err(OnnxError::Unsupported { operator, reason, .. }) => {
                let words: String = reason.chars().filter(|c| c.is_alphabetic()).collect();
                errors.insert(format!("{operator}{words}"));
            }
            Err(other) => drop(errors.insert(format!("{:?}", std::mem::discriminant(&other)))),
        }
    }
    (read_anyway, errors.len())
}

/// Asserts that a network has the same weights when it comes back from a model, and that
/// this one comes back as it is. The layers of the first may be in a longer form: the two of
/// a swish, where something has been read of both that the output does not depend on.
fn assert_written(network: &Network, seed: u64) {
    let again = |network: &Network| {
        let model = write(network, Codes::U2).unwrap();
        read(&model).unwrap_or_else(|error| panic!("seed {seed}: {error}")).network
    };
    let first = again(network);
    let second = again(&first);
    for (back, original) in [(&first, &fold_batch_norm(network)), (&second, &first)] {
        assert!(bits(back) == bits(original), "seed {seed}");
    }
    // As text, in which NaNs are equal.
    let [first, second] = [&first, &second].map(|network| format!("{:?}", network.graph()));
    assert_eq!(first, second, "seed {seed}");
}

/// Every tensor's values, bit by bit: NaNs, too, are equal where they are the same.
fn bits(network: &Network) -> Vec<(&str, Vec<u32>)> {
    let tensors = network.tensors().iter();
    tensors
        .map(|(name, t)| (name.as_str(), t.to_f32().iter().map(|v| v.to_bits()).collect()))
        .collect()
}

#[test]
fn some_edits_do_no_harm() {
    let (read_anyway, errors) = edits(3000);
    assert!(read_anyway > 300 && errors > 100, "{read_anyway} read, {errors} kinds of errors");
}

#[test]
#[ignore = "minutes; `some_edits_do_no_harm` is the short form, `cargo xtask fuzz --deterministic` runs this"]
#[expect(clippy::print_stdout, reason = "a long test says what it has done")]
fn a_million_edits_do_no_harm() {
    let (read_anyway, errors) = edits(1_000_000);
    println!("a million edits: {read_anyway} models read, {errors} kinds of errors");
}

#[test]
fn no_model_can_be_cut_off() {
    for model in MODELS {
        for length in 0..model.len() {
            assert!(read(&model[..length]).is_err(), "{length} of {} bytes", model.len());
        }
    }
}
