//! Trained models that are part of this crate, as the bytes of their files.
//!
//! `models/README.md` says where each is from and how good it is. A program that asks for
//! none is not made larger by them.
//!
//! ```
//! use ec2t_infer::{Model, builtin};
//!
//! let file = builtin::file("cifar10").expect("it is one of them");
//! let model = Model::from_bytes(file)?;
//! assert_eq!(model.graph().classes[3], "cat");
//! # Ok::<(), ec2t_infer::LoadError>(())
//! ```

/// Names and files.
static FILES: [(&str, &[u8]); 1] = [("cifar10", include_bytes!("../models/cifar10.ec2t"))];

/// The names of all models, each that of the dataset whose classes it tells.
pub fn names() -> impl Iterator<Item = &'static str> {
    FILES.iter().map(|(name, _)| *name)
}

/// The `.ec2t` file of the model with this name, if there is one.
pub fn file(name: &str) -> Option<&'static [u8]> {
    FILES.iter().find(|(known, _)| *known == name).map(|(_, file)| *file)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Model;

    #[test]
    fn every_model_has_a_name_for_each_of_its_classes() {
        for name in names() {
            let model = Model::from_bytes(file(name).unwrap()).unwrap();
            assert_eq!(model.graph().classes.len(), model.output_len(), "{name}");
        }
    }

    #[test]
    fn there_are_no_others() {
        assert_eq!(file("imagenet"), None);
    }
}
