//! An example to copy from: tokens arrive one by one, and two memories on the GPU take them in.
//!
//! Linear attention keeps a state; windowed attention keeps a ring of keys and values. A token is one encoder and one
//! submission, 64 bytes go to the device with it, and nothing comes back until the stream has ended. Then what both gave
//! out is compared with the definitions over the whole sequence.

mod canvas;
mod melody;
mod memories;
mod model;
mod pass;
mod picture;
mod verify;

use std::collections::VecDeque;
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::{Duration, Instant};

use clap::Parser;
use foveal::{Engine, Kernel, Timing, testing::Comparison, wgpu};
use foveal_examples_common::{Failure, Host, Place, exit, say, thousands};
use serde_json::{Value, json};

use crate::melody::Note;
use crate::memories::{Memories, inputs_to_time};
use crate::picture::{Content, size};

/// Tokens that may be on their way: a host that never waits fills the driver's queue.
const IN_FLIGHT: usize = 3;

/// Streams a melody, note by note, through linear attention and windowed attention on the GPU.
///
/// The environment variable `FOVEAL_ADAPTER` chooses the adapter by a part of its name, `WGPU_BACKEND` the API. Exit
/// codes: 0 all results are right, 1 one is wrong or a step failed, 2 usage or no device.
#[derive(Parser)]
#[command(version)]
struct Arguments {
    /// How many tokens arrive.
    #[arg(long, value_name = "N", default_value_t = 1000, value_parser = at_least_one)]
    tokens: usize,
    /// How many keys the ring has.
    #[arg(long, value_name = "W", default_value_t = 256, value_parser = at_least_one)]
    window: usize,
    /// Where the picture is written, as PNG.
    #[arg(long, short, value_name = "FILE", default_value = "stream.png")]
    output: PathBuf,
    /// Print one JSON object and nothing else.
    #[arg(long)]
    json: bool,
}

fn at_least_one(text: &str) -> Result<usize, String> {
    match text.parse() {
        Ok(count) if (1..=1 << 24).contains(&count) => Ok(count),
        _ => Err(format!("expected a whole number from 1 to {}", 1 << 24)),
    }
}

fn main() -> ExitCode {
    exit(pollster::block_on(run(&Arguments::parse())))
}

/// How long the stream took.
struct Streamed {
    total: Duration,
    /// Recording each token, from making the encoder to finishing it, in ascending order.
    recording: Vec<Duration>,
}

async fn run(arguments: &Arguments) -> Result<(), Failure> {
    let &Arguments { tokens, window, ref output, json } = arguments;
    let place = Place::find(output)?;
    let host = Host::open("stream", Engine::desired_limits).await?;
    // Clones of a device are the same device.
    let engine = Engine::from_device(host.device.clone(), host.queue.clone())?;
    let memories = Memories::new(&engine, &host, tokens, window).await?;
    let windowed_time = time(&engine, memories.windowed.kernel(), window).await?;
    let linear_time = time(&engine, memories.linear[0].kernel(), window).await?;

    let notes = melody::compose(tokens);
    let Streamed { total, recording } = stream(&host, &memories, &notes)?;
    let outputs = memories.read_back(&engine).await?;

    let [windowed, linear] = verify::compare_both(&notes, window, &outputs)?;
    let rate = tokens as f64 / total.as_secs_f64();
    let [ring, state] = memories.kept();
    let foot = format!(
        "{}. Relative RMSE to f64 references over the whole sequence: {:.1e} and {:.1e}.",
        host.info.name, windowed.rel_rmse, linear.rel_rmse
    );
    let content = Content { notes: &notes, window, outputs: &outputs, kept: memories.kept(), foot: &foot };
    let picture = picture::draw(&content);
    place.write(&picture)?;

    let wgpu::AdapterInfo { name, backend, .. } = &host.info;
    if json {
        let memory = |kernel: &Kernel, comparison: &Comparison, time: Duration, kept: u64| -> Value {
            json!({
                "variant": kernel.plan().variant,
                "right": comparison.passed,
                "rel_rmse": comparison.rel_rmse,
                "allowed": comparison.tolerance.rel_rmse,
                "compared": comparison.compared,
                "us_a_token": micros(time),
                "bytes_kept": kept,
            })
        };
        let report = json!({
            "adapter": name,
            "backend": backend.to_str(),
            "tokens": tokens,
            "window": window,
            "tokens_per_second": rate,
            "recording_us": { "median": micros(quantile(&recording, 0.5)), "p99": micros(quantile(&recording, 0.99)) },
            "windowed": memory(memories.windowed.kernel(), &windowed, windowed_time, ring),
            "linear": memory(memories.linear[0].kernel(), &linear, linear_time, state),
            "picture": output.display().to_string(),
        });
        say(format_args!("{report:#}"));
    } else {
        say(format_args!("adapter     {name} ({})", host.driver()));
        say(format_args!(
            "stream      {} tokens, {rate:.0} a second; recording one takes {:.1} us (median; p99 {:.1})",
            thousands(tokens),
            micros(quantile(&recording, 0.5)),
            micros(quantile(&recording, 0.99))
        ));
        let told = |what: &str, kernel: &Kernel, comparison: &Comparison, time: Duration, kept: u64| {
            say(format_args!(
                "{what:<11} {}: {:.1e} off the f64 reference (relative RMSE; {:.0e} allowed); {:.1} us a token by itself, \
                 keeps {}, variant {}",
                if comparison.passed { "right" } else { "WRONG" },
                comparison.rel_rmse,
                comparison.tolerance.rel_rmse,
                micros(time),
                size(kept),
                kernel.plan().variant
            ));
        };
        told("windowed", memories.windowed.kernel(), &windowed, windowed_time, ring);
        told("linear", memories.linear[0].kernel(), &linear, linear_time, state);
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

/// Shows the notes to both memories, one by one.
fn stream(host: &Host, memories: &Memories, notes: &[Note]) -> Result<Streamed, Failure> {
    let mut samples = Vec::with_capacity(notes.len());
    let mut in_flight = VecDeque::with_capacity(IN_FLIGHT + 1);
    let start = Instant::now();
    for (note, odd) in notes.iter().zip([false, true].into_iter().cycle()) {
        memories.write(&host.queue, note);
        let recording = Instant::now();
        let mut encoder = host.device.create_command_encoder(&wgpu::CommandEncoderDescriptor::default());
        memories.encode(&mut encoder, odd);
        let commands = encoder.finish();
        samples.push(recording.elapsed());
        in_flight.push_back(host.queue.submit([commands]));
        if in_flight.len() > IN_FLIGHT
            && let Some(oldest) = in_flight.pop_front()
        {
            host.wait_for(Some(oldest), "the stream")?;
        }
    }
    if let Some(last) = in_flight.pop_back() {
        host.wait_for(Some(last), "the stream")?;
    }
    let total = start.elapsed();
    samples.sort_unstable();
    Ok(Streamed { total, recording: samples })
}

/// How long a kernel takes by itself.
async fn time(engine: &Engine, kernel: &Kernel, window: usize) -> Result<Duration, Failure> {
    let inputs = inputs_to_time(&*kernel.plan().problem, window)?;
    let inputs: Vec<_> = inputs.iter().map(|(name, tensor)| (name.as_str(), tensor)).collect();
    Ok(engine.benchmark(kernel, &inputs, Timing::default()).await?.median())
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
