//! A surface to draw on: rectangles and text.

use image::{Rgb, RgbImage};
use noto_sans_mono_bitmap::{FontWeight, RasterHeight, RasterizedChar, get_raster, get_raster_width};

/// A size and weight of text.
#[derive(Clone, Copy, Debug)]
pub(super) struct Font {
    weight: FontWeight,
    height: RasterHeight,
}

/// For the title.
pub(super) const TITLE: Font = Font { weight: FontWeight::Bold, height: RasterHeight::Size24 };
/// For headings of panels.
pub(super) const HEADING: Font = Font { weight: FontWeight::Bold, height: RasterHeight::Size16 };
/// For everything else.
pub(super) const BODY: Font = Font { weight: FontWeight::Regular, height: RasterHeight::Size16 };

/// The fonts of a picture that is shown to an audience: title, headings of panels, everything else.
#[derive(Clone, Copy, Debug)]
pub(super) struct Fonts {
    pub(super) title: Font,
    pub(super) heading: Font,
    pub(super) body: Font,
    /// From one line of body text to the next.
    pub(super) leading: u32,
}

/// For a picture of usual width.
pub(super) const LARGE: Fonts = Fonts {
    title: Font { weight: FontWeight::Bold, height: RasterHeight::Size32 },
    heading: Font { weight: FontWeight::Bold, height: RasterHeight::Size20 },
    body: Font { weight: FontWeight::Regular, height: RasterHeight::Size20 },
    leading: 28,
};
/// For a wide one, which is shrunk where it is shown.
pub(super) const LARGER: Fonts = Fonts {
    title: Font { weight: FontWeight::Bold, height: RasterHeight::Size32 },
    heading: Font { weight: FontWeight::Bold, height: RasterHeight::Size24 },
    body: Font { weight: FontWeight::Regular, height: RasterHeight::Size24 },
    leading: 34,
};

/// Where text stands relative to its point.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Align {
    Left,
    Centre,
    Right,
}

/// The surface.
pub(super) struct Canvas {
    image: RgbImage,
}

impl Canvas {
    pub(super) fn new(width: u32, height: u32, background: Rgb<u8>) -> Self {
        Self { image: RgbImage::from_pixel(width, height, background) }
    }

    pub(super) fn into_image(self) -> RgbImage {
        self.image
    }

    pub(super) fn width(&self) -> u32 {
        self.image.width()
    }

    pub(super) fn fill(&mut self, x: u32, y: u32, width: u32, height: u32, colour: Rgb<u8>) {
        for row in y..(y + height).min(self.image.height()) {
            for column in x..(x + width).min(self.image.width()) {
                self.image.put_pixel(column, row, colour);
            }
        }
    }

    /// As [`Canvas::fill`], mixed with what is there: `cover` of 255.
    pub(super) fn tint(&mut self, [x, y, width, height]: [u32; 4], colour: Rgb<u8>, cover: u8) {
        for row in y..(y + height).min(self.image.height()) {
            for column in x..(x + width).min(self.image.width()) {
                let pixel = self.image.get_pixel_mut(column, row);
                *pixel = blend(*pixel, colour, cover);
            }
        }
    }

    /// A frame of one pixel around a rectangle, outside it.
    pub(super) fn frame(&mut self, [x, y, width, height]: [u32; 4], colour: Rgb<u8>) {
        let (left, top) = (x.saturating_sub(1), y.saturating_sub(1));
        self.fill(left, top, width + 2, 1, colour);
        self.fill(left, y + height, width + 2, 1, colour);
        self.fill(left, top, 1, height + 2, colour);
        self.fill(x + width, top, 1, height + 2, colour);
    }

    /// Text with its top at `y`.
    pub(super) fn text(&mut self, x: u32, y: u32, text: &str, font: Font, align: Align, colour: Rgb<u8>) {
        let left = aligned(x, width_of(text, font), align);
        self.glyphs(text, font, |along, across| (left + along, y + across), colour);
    }

    /// Text that reads upwards, centred on `y`, with its left edge at `x`.
    pub(super) fn text_upwards(&mut self, x: u32, y: u32, text: &str, font: Font, colour: Rgb<u8>) {
        let bottom = y + width_of(text, font) / 2;
        self.glyphs(text, font, |along, across| (x + across, bottom.saturating_sub(along)), colour);
    }

    /// Draws the glyphs, their pixels put where `place` says.
    fn glyphs(&mut self, text: &str, font: Font, place: impl Fn(u32, u32) -> (u32, u32), colour: Rgb<u8>) {
        let advance = advance(font);
        let mut start = 0;
        for character in text.chars() {
            let glyph = get_raster(character, font.weight, font.height)
                .or_else(|| get_raster('?', font.weight, font.height));
            for (across, row) in (0..).zip(glyph.iter().flat_map(RasterizedChar::raster)) {
                for (along, &cover) in (0..).zip(row.iter()) {
                    let (x, y) = place(start + along, across);
                    if let Some(pixel) = self.image.get_pixel_mut_checked(x, y) {
                        *pixel = blend(*pixel, colour, cover);
                    }
                }
            }
            start += advance;
        }
    }
}

fn aligned(x: u32, width: u32, align: Align) -> u32 {
    match align {
        Align::Left => x,
        Align::Centre => x.saturating_sub(width / 2),
        Align::Right => x.saturating_sub(width),
    }
}

fn advance(font: Font) -> u32 {
    u32::try_from(get_raster_width(font.weight, font.height)).unwrap_or(0)
}

/// Pixels that a text is wide.
pub(super) fn width_of(text: &str, font: Font) -> u32 {
    advance(font) * u32::try_from(text.chars().count()).unwrap_or(0)
}

/// `text`, cut to that many pixels.
pub(super) fn fit(text: &str, width: u32, font: Font) -> String {
    let max = (width / advance(font).max(1)) as usize;
    if text.chars().count() <= max {
        text.to_owned()
    } else {
        text.chars().take(max.saturating_sub(3)).chain("...".chars()).collect()
    }
}

/// `text` in lines of at most that many pixels, broken at spaces where that is possible.
pub(super) fn wrap(text: &str, width: u32, font: Font) -> Vec<String> {
    let max = (width / advance(font).max(1)).max(1) as usize;
    let mut lines: Vec<String> = Vec::new();
    let mut line = String::new();
    let mut length = 0;
    for word in text.split(' ') {
        let letters: Vec<char> = word.chars().collect();
        for (part, piece) in letters.chunks(max).enumerate() {
            let gap = usize::from(part == 0 && length > 0);
            if length > 0 && length + gap + piece.len() > max {
                lines.push(std::mem::take(&mut line));
                length = 0;
            } else if gap == 1 {
                line.push(' ');
                length += 1;
            }
            line.extend(piece);
            length += piece.len();
        }
    }
    lines.push(line);
    lines
}

/// The colour that lies `cover` of 255 of the way from `below` to `above`.
pub(super) fn blend(below: Rgb<u8>, above: Rgb<u8>, cover: u8) -> Rgb<u8> {
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
    fn lines_break_at_spaces_and_words_only_where_they_must() {
        let width = |letters: u32| letters * advance(BODY);
        assert_eq!(wrap("causal & window(7, 0)", width(10), BODY), ["causal &", "window(7,", "0)"]);
        assert_eq!(wrap("abcdefgh ij", width(3), BODY), ["abc", "def", "gh", "ij"]);
        assert_eq!(wrap("", width(3), BODY), [""]);
        assert_eq!(wrap("ab", 0, BODY), ["a", "b"]);
        for text in ["a b c d e f", "aa bbb c dddd", "abcdefghij"] {
            for letters in 1..12 {
                let lines = wrap(text, width(letters), BODY);
                assert!(lines.iter().all(|line| line.chars().count() <= letters as usize), "{lines:?}");
                assert_eq!(lines.concat().replace(' ', ""), text.replace(' ', ""));
            }
        }
        assert_eq!(fit("abcdef", width(5), BODY), "ab...");
    }
}
