//! Proposals of `broadcast`.

use super::{
    mask_program::MaskProgram,
    variants::{Candidate, KV_BLOCK, Tiles, Turns, occupancy},
};
use crate::{
    AdapterKind, AdapterProfile, Cost,
    attention::Attention,
    plan::{
        cost::{check_workgroup, float, small, tile, timed},
        turns::of_loop,
    },
};

/// Lanes of a workgroup, and keys that meet them together.
#[derive(Clone, Copy)]
struct Lanes {
    threads: usize,
    keys: usize,
}

pub(crate) fn propose(
    spec: &Attention,
    visibility: &MaskProgram<'_>,
    adapter: &AdapterProfile,
) -> Result<Candidate, String> {
    let Some((min, max)) = adapter.features.subgroups else {
        return Err("needs subgroups, which the adapter lacks (or the device was opened without)".into());
    };
    if min < 4 {
        return Err(format!("needs subgroups of 4 lanes or more, the adapter's may have {min}"));
    }
    if adapter.kind != AdapterKind::Cpu {
        return Err(
            "a GPU's registers do not hold whole rows and keys: made for drivers that run on the CPU".into(),
        );
    }
    // A software driver runs one subgroup on a core: a workgroup of one needs no synchronisation.
    let lanes = Lanes { threads: max.max(4) as usize, keys: if min < 8 { 4 } else { 8 } };
    check_workgroup(adapter, lanes.threads, 0)?;
    let (head_dim, value_dim) = spec.padded_dims();
    // Values of q and o that a lane holds, in cache rather than registers. Text and compile time grow with them, to about
    // five seconds on lavapipe: what runs for milliseconds is not worth that.
    let multiply_adds = float(head_dim + value_dim)
        * spec.visited_by_structure(lanes.threads, lanes.keys).1
        * visibility.visited_share(KV_BLOCK, KV_BLOCK);
    let budget = match multiply_adds {
        0.0..3e7 => 512,
        3e7..2e8 => 1024,
        _ => 2048,
    };
    let max_rows = (budget / (head_dim + value_dim)).max(1);
    let wanted = spec.rows_for_tiles().div_ceil(lanes.threads).max(1);
    let rows = (0..=4).rev().map(|power| 1usize << power).find(|&rows| rows <= max_rows).unwrap_or(1);
    // Few queries are one tile, which need not be a power of two: 49 of them are 7 rows for each of 8 lanes. Blocks that
    // the device lists are made of whole tiles.
    let rows = match spec.device_blocks() {
        None => rows.min(wanted),
        Some(listed) if listed.q_block.is_multiple_of(lanes.threads) => {
            let whole = |rows: &usize| listed.q_block.is_multiple_of(lanes.threads * rows);
            (1..=rows).rev().find(whole).unwrap_or(1)
        }
        Some(listed) => {
            let (block, threads) = (listed.q_block, lanes.threads);
            return Err(format!("blocks of {block} queries are not made of whole tiles of {threads} rows"));
        }
    };
    let best = of_rows(spec, visibility, adapter, lanes, rows);
    if !rows.is_multiple_of(2) {
        return Ok(best);
    }
    // Fewer rows visit fewer blocks that only some of them see.
    let fewer = of_rows(spec, visibility, adapter, lanes, rows / 2);
    Ok(if fewer.cost.time < best.cost.time { fewer } else { best })
}

/// Rows that meet a vector of keys before the next does: best by trial on lavapipe (eight lanes) and SwiftShader (four).
fn rows_of_a_vector(lanes: Lanes) -> usize {
    if lanes.keys == 4 { 4 } else { 2 }
}

fn of_rows(
    spec: &Attention,
    visibility: &MaskProgram<'_>,
    adapter: &AdapterProfile,
    lanes: Lanes,
    rows_a_lane: usize,
) -> Candidate {
    let Lanes { threads, keys } = lanes;
    let (head_dim, value_dim) = spec.padded_dims();
    let width = float(head_dim + value_dim);
    let tile_rows = threads * rows_a_lane;
    let (rows, pairs) = spec.visited(visibility, tile_rows, keys, KV_BLOCK);
    let cost = Cost {
        fma: pairs * width,
        storage_loads: pairs * width / float(keys * rows_a_lane) + rows * width,
        broadcasts: pairs * width / float(rows_a_lane),
        exp2: pairs * (1.0 + 1.0 / float(keys)),
        occupancy: occupancy(spec, adapter, tile_rows),
        ..Cost::default()
    };
    let together = rows_of_a_vector(lanes);
    let together = if rows_a_lane.is_multiple_of(together) { together } else { rows_a_lane };
    // Where elements may be hidden, values that are not finite make the kernel begin again, twice.
    let attempts = if spec.may_hide() { 3 } else { 1 };
    Candidate {
        variant: "broadcast",
        threads: small(threads),
        workgroup_bytes: 0,
        tiles: vec![tile("rows", tile_rows), tile("rows a lane", rows_a_lane), tile("keys", keys)],
        cost: timed(cost, adapter),
        schedule: Tiles {
            request: spec
                .request("attention/broadcast")
                .tunable("THREADS", small(threads))
                .tunable("ROWS", small(rows_a_lane))
                .tunable("KEYS", small(keys))
                .tunable("TILE_ROWS", small(together))
                .tunable("VALUE_ROWS", small(if keys == 4 { together } else { 1 })),
            tile_rows,
            kv_block: KV_BLOCK,
            // With bits of elements the runs of a block are a loop in the loop, and keys that take turns are another.
            turns: Turns {
                of_block: attempts
                    * (1 + of_loop(KV_BLOCK / keys, if keys == 4 { 0 } else { of_loop(keys, 0) })),
                other: 1 + attempts * (2 + 2 * of_loop(rows_a_lane, 0)),
            },
            splits_in_grid: false,
            matrix_side: None,
        },
    }
}
