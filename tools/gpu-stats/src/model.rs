//! A three-pipe issue model: how much of the multiply-add peak a stretch of code can reach.

use serde::{Deserialize, Serialize};

use crate::family::Family;
use crate::parts::{Counts, Part};

/// The unit a stretch of code keeps busiest.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Pipe {
    /// Vector arithmetic.
    Valu,
    /// Workgroup memory.
    Lds,
    /// Vector memory.
    Vmem,
}

/// Cycles of one SIMD, a wave's turn on average when all SIMDs of the compute unit run the same code.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Cost {
    /// Useful cycles: multiply-adds alone.
    pub fma: f64,
    /// Vector arithmetic, multiply-adds included.
    pub valu: f64,
    /// Workgroup memory.
    pub lds: f64,
    /// Vector memory.
    pub vmem: f64,
}

impl Cost {
    /// Time of the slowest pipe: the others are assumed to hide behind it.
    pub fn cycles(&self) -> f64 {
        self.valu.max(self.lds).max(self.vmem)
    }

    /// The slowest pipe.
    pub fn binding(&self) -> Pipe {
        if self.valu >= self.lds.max(self.vmem) {
            Pipe::Valu
        } else if self.lds >= self.vmem {
            Pipe::Lds
        } else {
            Pipe::Vmem
        }
    }

    /// Multiply-adds' share of the time, 0 to 1; 1 is one multiply-add a lane and cycle.
    pub fn share(&self) -> f64 {
        if self.cycles() > 0.0 { self.fma / self.cycles() } else { 0.0 }
    }
}

/// Where and how a program runs: what the model needs besides the code.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Setting {
    /// The GPU.
    pub family: Family,
    /// Lanes of a wave.
    pub wave_size: u32,
    /// Waves a SIMD holds at once, on average over the SIMDs. Below 1, SIMDs stand idle.
    pub waves_per_simd: f64,
}

impl Setting {
    /// Derives the waves that fit from a program's registers (as the driver counts them), workgroup memory in bytes and
    /// threads a workgroup. The driver's own figure is rounded up, and counts a wave64 twice on RDNA.
    pub fn new(family: Family, wave_size: u32, registers: u32, lds_bytes: u32, threads: u32) -> Self {
        let unit = family.unit();
        // A register of half the lanes is half as large.
        let share = 64 / wave_size.max(1);
        let step = unit.register_step * share;
        let by_registers = unit.registers * share / registers.max(1).next_multiple_of(step);
        let waves_per_group = threads.div_ceil(wave_size.max(1)).max(1);
        let simds = unit.lds_simds;
        // Workgroups come whole: what is left behind the last one that fits stays unused.
        let by_waves = by_registers.min(unit.waves) * simds / waves_per_group;
        let by_lds = unit.lds_capacity.checked_div(lds_bytes).unwrap_or(u32::MAX);
        let waves = by_waves.min(by_lds) * waves_per_group;
        Self { family, wave_size, waves_per_simd: f64::from(waves) / f64::from(simds) }
    }
}

/// Costs a turn of a part.
pub fn model(counts: &Counts, setting: Setting) -> Cost {
    let unit = setting.family.unit();
    let lanes = f64::from(setting.wave_size);
    let issue = lanes / unit.simd_lanes;
    let slow = f64::from(counts.transcendental + counts.slow_valu) * unit.quarter_rate;
    // The cost is per wave and SIMD of a full unit. Where only some SIMDs have a wave, arithmetic takes longer; the
    // shared pipes serve the same number of waves in the same time.
    let busy = setting.waves_per_simd.clamp(f64::MIN_POSITIVE, 1.0);
    let shared = |bytes: u32, rate: f64| f64::from(bytes) * lanes / rate * unit.simds;
    Cost {
        fma: f64::from(counts.fma_instructions) * issue,
        valu: (f64::from(counts.fma_instructions + counts.valu) + slow) * issue / busy,
        lds: shared(counts.lds_bytes(), unit.lds_bytes),
        vmem: shared(counts.vmem_bytes(), unit.vmem_bytes),
    }
}

/// A kernel's cost for one key tile.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Whole {
    /// Useful cycles of a SIMD.
    pub fma: f64,
    /// Cycles of a SIMD, each part at the speed of its own slowest pipe.
    pub cycles: f64,
}

impl Whole {
    /// Share of the multiply-add peak, 0 to 1.
    pub fn share(&self) -> f64 {
        if self.cycles > 0.0 { self.fma / self.cycles } else { 0.0 }
    }
}

/// Adds parts up, each as often as it runs: `trips` are pairs of part index and runs a key tile, as [`per_tile`] makes
/// them. Parts not named do not count. Useful are the multiply-adds of hot parts; those elsewhere belong to the softmax.
/// Of every `if`/`else` one side counts ([`Part::taken`]).
///
/// [`per_tile`]: crate::per_tile
pub fn whole(parts: &[Part], trips: &[(usize, f64)], setting: Setting) -> Whole {
    sum(parts, trips, setting, |part| &part.taken)
}

/// As [`whole`], with both sides of every `if`/`else`: what a wave pays whose lanes never agree.
pub fn whole_all_sides(parts: &[Part], trips: &[(usize, f64)], setting: Setting) -> Whole {
    sum(parts, trips, setting, |part| &part.counts)
}

fn sum(parts: &[Part], trips: &[(usize, f64)], setting: Setting, of: fn(&Part) -> &Counts) -> Whole {
    let mut sum = Whole { fma: 0.0, cycles: 0.0 };
    for &(index, count) in trips {
        if let Some(part) = parts.get(index) {
            let cost = model(of(part), setting);
            sum.cycles += cost.cycles() * count;
            if part.hot() {
                sum.fma += cost.fma * count;
            }
        }
    }
    sum
}
