//! burn's attention through WGSL, and how long it takes.

use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use burn::tensor::module::{attention, attention_fallback};
use burn::tensor::ops::AttentionModuleOptions;
use burn::tensor::{Device, DeviceKind, DeviceType, Tensor, TensorData};

use crate::check::{self, Accuracy, Inputs};
use crate::shape::Shape;

/// Runs after the first and before those that count.
const WARM_UPS: usize = 3;

/// Runs that are shorter than this are queued several at a time, so that the host's clock sees more than noise: Foveal
/// does the same where it has no timestamps.
const SHORTEST_BATCH: Duration = Duration::from_millis(4);
const MAX_RUNS_PER_BATCH: u32 = 256;

/// The adapter whose name contains `name`, or burn's choice, with its name.
pub fn device(name: Option<&str>) -> Result<(Device, String)> {
    let Some(wanted) = name else {
        let device = Device::wgpu(DeviceKind::DefaultDevice);
        let name = name_of(&device)?;
        return Ok((device, name));
    };
    let mut names = Vec::new();
    for device in Device::enumerate(DeviceType::Wgpu) {
        let name = name_of(&device)?;
        if name.to_lowercase().contains(&wanted.to_lowercase()) {
            return Ok((device, name));
        }
        names.push(name);
    }
    bail!("no adapter's name contains `{wanted}`: {}", names.join("; "))
}

fn name_of(device: &Device) -> Result<String> {
    Ok(device.identity().context("burn does not name the adapter")?.name)
}

/// Which of burn's ways to compute attention.
#[derive(Clone, Copy, PartialEq)]
pub enum Path {
    /// `attention`: the kernel that autotuning finds.
    Tuned,
    /// `attention_fallback`: products and softmax as separate operations, which autotuning does not try where T > D.
    Fallback,
}

/// A measurement.
pub struct Measured {
    pub accuracy: Accuracy,
    /// The first call, in which kernels are compiled and autotuned.
    pub first: Duration,
    /// One run each, in ascending order.
    pub samples: Vec<Duration>,
}

impl Measured {
    /// The sample below which the share `q` of all samples lies.
    pub fn quantile(&self, q: f64) -> Duration {
        let last = self.samples.len() - 1;
        self.samples[(q * last as f64).round() as usize]
    }
}

/// Checks and then measures `repeats` times. Uploading and reading back are not included.
pub fn measure(device: &Device, shape: &Shape, path: Path, repeats: usize) -> Result<Measured> {
    let inputs = Inputs::random(shape);
    let [q_sizes, k_sizes, v_sizes] = shape.inputs();
    let upload = |values: &[f32], sizes: [usize; 4]| {
        Tensor::<4>::from_data(TensorData::new(values.to_vec(), sizes), device)
    };
    let q = upload(&inputs.q, q_sizes);
    let k = upload(&inputs.k, k_sizes);
    let v = upload(&inputs.v, v_sizes);
    let run = || {
        let compute = if path == Path::Tuned { attention } else { attention_fallback };
        compute(q.clone(), k.clone(), v.clone(), None, None, AttentionModuleOptions::default())
    };
    let time = |runs: u32| -> Result<Duration> {
        let started = Instant::now();
        for _ in 0..runs {
            run();
        }
        device.sync().context("waiting for the device")?;
        Ok(started.elapsed() / runs)
    };

    device.sync().context("uploading")?;
    let first = time(1)?;
    let output = run().into_data().try_to_vec::<f32>().context("reading the output")?;
    let accuracy = check::check(shape, &inputs, &output)?;

    let mut last = first;
    for _ in 0..WARM_UPS {
        last = time(1)?;
    }
    let runs = SHORTEST_BATCH.as_nanos() / last.as_nanos().max(1) + 1;
    let runs = u32::try_from(runs).unwrap_or(u32::MAX).min(MAX_RUNS_PER_BATCH);
    let mut samples = (0..repeats).map(|_| time(runs)).collect::<Result<Vec<_>>>()?;
    samples.sort_unstable();
    Ok(Measured { accuracy, first, samples })
}
