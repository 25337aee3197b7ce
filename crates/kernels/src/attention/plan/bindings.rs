//! Buffers behind the bindings of a pass.

use super::{
    hooks::Evaluates,
    params::{row_field, stride_fields},
    partition::Partition,
    passes::Passes,
};
use crate::{
    BoundTo, Error, Name, ParamValue, PassBinding, expr::emit, plan::builder::Params, plan::partition::u32_of,
};

impl Passes<'_> {
    /// The bindings of the lengths that batch entries have of their own.
    pub(crate) fn bind_lengths(&self, bindings: &mut Vec<PassBinding>) -> Result<(), Error> {
        for (variable, tensor) in [("q_lengths", &self.spec.q_lengths), ("kv_lengths", &self.spec.kv_lengths)]
        {
            if let Some(tensor) = tensor {
                bindings.push(self.plan.tensor(variable, tensor)?);
            }
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

    /// The ranges of q, k, v, o and lse that a partition touches, and their strides.
    pub(crate) fn bind_tensors(
        &self,
        partition: &Partition,
        bindings: &mut Vec<PassBinding>,
        params: &mut Params,
    ) -> Result<(), Error> {
        let spec = self.spec;
        for extent in spec.extents() {
            let range = spec.range(&extent, partition, &self.plan.adapter.limits);
            bindings.push(PassBinding {
                name: extent.name.into(),
                source: BoundTo::Tensor(self.plan.tensor_index(extent.name)?),
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
