//! An example to copy from: a decoder's step, with two memories on the GPU.
//!
//! Tokens of two requests arrive one by one, and each step shows the next ones too, as far as they can be guessed. A step
//! is one encoder and one submission: queries, keys and values; new keys turned by their positions and appended to pages;
//! attention to them; linear attention from a state. Wrong guesses are taken back by what the next step binds. Nothing comes
//! back until all has ended. Then what was given out is compared with the definitions over whole sequences.

mod batch;
mod canvas;
mod decoder;
mod melody;
mod model;
mod pages;
mod pass;
mod picture;
mod verify;

use std::collections::VecDeque;
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::{Duration, Instant};

use clap::Parser;
use foveal::{Engine, Kernel, testing::Comparison, wgpu};
use foveal_examples_common::{Failure, Host, Place, exit, say, thousands};
use serde_json::{Value, json};

use crate::batch::Batch;
use crate::decoder::{Decoder, MAX_DRAFT};
use crate::picture::{Content, size};

/// Steps that may be on their way: a host that never waits fills the driver's queue.
const IN_FLIGHT: usize = 3;

/// Streams melodies, note by note, through attention over pages and linear attention on the GPU.
///
/// The environment variable `FOVEAL_ADAPTER` chooses the adapter by a part of its name, `WGPU_BACKEND` the API. Exit
/// codes: 0 all results are right, 1 one is wrong or a step failed, 2 usage or no device.
#[derive(Parser)]
#[command(version)]
struct Arguments {
    /// How many tokens the first request has. The second has half as many, and joins after a fifth of them.
    #[arg(long, value_name = "N", default_value_t = 1000, value_parser = at_least_one)]
    tokens: usize,
    /// How many keys a token attends to.
    #[arg(long, value_name = "W", default_value_t = 256, value_parser = at_least_one)]
    window: usize,
    /// How many tokens a step shows, guesses included; 1 guesses nothing.
    #[arg(long, value_name = "N", default_value_t = 4, value_parser = draft)]
    draft: usize,
    /// Where the picture is written, as PNG.
    #[arg(long, short, value_name = "FILE", default_value = "stream.png")]
    output: PathBuf,
    /// Print one JSON object and nothing else.
    #[arg(long)]
    json: bool,
}

fn at_least_one(text: &str) -> Result<usize, String> {
    within(text, 1 << 24)
}

fn draft(text: &str) -> Result<usize, String> {
    within(text, MAX_DRAFT)
}

fn within(text: &str, most: usize) -> Result<usize, String> {
    match text.parse() {
        Ok(count) if (1..=most).contains(&count) => Ok(count),
        _ => Err(format!("expected a whole number from 1 to {most}")),
    }
}

fn main() -> ExitCode {
    exit(pollster::block_on(run(&Arguments::parse())))
}

/// How long it all took.
struct Streamed {
    total: Duration,
    /// Recording each step, from making the encoder to finishing it, in ascending order.
    recording: Vec<Duration>,
}

async fn run(arguments: &Arguments) -> Result<(), Failure> {
    let &Arguments { tokens, window, draft, ref output, json } = arguments;
    let place = Place::find(output)?;
    let host = Host::open("stream", Engine::desired_limits).await?;
    // Clones of a device are the same device.
    let engine = Engine::from_device(host.device.clone(), host.queue.clone())?;
    let mut batch = Batch::new(tokens, draft, window)?;
    let decoder = Decoder::new(&engine, &host, &batch, draft, window).await?;
    let Streamed { total, recording } = stream(&host, &decoder, &mut batch)?;

    let (mut outputs, mut comparisons) = (Vec::new(), [Vec::new(), Vec::new()]);
    for (request, its) in batch.requests.iter().enumerate() {
        let given = decoder.read_back(&engine, request, its.notes.len()).await?;
        let compared = verify::compare_both(&its.notes, window, &given)?;
        for (all, one) in comparisons.iter_mut().zip(compared) {
            all.push(one);
        }
        outputs.push(given);
    }
    let [windowed, linear] = comparisons.map(worst);
    let (Some(windowed), Some(linear), Some(first), [its, ..]) =
        (windowed, linear, outputs.first(), &*batch.requests)
    else {
        return Err(Failure::failed("the batch", "it has no requests"));
    };
    let settled: usize = batch.requests.iter().map(|its| its.notes.len()).sum();
    let guessed: usize = batch.requests.iter().map(|its| its.right().count()).sum();
    let taken_back: usize = batch.requests.iter().map(|its| its.taken_back).sum();
    let (steps, rate) = (recording.len(), settled as f64 / total.as_secs_f64());
    let foot = format!(
        "{}. Relative RMSE to f64 references over whole melodies: {:.1e} and {:.1e}.",
        host.info.name, windowed.rel_rmse, linear.rel_rmse
    );
    let kept = decoder.kept();
    let picture = picture::draw(&Content { request: its, window, outputs: first, kept, foot: &foot });
    place.write(&picture)?;

    let wgpu::AdapterInfo { name, backend, .. } = &host.info;
    let (median, late) = (micros(quantile(&recording, 0.5)), micros(quantile(&recording, 0.99)));
    let [seen, step] = [decoder.attention.kernel(), decoder.linear[0][0][0].kernel()];
    if json {
        let memory = |kernel: &Kernel, comparison: &Comparison, kept: u64| -> Value {
            json!({
                "variant": kernel.plan().variant,
                "right": comparison.passed,
                "rel_rmse": comparison.rel_rmse,
                "allowed": comparison.tolerance.rel_rmse,
                "compared": comparison.compared,
                "bytes_kept": kept,
            })
        };
        let report = json!({
            "adapter": name,
            "backend": backend.to_str(),
            "tokens": batch.requests.iter().map(|its| its.notes.len()).collect::<Vec<_>>(),
            "window": window,
            "draft": draft,
            "steps": steps,
            "guessed_right": guessed,
            "taken_back": taken_back,
            "tokens_per_second": rate,
            "recording_us": { "median": median, "p99": late },
            "windowed": memory(seen, &windowed, kept[0]),
            "linear": memory(step, &linear, kept[1]),
            "picture": output.display().to_string(),
        });
        say(format_args!("{report:#}"));
    } else {
        say(format_args!("adapter     {name} ({})", host.driver()));
        say(format_args!(
            "stream      {} tokens of {} requests in {} steps, {rate:.0} tokens a second; recording a step takes {median:.1} us \
             (median; p99 {late:.1})",
            thousands(settled),
            batch.requests.len(),
            thousands(steps),
        ));
        say(format_args!(
            "drafts      {} tokens were guessed before they arrived, {} guesses were taken back",
            thousands(guessed),
            thousands(taken_back)
        ));
        let told = |what: &str, kernel: &Kernel, comparison: &Comparison, kept: u64| {
            say(format_args!(
                "{what:<11} {}: {:.1e} off the f64 reference (relative RMSE; {:.0e} allowed); keeps {} a request, variant {}",
                if comparison.passed { "right" } else { "WRONG" },
                comparison.rel_rmse,
                comparison.tolerance.rel_rmse,
                size(kept),
                kernel.plan().variant
            ));
        };
        told("windowed", seen, &windowed, kept[0]);
        told("linear", step, &linear, kept[1]);
        say(format_args!("picture     {}", output.display()));
    }
    for (what, comparison) in [("windowed attention", windowed), ("linear attention", linear)] {
        if !comparison.passed {
            let worst = comparison.worst.map_or_else(|| "not finite".to_owned(), |worst| worst.to_string());
            return Err(Failure::failed(&format!("{what} is WRONG"), worst));
        }
    }
    Ok(())
}

/// The comparison that says most: one that failed, or the one that is furthest off.
fn worst(comparisons: Vec<Comparison>) -> Option<Comparison> {
    comparisons
        .into_iter()
        .max_by(|a, b| b.passed.cmp(&a.passed).then_with(|| a.rel_rmse.total_cmp(&b.rel_rmse)))
}

/// Takes all requests to their ends, step by step.
fn stream(host: &Host, decoder: &Decoder, batch: &mut Batch) -> Result<Streamed, Failure> {
    let mut samples = Vec::new();
    let mut in_flight = VecDeque::with_capacity(IN_FLIGHT + 1);
    let start = Instant::now();
    while let Some(step) = batch.next()? {
        decoder.write(&host.queue, &step);
        let recording = Instant::now();
        let mut encoder = host.device.create_command_encoder(&wgpu::CommandEncoderDescriptor::default());
        decoder.encode(&mut encoder, &step);
        let commands = encoder.finish();
        samples.push(recording.elapsed());
        in_flight.push_back(host.queue.submit([commands]));
        if in_flight.len() > IN_FLIGHT
            && let Some(oldest) = in_flight.pop_front()
        {
            host.wait_for(Some(oldest), "the stream")?;
        }
        batch.settle(&step);
    }
    if let Some(last) = in_flight.pop_back() {
        host.wait_for(Some(last), "the stream")?;
    }
    let total = start.elapsed();
    samples.sort_unstable();
    Ok(Streamed { total, recording: samples })
}

/// The sample below which such a share of ascending samples lies.
#[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "within the samples")]
fn quantile(samples: &[Duration], share: f64) -> Duration {
    let at = (share * samples.len() as f64) as usize;
    samples.get(at.min(samples.len().saturating_sub(1))).copied().unwrap_or_default()
}

fn micros(duration: Duration) -> f64 {
    duration.as_secs_f64() * 1e6
}
