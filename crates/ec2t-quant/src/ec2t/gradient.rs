//! Gradients of the background weights and centroids, from `g = ∂loss/∂T`.
//!
//! The assignment itself is passed straight through: codes count as constants.
//!
//! The centroids are magnitudes, and `T = −a_n` in the negative cluster, so that
//! the chain rule gives `∂a_n = −Σ g` there (thesis, eq. 4.17, in its signed
//! form). The reference implementation has `+Σ g`: in a layer whose scale a
//! batch norm cancels, that moves both centroids alike and trains neither. We
//! use the correct sign.
//!
//! Background weights take `g` times the magnitude of their centroid, and `g`
//! alone in the cluster of the zeros (thesis, figure 4.4 and the reference). The
//! thesis's eq. 4.18 has the signed centroid, which would turn the gradient of
//! every negative weight around.

use super::Centroids;

/// Turns `∂loss/∂T` into the gradient of the background weights, in place:
/// times `a_p` for positive codes, `a_n` for negative ones, 1 for zeros.
///
/// Both slices have one value per weight.
pub fn background_gradient(gradient: &mut [f32], codes: &[i8], centroids: Centroids) {
    debug_assert_eq!(gradient.len(), codes.len());
    for (value, &code) in gradient.iter_mut().zip(codes) {
        *value *= match code {
            1 => centroids.pos,
            -1 => centroids.neg,
            _ => 1.0,
        };
    }
}

/// The gradient of both magnitudes, `[∂a_n, ∂a_p]`: minus the sum of `∂loss/∂T`
/// over the negative cluster, and its sum over the positive one.
///
/// Both slices have one value per weight.
///
/// ```
/// use ec2t_quant::ec2t::centroid_gradient;
///
/// let gradient = [0.5, 2.0, 0.25, 8.0];
/// assert_eq!(centroid_gradient(&gradient, &[-1, 1, -1, 0]), [-0.75, 2.0]);
/// ```
pub fn centroid_gradient(gradient: &[f32], codes: &[i8]) -> [f32; 2] {
    debug_assert_eq!(gradient.len(), codes.len());
    let (mut neg, mut pos) = (0.0, 0.0);
    for (&value, &code) in gradient.iter().zip(codes) {
        match code {
            1 => pos += f64::from(value),
            -1 => neg -= f64::from(value),
            _ => {}
        }
    }
    [neg as f32, pos as f32]
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ec2t::testing::{Random, assert_close};

    const WEIGHTS: usize = 60;
    const OUTPUTS: usize = 25;
    const CENTROIDS: [f64; 2] = [0.3, 0.45];

    /// A linear map `T ↦ X·T` and what its outputs should be.
    struct Problem {
        inputs: Vec<Vec<f64>>,
        targets: Vec<f64>,
        codes: Vec<i8>,
    }

    impl Problem {
        fn new(seed: u64) -> Self {
            let mut random = Random::new(seed);
            let mut normals = |n| (0..n).map(|_| f64::from(random.normal())).collect::<Vec<_>>();
            let inputs = (0..OUTPUTS).map(|_| normals(WEIGHTS)).collect();
            let targets = normals(OUTPUTS);
            let codes = normals(WEIGHTS).iter().map(|v| v.round().clamp(-1.0, 1.0) as i8).collect();
            Self { inputs, targets, codes }
        }

        fn outputs(&self, [neg, pos]: [f64; 2]) -> Vec<f64> {
            let value = |code: i8| if code < 0 { -neg } else { f64::from(code) * pos };
            let row =
                |x: &Vec<f64>| x.iter().zip(&self.codes).map(|(x, &code)| x * value(code)).sum();
            self.inputs.iter().map(row).collect()
        }

        /// `∂loss/∂T` from the derivative of the loss by each output.
        fn backward(&self, by_output: &[f64]) -> Vec<f32> {
            let slope = |i: usize| self.inputs.iter().zip(by_output).map(|(x, d)| x[i] * d).sum();
            (0..WEIGHTS).map(slope).map(|g: f64| g as f32).collect()
        }

        /// Sum of squared errors, and its derivative by each output.
        fn squared_error(&self, outputs: &[f64]) -> (f64, Vec<f64>) {
            let errors = outputs.iter().zip(&self.targets).map(|(z, y)| z - y);
            (errors.clone().map(|e| e * e).sum(), errors.map(|e| 2.0 * e).collect())
        }

        /// The same of outputs scaled to length 1, as a batch norm would.
        fn normalized_error(&self, outputs: &[f64]) -> (f64, Vec<f64>) {
            let length = dot(outputs, outputs).sqrt();
            let unit: Vec<f64> = outputs.iter().map(|z| z / length).collect();
            let (loss, by_unit) = self.squared_error(&unit);
            let radial = dot(&unit, &by_unit);
            (loss, by_unit.iter().zip(&unit).map(|(d, u)| (d - u * radial) / length).collect())
        }
    }

    fn dot(a: &[f64], b: &[f64]) -> f64 {
        a.iter().zip(b).map(|(a, b)| a * b).sum()
    }

    type Loss = fn(&Problem, &[f64]) -> (f64, Vec<f64>);

    /// Analytic gradient of both centroids.
    fn analytic(problem: &Problem, loss: Loss) -> [f64; 2] {
        let (_, by_output) = loss(problem, &problem.outputs(CENTROIDS));
        centroid_gradient(&problem.backward(&by_output), &problem.codes).map(f64::from)
    }

    /// The same by central differences.
    fn numeric(problem: &Problem, loss: Loss) -> [f64; 2] {
        let step = 1e-5;
        [0, 1].map(|side| {
            let at = |offset: f64| {
                let mut centroids = CENTROIDS;
                centroids[side] += offset;
                loss(problem, &problem.outputs(centroids)).0
            };
            (at(step) - at(-step)) / (2.0 * step)
        })
    }

    #[test]
    fn centroid_gradients_agree_with_finite_differences() {
        for seed in 0..8 {
            let problem = Problem::new(seed);
            for loss in [Problem::squared_error, Problem::normalized_error] as [Loss; 2] {
                let (analytic, numeric) = (analytic(&problem, loss), numeric(&problem, loss));
                for side in [0, 1] {
                    let tolerance = 1e-4 * (1.0 + numeric[side].abs());
                    let error = (analytic[side] - numeric[side]).abs();
                    assert!(error < tolerance, "{seed}: {analytic:?} {numeric:?}");
                }
            }
        }
    }

    /// Where the scale of `T` does not matter, `(a_n, a_p)` is orthogonal to the
    /// gradient: `a_n·∂a_n + a_p·∂a_p = 0`, so one centroid grows as the other
    /// shrinks.
    #[test]
    fn centroid_gradients_of_a_scale_invariant_loss_are_opposed() {
        for seed in 0..8 {
            let [neg, pos] = analytic(&Problem::new(seed), Problem::normalized_error);
            let (neg, pos) = (CENTROIDS[0] * neg, CENTROIDS[1] * pos);
            assert!(neg.abs() > 1e-3, "{seed}: the gradient is too small to tell");
            assert_close(neg, -pos, 1e-4);
        }
    }

    #[test]
    fn background_gradient_is_scaled_by_magnitudes() {
        let mut gradient = [1.0, -2.0, 3.0, -4.0];
        background_gradient(&mut gradient, &[-1, 0, 1, -1], Centroids { neg: 0.5, pos: 0.25 });
        assert_eq!(gradient, [0.5, -2.0, 0.75, -2.0]);
    }
}
