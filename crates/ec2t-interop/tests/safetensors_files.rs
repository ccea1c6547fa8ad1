//! safetensors files, written by the format's own crate.

use ec2t_interop::{CheckpointError, StateDict};
use safetensors::Dtype;
use safetensors::tensor::TensorView;

fn file(tensors: &[(&str, Dtype, &[usize], &[u8])]) -> Vec<u8> {
    let views = tensors.iter().map(|&(name, dtype, shape, data)| {
        (name, TensorView::new(dtype, shape.to_vec(), data).unwrap())
    });
    safetensors::serialize(views, None).unwrap()
}

#[test]
fn tensors_are_read_with_their_shapes() {
    let weight: Vec<u8> = [1.0f32, -2.0].iter().flat_map(|value| value.to_le_bytes()).collect();
    let bytes = file(&[
        ("module.w", Dtype::F32, &[2, 1], &weight),
        ("module.half", Dtype::F16, &[], &[0x00, 0x3c]),
        ("module.count", Dtype::I64, &[1], &7i64.to_le_bytes()),
    ]);
    let dict = StateDict::from_bytes(&bytes).unwrap();
    assert_eq!(dict.len(), 3);
    let data = |name: &str| dict.get(name).map(|tensor| (tensor.shape(), tensor.data()));
    assert_eq!(data("w"), Some(([2, 1].as_slice(), [1.0, -2.0].as_slice())));
    assert_eq!(data("half"), Some(([].as_slice(), [1.0].as_slice())));
    assert_eq!(data("count"), Some(([1].as_slice(), [7.0].as_slice())));
}

#[test]
fn values_of_other_types_are_refused_by_name() {
    let error = StateDict::from_bytes(&file(&[("q", Dtype::I8, &[1], &[3])])).unwrap_err();
    assert!(
        matches!(&error, CheckpointError::DType { name, dtype } if name == "q" && dtype == "I8"),
        "{error}"
    );
}
