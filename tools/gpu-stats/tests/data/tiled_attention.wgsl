// A plausible tiled attention kernel: 64 query rows by 32 keys a tile, 64 threads, 8x4 scores a thread, D = 64.
// It exists to exercise the compiler, not to be fast.
struct Params {
    queries: u32,
    keys: u32,
    scale: f32,
}

@group(0) @binding(0) var<storage, read> q: array<vec4<f32>>;
@group(0) @binding(1) var<storage, read> k: array<vec4<f32>>;
@group(0) @binding(2) var<storage, read> v: array<vec4<f32>>;
@group(0) @binding(3) var<storage, read_write> o: array<vec4<f32>>;
@group(0) @binding(4) var<uniform> params: Params;

const ROWS = 32u;
const KEYS = 32u;
const DV = 16u; // D / 4

var<workgroup> tile_q: array<vec4<f32>, 512>;
var<workgroup> tile_k: array<vec4<f32>, 512>;
var<workgroup> tile_p: array<f32, 1024>;

@compute @workgroup_size(8, 8)
fn main(
    @builtin(workgroup_id) group: vec3<u32>,
    @builtin(local_invocation_id) at: vec3<u32>,
    @builtin(local_invocation_index) me: u32,
) {
    let row0 = group.x * ROWS;
    for (var i = me; i < ROWS * DV; i += 64u) {
        tile_q[i] = q[row0 * DV + i];
    }
    var out: array<array<vec4<f32>, 2>, 4>;
    var top = array<f32, 4>(-1e30, -1e30, -1e30, -1e30);
    var sum: array<f32, 4>;
    for (var key0 = 0u; key0 < params.keys; key0 += KEYS) {
        workgroupBarrier();
        for (var i = me; i < KEYS * DV; i += 64u) {
            tile_k[i] = k[key0 * DV + i];
        }
        workgroupBarrier();
        var s: array<array<f32, 4>, 4>;
        for (var d = 0u; d < DV; d++) {
            var a: array<vec4<f32>, 4>;
            var b: array<vec4<f32>, 4>;
            for (var i = 0u; i < 4u; i++) {
                a[i] = tile_q[(at.y * 4u + i) * DV + d];
                b[i] = tile_k[(at.x * 4u + i) * DV + d];
            }
            for (var i = 0u; i < 4u; i++) {
                for (var j = 0u; j < 4u; j++) {
                    s[i][j] = fma(a[i].x, b[j].x, fma(a[i].y, b[j].y, fma(a[i].z, b[j].z, fma(a[i].w, b[j].w, s[i][j]))));
                }
            }
        }
        for (var i = 0u; i < 4u; i++) {
            var best = top[i];
            for (var j = 0u; j < 4u; j++) {
                s[i][j] *= params.scale;
                best = max(best, s[i][j]);
            }
            let keep = exp(top[i] - best);
            top[i] = best;
            sum[i] *= keep;
            out[i][0] *= keep;
            out[i][1] *= keep;
            for (var j = 0u; j < 4u; j++) {
                let p = exp(s[i][j] - best);
                sum[i] += p;
                tile_p[(at.y * 4u + i) * KEYS + at.x * 4u + j] = p;
            }
        }
        workgroupBarrier();
        for (var i = me; i < KEYS * DV; i += 64u) {
            tile_k[i] = v[key0 * DV + i];
        }
        workgroupBarrier();
        for (var j = 0u; j < KEYS; j++) {
            let v0 = tile_k[j * DV + at.x * 2u];
            let v1 = tile_k[j * DV + at.x * 2u + 1u];
            for (var i = 0u; i < 4u; i++) {
                let p = vec4<f32>(tile_p[(at.y * 4u + i) * KEYS + j]);
                out[i][0] = fma(p, v0, out[i][0]);
                out[i][1] = fma(p, v1, out[i][1]);
            }
        }
    }
    for (var i = 0u; i < 4u; i++) {
        let base = (row0 + at.y * 4u + i) * DV + at.x * 2u;
        o[base] = out[i][0] / sum[i];
        o[base + 1u] = out[i][1] / sum[i];
    }
}
