//! Splits the engine's own submissions so that none triggers the system's watchdog.

use std::sync::Arc;
use std::time::Duration;

use web_time::Instant;

use crate::device::gpu::lock;
use crate::kernel::bound_kernel::BoundKernel;
use crate::kernel::dispatch_timeline::{Cursor, DispatchTimeline};
use crate::{Engine, Error, Kernel};

/// Estimates may be wrong by this factor.
const DOUBT: u32 = 8;
/// The most that a submission may grow by beyond the last.
const GROWTH: f64 = 4.0;

impl Engine {
    /// Submits a bound kernel. Work that may take longer than [`Options::longest_submission`](crate::Options::longest_submission)
    /// is cut, and each part but the last is waited for; `progress` hears which share is done.
    pub(crate) async fn execute(
        &self,
        label: &str,
        bound: &BoundKernel,
        mut progress: Option<&mut (dyn FnMut(f64) + Send)>,
    ) -> Result<wgpu::SubmissionIndex, Error> {
        let gpu = &self.shared.gpu;
        let Some(timeline) = self.long(bound.kernel()).await? else {
            let record = |encoder: &mut wgpu::CommandEncoder| {
                bound.encode(encoder);
                Ok(())
            };
            return gpu.submit(label, record).await;
        };
        let longest = self.shared.options.longest_submission.as_secs_f64() / 2.0;
        let total = timeline.total().as_secs_f64();
        let (mut at, end) = (Cursor::default(), timeline.end());
        let (mut took, mut predicted) = (0.0, 0.0);
        // Measured seconds for a second of the prediction, once that is known.
        let mut factor = if timeline.measured { 1.0 } else { f64::from(DOUBT) };
        let mut last = longest / f64::from(DOUBT);
        loop {
            let next = timeline.advance(at, longest.min(last * GROWTH) / factor);
            let record = |encoder: &mut wgpu::CommandEncoder| {
                let descriptor = wgpu::ComputePassDescriptor { label: Some(label), timestamp_writes: None };
                let mut pass = encoder.begin_compute_pass(&descriptor);
                bound.dispatch_range(&mut pass, &timeline.grids, at..next);
                Ok(())
            };
            let started = Instant::now();
            let index = gpu.submit(label, record).await?;
            if next >= end {
                if took > 0.0 && predicted > 0.0 {
                    bound.kernel().set_timeline(Arc::new(timeline.scaled(took / predicted)));
                }
                return Ok(index);
            }
            gpu.wait(&index).await?;
            last = started.elapsed().as_secs_f64();
            let expected = timeline.seconds(at..next);
            took += last;
            predicted += expected;
            if expected > 0.0 {
                factor = last / expected;
            }
            at = next;
            if let Some(progress) = &mut progress {
                progress(if total > 0.0 { (predicted / total).min(1.0) } else { 0.0 });
            }
        }
    }

    /// How a kernel is to be cut, if it is too long for one submission, as far as that is known.
    pub(crate) async fn long(&self, kernel: &Kernel) -> Result<Option<Arc<DispatchTimeline>>, Error> {
        let longest = self.shared.options.longest_submission;
        let known =
            lock(&kernel.inner.timeline).as_ref().filter(|timeline| timeline.measured).map(Arc::clone);
        let short = match &known {
            Some(timeline) => timeline.total() <= longest,
            None => kernel.plan().cost.time.saturating_mul(DOUBT) <= longest,
        };
        if short || longest == Duration::ZERO || kernel.inner.passes.is_empty() {
            return Ok(None);
        }
        match known {
            Some(timeline) => Ok(Some(timeline)),
            None => kernel.timeline().await.map(Some),
        }
    }
}
