//! The final text of shaders, for tests that compile them all.

use std::collections::HashSet;

use foveal_kernels::{AdapterKind, AdapterProfile, Constraints, operator};
use foveal_shaders::{Library, Target};
use serde_json::{Value, json};
use wasm_bindgen::prelude::{JsValue, wasm_bindgen};

use crate::failure::Failure;
use crate::variant_check::find;

/// Every shader that any variant uses for a case, as JSON: a list of `{ variant, label, entry, text }`, as browsers get it. With
/// `subgroup_size`, for an adapter that has subgroups of that size. The adapter is the least that WebGPU allows.
///
/// # Errors
/// As an object with `kind`, `argument` and `message`.
#[wasm_bindgen]
pub fn case_shaders(
    operator_name: &str,
    case_name: &str,
    subgroup_size: Option<u32>,
) -> Result<String, JsValue> {
    let shaders = || -> Result<Value, Failure> {
        // Some variants are for GPUs, some for adapters that run on the CPU.
        let profiles = [AdapterKind::Other, AdapterKind::Cpu].map(|kind| {
            let mut profile = AdapterProfile { kind, ..AdapterProfile::webgpu_floor() };
            profile.features.subgroups = subgroup_size.map(|size| (size, size));
            profile
        });
        let case = find(operator_name, case_name, None)?;
        let mut seen = HashSet::new();
        let mut shaders = Vec::new();
        for variant in operator(operator_name)?.variants() {
            let only = Constraints::variant(variant.name);
            // A variant that the adapter or problem rules out has no shaders.
            let plans = profiles.iter().filter_map(|profile| case.problem.plan(profile, &only).ok());
            let passes = plans.flat_map(|plan| plan.passes);
            for pass in passes.filter(|pass| seen.insert(pass.request.fingerprint())) {
                let request = (*pass.request).clone().target(Target::Browser);
                let made = Library::builtin()
                    .specialise(&request)
                    .map_err(|error| Failure::internal(pass.label.clone(), error.to_string()))?;
                shaders.push(json!({
                    "variant": variant.name, "label": pass.label, "entry": made.interface.entry,
                    "text": made.text,
                }));
            }
        }
        Ok(Value::from(shaders))
    };
    Ok(shaders()?.to_string())
}
