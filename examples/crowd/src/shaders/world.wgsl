// Data that all passes know: the plane, and who is on it. The host puts this text before each of the others.
//
// A unit of length is the mean distance between agents, a unit of time a step.

struct World {
    // Half of the plane's sides; its middle is the origin.
    half: vec2f,
    time: f32,
    // Steps that have passed since the agents were moved: frames between two steps draw them further on.
    ahead: f32,
    agents: u32,
    // Blocks of BLOCK agents.
    blocks: u32,
    // Room in a list of blocks.
    most: u32,
    // The curve has 4^order cells.
    order: u32,
    // Pixels of a unit.
    pixels: f32,
    obstacles: u32,
    unused: vec2u,
    // Middle and radius.
    obstacle: array<vec4f, 8>,
}

struct Agent {
    position: vec2f,
    velocity: vec2f,
    flock: u32,
    // Who it is: the others' order changes with every step.
    id: u32,
}

// Agents of a block of queries, and of keys.
const BLOCK: u32 = 64u;
// Units of a step, at ease.
const CRUISE: f32 = 0.25;
// Heads: the neighbourhood that is followed, and the closer one that is kept clear of.
const HEADS: u32 = 2u;
