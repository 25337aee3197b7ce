//! Frames of a host that has much else to do: ten random operations in one encoder, Foveal's among its own, two hundred times.

use std::time::Duration;

use anyhow::{Result, ensure};
use foveal::{BoundKernel, Constraints, Dtype, Engine, Job, Kernel, wgpu};
use foveal_kernels::attention::{Attention, DeviceBlockMask, Shape};
use foveal_kernels::{Problem, operator};
use foveal_tests::harness;
use foveal_tests::host::{Host, bound};
use pollster::block_on;

use crate::{host_or_skip, options, turn};

const ENCODERS: usize = 200;
const OPERATIONS: usize = 10;

/// A kernel with tensors of its own, what it computes of them, and a job of it that is under way.
struct Guest {
    kernel: Kernel,
    bound: BoundKernel,
    tensors: Vec<(String, wgpu::Buffer)>,
    /// The inputs once more, which the host copies back from time to time.
    pristine: Vec<wgpu::Buffer>,
    job: Job,
    jobs_tensors: Vec<(String, wgpu::Buffer)>,
    right: Vec<Vec<u8>>,
}

impl Guest {
    fn new(host: &Host, engine: &Engine, problem: &dyn Problem, constraints: &Constraints) -> Result<Self> {
        let kernel = block_on(engine.prepare(&engine.plan_with(problem, constraints)?))?;
        let inputs = problem.random_inputs(11);
        let inputs = harness::storage(&kernel.plan().tensors, &inputs)?;
        let tensors = host.tensors(&kernel, &inputs);
        let jobs_tensors = host.tensors(&kernel, &inputs);
        let pristine = host.tensors(&kernel, &inputs).into_iter().map(|(_, buffer)| buffer).collect();
        let mut encoder = host.encoder();
        let [whole, sliced] = [kernel.bind(&bound(&tensors))?, kernel.bind(&bound(&jobs_tensors))?];
        whole.encode(&mut encoder);
        host.queue.submit([encoder.finish()]);
        let job = block_on(block_on(sliced.slices(Duration::from_nanos(1)))?.start())?;
        let mut guest =
            Self { kernel, bound: whole, tensors, pristine, job, jobs_tensors, right: Vec::new() };
        guest.right = guest.outputs(engine, &guest.tensors)?;
        Ok(guest)
    }

    fn outputs(&self, engine: &Engine, tensors: &[(String, wgpu::Buffer)]) -> Result<Vec<Vec<u8>>> {
        let tensor_specs = self.kernel.plan().tensors.iter().zip(tensors);
        tensor_specs
            .filter(|(tensor_spec, _)| tensor_spec.access.writes())
            .map(|(_, (_, buffer))| {
                let words = usize::try_from(buffer.size())? / 4;
                Ok(block_on(engine.read_back(buffer, &[words], Dtype::F32))?.to_bytes(Dtype::F32))
            })
            .collect()
    }
}

/// The host's own work in its frames.
struct Game {
    compute: wgpu::ComputePipeline,
    render: wgpu::RenderPipeline,
    target: wgpu::TextureView,
    own: wgpu::Buffer,
    copy: wgpu::Buffer,
}

const SHADER: &str = "
@group(0) @binding(0) var<storage, read_write> x: array<f32>;
@compute @workgroup_size(64) fn update(@builtin(global_invocation_id) id: vec3u) { x[id.x] = x[id.x] * 0.5 + 1.0; }
@group(0) @binding(0) var<storage, read> seen: array<f32>;
@vertex fn corner(@builtin(vertex_index) i: u32) -> @builtin(position) vec4f {
    return vec4f(vec2f(f32(i % 2u), f32(i / 2u)) * clamp(seen[i], -1.0, 1.0), 0.0, 1.0);
}
@fragment fn colour() -> @location(0) vec4f { return vec4f(1.0, 0.5, 0.0, 1.0); }
";

impl Game {
    fn new(host: &Host) -> Self {
        let module = host.device.create_shader_module(wgpu::ShaderModuleDescriptor {
            label: Some("game"),
            source: wgpu::ShaderSource::Wgsl(SHADER.into()),
        });
        let compute = host.device.create_compute_pipeline(&wgpu::ComputePipelineDescriptor {
            label: Some("game"),
            layout: None,
            module: &module,
            entry_point: Some("update"),
            compilation_options: wgpu::PipelineCompilationOptions::default(),
            cache: None,
        });
        let format = wgpu::TextureFormat::Rgba8Unorm;
        let render = host.device.create_render_pipeline(&wgpu::RenderPipelineDescriptor {
            label: Some("game"),
            layout: None,
            vertex: wgpu::VertexState {
                module: &module,
                entry_point: Some("corner"),
                compilation_options: wgpu::PipelineCompilationOptions::default(),
                buffers: &[],
            },
            fragment: Some(wgpu::FragmentState {
                module: &module,
                entry_point: Some("colour"),
                compilation_options: wgpu::PipelineCompilationOptions::default(),
                targets: &[Some(format.into())],
            }),
            primitive: wgpu::PrimitiveState::default(),
            depth_stencil: None,
            multisample: wgpu::MultisampleState::default(),
            multiview_mask: None,
            cache: None,
        });
        let texture = host.device.create_texture(&wgpu::TextureDescriptor {
            label: Some("game"),
            size: wgpu::Extent3d { width: 64, height: 64, depth_or_array_layers: 1 },
            mip_level_count: 1,
            sample_count: 1,
            dimension: wgpu::TextureDimension::D2,
            format,
            usage: wgpu::TextureUsages::RENDER_ATTACHMENT,
            view_formats: &[],
        });
        let target = texture.create_view(&wgpu::TextureViewDescriptor::default());
        Self { compute, render, target, own: host.buffer("own", 4096), copy: host.buffer("copy", 4096) }
    }

    fn group(&self, host: &Host, layout: &wgpu::BindGroupLayout, buffer: &wgpu::Buffer) -> wgpu::BindGroup {
        let entries = [wgpu::BindGroupEntry { binding: 0, resource: buffer.as_entire_binding() }];
        host.device.create_bind_group(&wgpu::BindGroupDescriptor { label: None, layout, entries: &entries })
    }

    fn update(&self, host: &Host, pass: &mut wgpu::ComputePass<'_>) {
        pass.set_pipeline(&self.compute);
        pass.set_bind_group(0, &self.group(host, &self.compute.get_bind_group_layout(0), &self.own), &[]);
        pass.dispatch_workgroups(16, 1, 1);
    }

    /// A triangle whose corners are a kernel's results.
    fn draw(&self, host: &Host, encoder: &mut wgpu::CommandEncoder, results: &wgpu::Buffer) {
        let mut pass = encoder.begin_render_pass(&wgpu::RenderPassDescriptor {
            label: Some("game"),
            color_attachments: &[Some(wgpu::RenderPassColorAttachment {
                view: &self.target,
                depth_slice: None,
                resolve_target: None,
                ops: wgpu::Operations {
                    load: wgpu::LoadOp::Clear(wgpu::Color::BLACK),
                    store: wgpu::StoreOp::Store,
                },
            })],
            depth_stencil_attachment: None,
            timestamp_writes: None,
            occlusion_query_set: None,
            multiview_mask: None,
        });
        pass.set_pipeline(&self.render);
        pass.set_bind_group(0, &self.group(host, &self.render.get_bind_group_layout(0), results), &[]);
        pass.draw(0..3, 0..1);
    }
}

fn operation(
    host: &Host,
    game: &Game,
    guests: &mut [Guest],
    random: &mut fastrand::Rng,
    encoder: &mut wgpu::CommandEncoder,
) {
    let count = guests.len();
    let guest = &mut guests[random.usize(..count)];
    let compute = wgpu::ComputePassDescriptor::default();
    match random.u8(..10) {
        0 => game.update(host, &mut encoder.begin_compute_pass(&compute)),
        1 => {
            let (_, results) = &guest.tensors[guest.tensors.len() - 1];
            game.draw(host, encoder, results);
        }
        2 => encoder.copy_buffer_to_buffer(&game.own, 0, &game.copy, 0, 4096),
        3 => encoder.clear_buffer(&game.copy, 256, Some(1024)),
        4 | 5 => guest.bound.encode(encoder),
        6 => {
            // The host's own work and several kernels, in one compute pass.
            let mut pass = encoder.begin_compute_pass(&compute);
            game.update(host, &mut pass);
            guest.bound.encode_in_pass(&mut pass);
            game.update(host, &mut pass);
            let guest = &guests[random.usize(..count)];
            guest.bound.encode_in_pass(&mut pass);
        }
        7 | 8 => {
            if guest.job.encode(encoder).finished && random.bool() {
                guest.job.restart();
            }
        }
        _ => {
            // Outputs are spoiled and inputs written anew, before the next round.
            for ((tensor_spec, (_, buffer)), pristine) in
                guest.kernel.plan().tensors.iter().zip(&guest.tensors).zip(&guest.pristine)
            {
                match tensor_spec.access {
                    foveal::Access::Read | foveal::Access::Update => {
                        encoder.copy_buffer_to_buffer(pristine, 0, buffer, 0, pristine.size());
                    }
                    foveal::Access::Write => encoder.clear_buffer(buffer, 0, None),
                }
            }
            guest.bound.encode(encoder);
        }
    }
}

#[test]
fn ten_random_operations_two_hundred_times() -> Result<()> {
    let _turn = turn();
    let host = host_or_skip!();
    let engine = Engine::from_device_with(host.device.clone(), host.queue.clone(), options())?;
    let options = serde_json::from_str(r#"{"rule":"delta","gate":"scalar"}"#)?;
    let linear = operator("linear")?.problem_of_shape("1x2x150x32", &options)?;
    let causal = Attention::new(Shape::bhtd(1, 2, 100, 32)).causal().with_lse();
    let listed = Attention::new(Shape::bhtd(1, 2, 150, 32))
        .block_mask(DeviceBlockMask::new(64, 64, 2))
        .kv_lengths("keys");
    let split = Constraints { workgroup_time: Some(Duration::from_nanos(1)), ..Constraints::default() };
    let mut guests = vec![
        Guest::new(&host, &engine, &causal, &Constraints::default())?,
        Guest::new(&host, &engine, &*linear, &Constraints::variant("chunked"))?,
        Guest::new(&host, &engine, &listed, &Constraints::default())?,
        Guest::new(&host, &engine, &causal, &split)?,
    ];
    let game = Game::new(&host);
    let mut random = fastrand::Rng::with_seed(7);
    for round in 0..ENCODERS {
        let mut encoder = host.encoder();
        for _ in 0..OPERATIONS {
            operation(&host, &game, &mut guests, &mut random, &mut encoder);
        }
        host.queue.submit([encoder.finish()]);
        let complaints = host.complaints();
        ensure!(complaints.is_empty(), "round {round}: {complaints:?}");
        if round % 20 == 19 {
            for guest in &mut guests {
                ensure!(
                    guest.outputs(&engine, &guest.tensors)? == guest.right,
                    "round {round}: {:?}",
                    guest.kernel
                );
                let mut encoder = host.encoder();
                while !guest.job.encode(&mut encoder).finished {}
                host.queue.submit([encoder.finish()]);
                ensure!(guest.outputs(&engine, &guest.jobs_tensors)? == guest.right, "round {round}: a job");
            }
        }
    }
    Ok(())
}
