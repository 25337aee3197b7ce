//! Linear attention problems with their inputs, taken apart and put together: what identities are stated in.
//!
//! Tensors are held in one order, `[B, H, rows, width]`, in f64, for any order of storage. An identity takes an
//! implementation (the reference, a kernel) and returns how far its two sides are apart.

pub mod identities;

use std::collections::BTreeMap;

use anyhow::{Context, Result};
use foveal::{Engine, Kernel};
use foveal_kernels::linear_attention::{Gate, LinearAttention, StateLayout};
use foveal_kernels::{
    Described, HostTensor, Layout, Name, Problem, TensorData, TensorSpec,
    testing::{Reference, Rows},
};

use crate::harness;

/// Numbers in row-major order.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Tensor {
    /// Batch entries or sequences, heads, rows, width.
    pub sizes: [usize; 4],
    /// Row-major.
    pub values: Vec<f64>,
}

impl Tensor {
    /// A tensor of `sizes` whose element `[b, h, r, c]` is `value([b, h, r, c])`.
    pub fn of(sizes: [usize; 4], mut value: impl FnMut([usize; 4]) -> f64) -> Self {
        let mut values = Vec::with_capacity(sizes.iter().product());
        for b in 0..sizes[0] {
            for h in 0..sizes[1] {
                for r in 0..sizes[2] {
                    values.extend((0..sizes[3]).map(|c| value([b, h, r, c])));
                }
            }
        }
        Self { sizes, values }
    }

    /// An element.
    #[must_use]
    pub fn at(&self, [b, h, r, c]: [usize; 4]) -> f64 {
        let [_, heads, rows, width] = self.sizes;
        self.values[((b * heads + h) * rows + r) * width + c]
    }

    /// The same numbers with every element `change`d.
    #[must_use]
    pub fn map(&self, change: impl Fn([usize; 4], f64) -> f64) -> Self {
        Self::of(self.sizes, |at| change(at, self.at(at)))
    }

    /// These rows of every head, in this order.
    #[must_use]
    pub fn rows(&self, rows: &[usize]) -> Self {
        let [batch, heads, _, width] = self.sizes;
        Self::of([batch, heads, rows.len(), width], |[b, h, r, c]| self.at([b, h, rows[r], c]))
    }

    /// These batch entries or sequences, in this order.
    #[must_use]
    pub fn batch(&self, entries: &[usize]) -> Self {
        let [_, heads, rows, width] = self.sizes;
        Self::of([entries.len(), heads, rows, width], |[b, h, r, c]| self.at([entries[b], h, r, c]))
    }

    /// Rows of `self`, then those of `other`.
    #[must_use]
    pub fn then(&self, other: &Self) -> Self {
        let [batch, heads, rows, width] = self.sizes;
        Self::of([batch, heads, rows + other.sizes[2], width], |[b, h, r, c]| {
            if r < rows { self.at([b, h, r, c]) } else { other.at([b, h, r - rows, c]) }
        })
    }

    /// Batch entries of `self`, then those of `other`.
    #[must_use]
    pub fn beside(&self, other: &Self) -> Self {
        let [batch, heads, rows, width] = self.sizes;
        let values = self.values.iter().chain(&other.values).copied().collect();
        Self { sizes: [batch + other.sizes[0], heads, rows, width], values }
    }

    /// Axes 1 and 2, or 2 and 3, exchanged.
    fn exchanged(&self, axis: usize) -> Self {
        let swap = |mut at: [usize; 4]| {
            at.swap(axis, axis + 1);
            at
        };
        Self::of(swap(self.sizes), |at| self.at(swap(at)))
    }

    /// The root mean square of the differences over that of `other`. Infinite where one side alone is not a number.
    #[must_use]
    pub fn off(&self, other: &Self) -> f64 {
        if self.sizes != other.sizes {
            return f64::INFINITY;
        }
        let sum = |of: &dyn Fn(f64, f64) -> f64| -> f64 {
            self.values.iter().zip(&other.values).map(|(&a, &b)| of(a, b)).sum()
        };
        let difference = sum(&|a, b| if a == b { 0.0 } else { (a - b).powi(2) });
        let off = if difference == 0.0 { 0.0 } else { (difference / sum(&|_, b| b * b)).sqrt() };
        if off.is_nan() { f64::INFINITY } else { off }
    }
}

/// Tensors by name.
pub type Tensors = BTreeMap<String, Tensor>;

/// An implementation: the outputs of a problem.
pub type Run<'r> = dyn Fn(&Given) -> Result<Tensors> + 'r;

/// A problem and its inputs.
#[derive(Clone, Debug)]
pub struct Given {
    /// The problem.
    pub spec: LinearAttention,
    /// Its inputs.
    pub tensors: Tensors,
}

/// How a tensor's order depends on the problem.
#[derive(Clone, Copy, PartialEq)]
enum Kind {
    Tokens,
    State,
    /// States on the way: entries of a sequence, one after the other.
    Kept,
    Sums,
    Other,
}

impl Given {
    /// Inputs drawn from `seed`.
    ///
    /// # Errors
    /// If the problem makes no sense.
    pub fn random(spec: LinearAttention, seed: u64) -> Result<Self> {
        spec.validate()?;
        let mut given = Self { spec, tensors: Tensors::new() };
        let drawn = given.spec.random_inputs(seed);
        for tensor_spec in given.spec.tensors().iter().filter(|tensor_spec| tensor_spec.access.reads()) {
            let tensor =
                drawn.iter().find(|(name, _)| *name == tensor_spec.name).context("an input is not drawn")?;
            given
                .tensors
                .insert(tensor_spec.name.to_string(), given.tensor_of(tensor_spec, &tensor.1.to_f64()));
        }
        Ok(given)
    }

    fn kind(&self, name: &str) -> Kind {
        let by_token = [&self.spec.erase_key, &self.spec.dt].into_iter().any(|n| n.as_deref() == Some(name));
        match name {
            "q" | "k" | "v" | "a" | "b" | "beta" | "o" => Kind::Tokens,
            "g" if self.spec.gate != Gate::Constant => Kind::Tokens,
            "state_in" | "state_out" => Kind::State,
            "states" | "window_states" => Kind::Kept,
            "z_in" | "z_out" => Kind::Sums,
            _ if by_token => Kind::Tokens,
            _ => Kind::Other,
        }
    }

    /// Values in a port's order of storage.
    fn tensor_of(&self, tensor_spec: &TensorSpec, values: &[f64]) -> Tensor {
        let values = values.to_vec();
        let mut sizes = [1, 1, 1, tensor_spec.span];
        match self.kind(&tensor_spec.name) {
            Kind::Tokens => {
                sizes = [
                    tensor_spec.shape[0],
                    tensor_spec.shape[1],
                    tensor_spec.shape[2],
                    tensor_spec.shape.get(3).copied().unwrap_or(1),
                ];
                let tensor = Tensor { sizes, values };
                if self.spec.layout == Layout::Bthd { tensor.exchanged(1) } else { tensor }
            }
            Kind::State => {
                sizes.copy_from_slice(&tensor_spec.shape);
                let tensor = Tensor { sizes, values };
                if self.spec.state_layout == StateLayout::Vk { tensor.exchanged(2) } else { tensor }
            }
            Kind::Kept => {
                let [sequences, entries, ref state @ ..] = tensor_spec.shape[..] else {
                    return Tensor { sizes, values };
                };
                sizes[0] = sequences * entries;
                sizes[1..].copy_from_slice(state);
                let tensor = Tensor { sizes, values };
                if self.spec.state_layout == StateLayout::Vk { tensor.exchanged(2) } else { tensor }
            }
            Kind::Sums => {
                sizes.copy_from_slice(&tensor_spec.shape);
                Tensor { sizes, values }
            }
            Kind::Other => Tensor { sizes, values },
        }
    }

    /// The inputs as the problem stores them, in the order of its ports.
    ///
    /// # Errors
    /// If one is missing or has not the size it should have.
    pub fn inputs(&self) -> Result<Vec<(Name, HostTensor)>> {
        let tensor_specs = self.spec.tensors();
        let inputs = tensor_specs.into_iter().filter(|tensor_spec| tensor_spec.access.reads());
        inputs
            .map(|tensor_spec| {
                let tensor = self
                    .tensors
                    .get(&*tensor_spec.name)
                    .with_context(|| format!("no tensor `{}`", tensor_spec.name))?;
                let values = match self.kind(&tensor_spec.name) {
                    Kind::Tokens if self.spec.layout == Layout::Bthd => tensor.exchanged(1).values,
                    Kind::State if self.spec.state_layout == StateLayout::Vk => tensor.exchanged(2).values,
                    _ => tensor.values.clone(),
                };
                let host = HostTensor::new(tensor_spec.shape, TensorData::F64(values))
                    .with_context(|| format!("`{}` of {}", tensor_spec.name, self.spec.describe()))?;
                Ok((tensor_spec.name, host))
            })
            .collect()
    }

    /// A tensor.
    ///
    /// # Panics
    /// If there is none of that name.
    #[must_use]
    #[expect(clippy::panic, reason = "a test names a tensor that its problem does not have")]
    pub fn tensor(&self, name: &str) -> &Tensor {
        self.tensors.get(name).unwrap_or_else(|| panic!("{} has no `{name}`", self.spec.describe()))
    }

    /// The same problem with another tensor of that name.
    #[must_use]
    pub fn with(mut self, name: &str, tensor: Tensor) -> Self {
        self.tensors.insert(name.to_owned(), tensor);
        self
    }

    /// The same inputs for a problem that differs.
    #[must_use]
    pub fn of(&self, change: impl FnOnce(&mut LinearAttention)) -> Self {
        let mut other = self.clone();
        change(&mut other.spec);
        other
    }

    /// These tokens, in this order, with their steps.
    #[must_use]
    pub fn tokens(&self, tokens: impl IntoIterator<Item = usize>) -> Self {
        let tokens: Vec<usize> = tokens.into_iter().collect();
        let steps = self.spec.steps;
        let rows: Vec<usize> = tokens.iter().flat_map(|token| token * steps..(token + 1) * steps).collect();
        let mut part = self.of(|spec| spec.len = tokens.len());
        for (name, tensor) in &mut part.tensors {
            if self.kind(name) == Kind::Tokens {
                let by_token = ["q", "g"].contains(&name.as_str());
                *tensor = tensor.rows(if by_token { &tokens } else { &rows });
            }
        }
        part
    }

    /// The outputs by the definition.
    ///
    /// # Errors
    /// If the reference refuses.
    pub fn reference(&self) -> Result<Tensors> {
        let inputs = self.inputs()?;
        let outputs = self.spec.reference(&harness::borrowed(&inputs), Rows::All);
        let outputs = outputs.with_context(|| self.spec.describe())?;
        let tensor_specs = self.spec.tensors();
        outputs
            .iter()
            .map(|output| {
                let tensor_spec = tensor_specs
                    .iter()
                    .find(|tensor_spec| tensor_spec.name == output.name)
                    .context("an output without a port")?;
                Ok((output.name.to_string(), self.tensor_of(tensor_spec, &output.values)))
            })
            .collect()
    }

    /// The outputs of a kernel of this problem, whose buffers lie between guard words.
    ///
    /// # Errors
    /// If it cannot run or leaves its buffers.
    pub fn on(&self, engine: &Engine, kernel: &Kernel) -> Result<Tensors> {
        let inputs = self.inputs()?;
        let outputs = harness::run(engine, kernel, &harness::storage(&kernel.plan().tensors, &inputs)?)?;
        outputs
            .iter()
            .map(|output| {
                let values = harness::dense(output)?.to_f64();
                Ok((output.tensor_spec.name.to_string(), self.tensor_of(&output.tensor_spec, &values)))
            })
            .collect()
    }
}

/// The worst of what two results differ by.
#[must_use]
pub fn off(a: &Tensors, b: &Tensors) -> f64 {
    if a.keys().ne(b.keys()) {
        return f64::INFINITY;
    }
    a.iter().zip(b.values()).map(|((_, a), b)| a.off(b)).fold(0.0, f64::max)
}
