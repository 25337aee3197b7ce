// Turns what an agent attended to into its next velocity and position.

@group(0) @binding(0) var<uniform> world: World;
@group(0) @binding(1) var<storage, read> sorted: array<Agent>;
// [HEADS, agents]: the means, by attention, of positions and of velocities over CRUISE.
@group(0) @binding(2) var<storage, read> o: array<vec4f>;
@group(0) @binding(3) var<storage, read_write> agents: array<Agent>;

const THREADS: u32 = 256u;
// How much each wish counts; a velocity of CRUISE has the length 1.
const ALIGN: f32 = 1.1;
const GATHER: f32 = 0.18;
const CLEAR: f32 = 2.4;
const CURRENT: f32 = 0.22;
// How far from a wall or an obstacle agents begin to turn away, in units, and how much that counts.
const BERTH: f32 = 4.0;
const AVOID: f32 = 2.2;
// The share of a wish that one step grants.
const AGILITY: f32 = 0.14;

// Where a flock is drawn to: eddies that drift, tangential at the walls. Without divergence, agents are not driven
// together.
fn current(position: vec2f, flock: u32, time: f32) -> vec2f {
    let at = position / world.half;
    let phase = 2.0944 * f32(flock);
    let turn = vec2f(0.011 * time + phase, 0.007 * time - phase);
    // The stream function is edge * wave; its derivatives, turned by a right angle, are the velocity.
    let edge = (1.0 - at * at);
    let arguments = vec2f(2.6 * at.x + turn.x, 2.2 * at.y + turn.y);
    let wave = sin(arguments.x) * cos(arguments.y);
    let along_x = edge.y * (-2.0 * at.x * wave + edge.x * 2.6 * cos(arguments.x) * cos(arguments.y));
    let along_y = edge.x * (-2.0 * at.y * wave - edge.y * 2.2 * sin(arguments.x) * sin(arguments.y));
    return vec2f(along_y, -along_x * world.half.y / world.half.x);
}

// Away from what is closer than BERTH; the closer, the more.
fn away(position: vec2f) -> vec2f {
    let room = world.half - abs(position);
    var push = -sign(position) * pow(clamp(1.0 - room / BERTH, vec2f(0.0), vec2f(1.5)), vec2f(2.0));
    for (var index = 0u; index < world.obstacles; index += 1u) {
        let obstacle = world.obstacle[index];
        let off = position - obstacle.xy;
        let distance = max(length(off), 1e-3);
        let near = clamp(1.0 - (distance - obstacle.z) / BERTH, 0.0, 1.5);
        push += off / distance * near * near;
    }
    return push;
}

@compute @workgroup_size(THREADS)
fn steer(@builtin(global_invocation_id) thread: vec3u) {
    if thread.x >= world.agents {
        return;
    }
    var agent = sorted[thread.x];
    let seen = o[thread.x];
    let close = o[world.agents + thread.x];
    let pace = agent.velocity / CRUISE;
    let to_others = seen.xy - agent.position;
    let gather = to_others / max(1.0, length(to_others));
    let wish = ALIGN * seen.zw + GATHER * gather + CLEAR * (agent.position - close.xy)
        + CURRENT * current(agent.position, agent.flock, world.time) + AVOID * away(agent.position);
    // Agents neither stand still nor run.
    let next = mix(pace, wish / max(length(wish), 1e-3), AGILITY);
    let speed = max(length(next), 1e-3);
    agent.velocity = CRUISE * next / speed * clamp(speed, 0.5, 1.1);
    // No wish leads through a wall.
    agent.position = clamp(agent.position + agent.velocity, 0.01 - world.half, world.half - 0.01);
    agents[thread.x] = agent;
}
