//! Golden files: what third parties computed in f64.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use anyhow::{Context, Result, ensure};
use foveal_kernels::{
    ErrorKind, HostTensor, Problem, operator,
    testing::{Expected, Rows, Tolerance, compare},
};

use crate::files::{self, File};

/// The stored outputs are f64 results rounded to f32 once. The reference has to be as near as that.
const ROUNDING: Tolerance = Tolerance { rel_rmse: 1e-6, worst: 1e-6, floor: 1e-7 };

/// Folders of golden files: those of the repository, and a larger set beside it where there is one.
#[must_use]
pub fn folders() -> [PathBuf; 2] {
    let tests = Path::new(env!("CARGO_MANIFEST_DIR"));
    [tests.join("golden"), tests.join("../../shared/golden")]
}

/// The golden files of a folder, sorted; none if there is no such folder.
///
/// # Errors
/// If the folder cannot be read.
pub fn files(folder: &Path) -> Result<Vec<PathBuf>> {
    if !folder.is_dir() {
        return Ok(Vec::new());
    }
    let mut files: Vec<PathBuf> =
        std::fs::read_dir(folder)?.map(|entry| Ok(entry?.path())).collect::<Result<_>>()?;
    files.retain(|path| path.extension().is_some_and(|extension| extension == "safetensors"));
    files.sort();
    Ok(files)
}

/// The problem that a file describes, or why this version does not serve it.
///
/// # Errors
/// If the file says something that makes no sense.
pub fn problem(file: &File) -> Result<Result<Arc<dyn Problem>, String>> {
    let Some(options) = &file.options else { return Ok(Err("no `foveal` entry".into())) };
    let name = options.text("op").context("the entry names no operator")?;
    let Ok(operator) = operator(name) else { return Ok(Err(format!("operator `{name}`"))) };
    let mut options = options.clone();
    options.remove("op");
    match operator.problem(&options, &file.tensors) {
        Ok(problem) => Ok(Ok(problem)),
        Err(error) if error.kind() == ErrorKind::Unsupported => Ok(Err(error.to_string())),
        Err(error) => Err(error.into()),
    }
}

/// Compares the reference with a file's outputs; `Some` is the reason why there was nothing to compare.
///
/// # Errors
/// If they differ.
pub fn reference_agrees(path: &Path) -> Result<Option<String>> {
    let file = files::read(path)?;
    let problem = match problem(&file)? {
        Ok(problem) => problem,
        Err(why) => return Ok(Some(why)),
    };
    let tensor_specs = problem.tensors();
    let inputs: Vec<(&str, &HostTensor)> = tensor_specs
        .iter()
        .filter(|tensor_spec| tensor_spec.access.reads())
        .map(|tensor_spec| {
            Ok((
                &*tensor_spec.name,
                file.tensor(&tensor_spec.name)
                    .with_context(|| format!("no tensor `{}`", tensor_spec.name))?,
            ))
        })
        .collect::<Result<_>>()?;
    let computed = problem.reference(&inputs, Rows::All)?;
    let mut compared = 0;
    for output in &computed {
        // Under its own name lies what a tensor that is changed in place held before.
        let before = tensor_specs
            .iter()
            .any(|tensor_spec| tensor_spec.name == output.name && tensor_spec.access.reads());
        let stored = file.tensor(&format!("{}_f64", output.name));
        let Some(stored) = stored.or_else(|| file.tensor(&output.name).filter(|_| !before)) else { continue };
        compared += 1;
        let expected = Expected { values: stored.to_f64(), elements: None, ..output.clone() };
        ensure!(stored.shape() == output.shape, "`{}` is stored as {:?}", output.name, stored.shape());
        let comparison = compare(&expected, &output.to_tensor()?, ROUNDING)?;
        ensure!(
            comparison.passed,
            "`{}`: relative RMSE {:.1e}, worst {}",
            output.name,
            comparison.rel_rmse,
            comparison.worst.map_or("-".to_owned(), |worst| worst.to_string())
        );
    }
    ensure!(compared > 0, "no output is stored");
    Ok(None)
}
