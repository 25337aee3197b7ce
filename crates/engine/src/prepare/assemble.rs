//! From a plan to a kernel: compile, check, fall back.

use std::sync::{Arc, Mutex};

use foveal_kernels::{BoundTo, Constraints, Pass, Plan, RejectedVariant, TensorSpec};

use crate::device::gpu::lock;
use crate::engine::Shared;
use crate::kernel::dispatch_offsets::DispatchOffsets;
use crate::kernel::grid_partition::GridPartition;
use crate::kernel::kernel_pass::{KernelPass, Slot, SlotSource};
use crate::kernel::prepared::{Inner, Kernel, Scratch, SelfCheckReport};
use crate::prepare::pipeline::{Pipeline, is_grid, is_storage};
use crate::{Engine, Error, ErrorKind, prepare::params};

/// Bytes of the buffers that empty tensors are bound to.
const EMPTY_BYTES: u64 = 256;

pub(crate) const STORAGE: wgpu::BufferUsages =
    wgpu::BufferUsages::STORAGE.union(wgpu::BufferUsages::COPY_SRC).union(wgpu::BufferUsages::COPY_DST);

/// Passes may also leave counts of workgroups.
pub(crate) const SCRATCH: wgpu::BufferUsages = STORAGE.union(wgpu::BufferUsages::INDIRECT);

impl Engine {
    /// Compiles a plan's shaders and, unless that has happened before, runs a small case of its variant and compares
    /// the result with the reference. A variant that does not compile here, or that computes wrong results, is refused
    /// for the engine's life, and the next one is taken; [`Kernel::refused`] and the log say so.
    ///
    /// The plan has to be made for this engine's [`profile`](Engine::profile), rates included. One that was made before it was
    /// known after how many turns the driver ends loops, and has more, is made again ([`Kernel::plan`]).
    ///
    /// All of the device's errors surface here. Natively, compiling and the check happen on the thread that polls the
    /// future, which is ready when first polled.
    ///
    /// # Errors
    /// [`ErrorKind::Refused`] naming every variant if none is left; [`ErrorKind::Limit`] if the plan was made for a
    /// larger adapter; [`ErrorKind::OutOfMemory`], [`ErrorKind::DeviceLost`], [`ErrorKind::Timeout`].
    pub async fn prepare(&self, plan: &Plan) -> Result<Kernel, Error> {
        self.learn().await?;
        let mut refused: Vec<RejectedVariant> = Vec::new();
        let mut next = self.refitted(plan, false)?;
        loop {
            let plan = next.as_ref().unwrap_or(plan);
            let error = match self.trust(plan).await {
                Ok((pipelines, report)) => return self.finish(plan, pipelines, refused, report).await,
                Err(error) if error.is_the_variants() => error,
                Err(error) => return Err(error),
            };
            refused.push(RejectedVariant { variant: plan.variant.clone(), reason: error.to_string() });
            // The engine remembers what it refuses, so the planner is told.
            let constraints = Constraints { variant: None, ..plan.constraints.clone() };
            let replanned = self.plan_with(&*plan.problem, &constraints);
            next = match replanned {
                Ok(plan) if refused.iter().all(|rejected| rejected.variant != plan.variant) => Some(plan),
                Ok(plan) => return Err(none_left(plan.operator, &refused, "the planner has no other")),
                Err(error) => return Err(none_left(plan.operator, &refused, &error.to_string())),
            };
        }
    }

    /// As [`Engine::prepare`], but only the plan's own variant will do.
    ///
    /// # Errors
    /// As [`Engine::prepare`]; the variant's own error is returned as it is.
    pub async fn prepare_exact(&self, plan: &Plan) -> Result<Kernel, Error> {
        self.learn().await?;
        let refitted = self.refitted(plan, true)?;
        let plan = refitted.as_ref().unwrap_or(plan);
        let (pipelines, report) = self.trust(plan).await?;
        self.finish(plan, pipelines, Vec::new(), report).await
    }

    /// The plan's pipelines, and why they can be trusted. A variant that cannot be is refused for the engine's life.
    async fn trust(&self, plan: &Plan) -> Result<(Vec<Arc<Pipeline>>, SelfCheckReport), Error> {
        let shared = &self.shared;
        shared.gpu.check()?;
        let known = lock(&shared.refused).get(&(plan.operator, plan.variant.clone())).cloned();
        if let Some(reason) = known {
            return Err(Error::new(ErrorKind::Refused, format!("variant {}", plan.variant), reason));
        }
        let trusted = async {
            let pipelines = self.compile(plan).await?;
            let report = self.check_variant(plan, &pipelines).await?;
            Ok((pipelines, report))
        };
        let trusted = shared.gpu.explained(trusted.await).await;
        if let Err(error) = &trusted
            && error.is_the_variants()
        {
            shared.refuse(plan, error);
        }
        trusted
    }

    async fn finish(
        &self,
        plan: &Plan,
        pipelines: Vec<Arc<Pipeline>>,
        refused: Vec<RejectedVariant>,
        report: SelfCheckReport,
    ) -> Result<Kernel, Error> {
        let gpu = &self.shared.gpu;
        let kernel = gpu.explained(self.assemble(plan, pipelines, refused, report).await).await?;
        // Creating objects on a lost device raises nothing, so success has to be confirmed.
        gpu.probe().await?;
        Ok(kernel)
    }

    /// The pipelines of the plan's passes, in order.
    pub(crate) async fn compile(&self, plan: &Plan) -> Result<Vec<Arc<Pipeline>>, Error> {
        let Shared { gpu, pipelines, options, stored, .. } = &*self.shared;
        let compiler = self.shared.compiler();
        let mut compiled = Vec::with_capacity(plan.passes.len());
        let mut any_new = false;
        for pass in &plan.passes {
            let bound = options.bounded_loops.then_some(pass.loop_turns);
            let (pipeline, new) =
                pipelines.get(gpu, &options.library, &pass.request, &pass.label, &compiler, bound).await?;
            any_new |= new;
            compiled.push(pipeline);
        }
        if let Some(stored) = stored
            && any_new
        {
            stored.save();
        }
        Ok(compiled)
    }

    /// A kernel of compiled pipelines, with its memory.
    pub(crate) async fn assemble(
        &self,
        plan: &Plan,
        pipelines: Vec<Arc<Pipeline>>,
        refused: Vec<RejectedVariant>,
        self_check: SelfCheckReport,
    ) -> Result<Kernel, Error> {
        let Shared { gpu, pool, profile, .. } = &*self.shared;
        let mut uniforms = Vec::new();
        let mut passes = Vec::with_capacity(plan.passes.len());
        for (pass, pipeline) in plan.passes.iter().zip(pipelines) {
            passes.push(self.pass(plan, pass, pipeline, &mut uniforms)?);
        }
        let mut scratch = Vec::with_capacity(plan.scratch.len());
        for wanted in &plan.scratch {
            scratch.push(match &wanted.contents {
                None => Scratch::Pooled(
                    pool.take(gpu, wanted.name, wanted.bytes, SCRATCH, &profile.limits).await?,
                ),
                Some(contents) => {
                    let buffer = gpu.buffer(wanted.name, wanted.bytes, STORAGE, &profile.limits).await?;
                    let bytes: Vec<u8> = contents.iter().flat_map(|word| word.to_le_bytes()).collect();
                    gpu.write(&buffer, 0, &bytes).await?;
                    Scratch::Own(buffer)
                }
            });
        }
        let uniforms = if uniforms.is_empty() {
            None
        } else {
            let usage = wgpu::BufferUsages::UNIFORM | wgpu::BufferUsages::COPY_DST;
            let buffer = gpu.buffer("foveal.params", uniforms.len() as u64, usage, &profile.limits).await?;
            gpu.write(&buffer, 0, &uniforms).await?;
            Some(buffer)
        };
        let any_empty =
            passes.iter().flat_map(|pass| &pass.slots).any(|slot| slot.source == SlotSource::Empty);
        let empty = if any_empty {
            let [to_read, to_write] = ["foveal.empty_input", "foveal.empty_output"]
                .map(|label| gpu.buffer(label, EMPTY_BYTES, STORAGE, &profile.limits));
            Some([to_read.await?, to_write.await?])
        } else {
            None
        };
        let dispatches = self.dispatches(plan);
        let whole = DispatchOffsets::new(gpu, &passes, &profile.limits, |pass| {
            GridPartition::fine(pass.workgroups, dispatches)
        });
        Ok(Kernel {
            inner: Arc::new(Inner {
                grids: whole.await?,
                timeline: Mutex::default(),
                shared: Arc::clone(&self.shared),
                plan: plan.clone(),
                refused,
                self_check,
                passes,
                scratch,
                uniforms,
                empty,
            }),
        })
    }

    /// How many dispatches a pass is recorded as: one, unless all of them together are estimated to take so long that the
    /// system's watchdog may lose patience.
    fn dispatches(&self, plan: &Plan) -> u32 {
        let longest = self.shared.options.longest_submission;
        if longest.is_zero() {
            return 1;
        }
        let count = (plan.cost.time.as_nanos() / longest.as_nanos().max(1)).min(1000) as u32;
        count.max(1)
    }

    /// Matches a pass with its shader's interface. Its parameters are appended to `uniforms`.
    fn pass(
        &self,
        plan: &Plan,
        pass: &Pass,
        pipeline: Arc<Pipeline>,
        uniforms: &mut Vec<u8>,
    ) -> Result<KernelPass, Error> {
        let limits = &self.shared.profile.limits;
        let internal = |message: String| Err(Error::internal(&pass.label, message));
        let mut slots = Vec::with_capacity(pipeline.interface.bindings.len());
        let mut given = params::PassParams::new(&pass.params, &pass.label);
        for binding in &pipeline.interface.bindings {
            slots.push(match &binding.kind {
                _ if is_grid(binding) => {
                    Slot { source: SlotSource::Grid, read_only: true, offset_bytes: 0, size_bytes: 0 }
                }
                foveal_shaders::BindingKind::Uniform(layout) => {
                    let alignment = limits.min_uniform_buffer_offset_alignment.max(4) as usize;
                    let start = uniforms.len().next_multiple_of(alignment);
                    uniforms.resize(start, 0);
                    uniforms.extend(given.bytes(&binding.name, layout)?);
                    Slot {
                        source: SlotSource::Uniforms,
                        read_only: true,
                        offset_bytes: start as u64,
                        size_bytes: layout.size_bytes.into(),
                    }
                }
                foveal_shaders::BindingKind::Storage { read_only } => {
                    self.storage_slot(plan, pass, &binding.name, *read_only)?
                }
            });
        }
        let storage = pipeline.interface.bindings.iter().filter(|binding| is_storage(&binding.kind));
        let names: Vec<&str> = storage.map(|binding| binding.name.as_str()).collect();
        if let Some(extra) = pass.bindings.iter().find(|binding| !names.contains(&&*binding.name)) {
            return internal(format!(
                "the plan binds `{}`, the shader uses {}",
                extra.name,
                names.join(", ")
            ));
        }
        if pass.bindings.len() != names.len() {
            return internal(format!(
                "the plan makes {} bindings, the shader {}",
                pass.bindings.len(),
                names.len()
            ));
        }
        given.finish()?;
        if let Some(count) =
            pass.workgroups.iter().find(|&&n| n > limits.max_compute_workgroups_per_dimension)
        {
            let message = format!("{} dispatches {count} workgroups in a dimension", pass.label);
            return Err(Error::limit("max_compute_workgroups_per_dimension", message));
        }
        if pass.indirect.is_some_and(|index| plan.scratch.get(index).is_none_or(|scratch| scratch.bytes < 12))
        {
            return internal("its workgroups are counted in a buffer that is not there".to_owned());
        }
        Ok(KernelPass { pipeline, slots, workgroups: pass.workgroups, indirect: pass.indirect })
    }

    fn storage_slot(&self, plan: &Plan, pass: &Pass, name: &str, read_only: bool) -> Result<Slot, Error> {
        let limits = &self.shared.profile.limits;
        let internal = |message: String| Err(Error::internal(&pass.label, message));
        let Some(binding) = pass.bindings.iter().find(|binding| binding.name == name) else {
            return internal(format!("the shader's `{name}` is not bound by the plan"));
        };
        let (source, size) = match binding.source {
            BoundTo::Tensor(index) => match plan.tensors.get(index) {
                Some(tensor_spec) if !tensor_spec.access.writes() && !read_only => {
                    return internal(format!(
                        "the shader may write `{name}`, which is the input {}",
                        tensor_spec.name
                    ));
                }
                tensor_spec => (SlotSource::TensorSpec(index), tensor_spec.map(TensorSpec::size_bytes)),
            },
            BoundTo::Scratch(index) => (
                SlotSource::Scratch(index),
                plan.scratch.get(index).map(|scratch| scratch.bytes.next_multiple_of(4)),
            ),
        };
        let Some(size) = size else {
            return internal(format!("`{name}` is bound to {:?}, which is not", binding.source));
        };
        let (offset_bytes, size_bytes) = (binding.offset_bytes, binding.size_bytes);
        if size_bytes == 0 {
            return Ok(Slot {
                source: SlotSource::Empty,
                read_only,
                offset_bytes: 0,
                size_bytes: EMPTY_BYTES,
            });
        }
        if offset_bytes.checked_add(size_bytes).is_none_or(|end| end > size) {
            return internal(format!("`{name}` is bound to bytes {offset_bytes} + {size_bytes} of {size}"));
        }
        if !offset_bytes.is_multiple_of(limits.min_storage_buffer_offset_alignment.into())
            || size_bytes % 4 != 0
        {
            return internal(format!(
                "`{name}` is bound to a misaligned range, {offset_bytes} + {size_bytes} bytes"
            ));
        }
        if size_bytes > limits.max_storage_buffer_binding_size {
            let allowed = limits.max_storage_buffer_binding_size;
            let message =
                format!("{} binds {size_bytes} bytes as `{name}`, the device allows {allowed}", pass.label);
            return Err(Error::limit("max_storage_buffer_binding_size", message));
        }
        Ok(Slot { source, read_only, offset_bytes, size_bytes })
    }
}

fn none_left(operator: &str, refused: &[RejectedVariant], why: &str) -> Error {
    let list: Vec<String> = refused.iter().map(|r| format!("{}: {}", r.variant, r.reason)).collect();
    let message = format!("no variant works on this adapter ({why}). VariantCheck {}", list.join("; "));
    Error::new(ErrorKind::Refused, operator, message)
}
