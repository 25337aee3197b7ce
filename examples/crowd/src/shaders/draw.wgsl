// Draws the agents where the simulation left them: as light in a picture that fades from frame to frame.

@group(0) @binding(0) var<uniform> world: World;
@group(0) @binding(1) var<storage, read> agents: array<Agent>;

// From an agent's middle to its tip, and half of its width, in units; in pixels they are never less than LEAST.
const SIZE: vec2f = vec2f(0.8, 0.24);
const LEAST: vec2f = vec2f(1.8, 0.75);

struct Corner {
    @builtin(position) place: vec4f,
    // 0 to 1 from tail to tip, and across.
    @location(0) at: vec2f,
    @location(1) @interpolate(flat) colour: vec3f,
}

// Hue by heading at one lightness and one chroma, in linear light. Ottosson 2020, Oklab.
fn hue(heading: vec2f) -> vec3f {
    let chroma = 0.13 * heading;
    let roots = vec3f(
        0.78 + dot(chroma, vec2f(0.3963377774, 0.2158037573)),
        0.78 - dot(chroma, vec2f(0.1055613458, 0.0638541728)),
        0.78 - dot(chroma, vec2f(0.0894841775, 1.291485548)),
    );
    let cubes = roots * roots * roots;
    return max(vec3f(0.0), vec3f(
        dot(cubes, vec3f(4.0767416621, -3.3077115913, 0.2309699292)),
        dot(cubes, vec3f(-1.2684380046, 2.6097574011, -0.3413193965)),
        dot(cubes, vec3f(-0.0041960863, -0.7034186147, 1.707614701)),
    ));
}

// A triangle an agent, and no instances: SwiftShader draws those one by one, at 15 us each.
@vertex
fn corner(@builtin(vertex_index) vertex: u32) -> Corner {
    let agent = agents[vertex / 3u];
    let index = vertex % 3u;
    let heading = normalize(agent.velocity + vec2f(1e-6, 0.0));
    let size = max(SIZE, LEAST / world.pixels);
    // The tail, then both sides of the front.
    let at = select(vec2f(0.0), vec2f(1.0, f32(index) * 2.0 - 3.0), index > 0u);
    let along = heading * (at.x * 2.0 - 1.0) * size.x + vec2f(-heading.y, heading.x) * at.y * 2.0 * size.y;
    let position = agent.position + agent.velocity * world.ahead + along;
    return Corner(vec4f(position / world.half, 0.0, 1.0), at, hue(heading));
}

@fragment
fn light(corner: Corner) -> @location(0) vec4f {
    // A drop, pointed behind, whose edge is soft: it needs no further antialiasing.
    let across = corner.at.y * corner.at.y;
    let off = corner.at.x - 0.72;
    let cover = max(0.0, 1.0 - 1.9 * across - 12.0 * max(off, 0.0) * off) * corner.at.x;
    return vec4f(corner.colour * min(1.6 * cover, 1.0), 0.0);
}

// One triangle over all of the picture.
@vertex
fn all(@builtin(vertex_index) index: u32) -> @builtin(position) vec4f {
    return vec4f(f32(index & 1u) * 4.0 - 1.0, f32(index >> 1u) * 4.0 - 1.0, 0.0, 1.0);
}

// Earlier light fades; the blend's constant says by how much.
@fragment
fn fade() -> @location(0) vec4f {
    return vec4f(0.0);
}
