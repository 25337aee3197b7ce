//! Comparing what a device computed with the reference.

use crate::{Error, HostTensor, Name, TensorData, TensorSpec};

/// The reference's values for an output, or for some of its elements.
#[derive(Clone, Debug, PartialEq)]
pub struct Expected {
    /// The output's name.
    pub name: Name,
    /// Sizes of the whole output, in the order of storage.
    pub shape: Vec<usize>,
    /// Row-major positions of `values` within the output; `None` if they are all of it in order.
    pub elements: Option<Vec<usize>>,
    /// The values.
    pub values: Vec<f64>,
    /// How far f32 may be from each value because the problem is ill-conditioned there, beyond what a [`Tolerance`] is
    /// for; `None` where that is nowhere. At a value that is not finite, an infinite allowance says that infinite inputs
    /// made it, and that NaN will do for infinity, and infinity for NaN.
    pub allowance: Option<Vec<f64>>,
    /// The axis of `shape` that counts heads, if there is one.
    pub head_axis: Option<usize>,
}

impl Expected {
    /// The values as a tensor.
    ///
    /// # Errors
    /// If only some elements were computed.
    pub fn to_tensor(&self) -> Result<HostTensor, Error> {
        if self.elements.is_some() {
            return Err(Error::internal("reference", "a sample of rows is not a whole tensor"));
        }
        HostTensor::new(self.shape.clone(), TensorData::F64(self.values.clone()))
    }

    /// An output from rows of it, each with where it begins; `all` if that is the whole output.
    pub(crate) fn of_rows<'r>(
        output: TensorSpec,
        rows: impl Iterator<Item = (usize, &'r [f64])>,
        all: bool,
    ) -> Self {
        let placed = |(at, row): (usize, &'r [f64])| row.iter().zip(at..).map(|(&x, at)| (at, x));
        let mut placed: Vec<(usize, f64)> = rows.flat_map(placed).collect();
        placed.sort_unstable_by_key(|&(at, _)| at);
        let (elements, values): (Vec<usize>, Vec<f64>) = placed.into_iter().unzip();
        let TensorSpec { name, shape, head_axis, .. } = output;
        Self { name, shape, elements: (!all).then_some(elements), values, allowance: None, head_axis }
    }

    fn allowed(&self, index: usize) -> f64 {
        let allowance = self.allowance.as_ref().and_then(|allowance| allowance.get(index));
        // No number is no licence.
        allowance.copied().filter(|allowance| !allowance.is_nan()).unwrap_or(0.0)
    }

    fn position(&self, index: usize) -> usize {
        self.elements.as_ref().map_or(index, |elements| elements[index])
    }

    /// The head that the value at `index` belongs to.
    fn head(&self, index: usize) -> usize {
        let Some(axis) = self.head_axis else { return 0 };
        let inner: usize = self.shape[axis + 1..].iter().product();
        self.position(index) / inner.max(1) % self.shape[axis]
    }
}

/// How far an output may be from the reference. Infinities and NaN must be where the reference has them.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Tolerance {
    /// Largest root mean square of the differences over that of the reference, for the whole and for each head.
    pub rel_rmse: f64,
    /// Largest difference of any element, in the same unit (the reference's root mean square, or the element's own
    /// magnitude where that is larger).
    pub worst: f64,
    /// Differences of this size are rounding of f32 arithmetic on values of ordinary magnitude and never fail.
    pub floor: f64,
}

/// The outcome of a comparison.
#[derive(Clone, Debug, PartialEq)]
pub struct Comparison {
    /// The output's name.
    pub name: Name,
    /// Root mean square of the differences over that of the reference.
    pub rel_rmse: f64,
    /// The same of what [`Expected::allowance`] leaves of the differences: what is judged.
    pub judged: f64,
    /// The same for each head; empty where there is no head axis.
    pub per_head: Vec<f64>,
    /// The element that is furthest off.
    pub worst: Option<Worst>,
    /// Values that are NaN, or infinite where the reference is not (or the other way round).
    pub non_finite: usize,
    /// Values that are NaN, as the reference says.
    pub nan: usize,
    /// How many elements were compared.
    pub compared: usize,
    /// The tolerance.
    pub tolerance: Tolerance,
    /// The largest allowance, if the output is right with the allowances only.
    pub ill_conditioned: Option<f64>,
    /// Whether the output is right.
    pub passed: bool,
}

/// An element that is off.
#[derive(Clone, Debug, PartialEq)]
pub struct Worst {
    /// Its index in each dimension.
    pub index: Vec<usize>,
    /// Results of the device.
    pub got: f64,
    /// Results of the reference.
    pub expected: f64,
}

impl std::fmt::Display for Worst {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{:?}: got {:.6e}, expected {:.6e}", self.index, self.got, self.expected)
    }
}

#[derive(Clone, Copy, Default)]
struct Sums {
    difference: f64,
    reference: f64,
    count: f64,
}

impl Sums {
    fn add(&mut self, difference: f64, expected: f64) {
        self.difference += difference * difference;
        self.reference += expected * expected;
        self.count += 1.0;
    }

    /// Zero where both sides are zero throughout; the plain error where the reference is zero.
    fn rel_rmse(&self, floor: f64) -> f64 {
        let scale = self.reference.max(self.count * floor * floor);
        if self.difference == 0.0 { 0.0 } else { (self.difference / scale.max(f64::MIN_POSITIVE)).sqrt() }
    }

    fn rms(&self) -> f64 {
        if self.count > 0.0 { (self.reference / self.count).sqrt() } else { 0.0 }
    }
}

/// The sums of all elements and of each head, and the element with the largest difference.
struct Differences {
    whole: Sums,
    per_head: Vec<Sums>,
    worst: Option<(f64, usize)>,
}

impl Differences {
    fn new(heads: usize) -> Self {
        Self { whole: Sums::default(), per_head: vec![Sums::default(); heads], worst: None }
    }

    fn add(&mut self, difference: f64, want: f64, index: usize, head: usize) {
        self.whole.add(difference, want);
        if let Some(sums) = self.per_head.get_mut(head) {
            sums.add(difference, want);
        }
        self.see(difference.abs(), index);
    }

    fn see(&mut self, size: f64, index: usize) {
        if size > self.worst.map_or(0.0, |(worst, _)| worst) {
            self.worst = Some((size, index));
        }
    }

    /// The relative errors of the whole and of each head, and whether all is within `tolerance`.
    fn judge(&self, expected: &Expected, tolerance: Tolerance) -> (f64, Vec<f64>, bool) {
        // Below this the values themselves are rounding noise, and a relative error of them says nothing.
        let scale_floor = tolerance.floor / tolerance.rel_rmse.max(f64::MIN_POSITIVE);
        let rel_rmse = self.whole.rel_rmse(scale_floor);
        let per_head: Vec<f64> = self.per_head.iter().map(|sums| sums.rel_rmse(scale_floor)).collect();
        let allowed = |want: f64| tolerance.worst * self.whole.rms().max(want.abs()) + tolerance.floor;
        let passed = rel_rmse <= tolerance.rel_rmse
            && per_head.iter().all(|&error| error <= tolerance.rel_rmse)
            && self.worst.is_none_or(|(size, index)| size <= allowed(expected.values[index]));
        (rel_rmse, per_head, passed)
    }
}

/// How a value that is not finite, or should not be, compares.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Special {
    /// Both are finite.
    No,
    /// Right: the same infinity, or NaN as the reference has it.
    Right,
    Wrong,
}

/// Magnitudes from here on round to infinity when they are stored.
fn overflow(actual: &HostTensor) -> f64 {
    match actual.data() {
        TensorData::F16(_) => 65_520.0,
        // Half a unit in the last place above the largest.
        TensorData::Bf16(_) => 255.5 * 2f64.powi(120),
        TensorData::F32(_) => (2.0 - 2f64.powi(-24)) * 2f64.powi(127),
        _ => f64::INFINITY,
    }
}

/// `slack` is how far a finite value may be off.
fn special(value: f64, want: f64, allowance: f64, slack: f64, overflow: f64) -> Special {
    let lenient = allowance == f64::INFINITY;
    let right = if want.is_nan() {
        value.is_nan() || value.is_infinite() && lenient
    } else if want.is_infinite() {
        value == want || value.is_nan() && lenient
    } else if value.is_infinite() {
        value.signum() == want.signum() && want.abs() + slack >= overflow
    } else if value.is_nan() || want.abs() - slack > overflow {
        false
    } else {
        return Special::No;
    };
    if right { Special::Right } else { Special::Wrong }
}

/// Compares `actual` with the reference's values.
///
/// Where the reference is finite, `actual` must be; where it is NaN, `actual` must be NaN; where it is infinite, it must be
/// the same infinity (see [`Expected::allowance`] for the one exception). A finite value beyond what `actual`'s type can
/// hold counts as the infinity that it rounds to.
///
/// # Errors
/// If the shapes differ.
pub fn compare(expected: &Expected, actual: &HostTensor, tolerance: Tolerance) -> Result<Comparison, Error> {
    if expected.shape != actual.shape() {
        return Err(Error::invalid(
            expected.name.clone(),
            format!("expected shape {:?}, got {:?}", expected.shape, actual.shape()),
        ));
    }
    let got = actual.to_f64();
    let overflow = overflow(actual);
    let heads = expected.head_axis.map_or(0, |axis| expected.shape[axis]);
    let (mut plain, mut judged) = (Differences::new(heads), Differences::new(heads));
    let (mut non_finite, mut nan, mut largest) = (0, 0, 0.0f64);
    for (index, &want) in expected.values.iter().enumerate() {
        let value = got[expected.position(index)];
        let allowance = expected.allowed(index);
        let slack = tolerance.worst * want.abs() + allowance;
        nan += usize::from(value.is_nan() && want.is_nan());
        match special(value, want, allowance, slack, overflow) {
            // Carries no error to sum: a row that sees nothing has lse = -inf.
            Special::Right => {}
            Special::Wrong => {
                non_finite += 1;
                plain.see(f64::INFINITY, index);
                judged.see(f64::INFINITY, index);
            }
            Special::No => {
                let difference = value - want;
                plain.add(difference, want, index, expected.head(index));
                judged.add((difference.abs() - allowance).max(0.0), want, index, expected.head(index));
                largest = largest.max(allowance);
            }
        }
    }
    let (rel_rmse, _, passes_plainly) = plain.judge(expected, tolerance);
    let (beyond, per_head, passes) = judged.judge(expected, tolerance);
    let passed = passes && non_finite == 0;
    let worst = if passed { plain.worst } else { judged.worst };
    Ok(Comparison {
        name: expected.name.clone(),
        rel_rmse: if non_finite > 0 { f64::INFINITY } else { rel_rmse },
        judged: if non_finite > 0 { f64::INFINITY } else { beyond },
        per_head,
        worst: worst.map(|(_, index)| {
            let position = expected.position(index);
            Worst {
                index: unravel(position, &expected.shape),
                got: got[position],
                expected: expected.values[index],
            }
        }),
        non_finite,
        nan,
        compared: expected.values.len(),
        tolerance,
        ill_conditioned: (passed && !passes_plainly).then_some(largest),
        passed,
    })
}

/// Checks that a tensor that is changed in place holds what it held `before`, wherever the reference says so.
///
/// # Errors
/// If an element changed, or the sizes differ.
pub fn unchanged(expected: &Expected, before: &HostTensor, after: &HostTensor) -> Result<(), Error> {
    let (before, after) = (before.to_f64(), after.to_f64());
    let same = |a: f64, b: f64| a == b || a.is_nan() && b.is_nan();
    for (index, &want) in expected.values.iter().enumerate() {
        let at = expected.position(index);
        let (Some(&was), Some(&is)) = (before.get(at), after.get(at)) else {
            let message = format!("expected {} elements before and after", expected.values.len());
            return Err(Error::invalid(expected.name.clone(), message));
        };
        // An element that rounding may take to either side says nothing.
        if expected.allowed(index) == 0.0 && same(was, want) && !same(was, is) {
            let place = unravel(at, &expected.shape);
            let message = format!("{place:?} had to stay {was:e} and is {is:e}");
            return Err(Error::invalid(expected.name.clone(), message));
        }
    }
    Ok(())
}

fn unravel(mut position: usize, shape: &[usize]) -> Vec<usize> {
    let mut index: Vec<usize> = shape
        .iter()
        .rev()
        .map(|&size| {
            let i = position % size;
            position /= size;
            i
        })
        .collect();
    index.reverse();
    index
}
