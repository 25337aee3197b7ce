//! The passes that turn rows of q and k by their positions, into scratch.
//!
//! A row is turned once, though a tile of keys is read by many workgroups: all variants then read f32. A cosine and a sine serve all
//! heads of a position that a thread takes.

use std::sync::Arc;

use super::{
    partition::Partition,
    passes::{Passes, TURNED},
    row_pieces::heads_of_workgroups,
};
use crate::{
    AdapterKind, BoundTo, Error, ParamValue, PassBinding,
    attention::{Attention, layout::Tensor},
    plan::{builder::u32_params, cost::small, partition::ByteRange, turns::of_loop},
    rope::{Pairing, turns},
};
use foveal_shaders::Request;

const THREADS: usize = 64;

impl Attention {
    fn rotate_request(&self, tensor: Tensor) -> Request {
        let rope = self.rotation();
        let given = self.positions_of(tensor).is_some();
        let of_keys = tensor == Tensor::K;
        self.rows_request("attention/rotate")
            .tunable("OF_KEYS", of_keys)
            .tunable("POSITIONS", given)
            .tunable("ROPE", if rope.pairing == Pairing::Halves { 1u32 } else { 2 })
            .tunable("ROPE_DIM", small(rope.dim))
            .tunable("Q_LENGTHS", !given && !of_keys && self.own_lengths().queries)
            .tunable("KV_LENGTHS", !given && !of_keys && self.own_lengths().keys)
            .tunable("PACKED_Q", !given && !of_keys && self.cu_seqlens_q.is_some())
            .tunable("PACKED_K", !given && self.cu_seqlens_k.is_some())
    }

    /// Heads whose rows a thread turns: all on a CPU, and some on a GPU, which has threads to fill.
    fn heads_of_thread(&self, tensor: Tensor, kind: AdapterKind) -> usize {
        let most = if kind == AdapterKind::Cpu { 64 } else { 4 };
        self.sizes(tensor)[0].clamp(1, most)
    }
}

impl Passes<'_> {
    /// A piece's part of the rows that are turned.
    fn turned_range(&self, piece: &Partition, tensor: Tensor) -> ByteRange {
        let spec = self.spec;
        let of_keys = tensor == Tensor::K;
        let heads = heads_of_workgroups(spec, piece.heads, of_keys);
        let (rows, keys) = if of_keys { ((0, 1), piece.rows) } else { (piece.rows, piece.keys) };
        let extent = spec.extents()[usize::from(of_keys)];
        spec.range(&extent, &Partition { heads, rows, keys, ..*piece }, &self.plan.adapter.limits)
    }

    /// The passes that turn rows, and the scratch that they leave them in.
    pub(crate) fn rotate(&mut self, partitions: &[Partition]) -> Result<(), Error> {
        let spec = self.spec;
        if !spec.turns(Tensor::Q) {
            return Ok(());
        }
        let frequencies = self.plan.add_contents("foveal.attention.turns", turns(&spec.rotation()).into())?;
        let mut bytes_of_all = 0;
        for (at, tensor) in [Tensor::Q, Tensor::K].into_iter().enumerate().filter(|&(_, of)| spec.turns(of)) {
            let [heads, rows, width] = spec.turned_sizes(tensor);
            let bytes = 4 * (spec.stored_batch(tensor) * heads * rows * width) as u64;
            bytes_of_all += bytes;
            let to = self.plan.add_scratch_in_parts(TURNED[at], bytes)?;
            self.at.turned[at] = Some(to);
            let of_keys = tensor == Tensor::K;
            let request = Arc::new(spec.rotate_request(tensor));
            let each = spec.heads_of_thread(tensor, self.plan.adapter.kind);
            let vectors = width / 4;
            let max = self.plan.adapter.limits.max_compute_workgroups_per_dimension as usize;
            for piece in self.row_pieces(partitions, of_keys, (max * THREADS / vectors).max(1)) {
                let mut bindings = Vec::new();
                let mut params = self.params([piece.batch.0, piece.heads.0, piece.rows.0])?;
                params.extend(spec.width_params()?);
                self.bind_rows(&piece, of_keys, &mut bindings, &mut params)?;
                let turned = self.turned_range(&piece, tensor);
                bindings.extend([
                    PassBinding {
                        name: "turned".into(),
                        source: BoundTo::Scratch(to),
                        offset_bytes: turned.offset_bytes,
                        size_bytes: turned.size_bytes,
                    },
                    self.plan.scratch("rope_turns", frequencies),
                ]);
                params.push(("to_base".into(), ParamValue::U32(turned.base)));
                match spec.positions_of(tensor) {
                    Some(name) => bindings.push(self.plan.tensor("positions", name)?),
                    None => self.bind_borders(of_keys, &mut bindings)?,
                }
                params.extend(u32_params([
                    ("rows", rows),
                    ("heads", heads),
                    ("heads_each", each),
                    ("end_row", piece.rows.1),
                    ("end_head", piece.heads.1),
                ])?);
                let groups = ((piece.rows.1 - piece.rows.0) * vectors).div_ceil(THREADS);
                let of_heads = (piece.heads.1 - piece.heads.0).div_ceil(each);
                let workgroups = [groups, of_heads, piece.batch.1 - piece.batch.0];
                let turns = of_loop(each, 0) + spec.turns_of_search(of_keys);
                self.plan.push("rotate", &request, bindings, params, workgroups, turns)?;
            }
        }
        let what = if spec.turns(Tensor::K) { "q and k" } else { "q" };
        self.plan.notes.push(("turned first".to_owned(), format!("{what}, {bytes_of_all} bytes of f32")));
        Ok(())
    }
}
