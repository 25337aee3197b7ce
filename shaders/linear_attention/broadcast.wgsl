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
//           every exponent is 0 or less; how states decay: `decay_step`. What a chunk adds to a state is summed first: a sum of
//           a hundred thousand rows is rounded a LANES-th as often
// Source    Yang et al. 2024, DeltaNet, section 3; Yang et al. 2024, Gated Delta Networks, section 3.3
//
// Made for adapters on which a load costs tens of FMAs, as software drivers' do: every element of q, k, v and o is loaded or
// stored once, and rows are loaded as they lie. Subgroups have LANES lanes, no more and no less.

import package::linear_attention::problem::{GATE, PADDED, STEPS, LOG2_E, Sequence, params, sequence_at, place_of, query_row, key_row, value_row, output_row, gate_of, channel_gate_of, decay, decay_step, decay_of_step, decayed, beta_of, state_of, sums_of};
import package::linear_attention::state::{state4, put_state4};
import package::linear_attention::sums::{NORMALISE, SUMS_IN, SUMS_OUT, BONUS, ADD_PARTIAL, z_in, z_out, bonus, first_o};
import package::linear_attention::erase::{erase4};
import package::shared::inputs::{q4, k4, v4};
import package::shared::output::{put_o4};
import package::shared::vector::{UNROLL_COMPONENTS};
import package::shared::grid::{workgroup_of};

// Widths, rounded up to multiples of four.
const HEAD_DIM: u32 = 64u;
const VALUE_DIM: u32 = 64u;
// Lanes of a subgroup, and rows of a chunk.
const LANES: u32 = 8u;
// Vectors of columns a lane owns.
const COLUMNS: u32 = 2u;
// Rows that meet an element of the state before the next does.
const TOGETHER: u32 = 2u;
const DELTA: bool = false;
const ERASE_KEY: bool = false;
const ERASE_FIRST: bool = false;
const STATE_IN: bool = false;
const STATE_OUT: bool = false;
const WRITE_O: bool = true;

const K_VECTORS: u32 = HEAD_DIM / 4u;
// Vectors of channels a lane owns: those that are LANES apart.
const CHANNELS: u32 = (K_VECTORS + LANES - 1u) / LANES;
// How often lanes can be halved.
const TURNS: u32 = select(2u, 3u, LANES == 8u);
const_assert HEAD_DIM % 4u == 0u && VALUE_DIM % 4u == 0u && LANES % TOGETHER == 0u;
const_assert LANES == 4u || LANES == 8u;

// A row of a sequence.
struct Row {
    token: u32,
    // Whether the token's output is read after it.
    emits: bool,
    // Whether it changes the state, and whether the token's gate acts before.
    kept: bool,
    gated: bool,
    // Where it lies itself.
    row: u32,
}

fn row_at(sequence: Sequence, i: u32) -> Row {
    let inside = i < sequence.len * STEPS;
    let at = min(i, sequence.len * STEPS - 1u);
    let place = place_of(sequence, at / STEPS);
    // No && nor ||: they branch, and software drivers compile a text with hundreds of branches for minutes.
    var kept = inside;
    if PADDED {
        kept = inside & (place < sequence.kept);
    }
    let step = at % STEPS;
    return Row(sequence.start + place, inside & (step == STEPS - 1u), kept, kept & (step == 0u), (sequence.start + place) * STEPS + step);
}

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

    var state: array<array<vec4f, COLUMNS>, HEAD_DIM>;
    var z: array<vec4f, CHANNELS>;
    var bonuses: array<vec4f, CHANNELS>;
    if STATE_IN {
        for (var d = 0u; d < HEAD_DIM; d += 1u) {
            for (var c = 0u; c < COLUMNS; c += 1u) {
                state[d][c] = state4(state_at, d, column[c]);
            }
        }
    }
    for (var c = 0u; c < CHANNELS; c += 1u) {
        for (var e = 0u; e < UNROLL_COMPONENTS; e += 1u) {
            let at = min(channel[c] + e, params.key_dim - 1u);
            if SUMS_IN {
                z[c][e] = select(0.0, z_in[sums_at + at], there[c] & (channel[c] + e < params.key_dim));
            }
            if BONUS {
                bonuses[c][e] = bonus[head * params.key_dim + at];
            }
        }
    }

    for (var first = 0u; first < sequence.len * STEPS; first += LANES) {
        // Every load comes before the first FMA, so that what follows is one straight line.
        var q: array<array<vec4f, CHANNELS>, LANES>;
        var k: array<array<vec4f, CHANNELS>, LANES>;
        var x: array<array<vec4f, CHANNELS>, LANES>;
        // Steps of the channels' decays before each row.
        var lost: array<array<vec4f, CHANNELS>, LANES>;
        // Values, and then what is written of them.
        var u: array<array<vec4f, COLUMNS>, LANES>;
        for (var r = 0u; r < LANES; r += 1u) {
            let row = row_at(sequence, first + r);
            let at = row.row;
            let q_at = query_row(batch, head, row.token);
            let k_at = key_row(batch, head, at);
            let v_at = value_row(batch, head, at);
            for (var c = 0u; c < CHANNELS; c += 1u) {
                if WRITE_O {
                    q[r][c] = select(vec4f(), q4(q_at, channel[c]) * params.scale, there[c]);
                }
                k[r][c] = select(vec4f(), k4(k_at, channel[c]), there[c] & row.kept);
                if ERASE_KEY {
                    x[r][c] = select(vec4f(), erase4(batch, head, at, channel[c]), there[c] & row.kept);
                } else if DELTA {
                    x[r][c] = k[r][c];
                }
                if GATE == 2u {
                    for (var e = 0u; e < UNROLL_COMPONENTS; e += 1u) {
                        let taken = decay_step(channel_gate_of(batch, head, row.token, channel[c] + e));
                        lost[r][c][e] = select(0.0, taken, row.gated);
                    }
                }
            }
            for (var c = 0u; c < COLUMNS; c += 1u) {
                u[r][c] = select(vec4f(), v4(v_at, column[c]), row.kept);
            }
        }
        let mine = row_at(sequence, first + lane);
        var my_gate = 0.0;
        if GATE == 1u {
            my_gate = select(0.0, gate_of(batch, head, mine.token), mine.gated);
        }
        var my_beta = 1.0;
        if DELTA {
            my_beta = select(0.0, beta_of(batch, head, mine.row), mine.kept);
        }

        // A and M: lane j holds their column j. Their sums over channels are spread over the lanes; each turn of the last
        // loop halves them: a lane keeps those of its half of the columns, and adds what its partner has of them.
        var a: array<f32, LANES>;
        var m: array<f32, LANES>;
        // Steps of the state's decays over the chunk.
        var losses: array<vec4f, CHANNELS>;
        for (var r = 0u; r < LANES; r += 1u) {
            var of_a: array<f32, LANES>;
            var of_m: array<f32, LANES>;
            for (var c = 0u; c < CHANNELS; c += 1u) {
                let decays = decay_of_step(lost[r][c]);
                for (var j = 0u; j < r; j += 1u) {
                    if BONUS {
                        of_a[j] += dot(q[r][c], k[j][c]);
                    }
                    if DELTA && ERASE_FIRST {
                        of_m[j] += dot(x[r][c], k[j][c]);
                    }
                    if GATE == 2u {
                        // Keys decay from row to row, until the chunk's end.
                        k[j][c] *= decays;
                    }
                    if WRITE_O && !BONUS {
                        of_a[j] += dot(q[r][c], k[j][c]);
                    }
                    if DELTA && !ERASE_FIRST {
                        of_m[j] += dot(x[r][c], k[j][c]);
                    }
                }
                if BONUS {
                    of_a[r] += dot(q[r][c] * bonuses[c], k[r][c]);
                } else if WRITE_O {
                    of_a[r] += dot(q[r][c], k[r][c]);
                }
            }
            for (var turn = 0u; turn < TURNS; turn += 1u) {
                let half = (LANES / 2u) >> turn;
                for (var j = 0u; j < half; j += 1u) {
                    let upper = (lane & half) != 0u;
                    if WRITE_O {
                        of_a[j] = select(of_a[j], of_a[j + half], upper) + subgroupShuffleXor(select(of_a[j + half], of_a[j], upper), half);
                    }
                    if DELTA {
                        of_m[j] = select(of_m[j], of_m[j + half], upper) + subgroupShuffleXor(select(of_m[j + half], of_m[j], upper), half);
                    }
                }
            }
            a[r] = of_a[0];
            m[r] = of_m[0];
        }

        // q and x have decayed since the chunk's start.
        var loss_of_all = 0.0;
        if GATE == 2u {
            for (var c = 0u; c < CHANNELS; c += 1u) {
                var since = vec4f(1.0);
                for (var r = 0u; r < LANES; r += 1u) {
                    let before = since;
                    since *= decay_of_step(lost[r][c]);
                    q[r][c] *= select(since, before, BONUS);
                    x[r][c] *= select(since, before, ERASE_FIRST);
                    losses[c] = fma(losses[c], lost[r][c], losses[c] + lost[r][c]);
                }
                // Above 0.65, all steps are losses: see `decay_step`.
                losses[c] = select(select(since, vec4f(-1.0), since < vec4f(1e-37)), losses[c], since > vec4f(0.65));
            }
        } else if GATE == 1u {
            var until = 0.0;
            var since = 0.0;
            var since_before = 0.0;
            for (var r = 0u; r < LANES; r += 1u) {
                let here = subgroupShuffle(my_gate, r);
                let before = exp2(until * LOG2_E);
                until += select(0.0, here, lane < r);
                let after = exp2(until * LOG2_E);
                // A bonus takes the place of what a row has of itself.
                a[r] *= select(after, select(before, 1.0, lane == r), BONUS);
                m[r] *= select(after, before, ERASE_FIRST);
                since += select(0.0, here, lane >= r);
                since_before += select(0.0, here, lane > r);
                loss_of_all += here;
            }
            loss_of_all = decay_step(loss_of_all);
            let to_k = exp2(until * LOG2_E);
            let to_q = decay(select(since, since_before, BONUS));
            let to_x = decay(select(since, since_before, ERASE_FIRST));
            for (var r = 0u; r < LANES; r += 1u) {
                for (var c = 0u; c < CHANNELS; c += 1u) {
                    k[r][c] *= subgroupShuffle(to_k, r);
                    q[r][c] *= subgroupShuffle(to_q, r);
                    x[r][c] *= subgroupShuffle(to_x, r);
                }
            }
        }

        // What outputs are divided by, but for what the chunk's own rows add: lane r holds that of row r.
        var denominator = 0.0;
        if NORMALISE {
            var of_rows: array<f32, LANES>;
            for (var r = 0u; r < LANES; r += 1u) {
                for (var c = 0u; c < CHANNELS; c += 1u) {
                    of_rows[r] += dot(q[r][c], z[c]);
                }
            }
            for (var turn = 0u; turn < TURNS; turn += 1u) {
                let half = (LANES / 2u) >> turn;
                for (var j = 0u; j < half; j += 1u) {
                    let upper = (lane & half) != 0u;
                    of_rows[j] = select(of_rows[j], of_rows[j + half], upper) + subgroupShuffleXor(select(of_rows[j + half], of_rows[j], upper), half);
                }
            }
            denominator = of_rows[0] + params.eps;
        }

        for (var r_0 = 0u; r_0 < LANES; r_0 += TOGETHER) {
            var o: array<array<vec4f, COLUMNS>, TOGETHER>;
            var read: array<array<vec4f, COLUMNS>, TOGETHER>;
            for (var d = 0u; d < K_VECTORS; d += 1u) {
                for (var r = 0u; r < TOGETHER; r += 1u) {
                    let q_here = subgroupShuffle(q[r_0 + r][d / LANES], d % LANES);
                    let x_here = subgroupShuffle(x[r_0 + r][d / LANES], d % LANES);
                    for (var e = 0u; e < UNROLL_COMPONENTS; e += 1u) {
                        for (var c = 0u; c < COLUMNS; c += 1u) {
                            if WRITE_O {
                                o[r][c] = fma(vec4f(q_here[e]), state[4u * d + e][c], o[r][c]);
                            }
                            if DELTA {
                                read[r][c] = fma(vec4f(x_here[e]), state[4u * d + e][c], read[r][c]);
                            }
                        }
                    }
                }
            }
            for (var r = 0u; r < TOGETHER; r += 1u) {
                if DELTA {
                    for (var j = 0u; j < r_0 + r; j += 1u) {
                        let by = subgroupShuffle(m[r_0 + r], j);
                        for (var c = 0u; c < COLUMNS; c += 1u) {
                            read[r][c] = fma(vec4f(by), u[j][c], read[r][c]);
                        }
                    }
                    let by = subgroupShuffle(my_beta, r_0 + r);
                    for (var c = 0u; c < COLUMNS; c += 1u) {
                        let left = by * (u[r_0 + r][c] - read[r][c]);
                        if PADDED {
                            // Not a product with 0: a state may hold NaN.
                            u[r_0 + r][c] = select(vec4f(), left, row_at(sequence, first + r_0 + r).kept);
                        } else {
                            u[r_0 + r][c] = left;
                        }
                    }
                }
                if WRITE_O {
                    var sum = subgroupShuffle(denominator, r_0 + r);
                    for (var j = 0u; j <= r_0 + r; j += 1u) {
                        let by = subgroupShuffle(a[r_0 + r], j);
                        sum += by;
                        for (var c = 0u; c < COLUMNS; c += 1u) {
                            o[r][c] = fma(vec4f(by), u[j][c], o[r][c]);
                        }
                    }
                    let row = row_at(sequence, first + r_0 + r);
                    let to = output_row(batch, head, row.token);
                    for (var c = 0u; c < COLUMNS; c += 1u) {
                        if NORMALISE {
                            o[r][c] /= sum;
                        }
                        if row.emits & writes[c] {
                            if ADD_PARTIAL {
                                let at = (batch * params.value_heads + head) * params.len + row.token;
                                o[r][c] += first_o[at * (VALUE_DIM / 4u) + column[c] / 4u];
                            }
                            put_o4(to, column[c], o[r][c]);
                        }
                    }
                }
            }
        }

        for (var d = 0u; d < K_VECTORS; d += 1u) {
            let loss_here = subgroupShuffle(losses[d / LANES], d % LANES);
            var added: array<array<vec4f, COLUMNS>, 4>;
            for (var j = 0u; j < LANES; j += 1u) {
                let k_there = subgroupShuffle(k[j][d / LANES], d % LANES);
                for (var e = 0u; e < UNROLL_COMPONENTS; e += 1u) {
                    for (var c = 0u; c < COLUMNS; c += 1u) {
                        if j == 0u {
                            added[e][c] = k_there[e] * u[j][c];
                        } else {
                            added[e][c] = fma(vec4f(k_there[e]), u[j][c], added[e][c]);
                        }
                    }
                }
            }
            for (var e = 0u; e < UNROLL_COMPONENTS; e += 1u) {
                for (var c = 0u; c < COLUMNS; c += 1u) {
                    if GATE == 2u {
                        state[4u * d + e][c] = decayed(state[4u * d + e][c], vec4f(loss_here[e]));
                    } else if GATE == 1u {
                        state[4u * d + e][c] = decayed(state[4u * d + e][c], vec4f(loss_of_all));
                    }
                    state[4u * d + e][c] += added[e][c];
                }
            }
        }
        if NORMALISE {
            for (var c = 0u; c < CHANNELS; c += 1u) {
                if GATE == 2u {
                    z[c] = decayed(z[c], losses[c]);
                } else if GATE == 1u {
                    z[c] = decayed(z[c], vec4f(loss_of_all));
                }
                var added = k[0][c];
                for (var j = 1u; j < LANES; j += 1u) {
                    added += k[j][c];
                }
                z[c] += added;
            }
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
            for (var e = 0u; e < UNROLL_COMPONENTS; e += 1u) {
                if there[c] & (channel[c] + e < params.key_dim) {
                    z_out[sums_at + channel[c] + e] = z[c][e];
                }
            }
        }
    }
}
