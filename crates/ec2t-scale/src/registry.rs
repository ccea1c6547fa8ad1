//! Architectures by name.
//!
//! The registry is the only place that maps names to builders. Whoever needs a
//! network calls [`build`] and from then on reads the graph.

use ec2t_format::Graph;
use ec2t_format::graph::{GraphError, Shape};
use serde::{Deserialize, Serialize};

use crate::arch::{ARCHITECTURES, Spec};
use crate::scaling::Scaling;

/// What can be chosen about an architecture.
///
/// ```
/// use ec2t_scale::{ArchOptions, Scaling, build};
///
/// let scaling = Scaling { depth: 1.4, width: 1.2, phi: 3.5, ..Scaling::default() };
/// let options = ArchOptions { classes: 100, scaling, ..ArchOptions::default() };
/// assert_eq!(build("micronet", &options)?.parameter_count(), 8_055_124);
/// # Ok::<(), ec2t_scale::ArchError>(())
/// ```
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct ArchOptions {
    /// Number of classes; 10 unless given.
    pub classes: usize,
    /// Shape of one image, whatever the resolution; the architecture's usual one
    /// with its sides scaled where `None`.
    pub input: Option<Shape>,
    /// Multipliers of depth, width and resolution.
    pub scaling: Scaling,
}

impl Default for ArchOptions {
    fn default() -> Self {
        Self { classes: 10, input: None, scaling: Scaling::default() }
    }
}

/// An architecture that cannot be built as asked.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum ArchError {
    /// There is no architecture of this name.
    #[error("unknown architecture `{name}`; known are {}", names().collect::<Vec<_>>().join(", "))]
    Unknown {
        /// The name given.
        name: String,
    },
    /// Multipliers were given to an architecture of fixed size.
    #[error(
        "architecture `{name}` has a fixed size and takes no scaling, \
         but depth {}, width {}, resolution {} and phi {} were given",
        scaling.depth, scaling.width, scaling.resolution, scaling.phi
    )]
    NotScalable {
        /// Name of the architecture.
        name: &'static str,
        /// The scaling given.
        scaling: Scaling,
    },
    /// The multipliers are negative, not finite, zero or far too large.
    #[error(
        "depth {}^{phi}, width {}^{phi} and resolution {}^{phi} must be over 0 and at most 32",
        .0.depth, .0.width, .0.resolution, phi = .0.phi
    )]
    Scaling(Scaling),
    /// The layers do not fit the input or the number of classes.
    #[error("architecture `{name}`: {source}")]
    Graph {
        /// Name of the architecture.
        name: &'static str,
        /// What does not fit.
        source: GraphError,
    },
}

/// The names that [`build`] knows.
pub fn names() -> impl Iterator<Item = &'static str> {
    ARCHITECTURES.iter().map(|arch| arch.name)
}

/// Builds the graph of an architecture.
///
/// # Errors
/// Where the name is unknown, the scaling is unusable or not wanted, or the
/// layers do not fit the input.
pub fn build(name: &str, options: &ArchOptions) -> Result<Graph, ArchError> {
    let arch = ARCHITECTURES
        .iter()
        .find(|arch| arch.name == name)
        .ok_or_else(|| ArchError::Unknown { name: name.into() })?;
    let scaling = options.scaling;
    if !scaling.is_usable() {
        return Err(ArchError::Scaling(scaling));
    }
    if !arch.scalable && !scaling.is_identity() {
        return Err(ArchError::NotScalable { name: arch.name, scaling });
    }
    let spec = Spec {
        name: arch.name,
        input: options.input.unwrap_or_else(|| scaling.image(arch.input)),
        classes: options.classes,
        scaling,
    };
    (arch.build)(&spec).map_err(|source| ArchError::Graph { name: arch.name, source })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_name_builds_a_graph_of_that_name() {
        for name in names() {
            let graph = build(name, &ArchOptions { classes: 7, ..ArchOptions::default() }).unwrap();
            assert_eq!(graph.name, name);
            assert_eq!(graph.output_shape().unwrap(), Shape::new(7, 1, 1), "{name}");
        }
    }

    #[test]
    fn an_unknown_name_lists_the_known_ones() {
        let error = build("resnet21", &ArchOptions::default()).unwrap_err().to_string();
        assert!(error.contains("`resnet21`"), "{error}");
        for name in names() {
            assert!(error.contains(name), "{error}");
        }
    }

    #[test]
    fn fixed_architectures_refuse_multipliers() {
        let scaling = Scaling { width: 1.2, ..Scaling::default() };
        let options = ArchOptions { scaling, ..ArchOptions::default() };
        for name in ["digits-cnn", "resnet18", "resnet50"] {
            assert_eq!(build(name, &options), Err(ArchError::NotScalable { name, scaling }));
        }
    }

    #[test]
    fn unusable_multipliers_are_refused() {
        let scaling = Scaling { depth: f64::NAN, ..Scaling::default() };
        let options = ArchOptions { scaling, ..ArchOptions::default() };
        assert!(matches!(build("micronet", &options), Err(ArchError::Scaling(_))));
    }

    #[test]
    fn an_input_that_is_too_small_is_named() {
        let input = Some(Shape::new(1, 4, 4));
        let error = build("lenet5", &ArchOptions { input, ..ArchOptions::default() }).unwrap_err();
        assert!(error.to_string().contains("conv2"), "{error}");
    }
}
