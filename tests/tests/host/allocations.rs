//! Cost of recording: not one allocation or wgpu object more than wgpu's own commands have.

use std::time::Duration;

use allocation_counter::measure;
use anyhow::{Result, ensure};
use foveal::{Constraints, Engine, Kernel, wgpu};
use foveal_kernels::attention::{Attention, Shape};
use foveal_kernels::{Problem, operator};
use foveal_tests::host::{Host, bound};
use foveal_tests::{harness, say};
use pollster::block_on;

use crate::{host_or_skip, options, turn};

/// Commands that a host would write itself: pipelines of its own, and as many commands as a kernel records.
struct ByHand {
    pipelines: [wgpu::ComputePipeline; 2],
    /// In turn, as kernels bind others for each pass: wgpu leaves out what is bound already.
    tensors: [wgpu::BindGroup; 2],
    grid: wgpu::BindGroup,
}

impl ByHand {
    fn new(host: &Host) -> Self {
        let module = host.device.create_shader_module(wgpu::ShaderModuleDescriptor {
            label: Some("by hand"),
            source: wgpu::ShaderSource::Wgsl(
                "@group(0) @binding(0) var<storage, read_write> x: array<f32>;
                @group(1) @binding(0) var<uniform> at: vec4u;
                @compute @workgroup_size(1) fn main() { x[at.x] += 1.0; }"
                    .into(),
            ),
        });
        let layout = |ty, has_dynamic_offset| {
            let entry = wgpu::BindGroupLayoutEntry {
                binding: 0,
                visibility: wgpu::ShaderStages::COMPUTE,
                ty: wgpu::BindingType::Buffer { ty, has_dynamic_offset, min_binding_size: None },
                count: None,
            };
            host.device
                .create_bind_group_layout(&wgpu::BindGroupLayoutDescriptor { label: None, entries: &[entry] })
        };
        let layouts = [
            layout(wgpu::BufferBindingType::Storage { read_only: false }, false),
            layout(wgpu::BufferBindingType::Uniform, true),
        ];
        let pipeline_layout = host.device.create_pipeline_layout(&wgpu::PipelineLayoutDescriptor {
            label: None,
            bind_group_layouts: &[Some(&layouts[0]), Some(&layouts[1])],
            immediate_size: 0,
        });
        let pipeline = || {
            host.device.create_compute_pipeline(&wgpu::ComputePipelineDescriptor {
                label: Some("by hand"),
                layout: Some(&pipeline_layout),
                module: &module,
                entry_point: None,
                compilation_options: wgpu::PipelineCompilationOptions::default(),
                cache: None,
            })
        };
        let group = |layout, usage, size| {
            let buffer = host.device.create_buffer(&wgpu::BufferDescriptor {
                label: None,
                size: 512,
                usage,
                mapped_at_creation: false,
            });
            let resource = wgpu::BindingResource::Buffer(wgpu::BufferBinding {
                buffer: &buffer,
                offset: 0,
                size: wgpu::BufferSize::new(size),
            });
            host.device.create_bind_group(&wgpu::BindGroupDescriptor {
                label: None,
                layout,
                entries: &[wgpu::BindGroupEntry { binding: 0, resource }],
            })
        };
        Self {
            pipelines: [pipeline(), pipeline()],
            tensors: [(); 2].map(|()| group(&layouts[0], wgpu::BufferUsages::STORAGE, 512)),
            grid: group(&layouts[1], wgpu::BufferUsages::UNIFORM, 16),
        }
    }

    /// As many commands as a kernel of so many passes records.
    fn record(&self, pass: &mut wgpu::ComputePass<'_>, passes: usize) {
        for index in 0..passes {
            pass.set_pipeline(&self.pipelines[index % 2]);
            pass.set_bind_group(0, &self.tensors[index % 2], &[]);
            pass.set_bind_group(1, &self.grid, &[256]);
            pass.dispatch_workgroups(1, 1, 1);
        }
    }
}

/// Inputs' bytes by name.
type Storage = Vec<(&'static str, Vec<u8>)>;

/// Kernels of one pass and of many.
fn kernels(engine: &Engine) -> Result<Vec<(Kernel, Storage)>> {
    let attention: Box<dyn Problem> = Box::new(Attention::new(Shape::bhtd(1, 4, 300, 32)).causal());
    let options = serde_json::from_str(r#"{"rule":"delta","gate":"scalar"}"#)?;
    let linear = operator("linear")?.problem_of_shape("1x2x200x32", &options)?;
    let mut kernels = Vec::new();
    for (problem, variant) in [(&*attention, "tiled"), (&*linear, "chunked")] {
        let kernel =
            block_on(engine.prepare_exact(&engine.plan_with(problem, &Constraints::variant(variant))?))?;
        let inputs = problem.random_inputs(3);
        let inputs = harness::storage(&kernel.plan().tensors, &inputs)?
            .into_iter()
            .filter_map(|(name, bytes)| {
                let tensor_spec =
                    kernel.plan().tensors.iter().find(|tensor_spec| tensor_spec.name == name)?;
                // Names of ports live as long as the plan; these are the operators' own.
                match tensor_spec.name.clone() {
                    std::borrow::Cow::Borrowed(name) => Some((name, bytes)),
                    std::borrow::Cow::Owned(_) => None,
                }
            })
            .collect();
        kernels.push((kernel, inputs));
    }
    Ok(kernels)
}

/// Enough that vectors which grow with the number of commands have grown alike on both sides.
const RUNS: usize = 100;
/// How often a list doubles until it holds the commands of so many runs, at most.
const DOUBLINGS: usize = 12;

/// Numbers of wgpu's objects of each kind.
fn objects(host: &Host) -> Option<[usize; 5]> {
    let hub = host.instance.generate_report()?.hub;
    let kinds = [hub.buffers, hub.bind_groups, hub.bind_group_layouts, hub.compute_pipelines, hub.query_sets];
    Some(kinds.map(|registry| registry.num_allocated))
}

#[test]
fn recording_allocates_what_wgpus_own_commands_do_and_makes_no_object() -> Result<()> {
    let _turn = turn();
    let host = host_or_skip!();
    let engine = Engine::from_device_with(host.device.clone(), host.queue.clone(), options())?;
    let by_hand = ByHand::new(&host);
    for (kernel, inputs) in kernels(&engine)? {
        let passes = kernel.plan().passes.len();
        let pipelines = kernel.plan().requests().len();
        let bound = kernel.bind(&bound(&host.tensors(&kernel, &inputs)))?;
        let before = objects(&host);
        let (mut ours, mut theirs) = (host.encoder(), host.encoder());
        let mut pass = ours.begin_compute_pass(&wgpu::ComputePassDescriptor::default());
        let foveal = measure(|| (0..RUNS).for_each(|_| bound.encode_in_pass(&mut pass)));
        drop(pass);
        let mut pass = theirs.begin_compute_pass(&wgpu::ComputePassDescriptor::default());
        let wgpu_alone = measure(|| (0..RUNS).for_each(|_| by_hand.record(&mut pass, passes)));
        drop(pass);
        ensure!(before.is_some() && objects(&host) == before, "{before:?} became {:?}", objects(&host));
        say(&format!(
            "{RUNS} x {} passes in one compute pass: {} allocations, by hand {}",
            passes, foveal.count_total, wgpu_alone.count_total
        ));
        // Only wgpu's list of commands grows: a handful of doublings for thousands of them. A kernel sets fewer
        // pipelines than it has passes.
        ensure!(foveal.count_total <= wgpu_alone.count_total, "{foveal:?} by Foveal, {wgpu_alone:?} by hand");
        ensure!(pipelines <= passes);

        // A list of commands that has grown already takes one more run without a single allocation.
        let mut grown = host.encoder();
        let mut pass = grown.begin_compute_pass(&wgpu::ComputePassDescriptor::default());
        let each: Vec<u64> =
            (0..RUNS).map(|_| measure(|| bound.encode_in_pass(&mut pass)).count_total).collect();
        drop(pass);
        let without = each.iter().filter(|&&count| count == 0).count();
        ensure!(without >= RUNS - 4 * DOUBLINGS, "{without} of {RUNS} runs without an allocation: {each:?}");

        // A compute pass of its own, as `encode` makes it.
        let (mut ours, mut theirs) = (host.encoder(), host.encoder());
        let foveal = measure(|| bound.encode(&mut ours));
        let label = kernel.plan().passes.first().map(|pass| pass.label.as_str());
        let wgpu_alone = measure(|| {
            let descriptor = wgpu::ComputePassDescriptor { label, timestamp_writes: None };
            by_hand.record(&mut theirs.begin_compute_pass(&descriptor), passes);
        });
        say(&format!(
            "one kernel of {passes} passes: {} allocations, by hand {}",
            foveal.count_total, wgpu_alone.count_total
        ));
        ensure!(foveal.count_total <= wgpu_alone.count_total, "{foveal:?} by Foveal, {wgpu_alone:?} by hand");
        host.queue.submit([ours.finish(), theirs.finish()]);
        ensure!(host.complaints().is_empty(), "{:?}", host.complaints());
    }
    Ok(())
}

#[test]
fn jobs_allocate_nothing() -> Result<()> {
    let _turn = turn();
    let host = host_or_skip!();
    let engine = Engine::from_device_with(host.device.clone(), host.queue.clone(), options())?;
    let by_hand = ByHand::new(&host);
    for (kernel, inputs) in kernels(&engine)? {
        let bound = kernel.bind(&bound(&host.tensors(&kernel, &inputs)))?;
        let mut job = block_on(block_on(bound.slices(Duration::from_nanos(1)))?.start())?;
        let (mut ours, mut theirs) = (host.encoder(), host.encoder());
        let mut pass = ours.begin_compute_pass(&wgpu::ComputePassDescriptor::default());
        let mut count = 0;
        let foveal = measure(|| {
            while !job.progress().finished {
                job.encode_in_pass(&mut pass);
                count += 1;
            }
        });
        drop(pass);
        let mut pass = theirs.begin_compute_pass(&wgpu::ComputePassDescriptor::default());
        let wgpu_alone = measure(|| by_hand.record(&mut pass, count));
        drop(pass);
        ensure!(count > 2, "the job has hardly any slices");
        ensure!(
            foveal.count_total <= wgpu_alone.count_total,
            "{foveal:?} in {count}, {wgpu_alone:?} by hand"
        );
    }
    Ok(())
}
