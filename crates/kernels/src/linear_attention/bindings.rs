//! Which range of which buffer a kernel's tensors are bound to, and where their rows then lie.

use super::{Gate, LinearAttention, Rule, passes::Maker};
use crate::{
    Error, Limits, Name, PassBinding, Port, PortRole, Source, Strides,
    ranges::{ByteRange, byte_range},
};

/// The part of a problem that is computed together: ranges of batch entries and of heads of q and k.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Piece {
    pub(super) batch: (usize, usize),
    pub(super) heads: (usize, usize),
}

/// What a kernel binds beside its inputs and o.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Uses {
    pub(super) q: bool,
    pub(super) k: bool,
    pub(super) v: bool,
    pub(super) o: bool,
    pub(super) gates: bool,
    pub(super) beta: bool,
    pub(super) bonus: bool,
    pub(super) lengths: bool,
}

impl Uses {
    /// Of kernels that follow the rule from token to token.
    pub(super) fn of_tokens(causal: bool) -> Self {
        Self { q: causal, k: true, v: true, o: causal, gates: true, beta: true, bonus: true, lengths: true }
    }
}

/// The order of a tensor's elements, as far as pieces are concerned.
#[derive(Clone, Copy, Debug)]
pub(super) struct Extent {
    pub(super) strides: Strides,
    /// Whether its heads are value heads.
    pub(super) of_values: bool,
    pub(super) rows: usize,
    pub(super) dim: usize,
}

impl Extent {
    /// From the first element of a piece to before its last.
    fn elements(&self, piece: &Piece, group: usize) -> (usize, usize) {
        let group = if self.of_values { group } else { 1 };
        let (first, last) = (piece.heads.0 * group, piece.heads.1 * group - 1);
        let at = |batch: usize, head: usize| batch * self.strides.batch + head * self.strides.head;
        let rows = self.rows.saturating_sub(1) * self.strides.position;
        (at(piece.batch.0, first), at(piece.batch.1 - 1, last) + rows + self.dim)
    }
}

impl LinearAttention {
    /// The tensors that grow with batch and heads; others are bound whole.
    pub(super) fn extent(&self, name: &str) -> Option<Extent> {
        let of = |of_values: bool, rows, dim| {
            let heads = if of_values { self.value_heads } else { self.heads };
            Some(Extent { strides: self.token_strides(heads, rows, dim), of_values, rows, dim })
        };
        let rows = self.rows();
        match name {
            "q" => of(false, self.len, self.head_dim),
            "k" | "a" | "b" => of(false, rows, self.head_dim),
            "v" => of(true, rows, self.value_dim),
            "o" => of(true, self.len, self.value_dim),
            "beta" => of(true, rows, 1),
            "g" => match self.gate {
                Gate::Vector => of(true, self.len, self.key_dim()),
                Gate::Scalar => of(true, self.len, 1),
                Gate::None | Gate::Constant => None,
            },
            // Packed sequences have more states than batch entries.
            "state_in" | "state_out" if self.sequences.is_none() => {
                let size = self.key_dim() * self.value_dim;
                let strides = Strides { batch: self.value_heads * size, head: size, position: 0 };
                Some(Extent { strides, of_values: true, rows: 1, dim: size })
            }
            name if self.erase_key.as_deref() == Some(name) => of(false, rows, self.head_dim),
            name if self.dt.as_deref() == Some(name) => of(true, rows, 1),
            _ => None,
        }
    }

    /// Sequences of a piece.
    pub(super) fn sequences_of(&self, piece: &Piece) -> usize {
        self.sequences.unwrap_or(piece.batch.1 - piece.batch.0)
    }

    /// The value heads of a piece.
    pub(super) fn value_heads_of(&self, piece: &Piece) -> (usize, usize) {
        let group = self.group();
        (piece.heads.0 * group, piece.heads.1 * group)
    }

    /// The range of a tensor that a piece touches.
    pub(super) fn range(&self, port: &Port, piece: &Piece, limits: &Limits) -> ByteRange {
        let elements = self.extent(&port.name).map(|extent| extent.elements(piece, self.group()));
        let (first, end) = elements.filter(|_| port.span > 0).unwrap_or((0, port.span));
        byte_range(first, end, port.dtype.size_bytes(), limits)
    }

    /// Storage bindings of a kernel that binds everything the problem has, its inputs each for itself.
    pub(super) fn direct_bindings(&self) -> usize {
        4 + usize::from(self.gate != Gate::None)
            + usize::from(self.rule == Rule::Delta)
            + [
                self.bonus.is_some(),
                self.state_in,
                self.state_out,
                self.z_in,
                self.z_out,
                self.sequences.is_some(),
                self.kv_len.is_some(),
                self.adds_to_outputs(),
            ]
            .into_iter()
            .filter(|&used| used)
            .count()
    }
}

impl Maker<'_> {
    pub(super) fn port_index(&self, name: &str) -> Result<usize, Error> {
        let found = self.ports.iter().position(|port| port.name == name);
        found.ok_or_else(|| Error::internal("plan", format!("there is no tensor `{name}`")))
    }

    /// The piece's part of a tensor, as the shader's variable `variable`, and where the whole tensor begins relative to it.
    pub(super) fn bind(
        &self,
        variable: impl Into<Name>,
        name: &str,
        piece: &Piece,
    ) -> Result<(PassBinding, u32), Error> {
        let index = self.port_index(name)?;
        if let Some(nothing) = self.nothing.filter(|_| self.ports[index].span == 0) {
            let written = self.ports[index].role == PortRole::Output;
            return Ok((
                PassBinding { name: variable.into(), ..self.whole("", nothing[usize::from(written)]) },
                0,
            ));
        }
        let range = self.spec.range(&self.ports[index], piece, self.limits);
        let most = self.limits.max_storage_buffer_binding_size;
        if range.size_bytes > most {
            let needed = range.size_bytes;
            let message =
                format!("tensor {name} needs a binding of {needed} bytes, the adapter allows {most}");
            return Err(Error::limit("max_storage_buffer_binding_size", message));
        }
        let binding = PassBinding {
            name: variable.into(),
            source: Source::Port(index),
            offset_bytes: range.offset_bytes,
            size_bytes: range.size_bytes,
        };
        Ok((binding, range.base))
    }

    /// A scratch buffer, whole.
    pub(super) fn whole(&self, variable: &'static str, at: usize) -> PassBinding {
        let size_bytes = self.scratch[at].bytes;
        PassBinding { name: variable.into(), source: Source::Scratch(at), offset_bytes: 0, size_bytes }
    }
}
