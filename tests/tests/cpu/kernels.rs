//! Every kernel that some plan asks for.

use std::collections::BTreeMap;
use std::sync::OnceLock;

use anyhow::{Context, Result, bail, ensure};
use foveal_shaders::{Library, Request, Specialised, Target};
use foveal_tests::planned::{self, Kernel, Planned};
use foveal_tests::translate::{self, Validated};
use foveal_tests::{parallel, reflection, say, skipped, spirv_val};

/// Text of all kernels, unrolled and rolled, is the slowest thing to make here: once for all tests.
struct All {
    plans: Vec<Planned>,
    kernels: Vec<Kernel>,
    /// By fingerprint of the request.
    by_request: BTreeMap<u128, usize>,
}

/// At most `most` of the distinct texts, from all over them.
pub(crate) fn sample(who: &str, most: usize) -> Result<Vec<Kernel>> {
    let mut kernels: Vec<&Kernel> = all()?.kernels.iter().collect();
    kernels.sort_by_key(|kernel| &kernel.specialised.text);
    kernels.dedup_by_key(|kernel| &kernel.specialised.text);
    let step = kernels.len().div_ceil(most).max(1);
    // Sorted by text, neighbours are alike: every so many is a fair sample.
    let sample: Vec<Kernel> = kernels.iter().step_by(step).map(|kernel| (*kernel).clone()).collect();
    say(&format!("{who} sees {} of {} distinct texts", sample.len(), kernels.len()));
    Ok(sample)
}

fn all() -> Result<&'static All> {
    static ALL: OnceLock<Result<All, String>> = OnceLock::new();
    let all = ALL.get_or_init(|| {
        let make = || -> Result<All> {
            let plans = planned::plans()?;
            let kernels = planned::kernels(&plans)?;
            let by_request = kernels
                .iter()
                .enumerate()
                .map(|(index, kernel)| (kernel.request.fingerprint(), index))
                .collect();
            say(&format!("{} plans ask for {} kernels", plans.len(), kernels.len()));
            Ok(All { plans, kernels, by_request })
        };
        make().map_err(|error| format!("{error:?}"))
    });
    all.as_ref().map_err(|error| anyhow::anyhow!("{error}"))
}

/// Fails with the first few of what each kernel has to complain about.
fn none_fails(kernels: &[Kernel], test: impl Fn(&Kernel) -> Result<()> + Sync) -> Result<()> {
    let failures: Vec<String> = parallel::map(kernels, |kernel| {
        test(kernel).err().map(|error| format!("{}: {:?}\n{:#}", kernel.name, kernel.request, error))
    })
    .into_iter()
    .flatten()
    .collect();
    let shown = failures.iter().take(3).map(String::as_str).collect::<Vec<_>>().join("\n\n");
    ensure!(failures.is_empty(), "{} of {} kernels fail, such as\n{shown}", failures.len(), kernels.len());
    Ok(())
}

pub(crate) fn validated(specialised: &Specialised) -> Result<Validated> {
    // Kernels without subgroups have to do without any optional feature.
    let interface = &specialised.interface;
    translate::validate(&specialised.text, interface.uses_subgroups, interface.uses_matrices)
}

#[test]
fn every_planned_kernel_validates_and_agrees_with_naga() -> Result<()> {
    none_fails(&all()?.kernels, |kernel| {
        ensure!(
            kernel.specialised.interface.uses_f16 == kernel.specialised.interface.uses_matrices,
            "f16 is packed everywhere: only matrices need shader-f16"
        );
        let validated = validated(&kernel.specialised)?;
        reflection::agrees(&kernel.specialised.interface, &validated.module)
    })
}

#[test]
fn every_planned_kernel_translates() -> Result<()> {
    none_fails(&all()?.kernels, |kernel| {
        let interface = &kernel.specialised.interface;
        let validated = validated(&kernel.specialised)?;
        translate::spirv(&validated)?;
        translate::metal(&validated)?;
        // Matrices are Vulkan's and Metal's alone.
        if interface.uses_matrices {
            return Ok(());
        }
        translate::direct3d(&validated, interface.uses_subgroups)?;
        translate::opengl(&validated, &interface.entry, interface.uses_subgroups)?;
        Ok(())
    })
}

#[test]
fn spirv_is_valid_for_vulkan() -> Result<()> {
    if !spirv_val::installed() {
        skipped("SPIR-V", "spirv-val is not installed (Debian: spirv-tools)");
        return Ok(());
    }
    let sample = sample("spirv-val", 150)?;
    none_fails(&sample, |kernel| {
        let words = translate::spirv(&validated(&kernel.specialised)?)?;
        match spirv_val::complaint(&words)? {
            None => Ok(()),
            // A validator of before 2023-06 does not know the capability of such matrices.
            Some(complaint)
                if kernel.specialised.interface.uses_matrices
                    && complaint.contains("Invalid capability operand: 6022") =>
            {
                Ok(())
            }
            Some(complaint) => bail!("spirv-val: {complaint}"),
        }
    })
}

#[test]
fn rolled_text_validates_and_has_the_same_interface() -> Result<()> {
    none_fails(&all()?.kernels, |kernel| {
        let request = Request { unroll: false, ..(*kernel.request).clone() };
        let rolled = Library::builtin().specialise(&request)?;
        validated(&rolled).context("rolled")?;
        ensure!(
            rolled.interface == kernel.specialised.interface,
            "the rolled interface is {:?}",
            rolled.interface
        );
        Ok(())
    })
}

#[test]
fn text_for_browsers_differs_in_its_enable_lines_only() -> Result<()> {
    none_fails(&all()?.kernels, |kernel| {
        let request = Request { target: Target::Browser, ..(*kernel.request).clone() };
        let browser = Library::builtin().specialise(&request)?;
        let native = &kernel.specialised;
        // No browser has such matrices, and no plan for one asks for them.
        if native.interface.uses_matrices {
            return Ok(());
        }
        let expected = if native.interface.uses_subgroups { "enable subgroups;\n" } else { "" };
        let code = |text: &str| -> Vec<String> {
            let code = text.lines().filter(|line| !line.starts_with("//") && !line.trim().is_empty());
            code.map(str::to_owned).collect()
        };
        ensure!(
            native.interface.uses_matrices || !native.text.contains("enable "),
            "naga takes no `enable` line"
        );
        ensure!(
            code(&browser.text) == code(&format!("{expected}{}", native.text)),
            "the texts differ:\n{}",
            browser.text
        );
        Ok(())
    })
}

#[test]
fn no_planned_kernel_keeps_register_arrays() -> Result<()> {
    none_fails(&all()?.kernels, |kernel| {
        let left = &kernel.specialised.arrays_left;
        ensure!(left.is_empty(), "{left:?} are still arrays");
        Ok(())
    })
}

/// Threads and workgroup memory stand in the shader and, because plans are made before any text is, in the plan: this is
/// what keeps them the same. So it is with the names of bindings and of the uniform's fields.
#[test]
fn plans_agree_with_their_kernels() -> Result<()> {
    let all = all()?;
    for Planned { name, plan, adapter, .. } in &all.plans {
        let (mut threads, mut bytes) = (0, 0);
        for pass in &plan.passes {
            let kernel = &all.kernels[all.by_request[&pass.request.fingerprint()]];
            let interface = &kernel.specialised.interface;
            threads = threads.max(interface.workgroup_size.iter().product::<u32>());
            bytes = bytes.max(interface.workgroup_bytes);
            ensure!(
                adapter.features.subgroups.is_some() || !interface.uses_subgroups,
                "{name} uses subgroups, which the adapter lacks"
            );
            let mut bound: Vec<&str> = pass.bindings.iter().map(|binding| &*binding.name).collect();
            let mut params: Vec<&str> = pass.params.iter().map(|(name, _)| &**name).collect();
            let (mut storage, mut fields) = (Vec::new(), Vec::new());
            let mut cuttable = false;
            for binding in &interface.bindings {
                match &binding.kind {
                    foveal_shaders::BindingKind::Storage { .. } => storage.push(binding.name.as_str()),
                    // Where a dispatch begins is the engine's to say.
                    foveal_shaders::BindingKind::Uniform(_) if binding.name == "grid" => cuttable = true,
                    foveal_shaders::BindingKind::Uniform(layout) => {
                        fields.extend(layout.fields.iter().map(|field| field.name.as_str()));
                    }
                }
            }
            for names in [&mut bound, &mut params, &mut storage, &mut fields] {
                names.sort_unstable();
            }
            ensure!(bound == storage, "{name} binds {bound:?}, the shader uses {storage:?}");
            ensure!(cuttable, "{name} does not ask which workgroup it is (shared/grid.wgsl)");
            ensure!(params == fields, "{name} gives {params:?}, the uniform has {fields:?}");
        }
        if !plan.passes.is_empty() {
            ensure!(plan.threads == threads, "{name}: {} threads, the shader has {threads}", plan.threads);
            ensure!(
                plan.workgroup_bytes == bytes,
                "{name}: {} bytes of workgroup memory, the shader has {bytes}",
                plan.workgroup_bytes
            );
        }
    }
    Ok(())
}

/// The engine's self-check relies on this: the small problem runs the very pipelines of the large one.
#[test]
fn canonical_problems_ask_for_the_same_kernels() -> Result<()> {
    for Planned { name, plan, adapter, .. } in &all()?.plans {
        if plan.passes.is_empty() {
            continue;
        }
        let canonical = plan.problem.self_check_problem();
        let constraints = foveal_kernels::Constraints::variant(&plan.variant);
        let small = canonical.plan(adapter, &constraints).with_context(|| format!("canonical of {name}"))?;
        ensure!(
            small.requests() == plan.requests(),
            "{name} runs {:?}, its canonical problem {} runs {:?}",
            plan.requests(),
            canonical.describe(),
            small.requests()
        );
        // Half a second for the slowest variant on the slowest driver.
        ensure!(canonical.work().flops < 2e8, "the canonical problem of {name} is not small");
    }
    Ok(())
}
