//! A network and images for it: run by us, and written for others.
//!
//! Others get a stem of files, such as `resnet20-64-1` for one image:
//!
//! | file | holds |
//! |---|---|
//! | `.ec2t` | the network; batch normalisation is folded, all weights are floats |
//! | `.input` | images `[N, C, H, W]`, 32-bit floats, little endian |
//! | `.output` | what our engine makes of them |
//! | `.calibration` | on request, other images, to choose the ranges of integers from |

use std::error::Error;
use std::fs;
use std::path::Path;
use std::time::{Duration, Instant};

use ec2t_format::{Network, fold_batch_norm};
use ec2t_infer::{Model, Precision, RunError, calibrate};
use serde_json::{Value, json};

use super::images::Source;

/// How long a round repeats its work, at least.
const ROUND: Duration = Duration::from_millis(250);
/// How often it does so, at least: a median has to have some choice.
const RUNS: usize = 5;

/// Ranges are chosen from at least so many images.
const CALIBRATION: usize = 256;

/// A network that is ready to run, and images for it.
pub(super) struct Work {
    network: Network,
    model: Model,
    batch: usize,
    source: Source,
    input: Vec<f32>,
}

impl Work {
    pub(super) fn new(
        mut network: Network,
        precision: Precision,
        batch: usize,
    ) -> Result<Self, Box<dyn Error>> {
        let mut model = Model::new(network.clone())?;
        let source = Source::of(&model);
        if precision == Precision::U8 {
            let images = source.calibration(&model, CALIBRATION)?;
            let grids = calibrate(&network, &images, CALIBRATION)?;
            network = network.with_grids(grids)?;
            model = Model::with_precision(network.clone(), precision)?;
        }
        let input = source.input(&model, batch)?;
        Ok(Self { network, model, batch, source, input })
    }

    /// Median milliseconds of a run.
    ///
    /// A single image runs in a session that is kept, as whoever has such work would do
    /// it, in the thread pool; all else goes through [`Model::run`].
    pub(super) fn round(&self) -> Result<f64, RunError> {
        let threads = rayon::current_num_threads();
        match (self.batch, threads) {
            (1, 1) => self.session_round(1),
            (1, _) => rayon::scope(|_| self.session_round(threads)),
            _ => median(|| self.model.run(&self.input, self.batch).map(drop)),
        }
    }

    fn session_round(&self, threads: usize) -> Result<f64, RunError> {
        let mut session = self.model.session_on(threads);
        median(|| session.run(&self.input).map(drop))
    }

    /// Writes the files that begin with `stem`, and tells what is in them.
    pub(super) fn write(&self, stem: &Path) -> Result<Value, Box<dyn Error>> {
        let output = self.model.run(&self.input, self.batch)?;
        // Without codes, which take readers of other programs long to decode, and with all that
        // can be folded.
        let dense = fold_batch_norm(&self.network.to_dense());
        fs::write(stem.with_extension("ec2t"), ec2t_format::write(&dense))?;
        fs::write(stem.with_extension("input"), bytes(&self.input))?;
        fs::write(stem.with_extension("output"), bytes(&output))?;
        Ok(json!({ "zeros": self.network.sparsity(), "images": self.source.name() }))
    }

    /// Writes whole batches of images to choose ranges from, and tells how many images
    /// they have.
    pub(super) fn calibrate(&self, stem: &Path) -> Result<Value, Box<dyn Error>> {
        let count = CALIBRATION.next_multiple_of(self.batch);
        let images = self.source.calibration(&self.model, count)?;
        fs::write(stem.with_extension("calibration"), bytes(&images))?;
        Ok(json!({ "images": count }))
    }
}

/// Median milliseconds of `run`, repeated for a round.
fn median(mut run: impl FnMut() -> Result<(), RunError>) -> Result<f64, RunError> {
    let mut times = Vec::new();
    let begin = Instant::now();
    while begin.elapsed() < ROUND || times.len() < RUNS {
        let start = Instant::now();
        run()?;
        times.push(start.elapsed().as_secs_f64() * 1e3);
    }
    times.sort_by(f64::total_cmp);
    Ok(times[times.len() / 2])
}

fn bytes(values: &[f32]) -> Vec<u8> {
    values.iter().flat_map(|value| value.to_le_bytes()).collect()
}
