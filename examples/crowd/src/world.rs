//! The plane and who is on it, when the simulation begins.

use bytemuck::{Pod, Zeroable};

/// Agents of a block of queries, and of keys.
pub(crate) const BLOCK: usize = 64;
/// Heads: the neighbourhood that is followed, and the closer one that is kept clear of.
pub(crate) const HEADS: usize = 2;
/// Width of the plane over its height.
pub(crate) const ASPECT: f32 = 1.6;
/// Units of a step, at ease.
const CRUISE: f32 = 0.25;
/// Flocks, which keep to themselves.
const FLOCKS: u32 = 3;
/// Cells of the curve are no narrower than this.
const CELL: f32 = 1.4;

/// Middle and radius of what stands in the way, over half of the plane's height.
const OBSTACLES: [[f32; 3]; 5] =
    [[-0.86, 0.22, 0.17], [-0.12, -0.34, 0.22], [0.62, 0.36, 0.15], [1.06, -0.38, 0.12], [0.02, 0.56, 0.08]];

/// Data that all passes know, as `world.wgsl` lays it out.
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, Pod, Zeroable)]
pub(crate) struct World {
    pub(crate) half: [f32; 2],
    pub(crate) time: f32,
    pub(crate) ahead: f32,
    agents: u32,
    blocks: u32,
    max: u32,
    order: u32,
    pixels: f32,
    obstacles: u32,
    unused: [u32; 2],
    obstacle: [[f32; 4]; 8],
}

/// An agent, as `world.wgsl` lays it out.
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, Pod, Zeroable)]
pub(crate) struct Agent {
    pub(crate) position: [f32; 2],
    velocity: [f32; 2],
    flock: u32,
    pub(crate) id: u32,
}

impl World {
    /// A plane with room for so many agents, drawn `width` pixels wide.
    #[expect(clippy::cast_precision_loss, reason = "far below 2^24")]
    pub(crate) fn new(agents: u32, max: u32, width: u32) -> Self {
        // One agent to a unit's square.
        let half_width = (agents as f32 * ASPECT).sqrt() / 2.0;
        let half = [half_width, half_width / ASPECT];
        let mut order = 1;
        while 2.0 * half_width / (1u32 << (order + 1)) as f32 >= CELL {
            order += 1;
        }
        let mut obstacle = [[0.0; 4]; 8];
        for (to, [x, y, radius]) in obstacle.iter_mut().zip(OBSTACLES) {
            *to = [x * half[1], y * half[1], radius * half[1], 0.0];
        }
        Self {
            half,
            time: 0.0,
            ahead: 0.0,
            agents,
            blocks: agents.div_ceil(small(BLOCK)),
            max,
            order,
            pixels: width as f32 / (2.0 * half_width),
            obstacles: small(OBSTACLES.len()),
            unused: [0; 2],
            obstacle,
        }
    }

    pub(crate) fn agents(&self) -> usize {
        self.agents as usize
    }

    pub(crate) fn blocks(&self) -> usize {
        self.blocks as usize
    }

    pub(crate) fn most(&self) -> usize {
        self.max as usize
    }

    /// Cells of the curve that agents are sorted along.
    pub(crate) fn cells(&self) -> usize {
        1 << (2 * self.order)
    }

    /// Agents anywhere but in the obstacles, heading anywhere.
    pub(crate) fn scatter(&self, seed: u64) -> Vec<Agent> {
        let mut random = fastrand::Rng::with_seed(seed);
        let mut agents = Vec::with_capacity(self.agents());
        while agents.len() < self.agents() {
            let position = self.half.map(|half| (2.0 * random.f32() - 1.0) * half);
            let (sin, cos) = (random.f32() * std::f32::consts::TAU).sin_cos();
            if !self.blocked(position) {
                let id = small(agents.len());
                let velocity = [cos * CRUISE, sin * CRUISE];
                agents.push(Agent { position, velocity, flock: random.u32(..FLOCKS), id });
            }
        }
        agents
    }

    fn blocked(&self, position: [f32; 2]) -> bool {
        self.obstacle.iter().any(|[x, y, radius, _]| (position[0] - x).hypot(position[1] - y) < *radius)
    }
}

/// A number that a shader reads.
fn small(count: usize) -> u32 {
    u32::try_from(count).unwrap_or(u32::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn everybody_begins_on_the_plane_and_beside_the_obstacles() {
        for count in [64, 1000, 20_000] {
            let world = World::new(count, 48, 640);
            let agents = world.scatter(1);
            assert_eq!(agents.len(), count as usize);
            for (id, agent) in (0..).zip(&agents) {
                assert_eq!(agent.id, id);
                assert!(agent.position.iter().zip(world.half).all(|(at, half)| at.abs() <= half));
                assert!(!world.blocked(agent.position));
            }
        }
    }

    #[test]
    fn a_cell_of_the_curve_holds_a_few_agents_whatever_their_number() {
        for count in [64, 1000, 5000, 20_000, 100_000] {
            let world = World::new(count, 48, 640);
            let side = 2.0 * world.half[0] / (1u32 << world.order) as f32;
            assert!((CELL..2.0 * CELL).contains(&side), "{count}: {side}");
        }
    }

    #[test]
    fn obstacles_are_apart_and_leave_a_way_along_the_walls() {
        let world = World::new(20_000, 48, 640);
        let stones = &world.obstacle[..OBSTACLES.len()];
        for (index, [x, y, radius, _]) in stones.iter().enumerate() {
            assert!(x.abs() + radius + 4.0 < world.half[0] && y.abs() + radius + 4.0 < world.half[1]);
            for [u, v, other, _] in &stones[index + 1..] {
                assert!((x - u).hypot(y - v) > radius + other + 4.0);
            }
        }
    }
}
