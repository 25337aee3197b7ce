// Weights to colours: a texel for every weight, heads one below the other.

// Rows of all heads, as attention wrote them.
@group(0) @binding(0) var<storage, read> weights: array<f32>;
// The colours of the scale, four bytes each.
@group(0) @binding(1) var<storage, read> ramp: array<u32>;
@group(0) @binding(2) var tiles: texture_storage_2d<rgba8unorm, write>;

@compute @workgroup_size(16, 16)
fn tint(@builtin(global_invocation_id) at: vec3u) {
    let size = textureDimensions(tiles);
    if any(at.xy >= size) {
        return;
    }
    // The scale is logarithmic, from an even share of all keys (or less) to all of the attention; ramp.rs draws its bar.
    let keys = f32(size.x);
    let weight = weights[at.y * size.x + at.x];
    let tone = clamp(log(max(weight * keys, 1.0)) / log(keys), 0.0, 1.0);
    let last = f32(arrayLength(&ramp) - 1u);
    textureStore(tiles, at.xy, unpack4x8unorm(ramp[u32(round(tone * last))]));
}
