//! Measuring how long a kernel takes.

use std::ops::{Range, RangeInclusive};
use std::time::Duration;

use foveal_kernels::HostTensor;
use web_time::Instant;

use crate::device::scope::scoped;
use crate::kernel::bound_kernel::BoundKernel;
use crate::kernel::dispatch_timeline::{Cursor, DispatchTimeline};
use crate::run::host::bindings;
use crate::{Engine, Error, Kernel};

/// How often a kernel is run to be measured.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Timing {
    /// Runs before those that count: the first run compiles on some drivers, the next ones warm clocks and caches.
    pub warm_up: usize,
    /// Runs that count.
    pub repeats: usize,
}

impl Default for Timing {
    fn default() -> Self {
        Self { warm_up: 3, repeats: 30 }
    }
}

/// How long a kernel took, run by run.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Timings {
    /// One entry a repeat, in order.
    pub samples: Vec<Duration>,
    /// The clock of the measurement.
    pub clock: Clock,
}

/// Clocks of measurements.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Clock {
    /// The device's own timestamps, before the first dispatch and after the last.
    Device,
    /// The host's clock around a submission of several runs, divided by their number. It includes a share of the cost
    /// of submitting.
    Host {
        /// How many runs were submitted together.
        runs_per_submission: usize,
    },
}

impl Timings {
    /// The median, or zero without samples.
    #[must_use]
    pub fn median(&self) -> Duration {
        self.quantile(0.5)
    }

    /// The sample below which the share `q` of all samples lies, 0 to 1; zero without samples.
    #[must_use]
    pub fn quantile(&self, q: f64) -> Duration {
        let mut sorted = self.samples.clone();
        sorted.sort_unstable();
        #[expect(
            clippy::cast_precision_loss,
            clippy::cast_possible_truncation,
            clippy::cast_sign_loss,
            reason = "an index, clamped to the samples"
        )]
        let index = (q.clamp(0.0, 1.0) * sorted.len().saturating_sub(1) as f64).round() as usize;
        sorted.get(index).copied().unwrap_or_default()
    }
}

/// Runs that are shorter than this are submitted several at a time, so that the host's clock sees more than noise.
///
/// A browser's clocks, the device's included, tick in tenths of a millisecond, and asking takes about one.
const SHORTEST_SUBMISSION: Duration =
    Duration::from_millis(if cfg!(target_family = "wasm") { 25 } else { 4 });
const MAX_RUNS_PER_SUBMISSION: usize = 256;

/// Device timestamps are believed if they account for at least this share of the host's time where submissions are long
/// enough for the host's overhead not to matter.
const CREDIBLE_SHARE: f64 = 0.5;
const LONG_ENOUGH: Duration = Duration::from_millis(2);

/// A run measured both ways.
pub(crate) struct Sample {
    pub(crate) host: Duration,
    pub(crate) device: Option<Duration>,
}

impl Engine {
    /// Measures a kernel on these inputs. Uploading and reading back are not included.
    ///
    /// The device's timestamps are used where it has them and they agree with the host's clock; some drivers, above all
    /// those that run on the CPU, report nonsense. [`Timings::clock`] says which it was.
    ///
    /// # Errors
    /// As [`Engine::run`].
    pub async fn benchmark(
        &self,
        kernel: &Kernel,
        inputs: &[(&str, &HostTensor)],
        timing: Timing,
    ) -> Result<Timings, Error> {
        kernel.belongs_to(&self.shared)?;
        let time = async {
            let tensors = self.upload_all(kernel, inputs).await?;
            self.measure_bound(&kernel.bind(&bindings(&tensors))?, timing).await
        };
        self.shared.gpu.explained(time.await).await
    }

    /// As [`Engine::benchmark`], as often as `limit` allows after a warm-up, within `repeats`.
    ///
    /// # Errors
    /// As [`Engine::run`].
    pub async fn time_within(
        &self,
        kernel: &Kernel,
        inputs: &[(&str, &HostTensor)],
        repeats: RangeInclusive<usize>,
        limit: Duration,
    ) -> Result<Timings, Error> {
        // The warm-up also says how long a run takes.
        let first = self.benchmark(kernel, inputs, Timing { warm_up: 1, repeats: 1 }).await?.median();
        let affordable = limit.as_nanos() / first.as_nanos().max(1);
        let affordable = usize::try_from(affordable).unwrap_or(usize::MAX);
        let repeats = affordable.clamp(*repeats.start(), (*repeats.end()).max(*repeats.start()));
        let warm_up = if affordable > 10 { 3 } else { 1 };
        self.benchmark(kernel, inputs, Timing { warm_up, repeats }).await
    }

    async fn measure_bound(&self, bound: &BoundKernel, timing: Timing) -> Result<Timings, Error> {
        let mut last = Duration::ZERO;
        for _ in 0..timing.warm_up.max(1) {
            last = self.host_time(bound, 1).await?;
        }
        // Work that has to be cut is more than one submission.
        let queries = if self.long(bound.kernel()).await?.is_some() { None } else { self.queries().await? };
        let mut runs = runs_within(SHORTEST_SUBMISSION, last);
        if cfg!(target_family = "wasm") {
            // Of a short run, most of the time is a browser's answer.
            while runs > 1 && runs < MAX_RUNS_PER_SUBMISSION {
                let together = self.host_time(bound, runs).await?;
                if together >= SHORTEST_SUBMISSION {
                    break;
                }
                runs = (runs * 4).min(MAX_RUNS_PER_SUBMISSION);
            }
        }
        let mut samples = Vec::with_capacity(timing.repeats);
        if let Some(queries) = &queries {
            // Where the device's clock is fine, one run is enough.
            let runs = if cfg!(target_family = "wasm") { runs } else { 1 };
            for _ in 0..timing.repeats {
                samples.push(self.sample(bound, runs, queries).await?);
            }
            if let Some(samples) = credible(&samples) {
                let divisor = u32::try_from(runs).unwrap_or(1);
                let samples = samples.into_iter().map(|sample| sample / divisor).collect();
                return Ok(Timings { samples, clock: Clock::Device });
            }
            log::debug!("timestamps of {} disagree with the host's clock", self.profile.key());
        }
        let mut times = Vec::with_capacity(timing.repeats);
        if runs == 1 && samples.len() == timing.repeats {
            times.extend(samples.iter().map(|sample| sample.host));
        } else {
            for _ in 0..timing.repeats {
                let divisor = u32::try_from(runs).unwrap_or(1);
                times.push(self.host_time(bound, runs).await? / divisor);
            }
        }
        Ok(Timings { samples: times, clock: Clock::Host { runs_per_submission: runs } })
    }

    /// From submitting `runs` runs until they are done.
    pub(crate) async fn host_time(&self, bound: &BoundKernel, runs: usize) -> Result<Duration, Error> {
        let gpu = &self.shared.gpu;
        if runs == 1 {
            let started = Instant::now();
            let index = self.execute("foveal.time", bound, None).await?;
            gpu.wait(&index).await?;
            return Ok(started.elapsed());
        }
        let record = |encoder: &mut wgpu::CommandEncoder| {
            // A pass a run, as a host would record them.
            for _ in 0..runs {
                bound.encode(encoder);
            }
            Ok(())
        };
        let started = Instant::now();
        let index = gpu.submit("foveal.time", record).await?;
        gpu.wait(&index).await?;
        Ok(started.elapsed())
    }

    async fn sample(&self, bound: &BoundKernel, runs: usize, queries: &Queries) -> Result<Sample, Error> {
        let record = |encoder: &mut wgpu::CommandEncoder, timestamps: Option<(&wgpu::QuerySet, u32)>| {
            bound.encode_runs(encoder, runs, timestamps);
        };
        self.measure_once(Some(queries), record).await
    }

    /// Runs a part of a kernel and measures it.
    pub(crate) async fn sample_range(
        &self,
        bound: &BoundKernel,
        timeline: &DispatchTimeline,
        range: Range<Cursor>,
        queries: Option<&Queries>,
    ) -> Result<Sample, Error> {
        let record = |encoder: &mut wgpu::CommandEncoder, timestamps: Option<(&wgpu::QuerySet, u32)>| {
            let mut pass = bound.begin(encoder, timestamps);
            bound.dispatch_range(&mut pass, &timeline.grids, range);
        };
        self.measure_once(queries, record).await
    }

    /// Submits what `record` records and measures it by the clock and, with `queries`, by timestamps.
    async fn measure_once(
        &self,
        queries: Option<&Queries>,
        record: impl FnOnce(&mut wgpu::CommandEncoder, Option<(&wgpu::QuerySet, u32)>),
    ) -> Result<Sample, Error> {
        let gpu = &self.shared.gpu;
        let record = |encoder: &mut wgpu::CommandEncoder| {
            record(encoder, queries.map(|queries| (&queries.set, 0)));
            if let Some(queries) = queries {
                encoder.resolve_query_set(&queries.set, 0..2, &queries.resolved, 0);
            }
            Ok(())
        };
        let started = Instant::now();
        let index = gpu.submit("foveal.time", record).await?;
        gpu.wait(&index).await?;
        let host = started.elapsed();
        let Some(queries) = queries else { return Ok(Sample { host, device: None }) };
        let bytes = self.read_bytes((&queries.resolved).into()).await?;
        let tick =
            |index: usize| bytes.get(index * 8..index * 8 + 8)?.try_into().ok().map(u64::from_le_bytes);
        let ticks = tick(1).zip(tick(0)).and_then(|(end, start)| end.checked_sub(start));
        #[expect(clippy::cast_precision_loss, reason = "differences are far below 2^53 ticks")]
        let device = ticks.map(|ticks| ticks as f64 * queries.nanoseconds_per_tick * 1e-9);
        let device = device.and_then(|seconds| Duration::try_from_secs_f64(seconds).ok());
        Ok(Sample { host, device })
    }

    /// Two timestamp queries, where the device has them.
    pub(crate) async fn queries(&self) -> Result<Option<Queries>, Error> {
        let gpu = &self.shared.gpu;
        if !self.profile.features.timestamps {
            return Ok(None);
        }
        let ((set, period), caught) = scoped(&gpu.device, || {
            let descriptor = wgpu::QuerySetDescriptor {
                label: Some("foveal.time"),
                ty: wgpu::QueryType::Timestamp,
                count: 2,
            };
            (gpu.device.create_query_set(&descriptor), gpu.queue.get_timestamp_period())
        });
        caught.check("timestamp queries").await?;
        let usage = wgpu::BufferUsages::QUERY_RESOLVE | wgpu::BufferUsages::COPY_SRC;
        let resolved = gpu.buffer("foveal.time", 16, usage, &self.shared.profile.limits).await?;
        Ok(Some(Queries { set, resolved, nanoseconds_per_tick: f64::from(period) }))
    }
}

pub(crate) struct Queries {
    set: wgpu::QuerySet,
    resolved: wgpu::Buffer,
    nanoseconds_per_tick: f64,
}

/// How many runs of a length fill a duration.
fn runs_within(duration: Duration, run: Duration) -> usize {
    let runs = duration.as_nanos() / run.as_nanos().max(1) + 1;
    usize::try_from(runs).map_or(MAX_RUNS_PER_SUBMISSION, |runs| runs.min(MAX_RUNS_PER_SUBMISSION))
}

/// The device's times, if they can be true: each present, none longer than the host waited, and for runs that take long
/// enough most of what the host waited.
pub(crate) fn credible<'s>(samples: impl IntoIterator<Item = &'s Sample>) -> Option<Vec<Duration>> {
    let mut times = Vec::new();
    let mut shares = Vec::new();
    for sample in samples {
        let device = sample.device.filter(|&device| !device.is_zero() && device <= sample.host)?;
        if sample.host >= LONG_ENOUGH {
            shares.push(device.as_secs_f64() / sample.host.as_secs_f64());
        }
        times.push(device);
    }
    shares.sort_unstable_by(f64::total_cmp);
    let median = shares.get(shares.len() / 2).copied();
    median.is_none_or(|share| share >= CREDIBLE_SHARE).then_some(times)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sample(host_us: u64, device_us: Option<u64>) -> Sample {
        Sample { host: Duration::from_micros(host_us), device: device_us.map(Duration::from_micros) }
    }

    #[test]
    fn timestamps_that_cannot_be_true_are_not_used() {
        assert!(credible(&[sample(5000, Some(4800)), sample(5100, Some(4900))]).is_some());
        assert!(credible(&[sample(300, Some(20))]).is_some(), "overhead hides nothing in short runs");
        assert!(credible(&[sample(5000, Some(20))]).is_none(), "the device cannot have idled that long");
        assert!(credible(&[sample(5000, Some(6000))]).is_none(), "longer than the host waited");
        assert!(credible(&[sample(5000, Some(0))]).is_none());
        assert!(credible(&[sample(5000, None)]).is_none());
    }

    #[test]
    fn quantiles_are_samples() {
        let samples = (1..=11).rev().map(Duration::from_millis).collect();
        let timings = Timings { samples, clock: Clock::Device };
        assert_eq!(timings.median(), Duration::from_millis(6));
        assert_eq!(timings.quantile(0.1), Duration::from_millis(2));
        assert_eq!(timings.quantile(9.0), Duration::from_millis(11));
        assert_eq!(Timings { samples: Vec::new(), clock: Clock::Device }.median(), Duration::ZERO);
    }
}
