//! Every kernel that some plan asks for: the operators' cases, all variants, all profiles.

use std::collections::BTreeMap;
use std::sync::Arc;

use anyhow::{Context, Result, ensure};
use foveal_kernels::{AdapterProfile, Constraints, ErrorKind, Plan, operators, testing::Case};
use foveal_shaders::{Library, Request, Specialised};

use crate::{parallel, profiles};

/// A plan, and where it comes from.
#[derive(Clone, Debug)]
pub struct Planned {
    /// `case / variant / adapter`.
    pub name: String,
    /// The case.
    pub case: Case,
    /// The adapter it was planned for.
    pub adapter: AdapterProfile,
    /// The plan.
    pub plan: Plan,
}

/// A distinct request, and its specialisation.
#[derive(Clone, Debug)]
pub struct Kernel {
    /// The name of the first plan that asks for it.
    pub name: String,
    /// The request.
    pub request: Arc<Request>,
    /// The specialised kernel.
    pub specialised: Specialised,
}

/// The cases of all operators, the examples of their recipes included.
///
/// # Errors
/// If a recipe is no problem.
pub fn cases() -> Result<Vec<Case>> {
    let mut cases = Vec::new();
    for operator in operators() {
        cases.extend(operator.cases());
        for recipe in operator.recipes() {
            let case = operator.recipe_case(recipe.name);
            cases.push(case.with_context(|| format!("recipe {}", recipe.name))?);
        }
    }
    Ok(cases)
}

/// The names of a case's variants.
///
/// # Errors
/// If the case's operator is not in the list of operators.
pub fn variants(case: &Case) -> Result<Vec<&'static str>> {
    let operator = foveal_kernels::operator(case.problem.operator())?;
    Ok(operator.variants().into_iter().map(|variant| variant.name).collect())
}

/// The plan of a case by a variant; `None` if the adapter's limits or features rule it out.
///
/// # Errors
/// Any other error of planning.
pub fn plan(case: &Case, adapter: &AdapterProfile, variant: &str) -> Result<Option<Plan>> {
    match case.problem.plan(adapter, &Constraints::variant(variant)) {
        Ok(plan) => Ok(Some(plan)),
        Err(error) if error.kind() == ErrorKind::Limit => Ok(None),
        Err(error) => Err(error).with_context(|| format!("{} by {variant}", case.name)),
    }
}

/// Every plan of every case, variant and profile.
///
/// # Errors
/// If planning fails for another reason than a limit, or a variant is never planned.
pub fn plans() -> Result<Vec<Planned>> {
    let mut all = Vec::new();
    let mut never: BTreeMap<String, usize> = BTreeMap::new();
    for case in cases()? {
        for variant in variants(&case)? {
            for adapter in profiles::all() {
                let found = plan(&case, &adapter, variant)?;
                *never.entry(format!("{}/{variant}", case.problem.operator())).or_default() +=
                    usize::from(found.is_some());
                all.extend(found.map(|plan| Planned {
                    name: format!("{} / {variant} / {}", case.name, adapter.name),
                    case: case.clone(),
                    adapter,
                    plan,
                }));
            }
        }
    }
    let unplanned: Vec<_> = never.iter().filter(|(_, count)| **count == 0).map(|(name, _)| name).collect();
    ensure!(unplanned.is_empty(), "no case plans {unplanned:?}");
    Ok(all)
}

/// The distinct requests of `plans`, specialised.
///
/// # Errors
/// If one does not specialise.
pub fn kernels(plans: &[Planned]) -> Result<Vec<Kernel>> {
    let mut distinct: BTreeMap<u128, (&str, Arc<Request>)> = BTreeMap::new();
    for planned in plans {
        for request in planned.plan.requests() {
            distinct.entry(request.fingerprint()).or_insert((&planned.name, Arc::clone(request)));
        }
    }
    let distinct: Vec<(&str, Arc<Request>)> = distinct.into_values().collect();
    let library = Library::builtin();
    let kernels = parallel::map(&distinct, |(name, request)| {
        let specialised = library.specialise(request).with_context(|| (*name).to_owned())?;
        Ok(Kernel { name: (*name).to_owned(), request: Arc::clone(request), specialised })
    });
    kernels.into_iter().collect()
}
