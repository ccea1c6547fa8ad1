//! Parts of an image that several threads write side by side.

use std::marker::PhantomData;
use std::slice;

/// Some pixels of some channels of an image `[C, H·W]`, for writing: successive
/// channels, and of each the same successive pixels.
///
/// Parts into which an image is split have no value in common, so each may be written
/// by another thread.
///
/// ```
/// use ec2t_kernels::arch::Planes;
///
/// let mut image = [0.0; 6]; // two channels of three pixels
/// let (mut left, mut right) = Planes::new(&mut image, 3).split_pixels(1);
/// left.channel(1).fill(1.0);
/// right.channel(0).copy_from_slice(&[2.0, 3.0]);
/// assert_eq!(image, [0.0, 2.0, 3.0, 1.0, 0.0, 0.0]);
/// ```
#[derive(Debug)]
pub struct Planes<'a> {
    /// Where the first pixel of the first channel is, if there is one.
    first: *mut f32,
    channels: usize,
    pixels: usize,
    /// Values from one channel to the next.
    plane: usize,
    image: PhantomData<&'a mut [f32]>,
}

// SAFETY: it is used as the exclusive slices are that `channel` makes of it, and
// these may be sent.
unsafe impl Send for Planes<'_> {}

impl<'a> Planes<'a> {
    /// All of an image whose channels have `plane` pixels.
    ///
    /// # Panics
    ///
    /// If the values are not whole channels.
    pub fn new(values: &'a mut [f32], plane: usize) -> Self {
        assert!(plane > 0 && values.len().is_multiple_of(plane), "whole channels");
        let channels = values.len() / plane;
        let first = values.as_mut_ptr();
        Self { first, channels, pixels: plane, plane, image: PhantomData }
    }

    /// Number of channels.
    pub fn channels(&self) -> usize {
        self.channels
    }

    /// Number of pixels of each channel.
    pub fn pixels(&self) -> usize {
        self.pixels
    }

    /// The pixels of a channel.
    ///
    /// # Panics
    ///
    /// If there is no such channel.
    #[inline(always)]
    pub fn channel(&mut self, channel: usize) -> &mut [f32] {
        assert!(channel < self.channels, "a channel of the part");
        // SAFETY: `first`, `channels`, `pixels` and `plane` describe values of the slice
        // that was borrowed for `'a`, and no other part has any of them: it was so in
        // `new`, and is so after a split. The result borrows this part exclusively.
        unsafe { slice::from_raw_parts_mut(self.first.add(channel * self.plane), self.pixels) }
    }

    /// The channels before `channel`, and the others.
    ///
    /// # Panics
    ///
    /// If there are fewer.
    pub fn split_channels(self, channel: usize) -> (Self, Self) {
        let rest = self.channels.checked_sub(channel).expect("a channel of the part");
        // If no channel is left, this may be a place out of bounds that nobody reads.
        let first = self.first.wrapping_add(channel * self.plane);
        (Self { channels: channel, ..self }, Self { first, channels: rest, ..self })
    }

    /// The pixels before `pixel` of each channel, and the others.
    ///
    /// # Panics
    ///
    /// If there are fewer.
    pub fn split_pixels(self, pixel: usize) -> (Self, Self) {
        let rest = self.pixels.checked_sub(pixel).expect("a pixel of the part");
        let first = self.first.wrapping_add(pixel);
        (Self { pixels: pixel, ..self }, Self { first, pixels: rest, ..self })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parts_cover_an_image_once() {
        let mut image = [0.0; 4 * 5];
        let (left, right) = Planes::new(&mut image, 5).split_pixels(2);
        let (above, below) = left.split_channels(3);
        let (rest, none) = right.split_channels(4);
        for mut part in [above, below, rest, none] {
            for channel in 0..part.channels() {
                for value in part.channel(channel) {
                    *value += 1.0;
                }
            }
        }
        assert_eq!(image, [1.0; 20]);
    }

    #[test]
    #[should_panic(expected = "a channel of the part")]
    fn other_channels_are_out_of_reach() {
        let mut image = [0.0; 6];
        let (mut first, _) = Planes::new(&mut image, 3).split_channels(1);
        first.channel(1);
    }

    #[test]
    #[should_panic(expected = "a pixel of the part")]
    fn other_pixels_are_out_of_reach() {
        let mut image = [0.0; 6];
        let (first, _) = Planes::new(&mut image, 3).split_pixels(1);
        let _ = first.split_pixels(2);
    }
}
