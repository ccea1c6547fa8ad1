//! What can go wrong in loading and running a model.

use std::io;
use std::path::PathBuf;

use ec2t_format::FormatError;
use ec2t_kernels::TooLarge;

/// A file or network that cannot be run here.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum LoadError {
    /// The file cannot be read.
    #[error("{}: {source}", path.display())]
    Io {
        /// The file.
        path: PathBuf,
        /// What the operating system says.
        source: io::Error,
    },
    /// The file has been read, but is of no use.
    #[error("{}: {source}", path.display())]
    File {
        /// The file.
        path: PathBuf,
        /// What is wrong with its contents.
        source: Box<LoadError>,
    },
    /// The bytes are no whole and well-formed `.ec2t` file.
    #[error(transparent)]
    Format(#[from] FormatError),
    /// A convolution exceeds what its kernel can address.
    #[error("layer `{layer}`: {source}")]
    Layer {
        /// Name of the layer.
        layer: String,
        /// What is too large.
        source: TooLarge,
    },
    /// The network is to run on bytes, but nothing says what they stand for.
    #[error("nothing says what activations of 8 bits stand for; `ec2t calibrate` finds it")]
    NotCalibrated,
    /// Activations that need more memory than is allowed.
    #[error("one image needs {needed} bytes of activations, allowed are {limit}")]
    Memory {
        /// Bytes needed.
        needed: usize,
        /// Bytes allowed.
        limit: usize,
    },
}

/// Images that do not fit the model.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum RunError {
    /// The number of values is not that of the images.
    #[error("expected {expected} values for {images} images, found {found}")]
    InputLength {
        /// Number of images.
        images: usize,
        /// Values that so many images have.
        expected: usize,
        /// Values given.
        found: usize,
    },
    /// A label is not one of the model's classes.
    #[error("label {label} of image {image} is not one of {classes} classes")]
    Label {
        /// Position of the image.
        image: usize,
        /// Its label.
        label: u32,
        /// Number of classes.
        classes: usize,
    },
    /// Two models that are not for the same images and classes.
    #[error("one model takes {} values and gives {}, the other takes {} and gives {}",
        first[0], first[1], second[0], second[1])]
    Unlike {
        /// Values of an image and classes of the first model.
        first: [usize; 2],
        /// Those of the second.
        second: [usize; 2],
    },
}

/// Checks the number of values of some images.
pub(crate) fn check_length(images: usize, image_len: usize, found: usize) -> Result<(), RunError> {
    let expected = images.saturating_mul(image_len);
    match expected == found {
        true => Ok(()),
        false => Err(RunError::InputLength { images, expected, found }),
    }
}
