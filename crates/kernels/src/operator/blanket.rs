//! [`Problem`] and [`Operator`] for every [`OperatorSpec`].

use std::{fmt, marker::PhantomData, sync::Arc, sync::LazyLock};

use super::{Case, Operator, OperatorSpec, Recipe, VariantInfo, described};
use crate::{
    AdapterProfile, Constraints, Described, Error, HostTensor, Name, OptionMap, OptionSpec, Plan, Problem,
    TensorSpec, Work,
    check::{Expected, Reference, Rows, Tolerance},
    plan::plan,
    spec::{
        check_integers,
        options::{self, Arguments},
    },
};

impl<S: OperatorSpec> Described for S {
    fn describe(&self) -> String {
        let mut words = vec![OperatorSpec::shape(self), self.stored_as().to_string()];
        words.extend(S::OPTIONS.iter().filter_map(|row| (row.describe)(self)));
        words.join(" ")
    }

    fn options(&self) -> OptionMap {
        OptionMap::of_json(options::write(self))
    }

    fn shape(&self) -> String {
        OperatorSpec::shape(self)
    }
}

impl<S: OperatorSpec> Reference for S {
    fn random_inputs(&self, seed: u64) -> Vec<(Name, HostTensor)> {
        OperatorSpec::random_inputs(self, seed)
    }

    fn reference(&self, inputs: &[(&str, &HostTensor)], rows: Rows) -> Result<Vec<Expected>, Error> {
        self.validate()?;
        self.check_values(inputs)?;
        OperatorSpec::reference(self, inputs, rows)
    }

    fn tolerance(&self, output: &str) -> Tolerance {
        OperatorSpec::tolerance(self, output)
    }
}

impl<S: OperatorSpec> Problem for S {
    fn operator(&self) -> &'static str {
        S::OPERATOR
    }

    fn tensors(&self) -> Vec<TensorSpec> {
        OperatorSpec::tensors(self)
    }

    fn plan(&self, adapter: &AdapterProfile, constraints: &Constraints) -> Result<Plan, Error> {
        plan(self, adapter, constraints)
    }

    fn self_check_problem(&self) -> Arc<dyn Problem> {
        Arc::new(OperatorSpec::self_check_problem(self))
    }

    fn notes(&self) -> Vec<String> {
        OperatorSpec::notes(self)
    }

    fn check_inputs(&self, inputs: &[(&str, &HostTensor)]) -> Result<(), Error> {
        check_integers(&OperatorSpec::tensors(self), inputs)?;
        self.check_values(inputs)
    }

    fn quantisation_bounds(
        &self,
        inputs: &[(&str, &HostTensor)],
        rows: Rows,
    ) -> Result<Vec<(Name, f64)>, Error> {
        self.validate()?;
        self.check_values(inputs)?;
        OperatorSpec::quantisation_bounds(self, inputs, rows)
    }

    fn queries_without_keys(
        &self,
        inputs: &[(&str, &HostTensor)],
        output: &dyn Fn(&str) -> Option<Vec<f64>>,
    ) -> Option<[usize; 2]> {
        OperatorSpec::queries_without_keys(self, inputs, output)
    }

    fn work(&self) -> Work {
        OperatorSpec::work(self)
    }
}

/// The operator of a spec.
pub(crate) struct OperatorOf<S: OperatorSpec> {
    options: LazyLock<Vec<OptionSpec>>,
    spec: PhantomData<fn() -> S>,
}

impl<S: OperatorSpec> OperatorOf<S> {
    pub(crate) const fn new() -> Self {
        Self {
            options: LazyLock::new(|| S::OPTIONS.iter().map(|row| row.option).collect()),
            spec: PhantomData,
        }
    }
}

impl<S: OperatorSpec> fmt::Debug for OperatorOf<S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("OperatorOf").field(&S::OPERATOR).finish()
    }
}

impl<S: OperatorSpec> Operator for OperatorOf<S> {
    fn name(&self) -> &'static str {
        S::OPERATOR
    }

    fn summary(&self) -> &'static str {
        S::SUMMARY
    }

    fn options(&self) -> &[OptionSpec] {
        &self.options
    }

    fn variants(&self) -> Vec<VariantInfo> {
        S::variants().into_iter().map(|variant| variant.info).collect()
    }

    fn recipes(&self) -> &'static [Recipe] {
        S::RECIPES
    }

    fn recipe_case(&self, name: &str) -> Result<Case, Error> {
        let found = (0..).zip(S::RECIPES).find(|(_, recipe)| recipe.name == name);
        let Some((seed, recipe)) = found else {
            let names: Vec<&str> = S::RECIPES.iter().map(|recipe| recipe.name).collect();
            return Err(Error::no_word("recipe", &names, name));
        };
        let options = serde_json::from_str(recipe.options)
            .map_err(|error| Error::internal("recipe", format!("{name}: {error}")))?;
        let spec = described::<S>(recipe.shape, &options)?.of_recipe(name);
        Ok(Case { name: format!("recipe_{name}"), problem: Arc::new(spec), seed })
    }

    fn cases(&self) -> Vec<Case> {
        let cases = (1..).zip(S::cases());
        cases.map(|(seed, (name, spec))| Case { name, problem: Arc::new(spec), seed }).collect()
    }

    fn random_case(&self, seed: u64) -> Case {
        let spec = S::random(&mut fastrand::Rng::with_seed(seed));
        Case { name: format!("random_{seed}"), problem: Arc::new(spec), seed }
    }

    fn problem(
        &self,
        options: &OptionMap,
        tensors: &[(String, HostTensor)],
    ) -> Result<Arc<dyn Problem>, Error> {
        let options = options.as_json();
        let given = Arguments { options, tensors: Some(tensors) };
        // Options say how tensors are to be read: an unknown one first.
        options::check_names::<S>(options)?;
        let spec = S::of_tensors(&given)?;
        let dtype = spec.stored_as();
        let mut spec = options::read(spec, given)?;
        // Tensors are stored as they are, over any option.
        *spec.dtype_mut() = dtype;
        spec.validate()?;
        spec.fit_tensors(&given)?;
        Ok(Arc::new(spec))
    }

    fn problem_of_shape(&self, shape: &str, options: &OptionMap) -> Result<Arc<dyn Problem>, Error> {
        Ok(Arc::new(described::<S>(shape, options)?))
    }

    fn shape_help(&self) -> &'static str {
        S::SHAPE_HELP
    }

    fn bench_shapes(&self) -> &'static [&'static str] {
        S::BENCH_SHAPES
    }
}
