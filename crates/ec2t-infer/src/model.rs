//! A network that is ready to run.

use std::collections::BTreeMap;
use std::path::Path;

use ec2t_format::Network;
use ec2t_format::graph::{Graph, Shape};
use rayon::prelude::*;

use crate::error::{LoadError, RunError, check_length};
use crate::plan::{Plan, Precision};
use crate::session::Session;

/// A planned network: read-only, and shared between threads.
#[derive(Debug)]
pub struct Model {
    graph: Graph,
    metadata: BTreeMap<String, String>,
    plan: Plan,
}

impl Model {
    /// Reads and plans an `.ec2t` file.
    ///
    /// # Errors
    /// [`LoadError::Io`] or [`LoadError::File`], both with the path.
    pub fn load(path: impl AsRef<Path>) -> Result<Self, LoadError> {
        Self::load_with(path, Precision::F32)
    }

    /// Reads and plans an `.ec2t` file in a precision of choice.
    ///
    /// # Errors
    /// As [`load`](Self::load), and where the file has not been calibrated for it.
    pub fn load_with(path: impl AsRef<Path>, precision: Precision) -> Result<Self, LoadError> {
        let path = path.as_ref();
        let bytes = std::fs::read(path)
            .map_err(|source| LoadError::Io { path: path.to_path_buf(), source })?;
        ec2t_format::read(&bytes)
            .map_err(LoadError::from)
            .and_then(|network| Self::with_precision(network, precision))
            .map_err(|source| LoadError::File { path: path.to_path_buf(), source: source.into() })
    }

    /// Plans the network in the bytes of an `.ec2t` file.
    ///
    /// # Errors
    /// Where the file is damaged, or as [`new`](Self::new).
    pub fn from_bytes(file: &[u8]) -> Result<Self, LoadError> {
        Self::new(ec2t_format::read(file)?)
    }

    /// Folds batch normalisation and plans the network that is left.
    ///
    /// # Errors
    /// Where a layer or the activations of one image are too large.
    pub fn new(network: Network) -> Result<Self, LoadError> {
        Self::with_precision(network, Precision::F32)
    }

    /// As [`new`](Self::new), in a precision of choice.
    ///
    /// # Errors
    /// As `new`, and [`LoadError::NotCalibrated`].
    pub fn with_precision(network: Network, precision: Precision) -> Result<Self, LoadError> {
        Self::folded(ec2t_format::fold_batch_norm(&network), precision)
    }

    /// Plans a network as it is.
    pub(crate) fn folded(network: Network, precision: Precision) -> Result<Self, LoadError> {
        let plan = Plan::new(&network, precision)?;
        tracing::debug!(
            network = network.graph().name,
            steps = plan.steps.len(),
            buffers = plan.buffers.len(),
            "planned"
        );
        let (graph, _, metadata) = network.into_parts();
        Ok(Self { graph, metadata, plan })
    }

    /// The layers that are run, with batch normalisation folded, and with
    /// preprocessing and class names.
    pub fn graph(&self) -> &Graph {
        &self.graph
    }

    /// Free text that came with the network.
    pub fn metadata(&self) -> &BTreeMap<String, String> {
        &self.metadata
    }

    /// Shape of one image.
    pub fn input_shape(&self) -> Shape {
        self.graph.input
    }

    /// Number of values of one image.
    pub fn input_len(&self) -> usize {
        self.graph.input.numel()
    }

    /// Number of logits of one image.
    pub fn output_len(&self) -> usize {
        self.plan.output.len
    }

    pub(crate) fn plan(&self) -> &Plan {
        &self.plan
    }

    /// Buffers for running images one after the other, on the thread that does so.
    pub fn session(&self) -> Session<'_> {
        self.session_on(1)
    }

    /// Buffers for running images one after the other, each on up to `threads` threads
    /// of the rayon pool that the session is used in. Whoever uses it outside of a pool
    /// waits some 20 µs for the global one to take over; within
    /// [`ThreadPool::install`](rayon::ThreadPool::install) nobody does.
    ///
    /// ```
    /// # fn all(model: &ec2t_infer::Model, images: &[Vec<f32>]) -> Result<(), Box<dyn std::error::Error>> {
    /// let pool = rayon::ThreadPoolBuilder::new().num_threads(2).build()?;
    /// pool.install(|| {
    ///     let mut session = model.session_on(2);
    ///     images.iter().try_for_each(|image| session.run(image).map(drop))
    /// })?;
    /// # Ok(())
    /// # }
    /// ```
    pub fn session_on(&self, threads: usize) -> Session<'_> {
        Session::new(self, threads)
    }

    /// Logits `[N, classes]` of N = `batch` normalised images `[N, C, H, W]`,
    /// in parallel: an image on each thread of the rayon pool, or on several where
    /// there are fewer images than threads.
    ///
    /// # Errors
    /// [`RunError::InputLength`].
    pub fn run(&self, input: &[f32], batch: usize) -> Result<Vec<f32>, RunError> {
        self.run_each(input, batch, |session, image| session.run(image))
    }

    /// As [`run`](Self::run), for images of pixels, which are normalised as the model
    /// needs it.
    ///
    /// # Errors
    /// [`RunError::InputLength`].
    pub fn run_pixels(&self, pixels: &[u8], batch: usize) -> Result<Vec<f32>, RunError> {
        self.run_each(pixels, batch, |session, image| session.run_pixels(image))
    }

    fn run_each<T: Sync>(
        &self,
        input: &[T],
        batch: usize,
        run: impl for<'s> Fn(&'s mut Session<'_>, &[T]) -> Result<&'s [f32], RunError> + Sync,
    ) -> Result<Vec<f32>, RunError> {
        check_length(batch, self.input_len(), input.len())?;
        let threads = rayon::current_num_threads() / batch.max(1);
        let mut logits = vec![0.0; batch * self.output_len()];
        logits
            .par_chunks_exact_mut(self.output_len())
            .zip(input.par_chunks_exact(self.input_len()))
            .try_for_each_init(
                || self.session_on(threads),
                |session, (logits, image)| {
                    logits.copy_from_slice(run(session, image)?);
                    Ok(())
                },
            )?;
        Ok(logits)
    }

    /// Normalises the pixels of one image, `[C, H, W]`:
    /// `(pixel / 255 − mean) / std`.
    ///
    /// # Errors
    /// [`RunError::InputLength`] where either slice is not one image.
    pub fn preprocess(&self, pixels: &[u8], out: &mut [f32]) -> Result<(), RunError> {
        check_length(1, self.input_len(), pixels.len())?;
        check_length(1, self.input_len(), out.len())?;
        let plane = self.graph.input.height * self.graph.input.width;
        let prep = &self.graph.preprocess;
        let channels = pixels.chunks_exact(plane).zip(out.chunks_exact_mut(plane));
        for ((pixels, out), (mean, std)) in channels.zip(prep.mean.iter().zip(&prep.std)) {
            for (value, pixel) in out.iter_mut().zip(pixels) {
                *value = (f32::from(*pixel) / 255.0 - mean) / std;
            }
        }
        Ok(())
    }
}
