//! Runs `.ec2t` models in a browser, on WebAssembly.
//!
//! [`Classifier`] is plain Rust, and gives on any machine what it gives in a page. The types
//! below are what JavaScript sees of it, through wasm-bindgen: in a script that
//! `wasm-bindgen --target no-modules` has written,
//!
//! ```js
//! await wasm_bindgen({ module_or_path: bytes });
//! const model = wasm_bindgen.PageModel.builtin("cifar10");
//! const pixels = model.pixels(rgba, width, height); // of ImageData
//! for (const guess of model.classify(pixels, 5)) console.log(guess.name, guess.probability);
//! ```
//!
//! Errors are thrown as JavaScript's `Error`, with the text that the program `ec2t` would
//! print. The page in `page/` uses this; `cargo xtask wasm` builds and tests both.
#![forbid(unsafe_code)]

mod classifier;

pub use classifier::{Classifier, ClassifyError, Facts};

use ec2t_infer::Prediction;
use wasm_bindgen::JsError;
use wasm_bindgen::prelude::wasm_bindgen;

/// A [`Classifier`] for JavaScript.
#[wasm_bindgen]
#[derive(Debug)]
pub struct PageModel(Classifier);

/// A class that a picture may show.
#[wasm_bindgen]
#[derive(Debug)]
pub struct Guess(Prediction);

#[wasm_bindgen]
impl PageModel {
    /// Reads an `.ec2t` file.
    ///
    /// # Errors
    /// Those of [`Classifier::new`].
    #[wasm_bindgen(constructor)]
    pub fn new(file: &[u8]) -> Result<PageModel, JsError> {
        Ok(Self(Classifier::new(file)?))
    }

    /// A model that is part of the module.
    ///
    /// # Errors
    /// Those of [`Classifier::builtin`].
    pub fn builtin(name: &str) -> Result<PageModel, JsError> {
        Ok(Self(Classifier::builtin(name)?))
    }

    /// The pixels that the model takes of a picture, whose own are those of `ImageData`.
    ///
    /// # Errors
    /// Those of [`Classifier::pixels`].
    pub fn pixels(&self, rgba: Vec<u8>, width: u32, height: u32) -> Result<Vec<u8>, JsError> {
        Ok(self.0.pixels(rgba, [height, width])?)
    }

    /// Logits of one image.
    ///
    /// # Errors
    /// Those of [`Classifier::logits`].
    pub fn logits(&self, pixels: &[u8]) -> Result<Vec<f32>, JsError> {
        Ok(self.0.logits(pixels)?)
    }

    /// The most probable classes of one image.
    ///
    /// # Errors
    /// Those of [`Classifier::classify`].
    pub fn classify(&self, pixels: &[u8], top: usize) -> Result<Vec<Guess>, JsError> {
        Ok(self.0.classify(pixels, top)?.into_iter().map(Guess).collect())
    }

    /// Name of the network.
    #[wasm_bindgen(getter)]
    pub fn name(&self) -> String {
        self.0.model().graph().name.clone()
    }

    /// Number of classes.
    #[wasm_bindgen(getter)]
    pub fn classes(&self) -> usize {
        self.0.model().output_len()
    }

    /// Channels, height and width of an image.
    #[wasm_bindgen(getter)]
    pub fn input(&self) -> Vec<usize> {
        let shape = self.0.model().input_shape();
        vec![shape.channels, shape.height, shape.width]
    }

    /// Size of the file in bytes.
    #[wasm_bindgen(getter)]
    pub fn bytes(&self) -> usize {
        self.0.facts().bytes
    }

    /// Number of weights and other values.
    #[wasm_bindgen(getter)]
    pub fn parameters(&self) -> usize {
        self.0.facts().parameters
    }

    /// Share of zeros among the parameters, 0…1.
    #[wasm_bindgen(getter)]
    pub fn sparsity(&self) -> f64 {
        self.0.facts().sparsity
    }
}

#[wasm_bindgen]
impl Guess {
    /// Position of the class among the logits.
    #[wasm_bindgen(getter)]
    pub fn class(&self) -> usize {
        self.0.class
    }

    /// Name of the class, if the model has names.
    #[wasm_bindgen(getter)]
    pub fn name(&self) -> Option<String> {
        self.0.name.clone()
    }

    /// Probability, 0…1.
    #[wasm_bindgen(getter)]
    pub fn probability(&self) -> f32 {
        self.0.probability
    }
}
