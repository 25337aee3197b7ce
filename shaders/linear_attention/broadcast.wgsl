// Linear attention, chunk by chunk, by broadcast: a lane owns columns of the state and channels of the chunk's rows.
//
//   O = Qhat S + A U        S' = D S + Khat^T U        U = (I + M)^-1 beta (V - Xhat S)        without the delta rule U = V
//
// A_rj = sum_d q_rd k_jd exp(G_rd - G_jd) for j <= r, M_rj = beta_r sum_d x_rd k_jd exp(G_rd - G_jd) for j < r, and a hat
// decays q and x from the chunk's start, k to its end; G are sums of gates.
//
// Shapes    q, k [B, H, T, Dk]   v, o [B, HV, T, Dv]   states [N, HV, Dk, Dv]
// Dispatch  x = slices of LANES * COLUMNS * 4 columns of Dv, y = value heads, z = sequences; a workgroup is one subgroup
// Storage   registers only: of the state all channels of COLUMNS vectors of Dv a lane; of LANES rows of q and k CHANNELS
//           vectors of Dk a lane
// Numerics  f32; sums of gates are taken between the rows that they separate, so that nothing is ever subtracted or divided:
// every exponent is 0 or less; how states decay: `decay_step`. A chunk's addition to a state is summed first: a sum of
//           a hundred thousand rows is rounded a LANES-th as often
// Source    Yang et al. 2024, DeltaNet, section 3; Yang et al. 2024, Gated Delta Networks, section 3.3
//
// Made for adapters on which a load costs tens of FMAs, as software drivers' do: every element of q, k, v and o is loaded or
// stored once, and rows are loaded as they lie. Subgroups have LANES lanes, no more and no less.

import package::linear_attention::problem::{HEAD_DIM, VALUE_DIM, DELTA, STATE_IN, STATE_OUT, WRITE_O, GATE, STEPS, params, sequence_at, gate_of, beta_of, state_of, sums_of};
import package::linear_attention::state::{state4, put_state4};
import package::linear_attention::sums::{NORMALISE, SUMS_OUT, put_z};
import package::linear_attention::broadcast_steps::{row_at, State, Channels, Values, Outputs, load_sums, load_rows, multiply_rows, decay_channels, decay_rows, divisor_of_row, read_state, correct_values, write_row, update_state, update_sums};
import package::shared::vector::{UNROLL_COMPONENTS};
import package::shared::grid::{workgroup_of};

// Lanes of a subgroup, and rows of a chunk.
const LANES: u32 = 8u;
// Vectors of columns a lane owns.
const COLUMNS: u32 = 2u;
// Rows that meet an element of the state before the next does.
const TOGETHER: u32 = 2u;

const K_VECTORS: u32 = HEAD_DIM / 4u;
// Vectors of channels a lane owns: those that are LANES apart.
const CHANNELS: u32 = (K_VECTORS + LANES - 1u) / LANES;
// How often lanes can be halved.
const TURNS: u32 = select(2u, 3u, LANES == 8u);
const_assert LANES % TOGETHER == 0u;
const_assert LANES == 4u || LANES == 8u;

@compute @workgroup_size(LANES)
fn main(@builtin(workgroup_id) dispatched: vec3u, @builtin(subgroup_invocation_id) lane: u32) {
    let group = workgroup_of(dispatched);
    let pair_sequence = params.first_sequence + group.z;
    let sequence = sequence_at(pair_sequence);
    let batch = sequence.batch;
    let head = params.first_head + group.y;
    let state_at = state_of(pair_sequence, head);
    let sums_at = sums_of(pair_sequence, head);
    // The first of each of the lane's vectors, of the state's columns and of channels. Those beyond the last are the last
    // again: such channels are taken as zero, such columns are not written.
    var column: array<u32, COLUMNS>;
    var writes: array<bool, COLUMNS>;
    for (var c = 0u; c < COLUMNS; c += 1u) {
        let own = ((group.x * COLUMNS + c) * LANES + lane) * 4u;
        writes[c] = own < VALUE_DIM;
        column[c] = min(own, VALUE_DIM - 4u);
    }
    var channel: array<u32, CHANNELS>;
    var there: array<bool, CHANNELS>;
    for (var c = 0u; c < CHANNELS; c += 1u) {
        let own = (c * LANES + lane) * 4u;
        there[c] = own < HEAD_DIM;
        channel[c] = min(own, HEAD_DIM - 4u);
    }

    var state: State;
    var z: array<vec4f, CHANNELS>;
    var bonuses: array<vec4f, CHANNELS>;
    if STATE_IN {
        for (var d = 0u; d < HEAD_DIM; d += 1u) {
            for (var c = 0u; c < COLUMNS; c += 1u) {
                state[d][c] = state4(state_at, d, column[c]);
            }
        }
    }
    load_sums(&z, &bonuses, &channel, &there, head, sums_at);

    for (var next = 0u; next < sequence.len * STEPS; next += LANES) {
        let first = next;
        // Every load comes before the first FMA, so that what follows is one straight line.
        var q: Channels;
        var k: Channels;
        var x: Channels;
        // Steps of the channels' decays before each row.
        var lost: Channels;
        // Values, and then what is written of them.
        var u: Values;
        load_rows(&q, &k, &x, &lost, &u, &column, &channel, &there, sequence, batch, head, first);
        let mine = row_at(sequence, first + lane);
        var my_gate = 0.0;
        if GATE == 1u {
            my_gate = select(0.0, gate_of(batch, head, mine.token), mine.gated);
        }
        var my_beta = 1.0;
        if DELTA {
            my_beta = select(0.0, beta_of(batch, head, mine.row), mine.kept);
        }

        var a: array<f32, LANES>;
        var m: array<f32, LANES>;
        // Steps of the state's decays over the chunk.
        var losses: array<vec4f, CHANNELS>;
        multiply_rows(&a, &m, &q, &k, &x, &lost, &bonuses, lane);

        var loss_of_all = 0.0;
        if GATE == 2u {
            decay_channels(&q, &x, &losses, &lost);
        } else if GATE == 1u {
            decay_rows(&a, &m, &q, &k, &x, &loss_of_all, &my_gate, lane);
        }

        var denominator = 0.0;
        if NORMALISE {
            denominator = divisor_of_row(&q, &z, lane);
        }

        for (var r_0 = 0u; r_0 < LANES; r_0 += TOGETHER) {
            var o: Outputs;
            var read: Outputs;
            read_state(&o, &read, &q, &x, &state, r_0);
            for (var r = 0u; r < TOGETHER; r += 1u) {
                if DELTA {
                    correct_values(&u, &read, &m, &my_beta, sequence, first, r_0, r);
                }
                if WRITE_O {
                    write_row(&o, &a, &u, &column, &writes, &denominator, sequence, batch, head, first, r_0, r);
                }
            }
        }

        update_state(&state, &k, &u, &losses, &loss_of_all);
        if NORMALISE {
            update_sums(&z, &k, &losses, &loss_of_all);
        }
    }

    if STATE_OUT {
        for (var c = 0u; c < COLUMNS; c += 1u) {
            if writes[c] {
                for (var d = 0u; d < HEAD_DIM; d += 1u) {
                    put_state4(state_at, d, column[c], state[d][c]);
                }
            }
        }
    }
    if SUMS_OUT && group.x == 0u {
        for (var c = 0u; c < CHANNELS; c += 1u) {
            if there[c] {
                for (var e = 0u; e < UNROLL_COMPONENTS; e += 1u) {
                    put_z(sums_at, channel[c] + e, z[c][e]);
                }
            }
        }
    }
}
