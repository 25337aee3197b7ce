// States in a type of 16 bits, packed in pairs, of any width and order: [.., Dk, Dv] or [.., Dv, Dk].
//
// The same functions as in the other modules named state_*. `begin` is where a state begins, in elements.
// In place of columns beyond the last, the last is read and written again. The two halves of a word may
// belong to different threads: each changes its own half only, atomically.

import package::linear_attention::problem::{params};
import package::linear_attention::pairs_of_states::{widen_state, narrow_state};
import package::shared::vector::{UNROLL_COMPONENTS};

@group(0) @binding(7) var<storage, read> state_in: array<u32>;
@group(0) @binding(8) var<storage, read_write> state_out: array<atomic<u32>>;
@group(0) @binding(22) var<storage, read_write> checkpoints: array<atomic<u32>>;
@group(0) @binding(23) var<storage, read_write> window_states: array<atomic<u32>>;

fn state4(begin: u32, channel: u32, column: u32) -> vec4f {
    let at = begin + min(channel, params.key_dim - 1u) * params.state_channel;
    var value: vec4f;
    for (var i = 0u; i < UNROLL_COMPONENTS; i += 1u) {
        let element = at + min(column + i, params.value_width - 1u) * params.state_column;
        let pair = widen_state(state_in[element / 2u]);
        value[i] = select(pair.x, pair.y, element % 2u == 1u);
    }
    return select(vec4f(), value, channel < params.key_dim);
}

fn put4(states: ptr<storage, array<atomic<u32>>, read_write>, begin: u32, channel: u32, column: u32, value: vec4f) {
    if channel < params.key_dim {
        let at = begin + channel * params.state_channel;
        for (var i = 0u; i < UNROLL_COMPONENTS; i += 1u) {
            let inside = min(column + i, params.value_width - 1u);
            let element = at + inside * params.state_column;
            let shift = element % 2u * 16u;
            let half = narrow_state(vec2f(value[inside - column], 0.0)) & 0xffffu;
            atomicAnd(&states[element / 2u], ~(0xffffu << shift));
            atomicOr(&states[element / 2u], half << shift);
        }
    }
}

fn put_state4(begin: u32, channel: u32, column: u32, value: vec4f) {
    put4(&state_out, begin, channel, column, value);
}

fn put_checkpoint4(begin: u32, channel: u32, column: u32, value: vec4f) {
    put4(&checkpoints, begin, channel, column, value);
}

fn put_window4(begin: u32, channel: u32, column: u32, value: vec4f) {
    put4(&window_states, begin, channel, column, value);
}
