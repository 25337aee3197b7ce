// A token arrives: its queries, keys and values, and its place in the ring. One workgroup a head.

// Sizes are those of model.rs and memories.rs.
const HEADS = 8u;
const WIDTH = 64u;
// Rows of `weights` for a head: q, k, v, the gate, beta.
const ROWS = 3u * WIDTH + 2u;
// Where k, v, gates and betas begin in `rows`: each at a multiple of 256 bytes, so that it can be bound by itself.
const K = HEADS * WIDTH;
const V = 2u * K;
const G = 3u * K;
const BETA = G + 64u;
// Slots of the ring.
override WINDOW = 256u;

struct Clock {
    // Slots of the ring that are filled. Attention reads it as the number of its keys.
    keys: i32,
    // Tokens that came before.
    token: u32,
}

@group(0) @binding(0) var<uniform> features: array<vec4f, 4>;
// One row of features for each channel.
@group(0) @binding(1) var<storage, read> weights: array<array<vec4f, 4>>;
@group(0) @binding(2) var<storage, read_write> clock: Clock;
@group(0) @binding(3) var<storage, read_write> rows: array<f32>;
// [HEADS, WINDOW, WIDTH] each.
@group(0) @binding(4) var<storage, read_write> ring_k: array<f32>;
@group(0) @binding(5) var<storage, read_write> ring_v: array<f32>;

var<workgroup> squares: array<vec2f, WIDTH>;

fn projected(row: u32) -> f32 {
    var sum = 0.0;
    for (var part = 0u; part < 4u; part++) {
        sum += dot(weights[row][part], features[part]);
    }
    return sum;
}

@compute @workgroup_size(WIDTH)
fn arrive(@builtin(workgroup_id) group: vec3u, @builtin(local_invocation_index) channel: u32) {
    let head = group.x;
    let first = head * ROWS + channel;
    var q = projected(first);
    var k = projected(first + WIDTH);
    let v = projected(first + 2u * WIDTH);

    // Queries and keys of length 1: the delta rule wants keys that are, and scores are cosines then.
    squares[channel] = vec2f(q * q, k * k);
    workgroupBarrier();
    for (var half = WIDTH / 2u; half > 0u; half /= 2u) {
        if channel < half {
            squares[channel] += squares[channel + half];
        }
        workgroupBarrier();
    }
    let length = sqrt(squares[0]);
    q /= length.x;
    k /= length.y;

    let at = head * WIDTH + channel;
    rows[at] = q;
    rows[K + at] = k;
    rows[V + at] = v;
    if channel < 2u {
        // The rows after v's: gate and beta.
        rows[select(G, BETA, channel == 1u) + head] = projected(head * ROWS + 3u * WIDTH + channel);
    }

    // Softmax does not ask in which order keys lie: the newest takes the place of the oldest.
    let slot = clock.token % WINDOW;
    let place = (head * WINDOW + slot) * WIDTH + channel;
    ring_k[place] = k;
    ring_v[place] = v;
    if at == 0u {
        clock.keys = i32(min(clock.token + 1u, WINDOW));
    }
}
