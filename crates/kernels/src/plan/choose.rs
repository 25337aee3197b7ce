//! Choosing among an operator's variants, and the resulting plan.

use std::sync::Arc;

use crate::{
    AdapterProfile, Constraints, Cost, Error, Plan, RejectedVariant,
    operator::{Candidate, OperatorSpec, Subject},
    plan::{builder::PlanBuilder, turns},
    suggest::did_you_mean,
};

/// How the problem will run on that adapter.
///
/// # Errors
/// See [`crate::Problem::plan`].
pub(crate) fn plan<S: OperatorSpec>(
    spec: &S,
    adapter: &AdapterProfile,
    constraints: &Constraints,
) -> Result<Plan, Error> {
    spec.validate()?;
    adapter.check_compute()?;
    let empty = PlanBuilder::new(S::OPERATOR, adapter, spec.tensors())?;
    let own = spec.analyse()?;
    let stands_in = !std::ptr::eq(spec.specialized(), spec);
    let of_specialized = if stands_in { Some(spec.specialized().analyse()?) } else { None };
    let of_specialized = of_specialized.as_ref().unwrap_or(&own);
    let mut unfit = turns::Unfit::default();
    let (Choice { taken, reason, rejected }, made) = loop {
        let choice = choose(spec.specialized(), of_specialized, &unfit, adapter, constraints)?;
        let made = spec.passes(&choice.taken, [&own, of_specialized], constraints, empty.clone());
        let made = made.and_then(PlanBuilder::check_turns);
        if let Some(made) = unfit.judge(choice.taken.variant, made)? {
            break (choice, made);
        }
    };
    let kernel = if made.runs_kernel { (taken.threads, taken.workgroup_bytes) } else { (0, 0) };
    let dispatched = |module: &str| made.passes.iter().any(|pass| pass.request.module == module);
    let others = S::OTHER_PASSES.iter().filter(|(module, ..)| dispatched(module));
    let (threads, workgroup_bytes) = made.other_kernel;
    let kernel = (kernel.0.max(threads), kernel.1.max(workgroup_bytes));
    let (threads, workgroup_bytes) = others
        .fold(kernel, |(threads, bytes), &(_, its, its_bytes)| (threads.max(its), bytes.max(its_bytes)));
    Ok(Plan {
        problem: Arc::new(spec.clone()),
        constraints: constraints.clone(),
        operator: S::OPERATOR,
        variant: taken.variant.to_owned(),
        reason,
        tiles: taken.tiles.into_iter().chain(made.notes).collect(),
        tensors: made.tensors,
        scratch: made.scratch,
        passes: made.passes,
        threads,
        workgroup_bytes,
        cost: taken.cost,
        rejected_variants: rejected,
    })
}

/// The proposal that was taken.
struct Choice<S: OperatorSpec> {
    taken: Candidate<S>,
    /// Why, in a sentence.
    reason: String,
    rejected: Vec<RejectedVariant>,
}

/// The cheapest proposal that the constraints allow.
///
/// # Errors
/// [`crate::ErrorKind::Invalid`] if a variant is asked for that does not exist, [`crate::ErrorKind::Limit`] if none can run
/// the problem.
fn choose<S: OperatorSpec>(
    spec: &S,
    analysis: &S::Analysis<'_>,
    unfit: &turns::Unfit,
    adapter: &AdapterProfile,
    constraints: &Constraints,
) -> Result<Choice<S>, Error> {
    let variants = S::variants();
    let names: Vec<&str> = variants.iter().map(|variant| variant.info.name).collect();
    if let Some(wanted) = constraints.variant.as_deref().filter(|wanted| !names.contains(wanted)) {
        let meant = did_you_mean(wanted, names.iter().copied());
        let message = format!("expected {}, got `{wanted}`{meant}", names.join(", "));
        return Err(Error::invalid("variant", message));
    }
    let mut taken: Option<Candidate<S>> = None;
    let mut rejected = Vec::new();
    let mut slower = Vec::new();
    for variant in variants {
        let name = variant.info.name;
        let mut reject = |reason: String| rejected.push(RejectedVariant { variant: name.to_owned(), reason });
        if constraints.variant.as_deref().is_some_and(|wanted| wanted != name) {
            continue;
        }
        if constraints.refused.contains(name) {
            reject("failed its self-check on this adapter".into());
            continue;
        }
        let proposal = match unfit.reason(name) {
            Some(reason) => Err(reason.to_owned()),
            None => (variant.propose)(Subject { spec, analysis }, adapter),
        };
        match proposal {
            Err(reason) => reject(reason),
            Ok(candidate) => match &taken {
                Some(best) if best.cost.time <= candidate.cost.time => slower.push(candidate),
                _ => slower.extend(taken.replace(candidate)),
            },
        }
    }
    let Some(taken) = taken else {
        if let (Some(wanted), Some(only)) = (&constraints.variant, rejected.first()) {
            return Err(Error::limit(format!("variant {wanted}"), only.reason.clone()));
        }
        let reasons: Vec<String> =
            rejected.iter().map(|rejected| format!("{}: {}", rejected.variant, rejected.reason)).collect();
        return Err(Error::limit("variant", format!("none can run this problem ({})", reasons.join("; "))));
    };
    for candidate in slower {
        let factor = candidate.cost.time.as_secs_f64() / taken.cost.time.as_secs_f64().max(1e-12);
        rejected.push(RejectedVariant {
            variant: candidate.variant.to_owned(),
            reason: format!("estimated {factor:.1} times slower"),
        });
    }
    let reason = if constraints.variant.is_some() {
        "it was asked for".to_owned()
    } else {
        because(&taken.cost, adapter)
    };
    Ok(Choice { taken, reason, rejected })
}

/// The choice in a sentence.
fn because(cost: &Cost, adapter: &AdapterProfile) -> String {
    let rates = if adapter.rates.measured { "measured" } else { "assumed" };
    format!(
        "of the variants that fit it has the least estimated cost at the adapter's {rates} rates ({:.1} FMAs a load)",
        cost.fma / (cost.storage_loads + cost.workgroup_loads).max(1.0)
    )
}
