//! One engine on several threads.

use anyhow::{Result, ensure};
use foveal::{Engine, Kernel, wgpu};
use foveal_kernels::attention::{Attention, Shape};
use foveal_kernels::testing::Reference;
use foveal_tests::harness;
use foveal_tests::host::bound;
use pollster::block_on;

use crate::{host_or_skip, options, turn};

#[test]
fn engines_kernels_and_jobs_can_go_anywhere() {
    fn is<T: Send + Sync + 'static>() {}
    fn is_cloned<T: Send + Sync + Clone + 'static>() {}
    is_cloned::<Engine>();
    is_cloned::<Kernel>();
    is_cloned::<foveal::BoundKernel>();
    is_cloned::<foveal::Slices>();
    is::<foveal::Job>();
    is::<foveal::Error>();
    is::<foveal::Plan>();
}

#[test]
fn some_threads_record_while_another_prepares() -> Result<()> {
    let _turn = turn();
    let host = host_or_skip!();
    let engine = Engine::from_device_with(host.device.clone(), host.queue.clone(), options())?;
    let spec = Attention::new(Shape::bhtd(1, 2, 100, 32)).causal();
    let kernel = block_on(engine.prepare(&engine.plan(&spec)?))?;
    let inputs = spec.random_inputs(3);
    let inputs = harness::storage(&kernel.plan().tensors, &inputs)?;
    let sets: Vec<_> = (0..3).map(|_| host.tensors(&kernel, &inputs)).collect();
    let recorded: Vec<wgpu::CommandBuffer> = std::thread::scope(|scope| {
        let recorders: Vec<_> = sets
            .iter()
            .map(|tensors| {
                let host = &host;
                let bound = kernel.bind(&bound(tensors))?;
                Ok(scope.spawn(move || -> Vec<wgpu::CommandBuffer> {
                    let record = |_| {
                        let mut encoder = host.encoder();
                        bound.encode(&mut encoder);
                        encoder.finish()
                    };
                    (0..50).map(record).collect()
                }))
            })
            .collect::<Result<_>>()?;
        // Other kernels meanwhile, which compiles, submits and waits on this thread.
        for dim in [8, 12, 16] {
            let spec = Attention::new(Shape::bhtd(1, 1, 33, dim));
            block_on(engine.prepare(&engine.plan(&spec)?))?;
        }
        let recorded = recorders
            .into_iter()
            .map(|thread| thread.join().map_err(|_| anyhow::anyhow!("a thread panicked")));
        recorded.collect::<Result<Vec<_>>>().map(|all| all.into_iter().flatten().collect())
    })?;
    ensure!(recorded.len() == 150);
    host.queue.submit(recorded);
    let result = |tensors: &[(String, wgpu::Buffer)]| -> Result<Vec<u8>> {
        let (_, o) = &tensors[tensors.len() - 1];
        let words = usize::try_from(o.size())? / 4;
        Ok(block_on(engine.read_back(o, &[words], foveal::Dtype::F32))?.to_bytes(foveal::Dtype::F32))
    };
    let first = result(&sets[0])?;
    ensure!(first.iter().any(|&byte| byte != 0) && result(&sets[1])? == first && result(&sets[2])? == first);
    ensure!(host.complaints().is_empty(), "{:?}", host.complaints());
    Ok(())
}
