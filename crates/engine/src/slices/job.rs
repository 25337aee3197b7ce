//! A kernel in slices: so much of it at a time as a frame has room for.

use std::sync::Arc;
use std::time::Duration;

use crate::engine::Shared;
use crate::kernel::bind_groups::BindGroups;
use crate::kernel::bound_kernel::BoundKernel;
use crate::kernel::dispatch::dispatch_range;
use crate::kernel::dispatch_timeline::{Cursor, DispatchTimeline, duration};
use crate::kernel::prepared::Scratch;
use crate::prepare::assemble::SCRATCH;
use crate::{Error, Kernel};

/// A bound kernel cut into slices of about a wished time on the device each, to be spread over frames or submissions.
///
/// Slices end between workgroups, wherever that is in the plan's passes: the outputs are, bit for bit, those of
/// [`BoundKernel::encode`].
///
/// ```no_run
/// # use std::time::Duration;
/// # async fn frames(bound: foveal::BoundKernel, device: &foveal::wgpu::Device, queue: &foveal::wgpu::Queue)
/// # -> Result<(), foveal::Error> {
/// let mut slices = bound.slices(Duration::from_millis(2)).await?;
/// slices.calibrate().await?; // runs it once, to know how long its parts take
/// let mut job = slices.start().await?;
/// while !job.progress().finished {
///     let mut frame = device.create_command_encoder(&Default::default());
///     job.encode(&mut frame); // two milliseconds of it, beside all that a frame has
///     queue.submit([frame.finish()]);
/// }
/// # Ok(())
/// # }
/// ```
#[derive(Clone, Debug)]
pub struct Slices {
    bound: BoundKernel,
    pub(crate) timeline: Arc<DispatchTimeline>,
    budget: Duration,
}

impl BoundKernel {
    /// The kernel cut into slices that take about `budget` each on the device.
    ///
    /// How long parts take is estimated from the plan until [`Slices::calibrate`] has measured it or [`Job::took`] has
    /// told. A slice has one workgroup at least: if that alone takes longer than the budget ([`Slices::longest_part`]),
    /// the plan can be made with shorter workgroups
    /// ([`Constraints::workgroup_time`](crate::Constraints::workgroup_time)).
    ///
    /// # Errors
    /// [`ErrorKind::Usage`](crate::ErrorKind::Usage) for a budget of zero;
    /// [`ErrorKind::OutOfMemory`](crate::ErrorKind::OutOfMemory), [`ErrorKind::DeviceLost`](crate::ErrorKind::DeviceLost).
    pub async fn slices(&self, budget: Duration) -> Result<Slices, Error> {
        if budget.is_zero() {
            return Err(Error::usage("budget", "expected more than zero, got zero"));
        }
        let kernel = self.kernel();
        let gpu = &kernel.inner.shared.gpu;
        gpu.check()?;
        let timeline = gpu.explained(kernel.timeline().await).await?;
        gpu.probe().await?;
        Ok(Slices { bound: self.clone(), timeline, budget })
    }
}

impl Slices {
    /// The kernel.
    #[must_use]
    pub fn kernel(&self) -> &Kernel {
        self.bound.kernel()
    }

    /// The kernel with its tensors.
    #[must_use]
    pub fn bound(&self) -> &BoundKernel {
        &self.bound
    }

    /// The time that a slice is meant to take.
    #[must_use]
    pub fn budget(&self) -> Duration {
        self.budget
    }

    /// Whether the times of the parts were measured, by [`Slices::calibrate`] or on another occasion.
    #[must_use]
    pub fn is_calibrated(&self) -> bool {
        self.timeline.measured
    }

    /// How long the whole kernel takes, as far as that is known.
    #[must_use]
    pub fn total(&self) -> Duration {
        self.timeline.total()
    }

    /// How many slices that makes.
    #[must_use]
    pub fn count(&self) -> usize {
        let (mut at, end) = (Cursor::default(), self.timeline.end());
        let mut count = 0;
        while at < end {
            at = self.timeline.advance(at, self.budget.as_secs_f64());
            count += 1;
        }
        count
    }

    /// How long the longest part takes that cannot be cut, as far as that is known.
    #[must_use]
    pub fn longest_part(&self) -> Duration {
        duration(self.timeline.longest())
    }

    pub(crate) fn set_timeline(&mut self, timeline: Arc<DispatchTimeline>) {
        self.timeline = Arc::clone(&timeline);
        self.kernel().set_timeline(timeline);
    }

    /// Begins the work, which is then recorded slice by slice. Several jobs of one kernel may be under way at a time: each
    /// has scratch memory of its own, which is allocated here, and outputs of its own if its tensors are bound apart.
    ///
    /// # Errors
    /// [`ErrorKind::OutOfMemory`](crate::ErrorKind::OutOfMemory), [`ErrorKind::DeviceLost`](crate::ErrorKind::DeviceLost).
    pub async fn start(&self) -> Result<Job, Error> {
        let Shared { gpu, profile, .. } = &*self.kernel().inner.shared;
        gpu.check()?;
        let allocate = async {
            let mut scratch = Vec::new();
            for own in &self.kernel().inner.scratch {
                scratch.push(match own {
                    // Never written to.
                    Scratch::Own(buffer) => buffer.clone(),
                    // Not from the pool: a job's intermediate results have to last until its next slice, beyond other
                    // recordings in between.
                    Scratch::Pooled(pooled) => {
                        let size = pooled.buffer().size();
                        gpu.buffer("foveal.job", size, SCRATCH, &profile.limits).await?
                    }
                });
            }
            Ok(scratch)
        };
        let scratch = gpu.explained(allocate.await).await?;
        gpu.probe().await?;
        let groups = self.bound.groups_with(&scratch)?;
        Ok(Job {
            slices: self.clone(),
            scratch,
            groups,
            at: Cursor::default(),
            all: self.timeline.total().as_secs_f64().max(f64::MIN_POSITIVE),
            done: 0.0,
            count: 0,
            expected: 0.0,
            factors: [1.0; REMEMBERED],
        })
    }
}

/// Work that is under way: a kernel of which some slices are recorded. Dropping it leaves the rest undone.
///
/// Slices have to be submitted in the order in which they were recorded; inputs must not change in between. Outputs are
/// whole once the last slice ([`Progress::finished`]) is done on the device, and not before.
#[derive(Debug)]
pub struct Job {
    slices: Slices,
    scratch: Vec<wgpu::Buffer>,
    /// With the job's own scratch memory.
    groups: BindGroups,
    at: Cursor,
    /// Seconds of the whole, and of what is recorded, as predicted: frames are too short to add up thousands of parts.
    all: f64,
    done: f64,
    count: u32,
    /// Seconds that the last slice was meant to take.
    expected: f64,
    /// Measured over predicted time, lately.
    factors: [f64; REMEMBERED],
}

/// How far a job has come.
#[derive(Clone, Copy, Debug, PartialEq)]
#[non_exhaustive]
pub struct Progress {
    /// The share of the work that is recorded, 0 to 1, by the time that it takes.
    pub done: f64,
    /// How many slices that were.
    pub slices: u32,
    /// Whether that is all.
    pub finished: bool,
    /// The predicted time of the last slice on the device.
    pub expected: Duration,
}

/// Measurements that a prediction is corrected by: their median, so that one interruption does not count.
const REMEMBERED: usize = 7;

impl Job {
    /// Records the next slice into the caller's encoder, in a compute pass of its own; nothing if the job is finished.
    /// Submits nothing, waits for nothing and allocates nothing of its own.
    pub fn encode(&mut self, encoder: &mut wgpu::CommandEncoder) -> Progress {
        if self.at < self.slices.timeline.end() {
            let passes = &self.slices.kernel().plan().passes;
            let label = passes.get(self.at.pass).map(|pass| pass.label.as_str());
            let descriptor = wgpu::ComputePassDescriptor { label, timestamp_writes: None };
            let mut pass = encoder.begin_compute_pass(&descriptor);
            self.record(&mut pass);
        }
        self.progress()
    }

    /// As [`Job::encode`], into a compute pass of the caller's.
    pub fn encode_in_pass(&mut self, pass: &mut wgpu::ComputePass<'_>) -> Progress {
        self.record(pass);
        self.progress()
    }

    /// How far it has come.
    #[must_use]
    pub fn progress(&self) -> Progress {
        let finished = self.at >= self.slices.timeline.end();
        Progress {
            done: if finished { 1.0 } else { (self.done / self.all).min(1.0) },
            slices: self.count,
            finished,
            expected: duration(self.expected),
        }
    }

    /// Tells how long the last slice took on the device, so that the next ones are cut accordingly: a host that measures its
    /// passes knows, and clocks change.
    pub fn took(&mut self, time: Duration) {
        if self.expected > 0.0 {
            self.factors.rotate_left(1);
            self.factors[REMEMBERED - 1] = self.factor() * time.as_secs_f64() / self.expected;
        }
    }

    /// Measured over predicted time.
    fn factor(&self) -> f64 {
        let mut sorted = self.factors;
        sorted.sort_unstable_by(f64::total_cmp);
        sorted[REMEMBERED / 2].max(1e-3)
    }

    /// Begins again from the first slice.
    pub fn restart(&mut self) {
        self.at = Cursor::default();
        self.done = 0.0;
        self.count = 0;
        self.expected = 0.0;
    }

    /// Begins again from the first slice, with other tensors of the same kernel, in the same memory: makes bind groups.
    ///
    /// # Errors
    /// [`ErrorKind::Usage`](crate::ErrorKind::Usage) for tensors of another kernel; as [`Kernel::bind`].
    pub fn restart_with(&mut self, bound: &BoundKernel) -> Result<(), Error> {
        if !Arc::ptr_eq(&bound.kernel().inner, &self.slices.kernel().inner) {
            let expected = &self.slices.kernel().plan().variant;
            let message = format!("the job's own kernel ({expected}) is expected, got another one");
            return Err(Error::usage("bound", message));
        }
        self.groups = bound.groups_with(&self.scratch)?;
        self.slices.bound = bound.clone();
        self.restart();
        Ok(())
    }

    fn record(&mut self, pass: &mut wgpu::ComputePass<'_>) {
        let timeline = &self.slices.timeline;
        if self.at >= timeline.end() {
            return;
        }
        let factor = self.factor();
        let next = timeline.advance(self.at, self.slices.budget.as_secs_f64() / factor);
        let passes = &self.slices.kernel().inner.passes;
        dispatch_range(pass, passes, &self.groups, &timeline.grids, self.at..next);
        let predicted = timeline.seconds(self.at..next);
        self.expected = predicted * factor;
        self.done += predicted;
        self.at = next;
        self.count += 1;
    }
}
