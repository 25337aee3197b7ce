//! Cases, one by one: the page's loop goes from variant to variant and breathes in between.

use std::sync::Arc;

use foveal::testing::VariantCheck;
use foveal_kernels::{
    HostTensor, Name, Operator, operator, operators,
    testing::{Case, Expected, Rows},
};
use serde_json::{Value, json};
use wasm_bindgen::prelude::{JsValue, wasm_bindgen};

use crate::failure::Failure;

/// The most work of a reference here, where it runs on one thread: beyond that, some rows are compared.
const AFFORDABLE_FLOPS: f64 = 2e8;
const SAMPLED_ROWS: usize = 64;

/// The cases that a check runs, as JSON: a list of `{ operator, name, seed? }`, `seed` for random ones.
///
/// # Errors
/// As an object with `kind`, `argument` and `message`, if an operator or variant does not exist or no case fits.
#[wasm_bindgen]
pub fn cases(
    only_operator: Option<String>,
    filter: &str,
    random: Option<u32>,
    seed: u32,
    variant: Option<String>,
) -> Result<String, JsValue> {
    let wanted = chosen(only_operator)?;
    if let Some(variant) = variant {
        let known: Vec<&str> =
            wanted.iter().flat_map(|operator| operator.variants()).map(|info| info.name).collect();
        if !known.contains(&variant.as_str()) {
            let message = format!("expected one of {}, got `{variant}`", known.join(", "));
            return Err(Failure::usage("variant", message).into());
        }
    }
    let mut cases: Vec<Value> = Vec::new();
    for operator in wanted {
        let name = operator.name();
        match random {
            Some(count) => {
                let seeds = (0..count).map(|index| seed.wrapping_add(index));
                cases.extend(
                    seeds.map(
                        |seed| json!({"operator": name, "name": format!("random {seed}"), "seed": seed}),
                    ),
                );
            }
            None => {
                let names = operator.cases().into_iter().map(|case| case.name);
                cases.extend(
                    names
                        .filter(|case| case.contains(filter))
                        .map(|case| json!({"operator": name, "name": case})),
                );
            }
        }
    }
    if cases.is_empty() && random != Some(0) {
        return Err(Failure::usage("cases", format!("no case's name contains `{filter}`")).into());
    }
    Ok(Value::from(cases).to_string())
}

fn chosen(name: Option<String>) -> Result<Vec<&'static dyn Operator>, Failure> {
    Ok(match name {
        Some(name) => vec![operator(&name)?],
        None => operators().to_vec(),
    })
}

/// The case of an operator, of the table or a random one.
pub(crate) fn find(operator_name: &str, name: &str, seed: Option<u32>) -> Result<Case, Failure> {
    let operator = operator(operator_name)?;
    match seed {
        Some(seed) => Ok(operator.random_case(seed.into())),
        None => {
            let found = operator.cases().into_iter().find(|case| case.name == name);
            found.ok_or_else(|| Failure::usage("cases", format!("there is no case `{name}`")))
        }
    }
}

/// A case with its inputs and what has to come out.
#[wasm_bindgen]
#[derive(Clone, Debug)]
pub struct Trial {
    pub(crate) inner: Arc<Inner>,
}

#[derive(Debug)]
pub(crate) struct Inner {
    pub(crate) case: Case,
    pub(crate) inputs: Vec<(Name, HostTensor)>,
    pub(crate) expected: Vec<Expected>,
}

#[wasm_bindgen]
impl Trial {
    /// Draws a case's inputs and computes the reference.
    ///
    /// # Errors
    /// As an object with `kind`, `argument` and `message`.
    pub fn open(operator_name: &str, name: &str, seed: Option<u32>) -> Result<Self, JsValue> {
        let open = || -> Result<Self, Failure> {
            let case = find(operator_name, name, seed)?;
            let inputs = case.problem.random_inputs(case.seed);
            let borrowed: Vec<(&str, &HostTensor)> =
                inputs.iter().map(|(name, tensor)| (&**name, tensor)).collect();
            let rows = Rows::within(&case.problem.work(), AFFORDABLE_FLOPS, SAMPLED_ROWS, case.seed);
            let expected = case.problem.reference(&borrowed, rows)?;
            Ok(Self { inner: Arc::new(Inner { case, inputs, expected }) })
        };
        Ok(open()?)
    }

    /// The problem in a few words.
    #[must_use]
    pub fn problem(&self) -> String {
        self.inner.case.problem.describe()
    }

    /// The variants to try, as JSON.
    ///
    /// # Errors
    /// If the operator is gone, which would be a fault of ours.
    pub fn variants(&self) -> Result<String, JsValue> {
        let operator = operator(self.inner.case.problem.operator()).map_err(Failure::from)?;
        Ok(Value::from_iter(operator.variants().iter().map(|variant| variant.name)).to_string())
    }
}

/// The result of a variant, as JSON.
pub(crate) fn tried(tried: &VariantCheck) -> String {
    let checked = tried.checked.as_ref();
    let rel_rmse = checked.map(|checked| {
        let heads = checked.outputs.iter().flat_map(|output| output.per_head.iter().copied());
        heads.fold(checked.rel_rmse(), f64::max)
    });
    json!({
        "variant": tried.variant,
        "status": tried.status.word(),
        "relRmse": rel_rmse,
        "worst": checked.and_then(foveal_kernels::testing::Checked::worst),
        "reason": tried.reason,
    })
    .to_string()
}
