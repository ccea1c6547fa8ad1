//! Checkpoints that are broken or mean harm: each is an error, none a panic.

mod support;

use std::time::Instant;

use ec2t_interop::{CheckpointError as Error, StateDict};
use support::*;
use zip::CompressionMethod;

fn read(state: Pickle) -> Result<StateDict, Error> {
    StateDict::from_bytes(&legacy(state, &[matrix_storage()]))
}

fn error(state: Pickle) -> Error {
    read(state).unwrap_err()
}

/// Offset of the dictionary's pickle in the streams that `legacy` writes, with
/// its two bytes of protocol.
fn start_of_state() -> usize {
    let Error::Opcode { offset, .. } = error(Pickle::new().raw(b"0")) else { panic!() };
    offset
}

#[test]
fn code_is_never_run() {
    let call = Pickle::new().global("os", "system").raw(b"(").text("touch harm").raw(b"tR");
    let refused = error(call);
    assert!(matches!(&refused, Error::Global { name, .. } if name == "os.system"), "{refused}");

    for (module, name) in [
        ("builtins", "eval"),
        ("__builtin__", "getattr"),
        ("torch", "load"),
        ("torch.storage", "_load_from_bytes"),
        ("collections", "OrderedDict.fromkeys"),
        ("numpy.core.multiarray", "scalar"),
    ] {
        let found = error(Pickle::new().global(module, name));
        assert!(matches!(found, Error::Global { name: n, .. } if n == format!("{module}.{name}")));
    }
}

#[test]
fn other_instructions_are_refused_by_name_and_offset() {
    let start = start_of_state();
    let cases: [(&[u8], &str); 8] = [
        (b"o", "OBJ"),
        (b"i", "INST"),
        (b"\x81", "NEWOBJ"),
        (b"\x93", "STACK_GLOBAL"),
        (b"\x82", "EXT1"),
        (b"P", "PERSID"),
        (b"2", "DUP"),
        (b"\xff", "0xff"),
    ];
    for (code, name) in cases {
        match error(Pickle::new().raw(b"N").raw(code)) {
            Error::Opcode { offset, opcode } => {
                assert_eq!((offset, opcode.as_str()), (start + 1, name));
            }
            other => panic!("{name}: {other}"),
        }
    }
}

#[test]
fn only_what_builds_data_can_be_called() {
    for call in [
        Pickle::new().global("torch", "FloatStorage").raw(b")R"),
        Pickle::new().global("collections", "OrderedDict").int(1).raw(b"\x85R"),
        Pickle::new().global("torch._utils", "_rebuild_tensor_v2").raw(b")R"),
        Pickle::new().text("eval").raw(b")R"),
        Pickle::new().raw(b"})R"),
    ] {
        let found = error(call);
        assert!(matches!(found, Error::Operand { .. }), "{found}");
    }
}

#[test]
fn only_dictionaries_take_attributes() {
    let refused = error(Pickle::new().raw(b"]}b"));
    assert!(matches!(&refused, Error::Opcode { opcode, .. } if opcode == "BUILD"), "{refused}");
    let tensor = error(Pickle::new().tensor(&MATRIX).raw(b"}b"));
    assert!(matches!(&tensor, Error::Opcode { opcode, .. } if opcode == "BUILD"), "{tensor}");
    assert!(matches!(error(Pickle::new().raw(b"}Nb")), Error::Operand { .. }));
}

#[test]
fn stack_and_memo_are_guarded() {
    for code in ["a", "e", "s", "u", "t", "R", "b", "Q", "\u{85}", "q\0", ".", "(.", "N(q\0"] {
        let code: Vec<u8> = code.chars().map(|c| c as u32 as u8).collect();
        let found = error(Pickle::new().raw(&code));
        assert!(matches!(found, Error::Operand { .. }), "{code:?}: {found}");
    }
    assert!(matches!(error(Pickle::new().raw(b"h\x07")), Error::Memo { index: 7, .. }));
    assert!(matches!(error(Pickle::new().raw(b"}(Nu")), Error::Operand { .. }));
    assert!(matches!(error(Pickle::new().raw(b"X\x01\0\0\0\xff")), Error::Text { .. }));
    assert!(matches!(error(Pickle::new().raw(b"\x8a\x09000000000")), Error::Integer { .. }));
    assert!(matches!(error(Pickle::new().raw(b"c").raw(&[b'm'; 999])), Error::Text { .. }));
}

#[test]
fn bombs_fizzle() {
    let begin = Instant::now();
    // Each list holds the one before it twice: 2^60 leaves, were they copied.
    let doubling = (0..60u8).fold(Pickle::new().raw(b"]q\0"), |bomb, i| {
        bomb.raw(b"](h").raw(&[i]).raw(b"h").raw(&[i]).raw(b"eq").raw(&[i + 1])
    });
    assert!(matches!(error(doubling), Error::NotADict { found: "a list" }));

    // Nested a million deep, and a dictionary that holds itself.
    let deep = Pickle::new().raw(b")").raw(&[0x85; 1_000_000]);
    assert!(matches!(error(deep), Error::NotADict { found: "a tuple" }));
    let circular = Pickle::new().raw(b"}q\0").text("model").raw(b"h\0s");
    assert!(matches!(error(circular), Error::NotATensor { .. }));

    let long = "x".repeat(1 << 20);
    assert!(matches!(error(one_tensor(&long, &MATRIX)), Error::NotAName { .. }));

    let endless = Pickle::new().raw(&[b'N'; 5_000_000]);
    assert!(matches!(error(endless), Error::TooLarge { .. }));
    assert!(begin.elapsed().as_secs() < 10);
}

#[test]
fn tensors_stay_within_their_storage() {
    let cases = [
        View { offset: 1, ..MATRIX },
        View { strides: &[4, 1], ..MATRIX },
        View { shape: &[7], strides: &[0], ..MATRIX },
        View { shape: &[i32::MAX; 3], strides: &[0; 3], ..MATRIX },
        View { shape: &[2, 2], strides: &[i32::MAX, i32::MAX], ..MATRIX },
    ];
    for view in cases {
        let found = error(one_tensor("w", &view));
        assert!(matches!(&found, Error::View { name, .. } if name == "w"), "{found}");
    }
    let negative = View { offset: -1, ..MATRIX };
    let ranks = View { strides: &[1], ..MATRIX };
    let many = View { shape: &[1; 9], strides: &[1; 9], ..MATRIX };
    for view in [negative, ranks, many] {
        assert!(matches!(error(one_tensor("w", &view)), Error::Operand { .. }));
    }
}

#[test]
fn storages_are_described_once_and_present() {
    let state = || one_tensor("w", &MATRIX);
    let longer = View { len: 7, ..MATRIX };
    let conflict = error(state().text("v").tensor(&longer).raw(b"s"));
    assert!(matches!(conflict, Error::StorageConflict { key } if key == "0"));

    let found = |storages: &[StorageBytes]| StateDict::from_bytes(&legacy(state(), storages));
    assert!(matches!(found(&[]), Err(Error::StorageMissing { key }) if key == "0"));
    let unknown = found(&[("9", 0, vec![])]);
    assert!(matches!(unknown, Err(Error::StorageUnknown { key }) if key == "9"));
    let size = found(&[("0", 5, floats(&[0.0; 5]))]);
    assert!(matches!(size, Err(Error::StorageSize { expected: 6, found: 5, .. })));
    let trailing = found(&[("0", 6, floats(&[0.0; 7]))]);
    assert!(matches!(trailing, Err(Error::TrailingBytes { count: 4, .. })));

    let huge = View { len: i32::MAX, class: "DoubleStorage", ..MATRIX };
    let file = archive(one_tensor("w", &huge), &[matrix_storage()]);
    assert!(matches!(StateDict::from_bytes(&file), Err(Error::TooLarge { .. })));
}

#[test]
fn a_dictionary_holds_tensors_by_name_only() {
    let root = error(Pickle::new().int(3));
    assert!(matches!(root, Error::NotADict { found: "an integer" }));
    let entry = error(one_tensor("w", &MATRIX).text("epoch").int(3).raw(b"s"));
    assert!(matches!(&entry, Error::NotATensor { name, .. } if name == "epoch"), "{entry}");
    let key = error(Pickle::new().raw(b"}").int(3).tensor(&MATRIX).raw(b"s"));
    assert!(matches!(key, Error::NotAName { found: "an integer" }));
}

#[test]
fn broken_archives_are_named() {
    let pickle = one_tensor("w", &MATRIX).stop();
    let values = matrix_storage().2;
    let open = |members: &[(&str, &[u8])]| {
        StateDict::from_bytes(&zip(members, CompressionMethod::Stored)).unwrap_err()
    };
    let no_pickle = open(&[("data/0", &values), ("mydata.pkl", &pickle)]);
    assert!(matches!(&no_pickle, Error::Archive { member, .. } if member == "data.pkl"));
    let no_storage = open(&[("data.pkl", &pickle)]);
    assert!(matches!(&no_storage, Error::Archive { member, .. } if member == "data/0"));
    let order = open(&[("data.pkl", &pickle), ("byteorder", b"pdp"), ("data/0", &values)]);
    assert!(matches!(order, Error::ByteOrder { found } if found == "pdp"));
    let short = open(&[("data.pkl", &pickle), ("data/0", &values[..20])]);
    assert!(matches!(short, Error::StorageSize { expected: 24, found: 20, .. }));
    let long = open(&[("data.pkl", &pickle), ("data/0", &[0; 25])]);
    assert!(matches!(long, Error::TooLarge { limit: 24, .. }));

    let mut damaged = archive(one_tensor("w", &MATRIX), &[matrix_storage()]);
    let at = damaged.windows(24).position(|window| window == values.as_slice()).unwrap();
    damaged[at] ^= 1;
    let found = StateDict::from_bytes(&damaged).unwrap_err();
    assert!(matches!(&found, Error::Archive { member, .. } if member == "data/0"), "{found}");
}

fn small_files() -> [(&'static str, Vec<u8>); 3] {
    let data = floats(&[0.0, 1.0]);
    let view =
        safetensors::tensor::TensorView::new(safetensors::Dtype::F32, vec![2], &data).unwrap();
    [
        ("legacy", legacy(one_tensor("w", &MATRIX), &[matrix_storage()])),
        ("archive", archive(one_tensor("w", &MATRIX), &[matrix_storage()])),
        ("safetensors", safetensors::serialize([("w", view)], None).unwrap()),
    ]
}

#[test]
fn every_truncation_is_an_error() {
    for (form, file) in small_files() {
        assert!(StateDict::from_bytes(&file).is_ok(), "{form}");
        for length in 0..file.len() {
            assert!(StateDict::from_bytes(&file[..length]).is_err(), "{form}, {length} bytes");
        }
    }
    let (_, file) = &small_files()[0];
    let error = StateDict::from_bytes(&file[..file.len() - 1]).unwrap_err();
    let start = file.len() - 24;
    assert!(
        matches!(error, Error::Truncated { offset, needed: 24, left: 23 } if offset == start),
        "{error}"
    );
}

#[test]
fn no_damaged_byte_is_a_panic() {
    for (_, file) in small_files() {
        for at in 0..file.len() {
            for value in [0x00, 0x7f, 0x80, 0xff, b'(', b'.', file[at] ^ 1] {
                let mut damaged = file.clone();
                damaged[at] = value;
                // Damage in the values themselves goes unnoticed in some forms.
                let _ = StateDict::from_bytes(&damaged);
            }
        }
    }
}
