//! Random scores.

use super::{
    super::{
        Sizes,
        build::{self, Build, var},
    },
    Float, Generator, length,
};

/// The bound of float terms.
const LOUDEST: f64 = 32.0;

impl Generator<'_> {
    pub(super) fn score(&mut self, size: usize) -> Float {
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
