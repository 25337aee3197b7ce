//! Random masks.

use super::{
    super::{
        Sizes, Table,
        build::{self, Build},
    },
    Generator, length,
};
use crate::Dtype;

impl Generator<'_> {
    pub(super) fn mask(&mut self, size: usize) -> Build {
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
}
