//! The variants, and the passes of a plan.

use std::sync::Arc;

use foveal_shaders::Request;

use super::{Append, CacheDtype};
use crate::{
    AdapterProfile, Cost, Error, PassBinding, Strides,
    operator::Candidate,
    plan::builder::{Params, PlanBuilder, u32_params},
    plan::cost::{check_workgroup, float, occupancy, small, tile, timed},
    plan::partition::ranges,
    plan::turns::of_loop,
    rope::{Pairing, turns},
    spec::storage::storage_module,
};

/// Threads of a workgroup.
const THREADS: usize = 64;

/// Which kernel writes the rows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Schedule {
    /// Rows of real numbers.
    Rows,
    /// Blocks of integers of so many bits.
    Blocks(usize),
}

pub(super) fn rows(spec: &Append, adapter: &AdapterProfile) -> Result<Candidate<Append>, String> {
    if let CacheDtype::Integers(_) = spec.cached_as() {
        return Err(format!("writes real numbers, the caches are {}", spec.cached_as()));
    }
    let rows = float(spec.batch) * float(spec.heads) * float(spec.len);
    let vectors = float(spec.key_dim.div_ceil(4) + spec.value_dim.div_ceil(4));
    let cost = Cost { fma: rows * vectors * 40.0, storage_loads: rows * vectors * 4.0, ..Cost::default() };
    propose("rows", spec, Schedule::Rows, cost, adapter)
}

pub(super) fn blocks(spec: &Append, adapter: &AdapterProfile) -> Result<Candidate<Append>, String> {
    let Some(bits) = spec.cached_as().bits() else {
        return Err(format!("writes integers, the caches are {}", spec.cached_as()));
    };
    let slots = float(spec.batch) * float(spec.heads) * float(spec.touched_blocks() * spec.quant_block);
    let words = float((spec.key_dim + spec.value_dim) * bits / 32);
    let cost = Cost { fma: slots * words * 80.0, storage_loads: slots * words * 4.0, ..Cost::default() };
    propose("blocks", spec, Schedule::Blocks(bits), cost, adapter)
}

fn propose(
    variant: &'static str,
    spec: &Append,
    schedule: Schedule,
    cost: Cost,
    adapter: &AdapterProfile,
) -> Result<Candidate<Append>, String> {
    let workgroup_bytes = if schedule == Schedule::Rows { 0 } else { 32 };
    check_workgroup(adapter, THREADS, workgroup_bytes)?;
    let each = match schedule {
        Schedule::Rows => (spec.len * spec.key_dim.div_ceil(4)).div_ceil(THREADS),
        Schedule::Blocks(_) => spec.touched_blocks(),
    };
    let groups = float(spec.batch) * float(spec.heads) * float(each);
    let cost = Cost { occupancy: occupancy(groups, adapter), ..cost };
    let tiles = match schedule {
        Schedule::Rows => vec![tile("elements a thread", 4)],
        Schedule::Blocks(_) => vec![tile("slots", spec.quant_block)],
    };
    Ok(Candidate {
        variant,
        tiles,
        threads: small(THREADS),
        workgroup_bytes,
        cost: timed(cost, adapter),
        schedule,
    })
}

/// The dispatches for q.
fn queries(spec: &Append, plan: &mut PlanBuilder) -> Result<(), Error> {
    let width = spec.key_dim;
    let aligned = width.is_multiple_of(4);
    let request = Request::new("append/queries")
        .replace("shared/output", storage_module("output", spec.dtype, aligned));
    let request = Arc::new(with_rope(told(request, spec, width), spec));
    let mut bindings = vec![plan.tensor("v", "q")?, plan.tensor("o", "q_rotated")?];
    // Rows' own positions follow from lengths.
    if spec.positions.is_none() {
        bind_named(plan, &mut bindings, [("kv_lengths", &spec.kv_lengths), ("q_lengths", &spec.q_lengths)])?;
    }
    bind_rope(spec, plan, &mut bindings)?;
    let padded = width.next_multiple_of(4);
    u32_params([("elements", spec.batch * spec.q_heads * spec.len * padded)])?;
    let (max, vectors) = (plan.max_workgroups(1)?, padded / 4);
    for batch in ranges((0, spec.batch), max) {
        for head in ranges((0, spec.q_heads), max) {
            for rows in ranges((0, spec.len), (max * THREADS / vectors).max(1)) {
                let x = ((rows.1 - rows.0) * vectors).div_ceil(THREADS);
                let workgroups = [x, head.1 - head.0, batch.1 - batch.0];
                let strides = [spec.q_strides(); 2];
                let params = Schedule::Rows.params(spec, width, strides, [batch.0, head.0, rows.0])?;
                plan.push("q", &request, bindings.clone(), params, workgroups, 0)?;
            }
        }
    }
    Ok(())
}

/// The request with what all kernels share.
fn told(request: Request, spec: &Append, width: usize) -> Request {
    request
        .replace("shared/inputs", storage_module("inputs", spec.dtype, width.is_multiple_of(4)))
        .tunable("WIDTH", small(width.next_multiple_of(4)))
        .tunable("KV_LENGTHS", spec.kv_lengths.is_some())
        .tunable("Q_LENGTHS", spec.q_lengths.is_some())
        .tunable("RING", spec.ring)
        .tunable("PAGED", spec.block_table.is_some())
}

/// With the rotation, if there is one.
fn with_rope(request: Request, spec: &Append) -> Request {
    if spec.rope == Pairing::None {
        return request;
    }
    request
        .tunable("ROPE", if spec.rope == Pairing::Halves { 1u32 } else { 2 })
        .tunable("ROPE_DIM", small(spec.rotation().dim))
        .tunable("POSITIONS", spec.positions.is_some())
}

fn bind_named<const N: usize>(
    plan: &PlanBuilder,
    bindings: &mut Vec<PassBinding>,
    named: [(&'static str, &Option<String>); N],
) -> Result<(), Error> {
    for (variable, name) in named {
        if let Some(name) = name {
            bindings.push(plan.tensor(variable, name)?);
        }
    }
    Ok(())
}

fn bind_rope(spec: &Append, plan: &mut PlanBuilder, bindings: &mut Vec<PassBinding>) -> Result<(), Error> {
    if spec.rope == Pairing::None {
        return Ok(());
    }
    let at = plan.add_contents("foveal.append.turns", turns(&spec.rotation()).into())?;
    bindings.push(plan.scratch("rope_turns", at));
    bind_named(plan, bindings, [("positions", &spec.positions)])
}

impl Append {
    /// Blocks that the new rows of an entry and head lie in, at most: they begin anywhere, and in a ring the last block may be
    /// short.
    fn touched_blocks(&self) -> usize {
        if self.len == 0 {
            return 0;
        }
        let reach = (self.len - 1).div_ceil(self.quant_block.max(1)) + 1 + usize::from(self.ring);
        reach.min(self.blocks())
    }
}

impl Schedule {
    /// The dispatches for k, then for v.
    pub(super) fn passes(self, spec: &Append, plan: &mut PlanBuilder) -> Result<(), Error> {
        if spec.len == 0 {
            return Ok(());
        }
        self.side(spec, plan, true)?;
        self.side(spec, plan, false)?;
        if spec.q_rotated { queries(spec, plan) } else { Ok(()) }
    }

    fn side(self, spec: &Append, plan: &mut PlanBuilder, of_keys: bool) -> Result<(), Error> {
        let (name, cache, width, scale) = if of_keys {
            ("k", "k_cache", spec.key_dim, &spec.k_scale)
        } else {
            ("v", "v_cache", spec.value_dim, &spec.v_scale)
        };
        let request = Arc::new(self.request(spec, width, of_keys));
        let bindings = self.bindings(spec, plan, [name, cache], scale.as_deref(), of_keys)?;
        let padded = width.next_multiple_of(4);
        let [entries, heads, slots, _] = spec.cache_sizes(width);
        // Offsets have 32 bits.
        u32_params([
            ("elements", spec.batch * spec.heads * spec.len * padded),
            ("elements", entries.saturating_mul(heads).saturating_mul(slots).saturating_mul(padded)),
        ])?;
        let max = plan.max_workgroups(1)?;
        let vectors = padded / 4;
        let (items, each, loop_turns) = match self {
            // Whole rows a dispatch.
            Self::Rows => (spec.len, (max * THREADS / vectors).max(1), 0),
            Self::Blocks(bits) => {
                let words = spec.quant_block * width * bits / 32;
                (spec.touched_blocks(), max, 2 * of_loop(words.div_ceil(THREADS), 0))
            }
        };
        for batch in ranges((0, spec.batch), max) {
            for head in ranges((0, spec.heads), max) {
                for range in ranges((0, items), each) {
                    let count = range.1 - range.0;
                    let x = if self == Self::Rows { (count * vectors).div_ceil(THREADS) } else { count };
                    let workgroups = [x, head.1 - head.0, batch.1 - batch.0];
                    let strides = [spec.strides(width), spec.cache_strides(width)];
                    let params = self.params(spec, width, strides, [batch.0, head.0, range.0])?;
                    plan.push(name, &request, bindings.clone(), params, workgroups, loop_turns)?;
                }
            }
        }
        Ok(())
    }

    fn request(self, spec: &Append, width: usize, of_keys: bool) -> Request {
        let request = match (self, spec.cached_as()) {
            (Self::Rows, CacheDtype::Float(dtype)) => {
                let output = storage_module("output", dtype, width.is_multiple_of(4));
                Request::new("append/rows").replace("shared/output", output)
            }
            _ => Request::new("append/blocks"),
        };
        let mut request = told(request, spec, width);
        if let Self::Blocks(bits) = self {
            request = request.tunable("BITS", small(bits));
        }
        if of_keys { with_rope(request, spec) } else { request }
    }

    fn bindings(
        self,
        spec: &Append,
        plan: &mut PlanBuilder,
        [name, cache]: [&str; 2],
        scale: Option<&str>,
        of_keys: bool,
    ) -> Result<Vec<PassBinding>, Error> {
        let to = if self == Self::Rows { "o" } else { "cache" };
        let mut bindings = vec![plan.tensor("v", name)?, plan.tensor(to, cache)?];
        bind_named(
            plan,
            &mut bindings,
            [
                ("kv_lengths", &spec.kv_lengths),
                ("q_lengths", &spec.q_lengths),
                ("block_table", &spec.block_table),
            ],
        )?;
        if let Some(name) = scale {
            bindings.push(plan.tensor("scales", name)?);
        }
        if of_keys {
            bind_rope(spec, plan, &mut bindings)?;
        }
        Ok(bindings)
    }

    /// The uniform that `shaders/append/problem.wgsl` declares.
    fn params(
        self,
        spec: &Append,
        width: usize,
        [row, cache]: [Strides; 2],
        first: [usize; 3],
    ) -> Result<Params, Error> {
        let of = |Strides { batch, head, position }: Strides| [batch, head, position];
        let (page, places, pages) = match spec.block_table {
            Some(_) => (spec.page, spec.places(), spec.pool()),
            None => (0, 0, 0),
        };
        let quantised = match self {
            Self::Rows => [0, 0, spec.heads],
            Self::Blocks(_) => [spec.quant_block, spec.blocks(), spec.heads],
        };
        let fields: [(&[&'static str], &[usize]); 6] = [
            (&["len", "slots"], &[spec.len, spec.capacity]),
            (&["page", "places", "pages"], &[page, places, pages]),
            (&["first_batch", "first_head", "first_row"], &first),
            (&["row_batch", "row_head", "row_row"], &of(row)),
            (&["cache_batch", "cache_head", "cache_row"], &of(cache)),
            (&["quant_block", "blocks", "heads"], &quantised),
        ];
        let fields = fields.into_iter().flat_map(|(names, values)| names.iter().zip(values));
        let mut params = u32_params(fields.map(|(&name, &value)| (name, value)))?;
        if !width.is_multiple_of(4) {
            params.extend(u32_params([("head_dim", width), ("value_dim", width)])?);
        }
        Ok(params)
    }
}
