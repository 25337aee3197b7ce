//! Matrices of f32 or f64: the chunk algorithm is the same in both, and what f32 loses is part of the question.

use std::iter::Sum;
use std::ops::{Add, AddAssign, Mul, Neg, Sub};

/// Numbers that the algorithm computes with.
pub(crate) trait Real:
    Copy
    + PartialOrd
    + Default
    + Add<Output = Self>
    + Sub<Output = Self>
    + Mul<Output = Self>
    + Neg<Output = Self>
    + AddAssign
    + Sum
    + Send
{
    fn of(x: f64) -> Self;
    fn wide(self) -> f64;
    fn power_of_two(self) -> Self;
    fn floor(self) -> Self;
}

impl Real for f64 {
    fn of(x: f64) -> Self {
        x
    }

    fn wide(self) -> f64 {
        self
    }

    fn power_of_two(self) -> Self {
        self.exp2()
    }

    fn floor(self) -> Self {
        self.floor()
    }
}

impl Real for f32 {
    #[expect(clippy::cast_possible_truncation, reason = "rounding is the purpose")]
    fn of(x: f64) -> Self {
        x as Self
    }

    fn wide(self) -> f64 {
        f64::from(self)
    }

    fn power_of_two(self) -> Self {
        self.exp2()
    }

    fn floor(self) -> Self {
        self.floor()
    }
}

/// Row-major.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Matrix<R> {
    pub(crate) height: usize,
    pub(crate) width: usize,
    values: Vec<R>,
}

impl<R: Real> Matrix<R> {
    pub(crate) fn of(height: usize, width: usize, mut value: impl FnMut(usize, usize) -> R) -> Self {
        let mut values = Vec::with_capacity(height * width);
        for r in 0..height {
            values.extend((0..width).map(|c| value(r, c)));
        }
        Self { height, width, values }
    }

    pub(crate) fn zero(height: usize, width: usize) -> Self {
        Self { height, width, values: vec![R::default(); height * width] }
    }

    pub(crate) fn at(&self, r: usize, c: usize) -> R {
        self.values[r * self.width + c]
    }

    pub(crate) fn put(&mut self, r: usize, c: usize, value: R) {
        self.values[r * self.width + c] = value;
    }

    pub(crate) fn row(&self, r: usize) -> &[R] {
        &self.values[r * self.width..][..self.width]
    }

    pub(crate) fn rows(&self, range: std::ops::Range<usize>) -> Self {
        let values = self.values[range.start * self.width..range.end * self.width].to_vec();
        Self { height: range.len(), width: self.width, values }
    }

    pub(crate) fn map(&self, change: impl Fn(usize, usize, R) -> R) -> Self {
        Self::of(self.height, self.width, |r, c| change(r, c, self.at(r, c)))
    }

    pub(crate) fn plus(&self, other: &Self) -> Self {
        self.map(|r, c, x| x + other.at(r, c))
    }

    pub(crate) fn minus(&self, other: &Self) -> Self {
        self.map(|r, c, x| x - other.at(r, c))
    }

    /// `self other`.
    pub(crate) fn times(&self, other: &Self) -> Self {
        let mut product = Self::zero(self.height, other.width);
        for r in 0..self.height {
            for (i, &x) in self.row(r).iter().enumerate() {
                let to = &mut product.values[r * other.width..][..other.width];
                to.iter_mut().zip(other.row(i)).for_each(|(to, &y)| *to += x * y);
            }
        }
        product
    }

    /// `self^T other`.
    pub(crate) fn transposed_times(&self, other: &Self) -> Self {
        Self::of(self.width, self.height, |r, c| self.at(c, r)).times(other)
    }

    pub(crate) fn wide(&self) -> Vec<f64> {
        self.values.iter().map(|x| x.wide()).collect()
    }
}

pub(crate) fn dot<R: Real>(a: &[R], b: &[R]) -> R {
    a.iter().zip(b).map(|(&a, &b)| a * b).sum()
}
