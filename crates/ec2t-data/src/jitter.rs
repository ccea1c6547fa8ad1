//! Colour jitter, as torchvision's `ColorJitter` defines it for float images.
//!
//! Brightness, contrast, saturation and hue change by random amounts, in
//! random order. Values are 0…1, planar, and are clamped to that range after
//! each change. An image of one channel has neither saturation nor hue.

use crate::random::Stream;

/// Factors of brightness, contrast and saturation are 1 − this … 1 + this.
const STRENGTH: f32 = 0.3;
/// The hue turns by up to this part of the colour circle, either way.
const HUE: f32 = 0.075;

/// Weights of red, green and blue in the grey value of a pixel (ITU-R BT.601).
const LUMA: [f32; 3] = [0.2989, 0.587, 0.114];

/// The random amounts for one image.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Jitter {
    order: [Change; 4],
}

#[derive(Clone, Copy, Debug, PartialEq)]
enum Change {
    Brightness(f32),
    Contrast(f32),
    Saturation(f32),
    Hue(f32),
}

impl Jitter {
    /// Draws the amounts and their order.
    pub(crate) fn draw(stream: &mut Stream) -> Self {
        let mut factor = || stream.between(1.0 - STRENGTH, 1.0 + STRENGTH);
        let (brightness, contrast, saturation) = (factor(), factor(), factor());
        let mut order = [
            Change::Brightness(brightness),
            Change::Contrast(contrast),
            Change::Saturation(saturation),
            Change::Hue(stream.between(-HUE, HUE)),
        ];
        stream.shuffle(&mut order);
        Self { order }
    }

    /// Changes a planar image of one or three channels.
    pub(crate) fn apply(&self, image: &mut [f32], channels: usize) {
        for change in self.order {
            change.apply(image, channels);
        }
    }
}

impl Change {
    fn apply(self, image: &mut [f32], channels: usize) {
        match self {
            Change::Brightness(factor) => {
                image.iter_mut().for_each(|value| *value = blend(*value, 0.0, factor));
            }
            Change::Contrast(factor) => {
                let mean = mean_grey(image, channels);
                image.iter_mut().for_each(|value| *value = blend(*value, mean, factor));
            }
            Change::Saturation(factor) if channels == 3 => for_each_pixel(image, |rgb| {
                let grey = grey(rgb);
                rgb.map(|value| blend(value, grey, factor))
            }),
            Change::Hue(turn) if channels == 3 => {
                for_each_pixel(image, |rgb| turn_hue(rgb, turn));
            }
            Change::Saturation(_) | Change::Hue(_) => {}
        }
    }
}

/// `factor` of a value and the rest of another one.
fn blend(value: f32, other: f32, factor: f32) -> f32 {
    (factor * value + (1.0 - factor) * other).clamp(0.0, 1.0)
}

fn grey(rgb: [f32; 3]) -> f32 {
    LUMA[0] * rgb[0] + LUMA[1] * rgb[1] + LUMA[2] * rgb[2]
}

fn mean_grey(image: &[f32], channels: usize) -> f32 {
    let plane = image.len() / channels;
    let sum: f32 = match channels {
        3 => (0..plane).map(|i| grey([image[i], image[plane + i], image[2 * plane + i]])).sum(),
        _ => image.iter().sum(),
    };
    sum / plane as f32
}

fn for_each_pixel(image: &mut [f32], change: impl Fn([f32; 3]) -> [f32; 3]) {
    let plane = image.len() / 3;
    let (red, rest) = image.split_at_mut(plane);
    let (green, blue) = rest.split_at_mut(plane);
    for ((r, g), b) in red.iter_mut().zip(green).zip(blue) {
        [*r, *g, *b] = change([*r, *g, *b]);
    }
}

/// Turns the hue of a pixel in HSV space, where a full circle is 1.
fn turn_hue(rgb: [f32; 3], turn: f32) -> [f32; 3] {
    let (hue, saturation, value) = to_hsv(rgb);
    from_hsv((hue + turn).rem_euclid(1.0), saturation, value)
}

fn to_hsv([r, g, b]: [f32; 3]) -> (f32, f32, f32) {
    let value = r.max(g).max(b);
    let range = value - r.min(g).min(b);
    if range == 0.0 {
        return (0.0, 0.0, value);
    }
    let sixth = match value {
        v if v == r => (g - b) / range,
        v if v == g => 2.0 + (b - r) / range,
        _ => 4.0 + (r - g) / range,
    };
    ((sixth / 6.0).rem_euclid(1.0), range / value, value)
}

fn from_hsv(hue: f32, saturation: f32, value: f32) -> [f32; 3] {
    let sector = (hue * 6.0).floor();
    let fraction = hue * 6.0 - sector;
    let low = value * (1.0 - saturation);
    let falling = value * (1.0 - saturation * fraction);
    let rising = value * (1.0 - saturation * (1.0 - fraction));
    // A tiny negative hue is rounded up to 1, which is again the first sector.
    match sector as u32 % 6 {
        0 => [value, rising, low],
        1 => [falling, value, low],
        2 => [low, value, rising],
        3 => [low, falling, value],
        4 => [rising, low, value],
        _ => [value, low, falling],
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::random::Purpose;

    fn close(found: &[f32], expected: &[f32]) {
        let near = |(a, b): (&f32, &f32)| (a - b).abs() < 1e-5;
        assert!(found.iter().zip(expected).all(near), "{found:?} instead of {expected:?}");
    }

    #[test]
    fn brightness_scales_and_clamps() {
        let mut image = [0.0, 0.5, 1.0];
        Change::Brightness(1.2).apply(&mut image, 1);
        close(&image, &[0.0, 0.6, 1.0]);
    }

    #[test]
    fn contrast_spreads_around_the_mean_grey() {
        let mut image = [0.2, 0.6];
        Change::Contrast(0.5).apply(&mut image, 1);
        close(&image, &[0.3, 0.5]);

        // Two pixels, red and blue: their grey values are 0.2989 and 0.114.
        let mut image = [1.0, 0.0, 0.0, 0.0, 0.0, 1.0];
        Change::Contrast(0.7).apply(&mut image, 3);
        let rest = 0.3 * (0.2989 + 0.114) / 2.0;
        close(&image, &[0.7 + rest, rest, rest, rest, rest, 0.7 + rest]);
    }

    #[test]
    fn saturation_blends_with_grey() {
        let mut image = [0.8, 0.4, 0.2];
        Change::Saturation(0.7).apply(&mut image, 3);
        let grey = 0.2989 * 0.8 + 0.587 * 0.4 + 0.114 * 0.2;
        close(&image, &[0.56, 0.28, 0.14].map(|v: f32| v + 0.3 * grey));
    }

    #[test]
    fn hues_turn_around_the_circle() {
        let third = 1.0 / 3.0;
        close(&turn_hue([1.0, 0.0, 0.0], third), &[0.0, 1.0, 0.0]);
        close(&turn_hue([1.0, 0.0, 0.0], -third), &[0.0, 0.0, 1.0]);
        close(&turn_hue([0.5, 0.5, 0.5], 0.05), &[0.5, 0.5, 0.5]);
        // colorsys: hsv_to_rgb(h + 0.05, s, v) of rgb_to_hsv(0.8, 0.4, 0.2)
        close(&turn_hue([0.8, 0.4, 0.2], 0.05), &[0.8, 0.58, 0.2]);
        close(&turn_hue([0.2, 0.3, 0.9], -0.075), &[0.2, 0.615, 0.9]);
    }

    #[test]
    fn every_colour_survives_the_way_to_hsv_and_back() {
        let steps = [0.0f32, 0.1, 0.5, 0.9, 1.0];
        for r in steps {
            for g in steps {
                for b in steps {
                    let (h, s, v) = to_hsv([r, g, b]);
                    close(&from_hsv(h, s, v), &[r, g, b]);
                }
            }
        }
        close(&from_hsv(1.0, 1.0, 1.0), &[1.0, 0.0, 0.0]);
    }

    #[test]
    fn amounts_are_in_range_and_all_orders_occur() {
        let mut firsts = [0; 4];
        for index in 0..400 {
            let jitter = Jitter::draw(&mut Stream::new(Purpose::Augment, 0, 0, index));
            for change in jitter.order {
                match change {
                    Change::Hue(turn) => assert!(turn.abs() <= HUE),
                    Change::Brightness(f) | Change::Contrast(f) | Change::Saturation(f) => {
                        assert!((0.7..=1.3).contains(&f));
                    }
                }
            }
            firsts[match jitter.order[0] {
                Change::Brightness(_) => 0,
                Change::Contrast(_) => 1,
                Change::Saturation(_) => 2,
                Change::Hue(_) => 3,
            }] += 1;
        }
        assert!(firsts.iter().all(|count| (60..140).contains(count)), "{firsts:?}");
    }
}
