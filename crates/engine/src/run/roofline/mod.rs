//! Peak rates of an adapter, measured.

mod probe;

use std::fmt;

use foveal_kernels::{AdapterKind, MatrixUnit, Rates};
use serde::{Deserialize, Serialize};

use crate::{Engine, Error};
use probe::{Data, Probe};

/// Peak rates of an adapter, measured with small kernels that do nothing else.
///
/// Rates are operations of one lane a nanosecond over the whole device, which is 10^9 a second.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct Roofline {
    /// Name, driver and API of the adapter.
    pub adapter: String,
    /// f32 fused multiply-adds.
    pub fma: f64,
    /// Independent chains of FMAs a lane with which that rate was reached, of those tried.
    pub fma_chains: u32,
    /// `exp2`.
    pub exp2: f64,
    /// f32 loads from a storage buffer that stays in the nearest cache.
    pub storage_load: f64,
    /// f32 loads from workgroup memory.
    pub workgroup_load: f64,
    /// Subgroup broadcasts, each with an FMA; `None` without subgroups.
    pub broadcast: Option<f64>,
    /// Multiply-adds of matrix units, f16 added in f32; `None` without them.
    #[serde(default)]
    pub matrix: Option<f64>,
    /// Gigabytes a second (10^9 bytes) when a large buffer is read once.
    pub memory_gbps: f64,
}

impl Roofline {
    /// GFLOP/s of the FMA peak: two operations each.
    #[must_use]
    pub fn peak_gflops(&self) -> f64 {
        2.0 * self.fma
    }

    /// GFLOP/s of the matrix units: two operations each; `None` without them.
    #[must_use]
    pub fn matrix_gflops(&self) -> Option<f64> {
        self.matrix.map(|rate| 2.0 * rate)
    }

    /// The rates for the cost model, see [`Engine::with_rates`].
    #[must_use]
    pub fn rates(&self) -> Rates {
        Rates {
            fma: self.fma,
            storage_load: self.storage_load,
            workgroup_load: self.workgroup_load,
            broadcast: self.broadcast.unwrap_or(0.0),
            exp2: self.exp2,
            matrix: self.matrix.unwrap_or(0.0),
            measured: true,
        }
    }
}

/// A table for people.
impl fmt::Display for Roofline {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let relative = |rate: f64| format!("{:9.2} G/s   {:7.1} FMAs each", rate, self.fma / rate);
        writeln!(f, "{}", self.adapter)?;
        writeln!(f, "  f32 FMA            {:9.2} G/s   {:.1} GFLOP/s", self.fma, self.peak_gflops())?;
        writeln!(f, "  exp2               {}", relative(self.exp2))?;
        match self.broadcast {
            Some(rate) => writeln!(f, "  subgroup broadcast {}", relative(rate))?,
            None => writeln!(f, "  subgroup broadcast      none")?,
        }
        writeln!(f, "  workgroup load     {}", relative(self.workgroup_load))?;
        writeln!(f, "  storage load       {}, cached", relative(self.storage_load))?;
        if let Some(rate) = self.matrix {
            writeln!(
                f,
                "  matrix FMA         {}, {:.1} GFLOP/s",
                relative(rate),
                self.matrix_gflops().unwrap_or(0.0)
            )?;
        }
        write!(f, "  memory             {:9.2} GB/s", self.memory_gbps)
    }
}

/// (Chains, steps a turn) that are tried for FMAs: few chains suit devices with many threads, many those with few; too
/// many spill.
const FMA_SHAPES: [(u32, u32); 3] = [(4, 32), (8, 64), (16, 16)];

/// Lanes of a workgroup: two warps, one wave, or a few subgroups of a CPU.
const THREADS: u32 = 64;

/// Elements of the buffer that has to fit in any first cache.
const CACHED_LEN: u32 = 4096;

impl Engine {
    /// Measures the adapter. Takes about a second, during which the device should have nothing else to do.
    ///
    /// Every kernel's result is verified, so that no rate stands for work that a compiler left out.
    ///
    /// # Errors
    /// [`ErrorKind::Driver`](crate::ErrorKind::Driver) if a kernel computes something wrong;
    /// [`ErrorKind::OutOfMemory`](crate::ErrorKind::OutOfMemory),
    /// [`ErrorKind::DeviceLost`](crate::ErrorKind::DeviceLost), [`ErrorKind::Timeout`](crate::ErrorKind::Timeout).
    pub async fn measure_roofline(&self) -> Result<Roofline, Error> {
        self.learn().await?;
        self.shared.gpu.explained(self.measure_all().await).await
    }

    async fn measure_all(&self) -> Result<Roofline, Error> {
        let (mut fma, mut fma_chains) = (0.0, 0);
        for (chains, steps) in FMA_SHAPES {
            let probe =
                Probe::new(self, "fma", THREADS, &[("CHAINS", chains), ("UNROLL_STEPS", steps)], None)
                    .await?;
            let rate = probe.rate(chains * steps, |_| vec![2.0 * f64::from(chains)]).await?;
            if rate > fma {
                (fma, fma_chains) = (rate, chains);
            }
        }
        let probe = Probe::new(self, "exp2", THREADS, &[("CHAINS", 4), ("UNROLL_STEPS", 4)], None).await?;
        // The solution of x = 2^-x.
        let exp2 = probe.rate(16, |_| vec![4.0 * 0.641_185_744_504_986]).await?;

        let count = |chains: u32| move |turns: u32| vec![f64::from(chains) * f64::from(turns)];
        let probe =
            Probe::new(self, "storage", THREADS, &[("CHAINS", 8)], Some(Data { len: CACHED_LEN })).await?;
        let storage_load = probe.rate(8, count(8)).await?;
        drop(probe);
        let probe = Probe::new(self, "workgroup", THREADS, &[("CHAINS", 8)], None).await?;
        let workgroup_load = probe.rate(8, count(8)).await?;

        let broadcast = if self.profile.features.subgroups.is_some() {
            let (chains, steps) = (8, 2);
            let probe =
                Probe::new(self, "broadcast", THREADS, &[("CHAINS", chains), ("UNROLL_STEPS", steps)], None)
                    .await?;
            Some(probe.rate(chains * steps * 4, |_| broadcast_results(chains)).await?)
        } else {
            None
        };

        let matrix = self.measure_matrix().await?;

        let len = self.stream_len();
        // A driver on a CPU runs a whole subgroup before the next, which should find the rest of a cache line still
        // there.
        let threads = if self.profile.kind == AdapterKind::Cpu { 8 } else { THREADS };
        let probe = Probe::new(self, "storage", threads, &[("CHAINS", 8)], Some(Data { len })).await?;
        let memory_gbps = 4.0 * probe.stream_rate(8, count(8)).await?;
        Ok(Roofline {
            adapter: self.profile.key(),
            fma,
            fma_chains,
            exp2,
            storage_load,
            workgroup_load,
            broadcast,
            matrix,
            memory_gbps,
        })
    }

    /// The rate of products of matrices, each chain of which adds ones to ones.
    async fn measure_matrix(&self) -> Result<Option<f64>, Error> {
        let Some(MatrixUnit { side, lanes }) = self.profile().matrix else { return Ok(None) };
        let (chains, steps) = (4, 4);
        let tunables = [("CHAINS", chains), ("UNROLL_STEPS", steps)];
        let probe = Probe::of_matrices(self, lanes, &tunables, side).await?;
        // Multiply-adds of a turn, of the whole subgroup: a product is shared by its lanes.
        let of_turn = chains * steps * side.pow(3);
        let sum = move |turns: u32| vec![f64::from(chains * steps * side) * f64::from(turns)];
        Ok(Some(probe.rate(of_turn, sum).await? / f64::from(lanes)))
    }

    /// Elements of a buffer that is larger than caches are, as far as the device allows: 256 MiB on a GPU, where caches
    /// of 100 MB exist, 64 MiB on a CPU, where time is short.
    fn stream_len(&self) -> u32 {
        let limits = &self.profile.limits;
        let wanted = if self.profile.kind == AdapterKind::Cpu { 64 << 20 } else { 256 << 20 };
        let allowed = limits.max_storage_buffer_binding_size.min(limits.max_buffer_size);
        let bytes = allowed.min(wanted).max(4);
        // The largest power of two, of at most 2^26 elements.
        u32::try_from(1_u64 << (bytes / 4).ilog2()).unwrap_or(CACHED_LEN)
    }
}

/// Results of lanes 0 to 3 in the broadcast kernel, times the number of chains.
fn broadcast_results(chains: u32) -> Vec<f64> {
    let mut x = [0.0; 4];
    for step in 0..64 {
        let read = x[step % 4];
        x = [0.0, 1.0, 2.0, 3.0].map(|own| own + 0.5 * read);
    }
    x.iter().map(|x| x * f64::from(chains)).collect()
}
