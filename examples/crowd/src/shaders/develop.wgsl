// Makes a picture for eyes of the light, with the plane and its obstacles below it.

@group(0) @binding(0) var<uniform> world: World;
@group(0) @binding(1) var lights: texture_2d<f32>;

const GROUND: vec3f = vec3f(0.0042, 0.0058, 0.0105);
const STONE: vec3f = vec3f(0.018, 0.023, 0.036);
const RIM: vec3f = vec3f(0.09, 0.115, 0.17);

struct Corner {
    @builtin(position) place: vec4f,
    // 0 to 1 from the picture's upper left.
    @location(0) at: vec2f,
}

@vertex
fn all(@builtin(vertex_index) index: u32) -> Corner {
    let at = vec2f(f32(index & 1u), f32(index >> 1u)) * 2.0;
    return Corner(vec4f(at.x * 2.0 - 1.0, 1.0 - at.y * 2.0, 0.0, 1.0), at);
}

fn srgb(linear: vec3f) -> vec3f {
    return select(1.055 * pow(linear, vec3f(1.0 / 2.4)) - 0.055, 12.92 * linear, linear <= vec3f(0.0031308));
}

@fragment
fn develop(corner: Corner) -> @location(0) vec4f {
    let size = vec2f(textureDimensions(lights));
    let texel = vec2u(min(corner.at * size, size - 1.0));
    let position = vec2f(corner.at.x * 2.0 - 1.0, 1.0 - corner.at.y * 2.0) * world.half;
    // Darker towards the corners.
    let off = position / world.half;
    var ground = GROUND * (1.0 - 0.35 * dot(off, off) * 0.5);
    for (var index = 0u; index < world.obstacles; index += 1u) {
        let obstacle = world.obstacle[index];
        let out = (length(position - obstacle.xy) - obstacle.z) * world.pixels;
        let stone = mix(STONE, STONE * 0.4, clamp(-out / (obstacle.z * world.pixels), 0.0, 1.0));
        ground = mix(ground, stone, clamp(0.5 - out, 0.0, 1.0));
        ground += RIM * clamp(1.3 - abs(out + 0.8), 0.0, 1.0);
    }
    let light = textureLoad(lights, texel, 0).rgb;
    return vec4f(srgb(min(ground + light, vec3f(1.0))), 1.0);
}
