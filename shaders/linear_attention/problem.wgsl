// The linear attention problem: its uniform, its sequences, and where their rows lie.
//
//   S_t = D_t S_(t-1) + k_t (beta_t (v_t - x_t^T D_t S_(t-1)))^T          D_t = diag(exp(g_t))
//   o_t = scale * S_t^T q_t
//
// S is [Dk, Dv] for each sequence and value head; without the delta rule the term with x is not there. A *token* has STEPS
// *rows* of k, v and beta: the gate acts before the first of them, o is read after the last. Offsets and strides in elements.

import package::shared::math::{is_nan};

struct Params {
    len: u32,
    // Value heads, and how many of them share a head of q and k.
    value_heads: u32,
    group: u32,
    // Widths of states.
    key_dim: u32,
    value_width: u32,
    scale: f32,
    eps: f32,
    // Workgroups count from here when a problem is split over dispatches.
    first_sequence: u32,
    first_head: u32,
    // Where [0, 0, 0, 0] lies relative to the binding (modulo 2^32: a binding may begin later), then strides of batch,
    // head and row.
    q_base: u32, q_batch: u32, q_head: u32, q_row: u32,
    k_base: u32, k_batch: u32, k_head: u32, k_row: u32,
    v_base: u32, v_batch: u32, v_head: u32, v_row: u32,
    x_base: u32, x_batch: u32, x_head: u32, x_row: u32,
    o_base: u32, o_batch: u32, o_head: u32, o_row: u32,
    // Of g: by token, 0 if it is a constant.
    g_base: u32, g_batch: u32, g_head: u32, g_row: u32,
    beta_base: u32, beta_batch: u32, beta_head: u32, beta_row: u32,
    // Strides of states: of (sequence, value head) pairs, of key channels, of value columns.
    state_base: u32, state_pair: u32, state_channel: u32, state_column: u32,
    // Of states on the way: rows from one of `checkpoints` to the next, how many a sequence has of these and of `window_states`,
    // and where either begins relative to its binding.
    checkpoint_rows: u32, checkpoints: u32, checkpoints_base: u32,
    window: u32, window_base: u32,
    // Of kernels that work by chunks, see linear_attention/chunk: the first sequence and value head of what is computed
    // together, how many sequences are packed, chunks of each sequence (if they are not), slots of all, and the first slot of
    // a dispatch.
    piece_sequence: u32,
    piece_head: u32,
    sequences: u32,
    // Sequences of what is computed together.
    piece_sequences: u32,
    chunks: u32,
    slots: u32,
    first_slot: u32,
    // Of kernels that cut sequences into segments: chunks of each, and how many there are at most.
    segment_chunks: u32,
    segments: u32,
}

@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(5) var<storage, read> g: array<f32>; // [HV], [B, T, HV] or [B, T, HV, Dk], in the order of the layout
@group(0) @binding(6) var<storage, read> beta: array<f32>; // [B, T * STEPS, HV]
@group(0) @binding(9) var<storage, read> cu_seqlens: array<i32>; // [N + 1]
@group(0) @binding(10) var<storage, read> kv_len: array<i32>; // [B]

// Widths, rounded up to multiples of four.
const HEAD_DIM: u32 = 64u;
const VALUE_DIM: u32 = 64u;
const_assert HEAD_DIM % 4u == 0u && VALUE_DIM % 4u == 0u;
// Rows of k, v and beta a token.
const STEPS: u32 = 1u;
// Whether sequences are packed, as cu_seqlens says; whether kv_len says how many of their tokens count.
const RAGGED: bool = false;
const PADDED: bool = false;
// Whether tokens are taken from the last to the first.
const REVERSE: bool = false;
// Gates: 0 none, 1 a number a token (or a constant), 2 a number for each of a token's key channels.
const GATE: u32 = 0u;
const BETA: bool = false;
// Whether v is corrected by what the state holds for x already; whether x is another than k; whether x reads the state
// before it decays.
const DELTA: bool = false;
const ERASE_KEY: bool = false;
const ERASE_FIRST: bool = false;
// Whether each value head has a query of its own, though value heads share keys.
const OWN_QUERIES: bool = false;
// Whether a sequence begins with a state that is given, and whether its last is written.
const STATE_IN: bool = false;
const STATE_OUT: bool = false;
// Whether states are written after every so many rows, and after each of the last tokens.
const CHECKPOINTS: bool = false;
const WINDOW: bool = false;
// Whether there are outputs beside the last state.
const WRITE_O: bool = true;

const LOG2_E: f32 = 1.4426950408889634;

struct Sequence {
    batch: u32,
    // The first token's place, and how many there are.
    start: u32,
    len: u32,
    // Tokens from here on, in order of storage, change no state.
    kept: u32,
}

fn sequence_at(index: u32) -> Sequence {
    if RAGGED {
        // Wrong starts give wrong results, but never an access out of range.
        let start = u32(clamp(cu_seqlens[index], 0, i32(params.len)));
        let end = u32(clamp(cu_seqlens[index + 1u], i32(start), i32(params.len)));
        return Sequence(0u, start, end - start, end - start);
    }
    var kept = params.len;
    if PADDED {
        kept = u32(clamp(kv_len[index], 0, i32(params.len)));
    }
    return Sequence(index, 0u, params.len, kept);
}

// The place, within its sequence, of the token that comes i-th.
fn place_of(sequence: Sequence, i: u32) -> u32 {
    if REVERSE {
        return sequence.len - 1u - i;
    }
    return i;
}

// Heads of q are those of k or of v, as the strides are; of several queries of a value head, a dispatch reads one.
fn query_row(batch: u32, head: u32, token: u32) -> u32 {
    if OWN_QUERIES {
        return params.q_base + batch * params.q_batch + head * params.q_head + token * params.q_row;
    }
    return params.q_base + batch * params.q_batch + head / params.group * params.q_head + token * params.q_row;
}

fn key_row(batch: u32, head: u32, row: u32) -> u32 {
    return params.k_base + batch * params.k_batch + head / params.group * params.k_head + row * params.k_row;
}

fn value_row(batch: u32, head: u32, row: u32) -> u32 {
    return params.v_base + batch * params.v_batch + head * params.v_head + row * params.v_row;
}

fn output_row(batch: u32, head: u32, token: u32) -> u32 {
    return params.o_base + batch * params.o_batch + head * params.o_head + token * params.o_row;
}

// A gate, no further below 0 than what is sure to underflow. Drivers' min, max and exp2 make a number of NaN.
fn bounded(gate: f32) -> f32 {
    return select(clamp(gate, -1e5, 0.0), gate, is_nan(gate));
}

// The logarithm of a token's decay.
fn gate_of(batch: u32, head: u32, token: u32) -> f32 {
    return bounded(g[params.g_base + batch * params.g_batch + head * params.g_head + token * params.g_row]);
}

fn channel_gate_of(batch: u32, head: u32, token: u32, channel: u32) -> f32 {
    let row = params.g_base + batch * params.g_batch + head * params.g_head + token * params.g_row;
    return bounded(g[row + min(channel, params.key_dim - 1u)]);
}

// exp(x) - 1 for x from -0.5 to 0.
fn expm1_near(x: f32) -> f32 {
    return x * (1.0 + x * (0.5 + x * (0.16666667 + x * (0.041666668 + x * (0.008333334 + x * (0.0013888889 + x * 0.0001984127))))));
}

// exp(x) - 1 for x <= 0.
fn expm1(x: f32) -> f32 {
    let value = select(expm1_near(x), exp2(x * LOG2_E) - 1.0, x <= -0.5);
    return select(value, x, is_nan(x));
}

// exp(x) for x <= 0.
fn decay(x: f32) -> f32 {
    return select(exp2(x * LOG2_E), x, is_nan(x));
}

// The effect of a decay exp(x), x <= 0, on a state, in a number whose sign tells how `decayed` applies it: exp(x) - 1 to what it
// is added to, because decays near one, multiplied thousands of times, would carry their rounding into S; exp(x) itself where
// it is small, because S + S (exp(x) - 1) would leave the rounding of S behind; and -1 where nothing is left.
fn decay_step(x: f32) -> f32 {
    return decay_step_of(x, exp2(x * LOG2_E));
}

// The same if exp(x) is known.
fn decay_step_of(x: f32, of_x: f32) -> f32 {
    let step = select(expm1_near(x), select(of_x, -1.0, x < -87.0), x <= -0.5);
    return select(step, x, is_nan(x));
}

fn decayed(s: vec4f, step: vec4f) -> vec4f {
    return fma(s, step, select(s, vec4f(), step > vec4f()));
}

// exp(x) of a step.
fn decay_of_step(step: vec4f) -> vec4f {
    return step + select(vec4f(1.0), vec4f(), step > vec4f());
}

fn beta_of(batch: u32, head: u32, row: u32) -> f32 {
    if BETA {
        return beta[params.beta_base + batch * params.beta_batch + head * params.beta_head + row * params.beta_row];
    }
    return 1.0;
}

// Where a sequence's state of a value head begins, and its sums of keys.
fn state_of(sequence: u32, head: u32) -> u32 {
    return params.state_base + (sequence * params.value_heads + head) * params.state_pair;
}

// Where an entry of a sequence's states on the way begins.
fn checkpoint_of(sequence: u32, entry: u32, head: u32) -> u32 {
    let number = (sequence * params.checkpoints + entry) * params.value_heads + head;
    return params.checkpoints_base + number * params.state_pair;
}

fn window_state_of(sequence: u32, entry: u32, head: u32) -> u32 {
    let number = (sequence * params.window + entry) * params.value_heads + head;
    return params.window_base + number * params.state_pair;
}

// The first entry of the states on the way that is the state after a sequence's last row; further ones are too.
fn last_checkpoint(rows: u32) -> u32 {
    return (max(rows, 1u) - 1u) / params.checkpoint_rows;
}

fn sums_of(sequence: u32, head: u32) -> u32 {
    return (sequence * params.value_heads + head) * params.key_dim;
}
