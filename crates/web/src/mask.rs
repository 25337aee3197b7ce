//! Masks as pictures.

use std::ops::Range;

use foveal_kernels::HostTensor;
use foveal_kernels::block_mask::{BlockClass, BlockMask, Classify, Elements};
use foveal_kernels::expr::{Classifier, Evaluator, Expr, Sizes, Table, check};
use js_sys::{Array, Object, Uint8Array};
use wasm_bindgen::prelude::{JsValue, wasm_bindgen};

use crate::describe::whole;
use crate::failure::Failure;
use crate::objects::set;
use crate::tensors::given;

/// Elements of partial blocks that are looked at one by one: a fraction of a second.
const AFFORDABLE: u64 = 1 << 22;
/// Where that is too much, elements that the share of visible ones is estimated from.
const SAMPLES: usize = 1 << 16;
/// Samples along one axis of a picture's element that stands for many.
const SAMPLES_ALONG: usize = 3;
/// The most blocks whose classes are listed.
const MAX_BLOCKS: usize = 1 << 24;

/// Draws a mask: `queries` by `keys`, in blocks of `block`, for one batch entry and head.
///
/// # Errors
/// As an object with `kind`, `argument` and `message`.
#[wasm_bindgen]
#[expect(clippy::too_many_arguments, reason = "plain numbers cost the page's side less than an object")]
pub fn mask(
    expression: &str,
    queries: u32,
    keys: u32,
    block: u32,
    batch: u32,
    head: u32,
    picture: u32,
    tables: &Array,
) -> Result<Object, JsValue> {
    let tables = given(tables).and_then(whole)?;
    let asked = Asked {
        q_len: queries as usize,
        kv_len: keys as usize,
        block: block as usize,
        batch: batch as usize,
        head: head as usize,
        picture: picture as usize,
    };
    Ok(draw(expression, &asked, &tables)?)
}

struct Asked {
    q_len: usize,
    kv_len: usize,
    block: usize,
    batch: usize,
    head: usize,
    picture: usize,
}

/// One batch entry and head of a mask, as if there were no others.
struct One<'a> {
    classifier: &'a Classifier,
    batch: usize,
    head: usize,
}

impl Classify for One<'_> {
    fn class(
        &self,
        _: Range<usize>,
        _: Range<usize>,
        queries: Range<usize>,
        keys: Range<usize>,
    ) -> BlockClass {
        let (batch, head) = (self.batch..self.batch + 1, self.head..self.head + 1);
        Classify::class(self.classifier, batch, head, queries, keys)
    }
}

fn draw(text: &str, asked: &Asked, tables: &[(String, HostTensor)]) -> Result<Object, Failure> {
    let &Asked { q_len, kv_len, block, batch, head, picture } = asked;
    let expression = Expr::parse_mask(text).map_err(|error| error.in_argument("mask"))?;
    let declared: Vec<Table> = tables
        .iter()
        .map(|(name, tensor)| Table::new(name, tensor.dtype().unwrap_or_default(), tensor.shape().to_vec()))
        .collect();
    let program = expression.bind(&declared).map_err(|error| error.in_argument("mask"))?;
    let sizes = Sizes { batch: batch + 1, q_heads: head + 1, kv_heads: head + 1, q_len, kv_len };
    check(&program, sizes, &[]).map_err(|complaint| complaint.in_argument("mask", expression.source()))?;
    let tables: Vec<(&str, &HostTensor)> =
        tables.iter().map(|(name, tensor)| (name.as_str(), tensor)).collect();
    let evaluator = Evaluator::new(&program, sizes, &tables)?;
    let elements = Elements::new(&evaluator);
    let test = |_: usize, _: usize, q: usize, k: usize| elements.visible(batch, head, q, k);

    let classifier = Classifier::new(&program, sizes);
    let one = One { classifier: &classifier, batch, head };
    let single = Sizes { batch: 1, q_heads: 1, kv_heads: 1, q_len, kv_len };
    let rough = BlockMask::from_classes(single, block, block, false, false, &one)?;
    let grid = rough.grid();
    if grid.q_blocks().saturating_mul(grid.kv_blocks()) > MAX_BLOCKS {
        return Err(Failure::usage("block", format!("more than {MAX_BLOCKS} blocks: take larger ones")));
    }
    let tested = rough.counts().partial.saturating_mul(block as u64 * block as u64);
    let lists = if tested <= AFFORDABLE { rough.with_bits(&test)? } else { rough };
    let density = lists.visible_share_of_bits();
    let density =
        density.unwrap_or_else(|| lists.visible_density(SAMPLES, &mut |b, h, q, k| test(b, h, q, k)));

    let classes: Vec<u8> = (0..grid.q_blocks() * grid.kv_blocks())
        .map(|index| match lists.class(0, 0, index / grid.kv_blocks(), index % grid.kv_blocks()) {
            BlockClass::Empty => 0,
            BlockClass::Partial => 1,
            BlockClass::Full => 2,
        })
        .collect();
    let (rows, columns) = (q_len.min(picture.max(1)), kv_len.min(picture.max(1)));
    let shares = shares([rows, columns], [q_len, kv_len], |q, k| lists.is_visible(0, 0, q, k, test));
    // Before anything is shown: an index out of range makes all of it wrong.
    elements.finish()?;

    let object = Object::new();
    set(&object, "canonical", expression.to_string());
    set(&object, "density", density);
    let visited = classes.iter().filter(|&&class| class != 0).count();
    #[expect(clippy::cast_precision_loss, reason = "far below 2^53")]
    set(&object, "blockDensity", visited as f64 / classes.len().max(1) as f64);
    for (name, count) in [
        ("blockRows", grid.q_blocks()),
        ("blockColumns", grid.kv_blocks()),
        ("rows", rows),
        ("columns", columns),
    ] {
        #[expect(clippy::cast_precision_loss, reason = "sizes are below 2^32")]
        set(&object, name, count as f64);
    }
    set(&object, "blocks", Uint8Array::from(&*classes));
    set(&object, "elements", Uint8Array::from(&*shares));
    Ok(object)
}

/// The visible share of what each element of a picture stands for, 0 to 255.
fn shares(
    [rows, columns]: [usize; 2],
    [q_len, kv_len]: [usize; 2],
    visible: impl Fn(usize, usize) -> bool,
) -> Vec<u8> {
    let mut shares = Vec::with_capacity(rows * columns);
    let mut counts = vec![0usize; columns];
    for row in 0..rows {
        counts.fill(0);
        let queries: Vec<usize> = positions(row, rows, q_len).collect();
        for &query in &queries {
            for (column, count) in counts.iter_mut().enumerate() {
                *count += positions(column, columns, kv_len).filter(|&key| visible(query, key)).count();
            }
        }
        shares.extend(counts.iter().enumerate().map(|(column, count)| {
            let all = queries.len() * positions(column, columns, kv_len).count();
            u8::try_from((count * 255 + all / 2) / all.max(1)).unwrap_or(u8::MAX)
        }));
    }
    shares
}

/// The positions that an element of a picture stands for, or some of them that are spread evenly.
fn positions(index: usize, elements: usize, length: usize) -> impl Iterator<Item = usize> {
    let start = index * length / elements;
    let covered = ((index + 1) * length / elements).max(start + 1) - start;
    let count = covered.min(SAMPLES_ALONG);
    (0..count).map(move |i| start + (2 * i + 1) * covered / (2 * count))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shares_are_of_what_is_seen() {
        assert_eq!(shares([2, 2], [2, 2], |q, k| k <= q), [255, 0, 255, 255]);
        assert_eq!(shares([1, 2], [4, 8], |_, k| k < 4), [255, 0]);
        assert_eq!(shares([1, 1], [2, 2], |q, k| q == k), [128]);
        assert!(positions(3, 4, 1000).all(|position| (750..1000).contains(&position)));
    }
}
