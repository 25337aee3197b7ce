//! The frames: whole steps, steps in slices, and the same step with a dense mask.

use std::time::{Duration, Instant};

use foveal::{Dtype, Engine, wgpu};
use foveal_examples_common::{Failure, Host};

use crate::crowd::{Crowd, Sight};
use crate::times::{Times, measure};
use crate::view::{COLUMNS, ROWS, View};
use crate::world::{HEADS, World};

/// Slices are cut for so many parts of a hundred of the budget, so that most stay within it.
const CUT: u32 = 70;
/// Frames in slices are no fewer, as one step alone takes many.
const FEWEST: usize = 24;
/// How often a part is measured by itself, after a first time that warms up.
const TURNS: usize = 5;

/// Which frames are on the sheet, the first being frame 1: as far apart as can be.
pub(crate) fn shown(frames: usize) -> Vec<usize> {
    let pictures = (COLUMNS * ROWS) as usize;
    (0..pictures).map(|index| 1 + index * (frames - 1) / (pictures - 1)).collect()
}

/// Frames of a whole step each: one encoder, one submission.
pub(crate) fn play(host: &Host, crowd: &mut Crowd, view: &View, frames: usize) -> Result<Times, Failure> {
    let shown = shown(frames);
    let mut times = Times::default();
    for frame in 1..=frames {
        let start = Instant::now();
        #[expect(clippy::cast_precision_loss, reason = "frames")]
        crowd.set_time(&host.queue, frame as f32, 0.0);
        let mut encoder = new_encoder(host);
        crowd.encode_step(&mut encoder);
        view.encode(&mut encoder);
        for (index, _) in (0..).zip(&shown).filter(|&(_, &at)| at == frame) {
            view.encode_picture(&mut encoder, index);
        }
        host.submit(encoder, "a frame")?;
        times.push(start.elapsed());
    }
    Ok(times)
}

/// Times of a frame's parts, each measured by itself.
#[derive(Clone, Debug)]
pub(crate) struct Parts {
    pub(crate) attention: Duration,
    /// Sorting and listing.
    pub(crate) before: Duration,
    pub(crate) drawing: Duration,
}

pub(crate) fn parts(host: &Host, crowd: &Crowd, view: &View) -> Result<Parts, Failure> {
    let mut times: [Times; 3] = Default::default();
    for turn in 0..=TURNS {
        let [attention, before, drawing] = &mut times;
        let taken = [
            measure(host, |encoder| crowd.encode_attention(encoder))?,
            measure(host, |encoder| crowd.encode_before(encoder))?,
            measure(host, |encoder| view.encode(encoder))?,
        ];
        for (times, time) in [attention, before, drawing].into_iter().zip(taken).filter(|_| turn > 0) {
            times.push(time);
        }
    }
    let [attention, before, drawing] = times.map(|times| times.median());
    Ok(Parts { attention, before, drawing })
}

/// How frames went that had room for a slice of attention each.
#[derive(Clone, Debug)]
pub(crate) struct Sliced {
    pub(crate) budget: Duration,
    pub(crate) slices: Times,
    pub(crate) frames: Times,
    /// Steps of the simulation that were finished meanwhile.
    pub(crate) steps: usize,
    /// Slices that stayed within the budget.
    pub(crate) kept: usize,
}

/// About so many frames of which each has a slice of attention: steps take several frames, and agents glide in between.
///
/// Here a slice is a submission of its own, because it is to be measured and clocks of devices that are a CPU cannot be
/// believed. Elsewhere it goes into the frame's encoder, between timestamps ([`foveal::Job::encode_in_pass`]).
pub(crate) async fn play_in_slices(
    host: &Host,
    crowd: &mut Crowd,
    view: &View,
    [frames, played]: [usize; 2],
    budget: Duration,
) -> Result<Sliced, Failure> {
    let mut slices = crowd.bound.slices(budget * CUT / 100).await?;
    // Measured on the crowd as it is: how long a list is, and so a workgroup's time, changes slowly.
    slices.calibrate().await?;
    let mut job = slices.start().await?;
    let mut sliced = Sliced { budget, slices: Times::default(), frames: Times::default(), steps: 0, kept: 0 };
    let min = frames.max(FEWEST);
    let mut encoder = new_encoder(host);
    crowd.encode_before(&mut encoder);
    host.submit(encoder, "sorting")?;
    let mut finished = false;
    while sliced.frames.len() < min || !finished {
        let start = Instant::now();
        let mut encoder = new_encoder(host);
        let progress = job.encode(&mut encoder);
        let submitted = Instant::now();
        host.submit(encoder, "a slice")?;
        let took = submitted.elapsed();
        job.took(took);
        sliced.slices.push(took);

        finished = progress.finished;
        sliced.steps += usize::from(finished);
        #[expect(
            clippy::cast_precision_loss,
            clippy::cast_possible_truncation,
            reason = "frames, and a share"
        )]
        crowd.set_time(
            &host.queue,
            (played + sliced.steps) as f32,
            if finished { 0.0 } else { progress.done as f32 },
        );
        let mut encoder = new_encoder(host);
        if finished {
            crowd.encode_after(&mut encoder);
        }
        view.encode(&mut encoder);
        if finished && sliced.frames.len() + 1 < min {
            // The next step, of which the next frame has the first slice.
            crowd.encode_before(&mut encoder);
            job.restart();
        }
        host.submit(encoder, "a frame")?;
        sliced.frames.push(start.elapsed());
    }
    sliced.kept = sliced.slices.within(budget);
    Ok(sliced)
}

/// Whether attention in slices left, bit for bit, what it leaves as a whole.
pub(crate) async fn same_as_whole(host: &Host, engine: &Engine, crowd: &Crowd) -> Result<(), Failure> {
    let shape = [HEADS, crowd.world.agents(), crate::crowd::VALUE];
    let in_slices = engine.read_back(&crowd.buffers.o, &shape, Dtype::F32).await?;
    let mut encoder = new_encoder(host);
    encoder.clear_buffer(&crowd.buffers.o, 0, None);
    crowd.encode_attention(&mut encoder);
    host.submit(encoder, "attention as a whole")?;
    let whole = engine.read_back(&crowd.buffers.o, &shape, Dtype::F32).await?;
    if in_slices.to_bytes(Dtype::F32) == whole.to_bytes(Dtype::F32) {
        return Ok(());
    }
    Err(Failure::failed("attention in slices is WRONG", "it differs from the same attention as a whole"))
}

/// The same step with a dense mask, with a quarter of the agents.
#[derive(Clone, Debug)]
pub(crate) struct Dense {
    pub(crate) agents: usize,
    pub(crate) step: Duration,
    pub(crate) attention: Duration,
    /// The estimate for a step with all agents: attention by their square, the rest by their number.
    pub(crate) scaled: Duration,
    /// The time with all of them and with lists.
    pub(crate) listed: Duration,
}

pub(crate) async fn dense(host: &Host, engine: &Engine, all: &Crowd) -> Result<Dense, Failure> {
    let agents = all.world.agents() / 4;
    let count = u32::try_from(agents).unwrap_or(u32::MAX);
    let crowd = Crowd::new(engine, World::new(count, 1, 1), Sight::Everybody).await?;
    let mut times: [Times; 3] = Default::default();
    // In turns, so that what else the machine does slows all of them down.
    for turn in 0..=TURNS {
        let [step, attention, listed] = &mut times;
        let taken = [
            measure(host, |encoder| crowd.encode_step(encoder))?,
            measure(host, |encoder| crowd.encode_attention(encoder))?,
            measure(host, |encoder| all.encode_step(encoder))?,
        ];
        for (times, time) in [step, attention, listed].into_iter().zip(taken).filter(|_| turn > 0) {
            times.push(time);
        }
    }
    let [step, attention, listed] = times.map(|times| times.median());
    #[expect(clippy::cast_precision_loss, reason = "agents")]
    let more = all.world.agents() as f64 / agents as f64;
    let scaled = attention.mul_f64(more * more) + step.saturating_sub(attention).mul_f64(more);
    Ok(Dense { agents, step, attention, scaled, listed })
}

fn new_encoder(host: &Host) -> wgpu::CommandEncoder {
    host.device.create_command_encoder(&wgpu::CommandEncoderDescriptor::default())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pictures_are_of_the_first_frame_and_the_last_and_of_some_between() {
        assert_eq!(shown(300), [1, 60, 120, 180, 240, 300]);
        assert_eq!(shown(30), [1, 6, 12, 18, 24, 30]);
        assert_eq!(shown(6), [1, 2, 3, 4, 5, 6]);
        assert_eq!(shown(1), [1; 6]);
    }
}
