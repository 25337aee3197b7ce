//! The GPU generations and what the model assumes about them.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

/// A generation of AMD GPUs, by the name RADV's null device knows it by.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Family {
    /// GCN 5 (Radeon Vega 56 and 64, and the graphics of many laptops).
    Vega10,
    /// RDNA 1 (Radeon RX 5700).
    Navi10,
    /// RDNA 2 (Radeon RX 6800 and 6900).
    Navi21,
    /// RDNA 3 (Radeon RX 7900).
    Gfx1100,
}

/// The figures of one compute unit.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Unit {
    /// SIMDs that share workgroup memory and the first-level cache.
    pub simds: f64,
    /// Lanes a SIMD serves a cycle.
    pub simd_lanes: f64,
    /// How many times longer a quarter-rate instruction takes.
    pub quarter_rate: f64,
    /// Bytes a cycle from or to workgroup memory.
    pub lds_bytes: f64,
    /// Bytes a cycle from the first-level vector cache, hits assumed.
    pub vmem_bytes: f64,
    /// Vector registers of a SIMD, in registers of 64 lanes.
    pub registers: u32,
    /// Registers of 64 lanes are allotted in multiples of this.
    pub register_step: u32,
    /// Waves a SIMD can hold at most.
    pub waves: u32,
    /// Bytes of workgroup memory that `lds_simds` SIMDs share.
    pub lds_capacity: u32,
    /// SIMDs of a compute unit (GCN) or of a pair of them, a workgroup processor (RDNA).
    pub lds_simds: u32,
}

impl Family {
    /// Every family, oldest first.
    pub const ALL: [Self; 4] = [Self::Vega10, Self::Navi10, Self::Navi21, Self::Gfx1100];

    /// The three generations that snapshots and tables cover.
    pub const USUAL: [Self; 3] = [Self::Vega10, Self::Navi21, Self::Gfx1100];

    /// Value for `RADV_FORCE_FAMILY`.
    pub fn name(self) -> &'static str {
        match self {
            Self::Vega10 => "vega10",
            Self::Navi10 => "navi10",
            Self::Navi21 => "navi21",
            Self::Gfx1100 => "gfx1100",
        }
    }

    /// Assumptions of the model; the README says where the figures come from.
    pub fn unit(self) -> Unit {
        let rdna = Unit {
            simds: 2.0,
            simd_lanes: 32.0,
            quarter_rate: 4.0,
            lds_bytes: 128.0,
            vmem_bytes: 128.0,
            registers: 512,
            register_step: 8,
            waves: 16,
            lds_capacity: 128 << 10,
            lds_simds: 4,
        };
        match self {
            Self::Vega10 => Unit {
                simds: 4.0,
                simd_lanes: 16.0,
                vmem_bytes: 64.0,
                registers: 256,
                register_step: 4,
                waves: 10,
                lds_capacity: 64 << 10,
                ..rdna
            },
            Self::Navi10 => Unit { register_step: 4, waves: 20, ..rdna },
            Self::Navi21 => rdna,
            Self::Gfx1100 => Unit { registers: 768, register_step: 12, ..rdna },
        }
    }
}

impl fmt::Display for Family {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.name())
    }
}

impl FromStr for Family {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        Self::ALL.into_iter().find(|f| f.name() == text).ok_or_else(|| {
            let known: Vec<_> = Self::ALL.iter().map(|f| f.name()).collect();
            format!("unknown family {text}; known are {}", known.join(", "))
        })
    }
}
