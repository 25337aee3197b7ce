//! A variant proves itself on this adapter before it is used.

use std::sync::Arc;
use std::time::Duration;

use foveal_kernels::{
    Constraints, HostTensor, Name, Plan, TensorSpec,
    testing::{Expected, Rows, compare, unchanged},
};
use web_time::Instant;
use xxhash_rust::xxh3::Xxh3;

use crate::kernel::binding::{Binding, describe};
use crate::kernel::prepared::SelfCheckReport;
use crate::prepare::assemble::STORAGE;
use crate::prepare::pipeline::Pipeline;
use crate::{Engine, Error, ErrorKind, Kernel, SelfCheck};

/// The seed of inputs: the same everywhere, so that a failure can be repeated.
const SEED: u64 = 0x00f0_7ea1;

/// NaN in f32, f16 and bf16: what an output holds until it is written.
const UNWRITTEN: u8 = 0xff;

/// Around each output; a number in all types, and not one that a kernel is likely to write.
const GUARD: u8 = 0xa5;

impl Engine {
    /// Checks the plan's variant unless that has been done, or is not wanted.
    pub(crate) async fn check_variant(
        &self,
        plan: &Plan,
        pipelines: &[Arc<Pipeline>],
    ) -> Result<SelfCheckReport, Error> {
        let shared = &self.shared;
        if shared.options.self_check == SelfCheck::Off {
            return Ok(SelfCheckReport::Off);
        }
        if plan.passes.is_empty() {
            return Ok(SelfCheckReport::Nothing);
        }
        let key = key(plan, pipelines, shared.options.runtime_checks);
        if shared.options.self_check == SelfCheck::On && shared.passed.contains(key) {
            return Ok(SelfCheckReport::Remembered);
        }
        let report = self.run_canonical(plan, pipelines).await?;
        shared.passed.insert(key);
        Ok(report)
    }

    async fn run_canonical(
        &self,
        plan: &Plan,
        pipelines: &[Arc<Pipeline>],
    ) -> Result<SelfCheckReport, Error> {
        let started = Instant::now();
        let problem = plan.problem.self_check_problem();
        let internal = |message: String| Error::internal(format!("self-check of {}", plan.variant), message);
        let constraints = Constraints { variant: Some(plan.variant.clone()), ..plan.constraints.clone() };
        let canonical = problem.plan(self.profile(), &constraints)?;
        let pipelines = share(plan, &canonical, pipelines).ok_or_else(|| {
            internal(format!(
                "the canonical case {} does not use the plan's shaders; plans have to be made for the profile of the \
                 engine that prepares them",
                problem.describe()
            ))
        })?;
        let kernel = self.assemble(&canonical, pipelines, Vec::new(), SelfCheckReport::Nothing).await?;
        let inputs = problem.random_inputs(SEED);
        let inputs: Vec<(&str, &HostTensor)> =
            inputs.iter().map(|(name, tensor)| (&**name, tensor)).collect();
        let run = self.run_guarded(&kernel, &inputs).await?;
        let expected = problem.reference(&inputs, Rows::All)?;
        for (name, actual) in &run.outputs {
            let expected = expected.iter().find(|expected| expected.name == *name);
            let expected =
                expected.ok_or_else(|| internal(format!("the reference does not give output {name}")))?;
            self.judge(expected, actual, compare(expected, actual, problem.tolerance(name))?)?;
            if let Some((_, before)) = inputs.iter().find(|(input, _)| input == name) {
                unchanged(expected, before, actual).map_err(|error| {
                    Error::new(ErrorKind::Refused, format!("self-check, output `{name}`"), error.to_string())
                })?;
            }
        }
        let duration = started.elapsed().saturating_sub(run.dispatch);
        log::debug!("{} variant {} passed its self-check in {duration:?}", plan.operator, plan.variant);
        Ok(SelfCheckReport::Passed { duration, first_dispatch: run.dispatch })
    }

    /// Runs a kernel whose outputs hold NaN until they are written, between guard words that have to survive.
    pub(crate) async fn run_guarded(
        &self,
        kernel: &Kernel,
        inputs: &[(&str, &HostTensor)],
    ) -> Result<GuardedRun, Error> {
        let tensor_specs = &kernel.plan().tensors;
        let updated = |name: &str| {
            let mut named = tensor_specs.iter().filter(|tensor_spec| tensor_spec.name == name);
            named.any(|tensor_spec| tensor_spec.access.writes())
        };
        let uploaded = self.upload_some(kernel, inputs, updated).await?;
        let mut outputs = Vec::new();
        for tensor_spec in tensor_specs.iter().filter(|tensor_spec| tensor_spec.access.writes()) {
            let before = inputs.iter().find(|(name, _)| *name == tensor_spec.name);
            outputs.push(self.guarded(tensor_spec, before.map(|(_, tensor)| *tensor)).await?);
        }
        let mut tensors: Vec<(&str, Binding<'_>)> = Vec::new();
        tensors.extend(uploaded.iter().map(|(name, pooled)| (*name, Binding::from(pooled.buffer()))));
        tensors.extend(outputs.iter().map(|output| (&*output.tensor_spec.name, output.binding())));
        // Drivers drop writes beyond a binding, so the bindings include the guard words that follow.
        let max = self.shared.profile.limits.max_storage_buffer_binding_size;
        let fits = outputs.iter().all(|output| output.size + output.guard <= max);
        let slack = outputs.iter().map(|output| output.guard).min().filter(|_| fits).unwrap_or(0);
        let bound = kernel.bind_with_slack(&tensors, slack)?;

        let submitted = Instant::now();
        let index = self.execute("foveal.self_check", &bound, None).await?;
        self.shared.gpu.wait(&index).await?;
        let dispatch = submitted.elapsed();

        let mut read = Vec::with_capacity(outputs.len());
        for output in &outputs {
            let bytes = self.read_bytes(Binding::from(&output.buffer)).await?;
            let body = output.check_guards(&bytes)?;
            let actual =
                HostTensor::from_bytes(output.tensor_spec.shape.clone(), body, output.tensor_spec.dtype)?;
            read.push((output.tensor_spec.name.clone(), actual));
        }
        Ok(GuardedRun { outputs: read, dispatch })
    }

    fn judge(
        &self,
        expected: &Expected,
        actual: &HostTensor,
        comparison: foveal_kernels::testing::Comparison,
    ) -> Result<(), Error> {
        if comparison.passed {
            return Ok(());
        }
        let mut message = format!(
            "wrong on {}: relative RMSE {:.2e} ({:.2e} allowed)",
            self.profile.key(),
            comparison.rel_rmse,
            comparison.tolerance.rel_rmse
        );
        if comparison.non_finite > 0 {
            message += &format!(", {} of {} values not finite", comparison.non_finite, actual.len());
        }
        if let Some(worst) = comparison.worst {
            message += &format!(", worst at {worst}");
        }
        Err(Error::new(ErrorKind::Refused, format!("self-check, output `{}`", expected.name), message))
    }

    /// An output between guard words; it holds NaN, or what it held `before` if it is changed in place.
    async fn guarded<'p>(
        &self,
        tensor_spec: &'p TensorSpec,
        before: Option<&HostTensor>,
    ) -> Result<Guarded<'p>, Error> {
        if tensor_spec.span != tensor_spec.shape.iter().product::<usize>() {
            let message = format!("output {} is not dense", describe(tensor_spec));
            return Err(Error::internal("self-check", message));
        }
        let gpu = &self.shared.gpu;
        let limits = &self.shared.profile.limits;
        let guard = u64::from(limits.min_storage_buffer_offset_alignment).max(256);
        let size = tensor_spec.size_bytes();
        let buffer = gpu.buffer("foveal.self_check.output", size + 2 * guard, STORAGE, limits).await?;
        let output = Guarded { tensor_spec, buffer, guard, size };
        let mut bytes = vec![GUARD; to_usize(size + 2 * guard)?];
        let body = &mut bytes[to_usize(guard)?..to_usize(guard + size)?];
        body.fill(UNWRITTEN);
        if let Some(before) = before {
            let before = before.checked_bytes(&tensor_spec.name, tensor_spec.dtype)?;
            match body.get_mut(..before.len()) {
                Some(body) => body.copy_from_slice(&before),
                None => {
                    return Err(Error::usage(format!("tensor `{}`", tensor_spec.name), "it is too large"));
                }
            }
        }
        gpu.write(&output.buffer, 0, &bytes).await?;
        Ok(output)
    }
}

/// The result of a run between guard words.
pub(crate) struct GuardedRun {
    pub(crate) outputs: Vec<(Name, HostTensor)>,
    /// From submitting until it was done.
    pub(crate) dispatch: Duration,
}

/// An output between guard words.
struct Guarded<'p> {
    tensor_spec: &'p TensorSpec,
    buffer: wgpu::Buffer,
    guard: u64,
    size: u64,
}

impl Guarded<'_> {
    fn binding(&self) -> Binding<'_> {
        Binding { buffer: &self.buffer, offset_bytes: self.guard, size_bytes: self.size }
    }

    /// The output's own bytes, if those around it are as they were.
    fn check_guards<'b>(&self, bytes: &'b [u8]) -> Result<&'b [u8], Error> {
        let (guard, size) = (to_usize(self.guard)?, to_usize(self.size)?);
        let end = guard + size;
        let (Some(before), Some(body), Some(after)) =
            (bytes.get(..guard), bytes.get(guard..end), bytes.get(end..))
        else {
            return Err(Error::internal("self-check", "an output was read back short"));
        };
        if before.iter().chain(after).all(|&byte| byte == GUARD) {
            return Ok(body);
        }
        let side = if before.iter().any(|&byte| byte != GUARD) { "before" } else { "after" };
        let output = format!("self-check, output `{}`", self.tensor_spec.name);
        Err(Error::new(ErrorKind::Refused, output, format!("the kernel wrote {side} the output")))
    }
}

/// The pipelines of the canonical plan's passes, which must be the plan's own.
fn share(plan: &Plan, canonical: &Plan, pipelines: &[Arc<Pipeline>]) -> Option<Vec<Arc<Pipeline>>> {
    let (ours, theirs) = (plan.requests(), canonical.requests());
    if ours.len() != theirs.len() || !ours.iter().all(|request| theirs.contains(request)) {
        return None;
    }
    let find = |request| plan.passes.iter().zip(pipelines).find(|(pass, _)| pass.request == request);
    canonical.passes.iter().map(|pass| find(Arc::clone(&pass.request)).map(|(_, p)| Arc::clone(p))).collect()
}

/// The key of a passed check: the final text of every shader, not how it was asked for.
fn key(plan: &Plan, pipelines: &[Arc<Pipeline>], runtime_checks: bool) -> u128 {
    let mut hash = Xxh3::new();
    for part in [plan.operator, &plan.variant] {
        hash.update(&(part.len() as u64).to_le_bytes());
        hash.update(part.as_bytes());
    }
    hash.update(&[u8::from(runtime_checks)]);
    let mut texts: Vec<u128> = pipelines.iter().map(|pipeline| pipeline.text_hash).collect();
    texts.sort_unstable();
    texts.dedup();
    for text in texts {
        hash.update(&text.to_le_bytes());
    }
    hash.digest128()
}

pub(crate) fn to_usize(bytes: u64) -> Result<usize, Error> {
    usize::try_from(bytes)
        .map_err(|_| Error::limit("address space", format!("{bytes} bytes do not fit in memory")))
}
