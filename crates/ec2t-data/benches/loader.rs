//! Speed of batches, in images per second.
//!
//! `cargo bench -p ec2t-data [-- FILTER]`. Images of CIFAR's size are in memory; pictures
//! are JPEG files of 500 × 375 pixels, where slopes, edges and grain stand in for what
//! photographs have, decoded on as many threads as there are processors.

use std::fs;
use std::path::Path;

use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use ec2t_data::{AugmentOptions, BatchOptions, Batches, Dataset, Fit, folder};
use image::{Rgb, RgbImage};

const MEAN: [f32; 3] = [0.5; 3];
const STD: [f32; 3] = [0.25; 3];
const PICTURES: u32 = 128;

fn in_memory() -> Dataset {
    let images = (0..512 * 3 * 32 * 32).map(|i: usize| (i * 31 % 256) as u8).collect();
    Dataset::new("noise", [3, 32, 32], images, vec![0; 512], vec!["all".into()]).expect("fits")
}

fn picture(seed: u32) -> RgbImage {
    RgbImage::from_fn(500, 375, |x, y| {
        let grain = (x * 7919 + y * 104_729 + seed * 613) % 23;
        let edge = if ((x + seed) / 37 + y / 23).is_multiple_of(2) { 60 } else { 0 };
        Rgb([x / 5 + edge + grain, y / 3 + grain, (x + y) / 6 + edge].map(|value| value as u8))
    })
}

fn in_files(root: &Path) -> Dataset {
    for split in ["train/all", "test/all"] {
        fs::create_dir_all(root.join(split)).expect("room");
    }
    for index in 0..PICTURES {
        picture(index).save(root.join(format!("train/all/{index}.jpg"))).expect("room");
    }
    picture(0).save(root.join("test/all/0.jpg")).expect("room");
    folder::read(root, [3, 224, 224], Fit::Crop(0.875)).expect("pictures").train
}

fn epoch(data: &Dataset, augment: Option<&AugmentOptions>) -> usize {
    let batches = match augment {
        Some(augment) => {
            let augment = augment.clone();
            let options = BatchOptions { size: 32, drop_last: false, seed: 1, augment };
            Batches::train(data, &MEAN, &STD, &options, 0)
        }
        None => Batches::in_order(data, &MEAN, &STD, 32),
    };
    batches.expect("fits").map(|batch| batch.expect("good files").labels.len()).sum()
}

fn loader(criterion: &mut Criterion) {
    let folder = tempfile::tempdir().expect("room");
    let (memory, files) = (in_memory(), in_files(folder.path()));
    let cifar = AugmentOptions { jitter: false, cutout: 0, ..AugmentOptions::cifar() };
    let imagenet = AugmentOptions { resized_crop: 0.08, hflip: true, ..AugmentOptions::default() };
    let mut group = criterion.benchmark_group("images");
    group.sample_size(10);
    for (name, data, augment) in [
        ("32x32 in memory/flip and crop", &memory, Some(&cifar)),
        ("32x32 in memory/all of the reference", &memory, Some(&AugmentOptions::cifar())),
        ("JPEG to 224x224/random part and flip", &files, Some(&imagenet)),
        ("JPEG to 224x224/middle", &files, None),
    ] {
        group.throughput(Throughput::Elements(data.len() as u64));
        group.bench_function(name, |bencher| bencher.iter(|| epoch(data, augment)));
    }
    group.finish();
}

criterion_group!(benches, loader);
criterion_main!(benches);
