//! The one place that talks to the engine.

use std::ops::RangeInclusive;
use std::time::Duration;

use anyhow::Result;
use clap::ArgMatches;
use foveal::{
    AdapterChoice, AdapterInfo, Engine, ErrorKind, Kernel, Options, Roofline, SelfCheck, Timings,
    testing::VariantCheck,
};
use foveal_kernels::{AdapterProfile, Constraints, HostTensor, Name, Plan, Problem, testing::Expected};

use crate::args;
use crate::failure::{one_line, usage};
use crate::ui::Ui;

/// How to open a device.
#[derive(Clone, Debug)]
pub(crate) struct Choice {
    place: ComputeOn,
    adapter: AdapterChoice,
    self_check: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum ComputeOn {
    /// An adapter if there is one.
    Auto,
    /// An adapter or an error.
    Gpu,
    /// The reference.
    Cpu,
}

impl Choice {
    /// The command line's request.
    pub(crate) fn of(matches: &ArgMatches) -> Self {
        let wanted = args::string(matches, "adapter");
        let adapter = match wanted {
            None => AdapterChoice::Auto,
            Some(text) => {
                text.parse().map_or_else(|_| AdapterChoice::Name(text.to_owned()), AdapterChoice::Index)
            }
        };
        let place = match args::string(matches, "device") {
            Some("gpu") => ComputeOn::Gpu,
            Some("cpu") => ComputeOn::Cpu,
            // A named adapter rules out the CPU.
            _ if wanted.is_some()
                || std::env::var_os("FOVEAL_ADAPTER").is_some_and(|name| !name.is_empty()) =>
            {
                ComputeOn::Gpu
            }
            _ => ComputeOn::Auto,
        };
        Self { place, adapter, self_check: !matches.get_flag("no-self-check") }
    }

    /// The same without self-checks: for commands that check everything themselves.
    pub(crate) fn without_self_check(self) -> Self {
        Self { self_check: false, ..self }
    }

    /// Whether the reference was asked for.
    pub(crate) fn is_cpu(&self) -> bool {
        self.place == ComputeOn::Cpu
    }
}

/// An opened adapter.
pub(crate) struct Device {
    engine: Engine,
}

impl Device {
    /// The device, or `None` for the reference on the CPU, with a warning if that is for want of an adapter.
    pub(crate) fn open(choice: &Choice, ui: Ui) -> Result<Option<Self>> {
        let device = Self::open_quietly(choice)?;
        if device.is_none() && choice.place == ComputeOn::Auto {
            ui.warn("no adapter was found; computing with the f64 reference on the CPU");
        }
        Ok(device)
    }

    /// The device, or `None` for the reference on the CPU.
    pub(crate) fn open_quietly(choice: &Choice) -> Result<Option<Self>> {
        if choice.is_cpu() {
            return Ok(None);
        }
        let options = Options {
            adapter: choice.adapter.clone(),
            self_check: if choice.self_check { SelfCheck::On } else { SelfCheck::Off },
            ..Options::default()
        };
        match pollster::block_on(Engine::new(options)) {
            Ok(engine) => Ok(Some(Self { engine })),
            Err(error) if error.kind() == ErrorKind::NoAdapter && choice.place == ComputeOn::Auto => Ok(None),
            Err(error) => Err(error.into()),
        }
    }

    /// The device, or an error that says what it takes to have one.
    pub(crate) fn require(choice: &Choice, what: &str) -> Result<Self> {
        if choice.is_cpu() {
            return Err(usage(format!("{what} needs an adapter, not the cpu device")));
        }
        Self::open_quietly(choice)?
            .ok_or_else(|| usage(format!("{what} needs an adapter and none was found; {}", how_to_get_one())))
    }

    /// The adapter's name.
    pub(crate) fn name(&self) -> String {
        self.profile().name.clone()
    }

    /// The profile that plans are made for.
    pub(crate) fn profile(&self) -> &AdapterProfile {
        self.engine.profile()
    }

    /// The plan of the engine's choice, or of that variant.
    pub(crate) fn plan(&self, problem: &dyn Problem, variant: Option<&str>) -> Result<Plan> {
        let constraints = variant.map_or_else(Constraints::default, Constraints::variant);
        Ok(self.engine.plan_with(problem, &constraints)?)
    }

    /// Compiles and checks. A variant that was asked for is taken or refused with its reason; otherwise the next best is
    /// taken.
    pub(crate) fn prepare(&self, plan: &Plan, exact: bool) -> Result<Kernel> {
        let kernel = if exact {
            pollster::block_on(self.engine.prepare_exact(plan))
        } else {
            pollster::block_on(self.engine.prepare(plan))
        };
        Ok(kernel?)
    }

    /// Runs one variant and compares its outputs with `expected`.
    pub(crate) fn try_variant(
        &self,
        problem: &dyn Problem,
        inputs: &[(&str, &HostTensor)],
        expected: &[Expected],
        variant: &str,
    ) -> VariantCheck {
        pollster::block_on(self.engine.try_variant(problem, inputs, expected, variant))
    }

    /// Runs once, transfers included.
    pub(crate) fn run(
        &self,
        kernel: &Kernel,
        inputs: &[(&str, &HostTensor)],
    ) -> Result<Vec<(Name, HostTensor)>> {
        Ok(pollster::block_on(self.engine.run(kernel, inputs))?)
    }

    /// As [`Device::run`], with a progress bar where the work is so long that it is cut.
    pub(crate) fn run_with(
        &self,
        kernel: &Kernel,
        inputs: &[(&str, &HostTensor)],
        ui: Ui,
    ) -> Result<Vec<(Name, HostTensor)>> {
        let mut bar = None;
        let outputs = pollster::block_on(self.engine.run_with(kernel, inputs, |share| {
            let bar = bar.get_or_insert_with(|| ui.progress(100, "computing"));
            #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "a percentage")]
            bar.set_position((100.0 * share) as u64);
        }));
        if let Some(bar) = bar {
            bar.finish_and_clear();
        }
        Ok(outputs?)
    }

    /// Measures the kernel alone, as often as `limit` allows within `repeats`.
    pub(crate) fn time_within(
        &self,
        kernel: &Kernel,
        inputs: &[(&str, &HostTensor)],
        repeats: RangeInclusive<usize>,
        limit: Duration,
    ) -> Result<Timings> {
        Ok(pollster::block_on(self.engine.time_within(kernel, inputs, repeats, limit))?)
    }

    /// Measures the adapter.
    pub(crate) fn roofline(&self) -> Result<Roofline> {
        Ok(pollster::block_on(self.engine.measure_roofline())?)
    }

    /// As [`Device::roofline`], for what can go on without it.
    pub(crate) fn try_roofline(&self, ui: Ui) -> Option<Roofline> {
        let warn = |error: &anyhow::Error| {
            ui.warn(format!("the adapter's peak could not be measured: {}", one_line(error)));
        };
        self.roofline().inspect_err(warn).ok()
    }
}

/// The adapters of this machine.
pub(crate) fn adapters() -> Vec<AdapterInfo> {
    pollster::block_on(foveal::adapters())
}

/// Where an adapter comes from, on this system.
pub(crate) fn how_to_get_one() -> String {
    let backends = std::env::var("WGPU_BACKEND").ok();
    adapter_source(std::env::consts::OS, backends.as_deref())
}

fn adapter_source(os: &str, backends: Option<&str>) -> String {
    let source = match os {
        "windows" => {
            "DirectX 12 comes with Windows 10 and newer, and a software adapter with it; \
             drivers for Vulkan come from the GPU's maker"
        }
        "macos" | "ios" => "Metal comes with the system",
        "android" => "drivers come with the device; Vulkan or OpenGL ES 3.1 is needed",
        _ => {
            "a software adapter comes with the package mesa-vulkan-drivers (Debian, Ubuntu, Fedora) or \
             vulkan-swrast (Arch)"
        }
    };
    match backends {
        None => source.to_owned(),
        Some(names) => format!("{source}; WGPU_BACKEND allows `{names}` only"),
    }
}

#[cfg(test)]
mod tests {
    use super::adapter_source;

    #[test]
    fn advice_is_for_the_system_it_is_given_on() {
        assert!(adapter_source("linux", None).contains("mesa-vulkan-drivers"));
        for os in ["windows", "macos", "android"] {
            let advice = adapter_source(os, None);
            assert!(!advice.contains("Debian") && !advice.contains("WGPU_BACKEND"), "{os}: {advice}");
        }
        assert!(adapter_source("windows", Some("gl")).contains("`gl`"));
    }
}
