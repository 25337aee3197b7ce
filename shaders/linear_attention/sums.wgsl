// Denominators of outputs, and partial outputs that are added to them.
//
//   z_t = D_t z_(t-1) + k_t          o_t / (scale * q_t^T z_t + eps)

import package::linear_attention::problem::{VALUE_DIM, params};

@group(0) @binding(11) var<storage, read> z_in: array<f32>; // [N, 1, HV, Dk]
@group(0) @binding(12) var<storage, read_write> z_out: array<f32>; // [N, 1, HV, Dk]
@group(0) @binding(13) var<storage, read> bonus: array<f32>; // [HV, Dk]
@group(0) @binding(14) var<storage, read> first_o: array<vec4f>; // [B, HV, T, Dv]: o of the other direction

// Whether outputs are divided by sums of keys, whether those begin as z_in, whether the last are written.
const NORMALISE: bool = false;
const SUMS_IN: bool = false;
const SUMS_OUT: bool = false;
// Whether outputs read the state before the token's gate and write, and its own key times a bonus.
const BONUS: bool = false;
// Whether the outputs of the other direction are added.
const ADD_PARTIAL: bool = false;

// A channel of the sums that begin at `begin`; zero beyond the last.
fn z_at(begin: u32, channel: u32) -> f32 {
    return select(0.0, z_in[begin + min(channel, params.key_dim - 1u)], channel < params.key_dim);
}

fn put_z(begin: u32, channel: u32, value: f32) {
    if channel < params.key_dim {
        z_out[begin + channel] = value;
    }
}

fn bonus_of(head: u32, channel: u32) -> f32 {
    return bonus[head * params.key_dim + min(channel, params.key_dim - 1u)];
}

// Four columns of a token's output of the other direction.
fn partial_output(batch: u32, head: u32, token: u32, column: u32) -> vec4f {
    return first_o[((batch * params.value_heads + head) * params.len + token) * (VALUE_DIM / 4u) + column / 4u];
}
