//! The picture as a scene: the maps come from the device, all else is vector graphics.

use std::f64::consts::FRAC_PI_2;
use std::ops::Range;

use image::RgbImage;
use vello::Scene;
use vello::kurbo::{Affine, BezPath, Circle, Line, Point, Rect, Shape, Stroke, Vec2};
use vello::peniko::{Color, Fill, Gradient, ImageBrush, ImageData, ImageQuality};

use crate::layout::{ARCS, CELL, HEADING, LABELS, Layout, MARGIN, Panel};
use crate::ramp;
use crate::text::{Anchor, Face, Fonts, Style};

/// The page: the ramp begins with it, so that what gets no attention is not there.
pub(crate) fn paper() -> Color {
    ramp::colour(0.0)
}

const INK: Color = Color::from_rgb8(0x26, 0x24, 0x33);
const GREY: Color = Color::from_rgb8(0x6e, 0x6a, 0x78);
const RULE: Color = Color::from_rgb8(0xcf, 0xca, 0xc6);

const TITLE: Style = Style { face: Face::Bold, size: 36.0, colour: INK };
const SUBTITLE: Style = Style { face: Face::Regular, size: 17.0, colour: GREY };
const NAME: Style = Style { face: Face::Bold, size: 18.0, colour: INK };
const LABEL: Style = Style { face: Face::Regular, size: 14.0, colour: INK };
const NOTE: Style = Style { face: Face::Regular, size: 14.0, colour: GREY };
const AXIS: Style = Style { face: Face::Italic, size: 13.0, colour: GREY };

/// How to read the maps, below the colour scale.
const NOTES: [&str; 5] = [
    "Less than an even share is blank.",
    "A row is a token that asks, a",
    "column one that is asked. Ticks",
    "are ends of sentences, and the",
    "square is what is enlarged.",
];

/// Content of the picture.
pub(crate) struct Content<'a> {
    pub(crate) title: &'a str,
    pub(crate) subtitle: &'a [String],
    pub(crate) foot: &'a str,
    pub(crate) heads: &'a [String],
    /// All tokens of the text.
    pub(crate) tokens: &'a [String],
    /// Those that are enlarged.
    pub(crate) passage: Range<usize>,
    /// Weights `[H, passage, T]`, which only the curves are drawn from.
    pub(crate) weights: &'a [f64],
}

/// Draws everything. `tiles` is a texture on the device with a texel for every weight, the heads one below the other.
pub(crate) fn draw(layout: &Layout, content: &Content<'_>, fonts: &Fonts, tiles: ImageData) -> Scene {
    let mut page = Page {
        scene: Scene::new(),
        fonts,
        // A weight is a square of one colour, however far it is enlarged.
        tiles: ImageBrush::new(tiles).with_quality(ImageQuality::Low),
    };
    page.text((MARGIN, MARGIN + 26.0), content.title, TITLE, Anchor::Start);
    for (line, y) in content.subtitle.iter().zip([60.0, 84.0]) {
        page.text((MARGIN, MARGIN + y), line, SUBTITLE, Anchor::Start);
    }
    page.scale(layout.bar, content.tokens.len());
    for (head, (&map, name)) in layout.maps.iter().zip(content.heads).enumerate() {
        page.whole(map, head, name, content);
    }
    for (head, (panel, name)) in layout.panels.iter().zip(content.heads).enumerate() {
        page.panel(panel, head, name, content);
    }
    let y = layout.foot.y - 28.0;
    page.line((MARGIN, y), (layout.size.width - MARGIN, y), RULE);
    page.text((layout.foot.x, layout.foot.y), content.foot, NOTE, Anchor::Start);
    page.scene
}

/// Which enlarged weights have another colour in the picture than theirs: by head, row and column, with the weight. What
/// went through a texture and an atlas of images may have ended up elsewhere.
pub(crate) fn misplaced(
    picture: &RgbImage,
    layout: &Layout,
    content: &Content<'_>,
) -> Vec<(usize, usize, usize, f64)> {
    let (keys, passage) = (content.tokens.len(), &content.passage);
    let mut wrong = Vec::new();
    for (at, &weight) in content.weights.iter().enumerate() {
        let (head, row, key) = (at / keys / passage.len(), at / keys % passage.len(), at % keys);
        let Some(panel) = layout.panels.get(head).filter(|_| passage.contains(&key)) else { continue };
        let column = key - passage.start;
        let middle = panel.map.origin() + Vec2::new(Panel::middle(column), Panel::middle(row));
        #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "saturates")]
        let pixel = picture.get_pixel_checked(middle.x as u32, middle.y as u32);
        if !pixel.is_some_and(|colour| ramp::is_colour_of(colour.0, weight, keys)) {
            wrong.push((head, row, column, weight));
        }
    }
    wrong
}

/// A token's strongest tie to another one of the passage.
#[derive(Clone, Copy, Debug, PartialEq)]
struct Tie {
    from: usize,
    to: usize,
    weight: f64,
}

/// For each token of the passage the other one of it that it attends to most, if that gets more than three times an even
/// share; weak ties first, so that strong ones are drawn over them.
fn ties(rows: &[f64], length: usize, passage: &Range<usize>) -> Vec<Tie> {
    let strongest = |(from, row): (usize, &[f64])| {
        let within = row.get(passage.clone()).unwrap_or_default();
        let others = within.iter().copied().enumerate().filter(|&(to, _)| to != from);
        let (to, weight) = others.max_by(|(_, a), (_, b)| a.total_cmp(b))?;
        (weight * length as f64 > 3.0).then_some(Tie { from, to, weight })
    };
    let mut ties: Vec<Tie> = rows.chunks(length.max(1)).enumerate().filter_map(strongest).collect();
    ties.sort_by(|a, b| a.weight.total_cmp(&b.weight));
    ties
}

/// A scene being drawn.
struct Page<'a> {
    scene: Scene,
    fonts: &'a Fonts,
    tiles: ImageBrush,
}

impl Page<'_> {
    fn text(&mut self, at: impl Into<Point>, text: &str, style: Style, anchor: Anchor) {
        self.fonts.draw(&mut self.scene, at.into(), 0.0, text, style, anchor);
    }

    /// Text that is read upwards.
    fn text_up(&mut self, at: impl Into<Point>, text: &str, style: Style, anchor: Anchor) {
        self.fonts.draw(&mut self.scene, at.into(), -FRAC_PI_2, text, style, anchor);
    }

    fn fill(&mut self, shape: &impl Shape, colour: Color) {
        self.scene.fill(Fill::NonZero, Affine::IDENTITY, colour, None, shape);
    }

    fn stroke(&mut self, shape: &impl Shape, colour: Color, width: f64) {
        self.scene.stroke(&Stroke::new(width), Affine::IDENTITY, colour, None, shape);
    }

    /// A rule, level or upright, through the middle of pixels: between two rows of them it would be a grey smear on both.
    fn line(&mut self, from: impl Into<Point>, to: impl Into<Point>, colour: Color) {
        let middle = |at: Point| at.floor() + Vec2::new(0.5, 0.5);
        self.stroke(&Line::new(middle(from.into()), middle(to.into())), colour, 1.0);
    }

    /// Draws the weights of `head` into `place`, from those at `first` (row and column) on.
    fn weights(&mut self, place: Rect, head: usize, length: usize, first: usize, enlarged: f64) {
        let texel = Point::new(first as f64, (head * length + first) as f64);
        let onto = Affine::translate(place.origin().to_vec2())
            * Affine::scale(enlarged)
            * Affine::translate(-texel.to_vec2());
        self.scene.fill(Fill::NonZero, Affine::IDENTITY, &self.tiles, Some(onto), &place);
    }

    /// The colour scale, with the weights it stands for.
    fn scale(&mut self, bar: Rect, keys: usize) {
        self.text((bar.x0, bar.y0 - 18.0), "Share of the attention", NAME, Anchor::Start);
        let stops: Vec<Color> = (0..=32).map(|stop| ramp::colour(f64::from(stop) / 32.0)).collect();
        let gradient = Gradient::new_linear((bar.x0, 0.0), (bar.x1, 0.0)).with_stops(stops.as_slice());
        self.scene.fill(Fill::NonZero, Affine::IDENTITY, &gradient, None, &bar);
        self.stroke(&bar.inset(0.5), RULE, 1.0);
        let even = format!("1/{keys}");
        let ticks = [(1.0 / keys as f64, even.as_str()), (0.03, "3 %"), (0.1, "10 %"), (1.0, "100 %")];
        for (weight, text) in ticks {
            let tone = ramp::tone(weight, keys);
            let x = bar.x0 + tone * bar.width();
            self.line((x, bar.y1), (x, bar.y1 + 6.0), GREY);
            let anchor = match tone {
                0.0 => Anchor::Start,
                1.0 => Anchor::End,
                _ => Anchor::Middle,
            };
            self.text((x, bar.y1 + 21.0), text, NOTE, anchor);
        }
        for (line, text) in NOTES.into_iter().enumerate() {
            self.text((bar.x0, bar.y1 + 52.0 + 20.0 * line as f64), text, NOTE, Anchor::Start);
        }
    }

    /// All weights of a head, a pixel each, with ticks where sentences end and the passage outlined.
    fn whole(&mut self, map: Rect, head: usize, name: &str, content: &Content<'_>) {
        self.text((map.x0, map.y0 - 12.0), name, NOTE, Anchor::Start);
        self.weights(map, head, content.tokens.len(), 0, 1.0);
        self.stroke(&map.inset(0.5), RULE, 1.0);
        for end in ends(content.tokens) {
            let (x, y) = (map.x0 + end as f64, map.y0 + end as f64);
            self.line((x, map.y1), (x, map.y1 + 5.0), GREY);
            self.line((map.x0 - 5.0, y), (map.x0, y), GREY);
        }
        let [from, to] = [content.passage.start as f64, content.passage.end as f64];
        let passage = Rect::new(map.x0 + from, map.y0 + from, map.x0 + to, map.y0 + to);
        self.stroke(&passage.inset(0.5), INK, 1.0);
    }

    /// A head's weights within the passage, enlarged, with its tokens along both axes and curves above them.
    fn panel(&mut self, panel: &Panel, head: usize, name: &str, content: &Content<'_>) {
        let Content { tokens, passage, weights, .. } = content;
        let map = panel.map;
        self.text((map.x0, panel.frame.y0 + 16.0), name, NAME, Anchor::Start);
        self.weights(map, head, tokens.len(), passage.start, CELL);
        self.stroke(&map.inset(0.5), RULE, 1.0);
        let shown = tokens.get(passage.clone()).unwrap_or_default();
        for end in ends(shown) {
            let at = end as f64 * CELL;
            self.line((map.x0 - LABELS, map.y0 + at), (map.x1, map.y0 + at), RULE);
            self.line((map.x0 + at, map.y0 - LABELS), (map.x0 + at, map.y1), RULE);
        }
        // Baselines lie this far below the middle of the text.
        let drop = f64::from(LABEL.size) * 0.33;
        for (index, token) in shown.iter().enumerate() {
            let middle = Panel::middle(index);
            self.text((map.x0 - 8.0, map.y0 + middle + drop), token, LABEL, Anchor::End);
            self.text_up((map.x0 + middle + drop, map.y0 - 8.0), token, LABEL, Anchor::Start);
            // Up to where its curves begin.
            let above = map.y0 - 8.0 - self.fonts.width(token, LABEL) - 4.0;
            self.line(panel.above(index), (map.x0 + middle, above), RULE);
        }
        self.text((panel.frame.x0, map.y0 - 10.0), "asks", AXIS, Anchor::Start);
        self.text_up((map.x0 - 10.0, map.y0 - LABELS + 2.0), "asked", AXIS, Anchor::End);
        let rows = passage.len() * tokens.len();
        let rows = weights.get(head * rows..(head + 1) * rows).unwrap_or_default();
        for tie in ties(rows, tokens.len(), passage) {
            self.tie(panel, tie, tokens.len());
        }
    }

    /// A curve from a token to the one that it attends to, which has the dot.
    fn tie(&mut self, panel: &Panel, tie: Tie, keys: usize) {
        let (from, to) = (panel.above(tie.from), panel.above(tie.to));
        let span = (to.x - from.x).abs() / panel.map.width();
        // A cubic with both handles at one height reaches three quarters of it.
        let top = from.y - (ARCS - 6.0) * span.sqrt() / 0.75;
        let mut curve = BezPath::new();
        curve.move_to(from);
        curve.curve_to(Point::new(from.x, top), Point::new(to.x, top), to);
        let tone = ramp::tone(tie.weight, keys);
        let colour = ramp::colour(tone);
        self.stroke(&curve, colour, 1.0 + 3.0 * tone);
        self.fill(&Circle::new(to, 2.0 + 2.0 * tone), colour);
    }
}

/// Where sentences end: after every full stop but one that nothing follows.
fn ends(tokens: &[String]) -> impl Iterator<Item = usize> {
    let after = tokens.iter().enumerate().filter(|(_, token)| *token == ".").map(|(index, _)| index + 1);
    after.filter(|&end| end < tokens.len())
}

/// The room above a panel's curves holds its name.
const _: () = assert!(HEADING > 24.0);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ties_lead_to_the_strongest_other_token() {
        // Two tokens of four: the first attends to itself most, the second to one outside of the passage.
        let rows = [0.05, 0.8, 0.1, 0.05, 0.9, 0.0, 0.02, 0.08];
        assert!(ties(&rows, 4, &(1..3)).is_empty());
        let rows = [0.0, 0.1, 0.9, 0.0, 0.0, 0.8, 0.2, 0.0];
        let expected = [Tie { from: 1, to: 0, weight: 0.8 }, Tie { from: 0, to: 1, weight: 0.9 }];
        assert_eq!(ties(&rows, 4, &(1..3)), expected);
    }

    #[test]
    fn labels_of_the_passage_fit() {
        let (fonts, sample) = (Fonts::load().unwrap(), crate::sample::Sample::load().unwrap());
        for token in &sample.tokens[crate::PASSAGE] {
            assert!(fonts.width(token, LABEL) + 12.0 < LABELS, "{token}");
        }
    }

    #[test]
    fn sentences_end_after_full_stops() {
        let tokens = ["a", ".", "b", "c", "."].map(str::to_owned);
        assert_eq!(ends(&tokens).collect::<Vec<_>>(), [2]);
    }
}
