//! Random expressions, for tests that want more than people think of.

mod masks;
mod scores;

use super::{
    Expr, ExprError, ExprKind, Sizes, Table,
    build::{Build, table, var},
};
use crate::Dtype;

/// The bound of ints, far from 2^31 so that a coarser analysis agrees.
const LARGEST: i64 = 1 << 20;

impl Expr {
    /// A random expression over `tables` within `sizes`, of about `size` operators, from every construct of the language.
    ///
    /// It binds to `tables`, never divides by zero, never leaves a table's range and overflows no int. Masks read floats
    /// only where f32 and f64 agree which side of a comparison they are on (float tables are compared with multiples of
    /// 1/4). Scores are the score, bent and moved by terms of moderate size, with no jumps in `s`, if the elements of float
    /// tables are of moderate size (at most 8, say). Int tables may hold anything.
    ///
    /// # Errors
    ///
    /// If a table's name is none ([`super::is_table_name`]), or `size` is in the thousands.
    pub fn random(
        rng: &mut fastrand::Rng,
        kind: ExprKind,
        tables: &[Table],
        sizes: &Sizes,
        size: usize,
    ) -> Result<Self, ExprError> {
        let mut source = Generator { rng, tables, sizes };
        match kind {
            ExprKind::Mask => source.mask(size).mask(),
            ExprKind::Score => source.score(size).build.score(),
        }
    }
}

struct Generator<'a> {
    rng: &'a mut fastrand::Rng,
    tables: &'a [Table],
    sizes: &'a Sizes,
}

/// An int and what it lies between.
struct Int {
    build: Build,
    low: i64,
    high: i64,
}

/// A float and what its magnitude is at most.
struct Float {
    build: Build,
    max: f64,
}

fn length(size: usize) -> i64 {
    i64::try_from(size).unwrap_or(LARGEST).min(LARGEST)
}

fn int(value: i64) -> Build {
    Build::from(i32::try_from(value).unwrap_or(i32::MAX))
}

impl Generator<'_> {
    fn constant(&mut self, low: i64, high: i64) -> Int {
        let value = self.rng.i64(low..=high.max(low));
        Int { build: int(value), low: value, high: value }
    }

    /// A multiple of 1/4.
    fn quarter(&mut self, low: f64, high: f64) -> f64 {
        low + 0.25 * ((high - low) * 4.0 * self.rng.f64()).floor()
    }

    fn variable(&mut self) -> Int {
        let Sizes { batch, q_heads, kv_heads, q_len, kv_len } = *self.sizes;
        let index = |build, size| Int { build, low: 0, high: (length(size) - 1).max(0) };
        let count = |build, size| Int { build, low: length(size), high: length(size) };
        let behind = length(kv_len) - length(q_len);
        match self.rng.u8(..14) {
            0 => index(var::b(), batch),
            1 => index(var::h(), q_heads),
            2 => index(var::g(), kv_heads),
            3..=5 => index(var::q(), q_len),
            6..=8 => index(var::k(), kv_len),
            9 => count(var::nq(), q_len),
            10 => count(var::nk(), kv_len),
            _ => Int { build: var::qp(), low: behind, high: behind + (length(q_len) - 1).max(0) },
        }
    }

    fn int(&mut self, size: usize) -> Int {
        if size <= 1 {
            return if self.rng.u8(..4) == 0 { self.constant(-8, 16) } else { self.variable() };
        }
        let x = self.int(size / 2);
        match self.rng.u8(..11) {
            0..=5 => {
                let y = self.int(size - 1 - size / 2);
                self.of_two(x, y)
            }
            6 | 7 => self.divided(x),
            8 if x.low > -LARGEST => Int { low: -x.high, high: -x.low, build: -x.build },
            8 | 9 => {
                let max = x.low.abs().max(x.high.abs());
                Int { build: x.build.abs(), low: 0, high: max }
            }
            _ => match self.rng.bool().then(|| self.int_lookup(size / 2)).flatten() {
                Some(looked_up) => looked_up,
                None => self.floored(x),
            },
        }
    }

    fn of_two(&mut self, x: Int, y: Int) -> Int {
        let corners = [x.low * y.low, x.low * y.high, x.high * y.low, x.high * y.high];
        let product = (corners.into_iter().min().unwrap_or(0), corners.into_iter().max().unwrap_or(0));
        let result = match self.rng.u8(..6) {
            0 => Int { build: x.build.clone() + y.build, low: x.low + y.low, high: x.high + y.high },
            1 | 2 => Int { build: x.build.clone() - y.build, low: x.low - y.high, high: x.high - y.low },
            3 => Int { build: x.build.clone() * y.build, low: product.0, high: product.1 },
            4 => Int { build: x.build.clone().min(y.build), low: x.low.min(y.low), high: x.high.min(y.high) },
            _ => Int { build: x.build.clone().max(y.build), low: x.low.max(y.low), high: x.high.max(y.high) },
        };
        if result.low.max(-result.high).max(result.high).max(-result.low) > LARGEST { x } else { result }
    }

    fn divided(&mut self, x: Int) -> Int {
        let mut n = self.rng.i64(-5..=16);
        if n == 0 {
            n = 7;
        }
        if self.rng.bool() {
            let (low, high) = if n > 0 { (0, n - 1) } else { (n + 1, 0) };
            return Int { build: x.build % int(n), low, high };
        }
        let max = x.low.abs().max(x.high.abs()) + 1;
        Int { build: x.build / int(n), low: -max, high: max }
    }

    /// `floor` of a float that f32 holds exactly.
    fn floored(&mut self, x: Int) -> Int {
        let offset = self.quarter(-4.0, 4.0);
        let max = x.low.abs().max(x.high.abs()) + 5;
        Int { build: (x.build * 0.5 + offset).floor(), low: -max, high: max }
    }

    fn clamped(&mut self, x: Build, low: i64, high: i64) -> Int {
        let high = high.max(low);
        Int { build: x.clamp(int(low), int(high)), low, high }
    }

    /// An element of one of the tables that `wanted` takes.
    fn lookup(&mut self, size: usize, wanted: impl Fn(&Dtype) -> bool) -> Option<(Dtype, Build)> {
        let usable: Vec<&Table> = self
            .tables
            .iter()
            .filter(|t| wanted(&t.element) && !t.shape.is_empty() && t.shape.iter().all(|n| *n > 0))
            .collect();
        let chosen = usable.get(self.rng.usize(..usable.len().max(1)))?;
        let indices: Vec<Build> =
            chosen.shape.iter().map(|&n| self.index(n, size / chosen.shape.len())).collect();
        Some((chosen.element, table(&chosen.name).at(indices)))
    }

    /// An index into a dimension of `n`.
    fn index(&mut self, n: usize, size: usize) -> Build {
        let Sizes { batch, q_heads, kv_heads, q_len, kv_len } = *self.sizes;
        let exact = [
            (var::b as fn() -> Build, batch),
            (var::h, q_heads),
            (var::g, kv_heads),
            (var::q, q_len),
            (var::k, kv_len),
        ];
        let fitting: Vec<fn() -> Build> =
            exact.iter().filter(|(_, size)| *size == n || n == 1).map(|(variable, _)| *variable).collect();
        if !fitting.is_empty() && self.rng.u8(..4) > 0 {
            return fitting[self.rng.usize(..fitting.len())]();
        }
        let last = length(n) - 1;
        match self.rng.u8(..3) {
            0 => self.constant(0, last).build,
            1 => self.int(size).build % int(last + 1),
            _ => {
                let x = self.int(size).build;
                self.clamped(x, 0, last).build
            }
        }
    }

    fn int_lookup(&mut self, size: usize) -> Option<Int> {
        let (element, build) = self.lookup(size, |element| !element.is_float())?;
        Some(match element {
            Dtype::U8 => Int { build, low: 0, high: 255 },
            Dtype::I8 => Int { build, low: -128, high: 127 },
            // Its elements may be anything; these two operators hold them in.
            _ if self.rng.bool() => self.clamped(build, -50, 50),
            _ => Int { build: build % int(13), low: 0, high: 12 },
        })
    }
}
