//! Random variation of training images.
//!
//! In this order: for pictures in files, a part of random size and proportions
//! instead of the usual one; then, as the EC2T reference trains on CIFAR,
//! horizontal flip; crop
//! of the original size out of the image in a black frame; colour jitter (see
//! the `jitter` module); normalisation; Cutout. Flip and crop move bytes,
//! jitter works on floats of 0…1, and Cutout sets normalized values to 0,
//! which is the mean colour.
//!
//! All numbers for a sample come from (seed, epoch, index of the sample) only,
//! and all of them are drawn whatever is switched on: switching one variation
//! off leaves the others as they were.
//!
//! Sources: T. DeVries, G. W. Taylor, "Improved Regularization of Convolutional
//! Neural Networks with Cutout", 2017; for the random part of pictures, C.
//! Szegedy et al., "Going Deeper with Convolutions", 2015, section 6, with the
//! bounds of torchvision's `RandomResizedCrop`.

use std::ops::Range;

use fast_image_resize::FilterType;
use serde::{Deserialize, Serialize};

use crate::error::DataError;
use crate::images::Files;
use crate::jitter::Jitter;
use crate::normalize::{scale, standardize};
use crate::picture::Window;
use crate::random::{Purpose, Stream};

/// Proportions of random parts, width over height, are between this and its inverse.
const MOST_OBLONG: f32 = 4.0 / 3.0;

/// Random parts that are tried before the largest one in the middle is taken.
const TRIES: usize = 10;

/// Which variations to apply; none by default.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct AugmentOptions {
    /// Of a picture in a file, take a part with at least this share of its area and
    /// proportions of 3:4 to 4:3; 0 for what is taken in evaluation.
    #[serde(skip_serializing_if = "is_off")]
    pub resized_crop: f32,
    /// Mirror every other image, left to right.
    pub hflip: bool,
    /// Width in pixels of the black frame out of which the image is cropped; 0 for none.
    pub crop_pad: usize,
    /// Change brightness, contrast and saturation by up to 30 % and the hue by up to 0.075.
    pub jitter: bool,
    /// Side in pixels of the square that Cutout blanks, rounded down to even; 0 for none.
    pub cutout: usize,
}

impl AugmentOptions {
    /// All variations as the EC2T reference uses them on CIFAR: frame of 4,
    /// square of 16.
    pub fn cifar() -> Self {
        Self { resized_crop: 0.0, hflip: true, crop_pad: 4, jitter: true, cutout: 16 }
    }

    /// Checks the options against the shape `[C, H, W]` of the images.
    ///
    /// # Errors
    /// [`DataError::Option`] where the frame or the square is larger than the
    /// image, images that are to be jittered have neither one channel nor three, or a share
    /// is none.
    pub fn check(&self, [channels, height, width]: [usize; 3]) -> Result<(), DataError> {
        let wrong = |option, expected, found: usize| {
            Err(DataError::Option { option, expected, found: found.to_string() })
        };
        if !(0.0..=1.0).contains(&self.resized_crop) {
            let (expected, found) = ("a share of 0…1".into(), self.resized_crop.to_string());
            return Err(DataError::Option { option: "resized_crop", expected, found });
        }
        let side = height.min(width);
        if self.crop_pad > side {
            return wrong("crop_pad", format!("at most {side}"), self.crop_pad);
        }
        if self.cutout > side {
            return wrong("cutout", format!("at most {side}"), self.cutout);
        }
        if self.jitter && channels != 1 && channels != 3 {
            return wrong("jitter", "images of 1 or 3 channels".into(), channels);
        }
        Ok(())
    }
}

/// Settings that say nothing new are not written, so files from before them stay as they are.
fn is_off(share: &f32) -> bool {
    *share == 0.0
}

/// How the images of one epoch are varied and normalized.
pub(crate) struct Augmenter<'a> {
    pub(crate) options: &'a AugmentOptions,
    pub(crate) mean: &'a [f32],
    pub(crate) std: &'a [f32],
    pub(crate) seed: u64,
    pub(crate) epoch: u64,
}

impl Augmenter<'_> {
    /// Reads sample `index` from its file, then as [`Augmenter::apply`].
    pub(crate) fn apply_to_file(
        &self,
        index: u32,
        files: &Files,
        shape: [usize; 3],
        out: &mut [f32],
    ) -> Result<(), DataError> {
        let [channels, height, width] = shape;
        let picture = files.decode(index as usize, channels)?;
        let window = match self.options.resized_crop {
            0.0 => files.fit.window(picture.size(), [height, width]),
            least => {
                let (seed, epoch) = (self.seed, self.epoch);
                let stream = Stream::new(Purpose::Part, seed, epoch, u64::from(index));
                random_part(stream, picture.size(), least)
            }
        };
        let mut image = vec![0; out.len()];
        picture.view(window, [height, width], &mut image);
        self.apply(index, &image, shape, out);
        Ok(())
    }

    /// Varies and normalizes sample `index`, whose options have been checked.
    pub(crate) fn apply(&self, index: u32, image: &[u8], shape: [usize; 3], out: &mut [f32]) {
        let [channels, height, width] = shape;
        let mut stream = Stream::new(Purpose::Augment, self.seed, self.epoch, u64::from(index));
        let variation = Variation::draw(&mut stream, self.options, height, width);

        variation.flip_and_crop(image, height, width, out);
        if self.options.jitter {
            variation.jitter.apply(out, channels);
        }
        standardize(out, self.mean, self.std);
        blank(out, height, width, &variation.hole);
    }
}

/// A part of a picture of `[height, width]`: a share of its area of `least`…1, and
/// proportions whose logarithm is evenly distributed. Where none of the parts that are
/// tried is within the picture, the largest of allowed proportions in the middle.
fn random_part(mut stream: Stream, [height, width]: [u32; 2], least: f32) -> Window {
    let (area, bound) = (f64::from(height) * f64::from(width), MOST_OBLONG.ln());
    let inside = |side: f64, of: u32| (1.0..=f64::from(of)).contains(&side);
    for _ in 0..TRIES {
        let part = area * f64::from(stream.between(least, 1.0));
        let proportions = f64::from(stream.between(-bound, bound).exp());
        let wide = (part * proportions).sqrt().round();
        let high = (part / proportions).sqrt().round();
        if inside(wide, width) && inside(high, height) {
            let mut corner = |side: f64, of: u32| stream.below(of as usize - side as usize + 1);
            let (top, left) = (corner(high, height) as f64, corner(wide, width) as f64);
            return Window { left, top, width: wide, height: high, filter: FilterType::CatmullRom };
        }
    }
    let (high, wide) = (f64::from(height), f64::from(width));
    let most = f64::from(MOST_OBLONG);
    let (part_high, part_wide) = (high.min(wide * most), wide.min(high * most));
    Window {
        left: (wide - part_wide) / 2.0,
        top: (high - part_high) / 2.0,
        width: part_wide,
        height: part_high,
        filter: FilterType::CatmullRom,
    }
}

/// The random choices for one sample.
struct Variation {
    flip: bool,
    /// Row and column of the image at which the crop begins; negative in the frame.
    corner: [isize; 2],
    jitter: Jitter,
    hole: Hole,
}

/// The rows and columns that Cutout blanks, clipped at the borders.
struct Hole {
    rows: Range<usize>,
    columns: Range<usize>,
}

impl Variation {
    fn draw(stream: &mut Stream, options: &AugmentOptions, height: usize, width: usize) -> Self {
        let pad = options.crop_pad;
        let flip = stream.below(2) == 1;
        let mut offset = || stream.below(2 * pad + 1) as isize - pad as isize;
        let corner = [offset(), offset()];
        let jitter = Jitter::draw(stream);
        let mut range = |length: usize| {
            let centre = stream.below(length);
            let start = centre.saturating_sub(options.cutout / 2);
            start..(centre + options.cutout / 2).min(length)
        };
        let hole = Hole { rows: range(height), columns: range(width) };
        Self { flip: options.hflip && flip, corner, jitter, hole }
    }

    /// Writes the image in 0…1, mirrored or not, as seen from the corner; black
    /// outside.
    fn flip_and_crop(&self, image: &[u8], height: usize, width: usize, out: &mut [f32]) {
        let [top, left] = self.corner;
        let planes = image.chunks_exact(height * width);
        for (plane, out) in planes.zip(out.chunks_exact_mut(height * width)) {
            for (y, row_out) in out.chunks_exact_mut(width).enumerate() {
                let source = y.checked_add_signed(top).filter(|&y| y < height);
                let Some(row) = source.map(|y| &plane[y * width..][..width]) else {
                    row_out.fill(0.0);
                    continue;
                };
                for (x, value) in row_out.iter_mut().enumerate() {
                    let source = x.checked_add_signed(left).filter(|&x| x < width);
                    let x = source.map(|x| if self.flip { width - 1 - x } else { x });
                    *value = x.map_or(0.0, |x| scale(row[x]));
                }
            }
        }
    }
}

fn blank(image: &mut [f32], height: usize, width: usize, hole: &Hole) {
    for plane in image.chunks_exact_mut(height * width) {
        for row in plane.chunks_exact_mut(width).take(hole.rows.end).skip(hole.rows.start) {
            row[hole.columns.clone()].fill(0.0);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NONE: AugmentOptions =
        AugmentOptions { resized_crop: 0.0, hflip: false, crop_pad: 0, jitter: false, cutout: 0 };

    /// Sample `index` of epoch 0, normalized to its own bytes.
    fn apply(options: &AugmentOptions, index: u32, image: &[u8], shape: [usize; 3]) -> Vec<f32> {
        let (mean, std) = (vec![0.0; shape[0]], vec![1.0 / 255.0; shape[0]]);
        let augmenter = Augmenter { options, mean: &mean, std: &std, seed: 9, epoch: 0 };
        let mut out = vec![f32::NAN; image.len()];
        augmenter.apply(index, image, shape, &mut out);
        out.iter().map(|value| value.round()).collect()
    }

    /// 2 × 3 × 4 pixels, all different and none black.
    fn image() -> Vec<u8> {
        (1..=24).collect()
    }
    const SHAPE: [usize; 3] = [2, 3, 4];

    fn floats(bytes: &[u8]) -> Vec<f32> {
        bytes.iter().map(|&byte| f32::from(byte)).collect()
    }

    #[test]
    fn nothing_switched_on_is_plain_normalisation() {
        assert_eq!(apply(&NONE, 0, &image(), SHAPE), floats(&image()));
    }

    #[test]
    fn flips_mirror_the_rows_of_about_half_the_samples() {
        let options = AugmentOptions { hflip: true, ..NONE };
        let mirrored: Vec<u8> =
            image().chunks(4).flat_map(|row| row.iter().rev().copied()).collect();
        let mut flips = 0;
        for index in 0..200 {
            let found = apply(&options, index, &image(), SHAPE);
            match found == floats(&mirrored) {
                true => flips += 1,
                false => assert_eq!(found, floats(&image())),
            }
        }
        assert!((70..130).contains(&flips), "{flips}");
    }

    #[test]
    fn crops_shift_the_image_in_a_black_frame() {
        let shifted = |corner| Variation {
            corner,
            flip: false,
            jitter: Jitter::draw(&mut Stream::new(Purpose::Augment, 0, 0, 0)),
            hole: Hole { rows: 0..0, columns: 0..0 },
        };
        let moved = |variation: Variation| {
            let mut out = [f32::NAN; 12];
            variation.flip_and_crop(&image()[..12], 3, 4, &mut out);
            out.map(|value| (255.0 * value).round() as u8)
        };
        let up_left = moved(shifted([1, 1]));
        assert_eq!(up_left, [6, 7, 8, 0, 10, 11, 12, 0, 0, 0, 0, 0]);
        let down_right = moved(shifted([-1, -2]));
        assert_eq!(down_right, [0, 0, 0, 0, 0, 0, 1, 2, 0, 0, 5, 6]);
        let flipped = moved(Variation { flip: true, ..shifted([0, 1]) });
        assert_eq!(flipped, [3, 2, 1, 0, 7, 6, 5, 0, 11, 10, 9, 0]);
    }

    #[test]
    fn crops_reach_every_offset() {
        let options = AugmentOptions { crop_pad: 1, ..NONE };
        let centres: std::collections::BTreeSet<u8> = (0..200)
            .map(|index| apply(&options, index, &[1, 2, 3, 4, 5, 6, 7, 8, 9], [1, 3, 3])[4] as u8)
            .collect();
        assert_eq!(centres, (1..=9).collect());
    }

    #[test]
    fn cutout_is_a_square_clipped_at_the_border() {
        let options = AugmentOptions { cutout: 4, ..NONE };
        let (mut sizes, all) = (Vec::new(), vec![200; 64]);
        for index in 0..300 {
            let out = apply(&options, index, &all, [1, 8, 8]);
            let blank = |row: &[f32]| row.iter().filter(|&&value| value == 0.0).count();
            let rows: Vec<usize> = out.chunks(8).map(blank).filter(|&count| count > 0).collect();
            assert!(rows.iter().all(|&count| count == rows[0]), "{rows:?}");
            sizes.push((rows.len(), rows[0]));
        }
        sizes.sort_unstable();
        assert_eq!((sizes[0], sizes[299]), ((2, 2), (4, 4)));
    }

    #[test]
    fn switching_one_variation_off_leaves_the_others() {
        let all = AugmentOptions { hflip: true, crop_pad: 2, cutout: 2, ..NONE };
        let without = AugmentOptions { cutout: 0, ..all.clone() };
        let image: Vec<u8> = (1..=64).collect();
        for index in 0..20 {
            let (full, part) =
                (apply(&all, index, &image, [1, 8, 8]), apply(&without, index, &image, [1, 8, 8]));
            let changed = full.iter().zip(&part).filter(|(a, b)| a != b && **a != 0.0).count();
            assert_eq!(changed, 0);
        }
    }

    #[test]
    fn random_parts_keep_to_their_bounds_and_reach_them() {
        let mut shares = Vec::new();
        for (index, size) in
            [[300, 400], [375, 500], [17, 9]].into_iter().cycle().take(600).enumerate()
        {
            let stream = Stream::new(Purpose::Part, 3, 0, index as u64);
            let Window { left, top, width, height, .. } = random_part(stream, size, 0.08);
            let [high, wide] = size.map(f64::from);
            assert!(left >= 0.0 && top >= 0.0 && left + width <= wide && top + height <= high);
            // Sides are rounded: the smaller the picture, the coarser.
            let slack = 1.0 + 1.0 / width.min(height);
            assert!((0.75 / slack..=4.0 / 3.0 * slack).contains(&(width / height)));
            shares.push(width * height / (wide * high));
        }
        shares.sort_by(f64::total_cmp);
        assert!(shares[0] >= 0.06 && shares[0] < 0.12, "{}", shares[0]);
        assert!(shares[599] > 0.9 && (0.3..0.7).contains(&shares[300]), "{}", shares[300]);
    }

    #[test]
    fn of_a_long_strip_the_middle_is_taken() {
        let stream = Stream::new(Purpose::Part, 3, 0, 0);
        let part = random_part(stream, [30, 4000], 0.9);
        let found = [part.left, part.top, part.width, part.height].map(f64::round);
        assert_eq!(found, [1980.0, 0.0, 40.0, 30.0]);
    }

    #[test]
    fn unfit_options_are_refused() {
        let shape = [3, 8, 16];
        for resized_crop in [-0.1, 1.1, f32::NAN] {
            assert!(AugmentOptions { resized_crop, ..NONE }.check(shape).is_err());
        }
        assert!(AugmentOptions { crop_pad: 8, cutout: 8, ..NONE }.check(shape).is_ok());
        for options in
            [AugmentOptions { crop_pad: 9, ..NONE }, AugmentOptions { cutout: usize::MAX, ..NONE }]
        {
            assert!(matches!(options.check(shape), Err(DataError::Option { .. })));
        }
        assert!(AugmentOptions { jitter: true, ..NONE }.check([2, 8, 8]).is_err());
        assert!(AugmentOptions::cifar().check([3, 32, 32]).is_ok());
    }

    #[test]
    fn unknown_fields_are_refused() {
        let options: AugmentOptions = serde_json::from_str(r#"{"hflip":true}"#).unwrap();
        assert_eq!(options, AugmentOptions { hflip: true, ..NONE });
        assert!(serde_json::from_str::<AugmentOptions>(r#"{"flip":true}"#).is_err());
    }
}
