//! Exact classes of blocks of any size under the named masks.

use super::{
    class::Class,
    interval::Ints,
    linear::{Axis, CoefficientRange},
    runs::Runs,
};
use crate::expr::{Shape, ir::arithmetic::floor_divide};

/// The class of `extent`.
pub(crate) fn class(shape: Shape, extent: &CoefficientRange) -> Class {
    let CoefficientRange { query, key, distance, .. } = *extent;
    match shape {
        Shape::Band { left, right } => {
            let run = Ints::new(right.map_or(i64::MIN, i64::saturating_neg), left.unwrap_or(i64::MAX));
            within(distance, run)
        }
        // The greatest k - q, and the least.
        Shape::CausalTopLeft => {
            within(Ints::new(key.lo - query.hi, key.hi - query.lo), Ints::new(i64::MIN, 0))
        }
        Shape::Below(n) => within(key, Ints::new(i64::MIN, n.saturating_sub(1))),
        Shape::Blocks { n, shift } => same(tiles(query, n, shift), tiles(key, n, shift)),
        Shape::Dilated(r) => multiples(distance, r),
        Shape::Strided { n, r } => multiples(tiles(key, n, 0), r),
        Shape::Disc { w, r } => {
            let square = r.saturating_mul(r);
            rasters(query, key, w, |dx, dy| {
                let greatest = squared(greatest(dx)).saturating_add(squared(greatest(dy)));
                let min = squared(least(dx)).saturating_add(squared(least(dy)));
                if greatest < square {
                    Class::All
                } else if min >= square {
                    Class::None
                } else {
                    Class::Mixed
                }
            })
        }
        Shape::Local { w, rx, ry } => rasters(query, key, w, |dx, dy| {
            let side = |r: i64| Ints::new(r.saturating_neg(), r);
            within(dx, side(rx)).and(within(dy, side(ry)))
        }),
        Shape::Window2d { w, m, o } => windows(query, key, w, m, o),
    }
}

/// The shape as a set along one axis, where it is one and has not too many runs.
pub(crate) fn as_runs(shape: Shape, whole: &CoefficientRange) -> Option<(Axis, Runs)> {
    let periodic = |axis, period, width| Some((axis, Runs::periodic(whole.along(axis), period, width)?));
    match shape {
        Shape::Band { left, right } => {
            let lo = right.map_or(i64::MIN, i64::saturating_neg);
            let runs = Runs::between(lo, left.unwrap_or(i64::MAX), whole.distance);
            Some((Axis::Distance, runs))
        }
        Shape::Below(n) => Some((Axis::Key, Runs::between(i64::MIN, n.saturating_sub(1), whole.key))),
        Shape::Dilated(r) => periodic(Axis::Distance, r.max(1), 1),
        Shape::Strided { n, r } => periodic(Axis::Key, n.max(1).checked_mul(r.max(1))?, n.max(1)),
        Shape::CausalTopLeft => {
            // q - k is the distance less nk - nq, and the last key's from the first query is known.
            let shift = whole.distance.lo - (whole.query.lo - whole.key.hi);
            Some((Axis::Distance, Runs::between(shift, i64::MAX, whole.distance)))
        }
        Shape::Blocks { .. } | Shape::Disc { .. } | Shape::Local { .. } | Shape::Window2d { .. } => None,
    }
}

/// Of values that take everything in `range`: which lie in `run`, which may be empty.
fn within(range: Ints, run: Ints) -> Class {
    if run.lo <= range.lo && range.hi <= run.hi {
        Class::All
    } else if range.hi < run.lo || run.hi < range.lo || run.lo > run.hi {
        Class::None
    } else {
        Class::Mixed
    }
}

/// The tiles of `n` positions that a range of positions touches.
fn tiles(range: Ints, n: i64, shift: i64) -> Ints {
    let tile = |at: i64| floor_divide(at.saturating_add(shift), n.max(1));
    Ints::new(tile(range.lo), tile(range.hi))
}

/// Of pairs, one of either range: which are equal.
fn same(a: Ints, b: Ints) -> Class {
    if a.hi < b.lo || b.hi < a.lo {
        Class::None
    } else if a.lo == a.hi && a == b {
        Class::All
    } else {
        Class::Mixed
    }
}

/// Of a range of values: which are multiples of `r`.
fn multiples(range: Ints, r: i64) -> Class {
    let r = r.max(1);
    let below = |at: i64| floor_divide(at, r);
    if r == 1 {
        Class::All
    } else if below(range.hi) == below(range.lo.saturating_sub(1)) {
        Class::None
    } else if range.lo == range.hi {
        Class::All
    } else {
        Class::Mixed
    }
}

fn greatest(delta: Ints) -> i64 {
    delta.lo.saturating_abs().max(delta.hi.saturating_abs())
}

fn least(delta: Ints) -> i64 {
    if delta.contains(0) { 0 } else { delta.lo.saturating_abs().min(delta.hi.saturating_abs()) }
}

fn squared(x: i64) -> i64 {
    x.saturating_mul(x)
}

/// A rectangle of a raster.
#[derive(Clone, Copy)]
struct Rectangle {
    x: Ints,
    y: Ints,
}

/// A range of positions as rectangles: the end of its first row, whole rows, the beginning of its last.
fn rectangles(range: Ints, w: i64) -> ([Rectangle; 3], usize) {
    let w = w.max(1);
    let (first, last) = (range.lo / w, range.hi / w);
    let (start, end) = (range.lo % w, range.hi % w);
    let full = Ints::new(0, w - 1);
    let mut parts = [Rectangle { x: full, y: Ints::new(first, last) }; 3];
    if first == last {
        parts[0].x = Ints::new(start, end);
        return (parts, 1);
    }
    let mut count = 0;
    let (mut top, mut bottom) = (first, last);
    if start > 0 {
        parts[count] = Rectangle { x: Ints::new(start, w - 1), y: Ints::one(first) };
        count += 1;
        top += 1;
    }
    if end < w - 1 {
        parts[count] = Rectangle { x: Ints::new(0, end), y: Ints::one(last) };
        count += 1;
        bottom -= 1;
    }
    if top <= bottom {
        parts[count] = Rectangle { x: full, y: Ints::new(top, bottom) };
        count += 1;
    }
    (parts, count)
}

/// The class over all pairs of rectangles, which between them make up the block.
fn pairs(query: Ints, key: Ints, w: i64, of: impl Fn(Rectangle, Rectangle) -> Class) -> Class {
    let (queries, query_count) = rectangles(query, w);
    let (keys, key_count) = rectangles(key, w);
    let mut total = None;
    for &q in &queries[..query_count] {
        for &k in &keys[..key_count] {
            let class = of(q, k);
            if class == Class::Mixed || total.is_some_and(|total| total != class) {
                return Class::Mixed;
            }
            total = Some(class);
        }
    }
    total.unwrap_or(Class::Mixed)
}

/// Within a pair of rectangles both differences take every value in their ranges, and independently.
fn rasters(query: Ints, key: Ints, w: i64, of: impl Fn(Ints, Ints) -> Class) -> Class {
    let difference = |a: Ints, b: Ints| Ints::new(a.lo - b.hi, a.hi - b.lo);
    pairs(query, key, w, |q, k| of(difference(q.x, k.x), difference(q.y, k.y)))
}

fn windows(query: Ints, key: Ints, w: i64, m: i64, o: i64) -> Class {
    let tile = |range: Ints| tiles(range, m, o);
    pairs(query, key, w, |q, k| same(tile(q.x), tile(k.x)).and(same(tile(q.y), tile(k.y))))
}
