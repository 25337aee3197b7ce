// What outputs are divided by, and what is added to them.
//
//   z_t = D_t z_(t-1) + k_t          o_t / (scale * q_t^T z_t + eps)

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
