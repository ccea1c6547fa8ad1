//! What a model takes of a picture: a share in the metadata of its file.

use ec2t_data::Fit;
use ec2t_infer::Model;

use crate::exit::BadFile;

/// What the model takes of a picture.
pub(crate) fn fit(model: &Model) -> Result<Fit, BadFile> {
    Fit::of_metadata(model.metadata()).map_err(|error| BadFile(format!("metadata: {error}")))
}
