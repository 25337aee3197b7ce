//! Rows of q and k, turned by their positions ([`crate::rope`]): which, by what, and the definition.

use super::{
    Attention, Rotary, Strides, device_inputs::integer, layout::Tensor, placement::Placement,
    reference_inputs::Values,
};
use crate::{
    Access, Dtype, Error, HostTensor, TensorSpec,
    rope::{Pairing, Rope},
    spec::tensor_named,
};

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
