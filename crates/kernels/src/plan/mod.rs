//! Problems and their plans: everything the engine needs to run one, as plain data.

pub(crate) mod builder;
mod choose;
pub(crate) mod cost;
mod explain;
pub(crate) mod partition;
mod pass;
pub(crate) mod turns;

use std::{collections::BTreeSet, fmt, sync::Arc, time::Duration};

use foveal_shaders::Request;

pub(crate) use choose::plan;
pub use pass::{BoundTo, Cost, ParamValue, Pass, PassBinding, RejectedVariant, Scratch};

use crate::{
    AdapterProfile, Described, Error, HostTensor, Name, TensorSpec, Work,
    check::{Reference, Rows},
};

/// One problem: shapes, options and storage types, ready to be planned or computed by the reference.
pub trait Problem: Described + Reference + fmt::Debug + Send + Sync {
    /// The operator's name.
    fn operator(&self) -> &'static str;

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

    /// Notes on well-formed input that is probably a mistake, to be shown beside results.
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

    /// How far elements of the outputs, of these rows, can be from those of the numbers that the inputs' integers were rounded
    /// from: the largest bound of each output. Nothing where no inputs are integers with scales.
    ///
    /// # Errors
    /// As [`Reference::reference`].
    fn quantisation_bounds(
        &self,
        inputs: &[(&str, &HostTensor)],
        rows: Rows,
    ) -> Result<Vec<(Name, f64)>, Error> {
        let _ = (inputs, rows);
        Ok(Vec::new())
    }

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

    /// The work that the problem asks for, by any variant.
    fn work(&self) -> Work;
}

/// Constraints on a plan, beyond the problem.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Constraints {
    /// Take this variant or fail.
    pub variant: Option<String>,
    /// Variants that failed their self-check on this adapter: never taken.
    pub refused: BTreeSet<String>,
    /// The longest time of a single workgroup, by the estimate: attention then splits the keys of a tile among several
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

/// How a problem will run on an adapter: which variant, specialised how, dispatched over what, and why.
///
/// A plan holds no GPU object. `Display` explains it; [`Plan::problem`] leads back to what is computed.
#[derive(Clone, Debug)]
pub struct Plan {
    /// The problem.
    pub problem: Arc<dyn Problem>,
    /// The constraints it was made under.
    pub constraints: Constraints,
    /// The operator's name.
    pub operator: &'static str,
    /// The variant that was chosen.
    pub variant: String,
    /// Why it was chosen, in a sentence.
    pub reason: String,
    /// Tile sizes and other choices worth showing, in order.
    pub tiles: Vec<(String, String)>,
    /// The tensors that the caller binds by name.
    pub tensors: Vec<TensorSpec>,
    /// Buffers that the engine allocates for the passes' own use.
    pub scratch: Vec<Scratch>,
    /// Dispatches, in order. A later pass sees what an earlier one wrote.
    pub passes: Vec<Pass>,
    /// Threads of a workgroup and bytes of workgroup memory of the hungriest pass.
    pub threads: u32,
    /// Bytes of workgroup memory of the hungriest pass.
    pub workgroup_bytes: u32,
    /// The variant's estimated cost.
    pub cost: Cost,
    /// The other variants, each with the reason it was not taken.
    pub rejected_variants: Vec<RejectedVariant>,
}

impl Plan {
    /// The port of that name.
    #[must_use]
    pub fn tensor(&self, name: &str) -> Option<&TensorSpec> {
        self.tensors.iter().find(|tensor_spec| tensor_spec.name == name)
    }

    /// Bytes of GPU memory beyond the caller's tensors, uniforms aside.
    #[must_use]
    pub fn scratch_bytes(&self) -> u64 {
        self.scratch.iter().map(|scratch| scratch.bytes).sum()
    }

    /// The distinct shader requests of the passes, in order of first use.
    #[must_use]
    pub fn requests(&self) -> Vec<&Arc<Request>> {
        let mut distinct: Vec<&Arc<Request>> = Vec::new();
        for pass in &self.passes {
            if !distinct.iter().any(|request| **request == pass.request) {
                distinct.push(&pass.request);
            }
        }
        distinct
    }
}
