//! Running one kernel of the roofline.

use std::sync::Arc;
use std::time::Duration;

use foveal_kernels::{AdapterKind, Dtype, ParamValue};
use foveal_shaders::{BindingKind, Library, Request, UniformLayout};
use web_time::Instant;

use crate::device::scope::scoped;
use crate::kernel::binding::Binding;
use crate::prepare::assemble::STORAGE;
use crate::prepare::pipeline::Pipeline;
use crate::{Engine, Error, ErrorKind, prepare::params};

const SCALE: f32 = 0.5;
const OFFSET: f32 = 1.0;

/// Runs that count. The best is taken: disturbances only make a run longer.
const REPEATS: usize = 7;
/// How long one should take: long against the cost of submitting.
const TARGET: Duration = Duration::from_millis(10);
/// Turns of the first run, enough for every chain to converge.
const FIRST_TURNS: u32 = 64;
/// More would make the loads that a lane counts in f32 inexact.
const MAX_TURNS: u32 = 1 << 20;

/// Data to load: this many ones.
#[derive(Clone, Copy, Debug)]
pub(super) struct Data {
    /// A power of two.
    pub(super) len: u32,
}

/// A kernel of the roofline, ready to run.
pub(super) struct Probe<'e> {
    engine: &'e Engine,
    label: String,
    pipeline: Arc<Pipeline>,
    layout: UniformLayout,
    lanes: u32,
    groups: u32,
    params: wgpu::Buffer,
    result: wgpu::Buffer,
    data_len: u32,
    bind_group: wgpu::BindGroup,
}

impl<'e> Probe<'e> {
    pub(super) async fn new(
        engine: &'e Engine,
        name: &str,
        threads: u32,
        tunables: &[(&str, u32)],
        data: Option<Data>,
    ) -> Result<Self, Error> {
        let request = Request::new(format!("roofline/{name}"));
        Self::of(engine, request, threads, tunables, data).await
    }

    /// Of matrices of that side.
    pub(super) async fn of_matrices(
        engine: &'e Engine,
        threads: u32,
        tunables: &[(&str, u32)],
        side: u32,
    ) -> Result<Self, Error> {
        let request = Request::new("roofline/matrix");
        let request = request.replace("shared/matrix", format!("shared/matrix_{side}"));
        Self::of(engine, request, threads, tunables, None).await
    }

    async fn of(
        engine: &'e Engine,
        request: Request,
        threads: u32,
        tunables: &[(&str, u32)],
        data: Option<Data>,
    ) -> Result<Self, Error> {
        let shared = &engine.shared;
        let limits = &shared.profile.limits;
        let label = format!("foveal.{}", request.module.replace('/', "."));
        let mut request = request.tunable("THREADS", threads);
        for (tunable, value) in tunables {
            request = request.tunable(*tunable, *value);
        }
        let compiler = shared.compiler();
        // Not the engine's own library, which need not have these modules.
        let library = Library::builtin();
        let (pipeline, _) =
            shared.pipelines.get(&shared.gpu, library, &request, &label, &compiler, None).await?;
        // Enough lanes for the device to be full.
        let lanes = if shared.profile.kind == AdapterKind::Cpu { 1 << 12 } else { 1 << 19 };
        let groups = lanes / threads;
        let usage = wgpu::BufferUsages::UNIFORM | wgpu::BufferUsages::COPY_DST;
        let params = shared.gpu.buffer(&label, 256, usage, limits).await?;
        let result = shared.gpu.buffer(&label, 4 * u64::from(lanes), STORAGE, limits).await?;
        let data_len = data.map_or(1, |data| data.len);
        let ones = match data {
            Some(Data { len }) => Some(engine.ones(&label, len).await?),
            None => None,
        };
        let mut layout = None;
        let mut entries = Vec::new();
        for binding in &pipeline.interface.bindings {
            let buffer = match (&binding.kind, binding.name.as_str()) {
                (BindingKind::Uniform(of_params), _) => {
                    layout = Some(of_params.clone());
                    Some(&params)
                }
                (_, "result") => Some(&result),
                (_, "data") => ones.as_ref(),
                _ => None,
            };
            let Some(buffer) = buffer else {
                return Err(Error::internal(label, format!("nothing is bound to `{}`", binding.name)));
            };
            entries
                .push(wgpu::BindGroupEntry { binding: binding.index, resource: buffer.as_entire_binding() });
        }
        let (Some(layout), Some(Some(groups_layout))) = (layout, pipeline.layouts.first()) else {
            return Err(Error::internal(label, "the shader has no parameters"));
        };
        let descriptor =
            wgpu::BindGroupDescriptor { label: Some(&label), layout: groups_layout, entries: &entries };
        let (bind_group, caught) =
            scoped(&shared.gpu.device, || shared.gpu.device.create_bind_group(&descriptor));
        caught.check(&label).await?;
        Ok(Self { engine, label, pipeline, layout, lanes, groups, params, result, data_len, bind_group })
    }

    /// Lane operations a nanosecond at best, if a turn of a lane is `operations`. Every lane has to end at one of the
    /// values that `expected` gives for a number of turns.
    pub(super) async fn rate(
        &self,
        operations: u32,
        expected: impl Fn(u32) -> Vec<f64>,
    ) -> Result<f64, Error> {
        // The first run compiles on some drivers and is not looked at.
        self.run(FIRST_TURNS).await?;
        let mut turns = FIRST_TURNS;
        let mut time = self.run(turns).await?;
        let max = self.max_turns();
        while time < TARGET / 4 && turns < max {
            turns = (turns * 4).min(max);
            time = self.run(turns).await?;
        }
        let target = f64::from(turns) * TARGET.as_secs_f64() / time.as_secs_f64().max(1e-9);
        #[expect(
            clippy::cast_possible_truncation,
            clippy::cast_sign_loss,
            reason = "clamped to a small range"
        )]
        let turns = target.clamp(f64::from(FIRST_TURNS), f64::from(max)) as u32;
        self.best(turns, operations, &expected(turns)).await
    }

    /// As [`Probe::rate`], with as many turns as it takes to go through the data once.
    pub(super) async fn stream_rate(
        &self,
        chains: u32,
        expected: impl Fn(u32) -> Vec<f64>,
    ) -> Result<f64, Error> {
        let turns = (self.data_len / (self.lanes * chains)).max(1);
        self.run(turns).await?;
        self.best(turns, chains, &expected(turns)).await
    }

    /// As many as the adapter's driver lets a loop make.
    fn max_turns(&self) -> u32 {
        let max = self.engine.profile().loop_turns.map_or(MAX_TURNS, |max| {
            // Loops within the measured one, of few turns, take some too where they are not unrolled.
            u32::try_from(max / 2).unwrap_or(MAX_TURNS)
        });
        max.clamp(FIRST_TURNS, MAX_TURNS)
    }

    async fn best(&self, turns: u32, operations: u32, expected: &[f64]) -> Result<f64, Error> {
        let mut best = Duration::MAX;
        for _ in 0..REPEATS {
            best = best.min(self.run(turns).await?);
        }
        self.verify(expected).await?;
        let lanes = f64::from(self.lanes);
        let total = lanes * f64::from(turns) * f64::from(operations);
        Ok(total / (best.as_secs_f64() * 1e9))
    }

    /// How long the kernel takes.
    async fn run(&self, turns: u32) -> Result<Duration, Error> {
        let gpu = &self.engine.shared.gpu;
        let values = [
            ("turns".into(), ParamValue::U32(turns)),
            ("scale".into(), ParamValue::F32(SCALE)),
            ("offset".into(), ParamValue::F32(OFFSET)),
            ("data_len".into(), ParamValue::U32(self.data_len)),
        ];
        let mut given = params::PassParams::new(&values, &self.label);
        let bytes = given.bytes("params", &self.layout)?;
        given.finish()?;
        gpu.write(&self.params, 0, &bytes).await?;
        // The parameters are on their way before the clock starts.
        gpu.submit(&self.label, |_| Ok(())).await?;
        let started = Instant::now();
        let dispatch = |encoder: &mut wgpu::CommandEncoder| {
            let descriptor = wgpu::ComputePassDescriptor { label: Some(&self.label), timestamp_writes: None };
            let mut pass = encoder.begin_compute_pass(&descriptor);
            pass.set_pipeline(&self.pipeline.pipeline);
            pass.set_bind_group(0, &self.bind_group, &[]);
            pass.dispatch_workgroups(self.groups, 1, 1);
            Ok(())
        };
        let index = gpu.submit(&self.label, dispatch).await?;
        gpu.wait(&index).await?;
        Ok(started.elapsed())
    }

    /// Whether every lane ended at one of the `expected` values.
    async fn verify(&self, expected: &[f64]) -> Result<(), Error> {
        let count = self.lanes as usize;
        let result = self.engine.read_back(Binding::from(&self.result), &[count], Dtype::F32).await?;
        let near = |value: f64| expected.iter().any(|e| (value - e).abs() <= 1e-3 * e.abs().max(1.0));
        match result.to_f64().iter().position(|&value| !near(value)) {
            None => Ok(()),
            Some(lane) => {
                let got = result.to_f64()[lane];
                let message = format!("lane {lane} computed {got}, expected one of {expected:?}");
                Err(Error::new(ErrorKind::Driver, self.label.clone(), message))
            }
        }
    }
}

impl Engine {
    /// A buffer of ones.
    async fn ones(&self, label: &str, len: u32) -> Result<wgpu::Buffer, Error> {
        let buffer = self.buffer(label, 4 * u64::from(len)).await?;
        let chunk = 1.0_f32.to_le_bytes().repeat((len as usize).min(1 << 20));
        for offset in (0..4 * u64::from(len)).step_by(chunk.len()) {
            self.shared.gpu.write(&buffer, offset, &chunk).await?;
        }
        // Nothing of this is to be measured.
        let index = self.shared.gpu.submit(label, |_| Ok(())).await?;
        self.shared.gpu.wait(&index).await?;
        Ok(buffer)
    }
}
