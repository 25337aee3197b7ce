//! Figures of serving: decode against the memory's bandwidth, smaller caches, pages, requests of different lengths, shared prefixes.

use std::time::Duration;

use anyhow::Result;
use foveal::{Constraints, Dtype, Engine, HostTensor, Problem, TensorData, testing::Reference};
use foveal_kernels::Name;
use foveal_kernels::attention::{Attention, Integers, Mask, Pages, Quantised, Rotary, Shape};
use foveal_kernels::specs::Pairing;

use crate::{Figure, dense, time, time_of};

const LENGTHS: &str = "lengths";
/// Pairs of measurements of a ratio, one after the other.
const ROUNDS: usize = 3;

fn decode(heads: usize, kv_heads: usize, keys: usize, dim: usize) -> Attention {
    Attention::new(Shape::bhtd(1, heads, 1, dim).kv(kv_heads, keys))
}

async fn median(engine: &Engine, spec: &Attention) -> Result<Duration> {
    time(engine, spec, &Constraints::default(), 30).await
}

/// The median ratio of two problems' times, measured in turn.
async fn ratio(engine: &Engine, of: &Attention, over: &Attention) -> Result<f64> {
    let mut ratios = Vec::new();
    for _ in 0..ROUNDS {
        let base = median(engine, over).await?;
        ratios.push(median(engine, of).await?.as_secs_f64() / base.as_secs_f64());
    }
    ratios.sort_by(f64::total_cmp);
    Ok(ratios[ROUNDS / 2])
}

/// The time of a batch whose entries have these lengths.
async fn of_lengths(engine: &Engine, spec: &Attention, lengths: &[i32]) -> Result<Duration> {
    let mut inputs: Vec<(Name, HostTensor)> = spec.random_inputs(7);
    for (name, tensor) in &mut inputs {
        if &**name == LENGTHS {
            *tensor = HostTensor::new(vec![lengths.len()], TensorData::I32(lengths.to_vec()))?;
        }
    }
    time_of(engine, spec, inputs, &Constraints::default(), 15).await
}

/// 64 lengths from 1 to 4096 with the quantiles of a geometric distribution, short and long ones mixed.
#[expect(clippy::cast_possible_truncation, reason = "at most 4096")]
fn geometric() -> Vec<i32> {
    let quantile = |at: u32| (-850.0 * ((f64::from(at) + 0.5) / 64.0).ln()).ceil().clamp(1.0, 4096.0) as i32;
    (0..64).map(|at| quantile(at * 37 % 64)).collect()
}

/// Every figure with its bar; the bars are lavapipe's.
pub(crate) async fn measure(engine: &Engine, bars: bool) -> Result<Vec<Figure>> {
    let mut figures = Vec::new();
    let mut figure = |what: &str, value: f64, bar: f64, more: bool| {
        figures.push(Figure { what: what.to_owned(), value, unit: "", bar: bars.then_some(bar), more });
    };
    let plain = decode(32, 8, 4096, 128);
    let time = median(engine, &plain).await?;
    let roofline = engine.measure_roofline().await?;
    let gbps = plain.work().bytes / time.as_secs_f64() / 1e9;
    figure("decode 32:8 x 4096 x 128, of the memory's bandwidth", gbps / roofline.memory_gbps, 0.90, true);
    let rate = |heads: f64| heads / 8.0;
    let all = ratio(engine, &decode(32, 32, 4096, 128), &plain).await? / rate(32.0);
    figure("the same of 32:32, time a byte over that of 32:8", all, 1.10, false);
    let few = ratio(engine, &decode(32, 4, 4096, 128), &plain).await? / rate(4.0);
    figure("of 32:4", few, 1.10, false);
    figure("f16 over f32 time", ratio(engine, &plain.clone().dtype(Dtype::F16), &plain).await?, 0.60, false);
    for (integers, name) in [(Integers::I8, "i8 over f32 time"), (Integers::I4, "i4 over f32 time")] {
        let quantised = plain.clone().quantised(Quantised::new("k_scale", "v_scale").integers(integers));
        figure(name, ratio(engine, &quantised, &plain).await?, 0.45, false);
    }
    let paged = plain.clone().pages(Pages::new("pages", 16, 256));
    figure("pages of 16 over keys in a row", ratio(engine, &paged, &plain).await?, 1.05, false);

    let lengths = geometric();
    let sum: usize = lengths.iter().map(|&length| usize::try_from(length).unwrap_or(0)).sum();
    let batch = Attention::new(Shape::bhtd(64, 8, 1, 64).kv(2, 4096)).kv_lengths(LENGTHS);
    let ragged = of_lengths(engine, &batch, &lengths).await?;
    let long = median(engine, &decode(8, 2, sum, 64)).await?;
    let over = |a: Duration, b: Duration| a.as_secs_f64() / b.as_secs_f64();
    figure("64 requests of 1 to 4096 keys over one of as many", over(ragged, long), 1.15, false);
    let padded = Attention::new(Shape::bhtd(16, 8, 1, 64).kv(2, 8 * 512)).kv_lengths(LENGTHS);
    let full = Attention::new(Shape::bhtd(16, 8, 1, 64).kv(2, 512)).kv_lengths(LENGTHS);
    let padding =
        over(of_lengths(engine, &padded, &[512; 16]).await?, of_lengths(engine, &full, &[512; 16]).await?);
    figure("16 requests of 512 keys in room for 4096 over room for 512", padding, 1.05, false);

    let apart = Attention::new(Shape::bhtd(32, 8, 1, 64).kv(8, 2176)).pages(Pages::new("pages", 16, 384));
    let gain = ratio(engine, &apart, &apart.clone().shared_prefix(2048)).await?;
    figure("32 requests with 2048 of 2176 keys in common: apart over shared time", gain, 5.0, true);

    for (name, spec) in [
        ("turning q and k by positions, T=1024, over not", dense(1024, 64)),
        ("causal, T=2048, D=128", dense(2048, 128).mask(Mask::Causal)),
    ] {
        let turned = spec.clone().rotary(Rotary::new(Pairing::Halves));
        figure(name, ratio(engine, &turned, &spec).await?, 1.03, false);
    }
    Ok(figures)
}
