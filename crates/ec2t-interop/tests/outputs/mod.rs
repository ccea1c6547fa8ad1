//! What the scripts beside the tests have computed: images `[N, C, H, W]` and their logits.

use std::path::Path;

use ec2t_format::{DenseTensor, Network};
use ec2t_infer::Model;
use ec2t_interop::StateDict;

/// Largest difference over the largest logit.
pub(crate) const TOLERANCE: f32 = 1e-4;

/// A file of images and logits.
pub(crate) struct Outputs(StateDict);

impl Outputs {
    pub(crate) fn open(path: &Path) -> Self {
        Self(StateDict::open(path).unwrap())
    }

    /// The logits, `[N, classes]`.
    pub(crate) fn logits(&self) -> &DenseTensor {
        self.0.get("logits").unwrap()
    }

    /// The largest difference of a network's logits from these, over the largest of these.
    pub(crate) fn difference(&self, network: Network) -> f32 {
        let (images, expected) = (self.0.get("images").unwrap(), self.logits().data());
        let model = Model::new(network).unwrap();
        let logits = model.run(images.data(), images.shape()[0]).unwrap();
        assert_eq!(logits.len(), expected.len());
        let apart = logits.iter().zip(expected).map(|(a, b)| (a - b).abs());
        apart.fold(0.0, f32::max) / expected.iter().fold(0.0, |most: f32, x| most.max(x.abs()))
    }
}
