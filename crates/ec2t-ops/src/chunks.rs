//! The fixed parts of a batch that threads work on.
//!
//! A batch is cut into [`CHUNKS`] runs of whole images, whatever the number of
//! threads: sums over a batch are then the same sums of the same parts, and any
//! pool of threads up to that size is kept evenly busy. Small batches leave
//! chunks empty.
//!
//! ```
//! use ec2t_ops::chunks::{split, split_mut};
//! use rayon::prelude::*;
//!
//! let x = [1.0, 2.0, 3.0, 4.0, 5.0, 6.0]; // three images of two values
//! let mut y = [0.0; 6];
//! (split_mut(&mut y, 3), split(&x, 3)).into_par_iter().for_each(|(y, x)| {
//!     y.iter_mut().zip(x).for_each(|(y, x)| *y = 2.0 * x);
//! });
//! assert_eq!(y, [2.0, 4.0, 6.0, 8.0, 10.0, 12.0]);
//! ```

use std::{array, ops::Range};

/// Number of parts.
pub const CHUNKS: usize = 16;

/// The images of one chunk of a batch.
pub fn images(batch: usize, chunk: usize) -> Range<usize> {
    chunk * batch / CHUNKS..(chunk + 1) * batch / CHUNKS
}

/// The values of each chunk, of a batch whose images have equally many values.
///
/// # Panics
///
/// If the images do not divide the values evenly.
pub fn split<T>(values: &[T], batch: usize) -> [&[T]; CHUNKS] {
    let image = values_per_image(values.len(), batch);
    array::from_fn(|chunk| {
        let Range { start, end } = images(batch, chunk);
        &values[start * image..end * image]
    })
}

/// [`split`] for values to write.
///
/// # Panics
///
/// If the images do not divide the values evenly.
pub fn split_mut<T>(mut values: &mut [T], batch: usize) -> [&mut [T]; CHUNKS] {
    let image = values_per_image(values.len(), batch);
    array::from_fn(|chunk| {
        let len = images(batch, chunk).len() * image;
        values.split_off_mut(..len).expect("chunks cover the batch once")
    })
}

/// Equal parts of scratch memory, one for each chunk.
///
/// # Panics
///
/// If there are not [`CHUNKS`] times as many values as a part shall have.
pub fn split_scratch<T>(mut values: &mut [T], part: usize) -> [&mut [T]; CHUNKS] {
    assert_eq!(values.len(), CHUNKS * part, "scratch of {CHUNKS} chunks");
    array::from_fn(|_| values.split_off_mut(..part).expect("length checked above"))
}

fn values_per_image(len: usize, batch: usize) -> usize {
    let image = len.checked_div(batch).unwrap_or(0);
    assert_eq!(len, batch * image, "{len} values of {batch} images");
    image
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn chunks_cover_every_image_once_and_evenly() {
        for batch in [0, 1, 2, 15, 16, 17, 100, 128] {
            let all: Vec<usize> = (0..CHUNKS).flat_map(|chunk| images(batch, chunk)).collect();
            assert_eq!(all, (0..batch).collect::<Vec<_>>());
            let sizes = (0..CHUNKS).map(|chunk| images(batch, chunk).len());
            assert!(sizes.clone().max().unwrap() - sizes.min().unwrap() <= 1);
        }
    }

    #[test]
    fn splits_follow_the_images() {
        let mut values: Vec<usize> = (0..19 * 3).collect();
        let parts = split(&values, 19).map(<[_]>::to_vec);
        assert_eq!(parts.concat(), values);
        assert!(parts.iter().all(|part| part.len() % 3 == 0));
        assert_eq!(split_mut(&mut values, 19).map(|part| part.to_vec()), parts);
    }

    #[test]
    #[should_panic(expected = "7 values of 2 images")]
    fn ragged_images_are_refused() {
        split(&[0; 7], 2);
    }
}
