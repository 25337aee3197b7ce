//! An example to copy from: a game in which attention is a part of every frame.
//!
//! Twenty thousand agents steer by attention to their neighbours. Every frame is one encoder of the host's: its compute
//! passes sort the agents and list which blocks of them are close to which, Foveal's kernel reads those lists on the device,
//! a pass moves the agents, and the host's render pipeline draws them from the same buffer.

mod check;
mod crowd;
mod game;
mod passes;
mod report;
mod sheet;
mod times;
mod view;
mod world;

use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

use clap::Parser;
use foveal::Engine;
use foveal_examples_common::{Failure, Host, Place, exit, thousands};

use crate::crowd::{Crowd, Sight};
use crate::report::Report;
use crate::sheet::Captions;
use crate::view::View;
use crate::world::World;

/// Room in a list of blocks.
const MOST: u32 = 48;
/// Of the frames as a whole, the share that is played again in slices.
const AGAIN: usize = 3;

/// A crowd that steers by attention to its neighbours, computed by Foveal and drawn by the host in one encoder a frame.
///
/// The environment variable `FOVEAL_ADAPTER` chooses the adapter by a part of its name, `WGPU_BACKEND` the API. Exit
/// codes: 0 the sheet is written and the crowd is right, 1 it is wrong or a step failed, 2 usage or no device.
#[derive(Parser)]
#[command(version)]
struct Arguments {
    /// How many agents there are.
    #[arg(long, value_name = "N", default_value_t = 20_000, value_parser = clap::value_parser!(u32).range(256..=200_000))]
    agents: u32,
    /// How many frames are played.
    #[arg(long, value_name = "N", default_value_t = 300, value_parser = clap::value_parser!(u32).range(1..=100_000))]
    frames: u32,
    /// Milliseconds that attention may take of a frame where it is spread over several.
    #[arg(long, value_name = "MS", default_value = "4", value_parser = budget)]
    budget: Duration,
    /// Width of each picture in pixels.
    #[arg(long, value_name = "PIXELS", default_value_t = 640, value_parser = clap::value_parser!(u32).range(160..=2048))]
    size: u32,
    /// Where the sheet of six frames is written, as PNG.
    #[arg(long, short, value_name = "FILE", default_value = "crowd.png")]
    output: PathBuf,
    /// Prints the figures as JSON.
    #[arg(long)]
    json: bool,
}

/// Reads a budget.
fn budget(text: &str) -> Result<Duration, String> {
    let budget = text.parse().ok().filter(|budget| (0.01..=10_000.0).contains(budget));
    budget
        .map(|budget: f64| Duration::from_secs_f64(budget / 1e3))
        .ok_or_else(|| "expected milliseconds, from 0.01 to 10000".to_owned())
}

fn main() -> ExitCode {
    exit(pollster::block_on(run(&Arguments::parse())))
}

async fn run(arguments: &Arguments) -> Result<(), Failure> {
    let place = Place::find(&arguments.output)?;
    let host = Host::open("crowd", Engine::desired_limits).await?;
    // Clones of a device are the same device.
    let engine = Engine::from_device(host.device.clone(), host.queue.clone())?;
    let world = World::new(arguments.agents, MOST, arguments.size);
    let mut crowd = Crowd::new(&engine, world, Sight::Listed).await?;
    host.check("the host's passes")?;
    let size = view::size_of(&host.device, arguments.size)?;
    let view = View::new(&host.device, &world, &crowd.buffers, size);
    host.check("the host's pipelines")?;
    let mut report = Report::new(arguments.json);
    report.begin(&host, &crowd);

    let frames = arguments.frames as usize;
    let times = game::play(&host, &mut crowd, &view, frames)?;
    let checked = check::check(&engine, &crowd).await?;
    let parts = game::parts(&host, &crowd, &view)?;
    report.played(&times, &parts, &checked);

    let again = [frames / AGAIN, frames];
    let sliced = game::play_in_slices(&host, &mut crowd, &view, again, arguments.budget).await?;
    game::same_as_whole(&host, &engine, &crowd).await?;
    report.sliced(&sliced);

    let dense = game::dense(&host, &engine, &crowd).await?;
    report.compared(&dense);

    let captions = Captions {
        title: format!("{} agents, each attends to its neighbours", thousands(world.agents())),
        note: "colour: heading".to_owned(),
        pictures: game::shown(frames).iter().map(|frame| format!("frame {frame}")).collect(),
    };
    let sheet = sheet::make(&host, &engine, &view.sheet, &captions).await?;
    let bytes = place.write(&sheet)?;
    report.written(&arguments.output, &sheet, bytes);
    report.end();
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn options_are_read() {
        <Arguments as clap::CommandFactory>::command().debug_assert();
        let parse = |line: &str| Arguments::try_parse_from(line.split(' '));
        assert_eq!(parse("crowd").unwrap().budget, Duration::from_millis(4));
        assert_eq!(parse("crowd --budget 0.5").unwrap().budget, Duration::from_micros(500));
        for wrong in ["--budget 0", "--budget nan", "--budget -1", "--frames 0", "--agents 12", "--size 1"] {
            assert!(parse(&format!("crowd {wrong}")).is_err(), "{wrong}");
        }
    }
}
