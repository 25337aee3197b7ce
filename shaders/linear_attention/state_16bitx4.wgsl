// States in a type of 16 bits, packed in pairs, whose columns lie together, a multiple of four of them: [.., Dk, Dv].
//
// The same functions as in the other modules named state_*. `begin` is where a state begins, in elements.

import package::linear_attention::problem::{params};
import package::linear_attention::pairs_of_states::{widen_state, narrow_state};

@group(0) @binding(7) var<storage, read> state_in: array<vec2u>;
@group(0) @binding(8) var<storage, read_write> state_out: array<vec2u>;
@group(0) @binding(22) var<storage, read_write> checkpoints: array<vec2u>;
@group(0) @binding(23) var<storage, read_write> window_states: array<vec2u>;

fn state4(begin: u32, channel: u32, column: u32) -> vec4f {
    let pairs = state_in[(begin + min(channel, params.key_dim - 1u) * params.state_channel + column) / 4u];
    return select(vec4f(), vec4f(widen_state(pairs.x), widen_state(pairs.y)), channel < params.key_dim);
}

fn put4(states: ptr<storage, array<vec2u>, read_write>, begin: u32, channel: u32, column: u32, value: vec4f) {
    if channel < params.key_dim {
        states[(begin + channel * params.state_channel + column) / 4u] = vec2u(narrow_state(value.xy), narrow_state(value.zw));
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
