//! What an operator is made of: implement this for a spec, and the rest of the crate treats it as an operator.

use std::{fmt, marker::PhantomData, sync::Arc, sync::LazyLock};

use serde_json::{Map, Value};

use crate::{
    Access, AdapterProfile, Case, Constraints, Error, Expected, HostTensor, Name, Operator, OptionSpec, Plan,
    Problem, Recipe, Rows, TensorSpec, Tolerance, VariantInfo, Work,
    choose::{Candidate, Variant, plan},
    options::{self, Given, Options},
    plan_builder::PlanBuilder,
    tensor::check_integers,
};

/// A spec: the description of a problem as plain data, from which all else follows. Its options are a table
/// ([`Options::OPTIONS`]).
pub(crate) trait OperatorSpec: Options + Clone + fmt::Debug + Send + Sync {
    /// One line for lists.
    const SUMMARY: &'static str;

    /// How [`OperatorSpec::of_shape`] reads a shape, for `--help`.
    const SHAPE_HELP: &'static str;

    /// The shapes that `foveal bench` measures by default.
    const BENCH_SHAPES: &'static [&'static str];

    /// Named uses of the operator, with the paper they come from.
    const RECIPES: &'static [Recipe];

    /// Threads and bytes of workgroup memory of the passes beside a variant's own kernel, by shader module.
    const OTHER_PASSES: &'static [(&'static str, u32, u32)] = &[];

    /// What planning finds out about a spec once, for all variants.
    type Analysis<'a>;

    /// How a variant goes about a problem: what it needs to make its passes.
    type Schedule: Clone + fmt::Debug;

    /// The spec of a shape given as text, without options.
    ///
    /// # Errors
    /// If the text is no such shape.
    fn of_shape(shape: &str) -> Result<Self, Error>;

    /// The spec of the tensors' shapes and storage types, without options.
    ///
    /// # Errors
    /// If a tensor is missing, or does not fit the others.
    fn of_tensors(given: &Given<'_>) -> Result<Self, Error>;

    /// Checks the tensors that options ask for, and takes from them what no option says.
    ///
    /// # Errors
    /// If one is missing, or does not fit.
    fn fit_tensors(&mut self, given: &Given<'_>) -> Result<(), Error> {
        let _ = given;
        Ok(())
    }

    /// Checks that the problem makes sense.
    ///
    /// # Errors
    /// [`crate::ErrorKind::Invalid`], naming the argument, what was expected and what came.
    fn validate(&self) -> Result<(), Error>;

    /// The text that [`OperatorSpec::of_shape`] would read the sizes from.
    fn shape(&self) -> String;

    /// The tensors that are bound: inputs first, then outputs.
    fn tensors(&self) -> Vec<TensorSpec>;

    /// The variants.
    fn variants() -> Vec<Variant<Self>>;

    /// What all variants' proposals have to know.
    ///
    /// # Errors
    /// If an expression does not fit the tables.
    fn analyse(&self) -> Result<Self::Analysis<'_>, Error>;

    /// The problem that variants are chosen for: this one, unless it stands in for another.
    fn specialized(&self) -> &Self {
        self
    }

    /// Adds the passes of the candidate that was chosen to the plan. `analyses` are those of this spec and of
    /// [`OperatorSpec::specialized`].
    ///
    /// # Errors
    /// If an adapter limit is in the way.
    fn passes(
        &self,
        taken: &Candidate<Self>,
        analyses: [&Self::Analysis<'_>; 2],
        constraints: &Constraints,
        plan: PlanBuilder,
    ) -> Result<PlanBuilder, Error>;

    /// A small problem that a variant runs with the same shaders.
    #[must_use]
    fn self_check_problem(&self) -> Self;

    /// Inputs drawn from `seed`, in the order of [`OperatorSpec::tensors`].
    fn random_inputs(&self, seed: u64) -> Vec<(Name, HostTensor)>;

    /// Checks what only the inputs' values can tell.
    ///
    /// # Errors
    /// [`crate::ErrorKind::Invalid`] naming the tensor.
    fn check_values(&self, inputs: &[(&str, &HostTensor)]) -> Result<(), Error> {
        let _ = inputs;
        Ok(())
    }

    /// The outputs, from the definition, in f64.
    ///
    /// # Errors
    /// If `inputs` lack a tensor or one has a wrong shape.
    fn reference(&self, inputs: &[(&str, &HostTensor)], rows: Rows) -> Result<Vec<Expected>, Error>;

    /// How far an output may be from the reference, and why.
    fn tolerance(&self, output: &str) -> Tolerance;

    /// The work that the problem asks for.
    fn work(&self) -> Work;

    /// What is well-formed and probably not meant.
    fn notes(&self) -> Vec<String> {
        Vec::new()
    }

    /// See [`Problem::queries_without_keys`].
    fn queries_without_keys(
        &self,
        inputs: &[(&str, &HostTensor)],
        output: &dyn Fn(&str) -> Option<Vec<f64>>,
    ) -> Option<[usize; 2]> {
        let _ = (inputs, output);
        None
    }

    /// The example of a recipe, from the problem that its options and shape describe.
    #[must_use]
    fn of_recipe(self, recipe: &str) -> Self {
        let _ = recipe;
        self
    }

    /// Names and problems of the table of cases.
    fn cases() -> Vec<(String, Self)>;

    /// A random problem, fully determined by the generator's seed.
    fn random(random: &mut fastrand::Rng) -> Self;
}

/// The spec of a shape and options.
pub(crate) fn described<S: OperatorSpec>(shape: &str, options: &Map<String, Value>) -> Result<S, Error> {
    let spec = options::read(S::of_shape(shape)?, Given { options, tensors: None })?;
    spec.validate()?;
    Ok(spec)
}

/// The inputs, or the outputs.
pub(crate) fn tensors_of<S: OperatorSpec>(spec: &S, access: Access) -> impl Iterator<Item = TensorSpec> {
    spec.tensors().into_iter().filter(move |tensor_spec| tensor_spec.access == access)
}

/// The cases of a table of names, shapes and options as JSON. Tables are ours, and a test holds that every entry parses: one
/// that does not is left out here rather than made to panic in somebody's program.
pub(crate) fn described_cases<S: OperatorSpec>(table: &[(&str, &str, &str)]) -> Vec<(String, S)> {
    let parsed = |shape: &str, options: &str| described(shape, &serde_json::from_str(options).ok()?).ok();
    let cases = table.iter().map(|&(name, shape, options)| Some((name.to_owned(), parsed(shape, options)?)));
    cases.flatten().collect()
}

impl<S: OperatorSpec> Problem for S {
    fn operator(&self) -> &'static str {
        S::OPERATOR
    }

    fn describe(&self) -> String {
        let mut words = vec![OperatorSpec::shape(self), self.stored_as().to_string()];
        words.extend(S::OPTIONS.iter().filter_map(|row| (row.describe)(self)));
        words.join(" ")
    }

    fn options(&self) -> Map<String, Value> {
        options::write(self)
    }

    fn shape(&self) -> String {
        OperatorSpec::shape(self)
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

    fn random_inputs(&self, seed: u64) -> Vec<(Name, HostTensor)> {
        OperatorSpec::random_inputs(self, seed)
    }

    fn notes(&self) -> Vec<String> {
        OperatorSpec::notes(self)
    }

    fn check_inputs(&self, inputs: &[(&str, &HostTensor)]) -> Result<(), Error> {
        check_integers(&OperatorSpec::tensors(self), inputs)?;
        self.check_values(inputs)
    }

    fn reference(&self, inputs: &[(&str, &HostTensor)], rows: Rows) -> Result<Vec<Expected>, Error> {
        self.validate()?;
        self.check_values(inputs)?;
        OperatorSpec::reference(self, inputs, rows)
    }

    fn queries_without_keys(
        &self,
        inputs: &[(&str, &HostTensor)],
        output: &dyn Fn(&str) -> Option<Vec<f64>>,
    ) -> Option<[usize; 2]> {
        OperatorSpec::queries_without_keys(self, inputs, output)
    }

    fn tolerance(&self, output: &str) -> Tolerance {
        OperatorSpec::tolerance(self, output)
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
        options: &Map<String, Value>,
        tensors: &[(String, HostTensor)],
    ) -> Result<Arc<dyn Problem>, Error> {
        let given = Given { options, tensors: Some(tensors) };
        let spec = S::of_tensors(&given)?;
        let dtype = spec.stored_as();
        let mut spec = options::read(spec, given)?;
        // Tensors are stored as they are, whatever an option says.
        *spec.dtype_mut() = dtype;
        spec.validate()?;
        spec.fit_tensors(&given)?;
        Ok(Arc::new(spec))
    }

    fn problem_of_shape(&self, shape: &str, options: &Map<String, Value>) -> Result<Arc<dyn Problem>, Error> {
        Ok(Arc::new(described::<S>(shape, options)?))
    }

    fn shape_help(&self) -> &'static str {
        S::SHAPE_HELP
    }

    fn bench_shapes(&self) -> &'static [&'static str] {
        S::BENCH_SHAPES
    }
}
