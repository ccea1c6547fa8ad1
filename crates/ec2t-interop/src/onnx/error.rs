//! Every way in which a network and an ONNX model can fail to become each other.

/// A network that is no ONNX model, or the reverse.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum OnnxError {
    /// A model of more bytes than any reader of the format takes.
    #[error("the model has {bytes} bytes, ONNX allows at most {limit}", limit = i32::MAX)]
    TooLarge {
        /// Its length.
        bytes: usize,
    },
}
