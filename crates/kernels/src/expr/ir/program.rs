//! Expressions as typed lists of primitive steps, which evaluation, intervals and WGSL emission all follow.

use crate::Dtype;

/// Type of a value.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Type {
    /// Truth value.
    Bool,
    /// Integer: i64 in the reference, i32 on the device (the checks before planning exclude overflow).
    Int,
    /// Real number: f64 in the reference, f32 on the device.
    Float,
}

/// Variables of the element at hand and the problem.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Variable {
    /// `b`: batch entry.
    Batch,
    /// `h`: query head.
    Head,
    /// `g`: key/value head.
    KvHead,
    /// `q`: query index.
    Query,
    /// `k`: key index.
    Key,
    /// `nq`: number of queries.
    QueryCount,
    /// `nk`: number of keys.
    KeyCount,
    /// `s`: the scaled score, natural units; the only one of type float.
    Score,
}

/// A table that expressions may index, as the caller declares it.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Table {
    /// The name that expressions use.
    pub name: String,
    /// How its elements are stored: i32 and u8 are ints in expressions (u8 four to a `u32` word on the device), the others
    /// floats.
    pub element: Dtype,
    /// Sizes, outermost first. An index into a dimension of size 1 may be anything: it broadcasts.
    pub shape: Vec<usize>,
}

impl Table {
    /// A table of that name, storage and sizes, outermost first.
    #[must_use]
    pub fn new(name: impl Into<String>, element: Dtype, shape: Vec<usize>) -> Self {
        Self { name: name.into(), element, shape }
    }
}

/// Position of a step in its [`Program`].
pub type StepId = usize;

/// An expression with its tables known: every step's operands come before it, the last step is the result.
#[derive(Clone, Debug, PartialEq)]
pub struct Program {
    /// The steps; equal ones occur once.
    pub steps: Vec<Step>,
    /// The tables that [`Op::Lookup`] counts: those the caller declared, used or not, in the caller's order.
    pub tables: Vec<Table>,
}

/// One value.
#[derive(Clone, Debug, PartialEq)]
pub struct Step {
    /// How it comes about.
    pub op: Op,
    /// Its type.
    pub ty: Type,
    /// Where in the text it stands, counted from 1 in characters; 0 if it was built without a text.
    pub column: usize,
}

/// How a value comes about. Operands of arithmetic and comparisons have one type, that of [`Step::ty`] or both alike.
#[derive(Clone, Debug, PartialEq)]
#[expect(missing_docs, reason = "the operators of every language, where nothing is said")]
pub enum Op {
    Bool(bool),
    Int(i64),
    Float(f64),
    Variable(Variable),
    Not(StepId),
    And(StepId, StepId),
    Or(StepId, StepId),
    /// The first is bool, int or float; the result is bool.
    Compare(Comparison, StepId, StepId),
    Negate(StepId),
    Abs(StepId),
    Add(StepId, StepId),
    Subtract(StepId, StepId),
    Multiply(StepId, StepId),
    /// On ints the quotient is rounded down; a divisor of zero gives 0.
    Divide(StepId, StepId),
    /// On ints and floats `x - n * floor(x / n)`; on ints a divisor of zero gives 0.
    Remainder(StepId, StepId),
    Min(StepId, StepId),
    Max(StepId, StepId),
    /// The greatest int that is not above a float.
    Floor(StepId),
    Sqrt(StepId),
    Exp(StepId),
    Log(StepId),
    Tanh(StepId),
    /// An int as a float.
    ToFloat(StepId),
    /// `ALiBi`'s slope of a head (an int) among the problem's heads, a float. Press et al. 2022, section 3.
    Slope(StepId),
    /// An element of a table: one int index a dimension.
    Lookup {
        table: usize,
        indices: Vec<StepId>,
    },
    /// A named mask. Its value is that of the step `lowered`; classification may use what is known of the shape.
    Shape {
        shape: Shape,
        lowered: StepId,
    },
}

/// Comparisons.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[expect(missing_docs, reason = "the names say it")]
pub enum Comparison {
    Equal,
    NotEqual,
    Less,
    LessEqual,
    Greater,
    GreaterEqual,
}

/// Masks whose classes over blocks are known exactly. `d = q + nk - nq - k`; on a raster of width `w` position `i` has the
/// column `i % w` and the row `i / w`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Shape {
    /// `-right <= d <= left`, either side possibly open: `causal` is `left: None, right: Some(0)`.
    Band {
        /// The furthest key before the query that is seen.
        left: Option<i64>,
        /// The furthest key after the query that is seen.
        right: Option<i64>,
    },
    /// `k <= q`.
    CausalTopLeft,
    /// `k < n`.
    Below(i64),
    /// `(q + shift) / n == (k + shift) / n`.
    Blocks {
        /// Positions of a block, at least 1.
        n: i64,
        /// Added to both before dividing.
        shift: i64,
    },
    /// `d % r == 0`, r at least 1.
    Dilated(i64),
    /// `(k / n) % r == 0`, both at least 1.
    Strided {
        /// Keys of a block.
        n: i64,
        /// Every r-th block is seen.
        r: i64,
    },
    /// On a raster: `dx^2 + dy^2 < r^2`.
    Disc {
        /// Width of the raster, at least 1.
        w: i64,
        /// Radius.
        r: i64,
    },
    /// On a raster: `|dx| <= rx` and `|dy| <= ry`.
    Local {
        /// Width of the raster, at least 1.
        w: i64,
        /// Columns to either side.
        rx: i64,
        /// Rows to either side.
        ry: i64,
    },
    /// On a raster: both coordinates, shifted, lie in the same `m` x `m` window: `(x + o) / m` and `(y + o) / m` are equal.
    Window2d {
        /// Width of the raster, at least 1.
        w: i64,
        /// Side of a window, at least 1.
        m: i64,
        /// Added to both coordinates before dividing.
        o: i64,
    },
}

/// Which lengths each batch entry has of its own, as a tensor says when the kernel runs. Then `nq`, `nk` and every name built
/// on them (`qp`, `causal`, `window`, `alibi`, ...) mean those of the entry.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct OwnLengths {
    /// `nq`, at most [`Sizes::q_len`].
    pub queries: bool,
    /// `nk`, at most [`Sizes::kv_len`].
    pub keys: bool,
}

impl OwnLengths {
    /// Whether the variable is such a length.
    #[must_use]
    pub fn include(self, variable: Variable) -> bool {
        match variable {
            Variable::QueryCount => self.queries,
            Variable::KeyCount => self.keys,
            _ => false,
        }
    }
}

/// The lengths of batch entries that have their own, by entry.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct EntryLengths {
    /// `nq` of each entry, at most [`Sizes::q_len`]; `None` if it is that for all.
    pub queries: Option<Vec<usize>>,
    /// `nk` of each entry, at most [`Sizes::kv_len`]; `None` if it is that for all.
    pub keys: Option<Vec<usize>>,
}

impl EntryLengths {
    /// Which lengths these are.
    #[must_use]
    pub fn own(&self) -> OwnLengths {
        OwnLengths { queries: self.queries.is_some(), keys: self.keys.is_some() }
    }
}

/// The sizes that an expression is evaluated within.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Sizes {
    /// B.
    pub batch: usize,
    /// H; a multiple of `kv_heads`. The kv head of head `h` is `h / (q_heads / kv_heads)`.
    pub q_heads: usize,
    /// G.
    pub kv_heads: usize,
    /// `nq`.
    pub q_len: usize,
    /// `nk`.
    pub kv_len: usize,
}
