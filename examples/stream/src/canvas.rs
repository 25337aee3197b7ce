//! A surface to draw on: rectangles and text.

use image::{Rgb, RgbImage};
use noto_sans_mono_bitmap::{FontWeight, RasterHeight, RasterizedChar, get_raster, get_raster_width};

/// A size and weight of text.
pub(crate) type Font = (FontWeight, RasterHeight);

pub(crate) const TITLE: Font = (FontWeight::Bold, RasterHeight::Size32);
pub(crate) const HEADING: Font = (FontWeight::Bold, RasterHeight::Size20);
pub(crate) const BODY: Font = (FontWeight::Regular, RasterHeight::Size20);
pub(crate) const SMALL: Font = (FontWeight::Regular, RasterHeight::Size16);

/// Where text stands relative to its point.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Align {
    Left,
    Centre,
    Right,
}

/// The surface.
pub(crate) struct Canvas {
    image: RgbImage,
}

impl Canvas {
    pub(crate) fn new(width: u32, height: u32, background: Rgb<u8>) -> Self {
        Self { image: RgbImage::from_pixel(width, height, background) }
    }

    pub(crate) fn into_image(self) -> RgbImage {
        self.image
    }

    /// Fills `[x, y, width, height]`, as far as that is on the surface.
    pub(crate) fn fill(&mut self, [x, y, width, height]: [u32; 4], colour: Rgb<u8>) {
        for row in y..y.saturating_add(height).min(self.image.height()) {
            for column in x..x.saturating_add(width).min(self.image.width()) {
                self.image.put_pixel(column, row, colour);
            }
        }
    }

    /// A line downwards, of dashes.
    pub(crate) fn dashes(&mut self, x: u32, y: u32, height: u32, colour: Rgb<u8>) {
        for dash in (y..y + height).step_by(8) {
            self.fill([x, dash, 1, (y + height - dash).min(4)], colour);
        }
    }

    /// Text with its top at `y`. The font knows Basic Latin.
    pub(crate) fn text(&mut self, x: u32, y: u32, text: &str, font: Font, align: Align, colour: Rgb<u8>) {
        let mut left = match align {
            Align::Left => x,
            Align::Centre => x.saturating_sub(width_of(text, font) / 2),
            Align::Right => x.saturating_sub(width_of(text, font)),
        };
        for character in text.chars() {
            let glyph = get_raster(character, font.0, font.1).or_else(|| get_raster('?', font.0, font.1));
            for (row, covers) in (y..).zip(glyph.iter().flat_map(RasterizedChar::raster)) {
                for (column, &cover) in (left..).zip(covers.iter()) {
                    if let Some(pixel) = self.image.get_pixel_mut_checked(column, row) {
                        *pixel = blend(*pixel, colour, cover);
                    }
                }
            }
            left += width_of("m", font);
        }
    }
}

/// Pixels that a text is wide.
pub(crate) fn width_of(text: &str, (weight, height): Font) -> u32 {
    u32::try_from(get_raster_width(weight, height) * text.chars().count()).unwrap_or(u32::MAX)
}

/// The colour that lies `cover` of 255 of the way from `below` to `above`.
pub(crate) fn blend(below: Rgb<u8>, above: Rgb<u8>, cover: u8) -> Rgb<u8> {
    let mix = |a: u8, b: u8| {
        let (a, b, cover) = (u16::from(a), u16::from(b), u16::from(cover));
        u8::try_from((a * (255 - cover) + b * cover) / 255).unwrap_or(u8::MAX)
    };
    Rgb([mix(below[0], above[0]), mix(below[1], above[1]), mix(below[2], above[2])])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_lies_beyond_the_edge_is_left_out() {
        let (black, white) = (Rgb([0; 3]), Rgb([255; 3]));
        let mut canvas = Canvas::new(20, 20, black);
        canvas.fill([15, 15, 100, u32::MAX], white);
        canvas.text(2, 10, "a long text", BODY, Align::Right, white);
        canvas.dashes(3, 10, 50, white);
        let image = canvas.into_image();
        assert_eq!((*image.get_pixel(19, 19), *image.get_pixel(14, 14)), (white, black));
        assert_eq!(blend(black, white, 255), white);
    }
}
