//! Bindings of a pass.

use super::{
    hooks::Evaluates,
    params::{row_field, stride_fields},
    partition::{Partition, TensorExtent},
    passes::Passes,
};
use crate::{
    BoundTo, Error, Name, ParamValue, PassBinding, expr::emit, plan::builder::Params, plan::partition::u32_of,
};

impl Passes<'_> {
    /// The bindings of the lengths that batch entries have of their own, or of where packed sequences begin.
    pub(crate) fn bind_lengths(&self, bindings: &mut Vec<PassBinding>) -> Result<(), Error> {
        let tables = self.spec.entry_tables();
        for (variable, _, name, _) in
            tables.into_iter().filter(|of| ["q_lengths", "kv_lengths"].contains(&of.0))
        {
            bindings.push(self.plan.tensor(variable, name)?);
        }
        Ok(())
    }

    /// The bindings of what says where rows of q, or k, are in their entries: lengths of both for q, the borders of packed keys for k.
    pub(crate) fn bind_borders(&self, of_keys: bool, bindings: &mut Vec<PassBinding>) -> Result<(), Error> {
        if !of_keys {
            return self.bind_lengths(bindings);
        }
        match &self.spec.cu_seqlens_k {
            Some(name) => {
                bindings.push(self.plan.tensor("kv_lengths", name)?);
                Ok(())
            }
            None => Ok(()),
        }
    }

    /// The bindings of the scales of q, with the borders that say whose they are.
    pub(crate) fn bind_queries(&self, bindings: &mut Vec<PassBinding>) -> Result<(), Error> {
        let Some(scale) = self.spec.q_scale() else { return Ok(()) };
        bindings.push(self.plan.tensor("q_scale", scale)?);
        if let Some(name) = &self.spec.cu_seqlens_q {
            bindings.push(self.plan.tensor("q_lengths", name)?);
        }
        Ok(())
    }

    /// The bindings of pages, and of the scales of k with the borders that say whose they are.
    pub(crate) fn bind_keys(&self, bindings: &mut Vec<PassBinding>) -> Result<(), Error> {
        let tables = self.spec.entry_tables();
        let borders = self.spec.cu_seqlens_k.is_some() && self.spec.quantised.is_some();
        let read = |variable: &str| match variable {
            "kv_lengths" => borders,
            other => ["block_table", "k_scale"].contains(&other),
        };
        for (variable, _, name, _) in tables.into_iter().filter(|of| read(of.0)) {
            bindings.push(self.plan.tensor(variable, name)?);
        }
        Ok(())
    }

    /// The bindings of the tables that an expression reads, and the parameters that say their sizes.
    pub(crate) fn bind_tables(
        &self,
        evaluates: Evaluates,
        bindings: &mut Vec<PassBinding>,
        params: &mut Params,
    ) -> Result<(), Error> {
        let tables = self.spec.table_list();
        for index in self.visibility.tables_of(evaluates) {
            let variable = emit::table_name(index, &tables[index]);
            bindings.push(self.plan.tensor(variable, &tables[index].name)?);
        }
        params.extend(self.visibility.table_params(&tables, evaluates));
        Ok(())
    }

    /// The ranges of q, k, v, o and lse that a partition of the kernel touches, and their strides.
    pub(crate) fn bind_tensors(
        &self,
        partition: &Partition,
        bindings: &mut Vec<PassBinding>,
        params: &mut Params,
    ) -> Result<(), Error> {
        let turned = [("q", "q_turned", self.at.turned[0]), ("k", "k_turned", self.at.turned[1])];
        self.bind_extents(self.spec.extents(), turned, partition, bindings, params)
    }

    /// The same of a pass that reads rows as they are stored.
    pub(crate) fn bind_stored(
        &self,
        partition: &Partition,
        bindings: &mut Vec<PassBinding>,
        params: &mut Params,
    ) -> Result<(), Error> {
        self.bind_extents(self.spec.stored_extents(), [], partition, bindings, params)
    }

    fn bind_extents<const N: usize>(
        &self,
        extents: Vec<TensorExtent>,
        turned: [(&str, &'static str, Option<usize>); N],
        partition: &Partition,
        bindings: &mut Vec<PassBinding>,
        params: &mut Params,
    ) -> Result<(), Error> {
        let spec = self.spec;
        for extent in extents {
            let range = spec.range(&extent, partition, &self.plan.adapter.limits);
            let scratch = turned
                .iter()
                .find_map(|&(name, variable, at)| Some((variable, at?)).filter(|_| name == extent.name));
            let (name, source) = match scratch {
                Some((variable, at)) => (variable, BoundTo::Scratch(at)),
                None => (spec.variable(extent.name), BoundTo::Tensor(self.plan.tensor_index(extent.name)?)),
            };
            bindings.push(PassBinding {
                name: name.into(),
                source,
                offset_bytes: range.offset_bytes,
                size_bytes: range.size_bytes,
            });
            let fields = stride_fields(extent.name);
            let values = [
                range.base,
                u32_of("batch stride", extent.strides.batch)?,
                u32_of("head stride", extent.strides.head)?,
            ];
            params.extend(fields.map(Name::from).into_iter().zip(values.map(ParamValue::U32)));
            if let Some(field) = row_field(extent.name) {
                params.push((field.into(), ParamValue::U32(u32_of("row stride", extent.strides.position)?)));
            }
        }
        if !spec.lse {
            params.extend(stride_fields("lse").map(|field| (field.into(), ParamValue::U32(0))));
        }
        Ok(())
    }
}
