//! The engine: a device and what is kept with it.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::sync::{Arc, Mutex};

use foveal_kernels::{AdapterProfile, Constraints, Plan, Problem, Rates};

use crate::gpu::{Gpu, lock};
use crate::pipeline::{Compiler, Pipelines};
use crate::pool::Pool;
use crate::profile::profile;
use crate::store::{PassedChecks, StoredPipelines};
use crate::{Error, Options, adapters};

/// A device, and everything that is kept with it: compiled shaders, idle buffers, which variants are trusted.
///
/// Cloning is cheap and gives the same engine. It can be used from several threads at a time.
#[derive(Clone)]
pub struct Engine {
    pub(crate) shared: Arc<Shared>,
    /// Apart from the rest because rates may be replaced.
    pub(crate) profile: Arc<AdapterProfile>,
}

impl fmt::Debug for Engine {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Engine").field("adapter", &self.profile.key()).finish_non_exhaustive()
    }
}

/// What all clones of an engine and all of its kernels have in common.
pub(crate) struct Shared {
    pub(crate) gpu: Gpu,
    pub(crate) profile: AdapterProfile,
    pub(crate) options: Options,
    pub(crate) pipelines: Pipelines,
    pub(crate) pool: Arc<Pool>,
    /// Variants that failed on this device, by operator and name, with the reason.
    pub(crate) refused: Mutex<BTreeMap<(&'static str, String), String>>,
    pub(crate) passed: PassedChecks,
    pub(crate) stored: Option<StoredPipelines>,
}

impl Engine {
    /// Opens an adapter with a device of the engine's own.
    ///
    /// # Errors
    /// [`ErrorKind::NoAdapter`](crate::ErrorKind::NoAdapter) if there is no adapter, none that fits `options.adapter`
    /// (the message lists those there are), or if the driver does not open it.
    pub async fn new(options: Options) -> Result<Self, Error> {
        let (device, queue) = adapters::open(&options.adapter, options.floor).await?;
        let gpu = Gpu::own(device, queue, options.wait_limit);
        Ok(Self::with_gpu(gpu, options, true))
    }

    /// An engine on a device of the host's, with default options.
    ///
    /// The engine uses the features and limits that the device was opened with. For speed, ask for
    /// `SUBGROUP` and `SHADER_F16` where the adapter has them, and for the adapter's limits. No handler is installed on
    /// the device. [`Engine::prepare`], [`Engine::run`] and whatever else is `async` here submit to `queue` and poll
    /// the device, which may run the host's callbacks; [`Kernel::encode`](crate::Kernel::encode) does neither.
    ///
    /// # Errors
    /// [`ErrorKind::DeviceLost`](crate::ErrorKind::DeviceLost) if the device is lost already.
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
        let gpu = Gpu::borrowed(device, queue, options.wait_limit);
        gpu.probe_now()?;
        Ok(Self::with_gpu(gpu, options, false))
    }

    fn with_gpu(gpu: Gpu, options: Options, own: bool) -> Self {
        let info = gpu.device.adapter_info();
        let profile = profile(&info, gpu.device.features(), &gpu.device.limits());
        let stored = options
            .cache_dir
            .as_deref()
            .filter(|_| own && profile.features.pipeline_cache)
            .and_then(|dir| StoredPipelines::open(dir, &gpu.device, &info, &profile));
        let passed = PassedChecks::new(options.cache_dir.as_deref(), &profile);
        let shared = Shared {
            gpu,
            profile: profile.clone(),
            options,
            pipelines: Pipelines::default(),
            pool: Arc::default(),
            refused: Mutex::default(),
            passed,
            stored,
        };
        Self { shared: Arc::new(shared), profile: Arc::new(profile) }
    }

    /// What the device can do, which is what plans are made for.
    #[must_use]
    pub fn profile(&self) -> &AdapterProfile {
        &self.profile
    }

    /// This engine with other rates, such as measured ones, for the cost model. Device and caches stay shared.
    #[must_use]
    pub fn with_rates(&self, rates: Rates) -> Self {
        let profile = AdapterProfile { rates, ..(*self.profile).clone() };
        Self { shared: Arc::clone(&self.shared), profile: Arc::new(profile) }
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
        Ok(problem.plan(&self.profile, &constraints)?)
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
