//! Inputs that have to be mapped, spread or packed first: f32, in one scratch buffer.

use std::sync::Arc;

use foveal_shaders::Request;

use super::{
    FeatureMap, LinearAttention, Rule,
    bindings::Piece,
    params::{Params, Place},
    passes::Maker,
};
use crate::{
    Error, Limits, ParamValue, Pass, Strides,
    cost::small,
    ranges::{ranges, u32_of},
    storage::storage_module,
};

/// Threads of a workgroup of `prepare`.
pub(super) const THREADS: u32 = 64;

/// The tensors of the buffer, in order.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Region {
    Q,
    K,
    V,
    X,
}

impl LinearAttention {
    /// Whether the inputs go through the buffer on adapters with these limits.
    pub(super) fn is_prepared(&self, limits: &Limits) -> bool {
        self.feature_map != FeatureMap::Identity
            || self.erases_by_another()
            || self.direct_bindings() > limits.max_storage_buffers_per_shader_stage as usize
    }

    /// Whether what is erased is read with another key than k.
    pub(super) fn erases_by_another(&self) -> bool {
        self.rule == Rule::Dplr || self.erase_key.is_some()
    }

    /// Rows a token of what the kernels see. The rule dplr is two delta steps: one that only erases, by a and -b, and one that
    /// only writes.
    pub(super) fn kernel_steps(&self) -> usize {
        if self.rule == Rule::Dplr { 2 } else { self.steps }
    }

    fn regions(&self) -> &'static [Region] {
        let all = &[Region::Q, Region::K, Region::V, Region::X];
        if self.erases_by_another() { all } else { &all[..3] }
    }

    /// Heads, rows and padded width of a region.
    fn region_size(&self, region: Region) -> (usize, usize, usize) {
        let rows = self.len * self.kernel_steps();
        let (key_dim, value_dim) = (self.key_dim().next_multiple_of(4), self.value_dim.next_multiple_of(4));
        match region {
            Region::Q => (self.heads, self.len, key_dim),
            Region::K | Region::X => (self.heads, rows, key_dim),
            Region::V => (self.value_heads, rows, value_dim),
        }
    }

    fn heads_of(&self, region: Region, piece: &Piece) -> (usize, usize) {
        let group = if region == Region::V { self.group() } else { 1 };
        (piece.heads.0 * group, piece.heads.1 * group)
    }

    /// Where a region of a piece lies, and the element after its end.
    pub(super) fn region(&self, region: Region, piece: &Piece) -> (Place, usize) {
        let mut base = 0;
        for &each in self.regions() {
            let (_, rows, dim) = self.region_size(each);
            let heads = self.heads_of(each, piece);
            let strides =
                Strides { batch: (heads.1 - heads.0) * rows * dim, head: rows * dim, position: dim };
            let end = base + (piece.batch.1 - piece.batch.0) * strides.batch;
            if each == region {
                let first = piece.batch.0 * strides.batch + heads.0 * strides.head;
                #[expect(clippy::cast_possible_truncation, reason = "modulo 2^32 on purpose")]
                let base = (base as u32).wrapping_sub(first as u32);
                return (Place { base, strides }, end);
            }
            base = end;
        }
        (Place::default(), base)
    }

    /// Bytes of the buffer for a piece.
    pub(super) fn prepared_bytes(&self, piece: &Piece) -> u64 {
        let last = self.regions().last().copied().unwrap_or(Region::V);
        4 * self.region(last, piece).1 as u64
    }
}

/// A tensor on its way into the buffer.
struct Source<'n> {
    tensor: &'n str,
    region: Region,
    map: FeatureMap,
    weight: Option<&'static str>,
    phase: usize,
    factor: f32,
}

impl Maker<'_> {
    /// The passes that fill the buffer at scratch `at` for a piece.
    pub(super) fn prepare(&mut self, at: usize, piece: &Piece) -> Result<(), Error> {
        let spec = self.spec;
        if spec.len == 0 {
            return Ok(());
        }
        let map = spec.feature_map;
        let learned = |name| (map == FeatureMap::Learned).then_some(name);
        let plain = |tensor, region, phase, factor| Source {
            tensor,
            region,
            map: FeatureMap::Identity,
            weight: None,
            phase,
            factor,
        };
        let mut sources = vec![Source { map, weight: learned("q_weight"), ..plain("q", Region::Q, 0, 1.0) }];
        if spec.rule == Rule::Dplr {
            sources.extend([
                plain("b", Region::K, 0, -1.0),
                Source { map, ..plain("k", Region::K, 1, 1.0) },
                plain("a", Region::X, 0, 1.0),
                plain("a", Region::X, 1, 0.0),
                plain("v", Region::V, 0, 0.0),
                plain("v", Region::V, 1, 1.0),
            ]);
        } else {
            sources.push(Source { map, weight: learned("k_weight"), ..plain("k", Region::K, 0, 1.0) });
            sources.push(plain("v", Region::V, 0, 1.0));
            if let Some(name) = &spec.erase_key {
                sources.push(plain(name, Region::X, 0, 1.0));
            }
        }
        for source in sources {
            self.prepare_one(at, piece, &source)?;
        }
        Ok(())
    }

    fn prepare_one(&mut self, at: usize, piece: &Piece, source: &Source<'_>) -> Result<(), Error> {
        let spec = self.spec;
        let missing = || Error::internal("plan", format!("`{}` has no rows", source.tensor));
        let extent = spec.extent(source.tensor).ok_or_else(missing)?;
        let aligned = extent.dim.is_multiple_of(4);
        let request = Arc::new(
            Request::new("linear_attention/prepare")
                .replace("shared/inputs", storage_module("inputs", spec.dtype, aligned))
                .tunable("THREADS", THREADS)
                .tunable("MAP", map_number(source.map)),
        );
        let (binding, base) = self.bind("q", source.tensor, piece)?;
        let (to, _) = spec.region(source.region, piece);
        let spread = source.region != Region::Q && spec.rule == Rule::Dplr;
        let mapped = if source.region == Region::V { spec.value_dim } else { spec.key_dim() };
        let most = self.limits.max_compute_workgroups_per_dimension as usize;
        let heads = spec.heads_of(source.region, piece);
        for batch in ranges(piece.batch, most) {
            for heads in ranges(heads, most) {
                let mut params: Params = Vec::new();
                for (name, x) in [
                    ("rows", extent.rows),
                    ("first_batch", batch.0),
                    ("first_head", heads.0),
                    ("x_batch", extent.strides.batch),
                    ("x_head", extent.strides.head),
                    ("x_row", extent.strides.position),
                    ("width", extent.dim),
                    ("mapped_width", mapped),
                    ("out_batch", to.strides.batch),
                    ("out_head", to.strides.head),
                    ("out_row", to.strides.position),
                    ("out_stride", if spread { 2 } else { 1 }),
                    ("out_phase", source.phase),
                ] {
                    params.push((name.into(), ParamValue::U32(u32_of(name, x)?)));
                }
                params.push(("x_base".into(), ParamValue::U32(base)));
                params.push(("out_base".into(), ParamValue::U32(to.base)));
                params.push(("factor".into(), ParamValue::F32(source.factor)));
                if !aligned {
                    params.extend(width_params(extent.dim, extent.dim)?);
                }
                let mut bindings = vec![binding.clone(), self.whole("out", at)];
                if let Some(weight) = source.weight {
                    bindings.push(self.bind("weight", weight, piece)?.0);
                }
                let groups = extent.rows.div_ceil(THREADS as usize);
                if groups > most {
                    let message =
                        format!("{} rows are more than the adapter's {most} workgroups hold", extent.rows);
                    return Err(Error::limit("max_compute_workgroups_per_dimension", message));
                }
                self.passes.push(Pass {
                    label: "foveal.linear.prepare".into(),
                    request: Arc::clone(&request),
                    bindings,
                    params,
                    workgroups: [small(groups), small(heads.1 - heads.0), small(batch.1 - batch.0)],
                });
            }
        }
        Ok(())
    }
}

/// What `shaders/shared/widths.wgsl` declares: only formats of uneven rows ask for it.
pub(super) fn width_params(head_dim: usize, value_dim: usize) -> Result<Params, Error> {
    [("head_dim", head_dim), ("value_dim", value_dim)]
        .into_iter()
        .map(|(name, x)| Ok((name.into(), ParamValue::U32(u32_of(name, x)?))))
        .collect()
}

/// As `shaders/linear_attention/prepare.wgsl` counts them.
fn map_number(map: FeatureMap) -> u32 {
    match map {
        FeatureMap::Identity => 0,
        FeatureMap::Relu => 1,
        FeatureMap::Elu1 => 2,
        FeatureMap::Relu2 => 3,
        FeatureMap::Silu => 4,
        FeatureMap::L2Norm => 5,
        FeatureMap::Softmax => 6,
        FeatureMap::Learned => 7,
    }
}
