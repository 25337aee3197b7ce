//! A plan in words.

use std::fmt;

use crate::Plan;

impl fmt::Display for Plan {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "{} {}: variant {}", self.operator, self.problem.describe(), self.variant)?;
        writeln!(f, "  because   {}", self.reason)?;
        let tiles: Vec<String> = self.tiles.iter().map(|(name, value)| format!("{name} {value}")).collect();
        writeln!(f, "  tiles     {}", tiles.join(", "))?;
        for tensor_spec in &self.tensors {
            let role = tensor_spec.access.word();
            writeln!(
                f,
                "  {role:<9} {} {:?} {}, {}",
                tensor_spec.name,
                tensor_spec.shape,
                tensor_spec.dtype,
                bytes(tensor_spec.size_bytes())
            )?;
        }
        writeln!(
            f,
            "  group     {} threads, {} of workgroup memory",
            self.threads,
            bytes(u64::from(self.workgroup_bytes))
        )?;
        writeln!(f, "  scratch   {}", bytes(self.scratch_bytes()))?;
        for (index, pass) in self.passes.iter().enumerate().take(SHOWN_PASSES) {
            let [x, y, z] = pass.workgroups;
            let names: Vec<&str> = pass.bindings.iter().map(|binding| &*binding.name).collect();
            writeln!(
                f,
                "  pass {index:<4} {} over {x} x {y} x {z} workgroups, binds {}",
                pass.label,
                names.join(" ")
            )?;
        }
        if self.passes.len() > SHOWN_PASSES {
            writeln!(f, "            and {} more of the same kind", self.passes.len() - SHOWN_PASSES)?;
        }
        for note in self.problem.notes() {
            writeln!(f, "  note      {note}")?;
        }
        let cost = &self.cost;
        writeln!(
            f,
            "  cost      {:.3} ms estimated: {:.3e} FMAs, {:.3e} storage loads, {:.3e} workgroup loads, {:.3e} \
             broadcasts, {:.3e} exp2, occupancy {:.0} %",
            cost.time.as_secs_f64() * 1e3,
            cost.fma,
            cost.storage_loads,
            cost.workgroup_loads,
            cost.broadcasts,
            cost.exp2,
            cost.occupancy * 100.0
        )?;
        if cost.matrix > 0.0 {
            writeln!(f, "            {:.3e} multiply-adds of matrix units beside them", cost.matrix)?;
        }
        for rejected in &self.rejected_variants {
            writeln!(f, "  not       {}: {}", rejected.variant, rejected.reason)?;
        }
        Ok(())
    }
}

/// A problem split over many dispatches would fill the screen with lines that differ in nothing of interest.
const SHOWN_PASSES: usize = 4;

/// Bytes in the unit people read.
#[expect(clippy::cast_precision_loss, reason = "shown with one decimal")]
fn bytes(count: u64) -> String {
    match count {
        0..1024 => format!("{count} B"),
        1024..0x10_0000 => format!("{:.1} KiB", count as f64 / 1024.0),
        0x10_0000..0x4000_0000 => format!("{:.1} MiB", count as f64 / 1_048_576.0),
        _ => format!("{:.2} GiB", count as f64 / 1_073_741_824.0),
    }
}
