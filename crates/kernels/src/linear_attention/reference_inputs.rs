//! Inputs as the definition reads them: in f64, by head and token, with rows of q and k mapped.

use super::{Gate, Key, LinearAttention, StateLayout, feature_maps::mapped, products::Rowed};
use crate::{Access, Error, HostTensor, Strides};

/// All inputs, in f64.
pub(super) struct Inputs<'a> {
    pub(super) spec: &'a LinearAttention,
    pub(super) q: Rowed,
    pub(super) k: Rowed,
    pub(super) v: Rowed,
    pub(super) a: Option<Rowed>,
    pub(super) b: Option<Rowed>,
    pub(super) erase_key: Option<Rowed>,
    pub(super) g: Option<Rowed>,
    pub(super) beta: Option<Rowed>,
    pub(super) bonus: Option<Rowed>,
    pub(super) dt: Option<Rowed>,
    pub(super) skip: Option<Vec<f64>>,
    starts: Option<Vec<usize>>,
    pub(super) kv_len: Option<Vec<f64>>,
    state_in: Option<Vec<f64>>,
    z_in: Option<Vec<f64>>,
}

impl<'a> Inputs<'a> {
    pub(super) fn new(spec: &'a LinearAttention, inputs: &[(&str, &HostTensor)]) -> Result<Self, Error> {
        let tensor_specs = spec.all_tensors();
        let elements = |name: &str| -> Result<Option<Vec<f64>>, Error> {
            let Some(tensor_spec) = tensor_specs
                .iter()
                .find(|tensor_spec| tensor_spec.name == name && tensor_spec.access == Access::Read)
            else {
                return Ok(None);
            };
            let found = inputs.iter().find(|(given, _)| *given == name);
            let (_, tensor) = found.ok_or_else(|| Error::invalid(name, "the tensor is missing"))?;
            if tensor.shape() != tensor_spec.shape {
                let message = format!("expected shape {:?}, got {:?}", tensor_spec.shape, tensor.shape());
                return Err(Error::invalid(name, message));
            }
            Ok(Some(tensor.to_f64()))
        };
        let rowed = |name: &str, heads, rows, dim| -> Result<Option<Rowed>, Error> {
            let strides = spec.token_strides(heads, rows, dim);
            Ok(elements(name)?.map(|elements| Rowed { elements, strides, dim }))
        };
        let needed = |found: Option<Rowed>, name: &str| {
            found.ok_or_else(|| Error::internal("reference", format!("there is no tensor `{name}`")))
        };
        let (heads, value_heads, rows) = (spec.heads, spec.value_heads, spec.rows());
        let (dim, key_dim) = (spec.head_dim, spec.key_dim());
        let mut q = needed(rowed("q", spec.heads_of_q(), spec.len, dim)?, "q")?;
        let mut k = match spec.key {
            Key::Given => needed(rowed("k", heads, rows, dim)?, "k")?,
            Key::Decay => {
                let mut k = needed(rowed("g", value_heads, rows, dim)?, "g")?;
                k.elements.iter_mut().for_each(|x| *x = -x.exp_m1());
                k
            }
        };
        let weights = |name: &str| elements(name);
        q = mapped(spec, q, [spec.heads_of_q(), spec.len], weights("q_weight")?.as_deref());
        k = mapped(spec, k, [heads, rows], weights("k_weight")?.as_deref());
        let g = match spec.gate {
            Gate::None => None,
            Gate::Constant => elements("g")?.map(|elements| Rowed {
                elements,
                strides: Strides { batch: 0, head: 1, position: 0 },
                dim: 1,
            }),
            Gate::Scalar => rowed("g", value_heads, spec.len, 1)?,
            Gate::Vector => rowed("g", value_heads, spec.len, key_dim)?,
        };
        let named = |name: &Option<String>| name.clone().unwrap_or_default();
        let bonus = elements(&named(&spec.bonus))?;
        let starts = elements("cu_seqlens")?;
        #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "checked to be 0 to T")]
        let starts = starts.map(|starts| starts.into_iter().map(|x| x as usize).collect());
        Ok(Self {
            spec,
            q,
            k,
            v: needed(rowed("v", value_heads, rows, spec.value_dim)?, "v")?,
            a: rowed("a", heads, rows, dim)?,
            b: rowed("b", heads, rows, dim)?,
            erase_key: rowed(&named(&spec.erase_key), heads, rows, dim)?,
            g,
            beta: elements("beta")?.map(|elements| Rowed { elements, strides: spec.beta_strides(), dim: 1 }),
            bonus: bonus.map(|elements| Rowed {
                elements,
                strides: Strides { batch: 0, head: key_dim, position: 0 },
                dim: key_dim,
            }),
            dt: rowed(&named(&spec.dt), value_heads, rows, 1)?,
            skip: elements(&named(&spec.skip))?,
            starts,
            kv_len: spec.length_tensor().map_or(Ok(None), |name| elements(name))?,
            state_in: elements("state_in")?,
            z_in: elements("z_in")?,
        })
    }

    /// Batch entry, first token and length of a sequence.
    pub(super) fn sequence(&self, sequence: usize) -> (usize, usize, usize) {
        match &self.starts {
            Some(starts) => (0, starts[sequence], starts[sequence + 1] - starts[sequence]),
            None => (sequence, 0, self.spec.len),
        }
    }

    /// The state `[Dk, Dv]` and the sums `[Dk]` that a sequence and value head begin from.
    pub(super) fn first_state(&self, sequence: usize, head: usize) -> (Vec<f64>, Vec<f64>) {
        let spec = self.spec;
        let (tall, wide) = (spec.key_dim(), spec.value_dim);
        let pair = sequence * spec.value_heads + head;
        let z = match &self.z_in {
            Some(given) => given[pair * tall..][..tall].to_vec(),
            None => vec![0.0; tall],
        };
        let Some(given) = &self.state_in else { return (vec![0.0; tall * wide], z) };
        let given = &given[pair * tall * wide..][..tall * wide];
        let state = match spec.state_layout {
            StateLayout::Kv => given.to_vec(),
            StateLayout::Vk => (0..tall * wide).map(|at| given[at % wide * tall + at / wide]).collect(),
        };
        (state, z)
    }
}
