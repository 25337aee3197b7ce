//! What the bindings of a pass are bound to.

use super::{
    hooks::Evaluates,
    params::{row_field, stride_fields},
    passes::PlanBuilder,
    partition::Partition,
};
use crate::{Error, Name, ParamValue, PassBinding, Source, expr::emit, ranges::u32_of};

impl PlanBuilder<'_> {
    /// The bindings of the lengths that batch entries have of their own.
    pub(super) fn bind_lengths(&self, bindings: &mut Vec<PassBinding>) -> Result<(), Error> {
        for (variable, tensor) in [("q_lengths", &self.spec.q_lengths), ("kv_lengths", &self.spec.kv_lengths)]
        {
            if let Some(tensor) = tensor {
                bindings.push(self.tensor(variable.into(), tensor)?);
            }
        }
        Ok(())
    }

    /// The bindings of the tables that an expression reads, and the parameters that say their sizes.
    pub(super) fn bind_tables(
        &self,
        evaluates: Evaluates,
        bindings: &mut Vec<PassBinding>,
        params: &mut Vec<(Name, ParamValue)>,
    ) -> Result<(), Error> {
        let tables = self.spec.table_list();
        for index in self.visibility.tables_of(evaluates) {
            let variable = emit::table_name(index, &tables[index]);
            bindings.push(self.tensor(variable.into(), &tables[index].name)?);
        }
        params.extend(self.visibility.table_params(&tables, evaluates));
        Ok(())
    }

    /// A tensor, whole.
    pub(super) fn port(&self, variable: Name, tensor: &str) -> Result<PassBinding, Error> {
        let tensor_specs = self.spec.all_tensors();
        let index = tensor_specs.iter().position(|tensor_spec| tensor_spec.name == tensor);
        let index = index.ok_or_else(|| Error::internal("plan", format!("there is no tensor `{tensor}`")))?;
        let (size_bytes, max) =
            (tensor_specs[index].size_bytes(), self.adapter.limits.max_storage_buffer_binding_size);
        if size_bytes > max {
            let message =
                format!("tensor {tensor} needs a binding of {size_bytes} bytes, the adapter allows {max}");
            return Err(Error::limit("max_storage_buffer_binding_size", message));
        }
        Ok(PassBinding { name: variable, source: Source::Tensor(index), offset_bytes: 0, size_bytes })
    }

    /// A scratch buffer, whole.
    pub(super) fn whole(&self, variable: &'static str, at: usize) -> PassBinding {
        let size_bytes = self.scratch[at].bytes;
        PassBinding { name: variable.into(), source: Source::Scratch(at), offset_bytes: 0, size_bytes }
    }

    /// The ranges of q, k, v, o and lse that a partition touches, and their strides.
    pub(super) fn bind_tensors(
        &self,
        partition: &Partition,
        bindings: &mut Vec<PassBinding>,
        params: &mut Vec<(Name, ParamValue)>,
    ) -> Result<(), Error> {
        let spec = self.spec;
        let tensor_specs = spec.all_tensors();
        for extent in spec.extents() {
            let range = spec.range(&extent, partition, &self.adapter.limits);
            let index = tensor_specs.iter().position(|tensor_spec| tensor_spec.name == extent.name);
            let missing = || Error::internal("plan", format!("there is no tensor `{}`", extent.name));
            bindings.push(PassBinding {
                name: extent.name.into(),
                source: Source::Tensor(index.ok_or_else(missing)?),
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
