//! What recording costs: not one allocation or wgpu object more than wgpu's own commands do, and microseconds.

use std::time::{Duration, Instant};

use allocation_counter::measure;
use anyhow::{Result, ensure};
use foveal::{Constraints, Engine, Kernel, wgpu};
use foveal_kernels::attention::Attention;
use foveal_kernels::{Problem, operator};
use foveal_tests::host::{Host, bound};
use foveal_tests::{harness, say};
use pollster::block_on;

use crate::{host_or_skip, options, turn};

/// What a host would write itself: pipelines of its own, and as many commands as a kernel records.
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
    let attention: Box<dyn Problem> = Box::new(Attention::new([1, 4, 300, 32], [1, 4, 300, 32]).causal());
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
                let tensor_spec = kernel.plan().tensors.iter().find(|tensor_spec| tensor_spec.name == name)?;
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

#[test]
fn recording_allocates_what_wgpus_own_commands_do_and_makes_no_object() -> Result<()> {
    let _turn = turn();
    let host = host_or_skip!();
    let engine = Engine::from_device_with(host.device.clone(), host.queue.clone(), options())?;
    let by_hand = ByHand::new(&host);
    for (kernel, inputs) in kernels(&engine)? {
        let passes = kernel.plan().passes.len();
        let pipelines = kernel.plan().requests().len();
        let tensors = host.tensors(&kernel, &inputs);
        let bound = bound(&tensors);
        kernel.encode(&mut host.encoder(), &bound)?;

        let objects = |host: &Host| {
            let report = host.instance.generate_report().map(|report| report.hub);
            report.map(|hub| {
                [hub.buffers, hub.bind_groups, hub.bind_group_layouts, hub.compute_pipelines, hub.query_sets]
                    .map(|registry| registry.num_allocated)
            })
        };
        let before = objects(&host);
        let (mut ours, mut theirs) = (host.encoder(), host.encoder());
        let mut pass = ours.begin_compute_pass(&wgpu::ComputePassDescriptor::default());
        let mut result = Ok(());
        let foveal = measure(|| {
            result = (0..RUNS).try_for_each(|_| kernel.encode_in_pass(&mut pass, &bound));
        });
        result?;
        drop(pass);
        let mut pass = theirs.begin_compute_pass(&wgpu::ComputePassDescriptor::default());
        let wgpu_alone = measure(|| (0..RUNS).for_each(|_| by_hand.record(&mut pass, passes)));
        drop(pass);
        ensure!(before.is_some() && objects(&host) == before, "{before:?} became {:?}", objects(&host));
        say(&format!(
            "{RUNS} x {} passes in one compute pass: {} allocations, by hand {}",
            passes, foveal.count_total, wgpu_alone.count_total
        ));
        // What grows is wgpu's list of commands: a handful of doublings for thousands of them. A kernel sets fewer pipelines
        // than it has passes.
        ensure!(foveal.count_total <= wgpu_alone.count_total, "{foveal:?} by Foveal, {wgpu_alone:?} by hand");
        ensure!(pipelines <= passes);

        // The same in one call: the list of runs is kept from one to the next.
        let runs = vec![&bound[..]; RUNS];
        kernel.encode_runs(&mut host.encoder(), &runs)?;
        let (mut ours, mut theirs) = (host.encoder(), host.encoder());
        let mut result = Ok(());
        let foveal = measure(|| result = kernel.encode_runs(&mut ours, &runs));
        result?;
        let label = kernel.plan().passes.first().map(|pass| pass.label.as_str());
        let wgpu_alone = measure(|| {
            let descriptor = wgpu::ComputePassDescriptor { label, timestamp_writes: None };
            let mut pass = theirs.begin_compute_pass(&descriptor);
            (0..RUNS).for_each(|_| by_hand.record(&mut pass, passes));
        });
        ensure!(before.is_some() && objects(&host) == before, "{before:?} became {:?}", objects(&host));
        ensure!(foveal.count_total <= wgpu_alone.count_total, "{foveal:?} by Foveal, {wgpu_alone:?} by hand");

        // A compute pass of its own, as `encode` makes it.
        let (mut ours, mut theirs) = (host.encoder(), host.encoder());
        let mut result = Ok(());
        let foveal = measure(|| result = kernel.encode(&mut ours, &bound));
        result?;
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
fn jobs_allocate_nothing_after_their_first_slice() -> Result<()> {
    let _turn = turn();
    let host = host_or_skip!();
    let engine = Engine::from_device_with(host.device.clone(), host.queue.clone(), options())?;
    let by_hand = ByHand::new(&host);
    for (kernel, inputs) in kernels(&engine)? {
        let tensors = host.tensors(&kernel, &inputs);
        let bound = bound(&tensors);
        let slices = block_on(kernel.slices(Duration::from_nanos(1)))?;
        let mut job = block_on(slices.start())?;
        job.encode(&mut host.encoder(), &bound)?;
        let (mut ours, mut theirs) = (host.encoder(), host.encoder());
        let mut pass = ours.begin_compute_pass(&wgpu::ComputePassDescriptor::default());
        let mut result = Ok(());
        let mut count = 0;
        let foveal = measure(|| {
            while !job.progress().finished && result.is_ok() {
                result = job.encode_in_pass(&mut pass, &bound).map(|_| count += 1);
            }
        });
        result?;
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

#[test]
fn recording_takes_microseconds() -> Result<()> {
    let _turn = turn();
    let host = host_or_skip!();
    let engine = Engine::from_device_with(host.device.clone(), host.queue.clone(), options())?;
    for (kernel, inputs) in kernels(&engine)? {
        let tensors = host.tensors(&kernel, &inputs);
        let bound = bound(&tensors);
        kernel.encode(&mut host.encoder(), &bound)?;
        let mut times = Vec::new();
        for _ in 0..50 {
            let mut encoder = host.encoder();
            let started = Instant::now();
            for _ in 0..10 {
                kernel.encode(&mut encoder, &bound)?;
            }
            times.push(started.elapsed() / 10);
        }
        times.sort_unstable();
        let median = times[times.len() / 2];
        say(&format!(
            "recording {} passes takes {median:?}, the slowest {:?}",
            kernel.plan().passes.len(),
            times[49]
        ));
        ensure!(median < Duration::from_micros(20), "{median:?}");
    }
    Ok(())
}
