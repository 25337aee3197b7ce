//! How often the loops inside the key loop turn. The assembly does not say; the plan's tunables do.

use foveal_shaders::{Library, Request, Value};

use crate::parts::{Part, key_loop};

/// A stretch of a key tile with multiply-adds: the scores, or the values.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Section {
    /// Multiply-adds of one lane in one turn of the key loop.
    pub fmas: f64,
    /// Turns of the outer one of two nested loops, if the source has two.
    pub outer: f64,
}

/// Work of a turn of the key loop, from the source and the tunables.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Work {
    /// In the order of the source.
    pub sections: Vec<Section>,
    /// Workgroup memory reads of a loop without multiply-adds, if the source has one: a reduction over threads.
    pub reads: f64,
}

/// The work of a kernel this tool knows; `None` for others, whose whole-kernel share is then left out.
pub fn work(request: &Request) -> Option<Work> {
    let defaults = Library::builtin().tunables_of(request).ok()?;
    let of = |name: &str| {
        let set = request.tunables.iter().find(|(n, _)| n == name).map(|(_, value)| *value);
        match set.or_else(|| defaults.iter().find(|t| t.name == name).map(|t| t.default)) {
            Some(Value::U32(value)) => Some(value),
            _ => None,
        }
    };
    let section = |fmas: u32, outer: u32| Section { fmas: f64::from(fmas), outer: f64::from(outer) };
    let head = of("HEAD_DIM")?;
    match request.module.as_str() {
        "attention/tiled" => {
            let value = of("VALUE_DIM")?;
            let (lanes, slice, key_slice) = (of("LANES")?, of("SLICE")?, of("KEY_SLICE")?);
            let keys = 4 * lanes;
            // A thread has 4 x 4 scores, and 4 rows of `vectors` vectors of the output.
            let (slices, vectors) = (head.div_ceil(slice), value.div_ceil(keys));
            Some(Work {
                sections: vec![
                    section(16 * slice * slices, slices),
                    section(16 * vectors * keys, keys / key_slice),
                ],
                reads: f64::from(lanes),
            })
        }
        // The first of every four products is a multiplication, the sum with the score an addition.
        "attention/naive" => {
            let value = of("VALUE_DIM")?;
            Some(Work { sections: vec![section(head / 4 * 3, 1), section(value, 1)], reads: 0.0 })
        }
        // A turn is a chunk: what is erased of it, and for each 64 channels what decays of the state, if there are gates, and
        // what is added.
        "linear_attention/chunk_delta" => {
            let (slice, chunk, gate) = (of("SLICE")?, of("CHUNK")?, of("GATE")?);
            let mut sections = vec![section(16 * head.next_multiple_of(slice), 1)];
            for _ in 0..head.div_ceil(64) {
                sections.extend((gate > 0).then(|| section(16, 1)));
                sections.push(section(16 * chunk, 1));
            }
            Some(Work { sections, reads: 0.0 })
        }
        // Nothing nests in their loops over slices.
        "linear_attention/chunk_state" | "linear_attention/chunk_apply" | "linear_attention/chunk_output" => {
            Some(Work::default())
        }
        _ => None,
    }
}

/// Turns of every loop inside the key loop, as [`per_tile`] takes them.
///
/// Loops with hot parts are matched with sections in the order of both. How often a loop turns follows from the
/// multiply-adds it holds, so that it does not matter how far the compiler unrolled it.
///
/// [`per_tile`]: crate::per_tile
///
/// # Errors
/// A sentence where the code does not have the shape that the source promises.
pub fn turns(parts: &[Part], work: &Work) -> Result<Vec<(usize, f64)>, String> {
    let key_loop = key_loop(parts).ok_or("no loop has multiply-adds")?;
    let inside: Vec<&Part> = parts.iter().filter(|p| p.path.first() == Some(&key_loop)).collect();
    let mut turns = Vec::new();

    // Neighbouring hot parts of one loop (or of the key loop itself) belong together.
    let mut units: Vec<(Option<usize>, Vec<&Part>)> = Vec::new();
    for part in inside.iter().filter(|p| p.hot()) {
        let nest = part.path.get(1).copied();
        match units.last_mut() {
            Some((last, hot)) if *last == nest => hot.push(part),
            _ => units.push((nest, vec![part])),
        }
    }
    if units.iter().any(|(nest, _)| nest.is_some()) {
        if units.len() != work.sections.len() {
            return Err(format!("{} loops for {} sections", units.len(), work.sections.len()));
        }
        for ((nest, hot), section) in units.iter().zip(&work.sections) {
            let Some(nest) = *nest else { continue };
            let fmas: f64 = hot.iter().map(|p| f64::from(p.counts.fmas)).sum();
            match hot[0].path[..] {
                [_, _] => turns.push((nest, whole_number(section.fmas / fmas)?)),
                [_, _, inner] => {
                    turns.push((nest, section.outer));
                    turns.push((inner, whole_number(section.fmas / section.outer / fmas)?));
                }
                _ => return Err("loops nest deeper than the source's".to_owned()),
            }
        }
    }

    // The remaining loops reduce over threads.
    for part in inside {
        let Some(&own) = part.path.get(1) else { continue };
        if units.iter().any(|(nest, _)| *nest == Some(own)) || turns.iter().any(|(l, _)| *l == own) {
            continue;
        }
        let reads: u32 = part.counts.lds_reads.values().sum();
        if reads > 0 {
            turns.push((own, whole_number(work.reads / f64::from(reads))?));
        }
    }
    Ok(turns)
}

fn whole_number(turns: f64) -> Result<f64, String> {
    let rounded = turns.round();
    if rounded >= 1.0 && (turns - rounded).abs() < 0.01 * rounded {
        Ok(rounded)
    } else {
        Err(format!("a loop would turn {turns:.2} times"))
    }
}
