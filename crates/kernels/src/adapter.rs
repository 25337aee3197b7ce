//! Adapters as plans see them: plain data.

use serde::{Deserialize, Serialize};

use crate::Error;

/// An adapter's features, limits and rates.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct AdapterProfile {
    /// The adapter's name, e.g. `llvmpipe (LLVM 15.0.6, 256 bits)`.
    pub name: String,
    /// Driver name and version, as the backend tells them.
    pub driver: String,
    /// The API it is reached through: `vulkan`, `metal`, `dx12`, `gl`, `webgpu`.
    pub backend: String,
    /// The kind of device.
    pub kind: AdapterKind,
    /// Limits of the device, as it was opened.
    pub limits: Limits,
    /// Optional features the device was opened with.
    pub features: Features,
    /// Rates that the cost model uses.
    pub rates: Rates,
    /// After how many turns of its loops, all of them together, the driver silently ends an invocation's loops:
    /// measured. A loop that makes n turns takes n + 1 of them every time it is entered. `None` where 70,000 turns came
    /// to their end, or where nothing was measured.
    #[serde(default)]
    pub loop_turns: Option<u64>,
    /// Results of f32 functions at the ends of their ranges; `None` where nothing was measured.
    #[serde(default)]
    pub maths: Option<Maths>,
    /// Products of matrices of f16 that are added in f32, if the device has them: listed by the adapter, and measured.
    #[serde(default)]
    pub matrix: Option<MatrixUnit>,
}

/// Products of matrices that a subgroup shares, of f16 and added in f32, all of them square.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct MatrixUnit {
    /// Rows and columns of the matrices: 8 or 16.
    pub side: u32,
    /// Lanes of the subgroups that kernels with such matrices run in, as a probe found them.
    pub lanes: u32,
}

/// Results of an adapter's f32 functions at the ends of their ranges, where WGSL lets an implementation choose. A field is true
/// if it is what IEEE 754 has. Kernels do not rely on any of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Maths {
    /// `exp` and `exp2` underflow to 0 (from -inf and from -200) and overflow to inf.
    pub exp_ends: bool,
    /// `exp` and `exp2` of NaN are NaN.
    pub exp_of_nan: bool,
    /// `log` and `log2` of 0 are -inf.
    pub log_of_zero: bool,
    /// `log` and `log2` of -1 and of NaN are NaN.
    pub log_of_nan: bool,
    /// `sqrt` of -1 and of NaN are NaN, and of 0 it is 0.
    pub sqrt_ends: bool,
    /// `tanh` of 100 is 1, of -100 it is -1.
    pub tanh_ends: bool,
    /// `tanh` of NaN is NaN.
    pub tanh_of_nan: bool,
    /// `max` and `min` are NaN if one of their arguments is, as IEEE 754-2019's `maximum` and `minimum` are.
    pub max_of_nan: bool,
    /// `x != x` is true of NaN, and `x == x` false.
    pub compares_nan: bool,
    /// `x - x` of inf and of NaN is NaN.
    pub inf_less_inf: bool,
    /// Multiplication, `max` and `sqrt` keep subnormal numbers.
    pub subnormals: bool,
    /// `unpack2x16float` knows subnormal numbers, inf and NaN.
    pub unpacks_f16: bool,
    /// `pack2x16float` rounds to nearest, to subnormal numbers too, and knows inf and NaN.
    pub packs_f16: bool,
    /// `pack2x16float` of numbers beyond 65,520 is inf.
    pub packs_large: bool,
}

impl Maths {
    /// The fields, in words: what is as IEEE 754 has it, and whether it is here.
    #[must_use]
    pub fn facts(&self) -> [(&'static str, bool); 14] {
        [
            ("exp underflows to 0 and overflows to inf", self.exp_ends),
            ("exp(NaN) is NaN", self.exp_of_nan),
            ("log(0) is -inf", self.log_of_zero),
            ("log(-1) and log(NaN) are NaN", self.log_of_nan),
            ("sqrt(-1) is NaN", self.sqrt_ends),
            ("tanh(100) is 1", self.tanh_ends),
            ("tanh(NaN) is NaN", self.tanh_of_nan),
            ("max(NaN, 1) is NaN", self.max_of_nan),
            ("NaN != NaN", self.compares_nan),
            ("inf - inf is NaN", self.inf_less_inf),
            ("subnormal numbers are kept", self.subnormals),
            ("f16 inf, NaN and subnormal numbers unpack", self.unpacks_f16),
            ("inf, NaN and subnormal numbers pack as f16", self.packs_f16),
            ("numbers beyond 65,520 pack as f16 inf", self.packs_large),
        ]
    }
}

/// The kind of device that an adapter is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
#[expect(missing_docs, reason = "the names are WebGPU's")]
pub enum AdapterKind {
    Discrete,
    Integrated,
    Virtual,
    /// A driver that runs shaders on the CPU.
    Cpu,
    Other,
}

/// The limits that plans are checked against, in WebGPU's terms.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[expect(missing_docs, reason = "the names are WebGPU's")]
pub struct Limits {
    pub max_storage_buffers_per_shader_stage: u32,
    pub max_storage_buffer_binding_size: u64,
    pub max_buffer_size: u64,
    pub min_storage_buffer_offset_alignment: u32,
    pub min_uniform_buffer_offset_alignment: u32,
    pub max_uniform_buffer_binding_size: u64,
    pub max_compute_workgroup_storage_size: u32,
    pub max_compute_invocations_per_workgroup: u32,
    pub max_compute_workgroup_size_x: u32,
    pub max_compute_workgroups_per_dimension: u32,
}

/// Optional features.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Features {
    /// Subgroup operations in compute shaders, with the smallest and largest subgroup size; `None` without them.
    pub subgroups: Option<(u32, u32)>,
    /// `shader-f16`.
    pub f16: bool,
    /// Timestamp queries.
    pub timestamps: bool,
    /// Pipeline caches that can be stored.
    pub pipeline_cache: bool,
}

/// Rates of an adapter, in operations of one lane a nanosecond over the whole device (10^9 a second).
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Rates {
    /// f32 fused multiply-adds.
    pub fma: f64,
    /// f32 loads from a storage buffer, cached.
    pub storage_load: f64,
    /// f32 loads from workgroup memory.
    pub workgroup_load: f64,
    /// Subgroup broadcasts; 0 without subgroups.
    pub broadcast: f64,
    /// `exp2`.
    pub exp2: f64,
    /// Multiply-adds of matrix units, f16 added in f32; 0 without them.
    #[serde(default)]
    pub matrix: f64,
    /// Whether the rates were measured on this adapter (`foveal info --roofline`) or assumed from its kind.
    pub measured: bool,
}

impl Rates {
    /// Rates assumed of an adapter of `kind` that was not measured. Only their ratios matter when variants are compared:
    /// a driver that runs shaders on the CPU pays about thirty FMAs for a load, a GPU two to four.
    #[must_use]
    pub fn assumed(kind: AdapterKind) -> Self {
        // A driver on a CPU takes matrices apart and converts every element.
        let (fma, storage, workgroup, broadcast, exp2, matrix) = match kind {
            AdapterKind::Cpu => (60.0, 2.0, 3.0, 20.0, 10.0, 2.0),
            AdapterKind::Discrete => (8000.0, 1000.0, 4000.0, 2000.0, 2000.0, 64_000.0),
            AdapterKind::Integrated | AdapterKind::Virtual | AdapterKind::Other => {
                (700.0, 90.0, 350.0, 180.0, 180.0, 2800.0)
            }
        };
        let (storage_load, workgroup_load) = (storage, workgroup);
        Self { fma, storage_load, workgroup_load, broadcast, exp2, matrix, measured: false }
    }

    /// GFLOP/s of the FMA peak: two operations each.
    #[must_use]
    pub fn peak_gflops(&self) -> f64 {
        2.0 * self.fma
    }
}

impl Limits {
    /// The limits every WebGPU adapter has.
    pub const WEBGPU_DEFAULT: Self = Self {
        max_storage_buffers_per_shader_stage: 8,
        max_storage_buffer_binding_size: 128 << 20,
        max_buffer_size: 256 << 20,
        min_storage_buffer_offset_alignment: 256,
        min_uniform_buffer_offset_alignment: 256,
        max_uniform_buffer_binding_size: 64 << 10,
        max_compute_workgroup_storage_size: 16 << 10,
        max_compute_invocations_per_workgroup: 256,
        max_compute_workgroup_size_x: 256,
        max_compute_workgroups_per_dimension: 65_535,
    };
}

impl AdapterProfile {
    /// The least that any WebGPU adapter offers: default limits, no optional feature. Kernels that run here run
    /// everywhere.
    #[must_use]
    pub fn webgpu_floor() -> Self {
        Self {
            name: "WebGPU floor".into(),
            driver: String::new(),
            backend: "webgpu".into(),
            kind: AdapterKind::Other,
            limits: Limits::WEBGPU_DEFAULT,
            features: Features::default(),
            rates: Rates::assumed(AdapterKind::Other),
            loop_turns: None,
            maths: None,
            matrix: None,
        }
    }

    /// Checks that the device computes at all: a host may have opened it for drawing only.
    pub(crate) fn check_compute(&self) -> Result<(), Error> {
        if self.limits.max_compute_workgroups_per_dimension > 0 {
            return Ok(());
        }
        Err(Error::limit(
            "max_compute_workgroups_per_dimension",
            "it is 0: the device was opened without compute shaders",
        ))
    }

    /// Why kernels with matrices of subgroups are not even compiled here, if so.
    #[must_use]
    pub fn matrix_denied(&self) -> Option<String> {
        let denied = self.backend == "vulkan"
            && self.driver.contains("AMD proprietary driver")
            && self.driver.contains("25.10");
        denied.then(|| {
            "AMD's driver 25.10 is reported to end the process while it compiles kernels with matrices"
                .to_owned()
        })
    }

    /// About how many workgroups run at the same time, for estimates: as many take hardly longer than one.
    #[must_use]
    pub fn workgroups_at_once(&self) -> f64 {
        match self.kind {
            AdapterKind::Cpu => 2.0,
            AdapterKind::Discrete => 128.0,
            AdapterKind::Integrated | AdapterKind::Virtual | AdapterKind::Other => 24.0,
        }
    }

    /// Workgroups that work is split into where each waits for memory: more than [`Self::workgroups_at_once`], at least two for each
    /// core of all but the largest of its kind (256 cores of a discrete GPU, 64 of an integrated one). Where nothing is known of it,
    /// as in a browser, it may be either.
    #[must_use]
    pub fn workgroup_slots(&self) -> usize {
        match self.kind {
            AdapterKind::Cpu => 2,
            AdapterKind::Discrete => 512,
            AdapterKind::Integrated => 128,
            AdapterKind::Virtual | AdapterKind::Other => 256,
        }
    }

    /// A key that changes when results or timings might: adapter, driver and API.
    #[must_use]
    pub fn key(&self) -> String {
        format!("{} | {} | {}", self.name, self.driver, self.backend)
    }
}
