//! What a model takes of a picture: a share in the metadata of its file.

use ec2t_data::Fit;
use ec2t_infer::Model;

use crate::exit::BadFile;

/// The key of the share; without it, pictures are stretched.
pub(crate) const CROP: &str = "crop";

/// What the model takes of a picture.
pub(crate) fn fit(model: &Model) -> Result<Fit, BadFile> {
    let wrong = |reason: String| BadFile(format!("metadata `{CROP}`: {reason}"));
    let share = match model.metadata().get(CROP) {
        Some(text) => Some(text.parse().map_err(|error| wrong(format!("{text:?}: {error}")))?),
        None => None,
    };
    Fit::of_crop(share).map_err(|error| wrong(error.to_string()))
}
