//! Where things stand in the picture, in pixels.

use vello::kurbo::{Point, Rect, Size};

/// Around everything.
pub(crate) const MARGIN: f64 = 56.0;
/// Title and subtitle, down to where the panels begin.
const HEAD: f64 = 128.0;
/// The footer, below the panels.
const FOOT: f64 = 84.0;
/// Side of an enlarged weight.
pub(crate) const CELL: f64 = 18.0;
/// Room for the tokens along an axis.
pub(crate) const LABELS: f64 = 76.0;
/// Height of the highest curve between two tokens.
pub(crate) const ARCS: f64 = 104.0;
/// From a panel's top to its curves.
pub(crate) const HEADING: f64 = 34.0;
/// Between panels.
const GAP: Size = Size::new(44.0, 52.0);
/// Between the column of whole maps and the panels.
const GUTTER: f64 = 64.0;
/// Below the colour scale, for its numbers and the notes.
const NOTES: f64 = 150.0;
/// Heading of a whole map.
const MAP_HEADING: f64 = 26.0;
/// Panels side by side.
const COLUMNS: usize = 2;

/// One head, enlarged.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Panel {
    /// All of it.
    pub(crate) frame: Rect,
    /// The weights of the passage's tokens.
    pub(crate) map: Rect,
}

/// The whole picture.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Layout {
    pub(crate) size: Size,
    /// A head's passage each.
    pub(crate) panels: Vec<Panel>,
    /// All weights of a head each, one pixel a weight.
    pub(crate) maps: Vec<Rect>,
    /// The colour scale.
    pub(crate) bar: Rect,
    /// Baseline of the footer.
    pub(crate) foot: Point,
}

impl Layout {
    /// For `heads` heads of `length` tokens, of which `passage` are enlarged.
    pub(crate) fn new(heads: usize, length: usize, passage: usize) -> Self {
        let side = passage as f64 * CELL;
        let panel = Size::new(LABELS + side, HEADING + ARCS + LABELS + side);
        let whole = length as f64;
        let left = MARGIN + whole + GUTTER;
        let panels: Vec<Panel> = (0..heads)
            .map(|head| {
                let x = left + (head % COLUMNS) as f64 * (panel.width + GAP.width);
                let y = MARGIN + HEAD + (head / COLUMNS) as f64 * (panel.height + GAP.height);
                let frame = Rect::from_origin_size((x, y), panel);
                let map = Rect::new(frame.x1 - side, frame.y1 - side, frame.x1, frame.y1);
                Panel { frame, map }
            })
            .collect();
        let end = panels.iter().fold(Rect::ZERO, |all, panel| all.union(panel.frame));
        // The whole maps end where the panels end, and are spread over the height that the scale leaves.
        let bar = Rect::from_origin_size((MARGIN, MARGIN + HEAD + HEADING), (whole, 16.0));
        let top = bar.y1 + NOTES;
        let pitch = (end.y1 - top) / heads.max(1) as f64;
        let pitch = pitch.max(whole + MAP_HEADING);
        let maps: Vec<Rect> = (1..=heads)
            .map(|head| {
                let y = (top + head as f64 * pitch - whole).round();
                Rect::from_origin_size((MARGIN, y), (whole, whole))
            })
            .collect();
        let end = maps.iter().fold(end, |all, &map| all.union(map));
        let size = Size::new(end.x1 + MARGIN, end.y1 + FOOT + MARGIN / 2.0);
        let foot = Point::new(MARGIN, size.height - MARGIN + 8.0);
        Self { size, panels, maps, bar, foot }
    }

    /// Whole pixels.
    #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "saturates")]
    pub(crate) fn pixels(&self) -> (u32, u32) {
        (self.size.width.ceil() as u32, self.size.height.ceil() as u32)
    }
}

impl Panel {
    /// The middle of a token's column or row, from the map's left or upper edge.
    pub(crate) fn middle(token: usize) -> f64 {
        (token as f64 + 0.5) * CELL
    }

    /// Where the curves between tokens begin and end, by the token's place in the passage.
    pub(crate) fn above(&self, token: usize) -> Point {
        Point::new(self.map.x0 + Self::middle(token), self.map.y0 - LABELS)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parts(layout: &Layout) -> Vec<Rect> {
        let mut parts: Vec<Rect> = layout.panels.iter().map(|panel| panel.frame).collect();
        parts.extend(&layout.maps);
        parts.push(layout.bar);
        parts
    }

    #[test]
    fn nothing_overlaps_or_leaves_the_picture() {
        for (heads, length, passage) in [(4, 240, 28), (1, 240, 28), (6, 240, 28), (3, 100, 40), (4, 300, 4)]
        {
            let layout = Layout::new(heads, length, passage);
            let page = layout.size.to_rect().inset(-MARGIN);
            let parts = parts(&layout);
            for (index, part) in parts.iter().enumerate() {
                assert_eq!(part.intersect(page), *part, "{part:?} leaves {page:?}");
                for other in &parts[index + 1..] {
                    assert!(part.intersect(*other).area() <= 0.0, "{part:?} overlaps {other:?}");
                }
            }
        }
    }

    #[test]
    fn whole_maps_have_a_pixel_for_every_weight() {
        let layout = Layout::new(4, 240, 28);
        for map in &layout.maps {
            assert_eq!(map.size(), Size::new(240.0, 240.0));
            assert!(map.x0.fract().abs() < 1e-9 && map.y0.fract().abs() < 1e-9);
        }
    }

    #[test]
    fn a_panel_holds_its_curves_its_labels_and_its_map() {
        let panel = Layout::new(4, 240, 28).panels[3];
        assert!((panel.map.width() - 28.0 * CELL).abs() < 1e-9);
        let above = panel.above(27);
        assert!(above.x < panel.frame.x1 && above.y - ARCS >= panel.frame.y0 + HEADING - 1e-9);
    }
}
