//! Random problems.

use crate::{
    Dtype,
    attention::{
        Attention, BlockSparsity, DeviceBlockMask, Integers, Layout, Mask, Pages, Precision, QkNorm,
        Quantised, Rotary, Scale, Shape, TableInput,
    },
    block_mask::{BlockGrid, BlockMask},
    check::TableDistribution,
    expr::{Expr, ExprKind, Table},
    rope::Pairing,
};
use std::sync::Arc;

const LENGTHS: [usize; 18] = [1, 2, 15, 16, 17, 31, 33, 63, 64, 65, 100, 127, 129, 200, 257, 300, 520, 600];
const FEW: [usize; 6] = [1, 1, 1, 2, 4, 7];
const SPLITS: [usize; 6] = [1, 2, 3, 8, 17, 256];
const DIMS: [usize; 18] = [1, 3, 8, 16, 17, 32, 40, 60, 64, 64, 64, 80, 96, 100, 128, 128, 192, 256];
const HEADS: [(usize, usize); 7] = [(1, 1), (2, 2), (4, 2), (8, 1), (6, 3), (3, 3), (12, 2)];
const PAGES: [usize; 5] = [16, 16, 32, 64, 80];
const BLOCKS: [usize; 7] = [16, 16, 24, 32, 64, 64, 128];

fn one<T: Copy>(random: &mut fastrand::Rng, of: &[T]) -> T {
    of[random.usize(..of.len())]
}

pub(crate) fn random(random: &mut fastrand::Rng) -> Attention {
    let (heads, kv_heads) = one(random, &HEADS);
    let batch = one(random, &[1, 1, 1, 2, 3]);
    let q_len = one(random, &LENGTHS);
    let kv_len = if random.bool() { q_len } else { one(random, &LENGTHS) };
    // Few rows have a variant of their own.
    let few_rows = random.u8(..3) == 0;
    let q_len = if few_rows { one(random, &FEW) } else { q_len };
    // Pages are whole, and tables have the sizes of what is in them.
    let page = (random.u8(..7) == 0).then(|| one(random, &PAGES));
    let kv_len = kv_len.next_multiple_of(page.unwrap_or(1));
    let dim = one(random, &DIMS);
    let mut spec = Attention::new(Shape::bhtd(batch, heads, q_len, dim).kv(kv_heads, kv_len));
    if random.u8(..4) == 0 {
        spec = spec.value_dim(one(random, &DIMS));
    }
    spec = spec
        .dtype(one(random, &[Dtype::F32, Dtype::F32, Dtype::F16, Dtype::Bf16]))
        .layout(one(random, &[Layout::Bhtd, Layout::Bhtd, Layout::Bthd]));
    if random.u8(..4) == 0 {
        spec = spec.scale(one(random, &[0.1, 1.0, 0.37, 0.0]));
    } else if random.u8(..8) == 0 {
        spec.scale = Scale::PerHead("scales".into());
    }
    // For f32 and bf16 too, matrix units are one way to compute the problem then.
    if random.u8(..6) == 0 {
        spec.precision = Precision::F16;
    }
    spec.lse = random.u8(..4) != 0;
    spec.qk_norm = (random.u8(..10) == 0).then_some(QkNorm::L2);
    spec.sink_logits = (random.u8(..8) == 0).then(|| "sinks".into());
    let tables = tables(random, &spec);
    let given: Vec<Table> = tables.iter().map(|input| input.table.clone()).collect();
    let expression = |random: &mut fastrand::Rng, kind| {
        let size = 1 + random.usize(..12);
        Expr::random(random, kind, &given, &spec.expr_sizes(), size).ok()
    };
    let mask = match random.u8(..6) {
        0 => Mask::None,
        1 => Mask::Causal,
        2 => Mask::CausalTopLeft,
        _ => expression(random, ExprKind::Mask).map_or(Mask::None, Mask::from),
    };
    let score = if random.u8(..3) == 0 { expression(random, ExprKind::Score) } else { None };
    (spec.mask, spec.score) = (mask, score);
    if random.u8(..6) == 0 {
        let (q_block, kv_block) = (one(random, &BLOCKS), one(random, &BLOCKS));
        let lists = (one(random, &[1, spec.batch]), one(random, &[1, spec.q_heads]));
        spec.sparsity =
            blocks(random, BlockGrid::new(q_len, kv_len, q_block, kv_block).per(lists.0, lists.1), &spec)
                .map_or(BlockSparsity::Dense, BlockSparsity::Host);
    }
    if random.u8(..6) == 0 {
        spec.kv_lengths = Some("keys".into());
    }
    if random.u8(..8) == 0 {
        spec.q_lengths = Some("queries".into());
    }
    if spec.q_lengths.is_some() && spec.kv_lengths.is_some() && random.bool() {
        spec.q_lengths.clone_from(&spec.kv_lengths);
    }
    serving(random, &mut spec, page);
    let packed = spec.cu_seqlens_q.is_some() || spec.cu_seqlens_k.is_some();
    if !packed && !spec.is_block_sparse() && random.u8(..if spec.batch > 1 { 3 } else { 8 }) == 0 {
        let unit = page.unwrap_or(1);
        spec.shared_prefix = random.usize(..=spec.kv_len / unit) * unit;
    }
    if !spec.is_block_sparse() && !packed && spec.shared_prefix == 0 && random.u8(..8) == 0 {
        let (q_block, kv_block) = (one(random, &[64, 64, 128]), one(random, &[64, 128, 192]));
        let max = 1 + random.usize(..spec.kv_len.div_ceil(kv_block) + 1);
        let lists = (one(random, &[1, spec.batch]), one(random, &[1, spec.q_heads]));
        spec.sparsity = DeviceBlockMask::new(q_block, kv_block, max).per(lists.0, lists.1).into();
    }
    let names: Vec<&str> =
        spec.mask.expression().into_iter().chain(&spec.score).flat_map(Expr::table_names).collect();
    spec.tables = tables.iter().filter(|input| names.contains(&input.table.name.as_str())).cloned().collect();
    spec.odd_values = random.u8(..3) == 0;
    if spec.shared_prefix == 0 && random.u8(..if few_rows { 2 } else { 12 }) == 0 {
        spec.splits = Some(one(random, &SPLITS));
    }
    if let Some(quantised) = spec.quantised.as_mut().filter(|_| random.u8(..4) == 0) {
        quantised.q_scale = Some("query_scales".into());
    }
    if random.u8(..6) == 0 {
        spec.rotary = rotary(random, &spec);
    }
    spec
}

/// Rows turned by their positions, or not where they are too short.
fn rotary(random: &mut fastrand::Rng, spec: &Attention) -> Rotary {
    let pairs = spec.head_dim / 2;
    if pairs == 0 {
        return Rotary::default();
    }
    let mut rotary = Rotary::new(if random.bool() { Pairing::Halves } else { Pairing::Pairs });
    rotary.keys = spec.pages.is_none() && random.u8(..4) != 0;
    if spec.head_dim % 2 == 1 || random.u8(..3) == 0 {
        rotary.dim = 2 * random.usize(1..=pairs);
    }
    if random.bool() {
        rotary.base = one(random, &[1.0, 500_000.0]);
    }
    let name = |random: &mut fastrand::Rng, name: &str| (random.u8(..3) == 0).then(|| name.to_owned());
    rotary.positions = name(random, "positions");
    rotary.key_positions = name(random, "key_positions").filter(|_| rotary.keys && spec.shared_prefix == 0);
    rotary
}

/// Packed sequences, pages of so many keys, and keys and values that are integers.
fn serving(random: &mut fastrand::Rng, spec: &mut Attention, page: Option<usize>) {
    if spec.precision == Precision::Stored && random.u8(..6) == 0 {
        let block = one(random, &[1, 16, 32, 64, 64, 100]);
        let mut quantised = Quantised::new("key_scales", "value_scales").block(block);
        // A cache that is larger than what it holds.
        quantised.blocks = (random.u8(..4) == 0).then(|| spec.kv_len.div_ceil(block) + 2);
        let even = spec.head_dim.is_multiple_of(2) && spec.value_dim.is_multiple_of(2);
        let integers = if even && random.u8(..3) == 0 { Integers::I4 } else { Integers::I8 };
        spec.quantised = Some(quantised.integers(integers));
    }
    let free = !spec.is_block_sparse() && spec.q_lengths.is_none();
    let packed = free && random.u8(..8) == 0;
    if packed {
        spec.cu_seqlens_q = Some("q_borders".into());
    }
    if let Some(page) = page {
        let used = spec.batch * spec.kv_len / page;
        spec.pages = Some(Pages::new("pages", page, used + random.usize(..3)));
    } else if free && spec.kv_lengths.is_none() && (packed || random.u8(..16) == 0) {
        let same = packed && spec.q_len == spec.kv_len && random.bool();
        spec.cu_seqlens_k = Some(if same { "q_borders".into() } else { "k_borders".into() });
    }
}

/// Tables of several shapes and types; few, as bindings are.
fn tables(random: &mut fastrand::Rng, spec: &Attention) -> Vec<TableInput> {
    let Attention { batch, q_heads, q_len, kv_len, .. } = *spec;
    let floats = [Dtype::F32, Dtype::F32, Dtype::F16, Dtype::Bf16];
    let table = |name: &str, dtype, shape: Vec<usize>, fill| TableInput {
        table: Table::new(name, dtype, shape),
        fill,
    };
    let mut all = [
        table("bias", one(random, &floats), vec![1, q_heads, q_len, kv_len], TableDistribution::Normal),
        table("rel", one(random, &floats), vec![q_heads, 25], TableDistribution::Normal),
        table("segments", Dtype::I32, vec![batch, kv_len], TableDistribution::Runs(5)),
        table("seg_q", Dtype::I32, vec![q_len], TableDistribution::Runs(3)),
        table("seg_k", Dtype::I32, vec![kv_len], TableDistribution::Runs(3)),
        table("bucket", Dtype::U8, vec![q_len, kv_len], TableDistribution::Below(4)),
    ];
    random.shuffle(&mut all);
    all.into_iter().take(random.usize(..3)).collect()
}

/// Lists of blocks of all kinds. Beside a mask no block is full: a full one holds only what the expression shows.
fn blocks(random: &mut fastrand::Rng, grid: BlockGrid, spec: &Attention) -> Option<Arc<BlockMask>> {
    let kinds: &[u8] = if spec.mask != Mask::None { &[0, 2, 2] } else { &[0, 0, 1, 2] };
    let map: Vec<u8> = (0..grid.rows() * grid.kv_blocks()).map(|_| one(random, kinds)).collect();
    BlockMask::from_dense_blocks(grid, &map).ok().map(Arc::new)
}
