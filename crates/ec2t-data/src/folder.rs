//! Folders of pictures: one folder per class, PNG or JPEG.
//!
//! `train/CLASS/*.png` and `test/CLASS/*.png` are taken as they are; `val` stands
//! in for a `test` that is not there, as with ImageNet. Where there is neither, or
//! the classes are in the folder itself, a fifth of the
//! pictures of each class is for testing, the same ones always. Classes and
//! pictures are in the order of their names, so labels do not depend on the
//! file system. Files of other kinds are passed over, and so is everything
//! whose name begins with a dot.
//!
//! Pictures are decoded when they are used, each time anew, so a folder may be
//! larger than memory. Each becomes grey (1 channel) or RGB (3 channels) of the
//! given size, as the options say (see [`Fit`]); where training varies what it
//! cuts out (`resized_crop`), it cuts from the picture as it is in the file.

use std::fs;
use std::path::Path;

use crate::dataset::{Dataset, split_test};
use crate::error::DataError;
use crate::images::Files;
use crate::picture::{Fit, check_size};
use crate::source::{Original, SourceFile};

/// Endings of the files that are read, in lower case.
const PICTURES: [&str; 3] = ["png", "jpg", "jpeg"];

/// One picture of this many is for testing, where none are set apart.
const TEST_SHARE: usize = 5;

/// Lists the pictures below `root`, which become images of `[C, H, W]`.
///
/// # Errors
/// Where there are no classes or no pictures, or a class is in `test` only.
pub fn read(root: &Path, size: [usize; 3], fit: Fit) -> Result<Original, DataError> {
    check_size(size)?;
    let base = if root.join("train").is_dir() { "train/" } else { "" };
    let reader = Reader { root, classes: names(&root.join(base), Path::is_dir)?, size, fit };
    let train = reader.read_tree(base)?;
    let test = ["test/", "val/"].into_iter().find(|test| root.join(test).is_dir());
    let (train, test) = match test.filter(|_| !base.is_empty()) {
        Some(test) => {
            reader.check_test_classes(test)?;
            (train, reader.read_tree(test)?)
        }
        None => split_test(&train, train.len().div_ceil(TEST_SHARE))?,
    };
    let list = |name: &str, data: &Dataset| {
        SourceFile::tree(root, name, data.files().map(str::to_owned).collect())
    };
    let files = vec![list("train", &train), list("test", &test)];
    Ok(Original { train, test, files })
}

/// A picture's path below the root, and its class.
type Picture = (String, u32);

/// The folder and what its pictures become.
struct Reader<'a> {
    root: &'a Path,
    classes: Vec<String>,
    size: [usize; 3],
    fit: Fit,
}

impl Reader<'_> {
    /// The pictures in `base`/CLASS, class after class.
    fn read_tree(&self, base: &str) -> Result<Dataset, DataError> {
        let (names, labels) = self.pictures(base)?.into_iter().unzip();
        let files = Files { root: self.root.into(), names, fit: self.fit };
        Dataset::of_files("folder", self.size, files, labels, self.classes.clone())
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

    fn check_test_classes(&self, base: &str) -> Result<(), DataError> {
        let path = self.root.join(base);
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

#[cfg(test)]
mod tests {
    use super::*;
    use image::{Rgb, RgbImage};

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

        let Original { train, test, files } = read(root, [3, 2, 3], Fit::Stretch).unwrap();
        assert_eq!(train.classes(), ["cat", "dog"]);
        assert_eq!((train.labels(), test.labels()), (&[0, 1, 1][..], &[1][..]));
        let planes: Vec<u8> = (30..36).chain(80..86).chain(130..136).collect();
        assert_eq!(train.image(0).unwrap(), planes);
        assert_eq!(train.images(1..3).unwrap().len(), 36);
        assert_eq!((train.image(1).unwrap()[0], train.image(2).unwrap()[0]), (20, 10));
        assert_eq!(test.image(0).unwrap()[6], 90);
        let names: Vec<&str> = train.files().chain(test.files()).collect();
        let expected = ["train/cat/x.png", "train/dog/a.PNG", "train/dog/b.png", "test/dog/y.png"];
        assert_eq!(names, expected);
        let digest = files[1].digest().unwrap();
        assert_eq!(digest.bytes, fs::metadata(root.join("test/dog/y.png")).unwrap().len());
        save(root, "test/dog/z.png", &picture(40));
        let again = read(root, [3, 2, 3], Fit::Stretch).unwrap().files;
        assert_ne!(again[1].digest().unwrap().sha256, digest.sha256);
        assert_eq!(again[0].digest().unwrap(), files[0].digest().unwrap());
    }

    #[test]
    fn val_is_for_testing_where_there_is_no_test() {
        let root = tempfile::tempdir().unwrap();
        save(root.path(), "train/a/1.png", &picture(0));
        save(root.path(), "val/a/2.png", &picture(9));
        let test = || read(root.path(), [3, 2, 3], Fit::Stretch).unwrap().test.image(0).unwrap()[0];
        assert_eq!(test(), 9);
        save(root.path(), "test/a/3.png", &picture(7));
        assert_eq!(test(), 7);
    }

    #[test]
    fn one_tree_is_split_by_class_and_always_alike() {
        let root = tempfile::tempdir().unwrap();
        for index in 0..10 {
            save(root.path(), &format!("a/{index}.png"), &picture(index));
            save(root.path(), &format!("b/{index}.png"), &picture(100 + index));
        }
        let read = || read(root.path(), [1, 2, 3], Fit::Stretch).unwrap();
        let first = read();
        assert_eq!(first.train.class_counts(), [8, 8]);
        assert_eq!(first.test.class_counts(), [2, 2]);
        assert_eq!(first.test, read().test);
    }

    #[test]
    fn jpeg_is_read_close_to_what_was_drawn() {
        let root = tempfile::tempdir().unwrap();
        let flat = RgbImage::from_pixel(16, 16, Rgb([180, 90, 30]));
        save(root.path(), "train/a/1.jpg", &flat);
        save(root.path(), "test/a/1.jpeg", &flat);
        let original = read(root.path(), [3, 8, 8], Fit::Crop(0.875)).unwrap();
        let image = original.test.image(0).unwrap();
        for (plane, expected) in image.chunks(64).zip([180u8, 90, 30]) {
            assert!(plane.iter().all(|pixel| pixel.abs_diff(expected) < 6), "{plane:?}");
        }
    }

    #[test]
    fn unfit_folders_are_refused() {
        let root = tempfile::tempdir().unwrap();
        let read = || read(root.path(), [3, 2, 3], Fit::Stretch);
        assert!(matches!(read(), Err(DataError::Folder { .. })));
        save(root.path(), "train/a/1.png", &picture(0));
        save(root.path(), "test/b/1.png", &picture(0));
        let error = read().unwrap_err().to_string();
        assert!(error.contains("class `b` has no training pictures"), "{error}");

        fs::write(root.path().join("train/a/2.png"), "no picture at all").unwrap();
        fs::remove_dir_all(root.path().join("test/b")).unwrap();
        save(root.path(), "test/a/1.png", &picture(0));
        let error = read().unwrap().train.images(0..2).unwrap_err().to_string();
        assert!(error.contains("2.png"), "{error}");
    }

    #[test]
    fn a_missing_folder_is_named() {
        let missing = Path::new("no-such-folder");
        assert!(
            read(missing, [3, 2, 3], Fit::Stretch)
                .unwrap_err()
                .to_string()
                .contains("no-such-folder")
        );
    }
}
