//! Which classes the network takes for which.

use super::markup::{Element, element};
use super::number::percent;
use super::parts::{cell, figure, head, number, number_head, row, table};
use crate::output::grouped;

/// With more classes than this, a matrix is too large to read.
const MOST_CLASSES: usize = 20;
/// How many kinds of errors are listed then.
const LISTED: usize = 20;
/// How many kinds of errors are put into words.
const WORDED: usize = 3;

/// The confusion matrix, class by class.
pub(super) struct Confusion<'a> {
    /// For each class its images by answer.
    rows: Vec<Vec<Cell<'a>>>,
}

/// Images of one class that got one answer.
struct Cell<'a> {
    class: &'a str,
    answer: &'a str,
    is_right: bool,
    images: u64,
    /// Share of the class.
    share: f64,
}

impl<'a> Confusion<'a> {
    /// `counts` are images by class (rows) and answer (columns).
    pub(super) fn of(names: &'a [String], counts: &[Vec<u64>]) -> Self {
        let row = |(class, counts): (usize, &Vec<u64>)| {
            let total = counts.iter().sum::<u64>().max(1) as f64;
            let cell = |(answer, &images): (usize, &u64)| Cell {
                class: &names[class],
                answer: &names[answer],
                is_right: class == answer,
                images,
                share: images as f64 / total,
            };
            counts.iter().enumerate().map(cell).collect()
        };
        Self { rows: counts.iter().enumerate().map(row).collect() }
    }

    /// The kinds of errors that occur, the most frequent first.
    fn errors(&self) -> Vec<&Cell<'a>> {
        let cells = self.rows.iter().flatten();
        let mut errors: Vec<_> = cells.filter(|cell| !cell.is_right && cell.images > 0).collect();
        errors.sort_by_key(|error| std::cmp::Reverse(error.images));
        errors
    }

    /// The errors in words.
    pub(super) fn summary(&self) -> String {
        let errors = self.errors();
        let total: u64 = errors.iter().map(|error| error.images).sum();
        let words: Vec<String> = errors
            .iter()
            .take(WORDED)
            .map(|error| format!("{} for {} ({})", error.class, error.answer, error.images))
            .collect();
        match total {
            0 => "The ternary network classifies every test image correctly.".into(),
            1 => {
                format!("The ternary network takes one test image for another class: {}.", words[0])
            }
            _ => format!(
                "The ternary network takes {} test images for another class, most often {}.",
                grouped(total),
                words.join(", ")
            ),
        }
    }

    /// The matrix; with many classes the most frequent errors.
    pub(super) fn draw(&self) -> Element {
        match self.rows.len() {
            0..=MOST_CLASSES => self.matrix(),
            _ => self.list(),
        }
    }

    fn matrix(&self) -> Element {
        let largest_error = self.errors().iter().map(|error| error.share).fold(0.0, f64::max);
        let columns = self.rows.iter().flat_map(|row| row.first());
        let columns = columns.map(|cell| head("").child(element("span").text(cell.class)));
        let rows = self.rows.iter().filter_map(|cells| {
            let name = head(cells.first()?.class);
            Some(row([name].into_iter().chain(cells.iter().map(|cell| cell.draw(largest_error)))))
        });
        let key = [("right", "right"), ("wrong", "wrong")];
        let is_short = |row: &Vec<Cell<'_>>| row.iter().all(|cell| cell.class.chars().count() < 4);
        let class = if self.rows.iter().all(is_short) { "matrix short" } else { "matrix" };
        let matrix = table(class, [cell("")].into_iter().chain(columns), rows);
        figure("Test images by class (row) and answer (column)", &key, matrix)
    }

    fn list(&self) -> Element {
        let errors = self.errors();
        let columns =
            [head("Class"), head("Taken for"), number_head("Images"), number_head("of the class")];
        let rows = errors.iter().take(LISTED).map(|error| {
            row([
                head(error.class),
                cell(error.answer),
                number(grouped(error.images)),
                number(percent(100.0 * error.share, 1)),
            ])
        });
        figure("Most frequent errors", &[], table("errors", columns, rows))
    }
}

impl Cell<'_> {
    /// A cell of the matrix: right answers are shaded by their share, errors by
    /// theirs of the largest error.
    fn draw(&self, largest_error: f64) -> Element {
        let (kind, depth) = match (self.is_right, self.images) {
            (_, 0) => ("none", 0.0),
            (true, _) if self.share > 0.5 => ("right deep", self.share),
            (true, _) => ("right", self.share),
            (false, _) => ("wrong", self.share / largest_error),
        };
        let share = percent(100.0 * self.share, 1);
        cell(self.images)
            .class(kind)
            .attr("style", format!("--depth: {:.0}%", 100.0 * depth))
            .attr("title", format!("{} taken for {}: {share}", self.class, self.answer))
    }
}
