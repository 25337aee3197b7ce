//! Text as vello draws it: glyphs and where they stand.

use foveal_examples_common::Failure;
use skrifa::instance::{LocationRef, Size};
use skrifa::{FontRef, GlyphId, MetadataProvider};
use vello::kurbo::{Affine, Point};
use vello::peniko::{Blob, Color, Fill, FontData};
use vello::{Glyph, Scene};

/// Which face.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Face {
    Regular,
    Italic,
    Bold,
}

/// Style of text.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Style {
    pub(crate) face: Face,
    /// Pixels per em.
    pub(crate) size: f32,
    pub(crate) colour: Color,
}

/// Which end of the text stands at the given point.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Anchor {
    Start,
    Middle,
    End,
}

/// Noto Sans in a few faces.
pub(crate) struct Fonts {
    regular: Font,
    italic: Font,
    bold: Font,
}

struct Font {
    /// As vello shares it.
    data: FontData,
    /// The same, to be measured.
    font: FontRef<'static>,
}

impl Font {
    fn new(bytes: &'static [u8]) -> Result<Self, Failure> {
        let font = FontRef::new(bytes).map_err(|error| Failure::failed("the font", error))?;
        Ok(Self { data: FontData::new(Blob::new(std::sync::Arc::new(bytes)), 0), font })
    }

    /// The glyphs of a line and where each begins, and how wide the line is. Words of the sample need no shaping: no
    /// ligatures, one direction.
    fn line(&self, text: &str, size: f32) -> (Vec<Glyph>, f32) {
        let characters = self.font.charmap();
        let metrics = self.font.glyph_metrics(Size::new(size), LocationRef::default());
        let mut x = 0.0;
        let place = |character| {
            let id = characters.map(character).unwrap_or(GlyphId::NOTDEF);
            let glyph = Glyph { id: id.to_u32(), x, y: 0.0 };
            x += metrics.advance_width(id).unwrap_or_default();
            glyph
        };
        let glyphs = text.chars().map(place).collect();
        (glyphs, x)
    }
}

impl Fonts {
    pub(crate) fn load() -> Result<Self, Failure> {
        Ok(Self {
            regular: Font::new(notosans::REGULAR_TTF)?,
            italic: Font::new(notosans::ITALIC_TTF)?,
            bold: Font::new(notosans::BOLD_TTF)?,
        })
    }

    fn face(&self, face: Face) -> &Font {
        match face {
            Face::Regular => &self.regular,
            Face::Italic => &self.italic,
            Face::Bold => &self.bold,
        }
    }

    /// How wide a line is, in pixels.
    pub(crate) fn width(&self, text: &str, style: Style) -> f64 {
        f64::from(self.face(style.face).line(text, style.size).1)
    }

    /// Draws a line whose baseline passes through `at`, turned there by `turn` radians.
    pub(crate) fn draw(
        &self,
        scene: &mut Scene,
        at: Point,
        turn: f64,
        text: &str,
        style: Style,
        anchor: Anchor,
    ) {
        let font = self.face(style.face);
        let (glyphs, width) = font.line(text, style.size);
        let back = match anchor {
            Anchor::Start => 0.0,
            Anchor::Middle => f64::from(width) / 2.0,
            Anchor::End => f64::from(width),
        };
        let place = Affine::translate(at.to_vec2()) * Affine::rotate(turn) * Affine::translate((-back, 0.0));
        scene
            .draw_glyphs(&font.data)
            .font_size(style.size)
            .transform(place)
            .brush(style.colour)
            .draw(Fill::NonZero, glyphs.into_iter());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn wider_text_is_wider() {
        let fonts = Fonts::load().unwrap();
        let width = |text, size| fonts.width(text, Style { face: Face::Regular, size, colour: Color::BLACK });
        assert!(width("harbour", 14.0) > width("the", 14.0));
        assert!((width("harbour", 28.0) / width("harbour", 14.0) - 2.0).abs() < 0.01);
        assert!(width("", 14.0).abs() < 1e-9);
    }
}
