//! Pictures become what Pillow and torchvision make of them.
//!
//! `EC2T_PYTHON` names a Python that has Pillow. Without it the test is skipped.

use std::env;
use std::fs;
use std::path::Path;
use std::process::Command;

use ec2t_data::{Fit, read_picture};
use image::{Rgb, RgbImage};

const SIZE: [usize; 3] = [3, 56, 56];

/// Prints, file after file, the pixels of torchvision's `Resize` and `CenterCrop` in
/// bicubic, for a share of 0.875, and those of Pillow's bilinear resizing.
const SCRIPT: &str = "
import sys
from PIL import Image
side, short = 56, 64
for path in sys.argv[1:]:
    picture = Image.open(path).convert('RGB')
    w, h = picture.size
    size = (short, int(short * h / w)) if w <= h else (int(short * w / h), short)
    whole = picture.resize(size, Image.BICUBIC)
    left, top = (int(round((length - side) / 2.0)) for length in size)
    crop = whole.crop((left, top, left + side, top + side))
    sys.stdout.buffer.write(crop.tobytes())
    sys.stdout.buffer.write(picture.resize((side, side), Image.BILINEAR).tobytes())
";

/// Slopes, edges and grain.
fn picture(width: u32, height: u32) -> RgbImage {
    RgbImage::from_fn(width, height, |x, y| {
        let grain = (x * 7919 + y * 104_729) % 41;
        let edge = if (x / 13 + y / 9) % 2 == 0 { 90 } else { 0 };
        Rgb([x * 100 / width + edge, y * 150 / height + grain, grain * 6].map(|v| v as u8))
    })
}

#[test]
#[expect(clippy::print_stdout, reason = "a skipped test says so")]
fn pictures_are_those_of_pillow() {
    let Some(python) = env::var_os("EC2T_PYTHON") else {
        println!("skipped: EC2T_PYTHON names no Python that has Pillow");
        return;
    };
    let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).join("pillow");
    fs::create_dir_all(&folder).unwrap();
    let sizes = [(500, 375), (333, 500), (64, 64), (71, 57), (30, 41), (640, 56)];
    let files = sizes.map(|(width, height)| {
        let path = folder.join(format!("{width}x{height}.png"));
        picture(width, height).save(&path).unwrap();
        path
    });
    let enlarged = sizes.map(|(width, height)| width.min(height) < 64);
    let output = Command::new(python).args(["-c", SCRIPT]).args(&files).output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let files = files.iter().zip(enlarged);
    let fits = files.flat_map(|file| [(file, Fit::Crop(0.875)), (file, Fit::Stretch)]);
    let images: Vec<&[u8]> = output.stdout.chunks_exact(SIZE.iter().product()).collect();
    assert_eq!(images.len(), 2 * sizes.len());
    for (((file, enlarged), fit), expected) in fits.zip(images) {
        let found = read_picture(file, SIZE, fit).unwrap();
        let plane = SIZE[1] * SIZE[2];
        let values = (0..plane).flat_map(|pixel| (0..3).map(move |channel| (pixel, channel)));
        let differences = values
            .zip(expected)
            .map(|((pixel, channel), value)| found[channel * plane + pixel].abs_diff(*value));
        let differences: Vec<u8> = differences.collect();
        // Both round between the two directions, each in its own way. At the borders of a
        // part, a filter that enlarges sees in torchvision what is beyond it, too.
        let apart = differences.iter().filter(|&&difference| difference > 1).count();
        let most = differences.iter().max();
        let allowed = match (fit, enlarged) {
            (Fit::Crop(_), true) => plane / 30,
            _ => 0,
        };
        assert!(apart <= allowed && most < Some(&10), "{} {fit:?}: {apart}", file.display());
    }
}
