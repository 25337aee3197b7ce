//! Finding an adapter and opening a device on it.

use std::fmt;

use foveal_kernels::{AdapterKind, AdapterProfile};

use crate::device::profile::profile;
use crate::device::{matrix, trusted};
use crate::error::ErrorKind;
use crate::{AdapterChoice, Error, Options};

/// An adapter of this machine, not opened.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub struct AdapterInfo {
    /// Its place in [`adapters`], for [`AdapterChoice::Index`].
    pub index: usize,
    /// Name, driver, backend and kind, and what the adapter offers; a device may be opened with less.
    pub profile: AdapterProfile,
}

impl fmt::Display for AdapterInfo {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let AdapterProfile { name, driver, backend, .. } = &self.profile;
        write!(f, "{}: {name} ({backend}; {driver})", self.index)
    }
}

/// The adapters of this machine that can compute, in the order in which [`AdapterChoice::Auto`] prefers them: hardware
/// before drivers that run shaders on the CPU, then Vulkan, Metal and DirectX 12 before GL, then discrete before
/// integrated.
///
/// Starting every driver takes tenths of a second. No adapter is not an error here: the list is empty.
pub async fn adapters() -> Vec<AdapterInfo> {
    let mut found = enumerate(Tier::Primary, false).await;
    found.extend(enumerate(Tier::Gl, false).await);
    sort(&mut found);
    let infos = found.iter().enumerate();
    infos.map(|(index, found)| AdapterInfo { index, profile: found.profile.clone() }).collect()
}

struct Found {
    adapter: wgpu::Adapter,
    profile: AdapterProfile,
}

impl Found {
    fn is_software(&self) -> bool {
        self.profile.kind == AdapterKind::Cpu
    }
}

/// Backends are started only when they are asked for: GL alone can take longer than all the rest.
#[derive(Clone, Copy, PartialEq)]
enum Tier {
    /// Vulkan, Metal, DirectX 12, or the browser.
    Primary,
    Gl,
}

#[cfg(target_family = "wasm")]
async fn enumerate(tier: Tier, low_power: bool) -> Vec<Found> {
    if tier == Tier::Gl {
        return Vec::new();
    }
    let mut descriptor = wgpu::InstanceDescriptor::new_without_display_handle();
    descriptor.backends = wgpu::Backends::BROWSER_WEBGPU;
    let power_preference =
        if low_power { wgpu::PowerPreference::LowPower } else { wgpu::PowerPreference::HighPerformance };
    // A page is given one adapter and no list.
    let options = wgpu::RequestAdapterOptions { power_preference, ..wgpu::RequestAdapterOptions::default() };
    let adapter = wgpu::Instance::new(descriptor).request_adapter(&options).await;
    adapter.map(found).into_iter().collect()
}

#[cfg(not(target_family = "wasm"))]
async fn enumerate(tier: Tier, _low_power: bool) -> Vec<Found> {
    let tier = if tier == Tier::Primary { wgpu::Backends::PRIMARY } else { wgpu::Backends::GL };
    let backends = wgpu::Backends::from_env().unwrap_or(wgpu::Backends::all()) & tier;
    if backends.is_empty() {
        return Vec::new();
    }
    // Debug layers, DirectX's compiler, GL's version: `WGPU_*` variables count here as in every program on wgpu.
    let mut descriptor = wgpu::InstanceDescriptor::new_without_display_handle_from_env();
    descriptor.backends = backends;
    let instance = wgpu::Instance::new(descriptor);
    let adapters = instance.enumerate_adapters(backends).await.into_iter();
    let can_compute = |adapter: &wgpu::Adapter| {
        adapter.get_downlevel_capabilities().flags.contains(wgpu::DownlevelFlags::COMPUTE_SHADERS)
    };
    adapters.filter(can_compute).map(found).collect()
}

fn found(adapter: wgpu::Adapter) -> Found {
    let profile = profile(&adapter.get_info(), adapter.features(), &adapter.limits());
    Found { adapter, profile }
}

fn sort(found: &mut [Found]) {
    found.sort_by_key(|found| {
        let rank = match found.profile.kind {
            AdapterKind::Discrete => 0,
            AdapterKind::Integrated => 1,
            AdapterKind::Virtual => 2,
            AdapterKind::Other => 3,
            AdapterKind::Cpu => 4,
        };
        (found.is_software(), found.profile.backend == "gl", rank)
    });
}

/// The adapter of choice.
async fn choose(choice: &AdapterChoice) -> Result<Found, Error> {
    let wanted = match choice {
        AdapterChoice::Name(name) => Some((name.clone(), "adapter")),
        AdapterChoice::Auto => std::env::var("FOVEAL_ADAPTER")
            .ok()
            .filter(|name| !name.is_empty())
            .map(|name| (name, "environment variable FOVEAL_ADAPTER")),
        AdapterChoice::Index(_) | AdapterChoice::LowPower => None,
    };
    let saves_power = || wgpu::PowerPreference::from_env() == Some(wgpu::PowerPreference::LowPower);
    let low_power = *choice == AdapterChoice::LowPower
        || (*choice == AdapterChoice::Auto && wanted.is_none() && saves_power());
    let matches = |found: &Found| match &wanted {
        Some((name, _)) => found.profile.name.to_lowercase().contains(&name.to_lowercase()),
        None if low_power => found.profile.kind == AdapterKind::Integrated,
        None => !found.is_software(),
    };
    let mut all = enumerate(Tier::Primary, low_power).await;
    sort(&mut all);
    if !matches!(choice, AdapterChoice::Index(_))
        && let Some(index) = all.iter().position(&matches)
    {
        return Ok(all.swap_remove(index));
    }
    all.extend(enumerate(Tier::Gl, false).await);
    sort(&mut all);
    let none = |what: &str, expected: String| {
        let names: Vec<String> = all.iter().map(|found| found.profile.key()).collect();
        let there = if names.is_empty() { "none".to_owned() } else { names.join("; ") };
        Err(Error::new(
            ErrorKind::NoAdapter,
            what,
            format!("{expected}; the adapters that can compute: {there}"),
        ))
    };
    let index = match (choice, &wanted) {
        (AdapterChoice::Index(index), _) if *index < all.len() => *index,
        (AdapterChoice::Index(index), _) => {
            return none("adapter", format!("there is no adapter of index {index}"));
        }
        (_, Some((name, what))) => match all.iter().position(&matches) {
            Some(index) => index,
            None => return none(what, format!("no adapter's name contains `{name}`")),
        },
        // Only software is left, or hardware behind GL; the list is sorted.
        _ if !all.is_empty() => 0,
        _ => return none("adapter", "no adapter was found".to_owned()),
    };
    Ok(all.swap_remove(index))
}

/// Features that kernels, timing or caches can use.
pub(crate) fn useful() -> wgpu::Features {
    wgpu::Features::SUBGROUP
        | wgpu::Features::SUBGROUP_BARRIER
        | wgpu::Features::SHADER_F16
        | wgpu::Features::TIMESTAMP_QUERY
        | wgpu::Features::PIPELINE_CACHE
}

/// Opens the adapter of choice: the device, its queue, and the side of the matrices that it was opened for.
pub(crate) async fn open(options: &Options) -> Result<(wgpu::Device, wgpu::Queue, Option<u32>), Error> {
    let floor = options.floor;
    let Found { adapter, profile } = choose(&options.adapter).await?;
    let side = if floor { None } else { matrix::wanted(options.matrix, &adapter, &profile) };
    let own = match side {
        Some(_) => useful() | wgpu::Features::EXPERIMENTAL_COOPERATIVE_MATRIX,
        None => useful(),
    };
    let descriptor = wgpu::DeviceDescriptor {
        label: Some("foveal"),
        required_features: if floor { wgpu::Features::empty() } else { adapter.features() & own },
        experimental_features: match side {
            Some(_) => trusted::experimental_features(),
            None => wgpu::ExperimentalFeatures::disabled(),
        },
        // An adapter that lacks what WebGPU guarantees is opened with what it has.
        required_limits: if floor {
            wgpu::Limits::default().or_worse_values_from(&adapter.limits())
        } else {
            adapter.limits()
        },
        ..wgpu::DeviceDescriptor::default()
    };
    let (device, queue) = adapter.request_device(&descriptor).await.map_err(|error| {
        Error::new(ErrorKind::NoAdapter, "adapter", format!("cannot open {}: {error}", profile.key()))
    })?;
    Ok((device, queue, side))
}
