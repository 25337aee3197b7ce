//! How long things took.

use std::time::{Duration, Instant};

use foveal::wgpu;
use foveal_examples_common::{Failure, Host};

/// Durations of one kind.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Times(Vec<Duration>);

impl Times {
    pub(crate) fn push(&mut self, time: Duration) {
        self.0.push(time);
    }

    pub(crate) fn len(&self) -> usize {
        self.0.len()
    }

    pub(crate) fn median(&self) -> Duration {
        self.quantile(50)
    }

    pub(crate) fn p95(&self) -> Duration {
        self.quantile(95)
    }

    /// How many took no longer than this.
    pub(crate) fn within(&self, limit: Duration) -> usize {
        self.0.iter().filter(|&&time| time <= limit).count()
    }

    /// The one that so many of a hundred do not exceed; zero of none.
    fn quantile(&self, percent: usize) -> Duration {
        let mut sorted = self.0.clone();
        sorted.sort_unstable();
        let index = (sorted.len() * percent).div_ceil(100).saturating_sub(1);
        sorted.get(index).copied().unwrap_or_default()
    }
}

/// Records, submits and waits, by the host's clock: those of drivers that run on the CPU cannot be believed.
pub(crate) fn measure(
    host: &Host,
    record: impl FnOnce(&mut wgpu::CommandEncoder),
) -> Result<Duration, Failure> {
    let start = Instant::now();
    let mut encoder = host.device.create_command_encoder(&wgpu::CommandEncoderDescriptor::default());
    record(&mut encoder);
    host.submit(encoder, "measuring")?;
    Ok(start.elapsed())
}

/// In milliseconds.
pub(crate) fn milliseconds(time: Duration) -> f64 {
    time.as_secs_f64() * 1e3
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quantiles_are_times() {
        let times = Times((1..=100).rev().map(Duration::from_millis).collect());
        assert_eq!(times.median(), Duration::from_millis(50));
        assert_eq!(times.p95(), Duration::from_millis(95));
        assert_eq!(times.within(Duration::from_millis(30)), 30);
        assert_eq!(Times(vec![Duration::from_millis(3)]).p95(), Duration::from_millis(3));
        assert_eq!(Times::default().median(), Duration::ZERO);
    }
}
