// Sorts the agents along a Hilbert curve by counting, and writes what attention reads: agents that are close on the curve
// are close on the plane, so blocks of them are small patches of it.

@group(0) @binding(0) var<uniform> world: World;
@group(0) @binding(1) var<storage, read> agents: array<Agent>;
// Agents in each cell of the curve; after `sum`, agents in those before it.
@group(0) @binding(2) var<storage, read_write> cells: array<atomic<u32>>;
// Of each agent its cell, and how many came to that before it.
@group(0) @binding(3) var<storage, read_write> tickets: array<vec2u>;
@group(0) @binding(4) var<storage, read_write> sorted: array<Agent>;
@group(0) @binding(5) var<storage, read_write> q: array<vec4f>;
@group(0) @binding(6) var<storage, read_write> k: array<vec4f>;
@group(0) @binding(7) var<storage, read_write> v: array<vec4f>;
// Of each sorted agent, in steps of the lattice: where it looks, and where it is.
@group(0) @binding(8) var<storage, read_write> spots: array<vec4f>;

const THREADS: u32 = 256u;

// Where a cell comes on the curve. Hilbert 1891; the loop goes from the largest quadrants to the smallest.
fn along_curve(cell: vec2u, order: u32) -> u32 {
    var at = cell;
    var place = 0u;
    for (var side = 1u << (order - 1u); side > 0u; side >>= 1u) {
        let x = u32((at.x & side) != 0u);
        let y = u32((at.y & side) != 0u);
        place += side * side * ((3u * x) ^ y);
        if y == 0u {
            if x == 1u {
                at = vec2u((1u << order) - 1u) - at;
            }
            at = at.yx;
        }
    }
    return place;
}

@compute @workgroup_size(THREADS)
fn count(@builtin(global_invocation_id) thread: vec3u) {
    if thread.x >= world.agents {
        return;
    }
    let side = f32(1u << world.order);
    // The plane is wider than high: the curve's square is as wide.
    let place = (agents[thread.x].position + world.half.xx) / (2.0 * world.half.x) * side;
    let cell = along_curve(vec2u(clamp(place, vec2f(0.0), vec2f(side - 1.0))), world.order);
    tickets[thread.x] = vec2u(cell, atomicAdd(&cells[cell], 1u));
}

var<workgroup> sums: array<u32, THREADS>;

// One workgroup: each thread sums a run of cells, the threads' sums are summed by doubling.
@compute @workgroup_size(THREADS)
fn sum(@builtin(local_invocation_index) thread: u32) {
    let all = 1u << (2u * world.order);
    let run = (all + THREADS - 1u) / THREADS;
    let first = thread * run;
    let end = min(first + run, all);
    var mine = 0u;
    for (var cell = first; cell < end; cell += 1u) {
        mine += atomicLoad(&cells[cell]);
    }
    sums[thread] = mine;
    for (var step = 1u; step < THREADS; step *= 2u) {
        workgroupBarrier();
        let before = select(0u, sums[max(thread, step) - step], thread >= step);
        workgroupBarrier();
        sums[thread] += before;
    }
    var before = sums[thread] - mine;
    for (var cell = first; cell < end; cell += 1u) {
        let here = atomicLoad(&cells[cell]);
        atomicStore(&cells[cell], before);
        before += here;
    }
}

// Positions as attention sees them are whole steps of a lattice, LATTICE to a unit, and headings are of sixteenths.
// Scores, powers of two times differences of their products, are then exact in f32 (on planes of up to 256 units), in
// any order of addition: a score of -8 is the difference of numbers in the thousands.
const LATTICE: f32 = 16.0;
const SIXTEENTHS: f32 = 16.0;
// Weights are two to the power of scores, and a score falls by d^2 / 2 times this, d in steps of the lattice: the standard
// deviations are 1.2 and 0.42 units.
const FALL = array<f32, HEADS>(1.0 / 256.0, 1.0 / 32.0);
// Additions to the first head's score for the same heading, and the same flock: weights double, and are eight times as
// large.
const HEADING: f32 = 1.0;
const FLOCK: f32 = 2.0;
// How far ahead an agent looks, in units.
const LOOK: f32 = 0.75;

// Flocks as directions: the same one has the product 1, others have -1/2.
fn flag(flock: u32) -> vec2f {
    switch flock % 3u {
        case 0u: { return vec2f(1.0, 0.0); }
        case 1u: { return vec2f(-0.5, 0.875); }
        default: { return vec2f(-0.5, -0.875); }
    }
}

@compute @workgroup_size(THREADS)
fn place(@builtin(global_invocation_id) thread: vec3u) {
    if thread.x >= world.agents {
        return;
    }
    let agent = agents[thread.x];
    let ticket = tickets[thread.x];
    let at = atomicLoad(&cells[ticket.x]) + ticket.y;
    sorted[at] = agent;

    let pace = agent.velocity / CRUISE;
    let heading = round(pace * SIXTEENTHS) / SIXTEENTHS;
    let flock = flag(agent.flock);
    let here = round(agent.position * LATTICE);
    let there = here + round(heading * LOOK * LATTICE);
    spots[at] = vec4f(there, here);

    // q . k = -FALL / 2 * |spot - here'|^2 + HEADING * heading . heading' + FLOCK * flock . flock'
    for (var head = 0u; head < HEADS; head += 1u) {
        let spot = select(here, there, head == 0u);
        let row = 2u * (head * world.agents + at);
        q[row] = vec4f(spot, 1.0, -0.5 * dot(spot, spot)) * FALL[head];
        q[row + 1u] = vec4f(HEADING * heading, FLOCK * flock) * f32(head == 0u);
    }
    k[2u * at] = vec4f(here, -0.5 * dot(here, here), 1.0);
    k[2u * at + 1u] = vec4f(heading, flock);
    v[at] = vec4f(agent.position, pace);
}
