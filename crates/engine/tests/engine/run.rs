//! Running, binding and timing.

use crate::common::{Scale, engine, engine_with, options};
use foveal::wgpu::{self, BufferUsages};
use foveal::{Binding, BoundKernel, Clock, Dtype, ErrorKind, HostTensor, SelfCheckReport, Timing};
use pollster::block_on;
use std::time::Duration;

fn buffer(engine: &foveal::Engine, size: u64, usage: BufferUsages) -> wgpu::Buffer {
    engine.device().create_buffer(&wgpu::BufferDescriptor {
        label: None,
        size,
        usage,
        mapped_at_creation: false,
    })
}

fn submit(engine: &foveal::Engine, record: impl FnOnce(&mut wgpu::CommandEncoder)) {
    let mut encoder = engine.device().create_command_encoder(&wgpu::CommandEncoderDescriptor::default());
    record(&mut encoder);
    engine.queue().submit([encoder.finish()]);
}

#[test]
fn futures_can_move_between_threads() {
    fn is_send<T: Send>(_: &T) {}
    is_send(&foveal::Engine::new(options()));
    is_send(&foveal::adapters());
    let Some(engine) = engine() else { return };
    let scale = Scale::new(1, &["good"]);
    let plan = engine.plan(&scale).unwrap();
    is_send(&engine.prepare(&plan));
    let kernel = block_on(engine.prepare(&plan)).unwrap();
    is_send(&engine.run(&kernel, &[]));
    is_send(&engine.benchmark(&kernel, &[], Timing::default()));
}

#[test]
fn results_are_right_for_all_sizes_and_variants() {
    let Some(engine) = engine() else { return };
    for count in [1, 63, 64, 65, 1000, 200_000] {
        for variant in ["good", "two_pass"] {
            let scale = Scale::new(count, &[variant]);
            let kernel = block_on(engine.prepare(&engine.plan(&scale).unwrap())).unwrap();
            let outputs = block_on(engine.run(&kernel, &[("x", &scale.input())])).unwrap();
            assert_eq!(outputs.len(), 1);
            assert_eq!(outputs[0].0, "y");
            assert_eq!(outputs[0].1, scale.output(), "{count} {variant}");
        }
    }
}

#[test]
fn inputs_of_another_type_are_converted() {
    let Some(engine) = engine() else { return };
    let scale = Scale::new(10, &["good"]);
    let kernel = block_on(engine.prepare(&engine.plan(&scale).unwrap())).unwrap();
    let halves = HostTensor::from_bytes(vec![10], &scale.input().to_bytes(Dtype::F16), Dtype::F16).unwrap();
    let outputs = block_on(engine.run(&kernel, &[("x", &halves)])).unwrap();
    assert_eq!(outputs[0].1, scale.output());
}

#[test]
fn an_empty_problem_gives_an_empty_result() {
    let Some(engine) = engine() else { return };
    let scale = Scale::new(0, &["good"]);
    let kernel = block_on(engine.prepare(&engine.plan(&scale).unwrap())).unwrap();
    assert_eq!(kernel.self_check(), SelfCheckReport::Nothing);
    let outputs = block_on(engine.run(&kernel, &[("x", &scale.input())])).unwrap();
    assert_eq!(outputs[0].1.shape(), [0]);
    let empty = buffer(&engine, 0, BufferUsages::STORAGE);
    submit(&engine, |encoder| {
        let nothing: [(&str, Binding<'_>); 0] = [];
        kernel.bind(&nothing).unwrap().encode(encoder);
        kernel.bind(&[("x", &empty), ("y", &empty)]).unwrap().encode(encoder);
    });
    block_on(engine.benchmark(&kernel, &[("x", &scale.input())], Timing { warm_up: 1, repeats: 2 })).unwrap();
}

#[test]
fn slices_of_the_callers_buffers_are_bound_by_name() {
    let Some(engine) = engine() else { return };
    let scale = Scale::new(100, &["two_pass"]);
    let kernel = block_on(engine.prepare(&engine.plan(&scale).unwrap())).unwrap();
    let usage = BufferUsages::STORAGE | BufferUsages::COPY_SRC | BufferUsages::COPY_DST;
    let (x, y) = (buffer(&engine, 4096, usage), buffer(&engine, 4096, usage));
    engine.queue().write_buffer(&x, 256, &scale.input().to_bytes(Dtype::F32));
    for offset in [512, 1024] {
        let bound = kernel.bind(&[("y", y.slice(offset..offset + 400)), ("x", x.slice(256..))]).unwrap();
        submit(&engine, |encoder| {
            encoder.clear_buffer(&y, 0, None);
            bound.encode(encoder);
        });
        let all = block_on(engine.read_back(&y, &[1024], Dtype::F32)).unwrap().to_f64();
        let start = offset as usize / 4;
        assert_eq!(all[start..start + 100], scale.output().to_f64());
        assert!(all[..start].iter().chain(&all[start + 100..]).all(|&v| v == 0.0), "nothing else is written");
    }
    submit(&engine, |encoder| {
        let mut pass = encoder.begin_compute_pass(&wgpu::ComputePassDescriptor::default());
        let tensors = vec![("x".to_owned(), x.slice(256..)), ("y".to_owned(), y.slice(2048..))];
        kernel.bind(&tensors).unwrap().encode_in_pass(&mut pass);
    });
    let tail = block_on(engine.read_back(y.slice(2048..), &[100], Dtype::F32)).unwrap();
    assert_eq!(tail, scale.output());
}

#[test]
fn kernels_that_do_not_ask_where_they_are_are_cut_between_passes_only() {
    let Some(engine) = engine() else { return };
    let scale = Scale::new(10_000, &["two_pass"]);
    let kernel = block_on(engine.prepare(&engine.plan(&scale).unwrap())).unwrap();
    let usage = BufferUsages::STORAGE | BufferUsages::COPY_SRC | BufferUsages::COPY_DST;
    let (x, y) = (buffer(&engine, 40_000, usage), buffer(&engine, 40_000, usage));
    engine.queue().write_buffer(&x, 0, &scale.input().to_bytes(Dtype::F32));
    let bound = kernel.bind(&[("x", &x), ("y", &y)]).unwrap();
    let slices = block_on(bound.slices(Duration::from_nanos(1))).unwrap();
    assert_eq!(slices.count(), 2, "{slices:?}");
    let mut job = block_on(slices.start()).unwrap();
    for finished in [false, true, true] {
        submit(&engine, |encoder| {
            let progress = job.encode(encoder);
            assert_eq!(progress.finished, finished, "{progress:?}");
        });
    }
    assert_eq!(block_on(engine.read_back(&y, &[10_000], Dtype::F32)).unwrap(), scale.output());
}

#[test]
fn a_binding_that_does_not_fit_is_refused_by_name() {
    let Some(engine) = engine() else { return };
    let scale = Scale::new(100, &["good"]);
    let kernel = block_on(engine.prepare(&engine.plan(&scale).unwrap())).unwrap();
    let usage = BufferUsages::STORAGE | BufferUsages::COPY_SRC;
    let (x, y) = (buffer(&engine, 2048, usage), buffer(&engine, 2048, usage));
    let unbindable = buffer(&engine, 400, BufferUsages::COPY_SRC);
    let fails = |tensors: &[(&str, Binding<'_>)], words: &[&str]| {
        let error = kernel.bind(tensors).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Usage, "{error}");
        for word in words {
            assert!(error.to_string().contains(word), "`{word}` in: {error}");
        }
    };
    let range = |buffer, offset_bytes, size_bytes| Binding { buffer, offset_bytes, size_bytes };
    let (good_x, good_y) = (("x", Binding::from(&x)), ("y", Binding::from(&y)));
    fails(&[good_x], &["`y`", "not bound", "400 bytes"]);
    fails(&[good_x, good_y, ("z", good_y.1)], &["`z`", "no such tensor", "x, y"]);
    fails(&[good_x, good_y, good_y], &["`y`", "twice"]);
    fails(&[good_x, ("y", range(&y, 0, 396))], &["`y`", "needs 400 bytes", "has 396", "[100] f32"]);
    fails(&[("x", range(&x, 1792, 400)), good_y], &["`x`", "not within", "2048"]);
    fails(&[("x", range(&x, u64::MAX - 255, 400)), good_y], &["`x`", "not within"]);
    fails(&[("x", range(&x, 4, 400)), good_y], &["`x`", "min_storage_buffer_offset_alignment"]);
    fails(&[("x", range(&unbindable, 0, 400)), good_y], &["`x`", "STORAGE"]);
    fails(&[("x", range(&x, 0, 400)), ("y", range(&x, 1024, 400))], &["`x`", "`y`", "different buffers"]);
    submit(&engine, |encoder| kernel.bind(&[good_x, good_y]).unwrap().encode(encoder));
}

/// `two_pass` reads x in its first pass and writes y in its second: no dispatch has both.
#[test]
fn outputs_that_overlap_another_tensor_are_refused_wherever_they_are_bound() {
    let Some(engine) = engine() else { return };
    let scale = Scale::new(100, &["two_pass"]);
    let kernel = block_on(engine.prepare(&engine.plan(&scale).unwrap())).unwrap();
    let usage = BufferUsages::STORAGE | BufferUsages::COPY_SRC | BufferUsages::COPY_DST;
    let x = buffer(&engine, 4096, usage);
    let range = |buffer, offset_bytes, size_bytes| Binding { buffer, offset_bytes, size_bytes };
    let whole = Binding::from(&x);
    for (of_x, of_y) in
        [(whole, whole), (range(&x, 0, 400), range(&x, 256, 400)), (range(&x, 256, 400), whole)]
    {
        let error = kernel.bind(&[("x", of_x), ("y", of_y)]).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Usage, "{error}");
        let text = error.to_string();
        assert!(["`x`", "`y`", "overlap"].iter().all(|word| text.contains(word)), "{text}");
    }
    // Bytes of a binding beyond its tensor do not count, and tensors may share a buffer where no dispatch has both.
    engine.queue().write_buffer(&x, 512, &scale.input().to_bytes(Dtype::F32));
    submit(&engine, |encoder| {
        kernel.bind(&[("y", x.slice(..)), ("x", x.slice(512..))]).unwrap().encode(encoder);
    });
    assert_eq!(block_on(engine.read_back(&x, &[100], Dtype::F32)).unwrap(), scale.output());
}

#[test]
fn runs_in_one_pass_see_what_those_before_wrote() {
    let Some(engine) = engine() else { return };
    let scale = Scale::new(100, &["two_pass"]);
    let kernel = block_on(engine.prepare(&engine.plan(&scale).unwrap())).unwrap();
    let usage = BufferUsages::STORAGE | BufferUsages::COPY_SRC | BufferUsages::COPY_DST;
    let buffers: Vec<wgpu::Buffer> = (0..12).map(|_| buffer(&engine, 400, usage)).collect();
    engine.queue().write_buffer(&buffers[0], 0, &scale.input().to_bytes(Dtype::F32));
    let runs: Vec<BoundKernel> =
        buffers.windows(2).map(|pair| kernel.bind(&[("x", &pair[0]), ("y", &pair[1])]).unwrap()).collect();
    submit(&engine, |encoder| {
        let mut pass = encoder.begin_compute_pass(&wgpu::ComputePassDescriptor::default());
        runs.iter().for_each(|run| run.encode_in_pass(&mut pass));
    });
    for (run, buffer) in (0..).zip(&buffers) {
        let expected: Vec<f64> = scale.input().to_f64().iter().map(|x| x * 3.0_f64.powi(run)).collect();
        let found = block_on(engine.read_back(buffer, &[100], Dtype::F32)).unwrap();
        assert_eq!(found.to_f64(), expected, "after {run} runs");
    }
}

#[test]
fn inputs_that_do_not_fit_are_refused_by_name() {
    let Some(engine) = engine() else { return };
    let scale = Scale::new(100, &["good"]);
    let kernel = block_on(engine.prepare(&engine.plan(&scale).unwrap())).unwrap();
    let (right, wrong) = (scale.input(), Scale::new(99, &["good"]).input());
    let fails = |inputs: &[(&str, &HostTensor)], words: &[&str]| {
        let error = block_on(engine.run(&kernel, inputs)).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Usage, "{error}");
        assert!(words.iter().all(|word| error.to_string().contains(word)), "{error}");
    };
    fails(&[], &["`x`", "not given", "[100] f32"]);
    fails(&[("x", &wrong)], &["`x`", "[100]", "[99]"]);
    fails(&[("x", &right), ("y", &right)], &["`y`", "no such input"]);
    fails(&[("x", &right), ("x", &right)], &["`x`", "twice"]);

    let Some(other) = crate::common::engine() else { return };
    let error = block_on(other.run(&kernel, &[("x", &right)])).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Usage);
}

#[test]
fn what_is_too_large_is_a_limit_by_name() {
    let Some(engine) = engine() else { return };
    for size in [engine.profile().limits.max_buffer_size + 1, u64::MAX] {
        let error = block_on(engine.buffer("big", size)).unwrap_err();
        assert_eq!((error.kind(), error.argument()), (ErrorKind::Limit, "max_buffer_size"), "{error}");
    }

    let Some(engine) = engine_with(foveal::Options { floor: true, ..options() }) else { return };
    assert_eq!(engine.profile().limits.max_storage_buffer_binding_size, 128 << 20);
    assert_eq!(engine.profile().features, foveal::kernels::Features::default());
    let scale = Scale::new(33 << 20, &["good"]);
    let error = block_on(engine.prepare(&engine.plan(&scale).unwrap())).unwrap_err();
    assert_eq!(
        (error.kind(), error.argument()),
        (ErrorKind::Limit, "max_storage_buffer_binding_size"),
        "{error}"
    );
    let scale = Scale { threads: 512, ..Scale::new(100, &["good"]) };
    let error = block_on(engine.prepare(&engine.plan(&scale).unwrap())).unwrap_err();
    let limit = "max_compute_invocations_per_workgroup";
    assert_eq!((error.kind(), error.argument()), (ErrorKind::Limit, limit), "{error}");
    assert!(engine.refused("scale").is_empty(), "the plan's mistake is not the variant's");
}

#[test]
fn times_are_plausible_whatever_the_clock() {
    let Some(engine) = engine() else { return };
    let scale = Scale::new(4_000_000, &["good"]);
    let kernel = block_on(engine.prepare(&engine.plan(&scale).unwrap())).unwrap();
    let input = scale.input();
    let started = std::time::Instant::now();
    let timings =
        block_on(engine.benchmark(&kernel, &[("x", &input)], Timing { warm_up: 2, repeats: 9 })).unwrap();
    let all = started.elapsed();
    println!("{:?} by {:?}; {all:?} in all", timings.median(), timings.clock);
    assert_eq!(timings.samples.len(), 9);
    assert!(timings.median() > Duration::from_micros(1));
    let runs =
        if let Clock::Host { runs_per_submission } = timings.clock { runs_per_submission as u32 } else { 1 };
    assert!(timings.samples.iter().sum::<Duration>() * runs < all);
}

#[test]
fn memory_is_used_again() {
    let Some(engine) = engine() else { return };
    let scale = Scale::new(1 << 18, &["two_pass"]);
    let plan = engine.plan(&scale).unwrap();
    let input = scale.input();
    let mut idle = Vec::new();
    for _ in 0..3 {
        let kernel = block_on(engine.prepare(&plan)).unwrap();
        block_on(engine.run(&kernel, &[("x", &input)])).unwrap();
        drop(kernel);
        idle.push(engine.idle_bytes());
    }
    assert!(idle[0] > 3 << 20 && idle[0] == idle[1] && idle[1] == idle[2], "{idle:?}");
    engine.trim();
    assert_eq!(engine.idle_bytes(), 0);
}

#[test]
fn threads_share_an_engine() {
    let Some(engine) = engine() else { return };
    std::thread::scope(|scope| {
        for count in [100, 200, 300, 400] {
            let engine = engine.clone();
            scope.spawn(move || {
                let scale = Scale::new(count, &["good", "two_pass"]);
                for _ in 0..5 {
                    let kernel = block_on(engine.prepare(&engine.plan(&scale).unwrap())).unwrap();
                    let outputs = block_on(engine.run(&kernel, &[("x", &scale.input())])).unwrap();
                    assert_eq!(outputs[0].1, scale.output());
                }
            });
        }
    });
}
