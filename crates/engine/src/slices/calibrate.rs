//! Measuring how long the parts of a kernel take.

use std::ops::Range;
use std::sync::Arc;
use std::time::Duration;

use web_time::Instant;

use crate::kernel::dispatch_timeline::{Cursor, DispatchTimeline};
use crate::run::timing::{Sample, credible};
use crate::{Engine, Error, Slices};

/// Runs whose parts are cut by what the one before found, unless they take longer than this together.
const ROUNDS: usize = 2;
const REPEATS: usize = 3;
const ENOUGH: Duration = Duration::from_secs(2);

/// The measurement of a part. Its shortest time counts: other work of the machine only adds to it.
struct Part {
    range: Range<Cursor>,
    /// Without what submitting takes.
    host: Duration,
    sample: Sample,
}

impl Part {
    fn again(&mut self, sample: &Sample, overhead: Duration) {
        self.host = self.host.min(sample.host.saturating_sub(overhead));
        let device = self.sample.device.into_iter().chain(sample.device).min();
        self.sample.device = device;
    }
}

/// The seconds of each unit: by the device's timestamps, if they can be true.
fn times(timeline: &DispatchTimeline, parts: &[Part]) -> Vec<Vec<f32>> {
    let by_device = credible(parts.iter().map(|part| &part.sample)).is_some();
    let mut times = timeline.blank();
    for part in parts {
        let device = part.sample.device.filter(|_| by_device);
        DispatchTimeline::fill(&mut times, part.range.clone(), device.unwrap_or(part.host).as_secs_f64());
    }
    times
}

/// Submissions without work that are timed to know what submitting takes.
const EMPTY: usize = 5;

impl Slices {
    /// Runs the kernel, in slices, and measures how long each part takes: by the device's timestamps where it has them and
    /// they can be true, by the clock if not. Outputs are written; the kernel remembers the times, and so do slices that are
    /// made of it later.
    ///
    /// This submits and waits, natively on the thread that polls the future.
    ///
    /// # Errors
    /// As [`Engine::run`].
    pub async fn calibrate(&mut self) -> Result<(), Error> {
        let shared = Arc::clone(&self.kernel().inner.shared);
        shared.gpu.check()?;
        let profile = shared.profile.clone();
        let engine = Engine::of(shared, profile);
        let measured = engine.measure_parts(self).await;
        let timeline = engine.shared.gpu.explained(measured).await?;
        self.set_timeline(Arc::new(timeline));
        Ok(())
    }
}

impl Engine {
    async fn measure_parts(&self, slices: &Slices) -> Result<DispatchTimeline, Error> {
        let bound = slices.bound();
        let queries = self.queries().await?;
        let mut overhead = Duration::MAX;
        for _ in 0..EMPTY {
            let nothing = Cursor::default()..Cursor::default();
            let sample = self.sample_range(bound, &slices.timeline, nothing, None).await?;
            overhead = overhead.min(sample.host);
        }
        let mut timeline = Arc::clone(&slices.timeline);
        // An estimate may be far off, so that parts are to be corrected while they are measured.
        let mut factor = if timeline.measured { 1.0 } else { 8.0 };
        let budget = slices.budget().as_secs_f64();
        let end = timeline.end();
        let started = Instant::now();
        for round in 0..ROUNDS {
            let mut parts: Vec<Part> = Vec::new();
            let mut at = Cursor::default();
            while at < end {
                // Not beyond a pass: units of different passes have nothing in common.
                let next = timeline.advance(at, budget / factor).min(at.next_pass());
                let sample = self.sample_range(bound, &timeline, at..next, queries.as_ref()).await?;
                let host = sample.host.saturating_sub(overhead);
                if round == 0 && !timeline.measured {
                    let expected = timeline.seconds(at..next);
                    factor =
                        if expected > 0.0 { host.as_secs_f64() / expected } else { factor }.clamp(1e-3, 1e3);
                }
                parts.push(Part { range: at..next, host, sample });
                at = next;
            }
            // The same parts again, if that does not take long.
            for _ in 1..REPEATS {
                if round == 0 || started.elapsed() >= ENOUGH {
                    break;
                }
                for part in &mut parts {
                    let range = part.range.clone();
                    let sample = self.sample_range(bound, &timeline, range, queries.as_ref()).await?;
                    part.again(&sample, overhead);
                }
            }
            timeline = Arc::new(timeline.measured(times(&timeline, &parts)));
            factor = 1.0;
            if started.elapsed() >= ENOUGH {
                break;
            }
        }
        Ok(DispatchTimeline::clone(&timeline))
    }
}
