//! Variants prove themselves, or are refused.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use crate::common::{Scale, engine, engine_with, options};
use foveal::kernels::ParamValue;
use foveal::{Constraints, Engine, ErrorKind, Options, SelfCheck, SelfCheckReport, testing::Reference};
use pollster::block_on;

fn right(engine: &Engine, kernel: &foveal::Kernel, scale: &Scale) -> bool {
    block_on(engine.run(kernel, &[("x", &scale.input())])).unwrap()[0].1 == scale.output()
}

#[test]
fn a_wrong_variant_is_refused_and_the_next_is_taken() {
    for (variant, words) in [
        ("wrong", "relative RMSE"),
        ("unwritten", "1 of 100 values not finite"),
        ("overrun", "wrote after the output"),
        ("invalid", "test.scale.invalid"),
    ] {
        let Some(engine) = engine() else { return };
        let scale = Scale::new(1000, &[variant, "good"]);
        let plan = engine.plan(&scale).unwrap();
        assert_eq!(plan.variant, variant);
        let kernel = block_on(engine.prepare(&plan)).unwrap();
        assert_eq!(kernel.plan().variant, "good");
        assert_eq!(kernel.refused().len(), 1);
        let refused = &kernel.refused()[0];
        assert!(refused.variant == variant && refused.reason.contains(words), "{refused:?}");
        assert!(right(&engine, &kernel, &scale));

        // The engine remembers: neither plans nor a plan from before bring it back.
        assert_eq!(engine.plan(&scale).unwrap().variant, "good");
        let again = block_on(engine.prepare(&plan)).unwrap();
        assert!(again.plan().variant == "good" && again.refused()[0].reason.contains(words));
        assert!(engine.refused("scale").contains(variant) && engine.refused("attention").is_empty());
    }
}

#[test]
fn only_the_plans_own_variant_will_do_where_that_is_asked() {
    let Some(engine) = engine() else { return };
    let plan =
        engine.plan_with(&Scale::new(1000, &["good", "wrong"]), &Constraints::variant("wrong")).unwrap();
    for _ in 0..2 {
        let error = block_on(engine.prepare_exact(&plan)).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Refused, "{error}");
    }
}

#[test]
fn an_error_names_every_variant_if_none_is_left() {
    let Some(engine) = engine() else { return };
    let plan = engine.plan(&Scale::new(1000, &["wrong", "overrun", "invalid"])).unwrap();
    let error = block_on(engine.prepare(&plan)).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Refused);
    let text = error.to_string();
    assert!(["wrong: ", "overrun: ", "invalid: "].iter().all(|variant| text.contains(variant)), "{text}");
}

#[test]
fn a_plan_and_a_shader_that_disagree_are_our_fault() {
    let Some(engine) = engine() else { return };
    let error =
        block_on(engine.prepare(&engine.plan(&Scale::new(10, &["unbound", "good"])).unwrap())).unwrap_err();
    assert!(error.kind() == ErrorKind::Internal && error.to_string().contains("`z`"), "{error}");

    let good = engine.plan(&Scale::new(10, &["good"])).unwrap();
    let broken = |change: &dyn Fn(&mut foveal::kernels::Pass), words: &str| {
        let mut plan = good.clone();
        change(&mut plan.passes[0]);
        let error = block_on(engine.prepare(&plan)).unwrap_err();
        assert!(error.kind() == ErrorKind::Internal && error.to_string().contains(words), "{error}");
    };
    broken(&|pass| pass.params.truncate(3), "params.row has no value");
    broken(&|pass| pass.params.push(("more".into(), ParamValue::U32(0))), "`more`");
    broken(&|pass| pass.params[0].1 = ParamValue::U32(3), "params.factor is 1 x f32");
    broken(&|pass| pass.bindings.truncate(1), "`x` is not bound");
    broken(&|pass| pass.bindings.push(pass.bindings[0].clone()), "3 bindings");
    broken(&|pass| pass.bindings[1].name = "other".into(), "`x` is not bound");
    broken(&|pass| pass.bindings[0].offset_bytes = 256, "256 + 40 of 40");
    broken(&|pass| pass.bindings[0].source = foveal::kernels::BoundTo::Tensor(0), "is the input x");
    broken(&|pass| pass.bindings[0].source = foveal::kernels::BoundTo::Scratch(3), "Scratch(3)");
}

#[test]
fn the_canonical_case_has_to_use_the_plans_shaders() {
    let Some(engine) = engine() else { return };
    let mut plan = engine.plan(&Scale::new(10, &["good"])).unwrap();
    plan.problem = Arc::new(Scale { threads: 32, ..Scale::new(10, &["good"]) });
    let error = block_on(engine.prepare(&plan)).unwrap_err();
    assert!(error.kind() == ErrorKind::Internal && error.to_string().contains("plan's shaders"), "{error}");
}

#[test]
fn checks_can_be_off_remembered_or_repeated() {
    let Some(engine) = engine_with(Options { self_check: SelfCheck::Off, ..options() }) else { return };
    let kernel = block_on(engine.prepare(&engine.plan(&Scale::new(10, &["wrong"])).unwrap())).unwrap();
    assert_eq!(kernel.self_check(), SelfCheckReport::Off);

    let Some(engine) = crate::common::engine() else { return };
    let plan = engine.plan(&Scale::new(10, &["good"])).unwrap();
    let report = |engine: &Engine, plan| block_on(engine.prepare(plan)).unwrap().self_check();
    assert!(matches!(report(&engine, &plan), SelfCheckReport::Passed { .. }));
    assert_eq!(report(&engine, &plan), SelfCheckReport::Remembered);
    let other_size = engine.plan(&Scale::new(5000, &["good"])).unwrap();
    assert_eq!(report(&engine, &other_size), SelfCheckReport::Remembered, "sizes are not part of the shader");
    let other_shader = Scale { threads: 32, ..Scale::new(10, &["good"]) };
    let other_shader = engine.plan(&other_shader).unwrap();
    assert!(matches!(report(&engine, &other_shader), SelfCheckReport::Passed { .. }));

    let Some(engine) = engine_with(Options { self_check: SelfCheck::Again, ..options() }) else { return };
    for _ in 0..3 {
        let SelfCheckReport::Passed { duration, first_dispatch } = report(&engine, &plan) else { panic!() };
        println!("{duration:?} and {first_dispatch:?} for the first dispatch");
        assert!(duration < Duration::from_millis(100), "{duration:?}");
    }
}

fn files(dir: &Path) -> Vec<std::path::PathBuf> {
    let mut files: Vec<_> = std::fs::read_dir(dir).unwrap().map(|entry| entry.unwrap().path()).collect();
    files.sort();
    files
}

#[test]
fn the_disk_helps_and_never_hurts() {
    let dir = tempfile::tempdir().unwrap();
    let with_cache = || Options { cache_dir: Some(dir.path().join("deep/down")), ..options() };
    let scale = Scale::new(1000, &["good"]);
    let report = || {
        let engine = engine_with(with_cache())?;
        let kernel = block_on(engine.prepare(&engine.plan(&scale).unwrap())).unwrap();
        assert!(right(&engine, &kernel, &scale));
        Some(kernel.self_check())
    };
    let Some(first) = report() else { return };
    assert!(matches!(first, SelfCheckReport::Passed { .. }));
    let written = files(&dir.path().join("deep/down"));
    println!("{written:?}");
    assert!(!written.is_empty());
    assert_eq!(report(), Some(SelfCheckReport::Remembered));

    for damage in [&b""[..], b"garbage that is no JSON", &[0; 100_000]] {
        for file in &written {
            let mut bytes = std::fs::read(file).unwrap();
            bytes.truncate(bytes.len() / 2);
            bytes.extend(damage);
            std::fs::write(file, bytes).unwrap();
        }
        assert!(matches!(report(), Some(SelfCheckReport::Passed { .. })), "a damaged file proves nothing");
        assert_eq!(report(), Some(SelfCheckReport::Remembered), "and is replaced");
        assert_eq!(files(&dir.path().join("deep/down")), written, "nothing else is left there");
    }

    // A directory that cannot be one.
    let file = dir.path().join("file");
    std::fs::write(&file, "").unwrap();
    let Some(engine) = engine_with(Options { cache_dir: Some(file), ..options() }) else { return };
    let kernel = block_on(engine.prepare(&engine.plan(&scale).unwrap())).unwrap();
    assert!(right(&engine, &kernel, &scale));
}

#[test]
fn attention_is_checked_like_any_other_problem() {
    let Some(engine) = engine_with(Options { library: Options::default().library, ..options() }) else {
        return;
    };
    let spec =
        foveal::kernels::attention::Attention::new(foveal::kernels::attention::Shape::bhtd(1, 2, 65, 64))
            .causal();
    let plan = engine.plan(&spec).unwrap();
    let kernel = block_on(engine.prepare(&plan)).unwrap();
    println!("{} {:?} {:?}", kernel.plan().variant, kernel.self_check(), kernel.refused());
    let inputs = spec.random_inputs(1);
    let inputs: Vec<_> = inputs.iter().map(|(name, tensor)| (&**name, tensor)).collect();
    let outputs = block_on(engine.run(&kernel, &inputs)).unwrap();
    for expected in spec.reference(&inputs, foveal::testing::Rows::All).unwrap() {
        let (_, actual) = outputs.iter().find(|(name, _)| *name == expected.name).unwrap();
        let comparison = foveal::testing::compare(&expected, actual, spec.tolerance(&expected.name)).unwrap();
        assert!(comparison.passed, "{comparison:?}");
    }
}
