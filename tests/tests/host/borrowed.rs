//! Devices with any features and limits that a host happened to ask for: what is missing costs speed, never correctness.

use anyhow::{Result, ensure};
use foveal::{Engine, ErrorKind, wgpu};
use foveal_kernels::{
    HostTensor, operators,
    testing::{Rows, compare},
};
use foveal_tests::host::{Host, adapter};
use foveal_tests::{harness, say};
use pollster::block_on;

use crate::{options, turn};

fn one<T: Copy>(random: &mut fastrand::Rng, of: &[T]) -> T {
    of[random.usize(..of.len())]
}

/// Features and limits that some host might ask for, within what the adapter has.
fn some_host(adapter: &wgpu::Adapter, random: &mut fastrand::Rng) -> (wgpu::Features, wgpu::Limits) {
    let wanted = Engine::desired_features(adapter);
    let kept = wanted.iter().filter(|_| random.bool());
    let features = kept.fold(wgpu::Features::empty(), |features, feature| features | feature);
    let max = adapter.limits();
    let mut limits = match random.u8(..4) {
        0 => wgpu::Limits::downlevel_webgl2_defaults(),
        1 => wgpu::Limits::downlevel_defaults(),
        2 => wgpu::Limits::default(),
        _ => Engine::desired_limits(adapter),
    };
    if random.u8(..3) == 0 {
        limits.max_storage_buffers_per_shader_stage = one(random, &[0, 3, 4, 6, 8, 10]);
        limits.max_compute_workgroup_storage_size = one(random, &[0, 4096, 16_384, 32_768]);
        limits.max_compute_invocations_per_workgroup = one(random, &[1, 64, 128, 256, 1024]);
        limits.max_compute_workgroup_size_x = one(random, &[1, 64, 256, 1024]);
        limits.max_compute_workgroups_per_dimension = one(random, &[0, 2, 100, 65_535]);
        limits.max_storage_buffer_binding_size = one(random, &[0, 1 << 10, 1 << 16, 128 << 20]);
        limits.max_buffer_size = one(random, &[1 << 12, 1 << 20, 256 << 20]);
        limits.max_uniform_buffer_binding_size = one(random, &[0, 256, 16_384, 65_536]);
        limits.max_bind_groups = one(random, &[1, 2, 4]);
    }
    (features, limits.or_worse_values_from(&max))
}

#[test]
fn whatever_the_host_asked_for_results_are_right_or_refused() -> Result<()> {
    let _turn = turn();
    let mut random = fastrand::Rng::with_seed(6);
    let (mut right, mut refused) = (0, 0);
    for round in 0..40 {
        let Some((instance, adapter)) = adapter(module_path!())? else {
            return Ok(());
        };
        let (features, limits) = some_host(&adapter, &mut random);
        let host = Host::with(instance, adapter, features, limits.clone())?;
        let engine = match Engine::from_device_with(host.device.clone(), host.queue.clone(), options()) {
            Ok(engine) => engine,
            Err(error) => {
                ensure!(error.kind() == ErrorKind::Limit && limits.max_bind_groups < 2, "{error}");
                refused += 1;
                continue;
            }
        };
        for operator in operators() {
            let cases = operator.cases();
            let case = &cases[random.usize(..cases.len())];
            let problem = &*case.problem;
            let inputs = problem.random_inputs(case.seed);
            let inputs: Vec<(&str, &HostTensor)> = harness::borrowed(&inputs);
            let outputs = engine.plan(problem).and_then(|plan| {
                let kernel = block_on(engine.prepare(&plan))?;
                block_on(engine.run(&kernel, &inputs))
            });
            match outputs {
                Ok(outputs) => {
                    let expected = problem.reference(&inputs, Rows::affordable(&problem.work(), 1))?;
                    for expected in &expected {
                        let actual = outputs.iter().find(|(name, _)| *name == expected.name);
                        let (_, actual) = actual.ok_or_else(|| anyhow::anyhow!("no {}", expected.name))?;
                        let comparison = compare(expected, actual, problem.tolerance(&expected.name))?;
                        ensure!(
                            comparison.passed,
                            "round {round}, {}: {comparison:?}\n{limits:?}",
                            case.name
                        );
                    }
                    right += 1;
                }
                Err(error) => {
                    ensure!(
                        matches!(error.kind(), ErrorKind::Limit | ErrorKind::Unsupported),
                        "round {round}, {}: {error} ({:?})\n{features:?} {limits:?}",
                        case.name,
                        error.kind()
                    );
                    refused += 1;
                }
            }
        }
        ensure!(host.complaints().is_empty(), "round {round}: {:?}\n{limits:?}", host.complaints());
    }
    say(&format!("{right} right and {refused} refused within limits that hosts might have"));
    ensure!(right >= 15 && refused >= 5, "{right} right, {refused} refused: the limits are no test");
    Ok(())
}

#[test]
fn what_is_desired_is_to_be_had() -> Result<()> {
    let _turn = turn();
    let Some(host) = Host::open(module_path!())? else { return Ok(()) };
    let engine = Engine::from_device_with(host.device.clone(), host.queue.clone(), options())?;
    // A device that was opened with it serves all that one of the engine's own does.
    let own = block_on(Engine::new(options()))?;
    ensure!(engine.profile().features == own.profile().features, "{:?}", engine.profile());
    ensure!(engine.profile().limits == own.profile().limits, "{:?}\n{:?}", engine.profile(), own.profile());
    Ok(())
}
