//! Figures of linear attention: what chunks gain over tokens, where it overtakes attention, what a token costs.

use std::time::Duration;

use anyhow::Result;
use foveal::{Constraints, Engine, Problem};
use foveal_kernels::linear_attention::{Gate, LinearAttention, Rule};

use crate::{Figure, dense, time};

async fn median(engine: &Engine, spec: &dyn Problem) -> Result<Duration> {
    time(engine, spec, &Constraints::default(), 15).await
}

fn gated(len: usize, rule: Rule, gate: Gate) -> LinearAttention {
    LinearAttention::new([1, 8, len, 64], 8, 64).rule(rule).gate(gate)
}

/// Every figure with its bar; the bars are lavapipe's.
pub(crate) async fn measure(engine: &Engine, bars: bool) -> Result<Vec<Figure>> {
    let mut figures = Vec::new();
    let mut figure = |what: String, value: f64, unit: &'static str, bar: Option<f64>, more: bool| {
        figures.push(Figure { what, value, unit, bar: bar.filter(|_| bars), more });
    };
    let over = |a: Duration, b: Duration| a.as_secs_f64() / b.as_secs_f64();

    for (name, rule, gate, bar) in [
        ("one gate a token", Rule::Add, Gate::Scalar, 8.0),
        ("a gate a channel", Rule::Add, Gate::Vector, 4.0),
        ("delta rule, one gate a token", Rule::Delta, Gate::Scalar, 4.0),
        ("delta rule, a gate a channel", Rule::Delta, Gate::Vector, 4.0),
    ] {
        let spec = gated(4096, rule, gate);
        let tokens = time(engine, &spec, &Constraints::variant("recurrent"), 9).await?;
        let chunks = median(engine, &spec).await?;
        let what = format!("linear: recurrent over chosen time, {name}, T=4096");
        figure(what, over(tokens, chunks), "", Some(bar), true);
    }
    for len in [1024, 2048, 4096] {
        let linear = median(engine, &gated(len, Rule::Add, Gate::Scalar)).await?;
        let attention = median(engine, &dense(len, 64).causal()).await?;
        let bar = (len >= 2048).then_some(1.0);
        figure(
            format!("linear: causal attention over linear time, T={len}"),
            over(attention, linear),
            "",
            bar,
            true,
        );
    }
    // The time of a token, the longest and the shortest, over lengths.
    let mut of_token = Vec::new();
    for len in [1024, 4096, 16_384, 65_536] {
        let time = median(engine, &gated(len, Rule::Add, Gate::Scalar)).await?;
        #[expect(clippy::cast_precision_loss, reason = "a length")]
        of_token.push(time.as_secs_f64() / len as f64);
    }
    let max = of_token.iter().copied().fold(0.0, f64::max);
    let min = of_token.iter().copied().fold(f64::INFINITY, f64::min);
    figure(
        "linear: a token's dearest over its cheapest time, T=1024 to 65536".into(),
        max / min,
        "",
        Some(1.1),
        false,
    );
    let plan = engine.plan(&gated(65_536, Rule::Add, Gate::Scalar))?;
    #[expect(clippy::cast_precision_loss, reason = "shown in megabytes")]
    let scratch = plan.scratch_bytes() as f64 / 1e6;
    figure("linear: memory beyond inputs and outputs, T=65536".into(), scratch, "MB", None, false);

    let decode = LinearAttention::new([1, 32, 1, 128], 32, 128).gate(Gate::Scalar).with_states();
    let time = time(engine, &decode, &Constraints::default(), 60).await?;
    let roofline = engine.measure_roofline().await?;
    let gbps = decode.work().bytes / time.as_secs_f64() / 1e9;
    let what = "linear: a token of 32 heads, D=128, states in and out, of the memory's bandwidth".to_owned();
    figure(what, gbps / roofline.memory_gbps, "", Some(0.6), true);
    Ok(figures)
}
