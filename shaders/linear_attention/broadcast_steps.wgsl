// The steps of linear attention by broadcast, on what a lane owns.

import package::kernel::{LANES, COLUMNS, TOGETHER, K_VECTORS, CHANNELS, TURNS};
import package::linear_attention::problem::{HEAD_DIM, VALUE_DIM, DELTA, ERASE_KEY, ERASE_FIRST, WRITE_O, GATE, PADDED, STEPS, LOG2_E, Sequence, params, place_of, query_row, key_row, value_row, output_row, channel_gate_of, decay, decay_step, decay_of_step, decayed};
import package::linear_attention::sums::{NORMALISE, SUMS_IN, BONUS, ADD_PARTIAL, z_at, bonus_of, partial_output};
import package::linear_attention::erase::{erase4};
import package::shared::inputs::{q4, k4, v4};
import package::shared::output::{put_o4};
import package::shared::vector::{UNROLL_COMPONENTS};

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

alias State = array<array<vec4f, COLUMNS>, HEAD_DIM>;
// The lane's channels of a chunk's rows.
alias Channels = array<array<vec4f, CHANNELS>, LANES>;
// The lane's columns of them, and of those of a turn.
alias Values = array<array<vec4f, COLUMNS>, LANES>;
alias Outputs = array<array<vec4f, COLUMNS>, TOGETHER>;

// The sums that rows begin with, and the bonuses.
fn load_sums(
    z: ptr<function, array<vec4f, CHANNELS>>, bonuses: ptr<function, array<vec4f, CHANNELS>>,
    channel: ptr<function, array<u32, CHANNELS>>,
    there: ptr<function, array<bool, CHANNELS>>,
    head: u32, sums_at: u32,
) {
    for (var c = 0u; c < CHANNELS; c += 1u) {
        for (var e = 0u; e < UNROLL_COMPONENTS; e += 1u) {
            if SUMS_IN {
                z[c][e] = select(0.0, z_at(sums_at, channel[c] + e), there[c]);
            }
            if BONUS {
                bonuses[c][e] = bonus_of(head, channel[c] + e);
            }
        }
    }
}

// Every row of a chunk: q, k, x, the steps of the decays before it, and its values.
fn load_rows(
    q: ptr<function, Channels>, k: ptr<function, Channels>, x: ptr<function, Channels>, lost: ptr<function, Channels>,
    u: ptr<function, Values>,
    column: ptr<function, array<u32, COLUMNS>>,
    channel: ptr<function, array<u32, CHANNELS>>,
    there: ptr<function, array<bool, CHANNELS>>,
    sequence: Sequence, batch: u32, head: u32, first: u32,
) {
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
}

// A turn of adding up sums that are spread over the lanes: a lane keeps those of its half, and adds what its partner has of them.
fn halve(sums: ptr<function, array<f32, LANES>>, half: u32, lane: u32) {
    let upper = (lane & half) != 0u;
    for (var j = 0u; j < half; j += 1u) {
        sums[j] = select(sums[j], sums[j + half], upper) + subgroupShuffleXor(select(sums[j + half], sums[j], upper), half);
    }
}

// A and M: lane j holds their column j. Their sums over channels are spread over the lanes.
fn multiply_rows(
    a: ptr<function, array<f32, LANES>>, m: ptr<function, array<f32, LANES>>,
    q: ptr<function, Channels>, k: ptr<function, Channels>, x: ptr<function, Channels>, lost: ptr<function, Channels>,
    bonuses: ptr<function, array<vec4f, CHANNELS>>,
    lane: u32,
) {
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
            if WRITE_O {
                halve(&of_a, half, lane);
            }
            if DELTA {
                halve(&of_m, half, lane);
            }
        }
        a[r] = of_a[0];
        m[r] = of_m[0];
    }
}

// q and x decay from the chunk's start, by channels; `losses` are the steps of the state's decays over the chunk.
fn decay_channels(
    q: ptr<function, Channels>, x: ptr<function, Channels>,
    losses: ptr<function, array<vec4f, CHANNELS>>,
    lost: ptr<function, Channels>,
) {
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
}

// The same where a head has one gate: A and M decay, too. `loss_of_all` is the step of the state's decay.
fn decay_rows(
    a: ptr<function, array<f32, LANES>>, m: ptr<function, array<f32, LANES>>,
    q: ptr<function, Channels>, k: ptr<function, Channels>, x: ptr<function, Channels>,
    loss_of_all: ptr<function, f32>, my_gate: ptr<function, f32>,
    lane: u32,
) {
    var until = 0.0;
    var since = 0.0;
    var since_before = 0.0;
    for (var r = 0u; r < LANES; r += 1u) {
        let here = subgroupShuffle(*my_gate, r);
        let before = exp2(until * LOG2_E);
        until += select(0.0, here, lane < r);
        let after = exp2(until * LOG2_E);
        // A bonus takes the place of what a row has of itself.
        a[r] *= select(after, select(before, 1.0, lane == r), BONUS);
        m[r] *= select(after, before, ERASE_FIRST);
        since += select(0.0, here, lane >= r);
        since_before += select(0.0, here, lane > r);
        *loss_of_all += here;
    }
    *loss_of_all = decay_step(*loss_of_all);
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

// Denominators of outputs, without the additions of the chunk's own rows: lane r holds that of row r.
fn divisor_of_row(q: ptr<function, Channels>, z: ptr<function, array<vec4f, CHANNELS>>, lane: u32) -> f32 {
    var of_rows: array<f32, LANES>;
    for (var r = 0u; r < LANES; r += 1u) {
        for (var c = 0u; c < CHANNELS; c += 1u) {
            of_rows[r] += dot(q[r][c], z[c]);
        }
    }
    for (var turn = 0u; turn < TURNS; turn += 1u) {
        let half = (LANES / 2u) >> turn;
        halve(&of_rows, half, lane);
    }
    return of_rows[0] + params.eps;
}

// Reads the state for the rows from `r_0` on, by q and by x.
fn read_state(
    o: ptr<function, Outputs>, read: ptr<function, Outputs>,
    q: ptr<function, Channels>, x: ptr<function, Channels>,
    state: ptr<function, State>,
    r_0: u32,
) {
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
}

// Of a row's values, what is left of them.
fn correct_values(
    u: ptr<function, Values>,
    read: ptr<function, Outputs>,
    m: ptr<function, array<f32, LANES>>,
    my_beta: ptr<function, f32>,
    sequence: Sequence, first: u32, r_0: u32, r: u32,
) {
    for (var j = 0u; j < r_0 + r; j += 1u) {
        let by = subgroupShuffle(m[r_0 + r], j);
        for (var c = 0u; c < COLUMNS; c += 1u) {
            read[r][c] = fma(vec4f(by), u[j][c], read[r][c]);
        }
    }
    let by = subgroupShuffle(*my_beta, r_0 + r);
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

// The output of a row: what the state and what the rows of the chunk add.
fn write_row(
    o: ptr<function, Outputs>,
    a: ptr<function, array<f32, LANES>>,
    u: ptr<function, Values>,
    column: ptr<function, array<u32, COLUMNS>>,
    writes: ptr<function, array<bool, COLUMNS>>,
    denominator: ptr<function, f32>,
    sequence: Sequence, batch: u32, head: u32, first: u32, r_0: u32, r: u32,
) {
    var sum = subgroupShuffle(*denominator, r_0 + r);
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
                o[r][c] += partial_output(batch, head, row.token, column[c]);
            }
            put_o4(to, column[c], o[r][c]);
        }
    }
}

// The state after the chunk.
fn update_state(
    state: ptr<function, State>,
    k: ptr<function, Channels>,
    u: ptr<function, Values>,
    losses: ptr<function, array<vec4f, CHANNELS>>,
    loss_of_all: ptr<function, f32>,
) {
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
                    state[4u * d + e][c] = decayed(state[4u * d + e][c], vec4f(*loss_of_all));
                }
                state[4u * d + e][c] += added[e][c];
            }
        }
    }
}

// The sums of keys after it.
fn update_sums(
    z: ptr<function, array<vec4f, CHANNELS>>,
    k: ptr<function, Channels>,
    losses: ptr<function, array<vec4f, CHANNELS>>,
    loss_of_all: ptr<function, f32>,
) {
    for (var c = 0u; c < CHANNELS; c += 1u) {
        if GATE == 2u {
            z[c] = decayed(z[c], losses[c]);
        } else if GATE == 1u {
            z[c] = decayed(z[c], vec4f(*loss_of_all));
        }
        var added = k[0][c];
        for (var j = 1u; j < LANES; j += 1u) {
            added += k[j][c];
        }
        z[c] += added;
    }
}
