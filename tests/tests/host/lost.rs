//! The host's device goes away, between any two steps: an error each time, and the next device works.

use std::time::Duration;

use anyhow::{Context, Result, bail, ensure};
use foveal::{BoundKernel, Dtype, Engine, Error, ErrorKind, Job, Kernel, Plan, Slices, Timing, wgpu};
use foveal_kernels::{Constraints, operator, testing::Reference};
use foveal_tests::harness;
use foveal_tests::host::{Host, bound};
use pollster::block_on;

use crate::{host_or_skip, options, turn};

/// A host's objects of Foveal's, in the order in which it gets them.
struct State<'h> {
    host: &'h Host,
    engine: Engine,
    plan: Plan,
    kernel: Option<Kernel>,
    bound: Option<BoundKernel>,
    tensors: Vec<(String, wgpu::Buffer)>,
    slices: Option<Slices>,
    job: Option<Job>,
}

/// The steps of a host's life with Foveal. `None`: the step needs what an earlier one would have given.
const STEPS: [&str; 12] = [
    "prepare",
    "buffer",
    "bind",
    "encode",
    "encode in a pass",
    "slices",
    "calibrate",
    "start",
    "a slice",
    "run",
    "time",
    "read back",
];

impl State<'_> {
    fn step(&mut self, step: &str) -> Option<Result<(), Error>> {
        let kernel = self.kernel.clone();
        let mut encoder = self.host.encoder();
        let done = match step {
            "prepare" => block_on(self.engine.prepare(&self.plan)).map(|kernel| {
                let inputs = self.plan.problem.random_inputs(1);
                let inputs = harness::storage(&kernel.plan().tensors, &inputs).unwrap_or_default();
                self.tensors = self.host.tensors(&kernel, &inputs);
                self.kernel = Some(kernel);
            }),
            "buffer" => block_on(self.engine.buffer("more", 64)).map(|_| ()),
            "bind" => kernel?.bind(&bound(&self.tensors)).map(|bound| self.bound = Some(bound)),
            "encode" => {
                self.bound.as_ref()?.encode(&mut encoder);
                Ok(())
            }
            "encode in a pass" => {
                let mut pass = encoder.begin_compute_pass(&wgpu::ComputePassDescriptor::default());
                self.bound.as_ref()?.encode_in_pass(&mut pass);
                Ok(())
            }
            "slices" => block_on(self.bound.as_ref()?.slices(Duration::from_micros(50)))
                .map(|slices| self.slices = Some(slices)),
            "calibrate" => block_on(self.slices.as_mut()?.calibrate()),
            "start" => block_on(self.slices.as_ref()?.start()).map(|job| self.job = Some(job)),
            "a slice" => {
                self.job.as_mut()?.encode(&mut encoder);
                Ok(())
            }
            "run" => {
                let inputs = self.plan.problem.random_inputs(1);
                block_on(self.engine.run(&kernel?, &harness::borrowed(&inputs))).map(|_| ())
            }
            "time" => {
                let inputs = self.plan.problem.random_inputs(1);
                let timing = Timing { warm_up: 1, repeats: 1 };
                block_on(self.engine.benchmark(&kernel?, &harness::borrowed(&inputs), timing)).map(|_| ())
            }
            _ => {
                let (_, last) = self.tensors.last()?;
                block_on(self.engine.read_back(last, &[1], Dtype::F32)).map(|_| ())
            }
        };
        Some(done)
    }
}

#[test]
fn a_device_that_goes_is_an_error_at_every_step_and_the_next_one_works() -> Result<()> {
    let _turn = turn();
    let options = || serde_json::from_str(r#"{"rule":"delta","gate":"scalar"}"#);
    let problem = operator("linear")?.problem_of_shape("1x1x130x16", &options()?)?;
    let mut before: Option<(Engine, Plan)> = None;
    // Before which step the device is destroyed; at last not at all.
    for fatal in 0..=STEPS.len() {
        for told in [false, true] {
            let host = host_or_skip!();
            let engine = match &before {
                None => Engine::from_device_with(host.device.clone(), host.queue.clone(), crate::options())?,
                Some((engine, _)) => engine.recreate_on(host.device.clone(), host.queue.clone())?,
            };
            let plan = engine.plan_with(&*problem, &Constraints::variant("chunked"))?;
            let mut state = State {
                host: &host,
                engine,
                plan,
                kernel: None,
                bound: None,
                tensors: Vec::new(),
                slices: None,
                job: None,
            };
            for (index, step) in STEPS.into_iter().enumerate() {
                if index == fatal {
                    host.device.destroy();
                    if told {
                        // As the host's own callback would.
                        state.engine.mark_lost("destroyed by the host");
                    }
                }
                let lost = index >= fatal;
                match state.step(step) {
                    Some(Err(error)) if lost => {
                        ensure!(
                            error.kind() == ErrorKind::DeviceLost,
                            "{step} after {fatal}: {error} ({:?})",
                            error.kind()
                        );
                    }
                    Some(Err(error)) => bail!("{step}: {error}"),
                    // Recording does not ask the device, and is to no effect.
                    Some(Ok(())) if lost && matches!(step, "encode in a pass" | "a slice" | "encode") => {}
                    Some(Ok(())) => ensure!(!lost, "{step} went well after the device had gone ({fatal})"),
                    None => ensure!(lost, "{step} was not possible"),
                }
            }
            ensure!(state.engine.refused("linear").is_empty(), "the variant is not to blame");
            before = Some((state.engine.clone(), state.plan.clone()));
        }
    }
    let (engine, plan) = before.context("nothing was tried")?;
    // The last one lives; a kernel of it is as good as any.
    block_on(engine.prepare(&plan))?;
    Ok(())
}

#[test]
fn an_engine_of_its_own_device_is_made_anew() -> Result<()> {
    let _turn = turn();
    let Some(engine) = foveal_tests::device::engine_with(module_path!(), options())? else { return Ok(()) };
    let spec =
        foveal_kernels::attention::Attention::new(foveal_kernels::attention::Shape::bhtd(1, 2, 50, 16));
    let kernel = block_on(engine.prepare(&engine.plan(&spec)?))?;
    let inputs = spec.random_inputs(2);
    let inputs = harness::borrowed(&inputs);
    let before = block_on(engine.run(&kernel, &inputs))?;
    engine.device().destroy();
    let error = block_on(engine.run(&kernel, &inputs)).err().context("it ran on a device that is gone")?;
    ensure!(error.kind() == ErrorKind::DeviceLost, "{error}");
    let anew = block_on(engine.recreate())?;
    let foreign = block_on(anew.run(&kernel, &inputs)).err().context("it ran another engine's kernel")?;
    ensure!(foreign.kind() == ErrorKind::Usage, "{foreign}");
    let kernel = block_on(anew.prepare(kernel.plan()))?;
    ensure!(block_on(anew.run(&kernel, &inputs))? == before, "the new engine computes something else");
    // A host's device is the host's to open.
    let guest = Engine::from_device_with(anew.device().clone(), anew.queue().clone(), options())?;
    let error = block_on(guest.recreate()).err().context("it opened a device in the host's stead")?;
    ensure!(error.kind() == ErrorKind::Usage && error.to_string().contains("recreate_on"), "{error}");
    Ok(())
}
