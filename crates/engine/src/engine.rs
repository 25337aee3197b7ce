//! The engine: a device and what is kept with it.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::sync::{Arc, Mutex, OnceLock};

use foveal_kernels::{AdapterProfile, Constraints, Plan, Problem, Rates};

use crate::device::gpu::{Gpu, lock};
use crate::device::profile::profile;
use crate::device::store::{KnownFacts, PassedChecks, StoredPipelines};
use crate::memory::pool::Pool;
use crate::prepare::pipeline::{Compiler, Pipelines};
use crate::{Error, Options, SelfCheck, device::adapters, device::matrix};

/// A device, and everything that is kept with it: compiled shaders, idle buffers, which variants are trusted.
///
/// Cloning is cheap and gives the same engine. It can be used from several threads at a time.
#[derive(Clone)]
pub struct Engine {
    pub(crate) shared: Arc<Shared>,
    /// Apart from the rest because rates may be replaced.
    pub(crate) profile: Arc<AdapterProfile>,
    /// The same with what was measured of the adapter, once that is known.
    complete: OnceLock<Arc<AdapterProfile>>,
}

impl fmt::Debug for Engine {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Engine").field("adapter", &self.profile.key()).finish_non_exhaustive()
    }
}

/// State that all clones of an engine and all of its kernels share.
pub(crate) struct Shared {
    pub(crate) gpu: Gpu,
    /// Whether the engine opened the device.
    own: bool,
    pub(crate) profile: AdapterProfile,
    pub(crate) options: Options,
    pub(crate) pipelines: Pipelines,
    pub(crate) pool: Arc<Pool>,
    /// Variants that failed on this device, by operator and name, with the reason.
    pub(crate) refused: Mutex<BTreeMap<(&'static str, String), String>>,
    pub(crate) passed: PassedChecks,
    pub(crate) facts: KnownFacts,
    /// The side of the matrices that the device is probed for.
    pub(crate) matrix_side: Option<u32>,
    pub(crate) stored: Option<StoredPipelines>,
}

impl Engine {
    /// Opens an adapter with a device of the engine's own.
    ///
    /// # Errors
    /// [`ErrorKind::NoAdapter`](crate::ErrorKind::NoAdapter) if there is no adapter, none that fits `options.adapter`
    /// (the message lists those there are), or if the driver does not open it; as [`Engine::prepare`] if it does not run what
    /// measures it.
    pub async fn new(options: Options) -> Result<Self, Error> {
        let (device, queue, side) = adapters::open(&options).await?;
        let gpu = Gpu::own(device, queue, options.wait_limit);
        let engine = Self::with_gpu(gpu, options, Some(side));
        engine.learn().await?;
        Ok(engine)
    }

    /// An engine on a device of the host's, with default options.
    ///
    /// The engine keeps to the features and limits that the device was opened with: what is missing costs speed, or sizes
    /// that are refused, never correctness. [`Engine::desired_features`] and [`Engine::desired_limits`] tell what to ask for.
    /// No handler is installed on the device. [`Engine::prepare`], [`Engine::run`] and the other `async` functions here
    /// submit to `queue` and poll the device, which may run the host's callbacks;
    /// [`BoundKernel::encode`](crate::BoundKernel::encode) does neither.
    ///
    /// # Errors
    /// [`ErrorKind::DeviceLost`](crate::ErrorKind::DeviceLost) if the device is lost already;
    /// [`ErrorKind::Limit`](crate::ErrorKind::Limit) if it was opened with fewer bind groups or uniform buffers than WebGPU
    /// guarantees, and than kernels have.
    pub fn from_device(device: wgpu::Device, queue: wgpu::Queue) -> Result<Self, Error> {
        Self::from_device_with(device, queue, Options::default())
    }

    /// As [`Engine::from_device`], with options.
    ///
    /// # Errors
    /// As [`Engine::from_device`].
    pub fn from_device_with(
        device: wgpu::Device,
        queue: wgpu::Queue,
        options: Options,
    ) -> Result<Self, Error> {
        check_layouts(&device.limits())?;
        let gpu = Gpu::borrowed(device, queue, options.wait_limit);
        gpu.probe_now()?;
        Ok(Self::with_gpu(gpu, options, None))
    }

    /// Features that make the engine faster, as far as the adapter has them. None is needed: a host adds them to its own
    /// when it asks for a device.
    ///
    /// `SUBGROUP` and `SUBGROUP_BARRIER` are for drivers that run on the CPU, `TIMESTAMP_QUERY` for measuring and for
    /// [`Slices::calibrate`](crate::Slices::calibrate); `SHADER_F16` and `PIPELINE_CACHE` cost nothing. Matrix units are not
    /// among them, because a device has to ask for experimental features in a way of its own: see [`Engine::matrix_side`].
    #[must_use]
    pub fn desired_features(adapter: &wgpu::Adapter) -> wgpu::Features {
        adapter.features() & adapters::useful()
    }

    /// Limits that let the engine serve all that the adapter can: WebGPU's default ones, with those that compute kernels and
    /// large tensors run into raised to the adapter's. A host takes the better of these and its own.
    #[must_use]
    pub fn desired_limits(adapter: &wgpu::Adapter) -> wgpu::Limits {
        let max = adapter.limits();
        wgpu::Limits {
            max_buffer_size: max.max_buffer_size,
            max_storage_buffer_binding_size: max.max_storage_buffer_binding_size,
            max_storage_buffers_per_shader_stage: max.max_storage_buffers_per_shader_stage,
            max_compute_workgroup_storage_size: max.max_compute_workgroup_storage_size,
            max_compute_invocations_per_workgroup: max.max_compute_invocations_per_workgroup,
            max_compute_workgroup_size_x: max.max_compute_workgroup_size_x,
            max_compute_workgroups_per_dimension: max.max_compute_workgroups_per_dimension,
            min_storage_buffer_offset_alignment: max.min_storage_buffer_offset_alignment,
            min_uniform_buffer_offset_alignment: max.min_uniform_buffer_offset_alignment,
            ..wgpu::Limits::default().or_worse_values_from(&max)
        }
    }

    /// An engine in place of one whose device was lost: opens an adapter anew, as [`Engine::new`] did with the same options.
    ///
    /// Nothing of the old device can be used with it: tensors have to be uploaded and kernels prepared again
    /// (`engine.prepare(old.plan())`). Where it is the same adapter, variants that were refused stay refused, and measured
    /// rates stay.
    ///
    /// # Errors
    /// As [`Engine::new`]; [`ErrorKind::Usage`](crate::ErrorKind::Usage) for an engine on a device of the host's, which is
    /// to use [`Engine::recreate_on`].
    pub async fn recreate(&self) -> Result<Self, Error> {
        if !self.shared.own {
            let message = "its device is the host's: open another and call `recreate_on`";
            return Err(Error::usage("engine", message));
        }
        Ok(Self::new(self.shared.options.clone()).await?.heir_of(self))
    }

    /// As [`Engine::recreate`], on a new device of the host's.
    ///
    /// # Errors
    /// As [`Engine::from_device`].
    pub fn recreate_on(&self, device: wgpu::Device, queue: wgpu::Queue) -> Result<Self, Error> {
        Ok(Self::from_device_with(device, queue, self.shared.options.clone())?.heir_of(self))
    }

    /// With what another engine has learnt of the same adapter.
    fn heir_of(self, other: &Self) -> Self {
        if self.profile.key() != other.profile.key() {
            return self;
        }
        lock(&self.shared.refused).extend(lock(&other.shared.refused).clone());
        if other.profile.rates.measured { self.with_rates(other.profile.rates) } else { self }
    }

    /// `opened` is the side of matrices that a device of the engine's own was opened for.
    fn with_gpu(gpu: Gpu, options: Options, opened: Option<Option<u32>>) -> Self {
        let own = opened.is_some();
        let info = gpu.device.adapter_info();
        let mut profile = profile(&info, gpu.device.features(), &gpu.device.limits());
        if own && options.subgroups && info.subgroup_min_size > 0 {
            profile.features.subgroups = Some((info.subgroup_min_size, info.subgroup_max_size));
        }
        let stored = options
            .cache_dir
            .as_deref()
            .filter(|_| own && profile.features.pipeline_cache)
            .and_then(|dir| StoredPipelines::open(dir, &gpu.device, &info, &profile));
        let passed = PassedChecks::new(options.cache_dir.as_deref(), &profile);
        let again = options.self_check == SelfCheck::Again;
        let matrix_side = matrix::to_probe(options.matrix, opened.flatten(), &gpu.device, &profile);
        let facts = KnownFacts::new(options.cache_dir.as_deref(), &profile, matrix_side, again);
        let shared = Shared {
            gpu,
            own,
            profile: profile.clone(),
            options,
            pipelines: Pipelines::default(),
            pool: Arc::default(),
            refused: Mutex::default(),
            passed,
            facts,
            matrix_side,
            stored,
        };
        Self::of(Arc::new(shared), profile)
    }

    /// An engine on what others share.
    pub(crate) fn of(shared: Arc<Shared>, profile: AdapterProfile) -> Self {
        Self { shared, profile: Arc::new(profile), complete: OnceLock::new() }
    }

    /// The device's profile, for which plans are made. Measured values are part of it once they are known:
    /// on the host's device from the first [`Engine::prepare`] on, or from the beginning where it was measured before.
    #[must_use]
    pub fn profile(&self) -> &AdapterProfile {
        match self.shared.facts.get() {
            Some(facts) => self.complete.get_or_init(|| Arc::new(facts.of(&self.profile))),
            None => &self.profile,
        }
    }

    /// This engine with other rates, such as measured ones, for the cost model. Device and caches stay shared.
    #[must_use]
    pub fn with_rates(&self, rates: Rates) -> Self {
        let profile = AdapterProfile { rates, ..(*self.profile).clone() };
        Self::of(Arc::clone(&self.shared), profile)
    }

    /// The device.
    #[must_use]
    pub fn device(&self) -> &wgpu::Device {
        &self.shared.gpu.device
    }

    /// The device's queue.
    #[must_use]
    pub fn queue(&self) -> &wgpu::Queue {
        &self.shared.gpu.queue
    }

    /// Plans a problem for this adapter. Variants that were refused here are passed over.
    ///
    /// # Errors
    /// As [`Problem::plan`].
    pub fn plan(&self, problem: &dyn Problem) -> Result<Plan, Error> {
        self.plan_with(problem, &Constraints::default())
    }

    /// As [`Engine::plan`], with constraints of the caller's.
    ///
    /// # Errors
    /// As [`Problem::plan`].
    pub fn plan_with(&self, problem: &dyn Problem, constraints: &Constraints) -> Result<Plan, Error> {
        let mut constraints = constraints.clone();
        constraints.refused.extend(self.refused(problem.operator()));
        // No cut between workgroups would help where one of them takes too long.
        let longest = self.shared.options.longest_submission;
        constraints.workgroup_time = constraints.workgroup_time.or((!longest.is_zero()).then_some(longest));
        Ok(problem.plan(self.profile(), &constraints)?)
    }

    /// The variants of an operator that failed on this adapter since the engine was made.
    #[must_use]
    pub fn refused(&self, operator: &str) -> BTreeSet<String> {
        let refused = lock(&self.shared.refused);
        refused.keys().filter(|(op, _)| *op == operator).map(|(_, variant)| variant.clone()).collect()
    }

    /// Why the device was lost, once it is. A host that opened the device itself is told first: this is then ready only
    /// after the engine noticed.
    pub async fn lost(&self) -> Error {
        self.shared.gpu.lost().await
    }

    /// Tells the engine that the device is lost: a host's own callback knows first, and from then on all that needs the
    /// device returns [`ErrorKind::DeviceLost`](crate::ErrorKind::DeviceLost) at once. Recording
    /// ([`BoundKernel::encode`](crate::BoundKernel::encode)) does not ask, and is to no effect.
    pub fn mark_lost(&self, reason: &str) {
        self.shared.gpu.mark_lost(reason.to_owned());
    }

    /// Bytes of GPU memory that the engine holds for later use.
    #[must_use]
    pub fn idle_bytes(&self) -> u64 {
        self.shared.pool.idle_bytes()
    }

    /// Gives memory that is held for later use back to the driver.
    pub fn trim(&self) {
        self.shared.pool.clear();
    }
}

/// Checks the limits that the pipeline layout of every kernel needs.
fn check_layouts(limits: &wgpu::Limits) -> Result<(), Error> {
    let needed = [
        ("max_bind_groups", limits.max_bind_groups, 2),
        (
            "max_dynamic_uniform_buffers_per_pipeline_layout",
            limits.max_dynamic_uniform_buffers_per_pipeline_layout,
            1,
        ),
        ("max_uniform_buffers_per_shader_stage", limits.max_uniform_buffers_per_shader_stage, 4),
    ];
    match needed.into_iter().find(|(_, allowed, min)| allowed < min) {
        None => Ok(()),
        Some((limit, allowed, min)) => {
            Err(Error::limit(limit, format!("kernels need {min}, the device allows {allowed}")))
        }
    }
}

impl Shared {
    pub(crate) fn compiler(&self) -> Compiler<'_> {
        Compiler {
            profile: &self.profile,
            cache: self.stored.as_ref().map(StoredPipelines::cache),
            runtime_checks: self.options.runtime_checks,
        }
    }

    pub(crate) fn refuse(&self, plan: &Plan, reason: &Error) {
        log::warn!(
            "{} variant {} is refused on {}: {reason}",
            plan.operator,
            plan.variant,
            self.profile.key()
        );
        lock(&self.refused).insert((plan.operator, plan.variant.clone()), reason.to_string());
    }
}
