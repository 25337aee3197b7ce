// States in f32 of any width and order: [.., Dk, Dv] or [.., Dv, Dk].
//
// The same functions as in the other modules named state_*. `begin` is where a state begins, in elements. In place of columns
// beyond the last, the last is read and written again.

import package::linear_attention::problem::{params};
import package::shared::vector::{UNROLL_COMPONENTS};

@group(0) @binding(7) var<storage, read> state_in: array<f32>;
@group(0) @binding(8) var<storage, read_write> state_out: array<f32>;
@group(0) @binding(22) var<storage, read_write> checkpoints: array<f32>;
@group(0) @binding(23) var<storage, read_write> window_states: array<f32>;

fn state4(begin: u32, channel: u32, column: u32) -> vec4f {
    let at = begin + min(channel, params.key_dim - 1u) * params.state_channel;
    var value: vec4f;
    for (var i = 0u; i < UNROLL_COMPONENTS; i += 1u) {
        value[i] = state_in[at + min(column + i, params.value_width - 1u) * params.state_column];
    }
    return select(vec4f(), value, channel < params.key_dim);
}

fn put4(states: ptr<storage, array<f32>, read_write>, begin: u32, channel: u32, column: u32, value: vec4f) {
    if channel < params.key_dim {
        let at = begin + channel * params.state_channel;
        for (var i = 0u; i < UNROLL_COMPONENTS; i += 1u) {
            let inside = min(column + i, params.value_width - 1u);
            states[at + inside * params.state_column] = value[inside - column];
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
