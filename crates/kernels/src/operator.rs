//! What every operator offers, so that the engine, the CLI and the tests know none by name.

use std::{collections::BTreeSet, fmt, sync::Arc, time::Duration};

use serde_json::{Map, Value};

use crate::{
    AdapterProfile, Error, Expected, HostTensor, Name, Plan, TensorSpec, Tolerance, attention, combine,
    linear_attention,
};

/// The operators. A new one is a line here and two folders of its own.
#[must_use]
pub fn operators() -> &'static [&'static dyn Operator] {
    static OPERATORS: [&dyn Operator; 3] =
        [&attention::OPERATOR, &linear_attention::OPERATOR, &combine::OPERATOR];
    &OPERATORS
}

/// The operator of that name.
///
/// # Errors
/// If there is none; the message lists those there are.
pub fn operator(name: &str) -> Result<&'static dyn Operator, Error> {
    operators().iter().copied().find(|op| op.name() == name).ok_or_else(|| {
        let names: Vec<&str> = operators().iter().map(|op| op.name()).collect();
        Error::no_word("operator", &names, name)
    })
}

/// A family of problems that share a name, options and variants.
pub trait Operator: Sync + fmt::Debug {
    /// The name used on command lines and in files.
    fn name(&self) -> &'static str;

    /// One line for lists.
    fn summary(&self) -> &'static str;

    /// The options beyond tensors, for `--help` and for checking option names.
    fn options(&self) -> &[OptionSpec];

    /// The variants, each with the shader modules it may use.
    fn variants(&self) -> Vec<VariantInfo>;

    /// Named uses of the operator, with the paper they come from.
    fn recipes(&self) -> &'static [Recipe];

    /// The example of the recipe of that name.
    ///
    /// # Errors
    /// If there is none; the message lists those there are.
    fn recipe_case(&self, name: &str) -> Result<Case, Error>;

    /// The table of cases: one table drives check, snapshots, the browser page and docs.
    fn cases(&self) -> Vec<Case>;

    /// A random case, fully determined by `seed`. It draws from everything the operator supports, odd sizes first.
    fn random_case(&self, seed: u64) -> Case;

    /// The problem that `options` and the shapes of `tensors` describe. Options that are not the operator's are errors.
    ///
    /// # Errors
    /// [`crate::ErrorKind::Invalid`] for wrong input, naming the tensor or option; [`crate::ErrorKind::Unsupported`] for
    /// options that files may carry but this version does not serve.
    fn problem(
        &self,
        options: &Map<String, Value>,
        tensors: &[(String, HostTensor)],
    ) -> Result<Arc<dyn Problem>, Error>;

    /// The problem of a shape given as text, as `foveal bench --shape` takes it (see [`Operator::shape_help`]).
    ///
    /// # Errors
    /// As [`Operator::problem`].
    fn problem_of_shape(&self, shape: &str, options: &Map<String, Value>) -> Result<Arc<dyn Problem>, Error>;

    /// How [`Operator::problem_of_shape`] reads a shape, for `--help`.
    fn shape_help(&self) -> &'static str;

    /// The shapes that `foveal bench` measures by default.
    fn bench_shapes(&self) -> &'static [&'static str];
}

/// One problem: shapes, options and storage types, ready to be planned or computed by the reference.
pub trait Problem: fmt::Debug + Send + Sync {
    /// The operator's name.
    fn operator(&self) -> &'static str;

    /// The problem in a few words, e.g. `1x8x1024x64 f32 causal`.
    fn describe(&self) -> String;

    /// The options that [`Operator::problem`] would read this problem from.
    fn options(&self) -> Map<String, Value>;

    /// The text that [`Operator::problem_of_shape`] would read this problem's sizes from.
    fn shape(&self) -> String;

    /// The tensors that are bound: inputs first, then outputs.
    fn tensors(&self) -> Vec<TensorSpec>;

    /// How the problem will run on that adapter.
    ///
    /// # Errors
    /// [`crate::ErrorKind::Limit`] if no variant fits (the message says which limit stops each);
    /// [`crate::ErrorKind::Invalid`] for a problem that makes no sense or a variant that does not exist.
    fn plan(&self, adapter: &AdapterProfile, constraints: &Constraints) -> Result<Plan, Error>;

    /// A small problem that `plan`'s variant runs with the very same shaders (equal [`Plan::requests`]): the engine runs it
    /// before it trusts the variant on an adapter.
    fn self_check_problem(&self) -> Arc<dyn Problem>;

    /// Inputs drawn from `seed`, of the storage types of the ports, in their order.
    fn random_inputs(&self, seed: u64) -> Vec<(Name, HostTensor)>;

    /// What is well-formed and probably not meant, to be shown beside results.
    fn notes(&self) -> Vec<String> {
        Vec::new()
    }

    /// Checks what only the inputs' values can tell, such as indices that they hold.
    ///
    /// # Errors
    /// [`crate::ErrorKind::Invalid`] naming the tensor, what was expected and what came.
    fn check_inputs(&self, inputs: &[(&str, &HostTensor)]) -> Result<(), Error> {
        let _ = inputs;
        Ok(())
    }

    /// The outputs, from the definition, in f64.
    ///
    /// # Errors
    /// If `inputs` lack a tensor or one has a wrong shape.
    fn reference(&self, inputs: &[(&str, &HostTensor)], rows: Rows) -> Result<Vec<Expected>, Error>;

    /// How many queries see no key, and of how many that is known, as these outputs tell: `output` gives an output's values, or
    /// whole rows of them. `None` where there is no such thing, or it cannot be told.
    fn queries_without_keys(
        &self,
        inputs: &[(&str, &HostTensor)],
        output: &dyn Fn(&str) -> Option<Vec<f64>>,
    ) -> Option<[usize; 2]> {
        let _ = (inputs, output);
        None
    }

    /// How far an output may be from the reference, and why.
    fn tolerance(&self, output: &str) -> Tolerance;

    /// The work that the problem asks for, whoever does it.
    fn work(&self) -> Work;
}

/// Which rows a reference computes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Rows {
    /// All.
    All,
    /// About this many full rows, drawn from `seed`; all if there are no more.
    Sample {
        /// How many.
        count: usize,
        /// What they are drawn from.
        seed: u64,
    },
}

impl Rows {
    /// All rows if the problem is small enough for the reference to take well under a second, a sample if not.
    #[must_use]
    pub fn affordable(work: &Work, seed: u64) -> Self {
        Self::within(work, 2e9, 512, seed)
    }

    /// The rows that were drawn of `count`, in order; `None` for all.
    pub(crate) fn chosen(self, count: usize) -> Option<Vec<usize>> {
        match self {
            Self::Sample { count: wanted, seed } if wanted < count => {
                let mut chosen = fastrand::Rng::with_seed(seed).choose_multiple(0..count, wanted);
                chosen.sort_unstable();
                Some(chosen)
            }
            _ => None,
        }
    }

    /// All rows if the problem takes at most `flops` operations, about `count` of them if it takes more.
    #[must_use]
    pub fn within(work: &Work, flops: f64, count: usize, seed: u64) -> Self {
        if work.flops <= flops { Self::All } else { Self::Sample { count, seed } }
    }
}

/// What a caller asks of a plan beyond the problem.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Constraints {
    /// Take this variant or fail.
    pub variant: Option<String>,
    /// Variants that failed their self-check on this adapter: never taken.
    pub refused: BTreeSet<String>,
    /// What a single workgroup should take at most, by the estimate: attention then splits the keys of a tile among several
    /// workgroups, whose results are merged exactly. It costs memory for their results, and is no promise where nothing can
    /// be split or there is no room for more. An engine asks for its `Options::longest_submission` unless told otherwise.
    pub workgroup_time: Option<Duration>,
}

impl Constraints {
    /// Take `variant` or fail.
    #[must_use]
    pub fn variant(name: &str) -> Self {
        Self { variant: Some(name.to_owned()), ..Self::default() }
    }
}

/// The work of a problem.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Work {
    /// Floating-point operations on visible pairs; a fused multiply-add counts two.
    pub flops: f64,
    /// The same if nothing were masked.
    pub dense_flops: f64,
    /// Bytes of all tensors, each moved once.
    pub bytes: f64,
}

impl Work {
    /// Visible pairs over all pairs.
    #[must_use]
    pub fn density(&self) -> f64 {
        if self.dense_flops > 0.0 { self.flops / self.dense_flops } else { 1.0 }
    }
}

/// A named problem with the seed of its inputs.
#[derive(Clone, Debug)]
pub struct Case {
    /// Unique within the operator.
    pub name: String,
    /// What is computed.
    pub problem: Arc<dyn Problem>,
    /// What the inputs are drawn from.
    pub seed: u64,
}

/// A variant, for lists.
#[derive(Clone, Debug)]
pub struct VariantInfo {
    /// Its name.
    pub name: &'static str,
    /// One line: how it works and what it needs.
    pub summary: &'static str,
}

/// An option of an operator.
#[derive(Clone, Copy, Debug)]
pub struct OptionSpec {
    /// Its name in files; on the command line `--name`, with dashes for underscores.
    pub name: &'static str,
    /// What its value looks like, e.g. `bhtd|bthd`; empty for a flag.
    pub value: &'static str,
    /// One line.
    pub help: &'static str,
}

/// A named use of an operator.
#[derive(Clone, Copy, Debug)]
pub struct Recipe {
    /// Its name.
    pub name: &'static str,
    /// Options, as JSON.
    pub options: &'static str,
    /// The shape of its example, as [`Operator::problem_of_shape`] takes it.
    pub shape: &'static str,
    /// Where it comes from.
    pub source: &'static str,
}
