//! A card without room: an error that says so, and the device goes on.

use std::process::Command;

use anyhow::{Context, Result, ensure};
use foveal::{Constraints, Engine, ErrorKind, wgpu};
use foveal_kernels::attention::{Attention, Shape};
use foveal_kernels::operator;
use foveal_kernels::testing::Reference;
use foveal_tests::host::Host;
use foveal_tests::{harness, say, skipped};
use pollster::block_on;

use crate::{options, turn};

/// Tells the child that it is one, and has little memory.
const CHILD: &str = "FOVEAL_TEST_LITTLE_MEMORY";
/// Address space of the child: drivers that run on the CPU take their memory there.
const KIBIBYTES: u32 = 6 << 20;
const BUFFER: u64 = 128 << 20;

#[test]
fn a_full_card_is_an_error_and_no_more() -> Result<()> {
    let _turn = turn();
    let Some(host) = Host::open(module_path!())? else { return Ok(()) };
    if host.adapter.get_info().device_type != wgpu::DeviceType::Cpu || !cfg!(target_os = "linux") {
        skipped(module_path!(), "only a driver that runs on the CPU can be given little memory");
        return Ok(());
    }
    drop(host);
    let command =
        format!("ulimit -v {KIBIBYTES} && exec \"$0\" --exact memory::with_little_memory --nocapture");
    let child =
        Command::new("sh").args(["-c", &command]).arg(std::env::current_exe()?).env(CHILD, "1").output()?;
    let told = String::from_utf8_lossy(&child.stdout).into_owned() + &String::from_utf8_lossy(&child.stderr);
    ensure!(child.status.success(), "{}: {told}", child.status);
    ensure!(told.contains("and goes on"), "{told}");
    Ok(())
}

#[test]
fn with_little_memory() -> Result<()> {
    // Only as the child of the test above.
    if std::env::var_os(CHILD).is_none() {
        return Ok(());
    }
    let host = Host::open(module_path!())?.context("no host")?;
    let engine = Engine::from_device_with(host.device.clone(), host.queue.clone(), options())?;
    let spec = Attention::new(Shape::bhtd(1, 2, 64, 32));
    let kernel = block_on(engine.prepare(&engine.plan(&spec)?))?;
    let inputs = spec.random_inputs(1);
    let inputs = harness::borrowed(&inputs);
    let before = block_on(engine.run(&kernel, &inputs))?;

    // Compiled while there is memory: drivers end the process if their compilers find none.
    let options = serde_json::from_str(r#"{"rule":"delta","gate":"scalar"}"#)?;
    let large = operator("linear")?.problem_of_shape("1x8x65536x64", &options)?;
    let plan = engine.plan_with(&*large, &Constraints::variant("chunked"))?;
    ensure!(plan.scratch_bytes() > 2 * BUFFER, "{} bytes are not much", plan.scratch_bytes());
    drop(block_on(engine.prepare_exact(&plan))?);
    engine.trim();

    let mut taken = Vec::new();
    let error = loop {
        match block_on(engine.buffer("more", BUFFER)) {
            Ok(buffer) => taken.push(buffer),
            Err(error) => break error,
        }
        ensure!(taken.len() < 1000, "there is no end to the memory");
    };
    ensure!(error.kind() == ErrorKind::OutOfMemory, "{error} ({:?})", error.kind());
    // Kernels whose own memory is more than is left; nothing is the variant's fault.
    let error = block_on(engine.prepare_exact(&plan)).err().context("memory was found")?;
    ensure!(error.kind() == ErrorKind::OutOfMemory, "{error} ({:?})", error.kind());
    ensure!(engine.refused("linear").is_empty(), "{:?}", engine.refused("linear"));
    // Existing kernels go on working, and so does all else once there is room.
    ensure!(block_on(engine.run(&kernel, &inputs))? == before, "another result with little memory");
    let count = taken.len();
    taken.clear();
    drop(block_on(engine.buffer("again", BUFFER))?);
    ensure!(host.complaints().is_empty(), "{:?}", host.complaints());
    say(&format!("full after {count} buffers, and goes on"));
    Ok(())
}
