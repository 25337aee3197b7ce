// Linear attention, token by token: the recurrence as it is defined.
//
//   S_t = D_t S_(t-1) + k_t (beta_t (v_t - x_t^T D_t S_(t-1)))^T          o_t = scale * S_t^T q_t
//
// Shapes    q, k [B, H, T, Dk]   v, o [B, HV, T, Dv]   states [N, HV, Dk, Dv]
// Dispatch  x = slices of 4 * COLUMNS columns of Dv, y = value heads, z = sequences
// Storage   a thread keeps DEPTH channels of four columns of the state in registers; rows of q, k, x and gates go through
//           workgroup memory where several threads need them, and so do sums over channels
// Numerics  f32; gates are 0 or less; how states decay: `decay_step`
// Source    Katharopoulos et al. 2020, equations 18 to 20; Yang et al. 2024, DeltaNet, equation 1

import package::linear_attention::problem::{HEAD_DIM, VALUE_DIM, DELTA, ERASE_KEY, ERASE_FIRST, STATE_IN, STATE_OUT, CHECKPOINTS, WINDOW, WRITE_O, GATE, RAGGED, PADDED, REVERSE, STEPS, params, sequence_at, place_of, query_row, key_row, value_row, output_row, gate_of, channel_gate_of, decay_step, decayed, beta_of, state_of, sums_of, checkpoint_of, window_state_of, last_checkpoint};
import package::linear_attention::chunk::{CHUNK, first_slot_of, pair_of};
import package::linear_attention::state::{state4, put_state4, put_checkpoint4, put_window4};
import package::linear_attention::sums::{NORMALISE, SUMS_IN, SUMS_OUT, BONUS, ADD_PARTIAL, z_at, put_z, bonus_of, partial_output};
import package::linear_attention::erase::{erase4};
import package::shared::inputs::{q4, k4, v4};
import package::shared::output::{put_o4};
import package::shared::vector::{UNROLL_COMPONENTS};
import package::shared::grid::{workgroup_of};

// Channels a thread owns, threads that share a column, and vectors of columns a workgroup owns.
const DEPTH: u32 = 16u;
const PARTS: u32 = 4u;
const COLUMNS: u32 = 16u;

// Whether to begin with the chunk in which a sequence's last tokens begin, for the states after these.
const REPLAY: bool = false;

const THREADS: u32 = PARTS * COLUMNS;
// Unrolled: where loops have a budget, a token must not cost more than a turn.
const UNROLL_PARTS: u32 = PARTS;
const CHANNELS: u32 = DEPTH / 4u;
// Whether threads share rows: then each is loaded once a workgroup.
const STAGED: bool = COLUMNS > 1u;
// Vectors of a staged row, and where the staged rows begin.
const ROW: u32 = select(1u, PARTS * CHANNELS, STAGED);
const K_ROW: u32 = ROW;
const X_ROW: u32 = 2u * ROW;
const LOSS_ROW: u32 = 3u * ROW;
const_assert DEPTH % 4u == 0u;
const_assert PARTS * DEPTH >= HEAD_DIM;

@group(0) @binding(17) var<storage, read> chunk_states: array<vec4f>; // [HV, slots, Dk, Dv]: at the starts of chunks

var<workgroup> rows: array<vec4f, 4u * ROW>;
var<workgroup> sums: array<vec4f, THREADS>;
var<workgroup> denominators: array<f32, THREADS>;

// A row of the sequence: where it and its token lie, whether it changes the state, and whether the token's gate acts before.
struct TokenRow {
    batch: u32,
    head: u32,
    token: u32,
    row: u32,
    kept: bool,
    gated: bool,
}

// Four channels of a row: q, k, x and steps of their decays.
fn load_row(row: TokenRow, channel: u32) -> array<vec4f, 4> {
    let inside = channel < HEAD_DIM;
    let at = min(channel, HEAD_DIM - 4u);
    var q: vec4f;
    var x: vec4f;
    var lost: vec4f;
    if WRITE_O {
        q = select(vec4f(), q4(query_row(row.batch, row.head, row.token), at) * params.scale, inside);
    }
    let k = select(vec4f(), k4(key_row(row.batch, row.head, row.row), at), inside && row.kept);
    if ERASE_KEY {
        x = select(vec4f(), erase4(row.batch, row.head, row.row, at), inside && row.kept);
    }
    if GATE == 2u {
        for (var c = 0u; c < UNROLL_COMPONENTS; c += 1u) {
            lost[c] = decay_step(channel_gate_of(row.batch, row.head, row.token, at + c));
        }
        lost = select(vec4f(), lost, row.gated);
    }
    return array<vec4f, 4>(q, k, x, lost);
}

// The thread's channels of a row.
alias Channels = array<vec4f, CHANNELS>;

// States at the start of a chunk.
fn load_chunk_state(state: ptr<function, array<vec4f, DEPTH>>, pair: u32, first_channel: u32, column: u32) {
    for (var d = 0u; d < DEPTH; d += 1u) {
        let channel = first_channel + d;
        let value = chunk_states[((pair * HEAD_DIM + min(channel, HEAD_DIM - 1u)) * VALUE_DIM + column) / 4u];
        state[d] = select(vec4f(), value, channel < HEAD_DIM);
    }
}

// First states of sequences, and the bonuses.
fn load_state(
    state: ptr<function, array<vec4f, DEPTH>>,
    z: ptr<function, array<f32, DEPTH>>, own_bonus: ptr<function, array<f32, DEPTH>>,
    head: u32, state_at: u32, sums_at: u32, first_channel: u32, column: u32,
) {
    if STATE_IN {
        for (var d = 0u; d < DEPTH; d += 1u) {
            state[d] = state4(state_at, first_channel + d, column);
        }
    }
    if SUMS_IN {
        for (var d = 0u; d < DEPTH; d += 1u) {
            z[d] = z_at(sums_at, first_channel + d);
        }
    }
    if BONUS {
        for (var d = 0u; d < DEPTH; d += 1u) {
            own_bonus[d] = bonus_of(head, first_channel + d);
        }
    }
}

// Loads a row: each vector once a workgroup, where threads share them.
fn load_channels(
    q: ptr<function, Channels>, k: ptr<function, Channels>, x: ptr<function, Channels>, lost: ptr<function, Channels>,
    batch: u32, head: u32, token: u32, row: u32, step: u32, kept: bool, first_channel: u32, part: u32, thread: u32,
) {
    if STAGED {
        workgroupBarrier();
        for (var at = thread; at < ROW; at += THREADS) {
            let all = load_row(TokenRow(batch, head, token, row, kept, kept && step == 0u), 4u * at);
            rows[at] = all[0];
            rows[K_ROW + at] = all[1];
            if ERASE_KEY {
                rows[X_ROW + at] = all[2];
            }
            if GATE == 2u {
                rows[LOSS_ROW + at] = all[3];
            }
        }
        workgroupBarrier();
        for (var c = 0u; c < CHANNELS; c += 1u) {
            q[c] = rows[part * CHANNELS + c];
            k[c] = rows[K_ROW + part * CHANNELS + c];
            if ERASE_KEY {
                x[c] = rows[X_ROW + part * CHANNELS + c];
            }
            if GATE == 2u {
                lost[c] = rows[LOSS_ROW + part * CHANNELS + c];
            }
        }
    } else {
        for (var c = 0u; c < CHANNELS; c += 1u) {
            let all = load_row(TokenRow(batch, head, token, row, kept, kept && step == 0u), first_channel + 4u * c);
            q[c] = all[0];
            k[c] = all[1];
            x[c] = all[2];
            lost[c] = all[3];
        }
    }
}

// A token's reading of the state before it, and of itself.
fn read_with_bonus(
    o: ptr<function, vec4f>,
    state: ptr<function, array<vec4f, DEPTH>>,
    q: ptr<function, Channels>, k: ptr<function, Channels>,
    own_bonus: ptr<function, array<f32, DEPTH>>,
    change: ptr<function, vec4f>,
) {
    var own = 0.0;
    for (var d = 0u; d < DEPTH; d += 1u) {
        *o += q[d / 4u][d % 4u] * state[d];
        own += q[d / 4u][d % 4u] * own_bonus[d] * k[d / 4u][d % 4u];
    }
    *o += own * *change;
}

// A channel of the state, decayed by the token's gate.
fn decay_channel(
    state: ptr<function, array<vec4f, DEPTH>>,
    lost: ptr<function, Channels>,
    lost_by_all: ptr<function, f32>,
    d: u32,
) {
    if GATE == 2u {
        state[d] = decayed(state[d], vec4f(lost[d / 4u][d % 4u]));
    } else if GATE == 1u {
        state[d] = decayed(state[d], vec4f(*lost_by_all));
    }
}

// Takes from a value what the state holds for its key already.
fn subtract_read(
    change: ptr<function, vec4f>,
    state: ptr<function, array<vec4f, DEPTH>>,
    k: ptr<function, Channels>, x: ptr<function, Channels>, lost: ptr<function, Channels>,
    lost_by_all: ptr<function, f32>,
    lane: u32, thread: u32,
) {
    var read: vec4f;
    for (var d = 0u; d < DEPTH; d += 1u) {
        if !ERASE_FIRST {
            decay_channel(state, lost, lost_by_all, d);
        }
        if ERASE_KEY {
            read += x[d / 4u][d % 4u] * state[d];
        } else {
            read += k[d / 4u][d % 4u] * state[d];
        }
    }
    sums[thread] = read;
    workgroupBarrier();
    for (var p = 0u; p < UNROLL_PARTS; p += 1u) {
        *change -= sums[p * COLUMNS + lane];
    }
}

// The state after a token, and what the token reads of it.
fn update_state(
    state: ptr<function, array<vec4f, DEPTH>>,
    z: ptr<function, array<f32, DEPTH>>,
    o: ptr<function, vec4f>,
    denominator: ptr<function, f32>,
    q: ptr<function, Channels>, k: ptr<function, Channels>, lost: ptr<function, Channels>,
    lost_by_all: ptr<function, f32>,
    change: ptr<function, vec4f>,
) {
    for (var d = 0u; d < DEPTH; d += 1u) {
        if !DELTA || ERASE_FIRST {
            decay_channel(state, lost, lost_by_all, d);
        }
        state[d] = fma(vec4f(k[d / 4u][d % 4u]), *change, state[d]);
        if NORMALISE {
            if GATE == 2u {
                z[d] = decayed(vec4f(z[d]), vec4f(lost[d / 4u][d % 4u])).x;
            } else if GATE == 1u {
                z[d] = decayed(vec4f(z[d]), vec4f(*lost_by_all)).x;
            }
            z[d] += k[d / 4u][d % 4u];
        }
        if WRITE_O && !BONUS {
            *o = fma(vec4f(q[d / 4u][d % 4u]), state[d], *o);
            if NORMALISE {
                *denominator = fma(q[d / 4u][d % 4u], z[d], *denominator);
            }
        }
    }
}

fn put_checkpoint(state: ptr<function, array<vec4f, DEPTH>>, to: u32, first_channel: u32, column: u32) {
    for (var d = 0u; d < DEPTH; d += 1u) {
        put_checkpoint4(to, first_channel + d, column, state[d]);
    }
}

fn put_window(state: ptr<function, array<vec4f, DEPTH>>, to: u32, first_channel: u32, column: u32) {
    for (var d = 0u; d < DEPTH; d += 1u) {
        put_window4(to, first_channel + d, column, state[d]);
    }
}

@compute @workgroup_size(THREADS)
fn main(@builtin(workgroup_id) dispatched: vec3u, @builtin(local_invocation_index) thread: u32) {
    let group = workgroup_of(dispatched);
    let pair_sequence = params.first_sequence + group.z;
    let sequence = sequence_at(pair_sequence);
    let head = params.first_head + group.y;
    let lane = thread % COLUMNS;
    let part = thread / COLUMNS;
    let own_column = (group.x * COLUMNS + lane) * 4u;
    // Lanes beyond the last column do what the last does, but for writing.
    let column = min(own_column, VALUE_DIM - 4u);
    let writes = own_column < VALUE_DIM;
    let first_channel = part * DEPTH;
    let state_at = state_of(pair_sequence, head);
    let sums_at = sums_of(pair_sequence, head);

    var state: array<vec4f, DEPTH>;
    var z: array<f32, DEPTH>;
    var own_bonus: array<f32, DEPTH>;
    // Tokens up to the last that changes the state.
    let ending = select(sequence.kept, sequence.len, REVERSE);
    var first_row = 0u;
    var end_row = sequence.len * STEPS;
    if REPLAY {
        first_row = (ending - min(ending, params.window)) * STEPS / CHUNK * CHUNK;
        end_row = ending * STEPS;
    }
    if REPLAY && (!RAGGED || sequence.len > 0u) {
        let pair = pair_of(head, first_slot_of(pair_sequence) + first_row / CHUNK);
        load_chunk_state(&state, pair, first_channel, column);
    } else {
        load_state(&state, &z, &own_bonus, head, state_at, sums_at, first_channel, column);
    }
    if WINDOW && (RAGGED || PADDED) && writes {
        for (var entry = 0u; entry + ending < params.window; entry += 1u) {
            put_window(&state, window_state_of(pair_sequence, entry, head), first_channel, column);
        }
    }

    for (var i = first_row; i < end_row; i += 1u) {
        let place = place_of(sequence, i / STEPS);
        let step = i % STEPS;
        let token = sequence.start + place;
        let row = token * STEPS + step;
        let kept = !PADDED || place < sequence.kept;
        let emits = WRITE_O && step == STEPS - 1u;

        var q: Channels;
        var k: Channels;
        var x: Channels;
        var lost: Channels;
        load_channels(&q, &k, &x, &lost, sequence.batch, head, token, row, step, kept, first_channel, part, thread);

        var change = select(vec4f(), v4(value_row(sequence.batch, head, row), column), kept);
        var lost_by_all = 0.0;
        if GATE == 1u {
            lost_by_all = select(0.0, decay_step(gate_of(sequence.batch, head, token)), step == 0u && kept);
        }
        var o: vec4f;
        var denominator = 0.0;
        if BONUS {
            read_with_bonus(&o, &state, &q, &k, &own_bonus, &change);
        }
        if DELTA {
            subtract_read(&change, &state, &k, &x, &lost, &lost_by_all, lane, thread);
            // Not a product with 0: a state may hold NaN.
            change = select(vec4f(), change * beta_of(sequence.batch, head, row), kept);
            workgroupBarrier();
        }
        update_state(&state, &z, &o, &denominator, &q, &k, &lost, &lost_by_all, &change);
        if emits {
            sums[thread] = o;
            if NORMALISE {
                denominators[thread] = denominator;
            }
            workgroupBarrier();
            if part == 0u && writes {
                for (var p = 1u; p < UNROLL_PARTS; p += 1u) {
                    o += sums[p * COLUMNS + lane];
                }
                if NORMALISE {
                    for (var p = 1u; p < UNROLL_PARTS; p += 1u) {
                        denominator += denominators[p * COLUMNS + lane];
                    }
                    o /= denominator + params.eps;
                }
                let to = output_row(sequence.batch, head, token);
                if ADD_PARTIAL {
                    o += partial_output(sequence.batch, head, token, column);
                }
                put_o4(to, column, o);
            }
        }
        if CHECKPOINTS {
            if writes && i + 1u < end_row && (i + 1u) % params.checkpoint_rows == 0u {
                put_checkpoint(&state, checkpoint_of(pair_sequence, i / params.checkpoint_rows, head), first_channel, column);
            }
        }
        if WINDOW {
            // This token and those that follow.
            let left = ending - min(i / STEPS, ending);
            if writes && step == STEPS - 1u && left > 0u && left <= params.window {
                put_window(&state, window_state_of(pair_sequence, params.window - left, head), first_channel, column);
            }
        }
    }

    if CHECKPOINTS && writes {
        for (var entry = last_checkpoint(sequence.len * STEPS); entry < params.checkpoints; entry += 1u) {
            put_checkpoint(&state, checkpoint_of(pair_sequence, entry, head), first_channel, column);
        }
    }
    if STATE_OUT && writes {
        for (var d = 0u; d < DEPTH; d += 1u) {
            put_state4(state_at, first_channel + d, column, state[d]);
        }
    }
    if SUMS_OUT && group.x == 0u && lane == 0u {
        for (var d = 0u; d < DEPTH; d += 1u) {
            put_z(sums_at, first_channel + d, z[d]);
        }
    }
}
