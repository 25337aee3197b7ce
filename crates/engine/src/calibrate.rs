//! Measuring how long the parts of a kernel take.

use std::sync::Arc;
use std::time::Duration;

use web_time::Instant;

use crate::binding::Binding;
use crate::groups::Groups;
use crate::pace::{Cursor, Pace};
use crate::timing::{Sample, credible};
use crate::{Engine, Error, Slices};

/// Runs that are measured, as long as they take less than this together: the shortest time of each part counts, for what
/// else the machine does only adds to it.
const ROUNDS: usize = 3;
const ENOUGH: Duration = Duration::from_secs(1);

/// Submissions without work that are timed to know what submitting takes.
const EMPTY: usize = 5;

impl Slices {
    /// Runs the kernel on these tensors, in slices, and measures how long each part takes: by the device's timestamps where
    /// it has them and they can be true, by the clock if not. Outputs are written; the kernel remembers the times, and so do
    /// slices that are made of it later.
    ///
    /// This submits and waits, natively on the thread that polls the future.
    ///
    /// # Errors
    /// As [`Kernel::encode`](crate::Kernel::encode) and [`Engine::run`].
    pub async fn calibrate<'a, B: Into<Binding<'a>> + Copy>(
        &mut self,
        tensors: &[(&str, B)],
    ) -> Result<(), Error> {
        let kernel = self.kernel().clone();
        let shared = Arc::clone(&kernel.inner.shared);
        let engine = Engine { profile: Arc::new(shared.profile.clone()), shared };
        let groups = kernel.remembered_groups(&kernel.resolve(tensors)?)?;
        let measured = engine.measure_parts(self, &groups).await;
        let pace = engine.shared.gpu.explained(measured).await?;
        self.set_pace(Arc::new(pace));
        Ok(())
    }
}

impl Engine {
    async fn measure_parts(&self, slices: &Slices, groups: &Groups) -> Result<Pace, Error> {
        let kernel = slices.kernel();
        let queries = self.queries().await?;
        let mut overhead = Duration::MAX;
        for _ in 0..EMPTY {
            let nothing = Cursor::default()..Cursor::default();
            let sample = self.sample_range(kernel, groups, &slices.pace, nothing, None).await?;
            overhead = overhead.min(sample.host);
        }
        let mut pace = Arc::clone(&slices.pace);
        // An estimate may be far off; what was measured is not.
        let mut factor = if pace.measured { 1.0 } else { 8.0 };
        let (mut by_host, mut by_device) = (pace.blank(), pace.blank());
        let mut samples: Vec<Sample> = Vec::new();
        let started = Instant::now();
        for round in 0..ROUNDS {
            let (mut at, end) = (Cursor::default(), pace.end());
            while at < end {
                // Not beyond a pass: units of different passes have nothing in common.
                let next = pace.advance(at, slices.budget().as_secs_f64() / factor).min(at.next_pass());
                let sample = self.sample_range(kernel, groups, &pace, at..next, queries.as_ref()).await?;
                let took = sample.host.saturating_sub(overhead).as_secs_f64();
                Pace::fill(&mut by_host, at..next, took);
                if let Some(device) = sample.device {
                    Pace::fill(&mut by_device, at..next, device.as_secs_f64());
                }
                if round == 0 && !pace.measured {
                    let expected = pace.seconds(at..next);
                    factor = if expected > 0.0 { took / expected } else { factor }.clamp(1e-3, 1e3);
                }
                samples.push(sample);
                at = next;
            }
            let times = if credible(&samples).is_some() { by_device.clone() } else { by_host.clone() };
            pace = Arc::new(pace.measured(times));
            factor = 1.0;
            if started.elapsed() >= ENOUGH {
                break;
            }
        }
        Ok(Pace::clone(&pace))
    }
}
