//! The real compiler, through the worker. Without RADV these tests say SKIPPED and check that the error says so.

use std::path::Path;

use gpu_stats::{Compiler, Error, Family, Job, Report, survey};

const TILED: &str = include_str!("data/tiled_attention.wgsl");

fn program() -> &'static Path {
    Path::new(env!("CARGO_BIN_EXE_gpu-stats"))
}

/// The result, or `None` where there is no driver: then there is nothing to test.
#[expect(clippy::panic, reason = "only tests call this: a panic is the report")]
fn unless_skipped<T>(result: Result<T, Error>) -> Option<T> {
    match result {
        Ok(value) => Some(value),
        Err(Error::NoDriver { message }) => {
            eprintln!("SKIPPED: {message}");
            None
        }
        Err(other) => panic!("{other}"),
    }
}

fn hot(report: &Report) -> Vec<u32> {
    report.hot().map(|part| part.counts.fmas).collect()
}

#[test]
fn score_and_value_loops_of_every_family() {
    let jobs = [Job::new("tiled", TILED)];
    let Some(reports) = unless_skipped(survey(program(), &Family::ALL, &jobs)) else { return };
    assert_eq!(reports.iter().map(|r| r.family).collect::<Vec<_>>(), Family::ALL);
    for report in &reports {
        // 4 x 4 scores from 4-vectors; 4 rows of 2 value vectors. A compiler that unrolls makes multiples of it.
        let hot = hot(report);
        assert_eq!(hot.len(), 2, "{}", report.table(true));
        assert_eq!((hot[0] % 64, hot[1] % 32), (0, 0));
        assert_eq!(report.statistics.spilled_vgprs, 0);
        assert!(report.statistics.lds_bytes >= 20 * 1024);
        assert!(report.statistics.vgprs > 32);
        assert!(matches!(report.wave_size, 32 | 64));
        assert_eq!(report.workgroup_size, [8, 8, 1]);
        let unknown: u32 = report.parts.iter().map(|p| p.counts.unknown).sum();
        assert_eq!(unknown, 0, "instructions that the classifier does not know:\n{}", report.assembly);
        let instructions: u32 = report.parts.iter().map(|p| p.counts.instructions).sum();
        assert_eq!(u64::from(instructions), report.statistics.instructions, "{}", report.assembly);
    }
}

#[test]
fn a_wave_of_half_the_size_keeps_its_barriers() {
    let Some(mut compiler) = unless_skipped(Compiler::start(program(), Family::Navi21)) else { return };
    let job = Job { subgroup_size: Some(32), ..Job::new("tiled", TILED) };
    let report = compiler.compile(&job).unwrap();
    assert_eq!(report.wave_size, 32);
    let barriers: u32 = report.parts.iter().map(|p| p.counts.barriers).sum();
    assert!(barriers >= 4, "{}", report.assembly);
    assert_eq!(hot(&report).len(), 2);

    let refused = compiler.compile(&Job { subgroup_size: Some(16), ..job });
    assert!(matches!(refused, Err(Error::Shader { .. })), "{refused:?}");
}

#[test]
fn overrides_and_zeroed_memory_change_the_code() {
    let text = "override turns: u32 = 1u;\n@group(0) @binding(0) var<storage, read_write> data: array<f32>;\n\
                var<workgroup> shared_data: array<f32, 256>;\n\
                @compute @workgroup_size(64)\n\
                fn sum(@builtin(local_invocation_index) me: u32) {\n\
                    var x = data[me];\n\
                    for (var i = 0u; i < turns; i++) { x = fma(x, x, 2.0); }\n\
                    shared_data[me] = x;\n    workgroupBarrier();\n\
                    data[me] = shared_data[255u - me];\n}\n";
    let Some(mut compiler) = unless_skipped(Compiler::start(program(), Family::Vega10)) else { return };
    let mut fmas = |turns: f64, zero: bool| {
        let mut job = Job::new("sum", text);
        job.constants.insert("turns".to_owned(), turns);
        job.zero_workgroup_memory = zero;
        let report = compiler.compile(&job).unwrap();
        let of = |f: fn(&gpu_stats::Part) -> u32| report.parts.iter().map(f).sum::<u32>();
        (of(|p| p.counts.fmas), of(|p| p.counts.lds_writes.values().sum()))
    };
    assert_eq!(fmas(2.0, false).0, 2);
    assert_eq!(fmas(3.0, false).0, 3);
    assert!(fmas(2.0, true).1 > fmas(2.0, false).1);
}

#[test]
fn errors_tell_what_is_wrong() {
    let Some(mut compiler) = unless_skipped(Compiler::start(program(), Family::Gfx1100)) else { return };
    for wrong in [
        "nonsense",
        "@vertex fn v() -> @builtin(position) vec4<f32> { return vec4<f32>(); }",
        "@compute @workgroup_size(1) fn a() {}\n@compute @workgroup_size(1) fn b() {}",
    ] {
        let error = compiler.compile(&Job::new("the label", wrong)).unwrap_err();
        assert!(matches!(error, Error::Shader { .. }) && error.to_string().contains("the label"), "{error}");
    }
    // The worker survives a wrong shader.
    let job = Job {
        entry_point: Some("b".to_owned()),
        ..Job::new("two", "@compute @workgroup_size(1) fn a() {}\n@compute @workgroup_size(1) fn b() {}")
    };
    compiler.compile(&job).unwrap();
}

#[test]
fn a_program_that_is_no_worker_is_an_error() {
    match Compiler::start(Path::new("/nonexistent/gpu-stats"), Family::Vega10) {
        Err(Error::Worker { .. } | Error::NoDriver { .. }) => {}
        Err(other) => panic!("{other}"),
        Ok(_) => panic!("a program that does not exist was started"),
    }
}
