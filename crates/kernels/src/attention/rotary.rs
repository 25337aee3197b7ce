//! Rows of q and k that are turned by their positions ([`crate::rope`]).

use super::{
    Attention, Strides, device_inputs::integer, layout::Tensor, placement::Placement,
    reference_inputs::Values,
};
use crate::{
    Access, Dtype, Error, HostTensor, TensorSpec,
    rope::{BASE, Pairing, Rope},
    spec::tensor_named,
};

/// Rotary positions: rows of q and k are turned before they meet, as [`crate::specs::Append`] turns rows of caches.
///
/// Key j of an entry is at position j, and query i of one with nq queries and nk keys at i + nk - nq: the last query where the last
/// key is. Tensors may say other positions.
#[derive(Clone, Debug, PartialEq)]
pub struct Rotary {
    /// Which elements of a row are turned together.
    pub pairing: Pairing,
    /// Base of the frequencies, from 1 to 1e30.
    pub base: f64,
    /// Elements of a row that take part, from the first on; an even number, or 0 for all.
    pub dim: usize,
    /// Whether k is turned, beside q. Keys in pages never are: they were turned as they were appended.
    pub keys: bool,
    /// The name of a tensor i32 of the positions of queries, `[B, Tq]`; `[1, Tq]` of packed sequences.
    pub positions: Option<String>,
    /// The same of keys, `[B, Tk]` or `[1, Tk]`.
    pub key_positions: Option<String>,
}

impl Default for Rotary {
    fn default() -> Self {
        Self::new(Pairing::None)
    }
}

impl Rotary {
    /// All elements of q and k, turned in these pairs with the base 10000.
    #[must_use]
    pub fn new(pairing: Pairing) -> Self {
        Self { pairing, base: BASE, dim: 0, keys: true, positions: None, key_positions: None }
    }

    /// With frequencies of that base.
    #[must_use]
    pub fn base(mut self, base: f64) -> Self {
        self.base = base;
        self
    }

    /// With so many elements of a row that take part.
    #[must_use]
    pub fn dim(mut self, dim: usize) -> Self {
        self.dim = dim;
        self
    }

    /// Of q alone: keys are turned already.
    #[must_use]
    pub fn queries_only(mut self) -> Self {
        self.keys = false;
        self
    }

    /// With the tensor of that name as positions of queries.
    #[must_use]
    pub fn positions(mut self, name: impl Into<String>) -> Self {
        self.positions = Some(name.into());
        self
    }

    /// With the tensor of that name as positions of keys.
    #[must_use]
    pub fn key_positions(mut self, name: impl Into<String>) -> Self {
        self.key_positions = Some(name.into());
        self
    }
}

impl Attention {
    /// The rotation of rows.
    pub(crate) fn rotation(&self) -> Rope {
        let Rotary { pairing, base, dim, .. } = self.rotary;
        Rope { pairing, base, dim: if dim == 0 { self.head_dim } else { dim } }
    }

    /// Whether rows of a tensor are turned.
    pub(crate) fn turns(&self, tensor: Tensor) -> bool {
        let asked = self.rotary.pairing != Pairing::None;
        asked && (tensor == Tensor::Q || tensor == Tensor::K && self.rotary.keys)
    }

    /// The tensor that says the positions of rows of q or k.
    pub(crate) fn positions_of(&self, tensor: Tensor) -> Option<&String> {
        let name = if tensor == Tensor::Q { &self.rotary.positions } else { &self.rotary.key_positions };
        name.as_ref().filter(|_| self.turns(tensor))
    }

    pub(super) fn validate_rotary(&self) -> Result<(), Error> {
        if self.rotary.pairing == Pairing::None {
            return Ok(());
        }
        self.rotation().validate(self.head_dim)?;
        if self.rotary.keys && self.pages.is_some() {
            let message = "expected `q` where keys lie in pages, which hold them turned already, got `qk`";
            return Err(Error::invalid("rope_of", message));
        }
        if let Some(name) = self.rotary.key_positions.as_ref().filter(|_| !self.rotary.keys) {
            let message = format!("expected nothing where k is not turned, got `{name}`");
            return Err(Error::invalid("k_pos", message));
        }
        for (name, len) in [("q_len", self.q_len), ("kv_len", self.kv_len)] {
            if i32::try_from(len).is_err() {
                return Err(Error::invalid(
                    name,
                    format!("expected at most {} positions, got {len}", i32::MAX),
                ));
            }
        }
        Ok(())
    }

    /// The tensors of positions.
    pub(super) fn position_tensors(&self) -> impl Iterator<Item = TensorSpec> + '_ {
        [Tensor::Q, Tensor::K].into_iter().filter_map(|tensor| {
            let shape = vec![self.stored_batch(tensor), self.sizes(tensor)[1]];
            let name = self.positions_of(tensor)?.clone();
            Some(TensorSpec::dense(name, Access::Read, Dtype::I32, shape, None))
        })
    }

    /// Rows of q or k as they meet: turned where they are to be.
    pub(super) fn as_turned(
        &self,
        values: Values,
        tensor: Tensor,
        placement: &Placement,
        inputs: &[(&str, &HostTensor)],
    ) -> Result<Values, Error> {
        if !self.turns(tensor) {
            return Ok(values);
        }
        let rope = self.rotation();
        let [heads, len, _] = self.sizes(tensor);
        let (batch, dim) = (self.stored_batch(tensor), values.dim);
        let mut elements = Vec::with_capacity(batch * heads * len * dim);
        let positions = self.given_positions(tensor, inputs)?;
        for row in 0..batch * heads * len {
            let (entry, head, at) = (row / len / heads, row / len % heads, row % len);
            let position = match &positions {
                Some(positions) => positions[entry * len + at],
                None => self.position(tensor, placement, entry, at),
            };
            let first = elements.len();
            elements.extend_from_slice(values.row(entry, head, at));
            rope.rotate(&mut elements[first..], position);
        }
        let strides = Strides { batch: heads * len * dim, head: len * dim, position: dim };
        Ok(Values { elements, strides, dim })
    }

    /// The position of a row that lies at `at` of a stored entry.
    fn position(&self, tensor: Tensor, placement: &Placement, entry: usize, at: usize) -> i64 {
        let signed = |x: usize| i64::try_from(x).unwrap_or(i64::MAX);
        if tensor == Tensor::K {
            return signed(self.key_number(placement, at));
        }
        // Rows beyond the last packed sequence see nothing.
        let (Some(entry), query) = self.query_at(placement, entry, at) else { return 0 };
        let of = |lengths: &Option<Vec<usize>>, all| lengths.as_ref().map_or(all, |lengths| lengths[entry]);
        let (nq, nk) = (of(&placement.lengths.queries, self.q_len), of(&placement.lengths.keys, self.kv_len));
        signed(query) + signed(nk) - signed(nq)
    }

    /// The contents of a tensor of positions, if there is one.
    fn given_positions(
        &self,
        tensor: Tensor,
        inputs: &[(&str, &HostTensor)],
    ) -> Result<Option<Vec<i64>>, Error> {
        let Some(name) = self.positions_of(tensor) else { return Ok(None) };
        let given = tensor_named(inputs, name)?;
        let shape = [self.stored_batch(tensor), self.sizes(tensor)[1]];
        if given.shape() != shape {
            let message = format!("expected positions {shape:?}, got {:?}", given.shape());
            return Err(Error::invalid(name.as_str(), message));
        }
        let whole = |(at, value): (usize, f64)| {
            integer(value).filter(|&position| i32::try_from(position).is_ok()).ok_or_else(|| {
                Error::invalid(
                    name.as_str(),
                    format!("element {at} is {value}, expected a whole number of 32 bits"),
                )
            })
        };
        given.to_f64().into_iter().enumerate().map(whole).collect::<Result<_, _>>().map(Some)
    }
}
