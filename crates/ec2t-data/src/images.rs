//! Where the images of a dataset are: in memory, or in files that are decoded
//! each time they are used.
//!
//! Files are decoded on threads of their own. In training the next batches are
//! made while a step runs on the threads of the global pool; a thread of that
//! pool which waits for others would otherwise take up a picture in between,
//! and all would wait for it.

use std::borrow::Cow;
use std::ops::Range;
use std::path::{Path, PathBuf};
use std::sync::{Arc, OnceLock};

use rayon::prelude::*;
use rayon::{ThreadPool, ThreadPoolBuilder};

use crate::error::DataError;
use crate::picture::{Fit, Picture};

/// The images of a dataset.
#[derive(Clone, PartialEq)]
pub(crate) enum Images {
    /// Planar bytes, one image after the other.
    Bytes(Vec<u8>),
    /// Pictures of any size.
    Files(Files),
}

/// Picture files below a folder.
#[derive(Clone, PartialEq)]
pub(crate) struct Files {
    pub(crate) root: Arc<Path>,
    /// Paths below the root.
    pub(crate) names: Vec<String>,
    /// How they become images, where they are not varied.
    pub(crate) fit: Fit,
}

impl Files {
    /// The picture at `index`, decoded.
    pub(crate) fn decode(&self, index: usize, channels: usize) -> Result<Picture, DataError> {
        Picture::decode(&self.path(index), channels)
    }

    fn path(&self, index: usize) -> PathBuf {
        self.root.join(&self.names[index])
    }
}

impl Images {
    /// The images of a range, `[C, H, W]` bytes each.
    pub(crate) fn range(
        &self,
        range: Range<usize>,
        [channels, height, width]: [usize; 3],
    ) -> Result<Cow<'_, [u8]>, DataError> {
        let len = channels * height * width;
        let files = match self {
            Images::Bytes(bytes) => {
                return Ok(Cow::Borrowed(&bytes[range.start * len..range.end * len]));
            }
            Images::Files(files) => files,
        };
        let mut images = vec![0; range.len() * len];
        in_pool(|| {
            images.par_chunks_exact_mut(len).zip(range).try_for_each(|(out, index)| {
                files.decode(index, channels)?.fit(files.fit, [height, width], out);
                Ok::<(), DataError>(())
            })
        })?;
        Ok(Cow::Owned(images))
    }

    /// Those at `indices`, in that order.
    pub(crate) fn subset(&self, indices: &[usize], image_len: usize) -> Self {
        match self {
            Images::Bytes(bytes) => {
                let image = |&index: &usize| &bytes[index * image_len..][..image_len];
                Images::Bytes(indices.iter().flat_map(image).copied().collect())
            }
            Images::Files(Files { root, names, fit }) => {
                let names = indices.iter().map(|&index| names[index].clone()).collect();
                Images::Files(Files { root: root.clone(), names, fit: *fit })
            }
        }
    }
}

/// Runs work on the threads that decode, one for each processor.
pub(crate) fn in_pool<T: Send>(work: impl FnOnce() -> T + Send) -> T {
    static POOL: OnceLock<ThreadPool> = OnceLock::new();
    let start = || ThreadPoolBuilder::new().thread_name(|i| format!("decoder {i}")).build();
    POOL.get_or_init(|| start().expect("the system gives threads")).install(work)
}
