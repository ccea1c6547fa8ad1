//! How long models take, measured in turn.
//!
//! Models that are compared work round after round, each a little in every round: what slows
//! the machine down for a while slows all of them. A round repeats the work until it has
//! taken some milliseconds, so that reading the clock costs nothing and a single interrupt
//! little.

use std::time::{Duration, Instant};

use crate::error::RunError;
use crate::model::Model;
use crate::session::Session;

/// How long a model works in a round, about.
const ROUND: Duration = Duration::from_millis(10);

/// A model and images for it, on the rayon pool of whoever calls.
///
/// A single image runs in a session that is kept, on all threads of the pool, as whoever has
/// one image after the other would do it; several go through [`Model::run`].
#[derive(Debug)]
pub struct Work<'m> {
    model: &'m Model,
    session: Option<Session<'m>>,
    batch: usize,
    input: Vec<f32>,
    /// How often a round repeats the work; not yet known before the first.
    repeats: Option<u32>,
}

impl<'m> Work<'m> {
    /// `batch` images of noise, which take a model as long as pictures do.
    pub fn new(model: &'m Model, batch: usize) -> Self {
        let threads = rayon::current_num_threads();
        let session = (batch == 1).then(|| model.session_on(threads));
        Self { model, session, batch, input: noise(batch * model.input_len()), repeats: None }
    }

    /// Seconds for an image in one round. The first round warms up, and finds how often the
    /// work has to be repeated.
    fn round(&mut self) -> Result<f64, RunError> {
        let repeats = match self.repeats {
            Some(repeats) => repeats,
            None => self.warm_up()?,
        };
        let start = Instant::now();
        for _ in 0..repeats {
            self.run()?;
        }
        Ok(start.elapsed().as_secs_f64() / f64::from(repeats) / self.batch as f64)
    }

    fn warm_up(&mut self) -> Result<u32, RunError> {
        let start = Instant::now();
        let mut runs = 0;
        while start.elapsed() < ROUND {
            self.run()?;
            runs += 1;
        }
        self.repeats = Some(runs);
        Ok(runs)
    }

    fn run(&mut self) -> Result<(), RunError> {
        match &mut self.session {
            Some(session) => session.run(&self.input).map(drop),
            None => self.model.run(&self.input, self.batch).map(drop),
        }
    }
}

/// Has all works take turns for `rounds` rounds, after one that does not count; gives the
/// seconds that an image took in each round, for each work.
///
/// ```
/// # use ec2t_format::{Network, graph::{GraphBuilder, Shape}};
/// # let mut g = GraphBuilder::new("tiny", Shape::new(2, 8, 8));
/// # g.relu("relu", g.input());
/// # let network = Network::new(g.finish()?, Default::default())?;
/// use ec2t_infer::{Model, Spread, Work, bench};
///
/// let model = Model::new(network)?;
/// let mut works = [Work::new(&model, 1), Work::new(&model, 4)];
/// let [single, four] = &bench(&mut works, 3)?[..] else { panic!() };
/// assert!(Spread::of(single).min > 0.0 && four.len() == 3);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
///
/// # Errors
/// None that a work made by [`Work::new`] could give.
pub fn bench(works: &mut [Work<'_>], rounds: usize) -> Result<Vec<Vec<f64>>, RunError> {
    let mut seconds = vec![Vec::with_capacity(rounds); works.len()];
    for round in 0..=rounds {
        for (work, seconds) in works.iter_mut().zip(&mut seconds) {
            let time = work.round()?;
            if round > 0 {
                seconds.push(time);
            }
        }
    }
    Ok(seconds)
}

/// Repeatable values in −1…1 that look random (Knuth's multiplicative
/// generator).
pub(crate) fn noise(len: usize) -> Vec<f32> {
    let mut state = 1u64;
    let next = |_| {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
        (state >> 40) as f32 / (1 << 23) as f32 - 1.0
    };
    (0..len).map(next).collect()
}
