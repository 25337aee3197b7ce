//! An example to copy from: attention in a host's own command encoder, and a renderer on the same device.
//!
//! The host opens a device. Foveal computes the attention weights of a real sentence model on it, a compute pass of the
//! host's turns them into colours, and vello draws the texture of colours in a scene of text and curves. The heat maps
//! never leave the device; only the picture does, and the few rows of weights that are checked and that the curves need.

mod layout;
mod picture;
mod ramp;
mod sample;
mod scene;
mod text;
mod tint;
mod weights;

use std::ops::Range;
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Instant;

use clap::Parser;
use foveal::{Engine, wgpu};
use foveal_examples_common::{Failure, Host, Place, exit, say, self_check, time};

use crate::layout::Layout;
use crate::picture::Painter;
use crate::sample::Sample;
use crate::scene::Content;
use crate::text::Fonts;
use crate::tint::Tint;
use crate::weights::{Checked, Weights};

/// The tokens that are enlarged: the first sentence and the beginning of the second.
const PASSAGE: Range<usize> = 0..28;

/// Draws the attention of a sentence model: computed by Foveal, drawn by vello, on one device.
///
/// The environment variable `FOVEAL_ADAPTER` chooses the adapter by a part of its name, `WGPU_BACKEND` the API. Exit
/// codes: 0 the picture is written and right, 1 it is wrong or a step failed, 2 usage or no device.
#[derive(Parser)]
#[command(version)]
struct Arguments {
    /// Where the picture is written, as PNG.
    #[arg(long, short, value_name = "FILE", default_value = "heatmap.png")]
    output: PathBuf,
}

fn main() -> ExitCode {
    exit(pollster::block_on(run(&Arguments::parse())))
}

async fn run(arguments: &Arguments) -> Result<(), Failure> {
    let place = Place::find(&arguments.output)?;
    let sample = Sample::load()?;

    let host = Host::open("heatmap", wgpu::Adapter::limits).await?;
    let name = &host.info.name;
    say(format_args!("adapter     {name} ({})", host.driver()));

    // Clones of a device are the same device.
    let engine = Engine::from_device(host.device.clone(), host.queue.clone())?;
    let weights = Weights::prepare(&engine, &sample).await?;
    let plan = weights.bound.kernel().plan();
    say(format_args!("attention   {}, variant {}", plan.problem.describe(), plan.variant));
    say(format_args!("self-check  {}", self_check(weights.bound.kernel().self_check())));
    for refused in weights.bound.kernel().refused() {
        say(format_args!("refused     {}: {}", refused.variant, refused.reason));
    }
    let mut painter = Painter::new(&host)?;

    // One encoder, one submission: attention, then colours. Neither waits for the CPU.
    let tint = Tint::new(&host.device, &host.queue, &weights.o, weights.sizes())?;
    let start = Instant::now();
    let mut encoder = host.device.create_command_encoder(&wgpu::CommandEncoderDescriptor::default());
    weights.encode(&mut encoder);
    tint.encode(&mut encoder);
    host.submit(encoder, "attention and colours")?;
    let computed_in = start.elapsed();

    let Checked { values, comparison } = weights.check(&engine, &sample, &PASSAGE).await?;
    let rows = PASSAGE.len() * sample.heads.len();
    if !comparison.passed {
        let worst = comparison.worst.map_or_else(|| "not finite".to_owned(), |worst| worst.to_string());
        return Err(Failure::failed("the weights are WRONG", worst));
    }
    say(format_args!(
        "weights     right: {rows} rows are {:.1e} off the f64 reference (relative RMSE; {:.0e} allowed)",
        comparison.rel_rmse, comparison.tolerance.rel_rmse
    ));

    let start = Instant::now();
    let layout = Layout::new(sample.heads.len(), sample.tokens.len(), PASSAGE.len());
    let content = Content {
        title: "Who attends to whom",
        subtitle: &[
            format!(
                "Four attention heads of the sentence model {} read a paragraph of {} tokens. On the left all of it,",
                sample.model,
                sample.tokens.len()
            ),
            "on the right its beginning; a curve leads from each token to the other one there that it attends to most."
                .to_owned(),
        ],
        foot: &format!(
            "Weights computed by Foveal, drawn by vello, on one device: {name}. {:.1e} off the f64 reference (relative RMSE).",
            comparison.rel_rmse
        ),
        heads: &sample.heads,
        tokens: &sample.tokens,
        passage: PASSAGE,
        weights: &values,
    };
    let scene = scene::draw(&layout, &content, &Fonts::load()?, painter.image(&tint.tiles));
    let picture = painter.paint(&host, &engine, &scene, layout.pixels(), scene::paper()).await?;
    let painted_in = start.elapsed();
    if let Some((head, row, column, weight)) = scene::misplaced(&picture, &layout, &content).first() {
        let message =
            format!("head {head}, row {row}, column {column} does not have the colour of {weight:.3}");
        return Err(Failure::failed("the picture is WRONG", message));
    }

    let start = Instant::now();
    let bytes = place.write(&picture)?;
    let written_in = start.elapsed();
    say(format_args!(
        "picture     {}: {} x {}, {} kB",
        arguments.output.display(),
        picture.width(),
        picture.height(),
        bytes.div_ceil(1000)
    ));
    say(format_args!(
        "times       kernel ready {}, vello ready {}, attention and colours {}, drawing {}, PNG {}",
        time(weights.prepared_in),
        time(painter.ready_in),
        time(computed_in),
        time(painted_in),
        time(written_in)
    ));
    Ok(())
}
