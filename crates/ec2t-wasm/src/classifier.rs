//! A model with what is needed to show it pictures; nothing here knows a browser.

use ec2t_data::{DataError, Fit, fit_rgba};
use ec2t_format::FormatError;
use ec2t_infer::{LoadError, Model, Prediction, RunError, builtin};

/// A model, and what a page says about it.
#[derive(Debug)]
pub struct Classifier {
    model: Model,
    fit: Fit,
    facts: Facts,
}

/// What a page says about a model.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Facts {
    /// Size of the file in bytes.
    pub bytes: usize,
    /// Number of weights and other values.
    pub parameters: usize,
    /// Share of zeros among the parameters, 0…1.
    pub sparsity: f64,
}

/// A file that is no model for pictures, or a picture that can't be used.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ClassifyError {
    /// The bytes are no whole and well-formed `.ec2t` file.
    #[error(transparent)]
    Format(#[from] FormatError),
    /// The network can't be run here.
    #[error(transparent)]
    Load(#[from] LoadError),
    /// The metadata of the file, or a picture, are not as they must be.
    #[error(transparent)]
    Picture(#[from] DataError),
    /// The image has not the size that the model takes.
    #[error(transparent)]
    Run(#[from] RunError),
    /// There is no such model in `ec2t-infer`.
    #[error("no model `{0}` is part of this page")]
    NoBuiltin(String),
}

impl Classifier {
    /// Reads an `.ec2t` file.
    ///
    /// # Errors
    /// Where it is damaged, can't be run, or takes something else than pictures.
    pub fn new(file: &[u8]) -> Result<Self, ClassifyError> {
        let network = ec2t_format::read(file)?;
        let facts = Facts {
            bytes: file.len(),
            parameters: network.graph().parameter_count(),
            sparsity: network.sparsity(),
        };
        let model = Model::new(network)?;
        let fit = Fit::of_metadata(model.metadata())?;
        Ok(Self { model, fit, facts })
    }

    /// A model of [`ec2t_infer::builtin`].
    ///
    /// # Errors
    /// [`ClassifyError::NoBuiltin`].
    pub fn builtin(name: &str) -> Result<Self, ClassifyError> {
        let file = builtin::file(name);
        Self::new(file.ok_or_else(|| ClassifyError::NoBuiltin(name.to_owned()))?)
    }

    /// The model.
    pub fn model(&self) -> &Model {
        &self.model
    }

    /// What a page says about it.
    pub fn facts(&self) -> Facts {
        self.facts
    }

    /// Brings a decoded picture, of so many rows and columns of red, green, blue and
    /// transparency, to the pixels `[C, H, W]` that the model takes, as `ec2t run` does.
    ///
    /// # Errors
    /// [`ClassifyError::Picture`] where there are not so many pixels, or the model takes
    /// images of other than 1 or 3 channels.
    pub fn pixels(&self, rgba: Vec<u8>, picture: [u32; 2]) -> Result<Vec<u8>, ClassifyError> {
        let shape = self.model.input_shape();
        let size = [shape.channels, shape.height, shape.width];
        Ok(fit_rgba(rgba, picture, size, self.fit)?)
    }

    /// Logits of one image of pixels `[C, H, W]`, one for each class.
    ///
    /// # Errors
    /// [`ClassifyError::Run`] where it is not one image.
    pub fn logits(&self, pixels: &[u8]) -> Result<Vec<f32>, ClassifyError> {
        Ok(self.model.session().run_pixels(pixels)?.to_vec())
    }

    /// The `top` most probable classes of one image of pixels `[C, H, W]`.
    ///
    /// # Errors
    /// [`ClassifyError::Run`] where it is not one image.
    pub fn classify(&self, pixels: &[u8], top: usize) -> Result<Vec<Prediction>, ClassifyError> {
        Ok(self.model.classify(pixels, top)?)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_cat_is_a_cat() {
        let picture = include_bytes!("../../ec2t-infer/models/cat.png");
        let picture = image::load_from_memory(picture).unwrap().into_rgba8();
        let size = [picture.height(), picture.width()];
        let classifier = Classifier::builtin("cifar10").unwrap();
        let pixels = classifier.pixels(picture.into_raw(), size).unwrap();
        let logits = classifier.logits(&pixels).unwrap();
        let top = classifier.classify(&pixels, 5).unwrap();
        assert_eq!((logits.len(), top.len()), (10, 5));
        assert_eq!(top[0].name.as_deref(), Some("cat"));
        assert!(logits.iter().all(|logit| *logit <= logits[top[0].class]), "{logits:?}");
    }

    #[test]
    fn facts_are_those_of_the_file() {
        let facts = Classifier::builtin("cifar10").unwrap().facts();
        assert_eq!((facts.bytes, facts.parameters), (42_106, 269_706));
        assert!((facts.sparsity - 0.64215).abs() < 5e-6, "{facts:?}");
    }

    #[test]
    fn what_cannot_be_used_is_named() {
        let error = Classifier::new(b"GIF89a").unwrap_err().to_string();
        assert!(error.contains("not an .ec2t file"), "{error}");
        let error = Classifier::builtin("imagenet").unwrap_err().to_string();
        assert!(error.contains("`imagenet`"), "{error}");
        let classifier = Classifier::builtin("cifar10").unwrap();
        let error = classifier.pixels(vec![0; 7], [1, 2]).unwrap_err().to_string();
        assert!(error.contains("found 7 bytes"), "{error}");
        let error = classifier.classify(&[0; 3], 5).unwrap_err().to_string();
        assert!(error.contains("expected 3072 values"), "{error}");
    }
}
