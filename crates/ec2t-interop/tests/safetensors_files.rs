//! safetensors files, written by the format's own crate and by ours.

use ec2t_format::graph::{GraphBuilder, Param, ParamKind, Shape};
use ec2t_format::{DenseTensor, Network, Tensor, TernaryTensor};
use ec2t_interop::safetensors::{Weights, open, write};
use ec2t_interop::{CheckpointError, StateDict};
use safetensors::tensor::TensorView;
use safetensors::{Dtype, SafeTensors};

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

/// Two layers of ternary weights, the first with a normalisation.
fn network() -> Network {
    let mut g = GraphBuilder::new("t", Shape::new(2, 3, 3));
    let x = g.conv("conv", g.input(), 3, 1, 1);
    let x = g.batch_norm("bn", x);
    let x = g.flatten("flatten", x);
    g.linear("fc", x, 2);
    let graph = g.finish().unwrap();
    let tensor = |param: &Param| -> Tensor {
        let (shape, count) = (param.shape.clone(), param.numel());
        let codes = (0..count).map(|at| (at % 3) as i8 - 1).collect();
        match param.kind {
            ParamKind::Weight => TernaryTensor::new(shape, codes, 0.5, 0.25).unwrap().into(),
            _ => DenseTensor::new(shape, vec![0.75; count]).unwrap().into(),
        }
    };
    let tensors = graph.params().iter().map(|p| (p.name.clone(), tensor(p))).collect();
    let mut network = Network::new(graph, tensors).unwrap();
    network.metadata.insert("source".into(), "test".into());
    network
}

#[test]
fn a_written_network_is_read_back_whole() {
    let folder = tempfile::tempdir().unwrap();
    for weights in [Weights::Floats, Weights::Codes] {
        let path = folder.path().join("t.safetensors");
        std::fs::write(&path, write(&network(), weights).unwrap()).unwrap();
        assert_eq!(open(&path).unwrap(), Some(network()), "{weights:?}");
        let imported = ec2t_interop::import(&path, network().graph().clone()).unwrap();
        assert_eq!(imported.network.tensors(), network().tensors(), "{weights:?}");
    }
}

#[test]
fn pytorchs_counters_are_there_and_codes_have_two_bits() {
    let floats = write(&network(), Weights::Floats).unwrap();
    let file = SafeTensors::deserialize(&floats).unwrap();
    let counter = file.tensor("bn.num_batches_tracked").unwrap();
    assert_eq!((counter.dtype(), counter.shape().len()), (Dtype::I64, 0));
    assert_eq!(counter.data(), 0i64.to_le_bytes());
    assert_eq!(file.len(), network().tensors().len() + 1);

    let codes = write(&network(), Weights::Codes).unwrap();
    let file = SafeTensors::deserialize(&codes).unwrap();
    // Six codes: 0, 1, 2, 0, 1, 2.
    assert_eq!(file.tensor("conv.weight.codes").unwrap().data(), [0b00_10_01_00, 0b10_01]);
    assert_eq!(file.tensor("conv.weight.shape").unwrap().shape(), [4]);
    assert_eq!(write(&network(), Weights::Codes).unwrap(), codes);
}

#[test]
fn a_file_without_a_description_is_no_network() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("t.safetensors");
    std::fs::write(&path, file(&[("w", Dtype::U8, &[1], &[3])])).unwrap();
    assert_eq!(open(&path).unwrap(), None);
    let view = TensorView::new(Dtype::U8, vec![1], &[3]).unwrap();
    let metadata = std::collections::HashMap::from([("ec2t".to_owned(), "{}".to_owned())]);
    let bytes = safetensors::serialize([("w", view)], Some(metadata)).unwrap();
    std::fs::write(&path, bytes).unwrap();
    let error = open(&path).unwrap_err().to_string();
    assert!(error.contains("metadata `ec2t`: missing field `graph`"), "{error}");
}

#[test]
fn codes_that_contradict_are_refused_by_name() {
    let fault = |codes: &[u8], codebook: &[f32], shape: &[i64]| {
        let codebook_bytes: Vec<u8> = codebook.iter().flat_map(|v| v.to_le_bytes()).collect();
        let shape_bytes: Vec<u8> = shape.iter().flat_map(|v| v.to_le_bytes()).collect();
        let bytes = file(&[
            ("w.codes", Dtype::U8, &[codes.len()], codes),
            ("w.codebook", Dtype::F32, &[codebook.len()], &codebook_bytes),
            ("w.shape", Dtype::I64, &[shape.len()], &shape_bytes),
        ]);
        StateDict::from_bytes(&bytes).map(|_| ()).map_err(|error| error.to_string())
    };
    let book = [-1.0, 0.0, 1.0];
    assert_eq!(fault(&[0b01_00_10], &book, &[3]), Ok(()));
    for (codes, shape, reason) in [
        (&[3u8][..], &[3][..], "a code stands for none of 3 values"),
        (&[0, 0], &[4], "2 bytes of codes do not fit shape [4]"),
        (&[0], &[1 << 40, 1 << 40], "do not fit shape"),
        (&[0], &[-1], "a length is negative"),
    ] {
        let error = fault(codes, &book, shape).unwrap_err();
        assert!(error.contains("codes of `w`") && error.contains(reason), "{error}");
    }
}
