// A matrix product, for each token of each request: queries, keys and values of both memories, gates and betas. One workgroup a
// head, (head, token, request); the last takes the gates and betas.

// Sizes are those of model.rs and decoder.rs.
const WIDTH = 64u;
const HEADS = 8u;
const ALL_HEADS = 36u;
// Gates of a request are this far from its betas: each can be bound by itself at a multiple of 256 bytes.
const NARROW = 64u;

@group(0) @binding(0) var<storage, read> features: array<array<vec4f, 4>>;
// One row of features for each channel.
@group(0) @binding(1) var<storage, read> weights: array<array<vec4f, 4>>;
// Six tensors [requests, tokens, heads, WIDTH], then [requests, 2, NARROW].
@group(0) @binding(2) var<storage, read_write> rows: array<f32>;

var<workgroup> squares: array<f32, WIDTH>;

fn projected(row: u32, token: u32) -> f32 {
    var sum = 0.0;
    for (var part = 0u; part < 4u; part++) {
        sum += dot(weights[row][part], features[token][part]);
    }
    return sum;
}

// Of the tensor that a head belongs to: its first head among all, its number of heads, and 1 where rows get length 1, as the
// delta rule wants keys. Scores are cosines then.
fn tensor_of(head: u32) -> vec3u {
    if head < 8u { return vec3u(0u, 8u, 1u); }
    if head < 10u { return vec3u(8u, 2u, 1u); }
    if head < 12u { return vec3u(10u, 2u, 0u); }
    if head < 20u { return vec3u(12u, 8u, 1u); }
    if head < 28u { return vec3u(20u, 8u, 1u); }
    return vec3u(28u, 8u, 0u);
}

@compute @workgroup_size(WIDTH)
fn project(
    @builtin(workgroup_id) group: vec3u,
    @builtin(num_workgroups) groups: vec3u,
    @builtin(local_invocation_index) channel: u32,
) {
    let head = group.x;
    let request = group.z;
    let token = request * groups.y + group.y;
    let tokens = groups.y * groups.z;
    if head == ALL_HEADS {
        if channel < 2u * HEADS {
            let place = (2u * request + channel / HEADS) * NARROW + group.y * HEADS + channel % HEADS;
            rows[ALL_HEADS * WIDTH * tokens + place] = projected(ALL_HEADS * WIDTH + channel, token);
        }
        return;
    }
    let x = projected(head * WIDTH + channel, token);
    squares[channel] = x * x;
    workgroupBarrier();
    for (var half = WIDTH / 2u; half > 0u; half /= 2u) {
        if channel < half {
            squares[channel] += squares[channel + half];
        }
        workgroupBarrier();
    }
    let tensor = tensor_of(head);
    let at = (tensor.x * tokens + token * tensor.y + head - tensor.x) * WIDTH + channel;
    rows[at] = select(x, x / sqrt(squares[0]), tensor.z == 1u);
}
