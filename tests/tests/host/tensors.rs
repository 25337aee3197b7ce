//! Structs of tensors bind as names do.

use anyhow::{Context, Result, ensure};
use foveal::{
    Attention, AttentionTensors, BoundKernel, Dtype, Engine, Gate, Kernel, LinearAttention, LinearShape,
    LinearTensors, Problem, Rule, Shape, wgpu,
};
use foveal_tests::harness;
use foveal_tests::host::{Host, bound};
use pollster::block_on;

use crate::{host_or_skip, options, turn};

type Tensors = [(String, wgpu::Buffer)];

/// The kernel's outputs after a run, and then cleared.
fn outputs(
    host: &Host,
    engine: &Engine,
    kernel: &Kernel,
    tensors: &Tensors,
    run: &BoundKernel,
) -> Result<Vec<Vec<u8>>> {
    let mut encoder = host.encoder();
    run.encode(&mut encoder);
    host.queue.submit([encoder.finish()]);
    let mut outputs = Vec::new();
    let mut encoder = host.encoder();
    for (tensor_spec, (_, buffer)) in kernel.plan().tensors.iter().zip(tensors) {
        if tensor_spec.access.writes() {
            let words = usize::try_from(buffer.size())? / 4;
            outputs.push(block_on(engine.read_back(buffer, &[words], Dtype::F32))?.to_bytes(Dtype::F32));
            encoder.clear_buffer(buffer, 0, None);
        }
    }
    host.queue.submit([encoder.finish()]);
    Ok(outputs)
}

fn compare(
    host: &Host,
    engine: &Engine,
    problem: &dyn Problem,
    by_struct: impl Fn(&Kernel, &dyn Fn(&str) -> wgpu::Buffer) -> Result<BoundKernel, foveal::Error>,
) -> Result<()> {
    let kernel = block_on(engine.prepare(&engine.plan(problem)?))?;
    let inputs = problem.random_inputs(5);
    let tensors = host.tensors(&kernel, &harness::storage(&kernel.plan().tensors, &inputs)?);
    let named = kernel.bind(&bound(&tensors))?;
    let missing = host.buffer("missing", 4);
    let find = |name: &str| {
        let found = tensors.iter().find(|(known, _)| known == name);
        found.map_or_else(|| missing.clone(), |(_, buffer)| buffer.clone())
    };
    let by_struct = by_struct(&kernel, &find)?;
    let right = outputs(host, engine, &kernel, &tensors, &named)?;
    ensure!(right.len() == 2 && right.iter().flatten().any(|&byte| byte != 0));
    ensure!(outputs(host, engine, &kernel, &tensors, &by_struct)? == right, "{}", problem.describe());
    Ok(())
}

#[test]
fn structs_bind_as_names_do() -> Result<()> {
    let _turn = turn();
    let host = host_or_skip!();
    let engine = Engine::from_device_with(host.device.clone(), host.queue.clone(), options())?;
    let attention = Attention::new(Shape::bhtd(2, 2, 50, 16)).with_lse().kv_lengths("keys");
    compare(&host, &engine, &attention, |kernel, of| {
        let [q, k, v, o, lse, keys] = ["q", "k", "v", "o", "lse", "keys"].map(of);
        kernel.bind(&AttentionTensors::new(&q, &k, v.slice(..), &o).lse(&lse).and("keys", &keys))
    })?;
    let linear = LinearAttention::new(LinearShape::bhtd(1, 2, 50, 16))
        .rule(Rule::Delta)
        .gate(Gate::Scalar)
        .with_states();
    compare(&host, &engine, &linear, |kernel, of| {
        let [q, k, v, o, g, beta] = ["q", "k", "v", "o", "g", "beta"].map(of);
        let [state_in, state_out] = ["state_in", "state_out"].map(of);
        let tensors = LinearTensors::new(&q, &v, &o).k(&k).g(&g).beta(&beta);
        kernel.bind(&tensors.state_in(&state_in).state_out(&state_out))
    })?;
    // A tensor that the problem has not is an error that says which there are.
    let kernel = block_on(engine.prepare(&engine.plan(&attention)?))?;
    let buffer = host.buffer("any", 1 << 16);
    let tensors = AttentionTensors::new(&buffer, &buffer, &buffer, &buffer).and("bias", &buffer);
    let error = kernel.bind(&tensors).err().context("a tensor of another problem was bound")?;
    ensure!(error.kind() == foveal::ErrorKind::Usage, "{error}");
    ensure!(
        ["`bias`", "no such tensor", "keys"].iter().all(|word| error.to_string().contains(word)),
        "{error}"
    );
    Ok(())
}
