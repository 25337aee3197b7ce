//! Plans in words. A change here is a change of what users get: look at it, then accept it with `INSTA_UPDATE=always`.

use anyhow::Result;
use foveal_kernels::attention::{Attention, Layout, Shape};
use foveal_kernels::{AdapterProfile, Constraints, Dtype, Problem};
use foveal_tests::profiles;

/// A plan's text without its cost, whose last digits may vary.
fn text(spec: &Attention, adapter: &AdapterProfile) -> Result<String> {
    let plan = spec.plan(adapter, &Constraints::default())?;
    let lines = plan.to_string();
    let lines = lines.lines().filter(|line| !line.trim_start().starts_with("cost ")).map(str::trim_end);
    Ok(format!("on {}\n{}\n", adapter.name, lines.collect::<Vec<_>>().join("\n")))
}

#[test]
fn plans_are_what_they_were() -> Result<()> {
    let spec = |q: [usize; 4], [_, heads, len, _]: [usize; 4]| {
        Attention::new(Shape::bhtd(q[0], q[1], q[2], q[3]).kv(heads, len))
    };
    let problems = [
        ("dense_512", spec([1, 8, 512, 64], [1, 8, 512, 64])),
        ("causal_2048", spec([1, 8, 2048, 64], [1, 8, 2048, 64]).causal().with_lse()),
        ("wide_128_f16", spec([1, 8, 1024, 128], [1, 8, 1024, 128]).dtype(Dtype::F16)),
        ("wide_576", spec([1, 2, 300, 576], [1, 2, 300, 576]).value_dim(512)),
        ("odd_33_bf16", spec([2, 3, 100, 33], [2, 3, 90, 33]).dtype(Dtype::Bf16).layout(Layout::Bthd)),
        ("decode_grouped", spec([1, 32, 1, 128], [1, 8, 4096, 128])),
        ("batch_in_pieces", spec([64, 8, 2048, 64], [64, 8, 2048, 64])),
        ("empty", spec([1, 2, 0, 64], [1, 2, 7, 64])),
    ];
    let floor = AdapterProfile::webgpu_floor();
    let mut roomy = floor.clone();
    roomy.name = "WebGPU floor with large buffers".into();
    roomy.limits.max_buffer_size = 4 << 30;
    let mut settings = insta::Settings::clone_current();
    settings.set_snapshot_path(concat!(env!("CARGO_MANIFEST_DIR"), "/snapshots"));
    settings.set_prepend_module_to_snapshot(false);
    settings.set_omit_expression(true);
    settings.bind(|| -> Result<()> {
        for (name, problem) in &problems {
            let floor = if *name == "batch_in_pieces" { &roomy } else { &floor };
            let texts = [floor, &profiles::lavapipe(), &profiles::discrete(32, 32)]
                .map(|adapter| text(problem, adapter));
            let texts = texts.into_iter().collect::<Result<Vec<_>>>()?;
            insta::assert_snapshot!(*name, texts.join("\n"));
        }
        Ok(())
    })
}
