//! What can go wrong in training.

use std::path::{Path, PathBuf};

use ec2t_data::DataError;
use ec2t_format::graph::GraphError;
use ec2t_format::network::NetworkError;
use ec2t_format::tensor::TensorError;

use crate::ec2t::Ec2tError;

/// An error of this crate.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum QuantError {
    /// An option is out of range.
    #[error("option `{option}`: {reason}")]
    Option {
        /// Name of the option.
        option: &'static str,
        /// What is allowed and what was found.
        reason: String,
    },
    /// The data do not fit the network.
    #[error("the data do not fit the network: {0}")]
    Data(String),
    /// The network has no layer to ternarize, or none that is ternary.
    #[error("{0}")]
    NothingTernary(String),
    /// A layer can't be trained.
    #[error("layer `{layer}` {reason}")]
    Untrainable {
        /// Name of the layer.
        layer: String,
        /// What is in the way.
        reason: String,
    },
    /// A checkpoint was made with other settings.
    #[error(
        "{} was made with other settings ({differences}); \
         give the same settings to continue, or ask for a restart to begin again",
        path.display()
    )]
    OtherSettings {
        /// The checkpoint.
        path: PathBuf,
        /// Each key with its value then and now.
        differences: String,
    },
    /// A checkpoint is damaged or belongs to something else.
    #[error("{}: {reason}", path.display())]
    Checkpoint {
        /// The checkpoint.
        path: PathBuf,
        /// What was expected and what was found.
        reason: String,
    },
    /// A layer can't be ternarized.
    #[error("layer `{layer}`: {source}")]
    Layer {
        /// Name of the layer's weights.
        layer: String,
        /// What is wrong with it.
        source: Ec2tError,
    },
    /// The hyper-parameters of the method are out of range.
    #[error(transparent)]
    Method(#[from] Ec2tError),
    /// Images can't be batched.
    #[error(transparent)]
    Batches(#[from] DataError),
    /// Reading or writing a file failed.
    #[error("{}: {source}", path.display())]
    Io {
        /// The file.
        path: PathBuf,
        /// What the system said.
        source: std::io::Error,
    },
    /// The loss or a weight is no longer finite; the last checkpoint is kept.
    #[error(
        "training diverged in epoch {epoch}, step {step}: {what}; {}; try a smaller learning rate",
        last_checkpoint(checkpoint.as_deref())
    )]
    Diverged {
        /// Epoch, from 1.
        epoch: usize,
        /// Step inside the epoch, from 1.
        step: usize,
        /// The value that is not finite, and the layer where it began.
        what: String,
        /// The last checkpoint, from before this step, if there is one.
        checkpoint: Option<PathBuf>,
    },
    /// The run was asked to stop; its checkpoint is saved.
    #[error("interrupted; the same command continues from {}", .0.display())]
    Interrupted(PathBuf),
    /// The network breaks a rule.
    #[error(transparent)]
    Network(#[from] NetworkError),
    /// The graph breaks a rule.
    #[error(transparent)]
    Graph(#[from] GraphError),
    /// A tensor breaks a rule.
    #[error(transparent)]
    Tensor(#[from] TensorError),
    /// An operator failed.
    #[error(transparent)]
    Operator(#[from] candle_core::Error),
}

fn last_checkpoint(path: Option<&Path>) -> String {
    match path {
        Some(path) => format!("the last good checkpoint is {}", path.display()),
        None => "there is no checkpoint yet".to_owned(),
    }
}

impl QuantError {
    /// An input or output error with its file.
    pub(crate) fn io(path: impl Into<PathBuf>) -> impl FnOnce(std::io::Error) -> Self {
        let path = path.into();
        move |source| QuantError::Io { path, source }
    }
}
