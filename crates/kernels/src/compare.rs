//! Comparing what a device computed with the reference.

use crate::{Error, HostTensor, Name};

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
        HostTensor::new(self.shape.clone(), crate::TensorData::F64(self.values.clone()))
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
    /// The same for each head; empty where there is no head axis.
    pub per_head: Vec<f64>,
    /// The element that is furthest off.
    pub worst: Option<Worst>,
    /// Values that are NaN, or infinite where the reference is not (or the other way round).
    pub non_finite: usize,
    /// How many elements were compared.
    pub compared: usize,
    /// What was allowed.
    pub tolerance: Tolerance,
    /// Whether the output is right.
    pub passed: bool,
}

/// An element that is off.
#[derive(Clone, Debug, PartialEq)]
pub struct Worst {
    /// Its index in each dimension.
    pub index: Vec<usize>,
    /// What the device computed.
    pub got: f64,
    /// What the reference says.
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

/// Compares `actual` with the reference's values.
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
    let heads = expected.head_axis.map_or(0, |axis| expected.shape[axis]);
    let mut whole = Sums::default();
    let mut per_head = vec![Sums::default(); heads];
    let mut non_finite = 0;
    let mut worst: Option<(f64, usize)> = None;
    for (index, &want) in expected.values.iter().enumerate() {
        let value = got[expected.position(index)];
        // Equal infinities are right (a row that sees nothing has lse = -inf) and carry no error to sum; where the
        // definition gives NaN (non-finite inputs), NaN is right.
        if value.is_nan() && want.is_nan() {
            continue;
        }
        let difference = if value == want {
            if !want.is_finite() {
                continue;
            }
            0.0
        } else {
            value - want
        };
        if difference.is_finite() {
            whole.add(difference, want);
            if heads > 0 {
                per_head[expected.head(index)].add(difference, want);
            }
        } else {
            non_finite += 1;
        }
        let size = if difference.is_finite() { difference.abs() } else { f64::INFINITY };
        if size > worst.map_or(0.0, |(w, _)| w) {
            worst = Some((size, index));
        }
    }
    // Below this the values themselves are rounding noise, and a relative error of them says nothing.
    let scale_floor = tolerance.floor / tolerance.rel_rmse.max(f64::MIN_POSITIVE);
    let rel_rmse = whole.rel_rmse(scale_floor);
    let per_head: Vec<f64> = per_head.iter().map(|sums| sums.rel_rmse(scale_floor)).collect();
    let worst_allowed = |want: f64| tolerance.worst * whole.rms().max(want.abs()) + tolerance.floor;
    let worst_ok = worst.is_none_or(|(size, index)| size <= worst_allowed(expected.values[index]));
    let passed = non_finite == 0
        && rel_rmse <= tolerance.rel_rmse
        && per_head.iter().all(|&error| error <= tolerance.rel_rmse)
        && worst_ok;
    Ok(Comparison {
        name: expected.name.clone(),
        rel_rmse: if non_finite > 0 { f64::INFINITY } else { rel_rmse },
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
        compared: expected.values.len(),
        tolerance,
        passed,
    })
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
