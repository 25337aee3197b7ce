//! Figures out of what each driver counts.

use super::{Device, Figure, Maker, mix};

/// A driver's statistics of a pipeline.
pub(super) struct Said<'a> {
    pub(super) subgroup: u32,
    pub(super) workgroup_bytes: u32,
    pub(super) statistics: &'a [(String, u64)],
    pub(super) representations: &'a [(String, String)],
}

/// The figure of a kernel.
///
/// # Errors
/// The statistic that this version of the driver does not have.
pub(super) fn figure(device: Device, said: &Said<'_>) -> Result<Figure, String> {
    let get = |name: &str| {
        let found = said.statistics.iter().find(|(known, _)| known == name).map(|(_, value)| *value);
        found.ok_or_else(|| {
            let known: Vec<&str> = said.statistics.iter().map(|(name, _)| name.as_str()).collect();
            format!("{} counts no `{name}`, but {}", device.name, known.join(", "))
        })
    };
    let (registers, spills, held) = match device.maker {
        Maker::Amd => {
            let spilled = get("Spilled VGPRs")? + get("Spilled SGPRs")?;
            // A wave of 64 lanes counts twice where one of 32 is possible, and all waves of a SIMD may be such.
            let doubled =
                device.held * u64::from(said.subgroup.max(32)) / if device.wide() { 64 } else { 32 };
            let share = ratio(get("Subgroups per SIMD")?, doubled);
            (get("VGPRs")?, spilled.max(get("Scratch size")? / 4), share)
        }
        // Values that go from scalar to vector registers stay in registers.
        Maker::Nvidia => {
            let spilled = get("Spills to memory")?.max(get("SLM size")? / 4);
            (get("Number of GPRs")?, spilled, ratio(get("Max warps/SM")?, device.held))
        }
        Maker::Qualcomm => {
            (get("Registers used")?, get("STP Count")?, ratio(get("Max Waves Per Core")?, device.held))
        }
        Maker::Apple => {
            let spilled = get("Spills")?.max(get("Scratch")? / 4);
            (get("GPRs")?, spilled, ratio(get("Threads")?, device.held))
        }
    };
    Ok(Figure {
        registers,
        spills,
        occupancy: held,
        workgroup_bytes: said.workgroup_bytes.into(),
        fma: mix::fma_share(device.maker, said.representations),
    })
}

#[expect(clippy::cast_precision_loss, reason = "counts of a few thousand")]
fn ratio(part: u64, all: u64) -> f64 {
    part as f64 / all.max(1) as f64
}
