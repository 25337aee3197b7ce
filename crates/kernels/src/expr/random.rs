//! Random expressions, for tests that want more than people think of.

use super::{
    Expr, ExprError, ExprKind, Sizes, Table,
    build::{self, Build, table, var},
};
use crate::Dtype;

/// The bound of ints, far from 2^31 so that a coarser analysis agrees.
const LARGEST: i64 = 1 << 20;
/// The bound of float terms.
const LOUDEST: f64 = 32.0;

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

    fn mask(&mut self, size: usize) -> Build {
        if size <= 2 {
            return self.named_mask(0);
        }
        let rest = size - 1 - size / 2;
        match self.rng.u8(..16) {
            0..=3 => self.mask(size / 2) & self.mask(rest),
            4..=7 => self.mask(size / 2) | self.mask(rest),
            8 => !self.mask(size - 1),
            9 => self.mask(size / 2).equal(self.mask(rest)),
            10 => self.mask(size / 2).not_equal(self.mask(rest)),
            11..=13 => self.comparison(size),
            _ => self.named_mask(size),
        }
    }

    fn comparison(&mut self, size: usize) -> Build {
        let x = self.int(size / 2);
        let (a, b) = match self.rng.u8(..8) {
            0 => {
                // Between two ints, where no rounding decides.
                let bound = self.rng.i64(-20..=20);
                (x.build, Build::from(i32::try_from(bound).map_or(0.0, f64::from) + 0.5))
            }
            1 => {
                let radius = f64::from(self.rng.u8(..60)) + 0.5;
                (self.clamped(x.build, 0, 5000).build.sqrt(), radius.into())
            }
            2 | 3 => match self.lookup(size / 2, |_| true) {
                Some((Dtype::F32 | Dtype::F16 | Dtype::Bf16, element)) => {
                    (element, self.quarter(-2.0, 2.0).into())
                }
                Some((_, element)) => (element, self.int(size / 2).build),
                None => (x.build, self.constant(0, 40).build),
            },
            4 => (x.build * 0.5, self.quarter(-10.0, 10.0).into()),
            _ => (x.build, self.int(size / 2).build),
        };
        match self.rng.u8(..6) {
            0 => a.equal(b),
            1 => a.not_equal(b),
            2 => a.less(b),
            3 => a.less_equal(b),
            4 => a.greater(b),
            _ => a.greater_equal(b),
        }
    }

    /// An argument of a named mask: mostly a constant, since those are what planners know.
    fn argument(&mut self, size: usize, low: i64, high: i64) -> Build {
        if size > 3 && self.rng.u8(..6) == 0 {
            let x = self.int(size / 2).build;
            return self.clamped(x, low, high).build;
        }
        self.constant(low, high).build
    }

    fn named_mask(&mut self, size: usize) -> Build {
        let len = length(self.sizes.kv_len.max(self.sizes.q_len));
        let max = if self.rng.bool() { len + 2 } else { 20.min(len + 2) };
        let choice = self.rng.u8(..18);
        let mut any = |low: i64, high: i64| self.argument(size, low, high);
        match choice {
            0 | 1 => build::causal(),
            2 => build::causal_top_left(),
            // One side reaches as far as the other may recede.
            3 | 4 => build::window(any(-3, max), any(3, max.max(3))),
            5 => build::window(any(3, max.max(3)), any(-3, max)),
            6 => build::sinks(any(0, 9)),
            7 => build::prefix(any(0, max)),
            8 => build::blocks(any(1, max)),
            9 => build::shifted_blocks(any(1, max), any(-9, 9)),
            10 => build::dilated(any(1, 7)),
            11 => build::strided(any(1, 16), any(1, 5)),
            12 => build::disc(any(1, 16), any(1, 9)),
            13 => build::local(any(1, 16), any(0, 5), any(0, 5)),
            14 => build::window2d(any(1, 16), any(1, 7), any(-4, 7)),
            15 => self.rng.bool().into(),
            _ => match self.segments() {
                Some(mask) => mask,
                None => self.comparison(size),
            },
        }
    }

    /// `same` of tables that fit, if there are any.
    fn segments(&mut self) -> Option<Build> {
        let Sizes { batch, q_len, kv_len, .. } = *self.sizes;
        let fitting = |len: usize| -> Vec<&Table> {
            let fits = |t: &&Table| match t.shape[..] {
                _ if t.element.is_float() || len == 0 => false,
                [n] => n == len,
                [entries, n] => n == len && (entries == batch || entries == 1),
                _ => false,
            };
            self.tables.iter().filter(fits).collect()
        };
        let (of_queries, of_keys) = (fitting(q_len), fitting(kv_len));
        let key = &of_keys.get(self.rng.usize(..of_keys.len().max(1)))?.name;
        // Of one table the query reads at `qp`, which starts below 0 where queries are more than keys.
        if q_len <= kv_len && self.rng.bool() {
            return Some(build::same(key));
        }
        let query = &of_queries.get(self.rng.usize(..of_queries.len().max(1)))?.name;
        Some(build::same_pair(query, key))
    }

    fn score(&mut self, size: usize) -> Float {
        const S: f64 = 16.0;
        let Sizes { q_heads, q_len, kv_len, .. } = *self.sizes;
        let number = |n: usize| f64::from(u32::try_from(n).unwrap_or(u32::MAX));
        // The steepest head's slope is 2^(-8 / heads).
        let steepest = (-8.0 / number(q_heads.max(1))).exp2();
        let distance = number(q_len.saturating_add(kv_len));
        if size <= 1 {
            return match self.rng.u8(..8) {
                0 | 1 => {
                    let cap = 5.0 + self.quarter(0.0, 40.0);
                    Float { build: build::softcap(cap), max: cap }
                }
                2 => Float { build: build::softcap(self.constant(5, 50).build), max: 50.0 },
                3 | 4 => Float { build: build::alibi(), max: S + steepest * distance },
                _ => Float { build: var::s(), max: S },
            };
        }
        let x = self.score(size / 2);
        let x = if x.max > 100.0 { Float { build: x.build.clamp(-40, 40.0), max: 40.0 } } else { x };
        let y = self.term(size - 1 - size / 2);
        let both = x.max + y.max;
        match self.rng.u8(..12) {
            0..=3 => Float { build: x.build + y.build, max: both },
            4 | 5 => Float { build: x.build - y.build, max: both },
            6 => Float { build: x.build * self.factor(), max: x.max * 2.0 },
            7 => Float { build: x.build / (y.build.abs() + 1), max: x.max },
            8 => Float { build: x.build.min(y.build), max: both },
            9 => Float { build: x.build.max(y.build), max: both },
            10 => Float { build: x.build.alibi(), max: x.max + steepest * distance },
            _ => self.bent(x),
        }
    }

    fn factor(&mut self) -> Build {
        let factor = 0.5 + self.quarter(0.0, 1.5);
        if self.rng.u8(..4) == 0 { Build::from(-factor) } else { factor.into() }
    }

    /// A smooth function of `x`.
    fn bent(&mut self, x: Float) -> Float {
        match self.rng.u8(..7) {
            0 => {
                let low = self.quarter(-5.0, -1.0);
                Float { build: x.build.clamp(low, 1).exp(), max: 3.0 }
            }
            1 => Float { build: (x.build.abs() + 1).log(), max: x.max },
            2 => Float { build: (x.build.abs() + 1.0).sqrt(), max: x.max + 1.0 },
            3 => Float { build: x.build.tanh() * 4, max: 4.0 },
            4 => Float { build: x.build.abs(), max: x.max },
            5 => {
                let cap = 5.0 + self.quarter(0.0, 40.0);
                Float { build: x.build.softcap(cap), max: cap }
            }
            _ => Float { build: -x.build, max: x.max },
        }
    }

    /// A float that does not depend on the score.
    fn term(&mut self, size: usize) -> Float {
        if size <= 1 {
            return match self.rng.u8(..3) {
                0 => Float { build: self.quarter(-4.0, 4.0).into(), max: 4.0 },
                1 => Float { build: self.constant(-4, 4).build, max: 4.0 },
                _ => {
                    let head = (length(self.sizes.q_heads) - 1).max(0);
                    let h = if self.rng.bool() { var::h() } else { self.constant(0, head).build };
                    Float { build: build::slope(h), max: 1.0 }
                }
            };
        }
        match self.rng.u8(..10) {
            0 | 1 => match self.lookup(size - 1, |element| element.is_float()) {
                Some((_, element)) if self.rng.bool() => Float { build: element, max: 8.0 },
                Some((_, element)) => Float { build: element.clamp(-8.0, 8), max: 8.0 },
                None => self.term(size / 2),
            },
            2 => {
                let x = self.int(size - 1).build;
                Float { build: self.clamped(x, -16, 16).build * self.factor(), max: 32.0 }
            }
            3 => {
                // A quarter off the multiples, where the remainder would jump.
                let x = self.int(size - 1).build;
                Float { build: (x + 0.25) % 4.0, max: 4.0 }
            }
            4 => {
                let distance = (var::qp() - var::k()).abs();
                Float { build: (build::slope(var::h()) * distance).min(LOUDEST), max: LOUDEST }
            }
            5 | 6 => {
                let x = self.term(size - 1);
                self.bent(x)
            }
            _ => {
                let (x, y) = (self.term(size / 2), self.term(size - 1 - size / 2));
                let (sum, product) = (x.max + y.max, x.max * y.max);
                match self.rng.u8(..4) {
                    0 if sum <= LOUDEST => Float { build: x.build + y.build, max: sum },
                    1 if sum <= LOUDEST => Float { build: x.build - y.build, max: sum },
                    2 if product <= LOUDEST => Float { build: x.build * y.build, max: product },
                    _ => Float { build: x.build.max(y.build), max: sum },
                }
            }
        }
    }
}
