//! Real checkpoints on real images: neither the file nor batches nor threads nor the
//! instruction set change a bit of the logits. The tests of `ec2t eval` compare the
//! accuracy with what was published.
//!
//! Needs `EC2T_DATA_DIR`, the folder of `cifar-10-batches-bin`, and
//! `EC2T_MODELS_DIR`, the folder of the checkpoints.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::{env, fs};

use ec2t_data::{Dataset, LoadOptions};
use ec2t_format::Network;
use ec2t_format::graph::Preprocess;
use ec2t_infer::{Model, RunError, evaluate};
use ec2t_kernels::arch::{ISA_VARIABLE, Isa};
use ec2t_scale::ArchOptions;

/// How many test images are run in different ways.
const IMAGES: usize = 100;

/// The checkpoints with ternary layers.
const TERNARY: [&str; 2] = ["resnet20_ec2t_spars45.pt", "resnet20_ec2t_spars64.pt"];

/// The folder that [`write_logits`] writes to, and of how many images.
const LOGITS_VARIABLE: &str = "EC2T_TEST_LOGITS";
const IMAGES_VARIABLE: &str = "EC2T_TEST_IMAGES";

/// The two variables, or `None` and a line that says so.
#[expect(clippy::print_stdout, reason = "a skipped test says so")]
fn folders() -> Option<[PathBuf; 2]> {
    let folders = ["EC2T_DATA_DIR", "EC2T_MODELS_DIR"].map(|variable| {
        let folder = env::var_os(variable);
        if folder.is_none() {
            println!("skipped: {variable} is not set");
        }
        folder.map(PathBuf::from)
    });
    match folders {
        [Some(data), Some(models)] => Some([data, models]),
        _ => None,
    }
}

fn test_images(data_dir: PathBuf) -> Dataset {
    let options = LoadOptions { data_dir: Some(data_dir), ..LoadOptions::default() };
    ec2t_data::read_original("cifar10", &options).unwrap().test
}

/// ResNet-20 with the tensors of a checkpoint.
fn resnet20(checkpoint: PathBuf, preprocess: Preprocess) -> Network {
    let options = ArchOptions { classes: 10, ..ArchOptions::default() };
    let mut graph = ec2t_scale::build("resnet20", &options).unwrap();
    graph.preprocess = preprocess;
    ec2t_interop::import(checkpoint, graph).unwrap().network
}

/// Asserts that all ways to run a checkpoint give the same, sensible logits.
fn assert_reproducible(checkpoint: &str, preprocess: Preprocess, ternary_layers: usize) {
    let Some([data, models]) = folders() else { return };
    let data = test_images(data);
    let network = resnet20(models.join(checkpoint), preprocess);
    assert_eq!(network.ternary_layers(), ternary_layers);
    let file = ec2t_format::write(&network);
    let model = Model::new(network).unwrap();
    let pixels = &*data.images(0..IMAGES).unwrap();

    let mut session = model.session();
    let singly: Vec<f32> = pixels
        .chunks(model.input_len())
        .flat_map(|image| session.run_pixels(image).unwrap().to_vec())
        .collect();
    let model = Model::from_bytes(&file).unwrap();
    let mut inputs = vec![0.0; pixels.len()];
    let images = inputs.chunks_mut(model.input_len()).zip(pixels.chunks(model.input_len()));
    images.for_each(|(input, image)| model.preprocess(image, input).unwrap());
    for threads in [1, 2, 3] {
        let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().unwrap();
        let together = pool.install(|| model.run(&inputs, IMAGES)).unwrap();
        assert!(together == singly, "{checkpoint} on {threads} threads");
    }
    let found = evaluate(
        &model,
        &data.labels()[..IMAGES],
        |range| Ok::<_, RunError>(data.images(range).unwrap()),
        |_| (),
    )
    .unwrap();
    assert!(found.top1 > 80.0, "{checkpoint}: {found:?}");
}

#[test]
fn float_resnet20() {
    assert_reproducible("resnet20-12fca82f.th", Preprocess::imagenet(), 0);
}

#[test]
fn ternary_resnet20() {
    assert_reproducible(TERNARY[1], Preprocess::cifar10(), 18);
}

#[test]
fn every_instruction_set_gives_the_same_logits() {
    assert_same_logits(1000);
}

#[test]
#[ignore = "twenty minutes, of plain Rust most; the test above has 1,000 images of it, `-- --ignored` runs all"]
fn every_instruction_set_gives_the_same_logits_on_all_images() {
    assert_same_logits(usize::MAX);
}

/// Asserts that all instruction sets give the ternary checkpoints the same logits on all
/// test images, and so the same accuracy: plain Rust on so many of them.
fn assert_same_logits(plain: usize) {
    let Some([data, _]) = folders() else { return };
    let images = test_images(data).len();
    let folder = tempfile::tempdir().unwrap();
    let logits = |isa: Isa, images: usize| {
        let status = Command::new(env::current_exe().unwrap())
            .args(["--ignored", "--exact", "write_logits"])
            .env(LOGITS_VARIABLE, folder.path())
            .env(IMAGES_VARIABLE, images.to_string())
            .env(ISA_VARIABLE, isa.name())
            .status();
        assert!(status.unwrap().success(), "with {}", isa.name());
        TERNARY.map(|checkpoint| fs::read(folder.path().join(checkpoint)).unwrap())
    };
    let mut sets = Isa::available();
    let mut known = logits(sets.next().unwrap(), images.min(plain));
    for isa in sets {
        let found = logits(isa, images);
        for ((checkpoint, known), found) in TERNARY.iter().zip(&known).zip(&found) {
            assert!(found.starts_with(known), "{checkpoint} with {}", isa.name());
        }
        known = found;
    }
}

/// Writes the logits of the ternary checkpoints to files of a folder. The test of
/// instruction sets starts it, in a process for each.
#[test]
#[ignore = "not a test: those above start it in processes of their own, whose EC2T_ISA differs"]
fn write_logits() {
    let [folder, images] = [LOGITS_VARIABLE, IMAGES_VARIABLE].map(env::var_os);
    let (Some(folder), Some(images), Some([data, models])) = (folder, images, folders()) else {
        return;
    };
    let images: usize = images.to_str().unwrap().parse().unwrap();
    let data = test_images(data);
    for checkpoint in TERNARY {
        let model = Model::new(resnet20(models.join(checkpoint), Preprocess::cifar10())).unwrap();
        let mut inputs = vec![0.0; images * model.input_len()];
        for (index, input) in inputs.chunks_exact_mut(model.input_len()).enumerate() {
            model.preprocess(&data.image(index).unwrap(), input).unwrap();
        }
        let logits = model.run(&inputs, images).unwrap();
        let bytes: Vec<u8> = logits.iter().flat_map(|logit| logit.to_le_bytes()).collect();
        fs::write(Path::new(&folder).join(checkpoint), bytes).unwrap();
    }
}
