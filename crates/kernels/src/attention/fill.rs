//! Random inputs.

use super::{Attention, Fill, TableInput, visibility::Visibility};
use crate::{
    HostTensor, Name, PortRole,
    expr::{Op, Program},
    random::normal,
};

/// What ints of tables are drawn as where indices are computed from them: less and less, until they fit.
const SMALLER: [Fill; 8] = [
    Fill::Below(64),
    Fill::Below(16),
    Fill::Below(4),
    Fill::Between(1, 3),
    Fill::Below(2),
    Fill::Between(1, 2),
    Fill::Below(1),
    Fill::Between(1, 1),
];

pub(super) fn random_inputs(spec: &Attention, seed: u64) -> Vec<(Name, HostTensor)> {
    let first = drawn(spec, seed, None, false);
    let fits = |inputs: &[(Name, HostTensor)]| {
        let given: Vec<(&str, &HostTensor)> = inputs.iter().map(|(name, tensor)| (&**name, tensor)).collect();
        spec.check_values(&given).is_ok()
    };
    if fits(&first) {
        return first;
    }
    // Lengths may move an index out of its table, and so may ints; entries that are full are checked with the plan.
    let fills = std::iter::once(None).chain(SMALLER.map(Some));
    let others = fills.map(|fill| drawn(spec, seed, fill, true));
    others.into_iter().find(|inputs| fits(inputs)).unwrap_or(first)
}

/// Inputs with ints of tables as `ints`, and lengths that are full, if so.
fn drawn(spec: &Attention, seed: u64, ints: Option<Fill>, full: bool) -> Vec<(Name, HostTensor)> {
    let inputs = spec.all_ports().into_iter().filter(|port| port.role == PortRole::Input);
    inputs
        .zip(1..)
        .filter_map(|(port, stream)| {
            // Strided tensors are given as the flat storage they span.
            let dense = port.shape.iter().product::<usize>() == port.span;
            let shape = if dense { port.shape.clone() } else { vec![port.span] };
            let seed = seed.wrapping_mul(31).wrapping_add(stream);
            let table = spec.tables.iter().find(|input| input.table.name == port.name);
            let mut own = spec.random_device_input(&port.name, &mut fastrand::Rng::with_seed(seed));
            let lengths = [(&spec.q_lengths, spec.q_len), (&spec.kv_lengths, spec.kv_len)];
            let most = lengths.iter().filter(|(of, _)| full && of.as_deref() == Some(&*port.name));
            #[expect(clippy::cast_precision_loss, reason = "lengths are far below 2^24")]
            if let Some(most) = most.map(|&(_, most)| most as f32).reduce(f32::min) {
                own = Some(vec![most; port.span]);
            }
            let values = match table {
                _ if own.is_some() => own.unwrap_or_default(),
                Some(input) => table_values(spec, input, seed, ints),
                // A scale that is negative or zero would be an odd one.
                None if spec.head_scale.as_deref() == Some(&*port.name) => {
                    normal(seed, port.span).into_iter().map(|x| 0.1 + x.abs()).collect()
                }
                None => normal(seed, port.span),
            };
            HostTensor::from_f32(shape, &values, port.dtype).ok().map(|tensor| (port.name, tensor))
        })
        .collect()
}

#[expect(clippy::cast_precision_loss, reason = "the integers are far below 2^24")]
fn table_values(spec: &Attention, input: &TableInput, seed: u64, ints: Option<Fill>) -> Vec<f32> {
    let shape = &input.table.shape;
    let count: usize = shape.iter().product();
    let mut random = fastrand::Rng::with_seed(seed);
    // What other tables are indexed with has to stay within them.
    let ints = ints.filter(|_| !input.table.element.is_float());
    let fill = match (ints, index_limit(spec, input)) {
        (Some(ints), _) => ints,
        (None, Some(limit)) => Fill::Below(limit),
        (None, None) => input.fill,
    };
    match fill {
        Fill::Normal => normal(seed, count),
        Fill::Below(end) => (0..count).map(|_| random.u32(..end.max(1)) as f32).collect(),
        Fill::Between(first, last) => {
            (0..count).map(|_| random.i32(first..=last.max(first)) as f32).collect()
        }
        Fill::Uniform(low, high) => (0..count).map(|_| low + (high - low) * random.f32()).collect(),
        Fill::Segments(runs) => {
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
    let visibility = Visibility::new(spec).ok()?;
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
