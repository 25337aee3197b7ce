// Linear attention, chunk by chunk, by broadcast: a lane owns columns of the state and loads one row of each chunk.
//
//   O = Qhat S + A U        S' = D S + Khat^T U        U = (I + M)^-1 beta (V - Xhat S)        without the delta rule U = V
//
// A_rj = sum_d q_rd k_jd exp(G_rd - G_jd) for j <= r, M_rj = beta_r sum_d x_rd k_jd exp(G_rd - G_jd) for j < r, and a hat
// decays q and x from the chunk's start, k to its end; G are sums of gates.
//
// Shapes    q, k [B, H, T, Dk]   v, o [B, HV, T, Dv]   states [N, HV, Dk, Dv]
// Dispatch  x = slices of LANES * COLUMNS * 4 columns of Dv, y = value heads, z = sequences; a workgroup is one subgroup
// Storage   registers only: COLUMNS vectors of Dv of the whole state a lane, LANES rows of q, k and v a subgroup
// Numerics  f32; sums of gates are taken between the rows that they separate, so that nothing is ever subtracted or divided:
//           every exponent is 0 or less, and a state loses exp(g) - 1 of itself
// Source    Yang et al. 2024, DeltaNet, section 3; Yang et al. 2024, Gated Delta Networks, section 3.3
//
// Made for adapters on which a load costs tens of FMAs, as software drivers' do: of q, k, v and o every element is loaded or
// stored once. Subgroups have LANES lanes, no more and no less.

import package::linear_attention::problem::{GATE, PADDED, STEPS, LOG2_E, Sequence, params, sequence_at, place_of, query_row, key_row, value_row, output_row, gate_of, channel_gate_of, loss, beta_of, state_of, sums_of};
import package::linear_attention::state::{state4, put_state4};
import package::linear_attention::sums::{NORMALISE, SUMS_IN, SUMS_OUT, BONUS, ADD_PARTIAL, z_in, z_out, bonus, first_o};
import package::linear_attention::erase::{erase4};
import package::shared::inputs::{q4, k4, v4};
import package::shared::output::{put_o4};
import package::shared::vector::{UNROLL_COMPONENTS};

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
const_assert HEAD_DIM % 4u == 0u && VALUE_DIM % 4u == 0u && LANES % TOGETHER == 0u;

// A row of a sequence: where its token lies, and whether it is there and changes the state.
struct Row {
    token: u32,
    step: u32,
    inside: bool,
    kept: bool,
}

fn row_at(sequence: Sequence, i: u32) -> Row {
    let inside = i < sequence.len * STEPS;
    let at = min(i, sequence.len * STEPS - 1u);
    let place = place_of(sequence, at / STEPS);
    return Row(sequence.start + place, at % STEPS, inside, inside && (!PADDED || place < sequence.kept));
}

@compute @workgroup_size(LANES)
fn main(@builtin(workgroup_id) group: vec3u, @builtin(subgroup_invocation_id) lane: u32) {
    let pair_sequence = params.first_sequence + group.z;
    let sequence = sequence_at(pair_sequence);
    let batch = sequence.batch;
    let head = params.first_head + group.y;
    let own_column = (group.x * LANES + lane) * COLUMNS * 4u;
    let state_at = state_of(pair_sequence, head);
    let sums_at = sums_of(pair_sequence, head);

    var state: array<array<vec4f, COLUMNS>, HEAD_DIM>;
    // The same in all lanes.
    var z: array<vec4f, K_VECTORS>;
    // Columns beyond the last are the last again, and are not written.
    if STATE_IN {
        for (var d = 0u; d < HEAD_DIM; d += 1u) {
            for (var c = 0u; c < COLUMNS; c += 1u) {
                state[d][c] = state4(state_at, d, min(own_column + 4u * c, VALUE_DIM - 4u));
            }
        }
    }
    if SUMS_IN {
        for (var d = 0u; d < K_VECTORS; d += 1u) {
            for (var e = 0u; e < UNROLL_COMPONENTS; e += 1u) {
                let channel = 4u * d + e;
                z[d][e] = select(0.0, z_in[sums_at + min(channel, params.key_dim - 1u)], channel < params.key_dim);
            }
        }
    }

    for (var first = 0u; first < sequence.len * STEPS; first += LANES) {
        // Every load comes before the first FMA, so that what follows is one straight line.
        let mine = row_at(sequence, first + lane);
        let my_row = mine.token * STEPS + mine.step;
        var q: array<vec4f, K_VECTORS>;
        var k: array<vec4f, K_VECTORS>;
        var x: array<vec4f, K_VECTORS>;
        var lost: array<vec4f, K_VECTORS>;
        for (var d = 0u; d < K_VECTORS; d += 1u) {
            if WRITE_O {
                q[d] = q4(query_row(batch, head, mine.token), 4u * d) * params.scale;
            }
            k[d] = select(vec4f(), k4(key_row(batch, head, my_row), 4u * d), mine.kept);
            if ERASE_KEY {
                x[d] = select(vec4f(), erase4(batch, head, my_row, 4u * d), mine.kept);
            } else if DELTA {
                x[d] = k[d];
            }
            if GATE == 2u {
                for (var e = 0u; e < UNROLL_COMPONENTS; e += 1u) {
                    lost[d][e] = channel_gate_of(batch, head, mine.token, 4u * d + e);
                }
            }
        }
        var my_gate = 0.0;
        if GATE == 1u {
            my_gate = select(0.0, gate_of(batch, head, mine.token), mine.kept && mine.step == 0u);
        }
        var my_beta = 1.0;
        if DELTA {
            my_beta = select(0.0, beta_of(batch, head, my_row), mine.kept);
        }
        // Values, and then what is written of them.
        var u: array<array<vec4f, COLUMNS>, LANES>;
        for (var j = 0u; j < LANES; j += 1u) {
            let row = row_at(sequence, first + j);
            for (var c = 0u; c < COLUMNS; c += 1u) {
                let value = v4(value_row(batch, head, row.token * STEPS + row.step), min(own_column + 4u * c, VALUE_DIM - 4u));
                u[j][c] = select(vec4f(), value, row.kept);
            }
        }

        // A and M: lane j holds their column j.
        var a: array<f32, LANES>;
        var m: array<f32, LANES>;
        var own = 0.0;
        if BONUS {
            for (var d = 0u; d < K_VECTORS; d += 1u) {
                for (var e = 0u; e < UNROLL_COMPONENTS; e += 1u) {
                    let channel = min(4u * d + e, params.key_dim - 1u);
                    own += q[d][e] * k[d][e] * bonus[head * params.key_dim + channel];
                }
            }
        }
        // What the state loses over the chunk.
        var loss_of_all = 0.0;
        var losses: array<vec4f, K_VECTORS>;
        if GATE == 2u {
            for (var d = 0u; d < K_VECTORS; d += 1u) {
                for (var e = 0u; e < UNROLL_COMPONENTS; e += 1u) {
                    lost[d][e] = select(0.0, loss(lost[d][e]), mine.kept && mine.step == 0u);
                }
                // k decays from row to row until the chunk's end; q and x have decayed since its start.
                for (var r = 0u; r < LANES; r += 1u) {
                    let here = subgroupShuffle(lost[d], r);
                    let q_here = subgroupShuffle(q[d], r);
                    let x_here = subgroupShuffle(x[d], r);
                    if BONUS {
                        a[r] += dot(q_here, k[d]);
                    }
                    if DELTA && ERASE_FIRST {
                        m[r] += dot(x_here, k[d]);
                    }
                    k[d] = fma(k[d], select(vec4f(), here, lane < r), k[d]);
                    if !BONUS {
                        a[r] += dot(q_here, k[d]);
                    }
                    if DELTA && !ERASE_FIRST {
                        m[r] += dot(x_here, k[d]);
                    }
                    losses[d] = fma(losses[d], here, losses[d] + here);
                }
                for (var r = 0u; r < LANES; r += 1u) {
                    let here = subgroupShuffle(lost[d], r);
                    let to_q = select(vec4f(), here, (lane > r) | (!BONUS & (lane == r)));
                    q[d] = fma(q[d], to_q, q[d]);
                    if DELTA {
                        let to_x = select(vec4f(), here, (lane > r) | (!ERASE_FIRST & (lane == r)));
                        x[d] = fma(x[d], to_x, x[d]);
                    }
                }
            }
        } else {
            for (var d = 0u; d < K_VECTORS; d += 1u) {
                for (var r = 0u; r < LANES; r += 1u) {
                    if WRITE_O {
                        a[r] += dot(subgroupShuffle(q[d], r), k[d]);
                    }
                    if DELTA {
                        m[r] += dot(subgroupShuffle(x[d], r), k[d]);
                    }
                }
            }
            if GATE == 1u {
                var until = 0.0;
                var since = 0.0;
                var since_before = 0.0;
                var all = 0.0;
                for (var r = 0u; r < LANES; r += 1u) {
                    let here = subgroupShuffle(my_gate, r);
                    let before = exp2(until * LOG2_E);
                    until += select(0.0, here, lane < r);
                    let after = exp2(until * LOG2_E);
                    a[r] *= select(after, before, BONUS);
                    m[r] *= select(after, before, ERASE_FIRST);
                    since += select(0.0, here, lane >= r);
                    since_before += select(0.0, here, lane > r);
                    all += here;
                }
                loss_of_all = loss(all);
                let to_k = exp2(until * LOG2_E);
                let to_q = exp2(select(since, since_before, BONUS) * LOG2_E);
                let to_x = exp2(select(since, since_before, ERASE_FIRST) * LOG2_E);
                for (var d = 0u; d < K_VECTORS; d += 1u) {
                    k[d] *= to_k;
                    q[d] *= to_q;
                    if DELTA {
                        x[d] *= to_x;
                    }
                }
            }
        }
        var denominator = 0.0;
        if NORMALISE {
            for (var d = 0u; d < K_VECTORS; d += 1u) {
                denominator += dot(q[d], z[d]);
            }
        }

        for (var r_0 = 0u; r_0 < LANES; r_0 += TOGETHER) {
            var o: array<array<vec4f, COLUMNS>, TOGETHER>;
            var read: array<array<vec4f, COLUMNS>, TOGETHER>;
            for (var d = 0u; d < K_VECTORS; d += 1u) {
                for (var r = 0u; r < TOGETHER; r += 1u) {
                    let q_here = subgroupShuffle(q[d], r_0 + r);
                    let x_here = subgroupShuffle(x[d], r_0 + r);
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
                        u[r_0 + r][c] = by * (u[r_0 + r][c] - read[r][c]);
                    }
                }
                if WRITE_O {
                    var weight = a[r_0 + r];
                    if BONUS {
                        weight = select(weight, own, lane == r_0 + r);
                    }
                    var sum = 0.0;
                    for (var j = 0u; j <= r_0 + r; j += 1u) {
                        let by = subgroupShuffle(weight, j);
                        sum += by;
                        for (var c = 0u; c < COLUMNS; c += 1u) {
                            o[r][c] = fma(vec4f(by), u[j][c], o[r][c]);
                        }
                    }
                    if NORMALISE {
                        sum += subgroupShuffle(denominator, r_0 + r) + params.eps;
                        for (var c = 0u; c < COLUMNS; c += 1u) {
                            o[r][c] /= sum;
                        }
                    }
                    let row = row_at(sequence, first + r_0 + r);
                    let to = output_row(batch, head, row.token);
                    for (var c = 0u; c < COLUMNS; c += 1u) {
                        let column = own_column + 4u * c;
                        if row.inside && row.step == STEPS - 1u && column < VALUE_DIM {
                            if ADD_PARTIAL {
                                let at = (batch * params.value_heads + head) * params.len + row.token;
                                o[r][c] += first_o[at * (VALUE_DIM / 4u) + column / 4u];
                            }
                            put_o4(to, column, o[r][c]);
                        }
                    }
                }
            }
        }

        for (var d = 0u; d < K_VECTORS; d += 1u) {
            for (var e = 0u; e < UNROLL_COMPONENTS; e += 1u) {
                for (var c = 0u; c < COLUMNS; c += 1u) {
                    if GATE == 2u {
                        state[4u * d + e][c] = fma(vec4f(losses[d][e]), state[4u * d + e][c], state[4u * d + e][c]);
                    } else if GATE == 1u {
                        state[4u * d + e][c] = fma(vec4f(loss_of_all), state[4u * d + e][c], state[4u * d + e][c]);
                    }
                }
            }
            if NORMALISE {
                if GATE == 2u {
                    z[d] = fma(losses[d], z[d], z[d]);
                } else if GATE == 1u {
                    z[d] = fma(vec4f(loss_of_all), z[d], z[d]);
                }
            }
            for (var j = 0u; j < LANES; j += 1u) {
                let k_there = subgroupShuffle(k[d], j);
                if NORMALISE {
                    z[d] += k_there;
                }
                for (var e = 0u; e < UNROLL_COMPONENTS; e += 1u) {
                    for (var c = 0u; c < COLUMNS; c += 1u) {
                        state[4u * d + e][c] = fma(vec4f(k_there[e]), u[j][c], state[4u * d + e][c]);
                    }
                }
            }
        }
    }

    if STATE_OUT {
        for (var c = 0u; c < COLUMNS; c += 1u) {
            if own_column + 4u * c < VALUE_DIM {
                for (var d = 0u; d < HEAD_DIM; d += 1u) {
                    put_state4(state_at, d, own_column + 4u * c, state[d][c]);
                }
            }
        }
    }
    if SUMS_OUT && group.x == 0u && lane == 0u {
        for (var d = 0u; d < K_VECTORS; d += 1u) {
            for (var e = 0u; e < UNROLL_COMPONENTS; e += 1u) {
                let channel = 4u * d + e;
                if channel < params.key_dim {
                    z_out[sums_at + channel] = z[d][e];
                }
            }
        }
    }
}
