//! Running statistics of batch normalisation, measured anew.
//!
//! Training leaves a mean over the last steps, decayed by the momentum of the graph: of
//! networks with other weights than the one that is judged. Where a layer is
//! assigned anew at each step, or where weights are averaged, the difference may
//! matter. Then the statistics are replaced by the plain mean of those of some training
//! batches, all computed with the weights as they are: "precise batch normalisation"
//! (Y. Wu & J. Johnson, *Rethinking "Batch" in BatchNorm*, 2021). As in training,
//! variances are unbiased and images are varied.

use ec2t_data::Batches;
use rand_chacha::ChaCha8Rng;

use crate::engine::Engine;
use crate::error::QuantError;
use crate::weights::Weights;

/// Sets the running statistics of `weights` to the means over the next `count` batches,
/// or as many as there are; nothing else changes. `rng` decides what dropout zeroes.
pub(crate) fn measure(
    engine: &mut Engine,
    weights: &mut Weights,
    mut batches: Batches,
    count: usize,
    rng: &mut ChaCha8Rng,
) -> Result<(), QuantError> {
    let mut batch = batches.room();
    for measured in 1..=count {
        if !batches.fill(&mut batch)? {
            break;
        }
        // With these shares, all batches have the same in the end.
        let share = 1.0 / measured as f32;
        engine.measure(weights, &batch.images, batch.labels.len(), share, rng)?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use candle_core::Device;
    use ec2t_data::Dataset;
    use ec2t_format::Graph;
    use ec2t_format::graph::{GraphBuilder, ParamKind, Shape};
    use rand_chacha::rand_core::SeedableRng;

    use crate::{Backend, initialize};

    /// Normalises an image's only value.
    fn graph() -> Graph {
        let mut g = GraphBuilder::new("t", Shape::new(1, 1, 1));
        let x = g.batch_norm("bn", g.input());
        let x = g.flatten("flatten", x);
        g.linear("fc", x, 2);
        g.finish().unwrap()
    }

    /// Of batches (0, 2), (4, 6) and (100, 200), the first two are taken: means 1 and 5,
    /// unbiased variances 2 and 2. What was there before does not count.
    #[test]
    fn statistics_are_means_over_batches() {
        let classes = vec!["a".to_owned(), "b".to_owned()];
        let pixels = vec![0, 2, 4, 6, 100, 200];
        let data = Dataset::new("d", [1, 1, 1], pixels, vec![0, 1, 0, 1, 0, 1], classes).unwrap();
        let graph = graph();
        let mut weights = Weights::from_network(&initialize(&graph, 1).unwrap());
        weights.lists_mut().iter_mut().for_each(|values| values.fill(9.0));
        let cpu = Engine::new(Backend::Cpu, &graph, &weights).unwrap();
        let candle = Engine::candle(&graph, &weights, Device::Cpu).unwrap();
        for mut engine in [cpu, candle] {
            // Pixels of 1/255 each: as they are.
            let batches = Batches::in_order(&data, &[0.0], &[1.0 / 255.0], 2).unwrap();
            let (mut found, mut rng) = (weights.clone(), ChaCha8Rng::seed_from_u64(1));
            measure(&mut engine, &mut found, batches, 2, &mut rng).unwrap();
            for (param, values) in found.iter() {
                let expected = match param.kind {
                    ParamKind::RunningMean => 3.0,
                    ParamKind::RunningVar => 2.0,
                    _ => 9.0,
                };
                let found = values[0];
                assert!((found - expected).abs() < 1e-4, "{}: {found}", param.name);
            }
        }
    }
}
