//! A reader in Python that was written from `docs/format.md` alone reads what the
//! crate reads, and refuses what it refuses.
//!
//! `EC2T_PYTHON` names a Python that has numpy. Without it `python3` is taken, and
//! the tests are skipped where that, or its numpy, is not there.

use std::collections::BTreeMap;
use std::env;
use std::ffi::OsString;
use std::fs;
use std::path::Path;
use std::process::Command;
use std::sync::LazyLock;

use ec2t_format::codec::{CodecId, Effort, Kernels};
use ec2t_format::graph::{Conv2d, GraphBuilder, Padding, ParamKind, Shape};
use ec2t_format::{
    Grid, Network, Op, Storage, Tensor, TensorEncoding, TernaryTensor, layout, read, write,
    write_with,
};

use crate::networks::{Random, every_feature, layer_per_codec, tiny};
use crate::pieces::{Piece, Pieces};

const VARIABLE: &str = "EC2T_PYTHON";
/// Tests run in their package's folder.
const SCRIPT: &str = "tests/reader/read_ec2t.py";
const TERNARY: u8 = 3;

/// The Python to use; `None`, once the reason is printed, where there is none.
static PYTHON: LazyLock<Option<OsString>> = LazyLock::new(find_python);

#[expect(clippy::print_stdout, reason = "a skipped test says so")]
fn find_python() -> Option<OsString> {
    let named = env::var_os(VARIABLE);
    let python = named.clone().unwrap_or_else(|| "python3".into());
    let fault = match Command::new(&python).args(["-c", "import numpy"]).output() {
        Ok(output) if output.status.success() => return Some(python),
        Ok(output) => String::from_utf8_lossy(&output.stderr).trim().to_owned(),
        Err(error) => error.to_string(),
    };
    assert!(named.is_none(), "{VARIABLE}={python:?}: {fault}");
    println!("skipped, since no Python has numpy; {VARIABLE} can name one: {fault}");
    None
}

/// A line for each tensor, as the Python reader prints it.
fn lines(file: &[u8]) -> String {
    let network = read(file).unwrap();
    let line = |(name, encoding): (&str, TensorEncoding)| {
        let tensor = network.tensor(name).unwrap();
        let shape: Vec<String> = tensor.shape().iter().map(usize::to_string).collect();
        let values: Vec<u8> =
            tensor.to_f32().iter().flat_map(|value| value.to_le_bytes()).collect();
        let crc = crc32fast::hash(&values);
        format!("{name}\t{}\t{}\t{crc:08x}\n", shape.join("x"), encoding.name())
    };
    layout(file)
        .unwrap()
        .tensors
        .iter()
        .map(|stored| line((&stored.name, stored.encoding)))
        .collect()
}

/// Files with names that tell them apart.
type Files = Vec<(String, Vec<u8>)>;

/// Has Python read all files, of which it must say what the crate does: the lines of
/// their tensors, or that they are not valid.
fn assert_alike(test: &str, files: &Files) {
    let Some(python) = PYTHON.as_ref() else { return };
    let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).join(test);
    fs::create_dir_all(&folder).unwrap();
    // -B: leaves no compiled modules among the sources.
    let mut command = Command::new(python);
    command.args(["-B", SCRIPT]);
    let (mut read_lines, mut refused) = (String::new(), Vec::new());
    for (name, file) in files {
        let path = folder.join(format!("{name}.ec2t"));
        fs::write(&path, file).unwrap();
        command.arg(&path);
        match read(file) {
            Ok(_) => read_lines += &format!("{}:\n{}", path.display(), lines(file)),
            Err(_) => refused.push(format!("{}: ", path.display())),
        }
    }
    let output = command.output().unwrap();
    let [said, faults] = [output.stdout, output.stderr]
        .map(|bytes| String::from_utf8(bytes).unwrap().replace('\r', ""));
    assert_eq!(output.status.code(), Some(i32::from(!refused.is_empty())), "{faults}");
    assert_eq!(said, read_lines, "{faults}");
    assert_eq!(faults.lines().count(), refused.len(), "{faults}");
    for (line, start) in faults.lines().zip(refused) {
        assert!(line.starts_with(&start), "{start}{line}");
    }
    fs::remove_dir_all(&folder).unwrap();
}

/// Ternary weights whose neighbours tend to be alike, and whose channels are of all
/// densities, some without any weight.
fn patterned(random: &mut Random, shape: &[usize]) -> TernaryTensor {
    let (inputs, area) = (shape[1], shape[2..].iter().product::<usize>());
    let mut densities = |channels| -> Vec<u64> {
        (0..channels).map(|_| random.below(128).saturating_sub(16)).collect()
    };
    let (of_output, of_input) = (densities(shape[0]), densities(inputs));
    let mut code = 0;
    let codes = (0..shape.iter().product()).map(|at| {
        let [output, input] = [of_output[at / area / inputs], of_input[at / area % inputs]];
        code = match random.next() {
            _ if output * input == 0 => 0,
            word if word & 3 == 0 => code,
            word if (word >> 8) % 224 >= output + input => 0,
            word => 1 - 2 * (word >> 32 & 1) as i8,
        };
        code
    });
    TernaryTensor::new(shape.to_vec(), codes.collect(), 0.25, 0.5).unwrap()
}

/// Kernels of several shapes: twenty thousand weights, one tensor of them all zeros.
fn many_shapes() -> Network {
    let mut g = GraphBuilder::new("shapes", Shape::new(24, 9, 9));
    let mut x = g.input();
    for (name, outputs, kernel, groups) in [
        ("dense3x3", 24, [3, 3], 1),
        ("depthwise5x5", 24, [5, 5], 24),
        ("pointwise", 48, [1, 1], 1),
        ("grouped5x7", 24, [5, 7], 8),
        ("row", 16, [1, 7], 1),
        ("zeros", 8, [3, 3], 1),
    ] {
        let conv = Conv2d {
            in_channels: g.shape(x).channels,
            out_channels: outputs,
            kernel,
            stride: [1, 1],
            padding: Padding::Same,
            dilation: [1, 1],
            groups,
            bias: groups == 1,
            scale: groups == 8,
        };
        x = g.push(name, Op::Conv2d(conv), &[x]);
    }
    let x = g.flatten("flatten", x);
    g.linear("linear", x, 5);
    let graph = g.finish().unwrap();

    let mut random = Random(11);
    let mut tensor = |name: &str, kind, shape: &[usize]| -> Tensor {
        match (name, kind) {
            ("zeros.weight", _) => random.ternary(shape, 256).into(),
            (_, ParamKind::Weight) => patterned(&mut random, shape).into(),
            (_, ParamKind::Scale) => random.dense(shape, Storage::F16).into(),
            _ => random.dense(shape, Storage::F32).into(),
        }
    };
    let tensors: BTreeMap<_, _> = (graph.params().into_iter())
        .map(|param| {
            let tensor = tensor(&param.name, param.kind, &param.shape);
            (param.name, tensor)
        })
        .collect();
    Network::new(graph, tensors).unwrap()
}

/// The file of a network with all ternary tensors in one codec.
fn written_in(codec: CodecId, network: &Network) -> Pieces {
    if codec == CodecId::Lists {
        return Pieces::of(&write_with(network, Effort::Ready));
    }
    let mut pieces = Pieces::of(&write(network));
    let params = network.graph().params();
    let weights = params.iter().filter_map(|param| match network.tensor(&param.name)? {
        Tensor::Ternary(weight) => Some(weight),
        Tensor::Dense(_) => None,
    });
    let sections = pieces.sections.iter_mut().filter(|section| section.kind == TERNARY);
    for (section, weight) in sections.zip(weights) {
        section.encoding = codec.number();
        section.bytes.truncate(8);
        section.bytes.extend(codec.encode(weight.codes(), Kernels::of_shape(weight.shape())));
    }
    pieces
}

#[test]
fn whole_files_read_alike_in_python() {
    let mut files = Files::new();
    for name in ["v1", "v1.1", "v1.2", "codecs"] {
        files.push((name.into(), fs::read(format!("tests/golden/{name}.ec2t")).unwrap()));
    }
    for network in [tiny(), every_feature(), layer_per_codec()] {
        let name = &network.graph().name;
        files.push((format!("{name}-new"), write(&network)));
        files.push((format!("{name}-max"), write_with(&network, Effort::Max)));
        files.push((format!("{name}-ready"), write_with(&network, Effort::Ready)));
    }
    let network = many_shapes();
    for codec in CodecId::ALL {
        files.push((format!("shapes-{}", codec.number()), written_in(codec, &network).file()));
    }
    files.push(("skipped".into(), with_what_may_be_skipped()));
    for (name, file) in &files {
        assert!(read(file).is_ok(), "{name}");
    }
    assert_alike("whole", &files);
}

/// A file of a later minor version, with sections and a feature that nobody knows.
fn with_what_may_be_skipped() -> Vec<u8> {
    let mut pieces = Pieces::of(&write(&tiny()));
    let extra = Piece { kind: 200, encoding: 7, bytes: b"later".to_vec() };
    pieces.sections.insert(0, extra.clone());
    pieces.sections.push(extra);
    pieces.version[1] = 9;
    pieces.optional = 1;
    pieces.file()
}

#[test]
fn damaged_codes_are_taken_alike_in_python() {
    let network = layer_per_codec();
    let mut files = Files::new();
    for codec in CodecId::ALL {
        let pieces = written_in(codec, &network);
        let at = pieces.sections.iter().position(|section| section.kind == TERNARY).unwrap();
        let mut change = |name: &str, change: &dyn Fn(&mut Vec<u8>)| {
            let mut pieces = pieces.clone();
            change(&mut pieces.sections[at].bytes);
            files.push((format!("{name}-{}", codec.number()), pieces.file()));
        };
        change("long", &|bytes| bytes.push(0));
        // What is left of an arithmetic code can stand for another tensor.
        change("short", &|bytes| bytes.truncate(bytes.len() - 1));
        change("last", &|bytes| *bytes.last_mut().unwrap() ^= 1);
        change("middle", &|bytes| bytes[40] ^= 4);
    }
    for (name, file) in files.iter().filter(|(name, _)| name.starts_with("long")) {
        assert!(read(file).is_err(), "{name}");
    }
    assert_alike("codes", &files);
}

#[test]
fn grids_are_read_and_refused_alike_in_python() {
    let network = tiny();
    let grids = network.graph().nodes.iter().map(|node| node.name.clone());
    let grids = grids.zip([0.5, 1e-45].map(|scale| Grid { scale, zero: 9 }));
    let grids: BTreeMap<String, Grid> = grids.collect();
    let mut files = Files::new();
    let mut change = |name: &str, change: &dyn Fn(&mut Piece)| {
        let mut pieces = Pieces::of(&write(&tiny().with_grids(grids.clone()).unwrap()));
        change(pieces.sections.last_mut().unwrap());
        files.push((name.into(), pieces.file()));
    };
    change("whole", &|_| ());
    change("encoding", &|piece| piece.encoding = 7);
    change("none", &|piece| piece.bytes = vec![0]);
    change("layer", &|piece| piece.bytes[1] = 50);
    change("order", &|piece| piece.bytes[7] = 0);
    change("negative", &|piece| piece.bytes[5] |= 0x80);
    change("zero", &|piece| piece.bytes[2..6].fill(0));
    change("infinite", &|piece| piece.bytes[2..6].copy_from_slice(&f32::INFINITY.to_le_bytes()));
    change("long", &|piece| piece.bytes.push(0));
    change("short", &|piece| piece.bytes.truncate(piece.bytes.len() - 1));
    for (name, file) in &files {
        assert_eq!(read(file).is_ok(), ["whole", "encoding"].contains(&name.as_str()), "{name}");
    }
    assert_alike("grids", &files);
}

#[test]
fn other_forms_are_refused_in_python() {
    let file = write(&every_feature());
    let mut flipped = file.clone();
    *flipped.last_mut().unwrap() ^= 1;
    let truncated = file[..file.len() - 1].to_vec();
    let mut files = Files::from([("checksum".into(), flipped), ("truncated".into(), truncated)]);
    let mut change = |name: &str, change: &dyn Fn(&mut Pieces)| {
        let mut pieces = Pieces::of(&file);
        change(&mut pieces);
        files.push((name.into(), pieces.file()));
    };
    change("features", &|pieces| pieces.required = 1);
    change("kind", &|pieces| {
        pieces.sections.push(Piece { kind: 6, encoding: 0, bytes: Vec::new() });
    });
    change("version", &|pieces| pieces.version[1] = 0);
    change("centroid", &|pieces| {
        let ternary = pieces.sections.iter_mut().find(|section| section.kind == TERNARY);
        ternary.unwrap().bytes[3] |= 0x80;
    });
    // The smallest file's only layer stores its flags, which are the usual ones.
    let mut pieces = Pieces::of(&write(&tiny()));
    let graph = &mut pieces.sections[0].bytes;
    assert!(graph.ends_with(b"\x02fc\x01\x02"));
    graph.truncate(graph.len() - 2);
    graph.extend([3, 2, 1]);
    files.push(("usual".into(), pieces.file()));
    for (name, file) in &files {
        assert!(read(file).is_err(), "{name}");
    }
    assert_alike("forms", &files);
}
