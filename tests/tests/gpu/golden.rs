//! Results of third parties, by every variant of linear attention. (`tools/test.sh` has the command compare all golden
//! files; attention's kernels take a minute to compile and have cases of their own.)

use anyhow::{Context, Result, ensure};
use foveal_kernels::{
    Access,
    testing::{Case, Expected},
};
use foveal_tests::harness::Prepared;
use foveal_tests::{files, golden, planned, say};
use pollster::block_on;

use crate::{engine_or_skip, folder};

#[test]
fn variants_of_linear_attention_agree_with_the_golden_files() -> Result<()> {
    let engine = engine_or_skip!();
    let [ours, _] = golden::folders();
    let (mut compared, mut runs) = (0, 0);
    for path in golden::files(&ours)? {
        let name = path.file_stem().unwrap_or_default().to_string_lossy().into_owned();
        let file = files::read(&path)?;
        let Ok(problem) = golden::problem(&file).with_context(|| name.clone())? else { continue };
        if problem.operator() != "linear" {
            continue;
        }
        let (mut inputs, mut expected) = (Vec::new(), Vec::new());
        for tensor_spec in problem.tensors() {
            let stored = file.tensor(&tensor_spec.name);
            match tensor_spec.access {
                Access::Read | Access::Update => {
                    let tensor =
                        stored.with_context(|| format!("{name}: no tensor `{}`", tensor_spec.name))?;
                    inputs.push((tensor_spec.name, tensor.clone()));
                }
                Access::Write => expected.extend(stored.map(|tensor| Expected {
                    name: tensor_spec.name,
                    shape: tensor_spec.shape,
                    elements: None,
                    values: tensor.to_f64(),
                    allowance: None,
                    head_axis: tensor_spec.head_axis,
                })),
            }
        }
        ensure!(!expected.is_empty(), "{name}: no output is stored");
        let prepared = Prepared { case: Case { name, problem, seed: 0 }, inputs, expected };
        compared += 1;
        for variant in planned::variants(&prepared.case)? {
            let Some(plan) = planned::plan(&prepared.case, engine.profile(), variant)? else { continue };
            let kernel = block_on(engine.prepare_exact(&plan)).with_context(|| prepared.case.name.clone())?;
            prepared.check(&engine, &kernel, folder())?;
            runs += 1;
        }
    }
    ensure!(compared >= 13 && runs >= compared, "{compared} golden files were compared, {runs} times");
    say(&format!("golden: {compared} files of linear attention by their variants, {runs} runs"));
    Ok(())
}
