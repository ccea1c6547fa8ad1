//! The mathematics of entropy-constrained trained ternarization (EC2T), on
//! plain slices.
//!
//! A ternarized layer keeps two copies of its weights: `W`, the background
//! weights that an optimizer moves, and `T`, the ternary weights that the
//! network sees. Each weight has a code that says which of the three centroids
//! −a_n, 0 and +a_p stands for it; `a_n` and `a_p` are positive magnitudes, one
//! pair per layer, and trained too. The code of a weight `w` is the cluster `c`
//! of the least cost
//!
//! ```text
//! C_c(w) = (w − c)² + λ·I_c        I_c = −log₂ P_c        (thesis, eq. 4.4)
//! ```
//!
//! so that λ trades distance for information: a large λ moves weights to the
//! most probable cluster, which is always that of the zeros.
//!
//! | module | what it does | source |
//! |---|---|---|
//! | [`options`](Ec2tOptions) | hyper-parameters and their ranges | |
//! | [`statistics`](WeightStatistics) | extremes and deviation of `W` | |
//! | [`centroids`](Centroids) | initial centroids, their floor | eq. 4.16 |
//! | [`entropy`](Shares) | cluster shares, information, λ, δ | eqs. 4.8, 4.9, 4.12–4.14 |
//! | [`assign`](Thresholds) | thresholds and codes, in closed form | eq. 4.4 |
//! | [`gradient`](background_gradient) | gradients of `W`, `a_n` and `a_p` | eqs. 4.17, 4.18 |
//! | [`layer`](TernaryLayer) | one layer's state and training step | algorithm 2 |
//! | `reference`, `baselines` | other rules, to compare with: see [`Method`] | |
//!
//! Codes are −1, 0 and +1 as in [`ec2t_format::TernaryTensor`], in the order of
//! the weights; shapes do not matter here. Sums and thresholds are computed in
//! `f64`, and every result depends on the input alone. The plain functions are
//! the definition; training calls [`TernaryLayer::learn`] and
//! [`TernaryLayer::tune`], which do the same in fewer passes, with vectors.
//!
//! Sources: D. Becking, master's thesis, 2020, whose equation numbers are used
//! throughout; A. Marban, D. Becking, S. Wiedemann and W. Samek, *Learning
//! Sparse & Ternary Neural Networks with Entropy-Constrained Trained
//! Ternarization (EC2T)*, 2020. Each module names where it differs from the
//! reference implementation, and why.

mod assign;
mod baselines;
mod centroids;
mod entropy;
mod error;
mod gradient;
mod layer;
mod options;
mod reference;
mod statistics;
#[cfg(test)]
mod testing;

pub use assign::{Constraint, Requantized, Thresholds, assign};
pub use centroids::Centroids;
pub use entropy::{Information, Shares, lambda_max, size_decay};
pub use error::Ec2tError;
pub use gradient::{background_gradient, centroid_gradient};
pub use layer::{LayerMoments, LearningStep, TernaryLayer};
pub use options::{Ec2tOptions, InitRule, Method};
pub use statistics::WeightStatistics;
