//! Cuts a program into parts and counts what is in them.

use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};

use crate::assembly::{Class, Instruction, parse};
use crate::branches::skipped;
use crate::flow::{Loop, innermost, loops};

/// Multiply-adds from which a part in a loop counts as hot.
pub const HOT_FMAS: u32 = 8;

/// Share of the instructions from which it does: a softmax over many rows has some multiply-adds, too.
pub const HOT_SHARE: f64 = 0.1;

/// Instructions of a stretch of code by class. All numbers are of one turn of one wave.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Counts {
    /// Every instruction, waits and branches included.
    pub instructions: u32,
    /// Instructions that do at least one multiply-add.
    pub fma_instructions: u32,
    /// Multiply-adds a lane does: packed and dual-issue instructions do two.
    pub fmas: u32,
    /// Instructions of two operations (VOPD), of any kind.
    pub dual: u32,
    /// Exponentials, reciprocals, roots: a quarter of the rate.
    pub transcendental: u32,
    /// Integer multiplication and 64-bit arithmetic: a quarter of the rate.
    pub slow_valu: u32,
    /// Vector instructions that are none of the above.
    pub valu: u32,
    /// Mnemonics of `transcendental`, `slow_valu` and `valu`.
    pub valu_mnemonics: BTreeMap<String, u32>,
    /// Workgroup memory reads by bytes a lane.
    pub lds_reads: BTreeMap<u32, u32>,
    /// Workgroup memory writes by bytes a lane.
    pub lds_writes: BTreeMap<u32, u32>,
    /// Permutations and atomics in the workgroup memory's pipe by bytes a lane.
    pub lds_other: BTreeMap<u32, u32>,
    /// Vector memory loads by bytes a lane.
    pub vmem_loads: BTreeMap<u32, u32>,
    /// Vector memory stores by bytes a lane.
    pub vmem_stores: BTreeMap<u32, u32>,
    /// Scalar arithmetic.
    pub salu: u32,
    /// Scalar memory.
    pub smem: u32,
    /// Branches.
    pub branches: u32,
    /// Barriers.
    pub barriers: u32,
    /// Waits, no-ops and hints.
    pub waits: u32,
    /// Instructions of unknown classes.
    pub unknown: u32,
}

impl Counts {
    /// Adds one instruction.
    pub fn add(&mut self, instruction: &Instruction) {
        self.instructions += 1;
        self.dual += u32::from(instruction.second.is_some());
        let mut vector = || *self.valu_mnemonics.entry(instruction.mnemonic.clone()).or_default() += 1;
        match instruction.class() {
            Class::Fma(n) => {
                self.fma_instructions += 1;
                self.fmas += n;
            }
            Class::Transcendental => {
                vector();
                self.transcendental += 1;
            }
            Class::SlowValu => {
                vector();
                self.slow_valu += 1;
            }
            Class::Valu => {
                vector();
                self.valu += 1;
            }
            Class::LdsRead(bytes) => *self.lds_reads.entry(bytes).or_default() += 1,
            Class::LdsWrite(bytes) => *self.lds_writes.entry(bytes).or_default() += 1,
            Class::LdsOther(bytes) => *self.lds_other.entry(bytes).or_default() += 1,
            Class::VmemLoad(bytes) => *self.vmem_loads.entry(bytes).or_default() += 1,
            Class::VmemStore(bytes) => *self.vmem_stores.entry(bytes).or_default() += 1,
            Class::Salu => self.salu += 1,
            Class::Smem => self.smem += 1,
            Class::Branch => self.branches += 1,
            Class::Barrier => self.barriers += 1,
            Class::Wait => self.waits += 1,
            Class::Unknown => self.unknown += 1,
        }
    }

    /// Multiply-add instructions of all instructions, 0 to 1.
    pub fn fma_share(&self) -> f64 {
        ratio(self.fma_instructions, self.instructions)
    }

    /// The same with waits, no-ops and hints left out: what another compiler's scheduling cannot change.
    pub fn fma_share_without_waits(&self) -> f64 {
        ratio(self.fma_instructions, self.instructions - self.waits)
    }

    /// Bytes a lane moves through workgroup memory.
    pub fn lds_bytes(&self) -> u32 {
        [&self.lds_reads, &self.lds_writes, &self.lds_other].into_iter().map(bytes).sum()
    }

    /// Bytes a lane requests from or sends to vector memory.
    pub fn vmem_bytes(&self) -> u32 {
        bytes(&self.vmem_loads) + bytes(&self.vmem_stores)
    }
}

fn bytes(by_width: &BTreeMap<u32, u32>) -> u32 {
    by_width.iter().map(|(width, count)| width * count).sum()
}

fn ratio(part: u32, whole: u32) -> f64 {
    if whole == 0 { 0.0 } else { f64::from(part) / f64::from(whole) }
}

/// A maximal run of code inside one loop (inner loops excluded) without a barrier in it. The parts of a program do not
/// overlap and cover all of it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Part {
    /// Position in the program.
    pub index: usize,
    /// Number of the loop whose own code this is, in order of address; `None` outside of loops.
    pub in_loop: Option<usize>,
    /// The loops around this part, outermost first, `in_loop` last.
    pub path: Vec<usize>,
    /// Whether `in_loop` has no loop inside.
    pub innermost: bool,
    /// First and last block label.
    pub labels: (String, String),
    /// Its instructions, both sides of every `if`/`else` included.
    pub counts: Counts,
    /// Instructions of a wave whose lanes agree: of every `if`/`else` the longer side only. The model's input.
    pub taken: Counts,
}

impl Part {
    /// Code in a loop with [`HOT_FMAS`] multiply-adds or more that are [`HOT_SHARE`] of its instructions or more.
    pub fn hot(&self) -> bool {
        self.in_loop.is_some() && self.counts.fmas >= HOT_FMAS && self.counts.fma_share() >= HOT_SHARE
    }
}

/// Parses assembly text and cuts it into parts, in order of address.
///
/// The compiler drops the barriers of a workgroup that is a single wave. In a program without any barrier instruction,
/// a workgroup memory read that follows a write starts a new part instead: there the source must have had one.
pub fn analyse(assembly: &str) -> Vec<Part> {
    analyse_without(assembly, &[])
}

/// As [`analyse`], but the bodies of plain `if`s that begin with a label in `rare` do not count as [`Part::taken`]: the
/// caller knows that they hardly ever run.
pub fn analyse_without(assembly: &str, rare: &[String]) -> Vec<Part> {
    let blocks = parse(assembly);
    let loops = loops(&blocks);
    let skipped = skipped(&blocks, &loops, rare);
    let homes = innermost(blocks.len(), &loops);
    let dropped = !blocks.iter().flat_map(|b| &b.instructions).any(|i| i.class() == Class::Barrier);

    let mut parts: Vec<Part> = Vec::new();
    let mut open = false;
    let mut written = false;
    let mut last_home = None;
    for (index, (block, &home)) in blocks.iter().zip(&homes).enumerate() {
        if home != last_home {
            open = false;
        }
        last_home = home;
        for instruction in &block.instructions {
            let class = instruction.class();
            if dropped && written && matches!(class, Class::LdsRead(_)) {
                open = false;
            }
            if !open {
                parts.push(Part::start(parts.len(), home, &loops, &block.label));
                written = false;
            }
            written |= matches!(class, Class::LdsWrite(_));
            open = class != Class::Barrier;
            if let Some(part) = parts.last_mut() {
                part.labels.1.clone_from(&block.label);
                part.counts.add(instruction);
                if !skipped.contains(&index) {
                    part.taken.add(instruction);
                }
            }
        }
    }
    parts
}

impl Part {
    fn start(index: usize, home: Option<usize>, loops: &[Loop], label: &str) -> Self {
        let mut path = Vec::new();
        let mut up = home;
        while let Some(l) = up {
            path.insert(0, l);
            up = loops[l].parent;
        }
        Self {
            index,
            in_loop: home,
            path,
            innermost: home.is_some_and(|l| loops.iter().all(|other| other.parent != Some(l))),
            labels: (label.to_owned(), label.to_owned()),
            counts: Counts::default(),
            taken: Counts::default(),
        }
    }
}

/// How often every part runs for one key tile, as pairs of part index and count.
///
/// The key loop is the outermost loop with the most multiply-adds. Its own code runs once; code in a loop inside runs as
/// often as `turns` (loop number, turns each time the loop is entered) says, 1 where it says nothing. Parts outside of
/// the key loop are left out. The numbers of turns come from the caller: the assembly does not tell them.
pub fn per_tile(parts: &[Part], turns: &[(usize, f64)]) -> Vec<(usize, f64)> {
    let Some(key_loop) = key_loop(parts) else { return Vec::new() };
    let of = |number: &usize| turns.iter().find(|(l, _)| l == number).map_or(1.0, |&(_, count)| count);
    parts
        .iter()
        .filter(|p| p.path.first() == Some(&key_loop))
        .map(|p| (p.index, p.path.iter().skip(1).map(of).product()))
        .collect()
}

/// Numbers of the loops inside the key loop: [`per_tile`] wants their turns.
pub fn inner_loops(parts: &[Part]) -> BTreeSet<usize> {
    let key_loop = key_loop(parts);
    parts
        .iter()
        .filter(|p| p.path.first().copied() == key_loop)
        .flat_map(|p| p.path.iter().skip(1))
        .copied()
        .collect()
}

pub(crate) fn key_loop(parts: &[Part]) -> Option<usize> {
    let mut fmas: BTreeMap<usize, u32> = BTreeMap::new();
    for part in parts {
        if let Some(&outer) = part.path.first() {
            *fmas.entry(outer).or_default() += part.counts.fmas;
        }
    }
    fmas.into_iter().filter(|&(_, n)| n > 0).max_by_key(|&(_, n)| n).map(|(outer, _)| outer)
}
