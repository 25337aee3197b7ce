//! Opening what the tests run on.

use std::sync::{Mutex, MutexGuard, PoisonError, TryLockError};

use anyhow::{Result, bail};
use foveal::{AdapterProfile, Engine, ErrorKind, Options, SelfCheck};
use pollster::block_on;

use crate::{say, skipped};

/// Options that leave no trace on disk and find none. Self-checks are on: each distinct kernel is checked once, so a
/// self-check that fails a good kernel would be seen.
#[must_use]
pub fn options() -> Options {
    Options { cache_dir: None, self_check: SelfCheck::On, ..Options::default() }
}

/// An engine, or `None` where there is no adapter: then the test is skipped, and says so.
///
/// # Errors
/// If the adapter cannot be opened; or there is none and `FOVEAL_REQUIRE_GPU=1` requires one.
pub fn engine_with(what: &str, options: Options) -> Result<Option<Engine>> {
    match block_on(Engine::new(options)) {
        Ok(engine) => Ok(Some(engine)),
        Err(error) if error.kind() == ErrorKind::NoAdapter => {
            if std::env::var("FOVEAL_REQUIRE_GPU").is_ok_and(|value| value == "1") {
                bail!("an adapter is required (FOVEAL_REQUIRE_GPU=1): {error}");
            }
            skipped(what, &error.to_string());
            Ok(None)
        }
        Err(error) => Err(error.into()),
    }
}

/// An engine that tests share, for as long as a test holds it.
///
/// One test at a time: with two threads that submit to one device, wgpu 30 can panic while it polls
/// (<https://github.com/gfx-rs/wgpu/pull/9958>), which says nothing about kernels.
#[derive(Debug)]
pub struct Turn {
    engine: MutexGuard<'static, Option<Engine>>,
}

impl std::ops::Deref for Turn {
    type Target = Engine;

    fn deref(&self) -> &Engine {
        match &*self.engine {
            Some(engine) => engine,
            None => unreachable!("a turn begins with an engine"),
        }
    }
}

/// Engines that tests of a process share. Software drivers compile a pipeline on one core: a second engine keeps another
/// one busy, while more would compile the same pipelines again.
static ENGINES: [Mutex<Option<Engine>>; 2] = [Mutex::new(None), Mutex::new(None)];

/// The first engine that no test holds, so that most pipelines are compiled once. See [`engine_with`].
///
/// # Errors
/// As [`engine_with`].
pub fn shared(what: &str) -> Result<Option<Turn>> {
    let free = |engine: &'static Mutex<Option<Engine>>| match engine.try_lock() {
        Ok(engine) => Some(engine),
        Err(TryLockError::Poisoned(failed)) => Some(failed.into_inner()),
        Err(TryLockError::WouldBlock) => None,
    };
    let [first, _] = &ENGINES;
    let taken = || first.lock().unwrap_or_else(PoisonError::into_inner);
    let mut engine = ENGINES.iter().find_map(free).unwrap_or_else(taken);
    if engine.is_none() {
        let Some(opened) = engine_with(what, options())? else { return Ok(None) };
        say(&format!("tests run on {}", opened.profile().key()));
        *engine = Some(opened);
    }
    Ok(Some(Turn { engine }))
}

/// An engine on the same device that takes any plan: for plans that no planner makes for this adapter, whose canonical
/// problems the self-check could not plan.
///
/// # Errors
/// If the device is lost.
pub fn unchecked(engine: &Engine) -> Result<Engine> {
    let options = Options { self_check: SelfCheck::Off, ..options() };
    Ok(Engine::from_device_with(engine.device().clone(), engine.queue().clone(), options)?)
}

/// A device of wgpu's noop backend that looks like `like`: it validates everything and runs nothing.
///
/// # Errors
/// If the backend does not open.
pub fn noop(like: &AdapterProfile) -> Result<(wgpu::Device, wgpu::Queue)> {
    let ours = &like.limits;
    let limits = wgpu::Limits {
        max_storage_buffers_per_shader_stage: ours.max_storage_buffers_per_shader_stage,
        max_storage_buffer_binding_size: ours.max_storage_buffer_binding_size,
        max_buffer_size: ours.max_buffer_size,
        min_storage_buffer_offset_alignment: ours.min_storage_buffer_offset_alignment,
        min_uniform_buffer_offset_alignment: ours.min_uniform_buffer_offset_alignment,
        max_uniform_buffer_binding_size: ours.max_uniform_buffer_binding_size,
        max_compute_workgroup_storage_size: ours.max_compute_workgroup_storage_size,
        max_compute_invocations_per_workgroup: ours.max_compute_invocations_per_workgroup,
        max_compute_workgroup_size_x: ours.max_compute_workgroup_size_x,
        max_compute_workgroups_per_dimension: ours.max_compute_workgroups_per_dimension,
        ..wgpu::Limits::default()
    };
    let subgroups = like.features.subgroups;
    let features = if subgroups.is_some() { wgpu::Features::SUBGROUP } else { wgpu::Features::empty() };
    let mut descriptor = wgpu::InstanceDescriptor::new_without_display_handle();
    descriptor.backends = wgpu::Backends::NOOP;
    descriptor.backend_options.noop = wgpu::NoopBackendOptions {
        enable: true,
        limits: Some(limits.clone()),
        features: Some(features),
        device_type: None,
        subgroup_min_size: subgroups.map(|(min, _)| min),
        subgroup_max_size: subgroups.map(|(_, max)| max),
    };
    let instance = wgpu::Instance::new(descriptor);
    let adapter = block_on(instance.request_adapter(&wgpu::RequestAdapterOptions::default()))?;
    let descriptor = wgpu::DeviceDescriptor {
        label: Some("noop"),
        required_features: features,
        required_limits: limits,
        ..wgpu::DeviceDescriptor::default()
    };
    Ok(block_on(adapter.request_device(&descriptor))?)
}
