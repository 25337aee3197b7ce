//! Operators as the engine, the CLI and the tests see them, which know none by name.

mod blanket;
mod spec;

use std::{fmt, sync::Arc};

use crate::{Error, HostTensor, OptionMap, OptionSpec, Problem};

pub(crate) use blanket::OperatorOf;
pub(crate) use spec::{Candidate, OperatorSpec, Subject, Variant, described, described_cases, tensors_of};

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
        options: &OptionMap,
        tensors: &[(String, HostTensor)],
    ) -> Result<Arc<dyn Problem>, Error>;

    /// The problem of a shape given as text, as `foveal bench --shape` takes it (see [`Operator::shape_help`]).
    ///
    /// # Errors
    /// As [`Operator::problem`].
    fn problem_of_shape(&self, shape: &str, options: &OptionMap) -> Result<Arc<dyn Problem>, Error>;

    /// How [`Operator::problem_of_shape`] reads a shape, for `--help`.
    fn shape_help(&self) -> &'static str;

    /// The shapes that `foveal bench` measures by default.
    fn bench_shapes(&self) -> &'static [&'static str];
}

/// A named problem with the seed of its inputs.
#[derive(Clone, Debug)]
pub struct Case {
    /// Unique within the operator.
    pub name: String,
    /// The problem.
    pub problem: Arc<dyn Problem>,
    /// The seed of its inputs.
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
