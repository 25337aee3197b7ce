//! The recurrence a chunk of rows at a time: what kernels by chunk compute, on the CPU.
//!
//! With `G(i)` the sum of the first i gates of a chunk, in log2, row r reads at *boundary* `r + 1` (after its own gate) or r
//! (before it), and what row j writes is decayed from boundary `j + 1`. So every decay is `2^(G(to) - G(from))`, from <= to:
//!
//! ```text
//! A_rj = sum_d q_rd k_jd 2^(G(r + 1) - G(j + 1))     j <= r
//! M_rj = sum_d x_rd k_jd 2^(G(r + 1) - G(j + 1))     j < r
//! U    = (I + M)^-1 (Y - X2^G S)                     what rows write, corrected by what the state holds and by each other
//! O    = Q2^G S + A U                                S' = 2^G(C) S + (K 2^(G(C) - G))^T U
//! ```
//!
//! Yang et al. 2024 (DeltaNet, equations 8 to 11; Gated Delta Networks, section 3.3), Moonshot AI 2025 (KDA, section 3).

use super::real::{Matrix, Real, dot};

/// Rows of a block on a matrix's diagonal, where vector gates are taken pair by pair.
const BLOCK: usize = 16;

/// How decays between rows are had.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Decays {
    /// Sums of the gates in between: terms of one sign.
    Sums,
    /// Differences of cumulative sums: one subtraction, which cancels.
    Differences,
    /// The same with sums held as a whole number and a rest below one: the whole numbers' difference is exact.
    Parts,
}

/// Log decays of rows, in log2.
#[derive(Clone, Debug)]
pub(crate) struct Gates<R> {
    /// `[rows, 1 or K]`; no columns if there is no gate.
    pub(crate) by_row: Matrix<R>,
    pub(crate) decays: Decays,
}

impl<R: Real> Gates<R> {
    fn exponent(&self, from: usize, to: usize, channel: usize) -> R {
        let column = channel % self.by_row.width;
        let sum = |rows: std::ops::Range<usize>| rows.map(|row| self.by_row.at(row, column)).sum::<R>();
        match self.decays {
            Decays::Sums => sum(from..to),
            Decays::Differences => sum(0..to) - sum(0..from),
            Decays::Parts => {
                let (first, last) = (self.parts(from, column), self.parts(to, column));
                let exponent = (last.0 - first.0) + (last.1 - first.1);
                // Rests are rounded: a decay of almost nothing may come out as growth by as little.
                if exponent > R::default() { R::default() } else { exponent }
            }
        }
    }

    /// The sum of the first gates as a whole number and what is left of it.
    fn parts(&self, count: usize, column: usize) -> (R, R) {
        let (mut whole, mut rest) = (R::default(), R::default());
        for row in 0..count {
            let gate = self.by_row.at(row, column);
            rest += gate - gate.floor();
            whole += gate.floor() + rest.floor();
            rest = rest - rest.floor();
        }
        (whole, rest)
    }

    /// The share, at boundary `to`, of a channel's content at boundary `from`.
    pub(crate) fn decay(&self, from: usize, to: usize, channel: usize) -> R {
        assert!(from <= to, "a decay goes back in time, from boundary {from} to {to}");
        if self.by_row.width == 0 {
            return R::of(1.0);
        }
        let exponent = self.exponent(from, to, channel);
        assert!(exponent <= R::default(), "a decay grows: 2^{}", exponent.wide());
        exponent.power_of_two()
    }

    fn is_vector(&self) -> bool {
        self.by_row.width > 1
    }
}

/// Rows' erasing, before they write.
#[derive(Clone, Debug)]
pub(crate) enum Erase<R> {
    Nothing,
    /// The delta rules: `x`, times beta, reads the decayed state; k writes the difference.
    Read(Matrix<R>),
    /// Diagonal plus low rank: a reads the state before it decays, `-b` writes.
    LowRank {
        a: Matrix<R>,
        minus_b: Matrix<R>,
    },
}

/// A head's rows: all of them, or a chunk.
#[derive(Clone, Debug)]
pub(crate) struct Rows<R> {
    /// Scaled; zero where a row has no output.
    pub(crate) q: Matrix<R>,
    pub(crate) k: Matrix<R>,
    /// Rows to be written: v, times beta in the delta rules.
    pub(crate) y: Matrix<R>,
    pub(crate) erase: Erase<R>,
    pub(crate) gates: Gates<R>,
    /// If outputs read before the gate and the write: the factor of a row's own key.
    pub(crate) bonus: Option<Vec<R>>,
}

/// Products of rows that are decayed between them: `left_r . right_j 2^(G(read(r)) - G(j + 1))` for `j < r`, and for `j = r`
/// too if `own`.
fn scores<R: Real>(
    left: &Matrix<R>,
    right: &Matrix<R>,
    gates: &Gates<R>,
    read: fn(usize) -> usize,
    own: bool,
) -> Matrix<R> {
    let width = left.width;
    let mut scores = Matrix::zero(left.height, right.height);
    for first in (0..left.height).step_by(BLOCK) {
        let block = first..(first + BLOCK).min(left.height);
        // Blocks to the left are products of matrices: both sides are decayed to the boundary before the block's first row.
        // (Were it the one after it, rows that read before their gate would grow by that gate.)
        let blocked = if gates.is_vector() { first } else { 0 };
        let far = Matrix::of(blocked, width, |j, d| right.at(j, d) * gates.decay(j + 1, first, d));
        for r in block {
            let near = left.row(r).iter().enumerate();
            let near: Vec<R> = near.map(|(d, &x)| x * gates.decay(first, read(r), d)).collect();
            for j in 0..blocked {
                scores.put(r, j, dot(&near, far.row(j)));
            }
            for j in blocked..r + usize::from(own) {
                let score = if gates.is_vector() {
                    let pairs = left.row(r).iter().zip(right.row(j)).enumerate();
                    pairs.map(|(d, (&x, &y))| x * y * gates.decay(j + 1, read(r), d)).sum()
                } else {
                    dot(left.row(r), right.row(j)) * gates.decay(j + 1, read(r), 0)
                };
                scores.put(r, j, score);
            }
        }
    }
    scores
}

/// `(I + M)^-1` for M with nothing on or above its diagonal, by forward substitution.
pub(crate) fn inverse<R: Real>(m: &Matrix<R>) -> Matrix<R> {
    let size = m.height;
    let mut inverse = Matrix::of(size, size, |r, c| R::of(if r == c { 1.0 } else { 0.0 }));
    for r in 1..size {
        for c in 0..r {
            let sum: R = (c..r).map(|j| m.at(r, j) * inverse.at(j, c)).sum();
            inverse.put(r, c, -sum);
        }
    }
    inverse
}

fn after(row: usize) -> usize {
    row + 1
}

fn before(row: usize) -> usize {
    row
}

/// Effect of a chunk on any state: `S' = P S + H`.
#[derive(Clone, Debug)]
pub(crate) struct Affine<R> {
    pub(crate) p: Matrix<R>,
    pub(crate) h: Matrix<R>,
}

impl<R: Real> Affine<R> {
    /// `self` after `first`.
    pub(crate) fn after(&self, first: &Self) -> Self {
        Self { p: self.p.times(&first.p), h: self.p.times(&first.h).plus(&self.h) }
    }
}

/// The delta rules' change of a state, parted: `U = U0 - W S`. Neither part depends on a state.
#[derive(Clone, Debug)]
pub(crate) struct Parted<R> {
    pub(crate) w: Matrix<R>,
    pub(crate) u0: Matrix<R>,
}

impl<R: Real> Rows<R> {
    pub(crate) fn len(&self) -> usize {
        self.k.height
    }

    /// Some of the rows.
    pub(crate) fn part(&self, range: std::ops::Range<usize>) -> Self {
        let of = |matrix: &Matrix<R>| matrix.rows(range.clone());
        Self {
            q: of(&self.q),
            k: of(&self.k),
            y: of(&self.y),
            erase: match &self.erase {
                Erase::Nothing => Erase::Nothing,
                Erase::Read(x) => Erase::Read(of(x)),
                Erase::LowRank { a, minus_b } => Erase::LowRank { a: of(a), minus_b: of(minus_b) },
            },
            gates: Gates { by_row: of(&self.gates.by_row), decays: self.gates.decays },
            bonus: self.bonus.clone(),
        }
    }

    /// Rows that read the state the chunk begins from.
    fn reading_start(&self, rows: &Matrix<R>, read: fn(usize) -> usize) -> Matrix<R> {
        rows.map(|r, d, x| x * self.gates.decay(0, read(r), d))
    }

    /// Rows whose writes the chunk ends with.
    fn reaching_end(&self, rows: &Matrix<R>) -> Matrix<R> {
        rows.map(|r, d, x| x * self.gates.decay(r + 1, self.len(), d))
    }

    fn decayed(&self, state: &Matrix<R>) -> Matrix<R> {
        state.map(|d, _, x| x * self.gates.decay(0, self.len(), d))
    }

    /// The inverse that the corrections take: `(I + M)^-1`.
    fn correction(&self) -> Option<Matrix<R>> {
        let m = match &self.erase {
            Erase::Nothing => return None,
            Erase::Read(x) => scores(x, &self.k, &self.gates, after, false),
            Erase::LowRank { a, minus_b } => scores(a, minus_b, &self.gates, before, false),
        };
        Some(inverse(&m))
    }

    /// W and U0 of the delta rules.
    pub(crate) fn parted(&self) -> Option<Parted<R>> {
        let Erase::Read(x) = &self.erase else { return None };
        let t = self.correction()?;
        Some(Parted { w: t.times(&self.reading_start(x, after)), u0: t.times(&self.y) })
    }

    /// The map of states.
    pub(crate) fn affine(&self) -> Affine<R> {
        let width = self.k.width;
        let identity = Matrix::of(width, width, |r, c| R::of(if r == c { 1.0 } else { 0.0 }));
        let (gamma, k) = (self.decayed(&identity), self.reaching_end(&self.k));
        match (&self.erase, self.correction()) {
            (Erase::LowRank { a, minus_b }, Some(t)) => {
                let c = self.reaching_end(minus_b);
                let own = scores(a, &self.k, &self.gates, before, false).times(&self.y);
                Affine {
                    p: gamma.minus(&c.transposed_times(&t.times(&self.reading_start(a, before)))),
                    h: k.transposed_times(&self.y).minus(&c.transposed_times(&t.times(&own))),
                }
            }
            (Erase::Read(x), Some(t)) => Affine {
                p: gamma.minus(&k.transposed_times(&t.times(&self.reading_start(x, after)))),
                h: k.transposed_times(&t.times(&self.y)),
            },
            _ => Affine { p: gamma, h: k.transposed_times(&self.y) },
        }
    }

    /// A chunk: its outputs and the state it leaves.
    pub(crate) fn chunk(&self, state: &Matrix<R>) -> (Matrix<R>, Matrix<R>) {
        let read = if self.bonus.is_some() { before } else { after };
        let mut a_k = scores(&self.q, &self.k, &self.gates, read, self.bonus.is_none());
        if let Some(bonus) = &self.bonus {
            for r in 0..self.len() {
                let factors = self.q.row(r).iter().zip(bonus).zip(self.k.row(r));
                a_k.put(r, r, factors.map(|((&q, &u), &k)| q * u * k).sum());
            }
        }
        let read_state = self.reading_start(&self.q, read).times(state);
        let (k, left) = (self.reaching_end(&self.k), self.decayed(state));
        match (&self.erase, self.correction()) {
            (Erase::LowRank { a, minus_b }, Some(t)) => {
                let own = scores(a, &self.k, &self.gates, before, false).times(&self.y);
                let z = t.times(&self.reading_start(a, before).times(state).plus(&own));
                let a_c = scores(&self.q, minus_b, &self.gates, after, true);
                let o = read_state.plus(&a_k.times(&self.y)).minus(&a_c.times(&z));
                let written =
                    k.transposed_times(&self.y).minus(&self.reaching_end(minus_b).transposed_times(&z));
                (o, left.plus(&written))
            }
            (Erase::Read(x), Some(t)) => {
                let u = t.times(&self.y.minus(&self.reading_start(x, after).times(state)));
                (read_state.plus(&a_k.times(&u)), left.plus(&k.transposed_times(&u)))
            }
            _ => (read_state.plus(&a_k.times(&self.y)), left.plus(&k.transposed_times(&self.y))),
        }
    }

    /// All rows, `len` at a time.
    pub(crate) fn by_chunks(&self, len: usize, mut state: Matrix<R>) -> (Matrix<R>, Matrix<R>) {
        let mut o = Matrix::zero(self.len(), self.y.width);
        for first in (0..self.len()).step_by(len) {
            let part = self.part(first..(first + len).min(self.len()));
            let (outputs, next) = part.chunk(&state);
            for r in 0..part.len() {
                for c in 0..outputs.width {
                    o.put(first + r, c, outputs.at(r, c));
                }
            }
            state = next;
        }
        (o, state)
    }
}
