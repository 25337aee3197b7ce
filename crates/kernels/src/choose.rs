//! Choosing among an operator's variants.

use crate::{AdapterProfile, Constraints, Cost, Error, RejectedVariant, suggest::did_you_mean};

/// What a variant proposes for a problem.
pub(crate) trait Proposal {
    /// The variant's name.
    fn variant(&self) -> &'static str;

    /// What it is estimated to cost.
    fn cost(&self) -> &Cost;
}

/// The proposal that was taken.
pub(crate) struct Choice<C> {
    pub(crate) taken: C,
    /// Why, in a sentence.
    pub(crate) reason: String,
    pub(crate) rejected: Vec<RejectedVariant>,
}

/// The cheapest proposal that the constraints allow. `propose` gives a variant's proposal or the reason why there is none.
///
/// # Errors
/// [`crate::ErrorKind::Invalid`] if a variant is asked for that does not exist, [`crate::ErrorKind::Limit`] if none can run
/// the problem.
pub(crate) fn choose<C: Proposal>(
    variants: &[&'static str],
    propose: impl Fn(usize) -> Result<C, String>,
    adapter: &AdapterProfile,
    constraints: &Constraints,
) -> Result<Choice<C>, Error> {
    if let Some(wanted) = constraints.variant.as_deref().filter(|wanted| !variants.contains(wanted)) {
        let meant = did_you_mean(wanted, variants.iter().copied());
        let message = format!("expected {}, got `{wanted}`{meant}", variants.join(", "));
        return Err(Error::invalid("variant", message));
    }
    let mut taken: Option<C> = None;
    let mut rejected = Vec::new();
    let mut slower = Vec::new();
    for (index, &name) in variants.iter().enumerate() {
        let mut reject = |reason: String| rejected.push(RejectedVariant { variant: name.to_owned(), reason });
        if constraints.variant.as_deref().is_some_and(|wanted| wanted != name) {
            continue;
        }
        if constraints.refused.contains(name) {
            reject("failed its self-check on this adapter".into());
            continue;
        }
        match propose(index) {
            Err(reason) => reject(reason),
            Ok(candidate) => match &taken {
                Some(best) if best.cost().time <= candidate.cost().time => slower.push(candidate),
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
        let factor = candidate.cost().time.as_secs_f64() / taken.cost().time.as_secs_f64().max(1e-12);
        rejected.push(RejectedVariant {
            variant: candidate.variant().to_owned(),
            reason: format!("estimated {factor:.1} times slower"),
        });
    }
    let reason = if constraints.variant.is_some() {
        "it was asked for".to_owned()
    } else {
        because(taken.cost(), adapter)
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
