//! Pictures of any size as images of one size: PNG or JPEG files, planar bytes.
//!
//! Decoding is within the decoder's limits. A picture becomes grey (1 channel)
//! or RGB (3 channels); transparency is dropped, and an orientation that a
//! camera noted is not applied, as in torchvision. A part of it, the
//! [`Window`], is then brought to the image's size, by the filters that Pillow
//! has under the same names, which widen where they make smaller.
//!
//! Errors name the file.

use std::collections::BTreeMap;
use std::path::Path;

use fast_image_resize::images::Image;
use fast_image_resize::{FilterType, PixelType, ResizeAlg, ResizeOptions, Resizer};
use image::codecs::png::PngEncoder;
use image::{DynamicImage, ExtendedColorType, ImageEncoder, ImageReader, RgbaImage, imageops};

use crate::error::DataError;

/// Largest height and width that pictures are brought to.
const MAX_SIDE: usize = 4096;

/// The key under which the metadata of a model say which share of pictures it takes.
pub const CROP: &str = "crop";

/// Least share of a picture's sides that can be cut out.
const LEAST_CROP: f64 = 0.01;

/// How a picture that is not varied becomes an image.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub enum Fit {
    /// The whole picture, whose proportions are not kept; bilinear.
    #[default]
    Stretch,
    /// The middle of the picture, as large as fits: its sides are this share of
    /// those of the picture, 0.01 to 1; bicubic. Networks for
    /// ImageNet are mostly evaluated with 0.875, 224 of 256 pixels.
    Crop(f64),
}

/// The part of a picture that becomes the image, in pixels of the picture.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Window {
    pub(crate) left: f64,
    pub(crate) top: f64,
    pub(crate) width: f64,
    pub(crate) height: f64,
    pub(crate) filter: FilterType,
}

impl Fit {
    /// A crop where there is a share, all of the picture where there is none.
    ///
    /// ```
    /// use ec2t_data::Fit;
    ///
    /// assert_eq!(Fit::of_crop(Some(0.875))?, Fit::Crop(0.875));
    /// assert_eq!(Fit::of_crop(None)?, Fit::Stretch);
    /// assert!(Fit::of_crop(Some(1.5)).is_err());
    /// # Ok::<(), ec2t_data::DataError>(())
    /// ```
    ///
    /// # Errors
    /// [`DataError::Option`] where the share is not from 0.01 to 1.
    pub fn of_crop(share: Option<f64>) -> Result<Self, DataError> {
        match share {
            None => Ok(Fit::Stretch),
            Some(share) if (LEAST_CROP..=1.0).contains(&share) => Ok(Fit::Crop(share)),
            Some(share) => Err(no_share(share.to_string())),
        }
    }

    /// What a model takes of a picture, by the metadata of its file: a [`CROP`], or all.
    ///
    /// # Errors
    /// [`DataError::Option`] where that is no share from 0.01 to 1.
    pub fn of_metadata(metadata: &BTreeMap<String, String>) -> Result<Self, DataError> {
        let Some(text) = metadata.get(CROP) else { return Ok(Fit::Stretch) };
        let share = text.parse().map_err(|_| no_share(format!("{text:?}")))?;
        Self::of_crop(Some(share))
    }

    /// What is taken of a picture of `[height, width]` for an image of `size`.
    ///
    /// For a crop that is what torchvision takes when it brings the shorter
    /// side to ⌊side / share⌋ pixels and then cuts the middle out: both are
    /// done in one step, on the same grid of pixels; only, no filter looks beyond what
    /// is cut out.
    pub(crate) fn window(self, picture: [u32; 2], size: [usize; 2]) -> Window {
        let [height, width] = picture.map(f64::from);
        let share = match self {
            Fit::Crop(share) => share,
            Fit::Stretch => {
                return Window { left: 0.0, top: 0.0, width, height, filter: FilterType::Bilinear };
            }
        };
        let [rows, columns] = size.map(|side| side as f64);
        let scale = ((rows / share).floor() / height).max((columns / share).floor() / width);
        let along = |side: f64, cut: f64| {
            let resized = (side * scale + 1e-9).floor().max(cut);
            let start = ((resized - cut) / 2.0).round_ties_even();
            let start = start * side / resized;
            (start, (cut * side / resized).min(side - start))
        };
        let (top, height) = along(height, rows);
        let (left, width) = along(width, columns);
        Window { left, top, width, height, filter: FilterType::CatmullRom }
    }
}

fn no_share(found: String) -> DataError {
    DataError::Option { option: CROP, expected: format!("a share of {LEAST_CROP}…1"), found }
}

/// Reads a picture as an image of `[C, H, W]`, planar.
///
/// # Errors
/// [`DataError::Option`] for an image of other than 1 or 3 channels or of an
/// impossible size, [`DataError::Picture`] where the file is no picture.
pub fn read_picture(path: &Path, size: [usize; 3], fit: Fit) -> Result<Vec<u8>, DataError> {
    check_size(size)?;
    let mut image = vec![0; size.iter().product()];
    Picture::decode(path, size[0])?.fit(fit, [size[1], size[2]], &mut image);
    Ok(image)
}

/// Makes an image of `[C, H, W]`, planar, of a picture that has been decoded: `picture` is
/// its `[height, width]`, `pixels` four bytes for each pixel, row by row: red, green, blue
/// and transparency, which is dropped.
///
/// ```
/// use ec2t_data::{Fit, fit_rgba};
///
/// let pixels = vec![10, 20, 30, 255, 30, 40, 50, 255];
/// assert_eq!(fit_rgba(pixels, [1, 2], [3, 1, 1], Fit::Stretch)?, [20, 30, 40]);
/// # Ok::<(), ec2t_data::DataError>(())
/// ```
///
/// # Errors
/// [`DataError::Option`] as for [`read_picture`], and where there are not so many pixels.
pub fn fit_rgba(
    pixels: Vec<u8>,
    picture: [u32; 2],
    size: [usize; 3],
    fit: Fit,
) -> Result<Vec<u8>, DataError> {
    check_size(size)?;
    let [height, width] = picture;
    let found = pixels.len();
    let whole = match u128::from(height) * u128::from(width) * 4 {
        expected if expected == found as u128 && found > 0 => {
            RgbaImage::from_raw(width, height, pixels)
        }
        _ => None,
    };
    let whole = whole.ok_or_else(|| DataError::Option {
        option: "pixels",
        expected: format!("four bytes for each pixel of {height}×{width}, at least one"),
        found: format!("{found} bytes"),
    })?;
    let mut image = vec![0; size.iter().product()];
    Picture::of(whole.into(), size[0]).fit(fit, [size[1], size[2]], &mut image);
    Ok(image)
}

/// An image of `[C, H, W]`, planar, as a PNG file of at most `side` rows and columns; a
/// larger one is made smaller.
///
/// ```
/// use ec2t_data::thumbnail;
///
/// let file = thumbnail(&[10, 20, 30, 40], [1, 2, 2], 96)?;
/// assert!(file.starts_with(b"\x89PNG"));
/// # Ok::<(), ec2t_data::DataError>(())
/// ```
///
/// # Errors
/// [`DataError::Option`] as for [`read_picture`], and where there are not so many pixels.
pub fn thumbnail(image: &[u8], size: [usize; 3], side: u32) -> Result<Vec<u8>, DataError> {
    check_size(size)?;
    let [channels, height, width] = size;
    let plane = height * width;
    if image.len() != channels * plane {
        return Err(DataError::Option {
            option: "image",
            expected: format!("{} values", channels * plane),
            found: format!("{}", image.len()),
        });
    }
    let opaque = |pixel: usize| {
        let value = |channel: usize| image[channel.min(channels - 1) * plane + pixel];
        [value(0), value(1), value(2), u8::MAX]
    };
    let pixels = (0..plane).flat_map(opaque).collect();
    let (rows, columns) = (height as u32, width as u32);
    let mut picture =
        RgbaImage::from_raw(columns, rows, pixels).expect("four bytes for each pixel");
    let longest = rows.max(columns);
    if longest > side {
        let shorter = |length: u32| (length * side / longest).max(1);
        picture = imageops::thumbnail(&picture, shorter(columns), shorter(rows));
    }
    let picture = DynamicImage::from(picture).into_rgb8();
    let mut file = Vec::new();
    let (columns, rows) = picture.dimensions();
    let written =
        PngEncoder::new(&mut file).write_image(&picture, columns, rows, ExtendedColorType::Rgb8);
    written.expect("there are as many bytes as pixels, and memory can be written");
    Ok(file)
}

/// Whether pictures can be brought to this size.
pub(crate) fn check_size([channels, height, width]: [usize; 3]) -> Result<(), DataError> {
    let side = 1..=MAX_SIDE;
    match matches!(channels, 1 | 3) && side.contains(&height) && side.contains(&width) {
        true => Ok(()),
        false => Err(DataError::Option {
            option: "image_size",
            expected: format!("1 or 3 channels, height and width of 1…{MAX_SIDE}"),
            found: format!("{channels}×{height}×{width}"),
        }),
    }
}

/// A decoded picture, pixel after pixel: RGB, or three times grey, and a byte that is not
/// used, as pixels of four bytes are brought to size the quickest.
pub(crate) struct Picture(Image<'static>);

impl Picture {
    /// Decodes a file to 1 or 3 channels.
    pub(crate) fn decode(path: &Path, channels: usize) -> Result<Self, DataError> {
        let picture = |source| DataError::Picture { path: path.to_owned(), source };
        let reader = ImageReader::open(path).map_err(DataError::io(path))?;
        let reader = reader.with_guessed_format().map_err(DataError::io(path))?;
        Ok(Self::of(reader.decode().map_err(picture)?, channels))
    }

    fn of(image: DynamicImage, channels: usize) -> Self {
        let (width, height) = (image.width(), image.height());
        let image = match channels {
            1 => DynamicImage::from(image.into_luma8()),
            _ => image,
        };
        let bytes = image.into_rgba8().into_raw();
        let image = Image::from_vec_u8(width, height, bytes, PixelType::U8x4);
        Self(image.expect("four bytes for each pixel"))
    }

    /// Height and width.
    pub(crate) fn size(&self) -> [u32; 2] {
        [self.0.height(), self.0.width()]
    }

    /// Brings what a fit takes of the picture to `[height, width]`, in planes.
    pub(crate) fn fit(&self, fit: Fit, size: [usize; 2], out: &mut [u8]) {
        self.view(fit.window(self.size(), size), size, out);
    }

    /// Brings a window, which is within the picture, to `[height, width]`, in planes.
    pub(crate) fn view(&self, window: Window, [height, width]: [usize; 2], out: &mut [u8]) {
        let Window { left, top, width: wide, height: high, filter } = window;
        let options = ResizeOptions::new()
            .resize_alg(ResizeAlg::Convolution(filter))
            .crop(left, top, wide, high)
            .use_alpha(false);
        let mut image = Image::new(width as u32, height as u32, PixelType::U8x4);
        let resized = Resizer::new().resize(&self.0, &mut image, &options);
        resized.expect("the window is within the picture, and both have the same kind of pixels");
        let pixels = image.buffer();
        for (channel, plane) in out.chunks_exact_mut(height * width).enumerate() {
            for (value, pixel) in plane.iter_mut().zip(pixels.chunks_exact(4)) {
                *value = pixel[channel];
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use image::{GrayImage, Luma, Rgb, RgbImage};

    fn stretched(image: DynamicImage, [channels, height, width]: [usize; 3]) -> Vec<u8> {
        let mut out = vec![0; channels * height * width];
        Picture::of(image, channels).fit(Fit::Stretch, [height, width], &mut out);
        out
    }

    #[test]
    fn pictures_are_resized_and_made_grey() {
        let flat = DynamicImage::from(RgbImage::from_pixel(8, 4, Rgb([200, 100, 50])));
        let planes = [200, 200, 200, 200, 100, 100, 100, 100, 50, 50, 50, 50];
        assert_eq!(stretched(flat, [3, 2, 2]), planes);
        let grey = DynamicImage::from(GrayImage::from_fn(2, 1, |x, _| Luma([x as u8 * 90])));
        assert_eq!(stretched(grey, [3, 1, 2]), [0, 90, 0, 90, 0, 90]);
    }

    #[test]
    fn crops_are_those_of_torchvision() {
        // 500 × 375 to 341 × 256, then 224 from column 58 (58.5 rounds to even), row 16.
        let window = Fit::Crop(0.875).window([375, 500], [224, 224]);
        let near = |a: f64, b: f64| assert!((a - b).abs() < 1e-9, "{a} {b}");
        near(window.left, 58.0 * 500.0 / 341.0);
        near(window.width, 224.0 * 500.0 / 341.0);
        near(window.top, 16.0 * 375.0 / 256.0);
        near(window.height, 224.0 * 375.0 / 256.0);
        let whole = Fit::Crop(1.0).window([32, 32], [32, 32]);
        assert_eq!([whole.left, whole.top, whole.width, whole.height], [0.0, 0.0, 32.0, 32.0]);
    }

    #[test]
    fn crops_stay_within_pictures_of_any_shape() {
        for picture in [[1, 1], [1, 4000], [3, 2], [374, 501], [4000, 3]] {
            for share in [0.01, 0.5, 0.875, 0.882, 1.0] {
                for size in [[1, 1], [240, 240], [7, 300]] {
                    let window = Fit::Crop(share).window(picture, size);
                    let [height, width] = picture.map(f64::from);
                    assert!(window.left >= 0.0 && window.top >= 0.0, "{window:?}");
                    assert!(window.left + window.width <= width + 1e-6, "{picture:?} {window:?}");
                    assert!(window.top + window.height <= height + 1e-6, "{picture:?} {window:?}");
                    let image = DynamicImage::from(GrayImage::from_pixel(
                        picture[1],
                        picture[0],
                        Luma([77]),
                    ));
                    let mut out = vec![0; size[0] * size[1]];
                    Picture::of(image, 1).view(window, size, &mut out);
                    assert!(out.iter().all(|&value| value == 77), "{picture:?} {window:?}");
                }
            }
        }
    }

    #[test]
    fn thumbnails_are_the_image_or_a_smaller_one() {
        let decode = |file: Vec<u8>| image::load_from_memory(&file).unwrap().into_rgb8();
        let colours = decode(thumbnail(&[1, 2, 3, 4, 5, 6], [3, 1, 2], 96).unwrap());
        assert_eq!((colours.dimensions(), colours.into_raw()), ((2, 1), vec![1, 3, 5, 2, 4, 6]));
        let grey = decode(thumbnail(&[7; 200 * 100], [1, 200, 100], 50).unwrap());
        assert_eq!((grey.dimensions(), grey.get_pixel(3, 9)), ((25, 50), &Rgb([7; 3])));
        for (image, size) in [(vec![0; 3], [1, 2, 2]), (vec![0; 8], [2, 2, 2])] {
            assert!(
                matches!(thumbnail(&image, size, 9), Err(DataError::Option { .. })),
                "{size:?}"
            );
        }
    }

    #[test]
    fn shares_are_from_a_hundredth_to_all() {
        assert!(Fit::of_crop(Some(1.0)).is_ok() && Fit::of_crop(Some(0.01)).is_ok());
        for share in [0.0, 1e-300, -0.5, 1.01, f64::NAN, f64::INFINITY] {
            assert!(matches!(Fit::of_crop(Some(share)), Err(DataError::Option { .. })), "{share}");
        }
    }

    #[test]
    fn metadata_say_what_is_taken() {
        let fit = |text: &str| Fit::of_metadata(&BTreeMap::from([(CROP.into(), text.into())]));
        assert_eq!(Fit::of_metadata(&BTreeMap::new()).unwrap(), Fit::Stretch);
        assert_eq!(fit("0.875").unwrap(), Fit::Crop(0.875));
        for text in ["", "half", "1.5", "NaN"] {
            let error = fit(text).unwrap_err().to_string();
            assert!(error.contains("crop") && error.contains("0.01…1"), "{error}");
        }
    }

    #[test]
    fn decoded_pictures_give_what_their_files_give() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("picture.png");
        let colour = |x: u32, y: u32| Rgb([(x * 31) as u8, (y * 57) as u8, (x * y) as u8]);
        let picture = RgbImage::from_fn(37, 23, colour);
        picture.save(&path).unwrap();
        let pixels = DynamicImage::from(picture).into_rgba8().into_raw();
        for size in [[3, 8, 8], [1, 5, 40]] {
            for fit in [Fit::Stretch, Fit::Crop(0.8)] {
                let decoded = fit_rgba(pixels.clone(), [23, 37], size, fit).unwrap();
                assert_eq!(decoded, read_picture(&path, size, fit).unwrap());
            }
        }
    }

    #[test]
    fn pixels_must_be_as_many_as_the_picture_has() {
        for (len, picture) in [(0, [0, 1]), (3, [1, 1]), (5, [1, 1]), (4, [u32::MAX; 2])] {
            let error = fit_rgba(vec![0; len], picture, [3, 2, 2], Fit::Stretch).unwrap_err();
            assert!(error.to_string().ends_with(&format!("found {len} bytes")), "{error}");
        }
    }

    #[test]
    fn unfit_sizes_are_refused() {
        for size in [[2, 8, 8], [3, 0, 8], [3, 8, usize::MAX]] {
            let read = read_picture(Path::new("any.png"), size, Fit::Stretch);
            assert!(matches!(read, Err(DataError::Option { .. })));
        }
    }
}
