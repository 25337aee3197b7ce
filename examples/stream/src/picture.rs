//! Each memory's outputs for the bell, as a picture: time goes to the right, a row a head.

use foveal::HostTensor;
use foveal_examples_common::thousands;
use image::{Rgb, RgbImage};

use crate::batch::Request;
use crate::canvas::{Align, BODY, Canvas, Font, HEADING, SMALL, TITLE, blend, width_of};
use crate::melody::{Note, bells};
use crate::model::{BELL_CHANNEL, HEADS, HEADS_32, WIDTH, half_life};

const BACKGROUND: Rgb<u8> = Rgb([0x12, 0x12, 0x18]);
const BRIGHT: Rgb<u8> = Rgb([0xf2, 0xef, 0xe6]);
const DIM: Rgb<u8> = Rgb([0xa4, 0xa2, 0xae]);
const SILENT: Rgb<u8> = Rgb([0x24, 0x23, 0x2e]);
const BELL: Rgb<u8> = Rgb([0xfc, 0xc5, 0x4a]);
const GUESSED: Rgb<u8> = Rgb([0x5f, 0xb0, 0x9c]);
const NOTE: Rgb<u8> = Rgb([0x7d, 0x9b, 0xd8]);

const WIDTH_IN_ALL: u32 = 1280;
const HEIGHT_IN_ALL: u32 = 984;
/// The plots' left edge and width.
const LEFT: u32 = 156;
const PLOT: u32 = 1000;
/// Tops of the plots, and height of the first.
const NOTES: [u32; 2] = [212, 130];
/// Top and height of the row below.
const GUESSES: [u32; 2] = [352, 14];
const WINDOWED: u32 = 436;
const LINEAR: u32 = 696;
/// A head's row.
const BAND: u32 = 24;
const BANDS: u32 = BAND * HEADS_32;
/// Colours span so many powers of ten.
const DECADES: f64 = 2.0;
/// Steps between them: more cannot be told apart, and fewer colours make smaller files.
const TONES: f64 = 100.0;

/// The drawing.
pub(crate) struct Content<'a> {
    pub(crate) request: &'a Request,
    pub(crate) window: usize,
    /// Its outputs of both, `[1, T, H, D]`: windowed, then linear.
    pub(crate) outputs: &'a [HostTensor; 2],
    /// Bytes that both keep between tokens.
    pub(crate) kept: [u64; 2],
    pub(crate) foot: &'a str,
}

/// How much of the bell is in the output of each head, `[T][H]`.
fn heard(output: &HostTensor) -> Vec<[f64; HEADS]> {
    let values = output.to_f64();
    let rows = values.chunks_exact(HEADS * WIDTH);
    rows.map(|row| std::array::from_fn(|head| row[head * WIDTH + BELL_CHANNEL])).collect()
}

/// Draws everything.
pub(crate) fn draw(content: &Content<'_>) -> RgbImage {
    let mut canvas = Canvas::new(WIDTH_IN_ALL, HEIGHT_IN_ALL, BACKGROUND);
    let notes = &*content.request.notes;
    let count = notes.len();
    let axis = Axis { count };
    canvas.text(40, 28, "What is left of a bell", TITLE, Align::Left, BRIGHT);
    let lines = [
        format!(
            "{} notes arrive at two memories on one GPU, {} of them as guesses that came true. Twice a bell",
            thousands(count),
            thousands(content.request.right().count())
        ),
        "rings with a note; bright is how much of it each head still hears. Attention hears it while it is in its"
            .to_owned(),
        "window; the state lets it fade, sooner in some heads and later in others.".to_owned(),
    ];
    for (line, y) in lines.iter().zip((76..).step_by(26)) {
        canvas.text(40, y, line, BODY, Align::Left, DIM);
    }

    roll(&mut canvas, notes, &axis);
    guesses(&mut canvas, content.request, &axis);
    let [pages, state] = content.kept.map(size);
    let headings = [
        format!("attention to the last {} keys and values, in pages: {pages}", thousands(content.window)),
        format!("linear attention, a state of {WIDTH} x {WIDTH} a head: {state}"),
    ];
    for ((top, heading), output) in [WINDOWED, LINEAR].into_iter().zip(headings).zip(content.outputs) {
        canvas.text(LEFT, top - 30, &heading, HEADING, Align::Left, BRIGHT);
        strip(&mut canvas, top, &heard(output), &axis);
    }
    for (head, row) in (0..HEADS).zip(0..) {
        let y = BAND * row + (BAND - 16) / 2;
        canvas.text(LEFT - 12, WINDOWED + y, &format!("head {head}"), SMALL, Align::Right, DIM);
        let beats = format!("{} beats", half_life(head));
        canvas.text(LEFT - 12, LINEAR + y, &beats, SMALL, Align::Right, DIM);
    }
    canvas.text(LEFT - 12, LINEAR + BANDS + 11, "half-life", SMALL, Align::Right, DIM);
    // Where a bell leaves the window.
    for gone in bells(count).map(|bell| bell + content.window).into_iter().filter(|&gone| gone < count) {
        let x = axis.pixel(gone);
        canvas.fill([x.saturating_sub(1), WINDOWED, 3, BANDS], BACKGROUND);
        canvas.dashes(x, WINDOWED, BANDS, BRIGHT);
        let text = "leaves the window";
        let fits = x + 10 + width_of(text, SMALL) < LEFT + PLOT;
        let x = if fits { x + 8 } else { x.saturating_sub(8 + width_of(text, SMALL)) };
        let y = WINDOWED + BANDS / 2 - 8;
        // Legible on what another bell makes bright, too.
        canvas.fill([x.saturating_sub(4), y - 2, width_of(text, SMALL) + 8, 20], BACKGROUND);
        canvas.text(x, y, text, SMALL, Align::Left, BRIGHT);
    }
    ticks(&mut canvas, &axis);
    scale(&mut canvas);
    canvas.text(
        40,
        HEIGHT_IN_ALL - 34,
        &fit(content.foot, WIDTH_IN_ALL - 80, SMALL),
        SMALL,
        Align::Left,
        DIM,
    );
    canvas.into_image()
}

/// The notes, high ones above, the bell's with a line down to both memories.
fn roll(canvas: &mut Canvas, notes: &[Note], axis: &Axis) {
    let [top, height] = NOTES;
    canvas.text(LEFT, top - 30, "the notes", HEADING, Align::Left, BRIGHT);
    let pitches = || notes.iter().map(|note| note.pitch);
    let (low, high) = (pitches().min().unwrap_or(0), pitches().max().unwrap_or(0));
    let span = f64::from((high - low).max(1));
    let thick = 4;
    for (at, note) in notes.iter().enumerate() {
        let x = axis.pixel(at);
        let width = (axis.pixel(at + 1) - x).max(2);
        let y = top + pixels(f64::from(high - note.pitch) / span * f64::from(height - thick));
        let level = (255.0 * (0.3 + 0.7 * note.loudness)).clamp(0.0, 255.0);
        let colour = blend(BACKGROUND, NOTE, u8::try_from(pixels(level)).unwrap_or(u8::MAX));
        canvas.fill([x, y, width, thick], colour);
    }
    for (at, note) in notes.iter().enumerate().filter(|(_, note)| note.bell) {
        let x = axis.pixel(at);
        canvas.fill([x, top, 2, height], BELL);
        let y = top + pixels(f64::from(high - note.pitch) / span * f64::from(height - thick));
        canvas.fill([x.saturating_sub(3), y.saturating_sub(2), 8, 8], BELL);
        canvas.text(x, top - 22, "bell", SMALL, Align::Centre, BELL);
    }
}

/// Below the notes, those that were guessed before they arrived.
fn guesses(canvas: &mut Canvas, request: &Request, axis: &Axis) {
    let [top, height] = GUESSES;
    canvas.text(LEFT - 12, top, "guessed", SMALL, Align::Right, DIM);
    canvas.fill([LEFT, top, PLOT, height], SILENT);
    for at in request.right() {
        let x = axis.pixel(at);
        canvas.fill([x, top, (axis.pixel(at + 1) - x).max(1), height], GUESSED);
    }
}

/// A row for each head.
fn strip(canvas: &mut Canvas, top: u32, heard: &[[f64; HEADS]], axis: &Axis) {
    let max = heard.iter().flatten().fold(1e-30f64, |max, &x| max.max(x));
    for column in 0..PLOT {
        let range = axis.positions(column);
        for (head, row) in (0..HEADS).zip(0..) {
            let loudest = heard.get(range.clone()).unwrap_or_default();
            let loudest = loudest.iter().map(|heads| heads[head]).fold(0.0, f64::max);
            let y = top + BAND * row;
            canvas.fill([LEFT + column, y, 1, BAND - 2], colour(tone(loudest / max)));
        }
    }
}

/// Where a share of the loudest lies on the scale, which is logarithmic.
fn tone(share: f64) -> f64 {
    let tone = (1.0 + share.max(1e-9).log10() / DECADES).clamp(0.0, 1.0);
    (tone * TONES).round() / TONES
}

fn colour(tone: f64) -> Rgb<u8> {
    let colour = colorous::INFERNO.eval_continuous(tone);
    // The map begins in black, but a row that hears nothing has to be told from the background.
    let cover = u8::try_from(pixels(255.0 * (4.0 * tone).min(1.0))).unwrap_or(u8::MAX);
    blend(SILENT, Rgb([colour.r, colour.g, colour.b]), cover)
}

/// The colour scale, with what its colours stand for.
fn scale(canvas: &mut Canvas) {
    let (x, top, height) = (LEFT + PLOT + 24, WINDOWED, LINEAR + BANDS - WINDOWED);
    for row in 0..height {
        let tone = 1.0 - f64::from(row) / f64::from(height - 1);
        canvas.fill([x, top + row, 14, 1], colour(tone));
    }
    for (share, text) in [(1.0, "loudest"), (0.1, "1/10"), (0.01, "1/100")] {
        let at = top + pixels((1.0 - tone(share)) * f64::from(height - 1));
        canvas.fill([x + 14, at, 5, 1], DIM);
        canvas.text(x + 24, at.saturating_sub(8), text, SMALL, Align::Left, DIM);
    }
}

fn ticks(canvas: &mut Canvas, axis: &Axis) {
    let y = LINEAR + BANDS + 2;
    for at in axis.ticks() {
        let x = axis.pixel(at);
        canvas.fill([x, y, 1, 6], DIM);
        canvas.text(x, y + 9, &thousands(at), SMALL, Align::Centre, DIM);
    }
    canvas.text(LEFT + PLOT + 24, y + 9, "notes", SMALL, Align::Left, DIM);
}

/// Time, across the plots.
struct Axis {
    count: usize,
}

impl Axis {
    /// Where a note begins.
    fn pixel(&self, at: usize) -> u32 {
        let across = at.saturating_mul(PLOT as usize) / self.count.max(1);
        LEFT + u32::try_from(across).unwrap_or(PLOT)
    }

    /// The notes of a column, at least one.
    fn positions(&self, column: u32) -> std::ops::Range<usize> {
        let at = |column: u32| column as usize * self.count / PLOT as usize;
        let start = at(column);
        start..at(column + 1).max(start + 1).min(self.count)
    }

    /// Round numbers, about ten.
    fn ticks(&self) -> impl Iterator<Item = usize> + use<> {
        let step = round(self.count.div_ceil(10));
        (0..=self.count).step_by(step)
    }
}

/// The next of 1, 2, 5, 10, 20, 50, ... from `step` on.
fn round(step: usize) -> usize {
    let mut decade = 1;
    loop {
        for digit in [1, 2, 5] {
            if digit * decade >= step {
                return digit * decade;
            }
        }
        decade *= 10;
    }
}

/// Bytes in words.
#[expect(clippy::cast_precision_loss, reason = "shown with three digits")]
pub(crate) fn size(bytes: u64) -> String {
    let kib = bytes as f64 / 1024.0;
    if kib < 1024.0 { format!("{kib:.0} KiB") } else { format!("{:.1} MiB", kib / 1024.0) }
}

/// `text`, cut to that many pixels.
fn fit(text: &str, width: u32, font: Font) -> String {
    let max = (width / width_of("m", font).max(1)) as usize;
    if text.chars().count() <= max {
        return text.to_owned();
    }
    text.chars().take(max.saturating_sub(3)).chain("...".chars()).collect()
}

#[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "within the picture")]
fn pixels(at: f64) -> u32 {
    at.round() as u32
}

#[cfg(test)]
mod tests {
    use foveal::TensorData;

    use super::*;
    use crate::batch::Batch;

    #[test]
    fn pictures_of_any_length_can_be_drawn() {
        for count in [1, 2, 3, 999, 1000, 1001, 4321] {
            let mut batch = Batch::new(count, 4, 256).unwrap();
            while let Some(step) = batch.next().unwrap() {
                batch.settle(&step);
            }
            let values = vec![0.5; count * HEADS * WIDTH];
            let output = HostTensor::new(vec![1, count, HEADS, WIDTH], TensorData::F32(values)).unwrap();
            let outputs = [output.clone(), output];
            let request = &batch.requests[0];
            let content = Content { request, window: 256, outputs: &outputs, kept: [1, 1], foot: "" };
            let image = draw(&content);
            assert!(image.pixels().any(|&pixel| pixel == BELL), "{count}");
            // All is heard to the last column.
            assert_eq!(*image.get_pixel(LEFT + PLOT - 1, LINEAR), colour(1.0), "{count}");
        }
    }

    #[test]
    fn every_note_has_a_column() {
        for count in [1, 7, 1000, 4321] {
            let axis = Axis { count };
            let mut next = 0;
            for column in 0..PLOT {
                let range = axis.positions(column);
                assert!(range.start <= next && !range.is_empty());
                next = next.max(range.end);
            }
            assert_eq!(next, count);
            assert!((2..=12).contains(&axis.ticks().count()), "{count}");
        }
    }

    #[test]
    fn numbers_are_easy_to_read() {
        assert_eq!([size(131_072), size(1 << 20)], ["128 KiB", "1.0 MiB"]);
        assert_eq!([round(1), round(3), round(11), round(500)], [1, 5, 20, 500]);
        assert!((tone(0.1) - 0.5).abs() < 1e-12 && tone(1.0) >= 1.0 && tone(0.0) <= 0.0);
    }
}
