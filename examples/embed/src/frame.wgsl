// A panel of the host's frame: colours straight from a storage buffer, a square of pixels each.

// Red, green and blue of every pixel of the photo, row by row.
@group(0) @binding(0) var<storage, read> colours: array<f32>;

struct Corner {
    @builtin(position) position: vec4f,
    // From 0 to 1 across the panel, downwards.
    @location(0) at: vec2f,
}

// One triangle that covers the viewport.
@vertex
fn corner(@builtin(vertex_index) index: u32) -> Corner {
    let at = vec2f(f32((index << 1u) & 2u), f32(index & 2u));
    return Corner(vec4f(at.x * 2.0 - 1.0, 1.0 - at.y * 2.0, 0.0, 1.0), at);
}

@fragment
fn colour(corner: Corner) -> @location(0) vec4f {
    let side = u32(round(sqrt(f32(arrayLength(&colours) / 3u))));
    let pixel = min(vec2u(corner.at * f32(side)), vec2u(side - 1u));
    let first = 3u * (pixel.y * side + pixel.x);
    return vec4f(colours[first], colours[first + 1u], colours[first + 2u], 1.0);
}
