//! Models that are not as PyTorch's or our own: other forms of the same, and bad ones.

use std::collections::BTreeMap;

use ec2t_format::graph::{Activation, GraphBuilder, Padding, Shape};
use ec2t_format::{Op, Tensor, TernaryTensor};

use super::super::constant::{float, float_tensor, int, int_tensor, ints, tensor, text};
use super::super::proto::data_type::{INT8, UINT8};
use super::super::proto::{self, Attribute, Node, OperatorSet};
use super::super::{Codes, write};
use super::*;

fn node(kind: &str, inputs: &[&str], output: &str, attribute: &[Attribute]) -> Node {
    Node {
        input: inputs.iter().map(|name| name.to_string()).collect(),
        output: vec![output.into()],
        op_type: Some(kind.into()),
        attribute: attribute.to_vec(),
        ..Node::default()
    }
}

/// A model that reads `x`, `[N, 2, 4, 4]`, and gives `y`.
fn model(nodes: &[Node], constants: &[proto::Tensor]) -> Model {
    let mut g = GraphBuilder::new("t", Shape::new(2, 4, 4));
    g.flatten("f", g.input());
    let network = Network::new(g.finish().unwrap(), BTreeMap::new()).unwrap();
    let bytes = write(&network, Codes::Dense).unwrap();
    let mut model = Model::decode(bytes.as_slice()).unwrap();
    let graph = model.graph.as_mut().unwrap();
    graph.node = nodes.to_vec();
    graph.initializer = constants.to_vec();
    graph.input[0].name = Some("x".into());
    graph.output[0].name = Some("y".into());
    model
}

fn read_model(model: &Model) -> Result<Network, OnnxError> {
    Ok(read(&model.encode_to_vec())?.network)
}

fn network(nodes: &[Node], constants: &[proto::Tensor]) -> Network {
    read_model(&model(nodes, constants)).unwrap()
}

/// What the error of a model says.
fn fault(nodes: &[Node], constants: &[proto::Tensor]) -> String {
    read_model(&model(nodes, constants)).unwrap_err().to_string()
}

fn ops(network: &Network) -> Vec<&Op> {
    network.graph().nodes.iter().skip(1).map(|node| &node.op).collect()
}

#[test]
fn integers_with_a_scale_become_ternary_weights() {
    let codes = tensor("codes", &[2, 2, 1, 1], INT8, vec![1, 0, 255, 1]);
    let scale = float_tensor("scale", &[], &[0.25]);
    let nodes = [
        node("DequantizeLinear", &["codes", "scale"], "w", &[]),
        node("Conv", &["x", "w"], "y", &[]),
    ];
    let network = network(&nodes, &[codes, scale]);
    let expected = TernaryTensor::new(vec![2, 2, 1, 1], vec![1, 0, -1, 1], 0.25, 0.25).unwrap();
    assert_eq!(network.tensor("y.weight"), Some(&Tensor::Ternary(expected)));
}

#[test]
fn scales_may_belong_to_rows_of_an_axis() {
    let codes = tensor("codes", &[2, 2, 1, 1], INT8, vec![1, 2, 3, 4]);
    let scale = float_tensor("scale", &[2], &[0.5, 2.0]);
    let zero = tensor("zero", &[2], INT8, vec![0, 1]);
    let operands = ["codes", "scale", "zero"];
    for (axis, expected) in [(0, [0.5, 1.0, 4.0, 6.0]), (1, [0.5, 2.0, 1.5, 6.0])] {
        let nodes = [
            node("DequantizeLinear", &operands, "w", &[int("axis", axis)]),
            node("Conv", &["x", "w"], "y", &[]),
        ];
        let network = network(&nodes, &[codes.clone(), scale.clone(), zero.clone()]);
        assert_eq!(network.tensor("y.weight").unwrap().to_f32(), expected);
    }
}

#[test]
fn numbers_per_channel_become_preprocessing_scale_bias_or_normalisation() {
    let numbers = |name: &str, values: [f32; 2]| float_tensor(name, &[1, 2, 1, 1], &values);
    let constants = [
        numbers("mean", [0.5, 0.25]),
        float_tensor("std", &[], &[0.125]),
        float_tensor("w", &[2, 2, 1, 1], &[1.0, 2.0, 3.0, 4.0]),
        numbers("scale", [3.0, 5.0]),
        numbers("bias", [7.0, 9.0]),
        numbers("factor", [4.0, 8.0]),
    ];
    let nodes = [
        node("Sub", &["x", "mean"], "centred", &[]),
        node("Div", &["centred", "std"], "normal", &[]),
        node("Conv", &["normal", "w"], "sum", &[]),
        node("Mul", &["scale", "sum"], "scaled", &[]),
        node("Add", &["scaled", "bias"], "biased", &[]),
        node("Relu", &["biased"], "relu", &[]),
        node("Div", &["relu", "factor"], "y", &[]),
    ];
    let network = network(&nodes, &constants);
    let preprocess = &network.graph().preprocess;
    assert_eq!((&preprocess.mean, &preprocess.std), (&vec![0.5, 0.25], &vec![0.125; 2]));
    let values = |name: &str| network.tensor(name).unwrap().to_f32();
    assert_eq!((values("sum.scale"), values("sum.bias")), (vec![3.0, 5.0], vec![7.0, 9.0]));
    assert_eq!((values("y.weight"), values("y.bias")), (vec![0.25, 0.125], vec![0.0; 2]));
    assert_eq!(ops(&network).len(), 3);
}

#[test]
fn a_value_that_others_read_is_not_changed() {
    let constants = [
        float_tensor("w", &[2, 2, 1, 1], &[1.0, 2.0, 3.0, 4.0]),
        float_tensor("bias", &[2, 1, 1], &[7.0, 9.0]),
    ];
    let nodes = [
        node("Conv", &["x", "w"], "sum", &[]),
        node("Add", &["sum", "bias"], "biased", &[]),
        node("Add", &["sum", "biased"], "y", &[]),
    ];
    let network = network(&nodes, &constants);
    assert!(
        matches!(ops(&network)[..], [Op::Conv2d(conv), Op::BatchNorm(_), Op::Add] if !conv.bias)
    );
}

#[test]
fn zeros_around_a_map_go_to_the_convolution() {
    let constants = [
        float_tensor("w", &[1, 2, 3, 3], &[1.0; 18]),
        int_tensor("pads", &[0, 0, 0, 1, 0, 0, 1, 0]),
    ];
    let nodes = [
        node("Pad", &["x", "pads"], "padded", &[]),
        node("Conv", &["padded", "w"], "y", &[ints("pads", &[1, 1, 0, 0])]),
    ];
    let network = network(&nodes, &constants);
    let [Op::Conv2d(conv)] = ops(&network)[..] else { panic!() };
    assert_eq!(conv.padding, Padding::Explicit([1, 2, 1, 0]));

    let relu = [nodes[0].clone(), node("Relu", &["padded"], "y", &[])];
    assert_eq!(
        fault(&relu, &constants),
        "node `y`: Relu is not supported: its input has been padded"
    );
}

#[test]
fn means_over_zeros_count_them() {
    let pads = int_tensor("pads", &[0, 0, 1, 1, 0, 0, 1, 1]);
    let pool = |more: &[Attribute]| {
        let settings = [&[ints("kernel_shape", &[3, 3])], more].concat();
        [
            node("Pad", &["x", "pads"], "padded", &[]),
            node("AveragePool", &["padded"], "y", &settings),
        ]
    };
    let network = network(&pool(&[]), std::slice::from_ref(&pads));
    assert!(matches!(ops(&network)[..], [Op::AvgPool(pool)] if pool.padding == [1; 4]));
    // Padded to six rows: windows of three at every second leave one over.
    let ceil = pool(&[ints("strides", &[2, 2]), int("ceil_mode", 1)]);
    assert!(fault(&ceil, std::slice::from_ref(&pads)).contains("ceil_mode"));
    let own = pool(&[ints("pads", &[1, 1, 1, 1])]);
    assert!(fault(&own, &[pads]).contains("leave out the padding"));
}

#[test]
fn nodes_that_change_nothing_are_no_layers() {
    let constants = [
        int_tensor("pads", &[0; 8]),
        int_tensor("start", &[0]),
        int_tensor("end", &[i64::MAX]),
        int_tensor("axis", &[2]),
    ];
    let nodes = [
        node("Pad", &["x", "pads"], "a", &[]),
        node("Slice", &["a", "start", "end", "axis"], "b", &[]),
        node("Identity", &["b"], "c", &[]),
        node("Relu", &["c"], "y", &[]),
    ];
    assert_eq!(ops(&network(&nodes, &constants)), [&Op::Activation(Activation::Relu)]);
}

#[test]
fn old_forms_of_settings_are_read() {
    let clip = |low, high| {
        let settings = [float("min", low), float("max", high)];
        [node("Clip", &["x"], "y", &settings)]
    };
    let relu6 = Op::Activation(Activation::Relu6);
    assert_eq!(ops(&network(&clip(0.0, 6.0), &[])), [&relu6]);
    assert_eq!(fault(&clip(0.0, 5.0), &[]), "node `y`: Clip is not supported: to 0 … 5");
}

/// Of a network, the values of a model's input that is 0.1, 0.2 and so on.
fn run(network: Network) -> Vec<f32> {
    let input: Vec<f32> = (1..=32).map(|value| value as f32 / 10.0).collect();
    ec2t_infer::Model::new(network).unwrap().run(&input, 1).unwrap()
}

#[test]
fn hard_sigmoid_becomes_lines_and_relu6() {
    let slope = [float("alpha", 0.5), float("beta", -0.25)];
    let found = run(network(&[node("HardSigmoid", &["x"], "y", &slope)], &[]));
    for (at, found) in found.into_iter().enumerate() {
        let x = (at + 1) as f32 / 10.0;
        let expected = (0.5 * x - 0.25).clamp(0.0, 1.0);
        assert!((found - expected).abs() < 1e-6, "{found} for {expected}");
    }
    let nodes = [node("HardSigmoid", &["x"], "gate", &[]), node("Mul", &["gate", "x"], "y", &[])];
    let network = network(&nodes, &[]);
    assert!(matches!(
        ops(&network)[..],
        [Op::BatchNorm(_), Op::Activation(Activation::Relu6), Op::BatchNorm(_), Op::Multiply]
    ));
}

#[test]
fn probabilities_at_the_end_are_left_out_and_noted() {
    let nodes = [
        node("Flatten", &["x"], "logits", &[int("axis", -3)]),
        node("Softmax", &["logits"], "y", &[int("axis", -1)]),
    ];
    let imported = read(&model(&nodes, &[]).encode_to_vec()).unwrap();
    assert_eq!(ops(&imported.network), [&Op::Flatten]);
    let note = "node `y`: Softmax is left out; the network gives the logits that it reads";
    assert_eq!(imported.notes, [note]);

    let inside = [&nodes[..1], &[node("Softmax", &["logits"], "p", &[])]].concat();
    let inside = [&inside[..], &[node("Relu", &["p"], "y", &[])]].concat();
    assert!(fault(&inside, &[]).contains("node `p`: Softmax is not supported: except as"));
    let map = [node("Softmax", &["x"], "y", &[int("axis", 1)])];
    assert!(fault(&map, &[]).contains("over axis 1"));
}

#[test]
fn automatic_padding_is_computed_for_the_size_of_the_input() {
    let w = float_tensor("w", &[1, 2, 3, 2], &[1.0; 12]);
    let padding = |mode: &str| {
        let settings = [text("auto_pad", mode), ints("strides", &[1, 2])];
        let network =
            network(&[node("Conv", &["x", "w"], "y", &settings)], std::slice::from_ref(&w));
        let [Op::Conv2d(conv)] = ops(&network)[..] else { panic!() };
        conv.padding
    };
    assert_eq!(padding("SAME_UPPER"), Padding::Same);
    assert_eq!(padding("SAME_LOWER"), Padding::Explicit([1, 0, 1, 0]));
    assert_eq!(padding("VALID"), Padding::all(0));

    let pool = |kind: &str, mode: &str| {
        let settings = [text("auto_pad", mode), ints("kernel_shape", &[2, 2])];
        model(&[node(kind, &["x"], "y", &settings)], &[])
    };
    for (mode, padding) in [("SAME_UPPER", [0, 0, 1, 1]), ("SAME_LOWER", [1, 1, 0, 0])] {
        let network = read_model(&pool("MaxPool", mode)).unwrap();
        assert!(matches!(ops(&network)[..], [Op::MaxPool(pool)] if pool.padding == padding));
        let means = read_model(&pool("AveragePool", mode)).unwrap_err().to_string();
        assert!(means.contains("leave out the padding"), "{means}");
    }
}

#[test]
fn factors_of_gemm_go_to_weights_and_bias() {
    let constants = [
        float_tensor("rows", &[2, 32], &[0.5; 64]),
        float_tensor("columns", &[32, 2], &[0.5; 64]),
        float_tensor("c", &[1, 2], &[1.0, 2.0]),
    ];
    for (weight, is_transposed) in [("rows", 1), ("columns", 0)] {
        let factors = [int("transB", is_transposed), float("alpha", 2.0), float("beta", 3.0)];
        let nodes =
            [node("Flatten", &["x"], "v", &[]), node("Gemm", &["v", weight, "c"], "y", &factors)];
        let network = network(&nodes, &constants);
        assert_eq!(network.tensor("y.weight").unwrap().to_f32(), [1.0; 64]);
        assert_eq!(network.tensor("y.bias").unwrap().to_f32(), [3.0, 6.0]);
    }
}

#[test]
fn means_over_maps_have_their_axes_as_a_setting_or_an_operand() {
    let axes = int_tensor("axes", &[-1, -2]);
    for mean in [
        node("ReduceMean", &["x"], "m", &[ints("axes", &[2, 3]), int("keepdims", 0)]),
        node("ReduceMean", &["x", "axes"], "m", &[int("keepdims", 0)]),
    ] {
        let nodes = [mean, node("Relu", &["m"], "y", &[])];
        let network = network(&nodes, std::slice::from_ref(&axes));
        let expected = [&Op::GlobalAvgPool, &Op::Activation(Activation::Relu)];
        assert_eq!(ops(&network), expected);
    }
    let rows = [node("ReduceMean", &["x"], "y", &[ints("axes", &[2])])];
    assert!(fault(&rows, &[]).contains("over axes [2]"));
}

#[test]
fn limits_of_clip_are_constants_of_either_kind() {
    let zero =
        Node { attribute: vec![float("value_float", 0.0)], ..node("Constant", &[], "low", &[]) };
    let nodes = [zero, node("Clip", &["x", "low", "high"], "y", &[])];
    let relu6 = network(&nodes, &[float_tensor("high", &[], &[6.0])]);
    assert_eq!(ops(&relu6), [&Op::Activation(Activation::Relu6)]);
    let low_alone = [nodes[0].clone(), node("Clip", &["x", "low", ""], "y", &[])];
    assert_eq!(ops(&network(&low_alone, &[])), [&Op::Activation(Activation::Relu)]);
}

#[test]
fn the_maximum_of_a_map_is_that_of_one_window() {
    let network = network(&[node("GlobalMaxPool", &["x"], "y", &[])], &[]);
    assert_eq!(run(network), [1.6, 3.2]);
}

#[test]
fn what_the_output_is_must_be_a_layer() {
    let pads = int_tensor("pads", &[0, 0, 1, 1, 0, 0, 1, 1]);
    let padded = [node("Pad", &["x", "pads"], "y", &[])];
    let expected = "node `y`: Pad is not supported: its value has been padded";
    assert_eq!(fault(&padded, &[pads]), expected);
    let shape = [node("Shape", &["x"], "y", &[])];
    assert!(fault(&shape, &[]).contains("its value is the length of a dimension"));
    let constant = float_tensor("y", &[1], &[1.0]);
    assert_eq!(fault(&[], &[constant]), "output: expected what a layer computes, found y");

    let every_second =
        node("MaxPool", &["x"], "y", &[ints("kernel_shape", &[1, 1]), ints("strides", &[2, 2])]);
    let network = network(&[every_second], &[]);
    assert!(matches!(ops(&network)[..], [Op::PadShortcut(pad)] if pad.stride == 2));
}

#[test]
fn the_last_layer_is_the_one_that_the_output_names() {
    // Of `other`, which comes last, the output takes but the number of images.
    let nodes = [
        node("Relu", &["x"], "relu", &[]),
        node("Sigmoid", &["relu"], "other", &[]),
        node("Shape", &["other"], "lengths", &[]),
        node("Reshape", &["relu", "lengths"], "y", &[]),
    ];
    assert_eq!(ops(&network(&nodes, &[])), [&Op::Activation(Activation::Relu)]);
}

#[test]
fn what_is_not_supported_is_named() {
    let cases = [
        (node("LSTM", &["x"], "y", &[]), "node `y`: LSTM is not supported: no layer computes this"),
        (node("MaxPool", &["x"], "y", &[ints("kernel_shape", &[2])]), "MaxPool"),
        (node("Conv", &["x", "x"], "y", &[]), "operand 1 is no constant of floats"),
        (node("Conv", &["x"], "y", &[]), "operand 1 is no constant of floats"),
        (node("Relu", &[], "y", &[]), "operand 0 is missing"),
        (node("Flatten", &["x"], "y", &[int("axis", 2)]), "Flatten"),
        (node("Sub", &["x", "x"], "y", &[]), "of two layers"),
        (node("Concat", &["x", "x"], "y", &[int("axis", 1)]), "of what layers compute"),
    ];
    for (node, reason) in cases {
        let fault = fault(&[node], &[]);
        assert!(fault.starts_with("node `y`: ") && fault.contains(reason), "{fault}");
    }
    let mut foreign = node("Relu", &["x"], "y", &[]);
    foreign.domain = Some("com.microsoft".into());
    assert!(fault(&[foreign], &[]).contains("no operator of ONNX itself"));
    let w = float_tensor("w", &[2, 2, 1, 1], &[1.0; 4]);
    let auto = node("Conv", &["x", "w"], "y", &[text("auto_pad", "SAME")]);
    assert!(fault(&[auto], std::slice::from_ref(&w)).contains("auto_pad SAME"));
    let wide = node("Conv", &["x", "w"], "y", &[int("group", i64::MAX)]);
    assert!(fault(&[wide], &[w]).contains("layer `y`"));
}

#[test]
fn nodes_that_read_what_comes_later_are_refused() {
    let cycle = [node("Add", &["x", "b"], "a", &[]), node("Relu", &["a"], "b", &[])];
    let nodes = [&cycle[..], &[node("Relu", &["b"], "y", &[])]].concat();
    let expected = "node `a`: no input, constant or earlier node is called `b`";
    assert_eq!(fault(&nodes, &[]), expected);
    let itself = [node("Relu", &["y"], "y", &[])];
    assert!(fault(&itself, &[]).contains("is called `y`"));
}

#[test]
fn what_the_output_does_not_depend_on_is_passed_over() {
    let nodes = [node("LSTM", &["x"], "other", &[]), node("Relu", &["x"], "y", &[])];
    assert_eq!(ops(&network(&nodes, &[])), [&Op::Activation(Activation::Relu)]);
}

#[test]
fn models_of_other_kinds_are_named() {
    let good = model(&[node("Relu", &["x"], "y", &[])], &[]);
    let change = |change: &dyn Fn(&mut Model)| {
        let mut model = good.clone();
        change(&mut model);
        read_model(&model).unwrap_err().to_string()
    };
    assert_eq!(change(&|m| m.graph = None), "graph: expected one, found none");
    assert_eq!(
        change(&|m| m.opset_import = vec![OperatorSet { domain: None, version: Some(8) }]),
        "version of the operators: expected 9 or above, found 8"
    );
    let twice = change(&|m| {
        let graph = m.graph.as_mut().unwrap();
        graph.output.push(graph.output[0].clone());
    });
    assert_eq!(twice, "outputs: expected one, found 2");
    let free = change(&|m| {
        let info = &mut m.graph.as_mut().unwrap().input[0];
        info.kind = None;
    });
    assert!(free.starts_with("shape of the input: expected four dimensions"), "{free}");
    let bytes = change(&|m| {
        let info = m.graph.as_mut().unwrap().input[0].kind.as_mut().unwrap();
        info.tensor.as_mut().unwrap().elem_type = Some(UINT8);
    });
    assert_eq!(bytes, "type of the input: expected floats, found type 2");
    let class = change(&|m| {
        m.metadata_props.push(Entry { key: Some(CLASSES_KEY.into()), value: Some("[1]".into()) });
    });
    assert!(class.starts_with("class names: expected a JSON array of texts"), "{class}");
}

/// A model whose weights of a convolution are in a file with this name, and these bytes.
fn beside(location: &str, range: [&str; 2]) -> Model {
    let entry = |(key, value): (&str, &str)| proto::Entry {
        key: Some(key.into()),
        value: Some(value.into()),
    };
    let entries = [("location", location), ("offset", range[0]), ("length", range[1])];
    let weight = proto::Tensor {
        data_location: Some(1),
        external_data: entries.into_iter().map(entry).collect(),
        raw_data: None,
        ..float_tensor("w", &[1, 2, 1, 1], &[])
    };
    model(&[node("Conv", &["x", "w"], "y", &[])], &[weight])
}

#[test]
fn values_in_a_file_beside_the_model_are_read() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("m.onnx");
    let values = [9.0f32, 2.0, -0.5, 9.0].map(f32::to_le_bytes).concat();
    std::fs::write(folder.path().join("m.data"), values).unwrap();
    let open = |model: &Model| {
        std::fs::write(&path, model.encode_to_vec()).unwrap();
        open(&path).map_err(|error| error.to_string())
    };
    let network = open(&beside("m.data", ["4", "8"])).unwrap().network;
    assert_eq!(network.tensor("y.weight").unwrap().to_f32(), [2.0, -0.5]);

    let mut again = beside("m.data", ["4", "8"]);
    let constants = &mut again.graph.as_mut().unwrap().initializer;
    constants.extend(vec![constants[0].clone(); 2]);
    let cases = [
        (beside("m.data", ["12", "8"]), "8 bytes at offset 12, the file has 16"),
        (beside("m.data", ["18446744073709551615", "8"]), "the file has 16"),
        (beside("m.data", ["-4", "8"]), "offset `-4`"),
        (beside("m.data", ["4", "4"]), "need 2 values, found 1"),
        (beside("none.data", ["4", "8"]), "`none.data`"),
        (beside("../m.data", ["4", "8"]), "expected a file in the model's folder"),
        (beside("/m.data", ["4", "8"]), "expected a file in the model's folder"),
        (beside("", ["4", "8"]), "expected a file of at most 2 GiB"),
        (again, "more is read than the files have"),
    ];
    for (model, reason) in cases {
        let fault = open(&model).unwrap_err();
        assert!(fault.contains("m.onnx: constant `w`: ") && fault.contains(reason), "{fault}");
    }
    let fault = read_model(&beside("m.data", ["4", "8"])).unwrap_err().to_string();
    assert!(fault.contains("its values are in another file"), "{fault}");
}

#[test]
fn no_edit_of_a_byte_makes_it_panic() {
    let constants = [
        float_tensor("w", &[1, 2, 3, 3], &[1.0; 18]),
        int_tensor("pads", &[0, 0, 0, 1, 0, 0, 1, 0]),
        int_tensor("at", &[0, 2]),
        float_tensor("list", &[3], &[1.0, 2.0, 3.0]),
    ];
    let nodes = [
        node("Pad", &["x", "pads"], "padded", &[]),
        node("Conv", &["padded", "w"], "c", &[ints("pads", &[1, 1, 0, 0])]),
        node("Shape", &["c"], "s", &[]),
        node("Slice", &["s", "low", "high"], "n", &[]),
        node("Concat", &["n", "rest"], "to", &[int("axis", 0)]),
        node("Reshape", &["c", "to"], "f", &[]),
        node("Gather", &["list", "at"], "l", &[]),
        node("Mul", &["f", "f"], "y", &[]),
    ];
    let mut constants = constants.to_vec();
    constants.extend([("low", 0), ("high", 1), ("rest", -1)].map(|(n, v)| int_tensor(n, &[v])));
    let bytes = model(&nodes, &constants).encode_to_vec();
    read(&bytes).unwrap();
    for length in 0..bytes.len() {
        let _ = read(&bytes[..length]);
    }
    for at in 0..bytes.len() {
        for value in [0, 1, 2, 0x7f, 0x80, 0xff, bytes[at] ^ 1, bytes[at] ^ 8, bytes[at] ^ 0x40] {
            let mut edited = bytes.clone();
            edited[at] = value;
            let _ = read(&edited);
        }
    }
}
