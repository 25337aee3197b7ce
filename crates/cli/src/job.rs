//! A problem and its tensors, from files.

use std::collections::BTreeMap;
use std::sync::Arc;

use anyhow::Result;
use foveal_kernels::{Dtype, HostTensor, Operator, OptionMap, Problem, did_you_mean, operators};

use crate::failure::{NoJob, unknown, usage};
use crate::io::{Element, Stored, TensorFile};

/// A computation and its device.
#[derive(Debug)]
pub(crate) struct Job {
    pub(crate) operator: &'static dyn Operator,
    pub(crate) problem: Arc<dyn Problem>,
    options: OptionMap,
    file: TensorFile,
    /// By name, in order: those that the problem reads as they are, large others as stand-ins of their shape.
    tensors: Vec<(String, HostTensor)>,
}

/// Tensors of so many bytes are read before it is known whether the problem reads them: lists and lengths, which say what the
/// problem is, are not larger. So are all integers.
const SMALL: u64 = 1 << 20;

impl Job {
    /// The operator by name or by the file's `foveal` entry, with the entry's options overridden by what `given` says.
    pub(crate) fn new(
        file: TensorFile,
        name: Option<&str>,
        dtype: Option<Dtype>,
        given: impl FnOnce(&'static dyn Operator) -> Result<OptionMap>,
    ) -> Result<Self> {
        let entry = file.options()?;
        let in_file = entry.as_ref().and_then(|options| options.text("op"));
        let operator = match (name, in_file) {
            (Some(name), _) => operator(name)?,
            (None, Some(name)) => {
                operators().iter().copied().find(|op| op.name() == name).ok_or_else(|| {
                    NoJob(format!("this version has no operator `{name}`, which the file asks for"))
                })?
            }
            (None, None) => {
                let names: Vec<&str> = operators().iter().map(|op| op.name()).collect();
                return Err(usage(format!(
                    "which operator? The input has no `foveal` header entry that says; name one of {}",
                    names.join(", ")
                )));
            }
        };
        // Options stored for one operator mean nothing to another.
        let mut options = match entry {
            Some(options) if in_file.is_none_or(|op| op == operator.name()) => options,
            _ => OptionMap::new(),
        };
        options.remove("op");
        options.extend(given(operator)?);
        Self::of(operator, options, file, dtype)
    }

    /// The problem's tensors are found with stand-ins for large ones, so that a file may hold any number of other
    /// tensors, of any type: they are neither read nor converted.
    fn of(
        operator: &'static dyn Operator,
        options: OptionMap,
        file: TensorFile,
        dtype: Option<Dtype>,
    ) -> Result<Self> {
        let named = |name: &str, error: anyhow::Error| error.context(format!("tensor `{name}`"));
        let mut tensors = Vec::with_capacity(file.tensors.len());
        // Those that memory has no room for: no fault unless the problem reads them.
        let mut too_large = BTreeMap::new();
        for (name, stored) in &file.tensors {
            let look = match stored.element() {
                Some(element) if !element.is_float() || stored.size_bytes() <= SMALL => stored.load(dtype),
                _ => stored.stand_in(dtype),
            };
            let look = look.or_else(|error| {
                too_large.insert(name.as_str(), named(name, error));
                stored.shrunk()
            });
            tensors.push((name.clone(), look.map_err(|error| named(name, error))?));
        }
        let problem = |tensors: &[(String, HostTensor)]| {
            let problem = operator.problem(&options, tensors);
            problem.map_err(|error| match file.tensors.get(error.argument()) {
                Some(stored) => explained(error, stored, dtype),
                None => error.into(),
            })
        };
        let looked = match problem(&tensors) {
            Ok(looked) => looked,
            // Their sizes were made up, so any error may be due to that.
            Err(error) => return Err(too_large.pop_first().map_or(error, |(_, too_large)| too_large)),
        };
        let tensor_specs = looked.tensors();
        for (name, tensor) in &mut tensors {
            let Some(tensor_spec) = tensor_specs
                .iter()
                .find(|tensor_spec| tensor_spec.access.reads() && tensor_spec.name == *name)
            else {
                continue;
            };
            if let Some(error) = too_large.remove(name.as_str()) {
                return Err(error);
            }
            if let Some(stored) = file.tensors.get(name.as_str()) {
                // Tensors that are always f32, such as gates and states, stay as they are.
                let dtype = dtype.filter(|&dtype| tensor_spec.dtype == dtype);
                // The stand-in goes first: there may be room for one of both only.
                *tensor = stored.shrunk()?;
                *tensor = stored.load(dtype).map_err(|error| named(name, error))?;
            }
        }
        // Once more, because problems look at some values.
        let problem = problem(&tensors)?;
        Ok(Self { operator, problem, options, file, tensors })
    }

    /// The same with the outputs that are computed on request only, except those that were declined. Such an output is a
    /// flag of its own name.
    pub(crate) fn with_all_outputs(mut self) -> Self {
        for spec in self.operator.options().iter().filter(|spec| spec.value.is_empty()) {
            if self.options.contains(spec.name) {
                continue;
            }
            let mut options = self.options.clone();
            options.insert(spec.name, true);
            // A flag that is no output may ask for a tensor that there is none of.
            let Ok(problem) = self.operator.problem(&options, &self.tensors) else { continue };
            if problem
                .tensors()
                .iter()
                .any(|tensor_spec| tensor_spec.name == spec.name && tensor_spec.access.writes())
            {
                (self.problem, self.options) = (problem, options);
            }
        }
        self
    }

    /// The tensors that the problem reads.
    pub(crate) fn inputs(&self) -> Result<Vec<(&str, &HostTensor)>> {
        self.problem
            .tensors()
            .iter()
            .filter(|tensor_spec| tensor_spec.access.reads())
            .map(|tensor_spec| {
                let held = self.tensors.iter().find(|(held, _)| *held == tensor_spec.name);
                let (name, tensor) = held.ok_or_else(|| {
                    let held: Vec<&str> = self.tensors.iter().map(|(name, _)| name.as_str()).collect();
                    let hint = did_you_mean(&tensor_spec.name, held.iter().copied());
                    usage(format!(
                        "there is no tensor `{}`; the input holds {}{hint}",
                        tensor_spec.name,
                        held.join(", ")
                    ))
                })?;
                Ok((name.as_str(), tensor))
            })
            .collect()
    }

    /// Any tensor of the files.
    pub(crate) fn tensor(&self, name: &str) -> Result<Option<HostTensor>> {
        let stored = self.file.tensors.get(name);
        stored
            .map(|stored| stored.load(None).map_err(|error| error.context(format!("tensor `{name}`"))))
            .transpose()
    }

    /// The note on tensors that nothing reads: a mask that was forgotten gives another result than was meant.
    pub(crate) fn unread(&self) -> Vec<String> {
        /// More than this are a file of something else.
        const NAMED: usize = 4;
        let tensor_specs = self.problem.tensors();
        let known = |name: &str| {
            let of_port = |name: &str| tensor_specs.iter().any(|tensor_spec| tensor_spec.name == name);
            of_port(name) || name.strip_suffix("_f64").is_some_and(of_port)
        };
        let mentioned = |name: &str| mentions(&self.options, name);
        let unread: Vec<(&str, &Stored)> = self
            .file
            .tensors
            .iter()
            .map(|(name, stored)| (name.as_str(), stored))
            .filter(|(name, _)| !known(name) && !mentioned(name))
            .collect();
        let one = |(name, stored): &(&str, &Stored)| {
            let how =
                self.how_to_read(name, stored).map(|how| format!(": name it in an expression, e.g. {how}"));
            format!("tensor `{name}` is not read{}", how.unwrap_or_default())
        };
        if unread.len() <= NAMED {
            return unread.iter().map(one).collect();
        }
        let names: Vec<&str> = unread.iter().take(NAMED).map(|(name, _)| *name).collect();
        vec![format!("{} tensors are not read: {}, ...", unread.len(), names.join(", "))]
    }

    /// How an expression would read a tensor that looks as if it were meant for one.
    fn how_to_read(&self, name: &str, stored: &Stored) -> Option<String> {
        let takes = |option: &str| {
            let specs = self.operator.options();
            specs.iter().any(|spec| spec.name == option && spec.value == "EXPR")
        };
        let word = name.starts_with(|c: char| c.is_ascii_alphabetic() || c == '_')
            && name.chars().all(|c| c.is_ascii_alphanumeric() || c == '_');
        let shape = stored.shape();
        let axes: &[&str] = match shape.len() {
            2 => &["q", "k"],
            3 => &["h", "q", "k"],
            4 => &["b", "h", "q", "k"],
            _ => return None,
        };
        // Axes with one entry are shared.
        let index: Vec<&str> =
            axes.iter().zip(shape).map(|(axis, &size)| if size == 1 { "0" } else { axis }).collect();
        let element = format!("{name}[{}]", index.join(", "));
        match stored.element()?.is_float() {
            _ if !word => None,
            true => takes("score").then(|| format!("--score 's + {element}'")),
            false => takes("mask").then(|| format!("--mask '{element} != 0'")),
        }
    }

    /// The operator's name and the problem's options, as files carry them.
    pub(crate) fn entry(&self) -> String {
        let mut entry = OptionMap::new();
        entry.insert("op", self.operator.name());
        entry.extend(self.problem.options());
        entry.to_string()
    }
}

/// The operator of that name.
pub(crate) fn operator(name: &str) -> Result<&'static dyn Operator> {
    let all = operators();
    all.iter().copied().find(|op| op.name() == name).ok_or_else(|| {
        let names: Vec<&str> = all.iter().map(|op| op.name()).collect();
        unknown("operator", name, &names)
    })
}

/// The operator that was named, or all.
pub(crate) fn operators_of(name: Option<&str>) -> Result<Vec<&'static dyn Operator>> {
    name.map_or_else(|| Ok(operators().to_vec()), |name| Ok(vec![operator(name)?]))
}

/// Checks a variant's name against those of the operators.
pub(crate) fn check_variant(name: Option<&str>, of: &[&'static dyn Operator]) -> Result<()> {
    let Some(name) = name else { return Ok(()) };
    let mut known: Vec<&str> = of.iter().flat_map(|op| op.variants()).map(|variant| variant.name).collect();
    known.dedup();
    if known.contains(&name) { Ok(()) } else { Err(unknown("variant", name, &known)) }
}

/// An error about a tensor, with what the file's type of elements has to do with it.
fn explained(error: foveal_kernels::Error, stored: &Stored, dtype: Option<Dtype>) -> anyhow::Error {
    match stored.readable() {
        Err(unreadable) => unreadable.context(format!("tensor `{}`", error.argument())),
        Ok(Element::F64) if dtype.is_none() => usage(format!("{error}; --dtype f32 converts it")),
        Ok(_) => error.into(),
    }
}

/// Whether a word of some option's text is this name.
fn mentions(options: &OptionMap, name: &str) -> bool {
    let in_word = |c: char| c.is_ascii_alphanumeric() || c == '_';
    options.any_text(&|text| text == name || text.split(|c| !in_word(c)).any(|word| word == name))
}

/// The storage type of a problem's first input.
pub(crate) fn dtype_of(problem: &dyn Problem) -> Dtype {
    problem.tensors().first().map_or(Dtype::F32, |tensor_spec| tensor_spec.dtype)
}
