//! Folders of pictures: one folder per class, PNG or JPEG.
//!
//! `train/CLASS/*.png` and `test/CLASS/*.png` are taken as they are. Where
//! there is no `test`, or the classes are in the folder itself, a fifth of the
//! pictures of each class is for testing, the same ones always. Classes and
//! pictures are in the order of their names, so labels do not depend on the
//! file system. Files of other kinds are passed over, and so is everything
//! whose name begins with a dot.
//!
//! Each picture is brought to the given size by a triangle filter, without
//! keeping its proportions, and to grey (1 channel) or RGB (3 channels);
//! transparency is dropped.

use std::fs;
use std::path::Path;

use image::imageops::{self, FilterType};
use image::{DynamicImage, ImageReader};
use rayon::prelude::*;

use crate::dataset::{Dataset, split_test};
use crate::error::DataError;
use crate::source::{Original, SourceFile};

/// Endings of the files that are read, in lower case.
const PICTURES: [&str; 3] = ["png", "jpg", "jpeg"];

/// Largest height and width that pictures are brought to.
const MAX_SIDE: usize = 4096;

/// One picture of this many is for testing, where none are set apart.
const TEST_SHARE: usize = 5;

/// Reads the pictures below `root` at size `[C, H, W]`.
///
/// # Errors
/// Where there are no classes or no pictures, a class is in `test` only, or a
/// picture cannot be decoded.
pub fn read(root: &Path, size: [usize; 3]) -> Result<Original, DataError> {
    check_size(size)?;
    let base = if root.join("train").is_dir() { "train/" } else { "" };
    let reader = Reader { root, classes: names(&root.join(base), Path::is_dir)?, size };
    let (train, mut files) = reader.read_tree(base)?;
    if base.is_empty() || !root.join("test").is_dir() {
        let (train, test) = split_test(&train, train.len().div_ceil(TEST_SHARE))?;
        return Ok(Original { train, test, files });
    }
    reader.check_test_classes()?;
    let (test, test_files) = reader.read_tree("test/")?;
    files.extend(test_files);
    Ok(Original { train, test, files })
}

/// A picture's path below the root, and its class.
type Picture = (String, u32);

fn check_size([channels, height, width]: [usize; 3]) -> Result<(), DataError> {
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

/// The folder and what its pictures become.
struct Reader<'a> {
    root: &'a Path,
    classes: Vec<String>,
    size: [usize; 3],
}

impl Reader<'_> {
    /// The pictures in `base`/CLASS, class after class.
    fn read_tree(&self, base: &str) -> Result<(Dataset, Vec<SourceFile>), DataError> {
        let pictures = self.pictures(base)?;
        let image_len: usize = self.size.iter().product();
        let mut images = zeros(self.root, pictures.len(), image_len)?;
        images
            .par_chunks_exact_mut(image_len)
            .zip(&pictures)
            .try_for_each(|(out, (file, _))| decode_into(&self.root.join(file), self.size, out))?;
        let labels = pictures.iter().map(|&(_, label)| label).collect();
        let data = Dataset::new("folder", self.size, images, labels, self.classes.clone())?;
        let file = |(name, _)| SourceFile::on_disk(self.root, name);
        Ok((data, pictures.into_iter().map(file).collect()))
    }

    fn pictures(&self, base: &str) -> Result<Vec<Picture>, DataError> {
        let mut found = Vec::new();
        for (class, label) in self.classes.iter().zip(0..) {
            let folder = format!("{base}{class}");
            let path = self.root.join(&folder);
            if path.is_dir() {
                let files = names(&path, |file| is_picture(file) && file.is_file())?;
                found.extend(files.into_iter().map(|file| (format!("{folder}/{file}"), label)));
            }
        }
        match found.is_empty() {
            true => Err(DataError::Folder {
                path: self.root.join(base),
                reason: format!("no pictures ({}) in folders of classes", PICTURES.join(", ")),
            }),
            false => Ok(found),
        }
    }

    fn check_test_classes(&self) -> Result<(), DataError> {
        let path = self.root.join("test");
        let classes = names(&path, Path::is_dir)?;
        match classes.iter().find(|class| !self.classes.contains(class)) {
            Some(class) => {
                let reason = format!("class `{class}` has no training pictures");
                Err(DataError::Folder { path, reason })
            }
            None => Ok(()),
        }
    }
}

fn is_picture(path: &Path) -> bool {
    let suffix = path.extension().and_then(|suffix| suffix.to_str());
    suffix.is_some_and(|suffix| PICTURES.contains(&suffix.to_lowercase().as_str()))
}

/// Sorted names of the visible entries of a folder that are wanted.
fn names(folder: &Path, wanted: impl Fn(&Path) -> bool) -> Result<Vec<String>, DataError> {
    let mut names = Vec::new();
    for entry in fs::read_dir(folder).map_err(DataError::io(folder))? {
        let path = entry.map_err(DataError::io(folder))?.path();
        match path.file_name().and_then(|name| name.to_str()) {
            Some(name) if name.starts_with('.') => {}
            Some(name) if wanted(&path) => names.push(name.to_owned()),
            None if wanted(&path) => {
                return Err(DataError::Folder { path, reason: "its name is not UTF-8".into() });
            }
            _ => {}
        }
    }
    names.sort_unstable();
    Ok(names)
}

/// Room for all images, or an error where memory does not suffice.
fn zeros(root: &Path, count: usize, image_len: usize) -> Result<Vec<u8>, DataError> {
    let bytes = count.saturating_mul(image_len);
    let mut images = Vec::new();
    images.try_reserve_exact(bytes).map_err(|_| DataError::Folder {
        path: root.to_owned(),
        reason: format!("{count} images of {image_len} bytes do not fit into memory"),
    })?;
    images.resize(bytes, 0);
    Ok(images)
}

/// Decodes one picture, within the decoder's limits, into planar bytes.
fn decode_into(path: &Path, size: [usize; 3], out: &mut [u8]) -> Result<(), DataError> {
    let picture = |source| DataError::Picture { path: path.to_owned(), source };
    let reader = ImageReader::open(path).map_err(DataError::io(path))?;
    let reader = reader.with_guessed_format().map_err(DataError::io(path))?;
    let image = reader.decode().map_err(picture)?;
    planar_into(&image, size, out);
    Ok(())
}

/// Brings a picture to size and into planes.
fn planar_into(image: &DynamicImage, [channels, height, width]: [usize; 3], out: &mut [u8]) {
    let (height, width) = (height as u32, width as u32);
    let interleaved = match channels {
        1 => imageops::resize(&image.to_luma8(), width, height, FilterType::Triangle).into_raw(),
        _ => imageops::resize(&image.to_rgb8(), width, height, FilterType::Triangle).into_raw(),
    };
    let plane = interleaved.len() / channels;
    for (channel, out) in out.chunks_exact_mut(plane).enumerate() {
        for (value, pixel) in out.iter_mut().zip(interleaved.chunks_exact(channels)) {
            *value = pixel[channel];
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use image::{GrayImage, Luma, Rgb, RgbImage};

    /// A picture of 3 × 2 pixels, all different.
    fn picture(seed: u8) -> RgbImage {
        RgbImage::from_fn(3, 2, |x, y| {
            let pixel = (y * 3 + x) as u8;
            Rgb([seed + pixel, seed + 50 + pixel, seed + 100 + pixel])
        })
    }

    fn save(root: &Path, file: &str, image: &RgbImage) {
        let path = root.join(file);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        image.save(path).unwrap();
    }

    #[test]
    fn pictures_of_two_trees_become_planes() {
        let root = tempfile::tempdir().unwrap();
        let root = root.path();
        save(root, "train/dog/b.png", &picture(10));
        save(root, "train/dog/a.PNG", &picture(20));
        save(root, "train/cat/x.png", &picture(30));
        save(root, "test/dog/y.png", &picture(40));
        fs::write(root.join("train/dog/notes.txt"), "not a picture").unwrap();
        fs::write(root.join("train/dog/.hidden.png"), "nor this").unwrap();

        let Original { train, test, files } = read(root, [3, 2, 3]).unwrap();
        assert_eq!(train.classes(), ["cat", "dog"]);
        assert_eq!((train.labels(), test.labels()), (&[0, 1, 1][..], &[1][..]));
        let planes: Vec<u8> = (30..36).chain(80..86).chain(130..136).collect();
        assert_eq!(train.image(0), planes);
        assert_eq!((train.image(1)[0], train.image(2)[0]), (20, 10));
        assert_eq!(test.image(0)[6], 90);
        let names: Vec<&str> = files.iter().map(|file| &*file.name).collect();
        let expected = ["train/cat/x.png", "train/dog/a.PNG", "train/dog/b.png", "test/dog/y.png"];
        assert_eq!(names, expected);
    }

    #[test]
    fn one_tree_is_split_by_class_and_always_alike() {
        let root = tempfile::tempdir().unwrap();
        for index in 0..10 {
            save(root.path(), &format!("a/{index}.png"), &picture(index));
            save(root.path(), &format!("b/{index}.png"), &picture(100 + index));
        }
        let first = read(root.path(), [1, 2, 3]).unwrap();
        assert_eq!(first.train.class_counts(), [8, 8]);
        assert_eq!(first.test.class_counts(), [2, 2]);
        assert_eq!(first.test, read(root.path(), [1, 2, 3]).unwrap().test);
    }

    #[test]
    fn pictures_are_resized_and_made_grey() {
        let flat = DynamicImage::from(RgbImage::from_pixel(8, 4, Rgb([200, 100, 50])));
        let mut out = [0; 12];
        planar_into(&flat, [3, 2, 2], &mut out);
        assert_eq!(out, [200, 200, 200, 200, 100, 100, 100, 100, 50, 50, 50, 50]);

        let grey = DynamicImage::from(GrayImage::from_fn(2, 1, |x, _| Luma([x as u8 * 90])));
        let mut out = [0; 6];
        planar_into(&grey, [3, 1, 2], &mut out);
        assert_eq!(out, [0, 90, 0, 90, 0, 90]);
    }

    #[test]
    fn jpeg_is_read_close_to_what_was_drawn() {
        let root = tempfile::tempdir().unwrap();
        let flat = RgbImage::from_pixel(16, 16, Rgb([180, 90, 30]));
        save(root.path(), "train/a/1.jpg", &flat);
        save(root.path(), "test/a/1.jpeg", &flat);
        let original = read(root.path(), [3, 8, 8]).unwrap();
        let image = original.test.image(0);
        for (plane, expected) in image.chunks(64).zip([180u8, 90, 30]) {
            assert!(plane.iter().all(|pixel| pixel.abs_diff(expected) < 6), "{plane:?}");
        }
    }

    #[test]
    fn unfit_folders_are_refused() {
        let root = tempfile::tempdir().unwrap();
        let read = || read(root.path(), [3, 2, 3]);
        assert!(matches!(read(), Err(DataError::Folder { .. })));
        save(root.path(), "train/a/1.png", &picture(0));
        save(root.path(), "test/b/1.png", &picture(0));
        let error = read().unwrap_err().to_string();
        assert!(error.contains("class `b` has no training pictures"), "{error}");

        fs::write(root.path().join("train/a/2.png"), "no picture at all").unwrap();
        let error = read().unwrap_err().to_string();
        assert!(error.contains("2.png"), "{error}");
    }

    #[test]
    fn unfit_sizes_are_refused() {
        for size in [[2, 8, 8], [3, 0, 8], [3, 8, usize::MAX]] {
            assert!(matches!(read(Path::new("."), size), Err(DataError::Option { .. })));
        }
    }

    #[test]
    fn a_missing_folder_is_named() {
        let missing = Path::new("no-such-folder");
        assert!(read(missing, [3, 2, 3]).unwrap_err().to_string().contains("no-such-folder"));
    }
}
