//! Which pages hold the keys and values of which request: what a host decides, and the device reads as a table.

use std::ops::Range;

use foveal_examples_common::Failure;

/// Positions of a page.
pub(crate) const PAGE: usize = 16;
/// No page.
const NONE: i32 = -1;

/// Pages of all requests, from one pool.
pub(crate) struct Pages {
    free: Vec<i32>,
    /// For each request the pages of its positions, in their order.
    tables: Vec<Vec<i32>>,
    /// Places of each table that have a page.
    held: Vec<Range<usize>>,
}

/// Pages that so many positions in a row may touch.
pub(crate) fn touched(positions: usize) -> usize {
    positions.saturating_sub(1).div_ceil(PAGE) + 1
}

impl Pages {
    /// So many pages, none of them taken, for requests with so many places each.
    pub(crate) fn new(pages: i32, requests: usize, places: usize) -> Self {
        Self {
            free: (0..pages).rev().collect(),
            tables: vec![vec![NONE; places]; requests],
            held: vec![0..0; requests],
        }
    }

    /// Gives a request pages for these positions, which never go back, and takes back those of earlier ones. Returns what
    /// changed in its table: places, and their pages.
    pub(crate) fn hold(
        &mut self,
        request: usize,
        positions: Range<usize>,
    ) -> Result<Vec<(usize, i32)>, Failure> {
        let (table, held) = (&mut self.tables[request], &mut self.held[request]);
        let needed = positions.start / PAGE..positions.end.div_ceil(PAGE);
        let mut changed = Vec::new();
        let (left, entered) =
            (held.start..needed.start.min(held.end), held.end.max(needed.start)..needed.end);
        for (place, page) in left.clone().zip(&mut table[left]) {
            self.free.push(std::mem::replace(page, NONE));
            changed.push((place, NONE));
        }
        for (place, page) in entered.clone().zip(&mut table[entered]) {
            *page = self.free.pop().ok_or_else(|| Failure::failed("the pool", "no page is free"))?;
            changed.push((place, *page));
        }
        *held = needed;
        Ok(changed)
    }

    /// All tables, one after the other.
    pub(crate) fn table(&self) -> Vec<i32> {
        self.tables.concat()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pages_are_held_while_they_are_needed_and_by_one_request_only() {
        let most = touched(40 + 3);
        let mut pages = Pages::new(i32::try_from(2 * most).unwrap(), 2, 20);
        let mut seen = pages.table();
        for at in 0..300usize {
            for request in 0..2 {
                let at = if request == 0 { at } else { at / 2 };
                let positions = at.saturating_sub(39)..at + 4;
                for (place, page) in pages.hold(request, positions.clone()).unwrap() {
                    seen[request * 20 + place] = page;
                }
                assert_eq!(seen, pages.table());
                let places = positions.start / PAGE..positions.end.div_ceil(PAGE);
                for (place, &page) in seen[request * 20..][..20].iter().enumerate() {
                    assert_eq!(page != NONE, places.contains(&place), "{request} {at} {place}");
                }
            }
            let mut taken: Vec<i32> = seen.iter().copied().filter(|&page| page != NONE).collect();
            taken.sort_unstable();
            taken.dedup();
            assert_eq!(taken.len(), seen.iter().filter(|&&page| page != NONE).count());
        }
    }

    #[test]
    fn positions_touch_so_many_pages_at_most() {
        for count in 1..100 {
            let most = (0..PAGE).map(|at| (at + count).div_ceil(PAGE) - at / PAGE).max();
            assert_eq!(most, Some(touched(count)));
        }
        assert!(Pages::new(0, 1, 1).hold(0, 0..1).is_err());
    }
}
