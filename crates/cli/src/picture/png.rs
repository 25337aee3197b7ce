//! Attention weights as a PNG: a panel a head, one scale for all.

use anyhow::{Context, Result};
use image::codecs::png::{CompressionType, FilterType, PngEncoder};
use image::{Rgb, RgbImage};

use super::canvas::{Align, BODY, Canvas, HEADING, TITLE, fit, width_of};
use super::{LEAST, Weights, tone};
use crate::io::OutputPath;

const BACKGROUND: Rgb<u8> = Rgb([0x12, 0x12, 0x18]);
const BRIGHT: Rgb<u8> = Rgb([0xf2, 0xef, 0xe6]);
const DIM: Rgb<u8> = Rgb([0x9a, 0x98, 0xa4]);
const LINE: Rgb<u8> = Rgb([0x3a, 0x39, 0x46]);

/// A panel's side in pixels, about: each weight is a square of whole pixels.
const SIDE: u32 = 480;
/// Between panels, with room for a heading and for numbers.
const GAP_X: u32 = 76;
const GAP_Y: u32 = 84;
const MARGIN: u32 = 40;
/// From the top to the first panel.
const HEAD: u32 = 156;
/// From the last panel to the bottom.
const FOOT: u32 = 84;
/// Room for the numbers and the word left of a panel.
const AXIS: u32 = 56;
/// Width and room of the colour scale.
const SCALE: u32 = 16;
const SCALE_ROOM: u32 = 96;

/// Text around the panels.
pub(crate) struct Caption<'a> {
    pub(crate) title: &'a str,
    pub(crate) lines: &'a [String],
    pub(crate) foot: &'a str,
}

/// Draws all heads, two a row.
pub(crate) fn draw(heads: &[Weights], caption: &Caption<'_>) -> RgbImage {
    let columns = heads.len().clamp(1, 2);
    let (columns, rows) = (count(columns), count(heads.len().div_ceil(columns)).max(1));
    let panels = columns * SIDE + (columns - 1) * GAP_X;
    let width = MARGIN + AXIS + panels + SCALE_ROOM + MARGIN;
    let height = HEAD + rows * SIDE + (rows - 1) * GAP_Y + FOOT;
    let mut canvas = Canvas::new(width, height, BACKGROUND);

    canvas.text(MARGIN, 34, caption.title, TITLE, Align::Left, BRIGHT);
    for (line, y) in caption.lines.iter().zip((70..).step_by(22)) {
        canvas.text(MARGIN, y, &fit(line, canvas.width() - 2 * MARGIN, BODY), BODY, Align::Left, DIM);
    }
    for (index, head) in (0..).zip(heads) {
        let x = MARGIN + AXIS + index % columns * (SIDE + GAP_X);
        let y = HEAD + index / columns * (SIDE + GAP_Y);
        panel(&mut canvas, head, x, y);
    }
    scale(&mut canvas, width - MARGIN - SCALE_ROOM + 28, HEAD, height - HEAD - FOOT);
    let foot = fit(caption.foot, canvas.width() - 2 * MARGIN, BODY);
    canvas.text(MARGIN, height - 36, &foot, BODY, Align::Left, DIM);
    canvas.into_image()
}

/// One head, with positions along both axes.
fn panel(canvas: &mut Canvas, head: &Weights, x: u32, y: u32) {
    canvas.text(x, y - 26, &head.label, HEADING, Align::Left, BRIGHT);
    for row in 0..SIDE {
        for column in 0..SIDE {
            let query = row as usize * head.queries / SIDE as usize;
            let key = column as usize * head.keys / SIDE as usize;
            canvas.fill(x + column, y + row, 1, 1, colour(tone(head.values[query * head.keys + key])));
        }
    }
    for (from, to, along_x) in [(x, head.keys, true), (y, head.queries, false)] {
        for tick in ticks(to) {
            let at = from + count(tick * SIDE as usize / to.max(1));
            let text = tick.to_string();
            if along_x {
                canvas.fill(at, y + SIDE, 1, 5, DIM);
                canvas.text(at, y + SIDE + 7, &text, BODY, Align::Centre, DIM);
            } else {
                canvas.fill(x - 5, at, 5, 1, DIM);
                canvas.text(x - 9, at.saturating_sub(8), &text, BODY, Align::Right, DIM);
            }
        }
    }
    canvas.text(x + SIDE, y + SIDE + 7, "key", BODY, Align::Right, DIM);
    canvas.text_upwards(x - 28, y + SIDE - width_of("query", BODY) / 2, "query", BODY, DIM);
}

/// The colour scale, with the weights it stands for.
fn scale(canvas: &mut Canvas, x: u32, y: u32, height: u32) {
    for row in 0..height {
        let level = 1.0 - f64::from(row) / f64::from(height.max(2) - 1);
        canvas.fill(x, y + row, SCALE, 1, colour(level));
    }
    for edge in [x - 1, x + SCALE] {
        canvas.fill(edge, y, 1, height, LINE);
    }
    for (weight, text) in [(1.0, "1"), (0.1, "0.1"), (0.01, "0.01"), (LEAST, "0.001")] {
        let at = y + pixels((1.0 - tone(weight)) * f64::from(height - 1));
        canvas.fill(x + SCALE + 1, at, 5, 1, DIM);
        canvas.text(x + SCALE + 10, at.saturating_sub(8), text, BODY, Align::Left, DIM);
    }
    canvas.text(x + SCALE / 2, y - 26, "weight", BODY, Align::Centre, DIM);
}

fn colour(level: f64) -> Rgb<u8> {
    let colour = colorous::INFERNO.eval_continuous(level);
    Rgb([colour.r, colour.g, colour.b])
}

/// Round positions, about five.
fn ticks(length: usize) -> impl Iterator<Item = usize> {
    let steps = [1, 2, 5, 10, 20, 50, 100, 200, 500, 1000];
    let step = steps.into_iter().find(|step| length / step <= 5).unwrap_or(5000);
    (0..length).step_by(step)
}

fn count(count: usize) -> u32 {
    u32::try_from(count).unwrap_or(u32::MAX)
}

#[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "within the picture")]
fn pixels(at: f64) -> u32 {
    at.round() as u32
}

/// Writes the picture.
pub(crate) fn write(image: &RgbImage, place: &OutputPath) -> Result<()> {
    let mut bytes = Vec::new();
    let encoder = PngEncoder::new_with_quality(&mut bytes, CompressionType::Best, FilterType::NoFilter);
    image.write_with_encoder(encoder).context("the picture")?;
    place.write(|out| out.write_all(&bytes))
}
