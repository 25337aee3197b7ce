//! A mask as a PNG, for talks and papers: a panel a head, keys across and queries down.

use std::ops::Range;

use foveal_kernels::block_mask::{BlockClass, BlockGrid, BlockMask, Counts};
use image::{Rgb, RgbImage};

use super::canvas::{Align, Canvas, Fonts, LARGE, LARGER, TITLE, blend, fit, width_of, wrap};
use crate::ui::percent;

const BACKGROUND: Rgb<u8> = Rgb([0xff, 0xff, 0xff]);
const INK: Rgb<u8> = Rgb([0x1d, 0x23, 0x2e]);
const DIM: Rgb<u8> = Rgb([0x5b, 0x63, 0x70]);
const LINE: Rgb<u8> = Rgb([0xa9, 0xaf, 0xb8]);

/// Blue and orange: told apart by everyone, and in grey.
const FULL: Rgb<u8> = Rgb([0x1f, 0x5a, 0xa6]);
const PARTIAL: Rgb<u8> = Rgb([0xf0, 0x8a, 0x24]);
/// Elements of partial blocks that are not visible.
const HIDDEN: Rgb<u8> = Rgb([0xfd, 0xe7, 0xc8]);
const EMPTY: Rgb<u8> = Rgb([0xf0, 0xf1, 0xf3]);

/// The most panels of a picture.
pub(crate) const MAX_PANELS: usize = 8;

const MARGIN: u32 = 44;
/// A tick, and from its end to the number.
const TICK: u32 = 7;
const TICK_GAP: u32 = 6;
/// Below this a panel's shorter side could not be read.
const MIN_SIDE: u32 = 140;
/// The narrowest picture: the legend and most titles fit.
const MIN_WIDTH: u32 = 860;
/// Blocks of fewer pixels have no lines between them.
const MIN_CELL: u32 = 5;
/// Blocks of fewer pixels do not show their elements: few among many would fade to nothing.
const MIN_SHOWN: u32 = 3;

/// Whether query `q` sees key `k` of a panel's head.
pub(crate) type Visible<'a> = &'a dyn Fn(usize, usize) -> bool;

/// One list of blocks.
pub(crate) struct Panel<'a> {
    /// The heading above it; a single panel needs none.
    pub(crate) label: String,
    pub(crate) batch: usize,
    pub(crate) head: usize,
    /// Asked about elements of partial blocks only.
    pub(crate) visible: Visible<'a>,
}

/// Draws the panels of a mask.
pub(crate) fn draw(
    title: &str,
    line: &str,
    mask: &BlockMask,
    panels: &[Panel<'_>],
    counts: Counts,
) -> RgbImage {
    let frame = Frame::new(&mask.grid(), panels.len());
    let fonts = frame.fonts;
    let width = frame.width.max(MIN_WIDTH);
    let inner = width - 2 * MARGIN;
    let one_line = width_of(title, fonts.title) <= inner;
    let font = if one_line { fonts.title } else { TITLE };
    let mut titles = wrap(title, inner, font);
    if titles.len() > 3 {
        titles.truncate(2);
        titles.push("...".to_owned());
    }
    let title_leading = if one_line { 42 } else { 32 };
    let head = MARGIN - 8 + title_leading * count(titles.len()) + 2 * fonts.leading + 26;
    let height = head + frame.height + MARGIN - 8;

    let mut canvas = Canvas::new(width, height, BACKGROUND);
    let mut y = MARGIN - 8;
    for title in &titles {
        canvas.text(MARGIN, y, title, font, Align::Left, INK);
        y += title_leading;
    }
    canvas.text(MARGIN, y, &fit(line, inner, fonts.body), fonts.body, Align::Left, DIM);
    legend(&mut canvas, &fonts, y + fonts.leading + 10, counts);
    // A narrow picture stands in the middle of the width that the text needs.
    let left = (width - frame.width) / 2;
    for (index, panel) in (0..).zip(panels) {
        let (x, y) = frame.place(index);
        draw_panel(&mut canvas, mask, panel, &frame, (left + x, head + y));
    }
    canvas.into_image()
}

/// Where panels lie, and how large they are.
struct Frame {
    columns: u32,
    /// Pixels of a panel's area.
    area: (u32, u32),
    /// Room left of the area for numbers and a word.
    axis: u32,
    heading: u32,
    /// Room below the area for numbers and a word.
    below: u32,
    fonts: Fonts,
    width: u32,
    height: u32,
}

impl Frame {
    fn new(grid: &BlockGrid, panels: usize) -> Self {
        let (columns, side) = match panels {
            0 | 1 => (1, 896),
            2 => (2, 640),
            3 => (3, 512),
            4 => (2, 576),
            5 | 6 => (3, 448),
            _ => (4, 384),
        };
        let rows = count(panels.max(1)).div_ceil(columns);
        let area = (extent(grid.kv_len, grid.q_len, side), extent(grid.q_len, grid.kv_len, side));
        let fonts = if columns > 2 { LARGER } else { LARGE };
        let axis = fonts.leading + 6 + width_of(&grid.q_len.to_string(), fonts.body) + TICK_GAP + TICK;
        let below = TICK + TICK_GAP + 2 * fonts.leading - 5;
        let heading = if panels > 1 { fonts.leading + 6 } else { 0 };
        let gap = 36;
        let width = 2 * MARGIN + columns * (axis + area.0) + (columns - 1) * gap;
        let height = rows * (heading + area.1 + below) + (rows - 1) * 24;
        Self { columns, area, axis, heading, below, fonts, width, height }
    }

    /// The top left corner of a panel's area.
    fn place(&self, index: u32) -> (u32, u32) {
        let (column, row) = (index % self.columns, index / self.columns);
        let x = MARGIN + self.axis + column * (self.axis + self.area.0 + 36);
        (x, self.heading + row * (self.heading + self.area.1 + self.below + 24))
    }
}

/// Pixels of an axis of `length` positions where the other has `other`: whole pixels a position where there is room for
/// them, so that every position is drawn alike.
fn extent(length: usize, other: usize, side: u32) -> u32 {
    let longest = length.max(other).max(1);
    let whole = (side as usize + longest / 2) / longest;
    // A third too large is the most that rounding up to one costs; beyond that a pixel had better be several positions.
    let pixels = if whole > 0 && whole * longest <= side as usize * 4 / 3 {
        whole.min(64) * length
    } else {
        length * side as usize / longest
    };
    if pixels >= MIN_SIDE as usize {
        return count(pixels);
    }
    // Stretched; where positions are few, by whole pixels.
    let few = count(length.max(1));
    if few < MIN_SIDE { few * MIN_SIDE.div_ceil(few) } else { MIN_SIDE }
}

fn draw_panel(canvas: &mut Canvas, mask: &BlockMask, panel: &Panel<'_>, frame: &Frame, (x, y): (u32, u32)) {
    let (width, height) = frame.area;
    let fonts = &frame.fonts;
    let grid = mask.grid();
    if frame.heading > 0 {
        let label = fit(&panel.label, width, fonts.heading);
        canvas.text(x, y - fonts.leading - 2, &label, fonts.heading, Align::Left, INK);
    }
    let across = Axis { length: grid.kv_len, block: grid.kv_block, pixels: width };
    let down = Axis { length: grid.q_len, block: grid.q_block, pixels: height };
    let elements = across.cell() >= MIN_SHOWN && down.cell() >= MIN_SHOWN;
    for row in 0..height {
        let queries = down.positions(row);
        for column in 0..width {
            let keys = across.positions(column);
            canvas.fill(x + column, y + row, 1, 1, colour(mask, panel, elements, [&queries, &keys]));
        }
    }
    if across.cell() >= MIN_CELL && down.cell() >= MIN_CELL {
        // Light over dark and dark over light would hide either; white at half strength shows on all four colours.
        let (columns, rows) = (across.edges(), down.edges());
        columns.for_each(|at| canvas.tint([x + at, y, 1, height], BACKGROUND, 150));
        rows.for_each(|at| canvas.tint([x, y + at, width, 1], BACKGROUND, 150));
    }
    canvas.frame([x, y, width, height], LINE);
    for (at, text) in across.ticks(width_of(&grid.kv_len.to_string(), fonts.body) + 24) {
        canvas.fill(x + at, y + height + 1, 1, TICK, LINE);
        canvas.text(x + at, y + height + TICK + TICK_GAP, &text, fonts.body, Align::Centre, DIM);
    }
    for (at, text) in down.ticks(fonts.leading + 20) {
        canvas.fill(x - 1 - TICK, y + at, TICK, 1, LINE);
        canvas.text(
            x - TICK - TICK_GAP - 1,
            (y + at).saturating_sub(fonts.leading * 2 / 5),
            &text,
            fonts.body,
            Align::Right,
            DIM,
        );
    }
    canvas.text(
        x + width / 2,
        y + height + TICK + TICK_GAP + fonts.leading - 3,
        "key",
        fonts.body,
        Align::Centre,
        INK,
    );
    canvas.text_upwards(x - frame.axis, y + height / 2, "query", fonts.body, INK);
}

/// Samples along one axis of a pixel that covers many positions.
const SAMPLES: usize = 6;

/// The mean colour of the elements of a pixel, or of its blocks if their `elements` are not shown.
fn colour(
    mask: &BlockMask,
    panel: &Panel<'_>,
    elements: bool,
    [queries, keys]: [&Range<usize>; 2],
) -> Rgb<u8> {
    let grid = mask.grid();
    let mut sum = [0u32; 3];
    let mut samples = 0;
    // Most pixels lie in one block, whose class is then looked up once.
    let mut known: Option<(usize, usize, BlockClass)> = None;
    for q in sampled(queries) {
        for k in sampled(keys) {
            let (q_block, kv_block) = (q / grid.q_block, k / grid.kv_block);
            let class = match known {
                Some((row, column, class)) if (row, column) == (q_block, kv_block) => class,
                _ => mask.class(panel.batch, panel.head, q_block, kv_block),
            };
            known = Some((q_block, kv_block, class));
            let Rgb(one) = match class {
                BlockClass::Full => FULL,
                BlockClass::Empty => EMPTY,
                BlockClass::Partial if !elements || (panel.visible)(q, k) => PARTIAL,
                BlockClass::Partial => HIDDEN,
            };
            sum.iter_mut().zip(one).for_each(|(sum, one)| *sum += u32::from(one));
            samples += 1;
        }
    }
    Rgb(sum.map(|sum| u8::try_from(sum / samples.max(1)).unwrap_or(u8::MAX)))
}

/// The positions of a pixel, or some of them that are spread evenly.
fn sampled(positions: &Range<usize>) -> impl Iterator<Item = usize> + use<> {
    let (start, length) = (positions.start, positions.len());
    let count = length.min(SAMPLES);
    (0..count).map(move |i| start + (2 * i + 1) * length / (2 * count))
}

/// One axis of a panel.
struct Axis {
    length: usize,
    block: usize,
    pixels: u32,
}

impl Axis {
    /// The positions that a pixel covers, at least one.
    fn positions(&self, pixel: u32) -> Range<usize> {
        let at = |pixel: u32| pixel as usize * self.length / self.pixels as usize;
        let start = at(pixel).min(self.length - 1);
        start..at(pixel + 1).clamp(start + 1, self.length)
    }

    /// Where a position begins.
    fn pixel(&self, position: usize) -> u32 {
        count((position * self.pixels as usize).div_ceil(self.length))
    }

    /// Pixels of a block.
    fn cell(&self) -> u32 {
        self.pixel(self.block.min(self.length))
    }

    /// Where blocks meet.
    fn edges(&self) -> impl Iterator<Item = u32> + '_ {
        (self.block..self.length).step_by(self.block.max(1)).map(|edge| self.pixel(edge))
    }

    /// Powers of two apart, as blocks are, and as many as fit with room between them.
    fn ticks(&self, room: u32) -> Vec<(u32, String)> {
        let max = (self.pixels / room.max(1)).clamp(1, 8) as usize;
        let mut step = 1;
        while self.length.div_ceil(step) > max {
            step *= 2;
        }
        let mut ticks: Vec<(u32, String)> =
            (0..self.length).step_by(step).map(|at| (self.pixel(at), at.to_string())).collect();
        if ticks.last().is_none_or(|(at, _)| at + room <= self.pixels) {
            ticks.push((self.pixels, self.length.to_string()));
        }
        ticks
    }
}

/// The legend of the colours, with the share of blocks of each.
fn legend(canvas: &mut Canvas, fonts: &Fonts, y: u32, counts: Counts) {
    let Counts { full, partial, empty } = counts;
    let mut x = MARGIN;
    let side = fonts.leading - 8;
    for (name, blocks, colours) in
        [("full", full, [FULL; 2]), ("partial", partial, [PARTIAL, HIDDEN]), ("empty", empty, [EMPTY; 2])]
    {
        // A partial block is shown as half of it visible, along the diagonal.
        for row in 0..side {
            canvas.fill(x, y + row, row + 1, 1, colours[0]);
            canvas.fill(x + row + 1, y + row, side - row - 1, 1, colours[1]);
        }
        canvas.frame([x, y, side, side], blend(colours[0], INK, 60));
        let text = format!("{name} {}", share(blocks, full + partial + empty));
        canvas.text(x + side + 10, y, &text, fonts.body, Align::Left, INK);
        x += side + 10 + width_of(&text, fonts.body) + 36;
    }
    canvas.text(x, y, "of blocks", fonts.body, Align::Left, DIM);
}

/// A share of blocks in words.
#[expect(clippy::cast_precision_loss, reason = "shown with three digits")]
pub(crate) fn share(count: u64, all: u64) -> String {
    percent(count as f64 / all.max(1) as f64)
}

fn count(count: usize) -> u32 {
    u32::try_from(count).unwrap_or(u32::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn picture(q_len: usize, kv_len: usize, panels: usize) -> RgbImage {
        let grid = BlockGrid::new(q_len, kv_len, 16, 16);
        let map: Vec<u8> = [1, 2, 0].into_iter().cycle().take(grid.rows() * grid.kv_blocks()).collect();
        let mask = BlockMask::from_dense_blocks(grid, &map).unwrap();
        let visible = |q: usize, k: usize| (q + k).is_multiple_of(2);
        let panels: Vec<Panel<'_>> = (0..panels)
            .map(|head| Panel { label: format!("head {head}"), batch: 0, head, visible: &visible })
            .collect();
        draw("causal & window(3, 0)", "a line", &mask, &panels, mask.counts())
    }

    fn has(image: &RgbImage, colour: Rgb<u8>) -> bool {
        image.pixels().any(|&pixel| pixel == colour)
    }

    #[test]
    fn pictures_of_all_shapes_show_all_kinds() {
        for (q_len, kv_len) in [(48, 48), (100, 70), (1, 4096), (4096, 1), (3000, 200), (40_000, 500)] {
            for panels in [1, 2, 3, 5, 8] {
                let image = picture(q_len, kv_len, panels);
                assert!(image.width() >= MIN_WIDTH && image.width() < 2800, "{q_len} {kv_len} {panels}");
                assert!(image.height() < 2000, "{q_len} {kv_len} {panels}: {}", image.height());
                for colour in [FULL, PARTIAL, HIDDEN, EMPTY] {
                    assert!(has(&image, colour), "{q_len} {kv_len} {panels}: {colour:?}");
                }
            }
        }
    }

    #[test]
    fn every_position_belongs_to_a_pixel_and_ticks_stay_within() {
        for (length, block) in [(1, 16), (7, 3), (48, 16), (896, 64), (897, 64), (1000, 128), (65_536, 64)] {
            for pixels in [140, 384, 896, 897] {
                let axis = Axis { length, block, pixels };
                let mut next = 0;
                for pixel in 0..pixels {
                    let positions = axis.positions(pixel);
                    assert!(positions.start <= next && positions.end > positions.start);
                    next = next.max(positions.end);
                }
                assert_eq!(next, length);
                for room in [30, 48, 200] {
                    let ticks = axis.ticks(room);
                    assert_eq!(ticks[0], (0, "0".to_owned()));
                    assert!(ticks.is_sorted() || ticks.is_sorted_by_key(|(at, _)| *at));
                    assert!(ticks.iter().all(|(at, _)| *at <= pixels) && ticks.len() <= 9, "{ticks:?}");
                }
            }
        }
    }

    #[test]
    fn samples_are_spread_and_within() {
        assert_eq!(sampled(&(3..4)).collect::<Vec<_>>(), [3]);
        assert_eq!(sampled(&(0..6)).collect::<Vec<_>>(), [0, 1, 2, 3, 4, 5]);
        assert_eq!(sampled(&(100..220)).collect::<Vec<_>>(), [110, 130, 150, 170, 190, 210]);
    }
}
