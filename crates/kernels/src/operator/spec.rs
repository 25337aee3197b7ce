//! The parts of an operator: implement this for a spec, and the rest of the crate treats it as an operator.

use std::fmt;

use super::VariantInfo;
use crate::{
    Access, AdapterProfile, Constraints, Cost, Error, HostTensor, Name, OptionMap, Recipe, TensorSpec, Work,
    check::{Expected, Rows, Tolerance},
    plan::builder::PlanBuilder,
    spec::options::{self, Arguments, Options, for_terminals},
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

    /// Results of planning that all variants of a spec share.
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
    fn of_tensors(given: &Arguments<'_>) -> Result<Self, Error>;

    /// Checks the tensors that options ask for, and takes from them what no option says.
    ///
    /// # Errors
    /// If one is missing, or does not fit.
    fn fit_tensors(&mut self, given: &Arguments<'_>) -> Result<(), Error> {
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

    /// The analysis that all variants' proposals use.
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

    /// Notes on well-formed input that is probably a mistake.
    fn notes(&self) -> Vec<String> {
        Vec::new()
    }

    /// See [`Problem::quantisation_bounds`].
    ///
    /// # Errors
    /// As [`OperatorSpec::reference`].
    fn quantisation_bounds(
        &self,
        inputs: &[(&str, &HostTensor)],
        rows: Rows,
    ) -> Result<Vec<(Name, f64)>, Error> {
        let _ = (inputs, rows);
        Ok(Vec::new())
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

/// A variant: its name, and a proposal or the reason why there is none.
pub(crate) struct Variant<S: OperatorSpec> {
    /// Name and summary.
    pub(crate) info: VariantInfo,
    pub(crate) propose: Propose<S>,
}

type Propose<S> = fn(Subject<'_, '_, S>, &AdapterProfile) -> Result<Candidate<S>, String>;

/// A problem that a variant makes a proposal for.
pub(crate) struct Subject<'a, 'b, S: OperatorSpec> {
    pub(crate) spec: &'a S,
    pub(crate) analysis: &'a S::Analysis<'b>,
}

impl<S: OperatorSpec> Variant<S> {
    pub(crate) fn new(name: &'static str, summary: &'static str, propose: Propose<S>) -> Self {
        Self { info: VariantInfo { name, summary: for_terminals(summary) }, propose }
    }
}

/// A variant's proposal for a problem on an adapter.
#[derive(Clone, Debug)]
pub(crate) struct Candidate<S: OperatorSpec> {
    /// The variant's name.
    pub(crate) variant: &'static str,
    /// Tile sizes and other choices worth showing.
    pub(crate) tiles: Vec<(String, String)>,
    pub(crate) threads: u32,
    pub(crate) workgroup_bytes: u32,
    /// Its estimated cost.
    pub(crate) cost: Cost,
    pub(crate) schedule: S::Schedule,
}

/// The spec of a shape and options.
pub(crate) fn described<S: OperatorSpec>(shape: &str, options: &OptionMap) -> Result<S, Error> {
    let options = options.as_json();
    options::check_names::<S>(options)?;
    let spec = options::read(S::of_shape(shape)?, Arguments { options, tensors: None })?;
    spec.validate()?;
    Ok(spec)
}

/// The inputs, or the outputs.
pub(crate) fn tensors_of<S: OperatorSpec>(spec: &S, access: Access) -> impl Iterator<Item = TensorSpec> {
    spec.tensors().into_iter().filter(move |tensor_spec| tensor_spec.access == access)
}

/// The cases of a table of names, shapes and options as JSON. Tables are ours, and a test holds that every entry
/// parses: one that does not is left out here rather than made to panic in a host's program.
pub(crate) fn described_cases<S: OperatorSpec>(table: &[(&str, &str, &str)]) -> Vec<(String, S)> {
    let parsed = |shape: &str, options: &str| described(shape, &serde_json::from_str(options).ok()?).ok();
    let cases = table.iter().map(|&(name, shape, options)| Some((name.to_owned(), parsed(shape, options)?)));
    cases.flatten().collect()
}
