//! Well-formed PyTorch checkpoints of both forms, written by hand.

mod support;

use ec2t_format::graph::{GraphBuilder, Shape};
use ec2t_format::{Graph, Tensor};
use ec2t_interop::{InteropError, StateDict, import};
use support::*;
use zip::CompressionMethod;

fn data<'d>(dict: &'d StateDict, name: &str) -> (&'d [usize], &'d [f32]) {
    let tensor = dict.get(name).unwrap_or_else(|| panic!("no {name} in {dict:?}"));
    (tensor.shape(), tensor.data())
}

const VALUES: [f32; 6] = [0.0, 1.0, 2.0, 3.0, 4.0, 5.0];

#[test]
fn both_forms_hold_the_same_tensors() {
    let state = one_tensor("w", &MATRIX);
    let old = StateDict::from_bytes(&legacy(state.clone(), &[matrix_storage()])).unwrap();
    let new = StateDict::from_bytes(&archive(state.clone(), &[matrix_storage()])).unwrap();
    assert_eq!(data(&old, "w"), ([2, 3].as_slice(), VALUES.as_slice()));
    assert_eq!(old, new);

    let (pickle, bytes) = (state.stop(), matrix_storage().2);
    let members = [("data.pkl", pickle.as_slice()), ("data/0", &bytes)];
    let deflated = zip(&members, CompressionMethod::Deflated);
    assert_eq!(StateDict::from_bytes(&deflated).unwrap(), old);
}

#[test]
fn tensors_that_are_not_contiguous_are_gathered() {
    let transposed = View { shape: &[3, 2], strides: &[1, 3], ..MATRIX };
    let column = View { shape: &[2, 1], strides: &[3, 7], offset: 2, ..MATRIX };
    let scalar = View { shape: &[], strides: &[], offset: 4, ..MATRIX };
    let empty = View { shape: &[0, 9], strides: &[9, 1], ..MATRIX };
    let state = Pickle::new()
        .raw(b"}(")
        .text("transposed")
        .tensor(&transposed)
        .text("column")
        .tensor(&column)
        .text("scalar")
        .tensor(&scalar)
        .text("empty")
        .tensor(&empty)
        .raw(b"u");
    let dict = StateDict::from_bytes(&legacy(state, &[matrix_storage()])).unwrap();
    assert_eq!(
        data(&dict, "transposed"),
        ([3, 2].as_slice(), [0.0, 3.0, 1.0, 4.0, 2.0, 5.0].as_slice())
    );
    assert_eq!(data(&dict, "column"), ([2, 1].as_slice(), [2.0, 5.0].as_slice()));
    assert_eq!(data(&dict, "scalar"), ([].as_slice(), [4.0].as_slice()));
    assert_eq!(data(&dict, "empty"), ([0, 9].as_slice(), [].as_slice()));
}

#[test]
fn every_type_of_storage_is_read() {
    let cases: [(&str, Vec<u8>); 8] = [
        ("HalfStorage", vec![0x00, 0x3c, 0x00, 0x40]),
        ("BFloat16Storage", vec![0x80, 0x3f, 0x00, 0x40]),
        ("FloatStorage", floats(&[1.0, 2.0])),
        ("DoubleStorage", [1.0f64, 2.0].iter().flat_map(|v| v.to_le_bytes()).collect()),
        ("ByteStorage", vec![1, 2]),
        ("IntStorage", [1i32, 2].iter().flat_map(|v| v.to_le_bytes()).collect()),
        ("LongStorage", [1i64, 2].iter().flat_map(|v| v.to_le_bytes()).collect()),
        ("BoolStorage", vec![1, 0]),
    ];
    for (class, bytes) in cases {
        let view = View { class, key: "k", len: 2, offset: 0, shape: &[2], strides: &[1] };
        let file = archive(one_tensor("t", &view), &[("k", 2, bytes)]);
        let second = if class == "BoolStorage" { 0.0 } else { 2.0 };
        let dict = StateDict::from_bytes(&file).unwrap();
        assert_eq!(data(&dict, "t").1, [1.0, second], "{class}");
    }
}

#[test]
fn big_endian_files_are_read() {
    let values = VALUES.iter().flat_map(|value| value.to_be_bytes()).collect::<Vec<u8>>();
    let pickle = one_tensor("w", &MATRIX).stop();
    let members = [("data.pkl", pickle.as_slice()), ("byteorder", b"big"), ("data/0", &values)];
    let file = zip(&members, CompressionMethod::Stored);
    assert_eq!(data(&StateDict::from_bytes(&file).unwrap(), "w").1, VALUES);

    let mut file = legacy(one_tensor("w", &MATRIX), &[("0", 6u64.swap_bytes(), values)]);
    let facts = file.windows(6).position(|window| window == b"endian").unwrap();
    file[facts + 6] = 0x89;
    assert_eq!(data(&StateDict::from_bytes(&file).unwrap(), "w").1, VALUES);
}

#[test]
fn state_dictionaries_are_unwrapped() {
    let inner = |pickle: Pickle| pickle.raw(b"}").text("module.w").tensor(&MATRIX).raw(b"s");
    let wrapped = |key: &str| inner(Pickle::new().raw(b"}").text(key)).raw(b"s");
    for key in ["state_dict", "model_state_dict", "model", "net", "model_ema"] {
        let dict = StateDict::from_bytes(&legacy(wrapped(key), &[matrix_storage()])).unwrap();
        assert_eq!(data(&dict, "w").1, VALUES, "{key}");
    }

    let twice = Pickle::new().raw(b"}(").text("epoch").int(7).text("model").raw(b"}");
    let twice = inner(twice.text("state_dict")).raw(b"su");
    let dict = StateDict::from_bytes(&legacy(twice, &[matrix_storage()])).unwrap();
    assert_eq!(data(&dict, "w").1, VALUES);
}

#[test]
fn averaged_weights_come_first() {
    let last = View { offset: 5, shape: &[1], strides: &[1], ..MATRIX };
    let state = Pickle::new().raw(b"}(").text("state_dict").raw(b"}").text("w").tensor(&MATRIX);
    let state = state.raw(b"s").text("state_dict_ema").raw(b"}").text("w").tensor(&last);
    let dict = StateDict::from_bytes(&legacy(state.raw(b"su"), &[matrix_storage()])).unwrap();
    assert_eq!(data(&dict, "w").1, [5.0]);
}

#[test]
fn a_tensor_called_like_a_wrapper_is_a_tensor() {
    let file = legacy(one_tensor("model", &MATRIX), &[matrix_storage()]);
    assert_eq!(data(&StateDict::from_bytes(&file).unwrap(), "model").1, VALUES);
}

#[test]
fn attributes_parameters_and_old_tensors_are_read() {
    let parameter = Pickle::new().global("collections", "OrderedDict").raw(b")R").text("p");
    let parameter = parameter.global("torch._utils", "_rebuild_parameter").raw(b"(");
    let parameter = parameter.tensor(&MATRIX).raw(b"\x88}tRs");
    let old = parameter.text("o").global("torch._utils", "_rebuild_tensor").raw(b"(");
    let old = old.storage("FloatStorage", "0", 6).int(0).ints(&[6]).ints(&[1]).raw(b"tRs");
    let state = old.raw(b"}").text("_metadata").raw(b"}sb");
    let dict = StateDict::from_bytes(&archive(state, &[matrix_storage()])).unwrap();
    assert_eq!(data(&dict, "p"), ([2, 3].as_slice(), VALUES.as_slice()));
    assert_eq!(data(&dict, "o"), ([6].as_slice(), VALUES.as_slice()));
}

fn linear() -> Graph {
    let mut g = GraphBuilder::new("tiny", Shape::new(3, 1, 1));
    g.linear("fc", g.input(), 2);
    g.finish().unwrap()
}

#[test]
fn import_keeps_ternary_weights_bit_for_bit() {
    let weights = [0.25, 0.0, -0.1, 0.25, -0.1, 0.0];
    let bias = View { key: "1", len: 2, shape: &[2], strides: &[1], ..MATRIX };
    let state = one_tensor("fc.weight", &MATRIX).text("fc.bias").tensor(&bias).raw(b"s");
    let storages = [("0", 6, floats(&weights)), ("1", 2, floats(&[0.5, 0.0]))];
    let file = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(file.path(), legacy(state, &storages)).unwrap();

    let network = import(file.path(), linear()).unwrap().network;
    let Some(Tensor::Ternary(weight)) = network.tensor("fc.weight") else { panic!("{network:?}") };
    assert_eq!((weight.w_neg(), weight.w_pos()), (0.1, 0.25));
    assert_eq!(weight.to_f32(), weights);
    assert!(matches!(network.tensor("fc.bias"), Some(Tensor::Dense(_))));
}

#[test]
fn a_checkpoint_that_does_not_fit_is_named_with_its_report() {
    let file = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(file.path(), legacy(one_tensor("fc.bias", &MATRIX), &[matrix_storage()]))
        .unwrap();
    let error = import(file.path(), linear()).unwrap_err();
    let InteropError::Mismatch { report, .. } = &error else { panic!("{error}") };
    assert_eq!((report.missing.len(), report.wrong_shape.len()), (1, 1));
    assert!(error.to_string().starts_with(&file.path().display().to_string()), "{error}");
}
