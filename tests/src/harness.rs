//! Running a kernel with every buffer between guard words, and judging what comes out.

use std::path::Path;

use anyhow::{Context, Result, bail, ensure};
use foveal::wgpu;
use foveal::{Engine, Kernel};
use foveal_kernels::{
    Access, Dtype, HostTensor, Name, Plan, TensorData, TensorSpec,
    testing::{Case, Comparison, Expected, Rows, compare, unchanged},
};
use pollster::block_on;

use crate::files;

/// NaN in every storage type: what an output holds until it is written, and what lies around an input, where a stray read
/// turns the result into NaN.
const POISON: u8 = 0xff;

/// Around outputs: a number in every storage type, and not one that a kernel is likely to write.
const GUARD: u8 = 0xa5;

/// The storage of an output after a run.
#[derive(Clone, Debug, PartialEq)]
pub struct Output {
    /// The port.
    pub tensor_spec: TensorSpec,
    /// Its bytes, [`TensorSpec::size_bytes`] of them.
    pub bytes: Vec<u8>,
}

/// A tensor of a run, in the middle of a larger buffer.
struct Placed<'p> {
    tensor_spec: &'p TensorSpec,
    buffer: wgpu::Buffer,
    bytes: Vec<u8>,
    start: usize,
    size: usize,
}

impl<'p> Placed<'p> {
    fn new(engine: &Engine, tensor_spec: &'p TensorSpec, body: &[u8]) -> Result<Self> {
        let size = usize::try_from(tensor_spec.size_bytes())?;
        ensure!(body.len() <= size, "{} has {} bytes of {size}", tensor_spec.name, body.len());
        let alignment = engine.profile().limits.min_storage_buffer_offset_alignment as usize;
        // Aligned as little as the adapter allows: what is aligned better by accident hides mistakes.
        let start = alignment * (2 * 256usize.div_ceil(alignment) + 1);
        let around = if tensor_spec.access.writes() { GUARD } else { POISON };
        let mut bytes = vec![around; (start + size).next_multiple_of(4) + 256];
        bytes[start..start + body.len()].copy_from_slice(body);
        bytes[start + body.len()..start + size].fill(POISON);
        let buffer = block_on(engine.buffer(&tensor_spec.name, bytes.len() as u64))?;
        engine.queue().write_buffer(&buffer, 0, &bytes);
        Ok(Self { tensor_spec, buffer, bytes, start, size })
    }

    fn slice(&self) -> wgpu::BufferSlice<'_> {
        self.buffer.slice(self.start as u64..(self.start + self.size) as u64)
    }

    /// The bytes after a run. Those that the kernel must not touch are as they were.
    fn read(&self, engine: &Engine) -> Result<Vec<u8>> {
        let words = self.bytes.len() / 4;
        let after = block_on(engine.read_back(&self.buffer, &[words], Dtype::F32))?.to_bytes(Dtype::F32);
        let end = self.start + self.size;
        let same = |range: std::ops::Range<usize>| after[range.clone()] == self.bytes[range];
        ensure!(same(0..self.start), "the kernel wrote before `{}`", self.tensor_spec.name);
        ensure!(same(end..after.len()), "the kernel wrote beyond `{}`", self.tensor_spec.name);
        if !self.tensor_spec.access.writes() {
            ensure!(same(self.start..end), "the kernel changed its input `{}`", self.tensor_spec.name);
        }
        Ok(after[self.start..end].to_vec())
    }
}

/// Runs a kernel. `inputs` are the storage of the plan's inputs by name; what a body lacks to the port's size is NaN.
///
/// # Errors
/// Any error of the engine; a guard word that changed, an input that changed.
pub fn run(engine: &Engine, kernel: &Kernel, inputs: &[(&str, Vec<u8>)]) -> Result<Vec<Output>> {
    run_by(engine, kernel, inputs, |tensors| {
        let mut encoder = engine.device().create_command_encoder(&wgpu::CommandEncoderDescriptor::default());
        kernel.bind(tensors)?.encode(&mut encoder);
        engine.queue().submit([encoder.finish()]);
        Ok(())
    })
}

/// Tensors by name, each somewhere in a buffer.
pub type Bound<'b> = [(&'b str, wgpu::BufferSlice<'b>)];

/// As [`run`], but `record` records and submits the work.
///
/// # Errors
/// As [`run`].
pub fn run_by(
    engine: &Engine,
    kernel: &Kernel,
    inputs: &[(&str, Vec<u8>)],
    record: impl FnOnce(&Bound<'_>) -> Result<()>,
) -> Result<Vec<Output>> {
    let plan = kernel.plan();
    let mut tensors = Vec::new();
    for tensor_spec in &plan.tensors {
        let body: &[u8] = match tensor_spec.access {
            Access::Read | Access::Update => {
                let given = inputs.iter().find(|(name, _)| *name == tensor_spec.name);
                &given.with_context(|| format!("input `{}` is missing", tensor_spec.name))?.1
            }
            Access::Write => &[],
        };
        tensors.push(Placed::new(engine, tensor_spec, body)?);
    }
    let bound: Vec<(&str, wgpu::BufferSlice<'_>)> = tensors
        .iter()
        .filter(|t| t.size > 0)
        .map(|tensor| (&*tensor.tensor_spec.name, tensor.slice()))
        .collect();
    record(&bound)?;
    let mut outputs = Vec::new();
    for tensor in &tensors {
        let bytes = tensor.read(engine)?;
        if tensor.tensor_spec.access.writes() {
            outputs.push(Output { tensor_spec: tensor.tensor_spec.clone(), bytes });
        }
    }
    Ok(outputs)
}

/// The storage of a problem's inputs.
///
/// # Errors
/// If the problem gives no tensor for one.
pub fn storage<'n>(
    tensor_specs: &[TensorSpec],
    inputs: &'n [(Name, HostTensor)],
) -> Result<Vec<(&'n str, Vec<u8>)>> {
    inputs
        .iter()
        .map(|(name, tensor)| {
            let tensor_spec = tensor_specs.iter().find(|tensor_spec| tensor_spec.name == *name);
            let tensor_spec = tensor_spec.with_context(|| format!("there is no port `{name}`"))?;
            let mut bytes = tensor.to_bytes(tensor_spec.dtype);
            bytes.truncate(tensor.len() * tensor_spec.dtype.size_bytes());
            Ok((&**name, bytes))
        })
        .collect()
}

/// A dense output as a tensor. The half word that pads an odd number of 16-bit elements must not have been written.
///
/// # Errors
/// If it has been.
pub fn dense(output: &Output) -> Result<HostTensor> {
    let tensor_spec = &output.tensor_spec;
    let used = tensor_spec.span * tensor_spec.dtype.size_bytes();
    ensure!(
        output.bytes[used..].iter().all(|&byte| byte == POISON),
        "the padding of `{}` was written",
        tensor_spec.name
    );
    Ok(HostTensor::from_bytes(tensor_spec.shape.clone(), &output.bytes, tensor_spec.dtype)?)
}

/// A case with its inputs and what has to come out of them.
#[derive(Debug)]
pub struct Prepared {
    /// The case.
    pub case: Case,
    /// Its inputs.
    pub inputs: Vec<(Name, HostTensor)>,
    /// The reference's outputs.
    pub expected: Vec<Expected>,
}

impl Prepared {
    /// Draws the inputs and computes the reference.
    ///
    /// # Errors
    /// If the reference fails.
    pub fn new(case: Case) -> Result<Self> {
        let inputs = case.problem.random_inputs(case.seed);
        let rows = Rows::affordable(&case.problem.work(), case.seed);
        let expected = case.problem.reference(&borrowed(&inputs), rows)?;
        Ok(Self { case, inputs, expected })
    }

    /// Runs a kernel of this case and judges all outputs. Failures are written to `folder`.
    ///
    /// # Errors
    /// If the run fails or its result is wrong.
    pub fn check(&self, engine: &Engine, kernel: &Kernel, folder: &Path) -> Result<Vec<Output>> {
        let plan = kernel.plan();
        let outputs = run(engine, kernel, &storage(&plan.tensors, &self.inputs)?)?;
        self.judge(plan, &outputs, folder)?;
        Ok(outputs)
    }

    /// Judges the outputs of a plan of this case.
    ///
    /// # Errors
    /// If one is wrong: both sides are written to `folder`, and the message says where.
    pub fn judge(&self, plan: &Plan, outputs: &[Output], folder: &Path) -> Result<()> {
        let problem = &*self.case.problem;
        for expected in &self.expected {
            let output = outputs.iter().find(|output| output.tensor_spec.name == expected.name);
            let actual = dense(output.with_context(|| format!("no output `{}`", expected.name))?)?;
            if let Some((_, before)) = self.inputs.iter().find(|(name, _)| *name == expected.name) {
                unchanged(expected, before, &actual)?;
            }
            let comparison = compare(expected, &actual, problem.tolerance(&expected.name))?;
            if !comparison.passed {
                let name = format!("{} {}", self.case.name, plan.variant);
                let path = self.leave(folder, &name, expected, &actual)?;
                bail!("{name}: {}\nboth sides are in {path}", describe(&comparison));
            }
        }
        Ok(())
    }

    fn leave(&self, folder: &Path, name: &str, expected: &Expected, actual: &HostTensor) -> Result<String> {
        let values = TensorData::F64(expected.values.clone());
        let wanted = match expected.elements {
            None => HostTensor::new(expected.shape.clone(), values)?,
            Some(_) => HostTensor::new(vec![expected.values.len()], values)?,
        };
        let mut tensors: Vec<(String, &HostTensor)> =
            self.inputs.iter().map(|(name, tensor)| (name.clone().into_owned(), tensor)).collect();
        tensors.push((format!("{}_f64", expected.name), &wanted));
        tensors.push((format!("{}_got", expected.name), actual));
        let mut options = self.case.problem.options();
        // The inputs carry their types.
        options.remove("dtype");
        let path = files::write(folder, name, &options, &tensors)?;
        Ok(path.display().to_string())
    }
}

/// A comparison in words: the whole, the worst head, the worst element.
#[must_use]
pub fn describe(comparison: &Comparison) -> String {
    let heads = comparison.per_head.iter().enumerate();
    let head = heads.max_by(|a, b| a.1.total_cmp(b.1));
    let head = head.map_or(String::new(), |(head, error)| format!(", {error:.1e} in head {head}"));
    let worst = comparison.worst.as_ref().map_or(String::new(), |worst| format!(", worst {worst}"));
    format!(
        "`{}`: relative RMSE {:.1e} ({:.1e} allowed){head}{worst}, {} of {} not finite",
        comparison.name,
        comparison.rel_rmse,
        comparison.tolerance.rel_rmse,
        comparison.non_finite,
        comparison.compared
    )
}

/// Inputs as references take them.
#[must_use]
pub fn borrowed(inputs: &[(Name, HostTensor)]) -> Vec<(&str, &HostTensor)> {
    inputs.iter().map(|(name, tensor)| (&**name, tensor)).collect()
}

/// Compiles a plan, runs it on inputs drawn from `seed` and judges the result.
///
/// # Errors
/// As [`Prepared::check`].
pub fn check(engine: &Engine, plan: &Plan, seed: u64, folder: &Path) -> Result<Vec<Output>> {
    let case = Case { name: plan.problem.describe(), problem: plan.problem.clone(), seed };
    let kernel = block_on(engine.prepare_exact(plan))?;
    Prepared::new(case)?.check(engine, &kernel, folder)
}
