//! The final text of shaders, for tests that compile them all.

use std::collections::HashSet;

use foveal_kernels::{AdapterProfile, Constraints, operator};
use foveal_shaders::Library;
use serde_json::{Value, json};
use wasm_bindgen::prelude::{JsValue, wasm_bindgen};

use crate::failure::Failure;
use crate::trial::find;

/// Every shader that any variant uses for a case, as JSON: a list of `{ variant, label, entry, subgroups, f16, text }`. With
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
        let mut profile = AdapterProfile::webgpu_floor();
        if let Some(size) = subgroup_size {
            profile.features.subgroups = Some((size, size));
        }
        let case = find(operator_name, case_name, None)?;
        let mut seen = HashSet::new();
        let mut shaders = Vec::new();
        for variant in operator(operator_name)?.variants() {
            // A variant that the adapter or problem rules out has no shaders.
            let Ok(plan) = case.problem.plan(&profile, &Constraints::variant(variant.name)) else { continue };
            for pass in plan.passes.iter().filter(|pass| seen.insert(pass.request.fingerprint())) {
                let made = Library::builtin()
                    .specialise(&pass.request)
                    .map_err(|error| Failure::internal(pass.label.clone(), error.to_string()))?;
                shaders.push(json!({
                    "variant": variant.name, "label": pass.label, "entry": made.interface.entry,
                    "subgroups": made.interface.uses_subgroups, "f16": made.interface.uses_f16,
                    "text": made.text.to_string(),
                }));
            }
        }
        Ok(Value::from(shaders))
    };
    Ok(shaders()?.to_string())
}
