//! Whether a step was right: what the device left is read back once and held against definitions.

use foveal::{
    Dtype, Engine, HostTensor, TensorData,
    testing::{Comparison, Reference, Rows, compare},
    wgpu,
};
use foveal_examples_common::Failure;

use crate::crowd::{AGENT, Crowd, KEY, Sight, VALUE, problem};
use crate::world::{BLOCK, HEADS};

/// Rows whose attention is computed again in f64.
const ROWS: usize = 128;
/// Agents whose neighbours are looked for among all.
const SAMPLED: usize = 400;

/// Variants that were found right.
pub(crate) struct Checked {
    pub(crate) comparison: Comparison,
    pub(crate) lists: Lists,
}

/// Statistics of the lists of a step.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Lists {
    /// Blocks of a list, by head, on average.
    pub(crate) mean: [f64; HEADS],
    /// In the longest.
    pub(crate) longest: usize,
    /// Lists that were too long, and reach less far.
    pub(crate) shortened: usize,
    /// Pairs within reach that were looked for in lists.
    pub(crate) pairs: usize,
}

/// Checks the step that was last computed.
pub(crate) async fn check(engine: &Engine, crowd: &Crowd) -> Result<Checked, Failure> {
    let world = &crowd.world;
    let (agents, blocks) = (world.agents(), world.blocks());
    let buffers = &crowd.buffers;
    let read = async |buffer: &wgpu::Buffer, shape: &[usize], dtype| {
        engine.read_back(buffer, shape, dtype).await.map_err(Failure::from)
    };
    let q = read(&buffers.q, &[1, HEADS, agents, KEY], Dtype::F32).await?;
    let k = read(&buffers.k, &[1, 1, agents, KEY], Dtype::F32).await?;
    let v = read(&buffers.v, &[1, 1, agents, VALUE], Dtype::F32).await?;
    let o = read(&buffers.o, &[1, HEADS, agents, VALUE], Dtype::F32).await?;
    let counts = read(&buffers.counts, &[1, HEADS, blocks], Dtype::I32).await?;
    let indices = read(&buffers.indices, &[1, HEADS, blocks, world.most()], Dtype::I32).await?;
    let reaches = read(&buffers.reaches, &[HEADS * blocks], Dtype::F32).await?;
    let sorted = read(&buffers.sorted, &[AGENT * agents], Dtype::I32).await?;

    nobody_is_lost(&sorted, agents)?;
    let lists = Given {
        agents,
        blocks,
        max: world.most(),
        q: &q.to_f64(),
        k: &k.to_f64(),
        counts: &counts.to_f64(),
        indices: &indices.to_f64(),
        reaches: &reaches.to_f64(),
    };
    let lists = lists.check()?;

    let problem = problem(world, Sight::Listed);
    let inputs = [("q", &q), ("k", &k), ("v", &v), ("counts", &counts), ("indices", &indices)];
    let expected = problem.reference(&inputs, Rows::Sample { count: ROWS, seed: 1 })?;
    let expected = expected.iter().find(|output| output.name == "o");
    let expected = expected.ok_or_else(|| Failure::failed("the reference", "it has no output `o`"))?;
    let comparison = compare(expected, &o, problem.tolerance("o"))?;
    if !comparison.passed {
        let worst = comparison.worst.map_or_else(|| "not finite".to_owned(), |worst| worst.to_string());
        return Err(Failure::failed("attention is WRONG", worst));
    }
    Ok(Checked { comparison, lists })
}

/// Sorting keeps everybody, once.
fn nobody_is_lost(sorted: &HostTensor, agents: usize) -> Result<(), Failure> {
    let TensorData::I32(words) = sorted.data() else {
        return Err(Failure::failed("the sorted agents", "words are expected"));
    };
    let mut seen = vec![false; agents];
    for agent in words.chunks_exact(AGENT) {
        let id = usize::try_from(agent[AGENT - 1]).unwrap_or(usize::MAX);
        match seen.get_mut(id) {
            Some(seen) if !*seen => *seen = true,
            Some(_) => return Err(Failure::failed("sorting is WRONG", format!("agent {id} is there twice"))),
            None => return Err(Failure::failed("sorting is WRONG", format!("there is no agent {id}"))),
        }
    }
    Ok(())
}

/// Lists, and where the agents are that they are about.
struct Given<'a> {
    agents: usize,
    blocks: usize,
    max: usize,
    q: &'a [f64],
    k: &'a [f64],
    counts: &'a [f64],
    indices: &'a [f64],
    /// Squares of radii.
    reaches: &'a [f64],
}

impl Given<'_> {
    /// Checks that the lists are well-formed and hold all agents within reach, found by looking at all.
    fn check(&self) -> Result<Lists, Failure> {
        let wrong = |message: String| Err(Failure::failed("the lists are WRONG", message));
        let mut lists = Lists { mean: [0.0; HEADS], longest: 0, shortened: 0, pairs: 0 };
        let mut listed = vec![false; self.blocks];
        for head in 0..HEADS {
            let widest =
                self.reaches[head * self.blocks..][..self.blocks].iter().copied().fold(0.0, f64::max);
            for block in 0..self.blocks {
                let list = head * self.blocks + block;
                let Some(entries) = self.list(list) else {
                    return wrong(format!("head {head}, block {block}: {} blocks", self.counts[list]));
                };
                listed.fill(false);
                for &entry in entries {
                    match index(entry).and_then(|index| listed.get_mut(index)) {
                        Some(listed) if !*listed => *listed = true,
                        _ => {
                            return wrong(format!(
                                "head {head}, block {block}: {entry} is there twice or no block"
                            ));
                        }
                    }
                }
                #[expect(clippy::cast_precision_loss, reason = "blocks")]
                let share = entries.len() as f64 / self.blocks as f64;
                lists.mean[head] += share;
                lists.longest = lists.longest.max(entries.len());
                lists.shortened += usize::from(self.reaches[list] < widest);
                for query in self.sampled(block) {
                    for key in 0..self.agents {
                        if self.apart(head, query, key) <= self.reaches[list] {
                            if !listed[key / BLOCK] {
                                return wrong(format!(
                                    "head {head}: {query} does not see {key}, which is near"
                                ));
                            }
                            lists.pairs += 1;
                        }
                    }
                }
            }
        }
        Ok(lists)
    }

    /// The entries of a list, if it is as long as a list can be.
    fn list(&self, list: usize) -> Option<&[f64]> {
        let count = index(self.counts[list]).filter(|&count| count >= 1)?;
        self.indices[list * self.max..][..self.max].get(..count)
    }

    /// The agents of a block whose neighbours are looked for: about as many of each.
    fn sampled(&self, block: usize) -> impl Iterator<Item = usize> {
        let step = (self.agents / SAMPLED).max(1);
        let end = ((block + 1) * BLOCK).min(self.agents);
        (block * BLOCK..end).filter(move |agent| agent % step == 0)
    }

    /// The square of the distance from where a query looks to where a key is, in steps of the lattice: as q and k have it.
    fn apart(&self, head: usize, query: usize, key: usize) -> f64 {
        let q = &self.q[(head * self.agents + query) * KEY..][..KEY];
        let k = &self.k[key * KEY..][..KEY];
        // The third element of q is what the first two were multiplied with.
        let (x, y) = (q[0] / q[2] - k[0], q[1] / q[2] - k[1]);
        x * x + y * y
    }
}

#[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "checked to be whole and small")]
fn index(value: f64) -> Option<usize> {
    (value >= 0.0 && value.fract() == 0.0 && value < 1e9).then_some(value as usize)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Two blocks of agents in a row, one unit apart; lists of each head: `(first block's, second's)`.
    fn verdict(lists: [&[f64]; 2], reach: f64) -> Result<Lists, Failure> {
        let agents = 2 * BLOCK;
        let place = |agent: usize| f64::from(u32::try_from(agent).unwrap());
        let k: Vec<f64> =
            (0..agents).flat_map(|agent| [place(agent), 0.0, 0.0, 1.0, 0.0, 0.0, 0.0, 0.0]).collect();
        let q: Vec<f64> = (0..HEADS * agents)
            .flat_map(|row| [0.5 * place(row % agents), 0.0, 0.5, 0.0, 0.0, 0.0, 0.0, 0.0])
            .collect();
        let both = [lists[0], lists[1], lists[0], lists[1]];
        let counts = both.map(|list| place(list.len()));
        let indices: Vec<f64> =
            both.iter().flat_map(|list| list.iter().copied().chain([9.0; 3]).take(3)).collect();
        let reaches = [reach; 2 * HEADS];
        Given {
            agents,
            blocks: 2,
            max: 3,
            q: &q,
            k: &k,
            counts: &counts,
            indices: &indices,
            reaches: &reaches,
        }
        .check()
    }

    #[test]
    fn lists_have_to_have_all_who_are_near() {
        assert!(verdict([&[0.0, 1.0], &[1.0, 0.0]], 4.0).is_ok());
        assert!(verdict([&[0.0, 1.0], &[1.0]], 4.0).is_err(), "the last of the first block is near");
        assert!(verdict([&[0.0], &[1.0]], 0.0).is_ok(), "nobody else is that near");
    }

    #[test]
    fn lists_have_to_be_lists() {
        for wrong in [&[0.0, 0.0][..], &[0.0, 2.0], &[0.0, -1.0], &[], &[0.0, 1.0, 0.5]] {
            assert!(verdict([wrong, &[1.0, 0.0]], 4.0).is_err(), "{wrong:?}");
        }
    }

    #[test]
    fn nobody_is_there_twice() {
        let sorted = |ids: [i32; 2]| {
            let words = ids.iter().flat_map(|&id| [0, 0, 0, 0, 0, id]).collect();
            HostTensor::new(vec![2 * AGENT], TensorData::I32(words)).unwrap()
        };
        assert!(nobody_is_lost(&sorted([1, 0]), 2).is_ok());
        assert!(nobody_is_lost(&sorted([1, 1]), 2).is_err());
        assert!(nobody_is_lost(&sorted([0, 2]), 2).is_err());
    }
}
