//! What a row comes to, and how it is written.

use serde::Serialize;

use super::super::measured::Measured;
use super::super::table::{self, compared, number};

/// Images of CIFAR-10's training set.
const EPOCH: f64 = 50_000.0;

/// A measured row, and what it means for images.
#[derive(Debug, Serialize)]
pub(super) struct Trained {
    #[serde(flatten)]
    pub(super) measured: Measured,
    /// Of the first, where images are what is worked on.
    images_per_second: Option<f64>,
    /// Minutes that it takes the first for CIFAR-10's training images.
    minutes_per_epoch: Option<f64>,
}

impl Trained {
    /// A row whose unit is a millisecond, with the number of images to a repetition,
    /// and whether they are CIFAR-10's.
    pub(super) fn with_images(measured: Measured, images: u32, cifar: bool) -> Self {
        let rate = f64::from(images) * 1e3 / measured.first().spread.median;
        let minutes_per_epoch = cifar.then_some(EPOCH / rate / 60.0);
        Self { measured, images_per_second: Some(rate), minutes_per_epoch }
    }
}

impl From<Measured> for Trained {
    fn from(measured: Measured) -> Self {
        Self { measured, images_per_second: None, minutes_per_epoch: None }
    }
}

/// The rows as a Markdown table; quartiles are in brackets.
pub(super) fn summary(rows: &[Trained]) -> String {
    let mut table =
        table::head(&["work", "ec2t", "compared with", "ratio", "images/s", "minutes per epoch"]);
    for row in rows {
        let images = [row.images_per_second, row.minutes_per_epoch];
        let images = images.map(|value| value.map_or_else(|| "–".into(), number));
        table += &table::line(&[&compared(&row.measured)[..], &images].concat());
    }
    table
}

#[cfg(test)]
mod tests {
    use super::super::super::measured::tests::row;
    use super::*;

    #[test]
    fn images_are_counted_in_seconds() {
        let trained = Trained::with_images(row(true), 120, true);
        assert_eq!(trained.images_per_second, Some(10_000.0));
        assert_eq!(trained.minutes_per_epoch, Some(5.0 / 60.0));
        assert_eq!(Trained::with_images(row(true), 120, false).minutes_per_epoch, None);
    }

    #[test]
    fn the_table_has_images_where_they_are_what_is_worked_on() {
        let rows = [Trained::with_images(row(true), 120, false), row(true).into()];
        let summary = summary(&rows);
        let ends: Vec<&str> =
            summary.lines().skip(2).map(|line| &line[line.len() - 15..]).collect();
        assert!(ends[0].ends_with("| 10000 | – |"), "{summary}");
        assert!(ends[1].ends_with("| – | – |"), "{summary}");
    }

    #[test]
    fn json_is_that_of_the_row_with_images() {
        let json = serde_json::to_value(Trained::with_images(row(true), 120, true)).unwrap();
        assert_eq!(json["name"], "w");
        assert_eq!(json["images_per_second"], 10_000.0);
    }
}
