//! What an attention problem is.

use std::{fmt, str::FromStr};

use crate::{Dtype, Error, Port, PortRole, Work};

/// Order of the dimensions in storage, outermost first.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum Layout {
    /// `[B, H, T, D]`.
    #[default]
    Bhtd,
    /// `[B, T, H, D]`.
    Bthd,
}

impl fmt::Display for Layout {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Bhtd => "bhtd",
            Self::Bthd => "bthd",
        })
    }
}

impl FromStr for Layout {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self, Error> {
        match text {
            "bhtd" => Ok(Self::Bhtd),
            "bthd" => Ok(Self::Bthd),
            _ => Err(Error::invalid("layout", format!("expected bhtd or bthd, got `{text}`"))),
        }
    }
}

/// Which keys a query sees.
///
/// What is hidden gets the weight zero. A hidden key's value that is infinite or NaN can still turn a row into NaN, as
/// zero times it is: keep hidden values finite.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Mask {
    /// All.
    #[default]
    None,
    /// Query `i` sees key `j` if `j <= i + Tk - Tq`: the last query sees all keys.
    Causal,
    /// Query `i` sees key `j` if `j <= i`: the first query sees one key.
    CausalTopLeft,
}

impl Mask {
    /// The mask of that name.
    ///
    /// # Errors
    /// [`crate::ErrorKind::Unsupported`] for mask expressions.
    pub fn parse(text: &str) -> Result<Self, Error> {
        match text.trim() {
            "causal" => Ok(Self::Causal),
            "causal_top_left" => Ok(Self::CausalTopLeft),
            "" | "none" => Ok(Self::None),
            other => Err(Error::unsupported(
                "mask",
                format!(
                    "expected causal or causal_top_left (mask expressions are not served yet), got `{other}`"
                ),
            )),
        }
    }

    /// The name that [`Mask::parse`] reads.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::None => "none",
            Self::Causal => "causal",
            Self::CausalTopLeft => "causal_top_left",
        }
    }
}

/// Strides of a tensor, in elements. The innermost dimension is always contiguous.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Strides {
    /// From one batch entry to the next.
    pub batch: usize,
    /// From one head to the next.
    pub head: usize,
    /// From one position to the next.
    pub position: usize,
}

/// An attention problem: shapes in elements, storage, mask and scale.
///
/// `None` strides mean dense storage in [`Attention::layout`].
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub struct Attention {
    /// Batch size B; at least 1.
    pub batch: usize,
    /// Query heads H; a multiple of `kv_heads`.
    pub q_heads: usize,
    /// Key/value heads G; at least 1.
    pub kv_heads: usize,
    /// Queries Tq; 0 gives an empty result.
    pub q_len: usize,
    /// Keys Tk; at least 1.
    pub kv_len: usize,
    /// Width Dk of q and k, 1 to 576.
    pub head_dim: usize,
    /// Width Dv of v and o, 1 to 576.
    pub value_dim: usize,
    /// Order of the dimensions of q, k, v and o. `lse` is `[B, H, Tq]` in either.
    pub layout: Layout,
    /// Which keys a query sees.
    pub mask: Mask,
    /// Factor of the scores; `None` means `1 / sqrt(Dk)`.
    pub scale: Option<f64>,
    /// Storage of q, k, v and o. Arithmetic is f32, and `lse` is stored as f32.
    pub dtype: Dtype,
    /// Whether `lse` is computed too.
    pub lse: bool,
    /// Strides of q where it is not dense.
    pub q_strides: Option<Strides>,
    /// Strides of k where it is not dense.
    pub k_strides: Option<Strides>,
    /// Strides of v where it is not dense.
    pub v_strides: Option<Strides>,
    /// Strides of o where it is not dense.
    pub o_strides: Option<Strides>,
    /// Tiles are chosen as for a problem of this size: how a small problem gets the shaders of a large one.
    pub(crate) tiles_for: Option<TilesFor>,
}

/// The sizes that tiles are chosen for.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct TilesFor {
    /// Queries of a head.
    pub(crate) queries: usize,
    /// Multiply-adds of the whole problem.
    pub(crate) multiply_adds: f64,
}

/// The widest head that is served.
pub(crate) const MAX_DIM: usize = 576;

impl Attention {
    /// The problem of q `[B, H, Tq, Dk]` and of k `[B, G, Tk, Dk]`, with v as wide as k, nothing masked, f32.
    #[must_use]
    pub fn new(q: [usize; 4], k: [usize; 4]) -> Self {
        Self {
            batch: q[0],
            q_heads: q[1],
            kv_heads: k[1],
            q_len: q[2],
            kv_len: k[2],
            head_dim: q[3],
            value_dim: k[3],
            layout: Layout::Bhtd,
            mask: Mask::None,
            scale: None,
            dtype: Dtype::F32,
            lse: false,
            q_strides: None,
            k_strides: None,
            v_strides: None,
            o_strides: None,
            tiles_for: None,
        }
    }

    /// With v and o of width `value_dim`.
    #[must_use]
    pub fn value_dim(mut self, value_dim: usize) -> Self {
        self.value_dim = value_dim;
        self
    }

    /// With this mask.
    #[must_use]
    pub fn mask(mut self, mask: Mask) -> Self {
        self.mask = mask;
        self
    }

    /// With [`Mask::Causal`].
    #[must_use]
    pub fn causal(self) -> Self {
        self.mask(Mask::Causal)
    }

    /// With this factor of the scores.
    #[must_use]
    pub fn scale(mut self, scale: f64) -> Self {
        self.scale = Some(scale);
        self
    }

    /// Stored as `dtype`.
    #[must_use]
    pub fn dtype(mut self, dtype: Dtype) -> Self {
        self.dtype = dtype;
        self
    }

    /// Stored in this order.
    #[must_use]
    pub fn layout(mut self, layout: Layout) -> Self {
        self.layout = layout;
        self
    }

    /// Computing `lse` too.
    #[must_use]
    pub fn with_lse(mut self) -> Self {
        self.lse = true;
        self
    }

    /// Query heads that a key/value head serves.
    #[must_use]
    pub fn group(&self) -> usize {
        self.q_heads / self.kv_heads.max(1)
    }

    /// The factor of the scores.
    #[must_use]
    #[expect(clippy::cast_precision_loss, reason = "head_dim is at most 576")]
    pub fn resolved_scale(&self) -> f64 {
        self.scale.unwrap_or_else(|| 1.0 / (self.head_dim as f64).sqrt())
    }

    /// How many keys, from the first, query `i` sees.
    #[must_use]
    pub fn keys_seen(&self, query: usize) -> usize {
        match self.mask {
            Mask::None => self.kv_len,
            Mask::Causal => (query + self.kv_len + 1).saturating_sub(self.q_len).min(self.kv_len),
            Mask::CausalTopLeft => (query + 1).min(self.kv_len),
        }
    }

    /// Checks that the problem makes sense.
    ///
    /// # Errors
    /// [`crate::ErrorKind::Invalid`], naming the dimension, what was expected and what came.
    pub fn validate(&self) -> Result<(), Error> {
        let at_least_one = [
            ("batch", self.batch),
            ("q_heads", self.q_heads),
            ("kv_heads", self.kv_heads),
            ("kv_len", self.kv_len),
        ];
        for (name, size) in at_least_one {
            if size == 0 {
                return Err(Error::invalid(name, "expected at least 1, got 0"));
            }
        }
        if !self.q_heads.is_multiple_of(self.kv_heads) {
            return Err(Error::invalid(
                "q_heads",
                format!("expected a multiple of the {} key/value heads, got {}", self.kv_heads, self.q_heads),
            ));
        }
        for (name, dim) in [("head_dim", self.head_dim), ("value_dim", self.value_dim)] {
            if !(1..=MAX_DIM).contains(&dim) {
                return Err(Error::invalid(name, format!("expected 1 to {MAX_DIM}, got {dim}")));
            }
        }
        if !self.resolved_scale().is_finite() {
            return Err(Error::invalid(
                "scale",
                format!("expected a finite number, got {}", self.resolved_scale()),
            ));
        }
        for tensor in Tensor::ALL {
            self.span(tensor)
                .ok_or_else(|| Error::invalid(tensor.name(), "has more elements than can be addressed"))?;
        }
        let o = self.strides(Tensor::O);
        if self.o_strides.is_some() && !o.writes_once(self.batch, self.q_heads, self.q_len, self.value_dim) {
            return Err(Error::invalid("o", format!("its strides {o:?} make rows of the output overlap")));
        }
        Ok(())
    }

    /// The sizes that tiles are chosen for: the problem's own, unless it stands in for another.
    pub(crate) fn tile_sizes(&self) -> TilesFor {
        let own = || TilesFor { queries: self.q_len, multiply_adds: self.work_of().flops / 2.0 };
        self.tiles_for.unwrap_or_else(own)
    }

    pub(crate) fn strides(&self, tensor: Tensor) -> Strides {
        let (given, [heads, len, dim]) = match tensor {
            Tensor::Q => (self.q_strides, [self.q_heads, self.q_len, self.head_dim]),
            Tensor::K => (self.k_strides, [self.kv_heads, self.kv_len, self.head_dim]),
            Tensor::V => (self.v_strides, [self.kv_heads, self.kv_len, self.value_dim]),
            Tensor::O => (self.o_strides, [self.q_heads, self.q_len, self.value_dim]),
        };
        let times = |a: usize, b: usize| a.saturating_mul(b);
        given.unwrap_or_else(|| match self.layout {
            Layout::Bhtd => {
                Strides { batch: times(heads, times(len, dim)), head: times(len, dim), position: dim }
            }
            Layout::Bthd => {
                Strides { batch: times(len, times(heads, dim)), head: dim, position: times(heads, dim) }
            }
        })
    }

    /// Sizes of a tensor: heads, positions, width.
    pub(crate) fn sizes(&self, tensor: Tensor) -> [usize; 3] {
        match tensor {
            Tensor::Q => [self.q_heads, self.q_len, self.head_dim],
            Tensor::K => [self.kv_heads, self.kv_len, self.head_dim],
            Tensor::V => [self.kv_heads, self.kv_len, self.value_dim],
            Tensor::O => [self.q_heads, self.q_len, self.value_dim],
        }
    }

    /// Elements from a tensor's first to its last, or `None` if they cannot be counted.
    pub(crate) fn span(&self, tensor: Tensor) -> Option<usize> {
        let [heads, len, dim] = self.sizes(tensor);
        if self.batch == 0 || heads == 0 || len == 0 {
            return Some(0);
        }
        let strides = self.strides(tensor);
        let last = (self.batch - 1)
            .checked_mul(strides.batch)?
            .checked_add((heads - 1).checked_mul(strides.head)?)?
            .checked_add((len - 1).checked_mul(strides.position)?)?
            .checked_add(dim)?;
        (last <= isize::MAX as usize / 8).then_some(last)
    }

    pub(crate) fn all_ports(&self) -> Vec<Port> {
        let port = |tensor: Tensor| {
            let [heads, len, dim] = self.sizes(tensor);
            let (shape, head_axis) = match self.layout {
                Layout::Bhtd => (vec![self.batch, heads, len, dim], 1),
                Layout::Bthd => (vec![self.batch, len, heads, dim], 2),
            };
            Port {
                name: tensor.name(),
                role: if tensor == Tensor::O { PortRole::Output } else { PortRole::Input },
                dtype: self.dtype,
                shape,
                span: self.span(tensor).unwrap_or(usize::MAX / 16),
                head_axis: Some(head_axis),
            }
        };
        let mut ports: Vec<Port> = Tensor::ALL.into_iter().map(port).collect();
        if self.lse {
            ports.push(Port {
                name: "lse",
                role: PortRole::Output,
                dtype: Dtype::F32,
                shape: vec![self.batch, self.q_heads, self.q_len],
                span: self.batch * self.q_heads * self.q_len,
                head_axis: Some(1),
            });
        }
        ports
    }

    /// Visible (query, key) pairs of one head.
    pub(crate) fn visible_pairs(&self) -> f64 {
        let (tq, tk) = (self.q_len as u128, self.kv_len as u128);
        // Rows see 1, 2, ... keys up to a full row; `longest` is what the last row sees.
        let staircase =
            |rows: u128, longest: u128| rows.min(longest) * (2 * longest - rows.min(longest) + 1) / 2;
        let pairs = match self.mask {
            Mask::None => tq * tk,
            Mask::Causal => staircase(tq, tk),
            Mask::CausalTopLeft if tq <= tk => staircase(tq, tq),
            Mask::CausalTopLeft => staircase(tk, tk) + (tq - tk) * tk,
        };
        #[expect(clippy::cast_precision_loss, reason = "a rate is reported with a few digits")]
        let pairs = pairs as f64;
        pairs
    }

    pub(crate) fn work_of(&self) -> Work {
        #[expect(clippy::cast_precision_loss, reason = "a rate is reported with a few digits")]
        let of = |x: usize| x as f64;
        let per_pair = 2.0 * of(self.head_dim + self.value_dim) * of(self.batch * self.q_heads);
        let bytes: f64 = self
            .all_ports()
            .iter()
            .map(|p| of(p.shape.iter().product::<usize>() * p.dtype.size_bytes()))
            .sum();
        Work {
            flops: per_pair * self.visible_pairs(),
            dense_flops: per_pair * of(self.q_len) * of(self.kv_len),
            bytes,
        }
    }
}

impl Strides {
    /// Whether no two rows of such a tensor share an element.
    fn writes_once(&self, batch: usize, heads: usize, len: usize, dim: usize) -> bool {
        let mut dims = [(batch, self.batch), (heads, self.head), (len, self.position)];
        dims.sort_by_key(|&(_, stride)| stride);
        let mut reach = dim;
        for (size, stride) in dims.into_iter().filter(|&(size, _)| size > 1) {
            if stride < reach {
                return false;
            }
            reach = stride.saturating_mul(size - 1).saturating_add(reach);
        }
        true
    }

    /// Whether every row starts on a multiple of `unit` elements.
    pub(crate) fn aligned_to(&self, unit: usize) -> bool {
        self.batch.is_multiple_of(unit)
            && self.head.is_multiple_of(unit)
            && self.position.is_multiple_of(unit)
    }
}

/// The tensors with a batch, heads, positions and a width.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Tensor {
    Q,
    K,
    V,
    O,
}

impl Tensor {
    pub(crate) const ALL: [Self; 4] = [Self::Q, Self::K, Self::V, Self::O];

    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Q => "q",
            Self::K => "k",
            Self::V => "v",
            Self::O => "o",
        }
    }
}
