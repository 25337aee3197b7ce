//! Cases, recipes, random problems and inputs.

use super::{Append, CacheDtype};
use crate::{
    Access, Dtype, HostTensor, Layout, Name, Recipe, TensorData,
    check::random::normal,
    operator::described_cases,
    rope::{BASE, Pairing},
};

pub(super) const RECIPES: &[Recipe] = &[
    Recipe {
        name: "paged-attention",
        shape: "4x32:8x1x256x128",
        options: r#"{"dtype":"f16","layout":"bthd","kv_len":"kv_len","block_table":"block_table","rope":"halves","q_rotated":true}"#,
        source: "Kwon et al. 2023, Efficient Memory Management for Large Language Model Serving with PagedAttention, section 4.3",
    },
    Recipe {
        name: "rolling-buffer",
        shape: "2x8x1x96x64",
        options: r#"{"ring":true,"kv_len":"kv_len","rope":"halves"}"#,
        source: "Jiang et al. 2023, Mistral 7B, section 2 (the rolling buffer cache)",
    },
    Recipe {
        name: "roformer",
        shape: "1x12x100x100x64",
        options: r#"{"rope":"pairs"}"#,
        source: "Su et al. 2021, RoFormer, section 3.2 (a prompt into an empty cache)",
    },
];

const CASES: &[(&str, &str, &str)] = &[
    ("prefill", "2x3x17x40x64", "{}"),
    ("decode", "3x2x1x50x128", r#"{"kv_len":"n","dtype":"f16","layout":"bthd"}"#),
    ("ragged", "3x6:2x20x64x32:48", r#"{"kv_len":"n","q_len":"m","rope":"halves","q_rotated":true}"#),
    ("one_tensor", "3x2x20x64x32", r#"{"kv_len":"n","q_len":"n"}"#),
    ("odd_f16", "2x2x9x30x33:7", r#"{"kv_len":"n","dtype":"f16","rope":"pairs","rope_dim":30}"#),
    (
        "odd_bf16",
        "2x3x5x30x7:1",
        r#"{"dtype":"bf16","layout":"bthd","rope":"halves","rope_dim":6,"q_rotated":true}"#,
    ),
    ("narrowed", "2x2x9x30x40", r#"{"kv_len":"n","kv_dtype":"f16","rope":"halves","pos":"pos"}"#),
    ("widened", "1x2x9x30x20", r#"{"dtype":"bf16","kv_dtype":"f32","rope":"pairs","rope_base":500000.0}"#),
    ("ring", "3x2x5x24x64", r#"{"ring":true,"kv_len":"n","rope":"halves"}"#),
    ("ring_overrun", "2x2x40x24x16", r#"{"ring":true,"kv_len":"n","q_len":"m"}"#),
    ("pages", "3x2x9x64x64", r#"{"block_table":"table","kv_len":"n","rope":"halves","pos":"pos"}"#),
    (
        "pages_bthd",
        "3x2x9x96x24",
        r#"{"block_table":"table","page":32,"pages":11,"kv_len":"n","q_len":"m","layout":"bthd","dtype":"f16"}"#,
    ),
    ("empty", "1x2x0x16x64", r#"{"kv_len":"n"}"#),
    ("i8", "2x2x9x150x40", r#"{"kv_dtype":"i8","k_scale":"ks","v_scale":"vs","kv_len":"n","rope":"halves"}"#),
    (
        "i8_pages",
        "3x1x1x256x48",
        r#"{"kv_dtype":"i8","k_scale":"ks","v_scale":"vs","kv_len":"n","block_table":"table","page":64,"layout":"bthd"}"#,
    ),
    (
        "i8_ring",
        "2x2x20x70x32",
        r#"{"kv_dtype":"i8","k_scale":"ks","v_scale":"vs","kv_len":"n","q_len":"m","ring":true,"quant_block":16}"#,
    ),
    (
        "i4",
        "2x2x17x100x64:32",
        r#"{"kv_dtype":"i4","k_scale":"ks","v_scale":"vs","kv_len":"n","quant_block":32,"rope":"pairs","dtype":"f16"}"#,
    ),
];

pub(super) fn cases() -> Vec<(String, Append)> {
    let mut cases: Vec<(String, Append)> = described_cases(CASES);
    let odd = cases.iter().filter(|(name, _)| ["i8", "ragged"].contains(&name.as_str()));
    let odd =
        odd.map(|(name, spec)| (format!("{name}_odd_values"), Append { odd_values: true, ..spec.clone() }));
    let odd: Vec<_> = odd.collect();
    cases.extend(odd);
    cases
}

pub(super) fn random(random: &mut fastrand::Rng) -> Append {
    let mut one = |of: &[usize]| of[random.usize(..of.len())];
    let [batch, heads] = [one(&[1, 1, 2, 3]), one(&[1, 2, 3])];
    let len = one(&[0, 1, 1, 2, 5, 17, 64, 70]);
    let page = one(&[16, 16, 32, 64]);
    let kind = one(&[0, 1, 2]);
    let capacity = one(&[70, 71, 96, 128, 150]);
    let capacity = if kind == 2 { capacity.next_multiple_of(page) } else { capacity };
    let bits = one(&[0, 0, 8, 4]);
    let unit = 32usize.checked_div(bits).unwrap_or(1);
    let mut width = || one(&[1, 2, 3, 4, 7, 8, 16, 33, 64, 72, 80, 128]).next_multiple_of(unit);
    let (key_dim, value_dim) = (width(), width());
    let quant_block = one(&[64, 64, 16, 32, 7, 1, 200]);
    let name = |named: bool, name: &str| named.then(|| name.to_owned());
    let rope = match random.u8(..3) {
        _ if key_dim < 2 => Pairing::None,
        0 => Pairing::None,
        1 => Pairing::Halves,
        _ => Pairing::Pairs,
    };
    let q_rotated = rope != Pairing::None && random.u8(..3) == 0;
    let part = random.usize(1..=key_dim.max(2) / 2) * 2;
    let whole = key_dim.is_multiple_of(2) && random.bool();
    let float = Dtype::FLOATS[random.usize(..3)];
    let kv_dtype = match bits {
        8 => Some(CacheDtype::I8),
        4 => Some(CacheDtype::I4),
        _ => {
            let other = Dtype::FLOATS[random.usize(..3)];
            (other != float).then_some(CacheDtype::Float(other))
        }
    };
    Append {
        layout: if random.bool() { Layout::Bhtd } else { Layout::Bthd },
        dtype: float,
        kv_dtype,
        ring: kind == 1,
        kv_lengths: name(random.u8(..4) > 0, "n"),
        // Often that of the lengths.
        q_lengths: name(random.bool(), if random.u8(..3) == 0 { "n" } else { "m" }),
        block_table: name(kind == 2, "table"),
        page,
        pages: if kind == 2 && random.bool() { batch * capacity / page + random.usize(1..4) } else { 0 },
        k_scale: name(bits > 0, "ks"),
        v_scale: name(bits > 0, "vs"),
        quant_block: if bits > 0 { quant_block } else { super::QUANT_BLOCK },
        rope,
        rope_base: if random.bool() { BASE } else { 1e6 },
        rope_dim: if rope == Pairing::None || whole { 0 } else { part },
        positions: name(rope != Pairing::None && random.bool(), "pos"),
        q_heads: if q_rotated { heads * random.usize(1..=3) } else { heads },
        q_rotated,
        odd_values: random.u8(..3) == 0,
        ..Append::new([batch, heads, len], capacity, [key_dim, value_dim])
    }
}

/// Lengths of all kinds, pages in no order, and caches full of numbers; NaN where nothing is read, and some that show.
pub(super) fn random_inputs(spec: &Append, seed: u64) -> Vec<(Name, HostTensor)> {
    let mut random = fastrand::Rng::with_seed(seed);
    let lengths = Lengths::random(spec, &mut random);
    let mut inputs = Vec::new();
    for (at, tensor_spec) in (1..).zip(spec.all_tensors()) {
        let count: usize = tensor_spec.shape.iter().product();
        let is = |name: &Option<String>| name.as_deref() == Some(&*tensor_spec.name);
        if tensor_spec.access == Access::Write {
            continue;
        }
        let data = if is(&spec.kv_lengths) {
            TensorData::I32(lengths.ends.clone())
        } else if is(&spec.q_lengths) {
            TensorData::I32(lengths.new.clone())
        } else if is(&spec.block_table) {
            TensorData::I32(lengths.pages(spec, &mut random))
        } else if is(&spec.positions) {
            let position = |_| match random.u8(..8) {
                0 => random.i32(-2000..0),
                1 => random.i32(0..1 << 20),
                _ => random.i32(0..5000),
            };
            TensorData::I32((0..count).map(position).collect())
        } else if is(&spec.k_scale) || is(&spec.v_scale) {
            let scale = |_| match random.u8(..16) {
                0 => 0.0,
                1 if spec.odd_values => f32::NAN,
                _ => 0.005 + 0.03 * random.f32(),
            };
            TensorData::F32((0..count).map(scale).collect())
        } else {
            match tensor_spec.dtype {
                Dtype::I8 => TensorData::I8((0..count).map(|_| random.i8(-127..=127)).collect()),
                Dtype::U8 => TensorData::U8((0..count).map(|_| nibbles(&mut random)).collect()),
                dtype => {
                    let mut values = normal(seed ^ at, count);
                    let cache = tensor_spec.access.writes();
                    let width = tensor_spec.shape.last().copied().unwrap_or(1).max(1);
                    for row in values.chunks_mut(width) {
                        match random.u8(..) {
                            0..8 if cache => row[0] = f32::NAN,
                            0 if spec.odd_values => row[width - 1] = f32::NAN,
                            // The largest by far, and nothing.
                            8 => row[width / 2] = 30.0,
                            9 => row.fill(0.0),
                            _ => {}
                        }
                    }
                    let Ok(tensor) = HostTensor::from_f32(tensor_spec.shape, &values, dtype) else {
                        continue;
                    };
                    inputs.push((tensor_spec.name, tensor));
                    continue;
                }
            }
        };
        if let Ok(tensor) = HostTensor::new(tensor_spec.shape, data) {
            inputs.push((tensor_spec.name, tensor));
        }
    }
    inputs
}

/// Two numbers from -7 to 7.
fn nibbles(random: &mut fastrand::Rng) -> u8 {
    let mut half = || random.i8(-7..=7).cast_unsigned() & 15;
    half() | half() << 4
}

struct Lengths {
    ends: Vec<i32>,
    new: Vec<i32>,
}

impl Lengths {
    #[expect(clippy::cast_possible_truncation, clippy::cast_possible_wrap, reason = "a few hundred")]
    fn random(spec: &Append, random: &mut fastrand::Rng) -> Self {
        let room = if spec.ring { 3 * spec.capacity.max(spec.len) } else { spec.capacity };
        let (mut ends, mut new) = (Vec::new(), Vec::new());
        for _ in 0..spec.batch {
            let all = spec.len.min(room);
            let count = if spec.q_lengths.is_none() { spec.len } else { random.usize(0..=all) };
            let same = spec.kv_lengths.is_none() || spec.kv_lengths == spec.q_lengths;
            let end = match random.u8(..4) {
                _ if same => count,
                0 => room,
                1 => count,
                _ => random.usize(count.min(room)..=room),
            };
            new.push(count as i32);
            ends.push(end as i32);
        }
        Self { ends, new }
    }

    /// The pool's pages in a random order, and none where an entry has no rows.
    #[expect(clippy::cast_possible_truncation, clippy::cast_possible_wrap, reason = "a few hundred")]
    fn pages(&self, spec: &Append, random: &mut fastrand::Rng) -> Vec<i32> {
        let mut pool: Vec<i32> = (0..spec.pool() as i32).collect();
        random.shuffle(&mut pool);
        let mut pool = pool.into_iter();
        let mut table = Vec::new();
        for &end in &self.ends {
            for place in 0..spec.places() {
                let needed = ((place * spec.page) as i32) < end;
                table.push(if needed { pool.next().unwrap_or(-1) } else { -1 });
            }
        }
        table
    }
}
