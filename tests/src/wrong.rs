//! A variant that is wrong on purpose, known to the tests only.

use std::sync::Arc;

use anyhow::{Context, Result};
use foveal_kernels::{
    AdapterProfile, Constraints, Described, Error, HostTensor, Name, OptionMap, Plan, Problem, TensorSpec,
    Work,
    testing::{Expected, Reference, Rows, Tolerance},
};
use foveal_shaders::{Library, Request};

/// The name of the variant, and of the module that it runs.
pub const WRONG: &str = "wrong";

/// The variant whose shader is spoilt: the one with the least text, which compiles in no time.
pub const SPOILT: &str = "naive";

/// The shader library with one more module: that of [`SPOILT`] with `from` replaced by `to`.
///
/// # Errors
/// If the module does not have `from`, or the result is not WGSL.
pub fn library(from: &str, to: &str) -> Result<Library> {
    let library = Library::builtin();
    let text = library.source(&format!("attention/{SPOILT}")).context("the module to spoil is gone")?;
    anyhow::ensure!(text.contains(from), "the module has no `{from}` to spoil");
    Ok(library.with_modules(&[(WRONG, &text.replacen(from, to, 1))])?)
}

/// A problem whose planner prefers the wrong variant until that is refused.
#[derive(Clone, Debug)]
pub struct Sabotaged(pub Arc<dyn Problem>);

impl Described for Sabotaged {
    fn describe(&self) -> String {
        self.0.describe()
    }

    fn options(&self) -> OptionMap {
        self.0.options()
    }

    fn shape(&self) -> String {
        self.0.shape()
    }
}

impl Reference for Sabotaged {
    fn random_inputs(&self, seed: u64) -> Vec<(Name, HostTensor)> {
        self.0.random_inputs(seed)
    }

    fn reference(&self, inputs: &[(&str, &HostTensor)], rows: Rows) -> Result<Vec<Expected>, Error> {
        self.0.reference(inputs, rows)
    }

    fn tolerance(&self, output: &str) -> Tolerance {
        self.0.tolerance(output)
    }
}

impl Problem for Sabotaged {
    fn plan(&self, adapter: &AdapterProfile, constraints: &Constraints) -> Result<Plan, Error> {
        let asked = constraints.variant.as_deref();
        let wrong = asked.is_none_or(|variant| variant == WRONG) && !constraints.refused.contains(WRONG);
        let mut plan = if wrong {
            let mut plan = self.0.plan(adapter, &Constraints::variant(SPOILT))?;
            plan.variant = WRONG.into();
            for pass in &mut plan.passes {
                pass.request = Arc::new(Request { module: WRONG.into(), ..(*pass.request).clone() });
            }
            plan
        } else {
            self.0.plan(adapter, constraints)?
        };
        plan.problem = Arc::new(self.clone());
        Ok(plan)
    }

    fn self_check_problem(&self) -> Arc<dyn Problem> {
        Arc::new(Self(self.0.self_check_problem()))
    }

    fn operator(&self) -> &'static str {
        self.0.operator()
    }

    fn tensors(&self) -> Vec<TensorSpec> {
        self.0.tensors()
    }

    fn work(&self) -> Work {
        self.0.work()
    }
}
