//! Measuring a kernel, after checking it.

use std::time::Duration;

use anyhow::Result;
use foveal::{Clock, Kernel, Roofline};
use foveal_kernels::{HostTensor, Problem, Work, testing::Rows};

use crate::device::Device;
use crate::failure::NoJob;
use crate::ui;
use crate::verify::Checked;

/// Measurements that a median is taken of.
pub(crate) const REPEATS: usize = 30;

/// The seed of inputs. The values do not change the time; a fixed seed makes the check repeatable.
const SEED: u64 = 7;

/// A measured kernel.
pub(crate) struct Measured {
    /// The variant that ran.
    pub(crate) variant: String,
    /// Whether its products are matrix units'.
    pub(crate) by_matrices: bool,
    /// The check that came first.
    pub(crate) checked: Checked,
    /// The times; nothing if the check failed.
    pub(crate) times: Option<Times>,
}

/// The times of a kernel.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Times {
    pub(crate) median: Duration,
    pub(crate) p10: Duration,
    pub(crate) p90: Duration,
    /// How many measurements these are of.
    pub(crate) taken: usize,
    /// Whether they are by the device's own clock.
    pub(crate) by_device: bool,
}

impl Times {
    /// `amount` a nanosecond, at the median: 10^9 a second.
    pub(crate) fn rate(&self, amount: f64) -> f64 {
        amount / self.median.as_secs_f64() / 1e9
    }
}

/// The rate in GFLOP/s that nothing can beat which does this work: the adapter's peak, of FMAs or of the matrix units that the
/// kernel uses, or, where there are few operations a byte, what its memory can feed.
pub(crate) fn roof(work: &Work, by_matrices: bool, roofline: &Roofline) -> f64 {
    let fed = work.flops / work.bytes.max(1.0) * roofline.memory_gbps;
    let of_matrices = roofline.matrix_gflops().filter(|_| by_matrices);
    of_matrices.unwrap_or_else(|| roofline.peak_gflops()).min(fed)
}

/// Checks that a problem's made-up tensors and the reference's copies of them fit into memory, before any is made: a
/// process that runs out of memory is ended without a message.
pub(crate) fn room(problem: &dyn Problem) -> Result<()> {
    const AS_F64: u128 = 8;
    let bytes: u128 = problem
        .tensors()
        .iter()
        .map(|tensor_spec| {
            let count = tensor_spec.shape.iter().fold(1u128, |n, &size| n.saturating_mul(size as u128));
            count.saturating_mul(tensor_spec.dtype.size_bytes() as u128 + AS_F64)
        })
        .fold(0, u128::saturating_add);
    let fits = usize::try_from(bytes).is_ok_and(|bytes| {
        let reserved = Vec::<u8>::new().try_reserve_exact(bytes).is_ok();
        reserved && available().is_none_or(|available| bytes as u64 <= available)
    });
    if fits {
        return Ok(());
    }
    let bytes = ui::bytes(u64::try_from(bytes).unwrap_or(u64::MAX));
    Err(NoJob(format!(
        "its tensors, and copies of them as f64, take about {bytes}, which do not fit into memory"
    ))
    .into())
}

/// Bytes that the system can give without taking them from others, where it says so.
fn available() -> Option<u64> {
    let about = std::fs::read_to_string("/proc/meminfo").ok()?;
    let line = about.lines().find_map(|line| line.strip_prefix("MemAvailable:"))?;
    line.split_whitespace().next()?.parse::<u64>().ok()?.checked_mul(1024)
}

/// Checks a variant, or the planner's choice, on random inputs and then measures it.
pub(crate) fn measure(
    device: &Device,
    problem: &dyn Problem,
    variant: Option<&str>,
    repeats: usize,
    limit: Duration,
) -> Result<Measured> {
    let plan = device.plan(problem, variant)?;
    room(problem)?;
    let kernel = device.prepare(&plan, variant.is_some())?;
    let inputs = problem.random_inputs(SEED);
    let inputs: Vec<(&str, &HostTensor)> = inputs.iter().map(|(name, tensor)| (&**name, tensor)).collect();
    let expected = problem.reference(&inputs, Rows::affordable(&problem.work(), SEED))?;
    let checked = Checked::new(problem, &expected, &device.run(&kernel, &inputs)?)?;
    let times = if checked.passed() { Some(time(device, &kernel, &inputs, repeats, limit)?) } else { None };
    let plan = kernel.plan();
    Ok(Measured { variant: plan.variant.clone(), by_matrices: plan.cost.matrix > 0.0, checked, times })
}

/// Measures a kernel `repeats` times after warming up, or as often as `limit` allows, but at least three times.
pub(crate) fn time(
    device: &Device,
    kernel: &Kernel,
    inputs: &[(&str, &HostTensor)],
    repeats: usize,
    limit: Duration,
) -> Result<Times> {
    let timings = device.time_within(kernel, inputs, 3..=repeats, limit)?;
    Ok(Times {
        median: timings.median(),
        p10: timings.quantile(0.1),
        p90: timings.quantile(0.9),
        taken: timings.samples.len(),
        by_device: timings.clock == Clock::Device,
    })
}
