//! Random inputs.

use crate::{
    Access, Dtype, HostTensor, Name,
    attention::{Attention, TableInput, layout::Tensor, reference},
    check::{TableDistribution, random::normal},
    expr::{Op, Program},
};

/// Distributions of tables from which indices are computed: tried in order, until the indices fit.
const SMALLER: [TableDistribution; 8] = [
    TableDistribution::Below(64),
    TableDistribution::Below(16),
    TableDistribution::Below(4),
    TableDistribution::Between(1, 3),
    TableDistribution::Below(2),
    TableDistribution::Between(1, 2),
    TableDistribution::Below(1),
    TableDistribution::Between(1, 1),
];

pub(crate) fn random_inputs(spec: &Attention, seed: u64) -> Vec<(Name, HostTensor)> {
    let first = drawn(spec, seed, None, Small::Neither, false);
    let fits = |inputs: &[(Name, HostTensor)]| {
        let given: Vec<(&str, &HostTensor)> = inputs.iter().map(|(name, tensor)| (&**name, tensor)).collect();
        spec.check_values(&given).is_ok()
    };
    if fits(&first) {
        return first;
    }
    // Lengths may move an index out of its table, and so may ints; entries that are full are checked with the plan.
    let fills = std::iter::once((None, Small::Neither));
    let fills = fills.chain(SMALLER.map(|fill| (Some(fill), Small::Ints)));
    let fills = fills.chain(SMALLER.map(|fill| (Some(fill), Small::All)));
    let others = fills.map(|(fill, of)| drawn(spec, seed, fill, of, true));
    others.into_iter().find(|inputs| fits(inputs)).unwrap_or(first)
}

/// Which tables are drawn so that indices that are computed from them fit.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Small {
    Neither,
    /// Those of ints.
    Ints,
    /// Those of reals too, whose floors may be indices.
    All,
}

/// Inputs with tables drawn as `fill`, if they are of those, and lengths that are full, if so.
fn drawn(
    spec: &Attention,
    seed: u64,
    fill: Option<TableDistribution>,
    of: Small,
    full: bool,
) -> Vec<(Name, HostTensor)> {
    let inputs = spec.all_tensors().into_iter().filter(|tensor_spec| tensor_spec.access == Access::Read);
    let mut inputs: Vec<(Name, HostTensor)> = inputs
        .zip(1..)
        .filter_map(|(tensor_spec, stream)| {
            // Strided tensors are given as the flat storage they span.
            let dense = tensor_spec.shape.iter().product::<usize>() == tensor_spec.span;
            let shape = if dense { tensor_spec.shape.clone() } else { vec![tensor_spec.span] };
            let seed = seed.wrapping_mul(31).wrapping_add(stream);
            let table = spec.tables.iter().find(|input| input.table.name == tensor_spec.name);
            let mut own = spec.random_device_input(&tensor_spec.name, &mut fastrand::Rng::with_seed(seed));
            let lengths = [(&spec.q_lengths, spec.q_len), (&spec.kv_lengths, spec.kv_len)];
            let max = lengths.iter().filter(|(of, _)| full && of.as_deref() == Some(&*tensor_spec.name));
            #[expect(clippy::cast_precision_loss, reason = "lengths are far below 2^24")]
            if let Some(max) = max.map(|&(_, max)| max as f32).reduce(f32::min) {
                own = Some(vec![max; tensor_spec.span]);
            }
            let values = match table {
                _ if own.is_some() => own.unwrap_or_default(),
                Some(input) => table_values(
                    spec,
                    input,
                    seed,
                    fill.filter(|_| of == Small::All || !input.table.element.is_float()),
                ),
                None if matches!(tensor_spec.dtype, Dtype::I8 | Dtype::U8) => {
                    let low = if tensor_spec.dtype == Dtype::I8 { -127 } else { 0 };
                    integers(seed, tensor_spec.span, low..=low + if low == 0 { 255 } else { 254 })
                }
                None if spec.is_scale_of_integers(&tensor_spec.name) => {
                    // Integers then stand for numbers of ordinary size.
                    let bytes = spec.dtype_of(Tensor::K) == Dtype::I8
                        || spec.q_scale().is_some_and(|name| **name == *tensor_spec.name);
                    let largest = if bytes { 0.02 } else { 0.3 };
                    let scale = |x: f32| largest * (0.1 + x.abs()) / 2.0;
                    let mut scales: Vec<f32> =
                        normal(seed, tensor_spec.span).into_iter().map(scale).collect();
                    // Those of queries are each entry's own.
                    if spec.q_scale().is_none_or(|name| **name != *tensor_spec.name) {
                        let block = spec.quantised.as_ref().map_or(1, |quantised| quantised.block);
                        spec.share(
                            &mut scales,
                            spec.scales_of_head().max(1),
                            spec.shared_prefix.div_ceil(block),
                        );
                    }
                    scales
                }
                // A scale that is negative or zero would be an odd one.
                None if spec.head_scale().is_some_and(|name| **name == *tensor_spec.name) => {
                    normal(seed, tensor_spec.span).into_iter().map(|x| 0.1 + x.abs()).collect()
                }
                // Scores that grow along the keys: a self-check is to see rows whose maximum grows much.
                None if spec.odd_values && tensor_spec.name == "k" && spec.multiplies_f16() => {
                    growing(spec, normal(seed, tensor_spec.span))
                }
                None => normal(seed, tensor_spec.span),
            };
            HostTensor::from_f32(shape, &values, tensor_spec.dtype)
                .ok()
                .map(|tensor| (tensor_spec.name, tensor))
        })
        .collect();
    if spec.odd_values {
        spoil(spec, &mut inputs);
    }
    spec.share_rows(&mut inputs);
    inputs
}

/// Keys of growing norm: of every row of 128, the last is seven times as long as the first.
#[expect(clippy::cast_precision_loss, reason = "a remainder by 128")]
fn growing(spec: &Attention, mut keys: Vec<f32>) -> Vec<f32> {
    let row = spec.strides(Tensor::K).position.max(1);
    for (at, key) in keys.iter_mut().enumerate() {
        *key *= 1.0 + 6.0 * ((at / row) % 128) as f32 / 128.0;
    }
    keys
}

#[expect(clippy::cast_precision_loss, reason = "the integers are small")]
fn integers(seed: u64, count: usize, range: std::ops::RangeInclusive<i32>) -> Vec<f32> {
    let mut random = fastrand::Rng::with_seed(seed);
    (0..count).map(|_| random.i32(range.clone()) as f32).collect()
}

/// Puts NaN where it must not matter, and a few where it does: in keys and values that no query sees; in a column of a value, and
/// in a key, that less than half of them see; and in one query.
fn spoil(spec: &Attention, inputs: &mut [(Name, HostTensor)]) {
    let borrowed: Vec<(&str, &HostTensor)> = inputs.iter().map(|(name, tensor)| (&**name, tensor)).collect();
    // Without a definition there is nothing to tell by.
    let Ok(seen) = reference::seen(spec, &borrowed).map(|seen| spec.seen_by_all(seen)) else { return };
    let rows = spec.group() * spec.q_len;
    let mut change = |tensor: Tensor, places: &[([usize; 3], bool)]| {
        let Some((_, values)) = inputs.iter_mut().find(|(name, _)| **name == *tensor.name()) else { return };
        // Integers know no NaN.
        let Some(dtype) = values.dtype().filter(|dtype| dtype.is_float()) else { return };
        let (strides, width) = (spec.strides(tensor), spec.sizes(tensor)[2]);
        #[expect(clippy::cast_possible_truncation, reason = "inputs are stored as f32 or less")]
        let mut elements: Vec<f32> = values.to_f64().into_iter().map(|x| x as f32).collect();
        for &([batch, head, position], whole) in places {
            let at = batch * strides.batch + head * strides.head + position * strides.position;
            let odd = if whole && position % 2 == 1 { f32::INFINITY } else { f32::NAN };
            let columns = if whole { 0..width } else { width / 2..width / 2 + 1 };
            elements[at..at + width][columns].fill(odd);
        }
        if let Ok(changed) = HostTensor::from_f32(values.shape().to_vec(), &elements, dtype) {
            *values = changed;
        }
    };
    let [heads, len, _] = spec.sizes(Tensor::K);
    let place = |at: usize| [at / len / heads, at / len % heads, at % len];
    let unseen = seen.iter().enumerate().filter(|(_, count)| **count == 0).map(|(at, _)| (place(at), true));
    let (mut keys, mut values): (Vec<_>, Vec<_>) = (unseen.clone().collect(), unseen.collect());
    let few = || seen.iter().enumerate().filter(|(_, count)| (1..=rows / 2).contains(*count));
    keys.extend(few().min_by_key(|(_, count)| **count).map(|(at, _)| (place(at), false)));
    values.extend(few().max_by_key(|(_, count)| **count).map(|(at, _)| (place(at), false)));
    change(Tensor::K, &keys);
    change(Tensor::V, &values);
    if rows > 1 {
        change(Tensor::Q, &[([spec.stored_batch(Tensor::Q) - 1, spec.q_heads - 1, spec.q_len - 1], false)]);
    }
}

#[expect(clippy::cast_precision_loss, reason = "the integers are far below 2^24")]
fn table_values(
    spec: &Attention,
    input: &TableInput,
    seed: u64,
    small: Option<TableDistribution>,
) -> Vec<f32> {
    let shape = &input.table.shape;
    let count: usize = shape.iter().product();
    let mut random = fastrand::Rng::with_seed(seed);
    // Indices of other tables have to stay within them.
    let fill = match (small, index_limit(spec, input)) {
        (Some(small), _) => small,
        (None, Some(limit)) => TableDistribution::Below(limit),
        (None, None) => input.fill,
    };
    match fill {
        TableDistribution::Normal => normal(seed, count),
        TableDistribution::Below(end) => (0..count).map(|_| random.u32(..end.max(1)) as f32).collect(),
        TableDistribution::Between(first, last) => {
            (0..count).map(|_| random.i32(first..=last.max(first)) as f32).collect()
        }
        TableDistribution::Uniform(low, high) => {
            (0..count).map(|_| low + (high - low) * random.f32()).collect()
        }
        TableDistribution::Runs(runs) => {
            let run = shape.last().copied().unwrap_or(1).max(1);
            let mut values = Vec::with_capacity(count);
            while values.len() < count {
                // A new one begins with the same probability everywhere.
                let mut segment = 0u32;
                for position in 0..run {
                    segment += u32::from(position > 0 && random.f64() * (run as f64) < f64::from(runs) - 1.0);
                    values.push(segment as f32);
                }
            }
            values
        }
    }
}

/// The least size of the dimensions that a table's elements are used to index.
fn index_limit(spec: &Attention, input: &TableInput) -> Option<u32> {
    let visibility = spec.programs().ok()?;
    let programs = visibility.mask.iter().chain(&visibility.score);
    let limits = programs.flat_map(|program| indexed_by(program, &input.table.name)).map(|(_, _, size)| size);
    limits.min().and_then(|size| u32::try_from(size).ok())
}

/// The tables and dimensions, with their sizes, that elements of the table `name` index as they are.
fn indexed_by<'p>(program: &'p Program, name: &'p str) -> impl Iterator<Item = (usize, usize, usize)> + 'p {
    let is_it = move |step: usize| match &program.steps[step].op {
        Op::Lookup { table, .. } => program.tables[*table].name == name,
        _ => false,
    };
    program.steps.iter().flat_map(move |step| {
        let (table, indices): (usize, &[usize]) = match &step.op {
            Op::Lookup { table, indices } => (*table, indices),
            _ => (0, &[]),
        };
        let of = move |(dimension, &index): (usize, &usize)| {
            let size = program.tables.get(table)?.shape.get(dimension).copied()?;
            (size > 1 && is_it(index)).then_some((table, dimension, size))
        };
        indices.iter().enumerate().filter_map(of)
    })
}

impl Attention {
    /// Whether tables are read where lengths of batch entries say.
    fn reads_at_lengths(&self) -> bool {
        let visibility = self.programs().ok();
        let programs = visibility.iter().flat_map(|found| found.mask.iter().chain(&found.score));
        programs.into_iter().any(|program| program.reads_at_lengths(self.own_lengths()))
    }

    /// Borders of packed sequences of any lengths, none among them, which mostly reach the end.
    fn random_borders(&self, random: &mut fastrand::Rng, total: usize) -> Vec<usize> {
        if self.specialized_for.is_some() {
            // A self-check looks at every sequence.
            return (0..=self.batch).map(|at| total * at / self.batch).collect();
        }
        let end = if random.u8(..4) == 0 { random.usize(..=total) } else { total };
        let mut borders: Vec<usize> = (1..self.batch).map(|_| random.usize(..=end)).collect();
        borders.sort_unstable();
        if self.batch > 2 && random.u8(..3) == 0 {
            borders[0] = borders[1];
        }
        borders.insert(0, 0);
        borders.push(end);
        borders
    }

    /// Whether a tensor holds scales of integers.
    fn is_scale_of_integers(&self, name: &str) -> bool {
        let of_q = self.q_scale().is_some_and(|scale| scale == name);
        of_q || self.quantised.as_ref().is_some_and(|of| of.k_scale == name || of.v_scale == name)
    }

    /// Random lists, positions and lengths: none of anything, all of it, and what is in between.
    fn random_device_input(&self, name: &str, random: &mut fastrand::Rng) -> Option<Vec<f32>> {
        #[expect(clippy::cast_precision_loss, reason = "lengths and blocks are far below 2^24")]
        let float = |x: usize| x as f32;
        let lengths = [(&self.q_lengths, self.q_len), (&self.kv_lengths, self.kv_len)];
        let max =
            lengths.iter().filter(|(given, _)| given.as_deref() == Some(name)).map(|&(_, max)| max).min();
        if let Some(max) = max {
            // Where tables are read at `qp`, queries come before no key.
            let of_keys = self.q_lengths.as_deref() != Some(name);
            let min = if of_keys && self.reads_at_lengths() { max.min(self.q_len) } else { 0 };
            let length = |random: &mut fastrand::Rng| match random.u8(..5) {
                0 => max,
                1 => random.usize(min..=max.min(min + 3)),
                _ => random.usize(min..=max),
            };
            return Some((0..self.batch).map(|_| float(length(random))).collect());
        }
        for (given, total) in [(&self.cu_seqlens_q, self.q_len), (&self.cu_seqlens_k, self.kv_len)] {
            if given.as_deref() == Some(name) {
                let both = self.cu_seqlens_q == self.cu_seqlens_k;
                let total = if both { self.q_len.min(self.kv_len) } else { total };
                return Some(self.random_borders(random, total).into_iter().map(float).collect());
            }
        }
        if let Some(pages) = self.pages.as_ref().filter(|pages| pages.block_table == name) {
            // Each page is one entry's, as far as there are enough; a few are missing.
            let mut all: Vec<usize> = (0..pages.count).collect();
            random.shuffle(&mut all);
            let count = self.batch * (self.kv_len / pages.page);
            let page = |at: usize| all.get(at % pages.count).map_or(-1.0, |&page| float(page));
            let places = 0..count;
            let mut table: Vec<f32> =
                places.map(|at| if random.u8(..12) == 0 { -1.0 } else { page(at) }).collect();
            self.share(&mut table, (self.kv_len / pages.page).max(1), self.shared_prefix / pages.page);
            return Some(table);
        }
        for tensor in [Tensor::Q, Tensor::K] {
            if self.positions_of(tensor).is_some_and(|given| given == name) {
                // Near ones, as of a sequence, and some that f32 has no fractions of an angle for.
                let position = |random: &mut fastrand::Rng| match random.u8(..8) {
                    0 => random.i32(-2000..0),
                    1 => random.i32(0..1 << 20),
                    _ => random.i32(0..5000),
                };
                let count = self.stored_batch(tensor) * self.sizes(tensor)[1];
                #[expect(clippy::cast_precision_loss, reason = "at most 2^20")]
                return Some((0..count).map(|_| position(random) as f32).collect());
            }
        }
        let listed = self.device_blocks()?;
        let lists = listed.batch * listed.heads * self.q_len.div_ceil(listed.q_block);
        let blocks = self.kv_len.div_ceil(listed.kv_block);
        // Counts and indices are drawn apart, so a list is a choice whose beginning is one too.
        if name == listed.num_blocks {
            return Some((0..lists).map(|_| float(random.usize(..=listed.max_blocks.min(blocks)))).collect());
        }
        (name == listed.indices).then(|| {
            let list = |_| {
                let mut all: Vec<usize> = (0..blocks).collect();
                random.shuffle(&mut all);
                all.resize(listed.max_blocks, blocks);
                all
            };
            (0..lists).flat_map(list).map(float).collect()
        })
    }
}
