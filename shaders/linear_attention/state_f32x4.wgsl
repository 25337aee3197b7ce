// States in f32 whose columns lie together, a multiple of four of them: [.., Dk, Dv].
//
// The same functions as in the other modules named state_*. `begin` is where a state begins, in elements.

import package::linear_attention::problem::{params};

@group(0) @binding(7) var<storage, read> state_in: array<vec4f>;
@group(0) @binding(8) var<storage, read_write> state_out: array<vec4f>;
@group(0) @binding(22) var<storage, read_write> checkpoints: array<vec4f>;
@group(0) @binding(23) var<storage, read_write> window_states: array<vec4f>;

fn state4(begin: u32, channel: u32, column: u32) -> vec4f {
    let value = state_in[(begin + min(channel, params.key_dim - 1u) * params.state_channel + column) / 4u];
    return select(vec4f(), value, channel < params.key_dim);
}

fn put4(states: ptr<storage, array<vec4f>, read_write>, begin: u32, channel: u32, column: u32, value: vec4f) {
    if channel < params.key_dim {
        states[(begin + channel * params.state_channel + column) / 4u] = value;
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
