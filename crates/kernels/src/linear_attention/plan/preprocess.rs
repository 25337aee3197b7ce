//! Inputs that have to be mapped, spread or packed first: f32, in one scratch buffer.

use std::sync::Arc;

use foveal_shaders::Request;

use super::{
    bindings::{Partition, TensorExtent},
    params::RowLayout,
    passes::Passes,
    regions::{Region, width_params},
    turns::of_preprocessing,
};
use crate::{
    Dtype, Error, ParamValue, Strides,
    linear_attention::{FeatureMap, Key, Rule},
    plan::{builder::u32_params, partition::ranges},
    spec::storage::storage_module,
};

/// Threads of a workgroup of `prepare`.
pub(crate) const THREADS: u32 = 64;

/// A tensor on its way into the buffer.
struct Preprocessing<'n> {
    tensor: &'n str,
    /// A region, or what is added to outputs.
    region: Option<Region>,
    map: Map,
    weight: Option<&'static str>,
    phase: usize,
    factor: f32,
    /// A tensor of factors of rows or of heads.
    by: Option<&'n str>,
    /// Whether rows are added to those that are there.
    add: bool,
}

/// The map of a row.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Map {
    Feature(FeatureMap),
    /// 1 - exp(x).
    Decay,
}

impl<'a> Passes<'a> {
    /// The passes that fill the buffer of preprocessed inputs for a partition.
    pub(crate) fn preprocess(&mut self, partition: &Partition) -> Result<(), Error> {
        if let Some(at) = self.preprocessed_at.filter(|_| self.spec.len > 0) {
            for source in self.sources() {
                self.preprocess_one(at, partition, &source)?;
            }
        }
        Ok(())
    }

    /// The pass that puts tokens' own values into the partial outputs, or adds them to what is there.
    pub(crate) fn add_skip(&mut self, partition: &Partition, add: bool) -> Result<(), Error> {
        let spec = self.spec;
        if let (Some(at), Some(skip)) = (self.partial_at.filter(|_| spec.len > 0), &spec.skip) {
            let source = Preprocessing { region: None, by: Some(skip), add, ..plain("v", Region::V) };
            self.preprocess_one(at, partition, &source)?;
        }
        Ok(())
    }

    /// The tensors that go into the buffer.
    fn sources(&self) -> Vec<Preprocessing<'a>> {
        let spec = self.spec;
        let map = Map::Feature(spec.feature_map);
        let learned = |name| (spec.feature_map == FeatureMap::Learned).then_some(name);
        let mut sources = vec![Preprocessing { map, weight: learned("q_weight"), ..plain("q", Region::Q) }];
        if spec.rule == Rule::Dplr {
            sources.extend([
                Preprocessing { factor: -1.0, ..plain("b", Region::K) },
                Preprocessing { map, phase: 1, ..plain("k", Region::K) },
                plain("a", Region::X),
                Preprocessing { phase: 1, factor: 0.0, ..plain("a", Region::X) },
                Preprocessing { factor: 0.0, ..plain("v", Region::V) },
                Preprocessing { phase: 1, ..plain("v", Region::V) },
            ]);
            return sources;
        }
        sources.push(match spec.key {
            Key::Given => Preprocessing { map, weight: learned("k_weight"), ..plain("k", Region::K) },
            Key::Decay => Preprocessing { map: Map::Decay, ..plain("g", Region::K) },
        });
        let by = spec.dt.as_deref();
        sources.push(Preprocessing { by, ..plain("v", Region::V) });
        if let Some(name) = &spec.erase_key {
            sources.push(plain(name, Region::X));
        }
        if spec.scales_gates() {
            sources.push(Preprocessing { by, ..plain("g", Region::G) });
        }
        sources
    }

    fn preprocess_one(
        &mut self,
        at: usize,
        partition: &Partition,
        source: &Preprocessing<'_>,
    ) -> Result<(), Error> {
        let spec = self.spec;
        let extent = self.rows_of(source.tensor)?;
        let aligned = extent.dim.is_multiple_of(4);
        let dtype = if source.tensor == "g" { Dtype::F32 } else { spec.dtype };
        let request = Arc::new(
            Request::new("linear_attention/preprocess")
                .replace("shared/inputs", storage_module("inputs", dtype, aligned))
                .tunable("THREADS", THREADS)
                .tunable("MAP", map_number(source.map))
                .tunable("BY", source.by.is_some())
                .tunable("ADD", source.add),
        );
        let (binding, base) = self.bind("q", source.tensor, partition)?;
        let mut bindings = vec![binding, self.plan.scratch("out", at)];
        let mut factor = RowLayout::default();
        if let Some(name) = source.by {
            let (binding, base) = self.bind("row_factor", name, partition)?;
            bindings.push(binding);
            factor = RowLayout { base, strides: self.rows_of(name)?.strides };
        }
        if let Some(weight) = source.weight {
            bindings.push(self.bind("weight", weight, partition)?.0);
        }
        let region = source.region.unwrap_or(Region::V);
        let to = match source.region {
            Some(region) => spec.region(region, partition).0,
            None => RowLayout { base: 0, strides: spec.partial_strides() },
        };
        let spread = source.region.is_some_and(|region| region != Region::Q) && spec.rule == Rule::Dplr;
        let mapped = match region {
            Region::V => spec.value_dim,
            Region::G => extent.dim,
            Region::Q | Region::K | Region::X => spec.key_dim(),
        };
        let groups = extent.rows.div_ceil(THREADS as usize);
        let max = self.plan.max_workgroups(groups)?;
        for batch in ranges(partition.batch, max) {
            for heads in ranges(spec.heads_of(region, partition), max) {
                let mut params = u32_params([
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
                    ("factor_batch", factor.strides.batch),
                    ("factor_head", factor.strides.head),
                    ("factor_row", factor.strides.position),
                ])?;
                for (name, base) in [("x_base", base), ("out_base", to.base), ("factor_base", factor.base)] {
                    params.push((name.into(), ParamValue::U32(base)));
                }
                params.push(("factor".into(), ParamValue::F32(source.factor)));
                if !aligned {
                    params.extend(width_params(extent.dim, extent.dim)?);
                }
                let turns = of_preprocessing(extent.dim, mapped, source.weight.is_some());
                let workgroups = [groups, heads.1 - heads.0, batch.1 - batch.0];
                self.plan.push("preprocess", &request, bindings.clone(), params, workgroups, turns)?;
            }
        }
        Ok(())
    }

    /// The rows of a tensor, one for each token; those of a number a head are all the same.
    fn rows_of(&self, tensor: &str) -> Result<TensorExtent, Error> {
        let spec = self.spec;
        if let Some(extent) = spec.extent(tensor) {
            return Ok(extent);
        }
        if tensor == "g" || spec.skip.as_deref() == Some(tensor) {
            let strides = Strides { batch: 0, head: 1, position: 0 };
            return Ok(TensorExtent { strides, heads: spec.value_heads, rows: spec.len, dim: 1 });
        }
        Err(Error::internal("plan", format!("`{tensor}` has no rows")))
    }
}

/// A tensor as it is.
fn plain(tensor: &str, region: Region) -> Preprocessing<'_> {
    let map = Map::Feature(FeatureMap::Identity);
    Preprocessing {
        tensor,
        region: Some(region),
        map,
        weight: None,
        phase: 0,
        factor: 1.0,
        by: None,
        add: false,
    }
}

/// As `shaders/linear_attention/preprocess.wgsl` counts them.
fn map_number(map: Map) -> u32 {
    let Map::Feature(map) = map else { return 8 };
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
