//! Devices that go away, and devices of the host's.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};

use crate::common::{Scale, engine, options};
use foveal::wgpu::{self, BufferUsages};
use foveal::{Dtype, Engine, Error, ErrorKind, Options, SelfCheck, Timing};
use pollster::block_on;

/// An adapter's device as a host would open it.
fn host_device() -> Option<(wgpu::Device, wgpu::Queue)> {
    host_devices(1)?.pop()
}

fn host_devices(count: usize) -> Option<Vec<(wgpu::Device, wgpu::Queue)>> {
    // The engine's choice of adapter; the device is of our own.
    let name = engine()?.profile().clone();
    let instance = wgpu::Instance::new(wgpu::InstanceDescriptor::new_without_display_handle());
    let adapters = block_on(instance.enumerate_adapters(wgpu::Backends::all()));
    let same = |adapter: &&wgpu::Adapter| {
        let info = adapter.get_info();
        info.name == name.name && info.backend.to_str() == name.backend
    };
    let adapter = adapters.iter().find(same).unwrap();
    let descriptor = wgpu::DeviceDescriptor { required_limits: adapter.limits(), ..Default::default() };
    Some((0..count).map(|_| block_on(adapter.request_device(&descriptor)).unwrap()).collect())
}

fn both_kinds_of_engine(options: &Options) -> Option<[Engine; 2]> {
    let own = crate::common::engine_with(options.clone())?;
    let (device, queue) = host_device()?;
    Some([own, Engine::from_device_with(device, queue, options.clone()).unwrap()])
}

#[test]
fn a_lost_device_is_an_error_at_every_step_and_the_next_engine_works() {
    for self_check in [SelfCheck::On, SelfCheck::Off] {
        let options = Options { self_check, ..options() };
        let scale = Scale::new(1000, &["good", "two_pass"]);
        let input = scale.input();
        let lost = |result: Result<(), Error>, step: &str| {
            let error = result.expect_err(step);
            assert_eq!(error.kind(), ErrorKind::DeviceLost, "{step}: {error}");
        };
        let Some(engines) = both_kinds_of_engine(&options) else { return };
        for engine in engines {
            let plan = engine.plan(&scale).unwrap();
            engine.device().destroy();
            lost(block_on(engine.prepare(&plan)).map(|_| ()), "prepare");
            lost(block_on(engine.prepare_exact(&plan)).map(|_| ()), "prepare again");
            assert!(engine.refused("scale").is_empty(), "no variant is to blame");
            lost(block_on(engine.buffer("b", 100)).map(|_| ()), "buffer");
            lost(block_on(engine.upload("b", &input, Dtype::F32)).map(|_| ()), "upload");
            let again =
                Engine::from_device_with(engine.device().clone(), engine.queue().clone(), options.clone());
            lost(again.map(|_| ()), "from_device");
        }
        for step in ["run", "time", "read_back", "encode"] {
            let Some(engines) = both_kinds_of_engine(&options) else { return };
            for engine in engines {
                let kernel = block_on(engine.prepare(&engine.plan(&scale).unwrap())).unwrap();
                let x = block_on(engine.upload("x", &input, Dtype::F32)).unwrap();
                let y = block_on(engine.buffer("y", 4000)).unwrap();
                let bound = kernel.bind(&[("x", &x), ("y", &y)]).unwrap();
                engine.device().destroy();
                match step {
                    "run" => lost(block_on(engine.run(&kernel, &[("x", &input)])).map(|_| ()), step),
                    "time" => {
                        let timing = Timing { warm_up: 1, repeats: 3 };
                        lost(block_on(engine.benchmark(&kernel, &[("x", &input)], timing)).map(|_| ()), step);
                    }
                    "read_back" => {
                        lost(block_on(engine.read_back(&x, &[1000], Dtype::F32)).map(|_| ()), step);
                        lost(block_on(engine.run(&kernel, &[("x", &input)])).map(|_| ()), "run after it");
                    }
                    _ => {
                        lost(kernel.bind(&[("x", &x), ("y", &y)]).map(|_| ()), step);
                        // Recording does not ask the device.
                        let descriptor = wgpu::CommandEncoderDescriptor::default();
                        bound.encode(&mut engine.device().create_command_encoder(&descriptor));
                        lost(block_on(engine.run(&kernel, &[("x", &input)])).map(|_| ()), "run after it");
                        lost(kernel.bind(&[("x", &x), ("y", &y)]).map(|_| ()), "bind after it");
                    }
                }
            }
        }
        let Some(engine) = crate::common::engine_with(options.clone()) else { return };
        let kernel = block_on(engine.prepare(&engine.plan(&scale).unwrap())).unwrap();
        let outputs = block_on(engine.run(&kernel, &[("x", &input)])).unwrap();
        assert_eq!(outputs[0].1, scale.output());
    }
}

#[test]
fn a_device_that_goes_while_work_is_running_does_not_hang() {
    let Some(engine) = engine() else { return };
    let scale = Scale::new(4_000_000, &["two_pass"]);
    let kernel = block_on(engine.prepare(&engine.plan(&scale).unwrap())).unwrap();
    let input = scale.input();
    let device = engine.device().clone();
    std::thread::scope(|scope| {
        scope.spawn(|| {
            for _ in 0..10_000 {
                if let Err(error) = block_on(engine.run(&kernel, &[("x", &input)])) {
                    assert_eq!(error.kind(), ErrorKind::DeviceLost, "{error}");
                    return;
                }
            }
            panic!("the loss was never noticed");
        });
        scope.spawn(move || {
            std::thread::sleep(std::time::Duration::from_millis(200));
            device.destroy();
        });
    });
}

#[test]
fn the_hosts_handlers_and_scopes_stay_the_hosts() {
    let Some(mut devices) = host_devices(2) else { return };
    let (other_device, _) = devices.pop().unwrap();
    let (device, queue) = devices.pop().unwrap();
    let caught = Arc::new(Mutex::new(Vec::new()));
    let lost = Arc::new(AtomicUsize::new(0));
    let (record, count) = (Arc::clone(&caught), Arc::clone(&lost));
    device.on_uncaptured_error(Arc::new(move |error| record.lock().unwrap().push(error.to_string())));
    device.set_device_lost_callback(move |_, _| {
        count.fetch_add(1, Ordering::Relaxed);
    });

    let engine = Engine::from_device_with(device.clone(), queue, options()).unwrap();
    let scope = device.push_error_scope(wgpu::ErrorFilter::Validation);
    let scale = Scale::new(100, &["invalid", "wrong", "good"]);
    let kernel = block_on(engine.prepare(&engine.plan(&scale).unwrap())).unwrap();
    assert_eq!(kernel.refused().len(), 2);
    let usage = BufferUsages::STORAGE;
    let descriptor = wgpu::BufferDescriptor { label: None, size: 400, usage, mapped_at_creation: false };
    let foreign = other_device.create_buffer(&descriptor);
    let y = block_on(engine.buffer("y", 400)).unwrap();
    let error = kernel.bind(&[("x", &foreign), ("y", &y)]).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Validation, "{error}");
    assert!(std::error::Error::source(&error).is_some(), "wgpu's own error is kept");
    // Not only of another device, but of another wgpu instance: its numbers may be anything here.
    let stranger = crate::common::engine().unwrap();
    let strange = (0..100).map(|_| block_on(stranger.buffer("strange", 400)).unwrap()).next_back().unwrap();
    let error = kernel.bind(&[("x", &strange), ("y", &y)]).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Usage, "{error}");
    block_on(engine.run(&kernel, &[("x", &scale.input())])).unwrap();
    assert!(block_on(scope.pop()).is_none(), "the engine's errors do not reach the host's scope");
    assert!(caught.lock().unwrap().is_empty());

    let _ = device.create_buffer(&wgpu::BufferDescriptor {
        label: None,
        size: 4,
        usage: BufferUsages::MAP_READ | BufferUsages::MAP_WRITE,
        mapped_at_creation: false,
    });
    assert_eq!(caught.lock().unwrap().len(), 1, "the host's errors reach the host's handler");
    device.destroy();
    let _ = device.poll(wgpu::PollType::wait_indefinitely());
    assert_eq!(lost.load(Ordering::Relaxed), 1, "so does the loss of its device");
}

#[test]
fn adapters_are_chosen_by_name_and_index() {
    let Some(engine) = engine() else { return };
    let all = block_on(foveal::adapters());
    assert!(!all.is_empty());
    for info in &all {
        println!("{info}");
    }
    let name = engine.profile().name.to_uppercase();
    let by_name = |name: &str| {
        let adapter = foveal::AdapterChoice::Name(name.to_owned());
        block_on(Engine::new(Options { adapter, ..options() }))
    };
    assert_eq!(by_name(&name[1..]).unwrap().profile().name, engine.profile().name);
    let error = by_name("no such adapter").unwrap_err();
    assert!(
        error.kind() == ErrorKind::NoAdapter && error.to_string().contains(&all[0].profile.name),
        "{error}"
    );
    let by_index = |index| {
        let adapter = foveal::AdapterChoice::Index(index);
        block_on(Engine::new(Options { adapter, ..options() }))
    };
    for info in &all {
        assert_eq!(by_index(info.index).unwrap().profile().key(), info.profile.key());
    }
    assert_eq!(by_index(all.len()).unwrap_err().kind(), ErrorKind::NoAdapter);
}

#[test]
fn a_device_that_does_not_answer_in_time_is_given_up() {
    // Opening the first engine measures the adapter, and waits for that too.
    if engine().is_none() {
        return;
    }
    let options = Options { wait_limit: std::time::Duration::ZERO, self_check: SelfCheck::Off, ..options() };
    let Some(engine) = crate::common::engine_with(options) else { return };
    let scale = Scale::new(16 << 20, &["two_pass"]);
    let kernel = block_on(engine.prepare(&engine.plan(&scale).unwrap())).unwrap();
    // Whether work is done by the first look depends on the driver; what counts is that nothing waits.
    if let Err(error) = block_on(engine.run(&kernel, &[("x", &scale.input())])) {
        assert_eq!(error.kind(), ErrorKind::Timeout, "{error}");
    }
}
