//! How an engine is opened.

use std::fmt;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use foveal_shaders::Library;

/// How an engine is opened. Take the defaults for what does not matter:
///
/// ```
/// use foveal::{AdapterChoice, Options};
/// let options = Options { adapter: AdapterChoice::Name("llvmpipe".into()), ..Options::default() };
/// assert!(!options.floor);
/// ```
#[derive(Clone)]
pub struct Options {
    /// Which adapter. Read by [`Engine::new`](crate::Engine::new) only.
    pub adapter: AdapterChoice,
    /// The shaders: those that come with Foveal by default.
    pub library: Arc<Library>,
    /// Whether a variant has to prove itself before it is used.
    pub self_check: SelfCheck,
    /// Where compiled pipelines and passed self-checks are remembered: the user's cache directory by default. `None`
    /// leaves the disk alone. Files there are never trusted: what is damaged or foreign is ignored, and a directory
    /// that cannot be written to costs time, not correctness.
    pub cache_dir: Option<PathBuf>,
    /// Opens the device with WebGPU's default limits and no optional feature, so that what runs here runs on every
    /// adapter. Read by [`Engine::new`](crate::Engine::new) only.
    pub floor: bool,
    /// Whether the device has subgroup operations that wgpu does not know of. In browsers wgpu 30 cannot ask for the feature
    /// `subgroups`: set this if the page asks for it instead. Read by [`Engine::new`](crate::Engine::new) only.
    pub subgroups: bool,
    /// Whether kernels may use matrix units.
    pub matrix: MatrixUnits,
    /// Compiles shaders with naga's bounds checks and loop guards, for tests of the kernels. Slower.
    pub runtime_checks: bool,
    /// Ends the loops of an invocation once they have taken the turns that the plan states of its pass
    /// ([`Pass::loop_turns`](foveal_kernels::Pass::loop_turns)), as a driver with a bound of its own does: for tests of plans.
    /// Slower.
    pub bounded_loops: bool,
    /// How long the engine waits for work that it submitted before it gives up with
    /// [`ErrorKind::Timeout`](crate::ErrorKind::Timeout). Ten minutes by default: software adapters are slow, hung
    /// drivers are forever.
    pub wait_limit: Duration,
    /// Work that the engine submits itself is cut into submissions that take no longer than this, going by what was
    /// measured of the first: systems reset a GPU that does not answer for two seconds or so, and show nothing else
    /// meanwhile. Half a second by default; zero cuts nothing. What a host records with
    /// [`BoundKernel::encode`](crate::BoundKernel::encode) is cut into dispatches that are *estimated* to take no longer; a
    /// host that wants to spread work over frames takes [`BoundKernel::slices`](crate::BoundKernel::slices).
    pub longest_submission: Duration,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            adapter: AdapterChoice::Auto,
            library: Arc::new(Library::builtin().clone()),
            self_check: SelfCheck::On,
            cache_dir: crate::device::store::default_dir(),
            floor: false,
            subgroups: false,
            matrix: MatrixUnits::default(),
            runtime_checks: false,
            bounded_loops: false,
            wait_limit: Duration::from_secs(600),
            longest_submission: Duration::from_millis(500),
        }
    }
}

impl fmt::Debug for Options {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // The library's text would bury the rest.
        let Self {
            adapter,
            library,
            self_check,
            cache_dir,
            floor,
            subgroups,
            matrix,
            runtime_checks,
            bounded_loops,
            wait_limit,
            longest_submission,
        } = self;
        f.debug_struct("Options")
            .field("adapter", adapter)
            .field("library", &format_args!("{} modules", library.modules().count()))
            .field("self_check", self_check)
            .field("cache_dir", cache_dir)
            .field("floor", floor)
            .field("subgroups", subgroups)
            .field("matrix", matrix)
            .field("runtime_checks", runtime_checks)
            .field("bounded_loops", bounded_loops)
            .field("wait_limit", wait_limit)
            .field("longest_submission", longest_submission)
            .finish()
    }
}

/// Which adapter to open.
///
/// wgpu's environment variables count, as in its own programs: `WGPU_BACKEND` limits the adapters to those of some APIs,
/// `WGPU_DX12_COMPILER` names DirectX 12's compiler (`fxc`, `dxc`), and so on.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum AdapterChoice {
    /// The first of [`adapters`](crate::adapters) or, where the environment variable `FOVEAL_ADAPTER` is set and not
    /// empty, the first whose name contains its value. As [`AdapterChoice::LowPower`] where `WGPU_POWER_PREF` is `low`.
    #[default]
    Auto,
    /// The one at this index of [`adapters`](crate::adapters).
    Index(usize),
    /// The first whose name contains this text, upper or lower case.
    Name(String),
    /// The first that is integrated, or what a browser takes for saving power; as [`AdapterChoice::Auto`] if there is none.
    LowPower,
}

/// Whether kernels may use the adapter's matrix units: products of matrices of f16, added in f32, that a subgroup shares.
///
/// wgpu calls the feature experimental, which its own devices then ask for. Variants that use it prove themselves as all others do.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum MatrixUnits {
    /// If the adapter lists such matrices; on a device of the host's, which does not tell, not.
    #[default]
    Listed,
    /// Not.
    Off,
    /// Matrices of this side, 8 or 16, whether the adapter lists them or not: on a device of the host's, what
    /// [`Engine::matrix_side`](crate::Engine::matrix_side) said of its adapter. A device without the features does without.
    Side(u32),
}

/// Whether a variant has to prove itself on this adapter and driver before it is used.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum SelfCheck {
    /// Yes, unless it has done so before.
    #[default]
    On,
    /// No.
    Off,
    /// Yes, even if it has done so before.
    Again,
}
