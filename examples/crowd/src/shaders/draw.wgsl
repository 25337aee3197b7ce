// Draws the agents where the simulation left them: as light that is added to a picture which fades from frame to frame.

@group(0) @binding(0) var<uniform> world: World;
@group(0) @binding(1) var<storage, read> agents: array<Agent>;

// Half of an agent's length and of its width, in units; in pixels they are never less than LEAST.
const SIZE: vec2f = vec2f(0.62, 0.26);
const LEAST: vec2f = vec2f(1.5, 0.8);

struct Corner {
    @builtin(position) place: vec4f,
    // -1 to 1 from tail to tip, and across.
    @location(0) at: vec2f,
    @location(1) @interpolate(flat) colour: vec3f,
}

// Hue by heading at one lightness and one chroma, in linear light. Ottosson 2020, Oklab.
fn hue(angle: f32) -> vec3f {
    let a = 0.13 * cos(angle);
    let b = 0.13 * sin(angle);
    let l = 0.76 + 0.3963377774 * a + 0.2158037573 * b;
    let m = 0.76 - 0.1055613458 * a - 0.0638541728 * b;
    let s = 0.76 - 0.0894841775 * a - 1.291485548 * b;
    let cubes = vec3f(l * l * l, m * m * m, s * s * s);
    return max(vec3f(0.0), vec3f(
        dot(cubes, vec3f(4.0767416621, -3.3077115913, 0.2309699292)),
        dot(cubes, vec3f(-1.2684380046, 2.6097574011, -0.3413193965)),
        dot(cubes, vec3f(-0.0041960863, -0.7034186147, 1.707614701)),
    ));
}

@vertex
fn corner(@builtin(vertex_index) index: u32, @builtin(instance_index) instance: u32) -> Corner {
    let agent = agents[instance];
    let at = vec2f(f32(index & 1u), f32(index >> 1u)) * 2.0 - 1.0;
    let heading = normalize(agent.velocity + vec2f(1e-6, 0.0));
    let half = max(SIZE, LEAST / world.pixels) * 1.6;
    let along = heading * at.x * half.x + vec2f(-heading.y, heading.x) * at.y * half.y;
    let position = agent.position + agent.velocity * world.ahead + along;
    return Corner(vec4f(position / world.half, 0.0, 1.0), at, hue(atan2(heading.y, heading.x)));
}

@fragment
fn light(corner: Corner) -> @location(0) vec4f {
    // A drop: blunt in front, pointed behind. Its edge is soft, so it needs no further antialiasing.
    let across = corner.at.y / (0.62 + 0.38 * corner.at.x);
    let off = corner.at.x * corner.at.x + across * across;
    let cover = exp2(-5.0 * off) * (1.0 - smoothstep(0.8, 1.0, abs(corner.at.x)));
    return vec4f(corner.colour * cover, 0.0);
}

// One triangle over all of the picture.
@vertex
fn all(@builtin(vertex_index) index: u32) -> @builtin(position) vec4f {
    return vec4f(f32(index & 1u) * 4.0 - 1.0, f32(index >> 1u) * 4.0 - 1.0, 0.0, 1.0);
}

// What was drawn fades; the blend's constant says by how much.
@fragment
fn fade() -> @location(0) vec4f {
    return vec4f(0.0);
}
