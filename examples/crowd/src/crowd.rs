//! The simulation: buffers that stay on the device, the host's passes over them, and Foveal's attention in between.

use foveal::{Attention, AttentionTensors, BoundKernel, DeviceBlockMask, Engine, Shape, wgpu};
use foveal_examples_common::Failure;

use crate::passes::{Pass, module};
use crate::world::{BLOCK, HEADS, World};

/// Whom an agent attends to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Sight {
    /// To the blocks that the host's passes list, anew in every step.
    Listed,
    /// To everybody: the same step with a dense mask.
    Everybody,
}

/// Seed of the crowd.
const SEED: u64 = 7;
/// Threads of a workgroup, by file.
const SORT_THREADS: usize = 256;
const LIST_THREADS: usize = 64;
const STEER_THREADS: usize = 256;

/// Widths of rows of q and k, and of v and o.
pub(crate) const KEY: usize = 8;
pub(crate) const VALUE: usize = 4;
/// Words of an agent.
pub(crate) const AGENT: usize = 6;

/// A crowd on the device.
pub(crate) struct Crowd {
    pub(crate) world: World,
    /// Attention, bound to q, k, v, o and the lists.
    pub(crate) bound: BoundKernel,
    pub(crate) buffers: Buffers,
    /// Before attention.
    before: Vec<Pass>,
    /// After it.
    after: Pass,
}

/// All that is kept between passes.
pub(crate) struct Buffers {
    pub(crate) world: wgpu::Buffer,
    /// The crowd: what a step begins with and what it leaves.
    pub(crate) agents: wgpu::Buffer,
    /// The same along the curve, as attention saw it.
    pub(crate) sorted: wgpu::Buffer,
    cells: wgpu::Buffer,
    pub(crate) q: wgpu::Buffer,
    pub(crate) k: wgpu::Buffer,
    pub(crate) v: wgpu::Buffer,
    pub(crate) o: wgpu::Buffer,
    pub(crate) counts: wgpu::Buffer,
    pub(crate) indices: wgpu::Buffer,
    /// How far each list reaches.
    pub(crate) reaches: wgpu::Buffer,
}

/// The problem that every step solves.
pub(crate) fn problem(world: &World, sight: Sight) -> Attention {
    // Both heads read the same keys and values; what sets them apart is in q.
    let attention = Attention::new(Shape::bhtd(1, HEADS, world.agents(), KEY).kv(1, world.agents()))
        .value_dim(VALUE)
        // Weights are powers of two, so that scores are exact: sort.wgsl.
        .scale(std::f64::consts::LN_2);
    match sight {
        Sight::Listed => attention.block_mask(DeviceBlockMask::new(BLOCK, BLOCK, world.most()).per(1, HEADS)),
        Sight::Everybody => attention,
    }
}

impl Crowd {
    pub(crate) async fn new(engine: &Engine, world: World, sight: Sight) -> Result<Self, Failure> {
        let plan = engine.plan(&problem(&world, sight))?;
        let kernel = engine.prepare(&plan).await?;
        let (agents, blocks) = (world.agents(), world.blocks());
        let buffer = |label: &'static str, words: usize| engine.buffer(label, 4 * words as u64);
        let usage = wgpu::BufferUsages::UNIFORM | wgpu::BufferUsages::COPY_DST;
        let buffers = Buffers {
            world: engine.device().create_buffer(&wgpu::BufferDescriptor {
                label: Some("world"),
                size: size_of::<World>() as u64,
                usage,
                mapped_at_creation: false,
            }),
            agents: buffer("agents", AGENT * agents).await?,
            sorted: buffer("sorted", AGENT * agents).await?,
            cells: buffer("cells", world.cells()).await?,
            q: buffer("q", HEADS * KEY * agents).await?,
            k: buffer("k", KEY * agents).await?,
            v: buffer("v", VALUE * agents).await?,
            o: buffer("o", HEADS * VALUE * agents).await?,
            counts: buffer("counts", HEADS * blocks).await?,
            indices: buffer("indices", HEADS * blocks * world.most()).await?,
            reaches: buffer("reaches", HEADS * blocks).await?,
        };
        let Buffers { q, k, v, o, counts, indices, .. } = &buffers;
        let tensors = AttentionTensors::new(q, k, v, o);
        let tensors = match sight {
            Sight::Listed => tensors.and("counts", counts).and("indices", indices),
            Sight::Everybody => tensors,
        };
        let bound = kernel.bind(&tensors)?;
        let tickets = buffer("tickets", 2 * agents).await?;
        let spots = buffer("spots", 4 * agents).await?;
        let boxes = buffer("boxes", 8 * blocks).await?;
        engine.queue().write_buffer(&buffers.world, 0, bytemuck::bytes_of(&world));
        engine.queue().write_buffer(&buffers.agents, 0, bytemuck::cast_slice(&world.scatter(SEED)));

        let (device, all) = (engine.device(), &buffers);
        let sorting = module(device, "sort", include_str!("shaders/sort.wgsl"));
        let each = [agents, SORT_THREADS];
        let count = [(0, &all.world), (1, &all.agents), (2, &all.cells), (3, &tickets)];
        let sum = [(0, &all.world), (2, &all.cells)];
        let place = [
            (0, &all.world),
            (1, &all.agents),
            (2, &all.cells),
            (3, &tickets),
            (4, &all.sorted),
            (5, &all.q),
            (6, &all.k),
            (7, &all.v),
            (8, &spots),
        ];
        let mut before = vec![
            Pass::new(device, &sorting, "count", each, &count),
            // One workgroup sums all cells.
            Pass::new(device, &sorting, "sum", [1, 1], &sum),
            Pass::new(device, &sorting, "place", each, &place),
        ];
        if sight == Sight::Listed {
            let listing = module(device, "lists", include_str!("shaders/lists.wgsl"));
            let bound = [(0, &all.world), (1, &spots), (2, &boxes)];
            let lists = [(3, &all.counts), (4, &all.indices), (5, &all.reaches)];
            let list = [&bound[..], &lists].concat();
            before.push(Pass::new(device, &listing, "bound", [blocks, LIST_THREADS], &bound));
            before.push(Pass::new(device, &listing, "list", [HEADS * blocks, LIST_THREADS], &list));
        }
        let steering = module(device, "steer", include_str!("shaders/steer.wgsl"));
        let steer = [(0, &all.world), (1, &all.sorted), (2, &all.o), (3, &all.agents)];
        let after = Pass::new(device, &steering, "steer", [agents, STEER_THREADS], &steer);
        Ok(Self { world, bound, buffers, before, after })
    }

    /// Records a whole step: the host's passes, Foveal's attention, the host's pass. Nothing waits in between, and nothing
    /// leaves the device.
    pub(crate) fn encode_step(&self, encoder: &mut wgpu::CommandEncoder) {
        self.encode_before(encoder);
        self.encode_attention(encoder);
        self.encode_after(encoder);
    }

    /// Sorts the agents, lists blocks, writes q, k and v.
    pub(crate) fn encode_before(&self, encoder: &mut wgpu::CommandEncoder) {
        encoder.clear_buffer(&self.buffers.cells, 0, None);
        let descriptor = wgpu::ComputePassDescriptor { label: Some("sort"), timestamp_writes: None };
        let mut pass = encoder.begin_compute_pass(&descriptor);
        for step in &self.before {
            step.record(&mut pass);
        }
    }

    /// Attention as a whole.
    pub(crate) fn encode_attention(&self, encoder: &mut wgpu::CommandEncoder) {
        self.bound.encode(encoder);
    }

    /// Moves the agents by what they attended to.
    pub(crate) fn encode_after(&self, encoder: &mut wgpu::CommandEncoder) {
        let descriptor = wgpu::ComputePassDescriptor { label: Some("steer"), timestamp_writes: None };
        self.after.record(&mut encoder.begin_compute_pass(&descriptor));
    }

    /// Tells the passes what time it is: `time` steps, and `ahead` of a step since the agents were moved.
    pub(crate) fn set_time(&mut self, queue: &wgpu::Queue, time: f32, ahead: f32) {
        (self.world.time, self.world.ahead) = (time, ahead);
        queue.write_buffer(&self.buffers.world, 0, bytemuck::bytes_of(&self.world));
    }
}
