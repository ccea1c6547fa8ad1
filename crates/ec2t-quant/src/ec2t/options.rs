//! Hyper-parameters of the method.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use super::{Ec2tError, WeightStatistics};

/// Which rule assigns weights to centroids.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Method {
    /// Entropy-constrained trained ternarization.
    #[default]
    Ec2t,
    /// The same by the rules of its reference implementation, with its mistakes: those
    /// of shares and λ, and a gradient of the negative centroid with the wrong sign.
    Reference,
    /// Trained ternary quantization (Zhu et al. 2017): thresholds are a part of the
    /// largest magnitude, centroids are trained.
    Ttq,
    /// Ternary weight networks (Li et al. 2016): thresholds are a multiple of the mean
    /// magnitude, centroids are the mean beyond them.
    Twn,
}

impl Method {
    /// Whether an entropy constraint decides, of strength γ.
    pub fn is_constrained(self) -> bool {
        matches!(self, Method::Ec2t | Method::Reference)
    }

    const ALL: [Self; 4] = [Self::Ec2t, Self::Reference, Self::Ttq, Self::Twn];

    fn name(self) -> &'static str {
        match self {
            Method::Ec2t => "ec2t",
            Method::Reference => "reference",
            Method::Ttq => "ttq",
            Method::Twn => "twn",
        }
    }
}

/// The name, as in settings.
impl fmt::Display for Method {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

impl FromStr for Method {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let found = Method::ALL.into_iter().find(|method| method.name() == text);
        found
            .ok_or_else(|| format!("unknown method `{text}`; expected ec2t, reference, ttq or twn"))
    }
}

/// How the centroids of a layer begin.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum InitRule {
    /// A fixed part of the extreme weight of each sign (thesis, eq. 4.16).
    #[default]
    MaxScaling,
    /// The three centroids nearest to the weights in the least-squares sense,
    /// one of them fixed at 0.
    Kmeans,
}

/// Hyper-parameters of EC2T, or of a method to compare with, the same for all layers of
/// a network.
///
/// An option that is left out of a serialized form has its default; an unknown
/// one is an error.
///
/// ```
/// use ec2t_quant::ec2t::Ec2tOptions;
///
/// let options = Ec2tOptions { gamma: 0.2, ..Ec2tOptions::default() };
/// assert!(options.validate().is_ok());
///
/// let negative = Ec2tOptions { gamma: -0.2, ..options };
/// let error = negative.validate().unwrap_err();
/// assert_eq!(error.to_string(), "gamma must be from 0 to 1, found -0.2");
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Ec2tOptions {
    /// Which rule assigns weights. The baselines read `threshold` alone.
    pub method: Method,
    /// `t` of the baselines: thresholds are this multiple of the largest magnitude for
    /// [`Method::Ttq`], below 1, and of the mean magnitude for [`Method::Twn`], where
    /// 0.7 is usual.
    pub threshold: f64,
    /// How the centroids begin.
    pub init: InitRule,
    /// `s`: first magnitude of a centroid as a part of the extreme weight of
    /// its sign, above 0 and at most 1. Larger means sparser. Unused by
    /// [`InitRule::Kmeans`].
    pub init_scale: f64,
    /// `γ`: strength of the entropy constraint as a part of its maximum, 0 to
    /// 1. Larger means sparser; 0 is plain nearest-neighbour assignment.
    pub gamma: f64,
    /// `ς`: what share of the constraint even the smallest layer keeps, from 0
    /// to below 1; see [`size_decay`](super::size_decay).
    pub sustain: f64,
    /// Least magnitude of a centroid in standard deviations of the layer's
    /// weights; 0 lets centroids collapse.
    pub centroid_floor: f64,
    /// What counts as the extreme weight of a sign: the quantile of the magnitudes of
    /// that sign, above 0; 1 is the extreme itself, which a single stray weight decides.
    pub extreme_quantile: f64,
    /// What part of the clusters' shares is that of the step before, 0 to below 1: the
    /// constraint then takes their exponential mean over steps. 0 is the shares of the
    /// step alone. [`Method::Reference`] knows nothing of it.
    pub share_smoothing: f64,
}

impl Default for Ec2tOptions {
    fn default() -> Self {
        Self {
            method: Method::Ec2t,
            threshold: 0.05,
            init: InitRule::MaxScaling,
            init_scale: 0.3,
            gamma: 0.15,
            sustain: 0.05,
            // Half of the weights of a Gaussian layer lie nearer to 0.
            centroid_floor: 0.675,
            extreme_quantile: 1.0,
            share_smoothing: 0.0,
        }
    }
}

impl Ec2tOptions {
    /// What more zeros come from: γ, or the threshold of a baseline.
    pub fn pull_mut(&mut self) -> &mut f64 {
        match self.method.is_constrained() {
            true => &mut self.gamma,
            false => &mut self.threshold,
        }
    }

    /// Checks that every number lies in its range.
    ///
    /// # Errors
    /// [`Ec2tError::OutOfRange`] for the first that does not.
    pub fn validate(&self) -> Result<(), Ec2tError> {
        let &Self { method, threshold, init_scale, gamma, sustain, centroid_floor, .. } = self;
        let &Self { extreme_quantile: quantile, share_smoothing: smoothing, .. } = self;
        let (threshold_in_range, range) = match method {
            Method::Ec2t | Method::Reference | Method::Ttq => {
                ((0.0..1.0).contains(&threshold), "from 0 to below 1")
            }
            Method::Twn => (threshold >= 0.0 && threshold.is_finite(), "finite and at least 0"),
        };
        let checks = [
            ("threshold", threshold, threshold_in_range, range),
            ("init_scale", init_scale, 0.0 < init_scale && init_scale <= 1.0, "above 0, at most 1"),
            ("gamma", gamma, (0.0..=1.0).contains(&gamma), "from 0 to 1"),
            ("sustain", sustain, (0.0..1.0).contains(&sustain), "from 0 to below 1"),
            (
                "centroid_floor",
                centroid_floor,
                centroid_floor >= 0.0 && centroid_floor.is_finite(),
                "finite and at least 0",
            ),
            ("extreme_quantile", quantile, 0.0 < quantile && quantile <= 1.0, "above 0, at most 1"),
            ("share_smoothing", smoothing, (0.0..1.0).contains(&smoothing), "from 0 to below 1"),
        ];
        match checks.into_iter().find(|&(_, _, valid, _)| !valid) {
            Some((name, value, _, range)) => Err(Ec2tError::OutOfRange { name, value, range }),
            None => Ok(()),
        }
    }

    /// γ·`delta`: strength of the constraint on a layer, as a part of its maximum.
    ///
    /// # Errors
    /// [`Ec2tError::OutOfRange`] where `delta` is not from 0 to 1, or an option is
    /// out of range.
    pub fn strength(&self, delta: f64) -> Result<f64, Ec2tError> {
        self.validate()?;
        match (0.0..=1.0).contains(&delta) {
            true => Ok(self.gamma * delta),
            false => {
                let range = "from 0 to 1";
                Err(Ec2tError::OutOfRange { name: "delta", value: delta, range })
            }
        }
    }

    /// Least magnitude of a centroid in a layer.
    pub fn floor(&self, statistics: &WeightStatistics) -> f32 {
        let factor = match self.method {
            Method::Ec2t | Method::Reference => self.centroid_floor,
            // Just enough to keep a centroid from 0.
            Method::Ttq | Method::Twn => f32::EPSILON.into(),
        };
        (factor * statistics.std) as f32
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn defaults_are_valid() {
        assert_eq!(Ec2tOptions::default().validate(), Ok(()));
    }

    #[test]
    fn each_option_is_checked_by_name() {
        let default = Ec2tOptions::default();
        let name_at_fault = |options: Ec2tOptions| match options.validate() {
            Err(Ec2tError::OutOfRange { name, .. }) => name,
            other => panic!("{other:?}"),
        };
        for bad in [0.0, 1.5, f64::NAN] {
            assert_eq!(name_at_fault(Ec2tOptions { init_scale: bad, ..default }), "init_scale");
        }
        for bad in [-0.1, 1.1, f64::NAN] {
            assert_eq!(name_at_fault(Ec2tOptions { gamma: bad, ..default }), "gamma");
        }
        for bad in [-0.1, 1.0, f64::NAN] {
            assert_eq!(name_at_fault(Ec2tOptions { sustain: bad, ..default }), "sustain");
        }
        for bad in [-0.1, f64::INFINITY, f64::NAN] {
            let options = Ec2tOptions { centroid_floor: bad, ..default };
            assert_eq!(name_at_fault(options), "centroid_floor");
        }
        for bad in [0.0, 1.1, f64::NAN] {
            let options = Ec2tOptions { extreme_quantile: bad, ..default };
            assert_eq!(name_at_fault(options), "extreme_quantile");
        }
        for bad in [-0.1, 1.0, f64::NAN] {
            let options = Ec2tOptions { share_smoothing: bad, ..default };
            assert_eq!(name_at_fault(options), "share_smoothing");
        }
    }

    #[test]
    fn methods_are_written_as_in_settings() {
        for method in Method::ALL {
            assert_eq!(serde_json::to_value(method).unwrap(), method.to_string());
            assert_eq!(method.to_string().parse(), Ok(method));
        }
        assert!("tqt".parse::<Method>().unwrap_err().contains("unknown method `tqt`"));
    }

    #[test]
    fn serialized_form_is_partial_but_strict() {
        let options: Ec2tOptions =
            serde_json::from_str(r#"{"init": "kmeans", "gamma": 0}"#).unwrap();
        let expected = Ec2tOptions { init: InitRule::Kmeans, gamma: 0.0, ..Default::default() };
        assert_eq!(options, expected);
        let text = serde_json::to_string(&options).unwrap();
        assert_eq!(serde_json::from_str::<Ec2tOptions>(&text).unwrap(), options);
        assert!(serde_json::from_str::<Ec2tOptions>(r#"{"gama": 0.1}"#).is_err());
    }
}
