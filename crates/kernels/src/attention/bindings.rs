//! What the bindings of a pass are bound to.

use super::{
    hooks::Evaluates,
    params::{row_field, stride_fields},
    passes::Maker,
    split::Piece,
};
use crate::{Error, Name, ParamValue, PassBinding, Source, expr::emit, ranges::u32_of};

impl Maker<'_> {
    /// The bindings of the lengths that batch entries have of their own.
    pub(super) fn bind_lengths(&self, bindings: &mut Vec<PassBinding>) -> Result<(), Error> {
        for (variable, tensor) in [("q_lengths", &self.spec.q_lengths), ("kv_lengths", &self.spec.kv_lengths)]
        {
            if let Some(tensor) = tensor {
                bindings.push(self.port(variable.into(), tensor)?);
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
            bindings.push(self.port(variable.into(), &tables[index].name)?);
        }
        params.extend(self.visibility.table_params(&tables, evaluates));
        Ok(())
    }

    /// A tensor, whole.
    pub(super) fn port(&self, variable: Name, tensor: &str) -> Result<PassBinding, Error> {
        let ports = self.spec.all_ports();
        let index = ports.iter().position(|port| port.name == tensor);
        let index = index.ok_or_else(|| Error::internal("plan", format!("there is no tensor `{tensor}`")))?;
        let (size_bytes, most) =
            (ports[index].size_bytes(), self.adapter.limits.max_storage_buffer_binding_size);
        if size_bytes > most {
            let message =
                format!("tensor {tensor} needs a binding of {size_bytes} bytes, the adapter allows {most}");
            return Err(Error::limit("max_storage_buffer_binding_size", message));
        }
        Ok(PassBinding { name: variable, source: Source::Port(index), offset_bytes: 0, size_bytes })
    }

    /// A scratch buffer, whole.
    pub(super) fn whole(&self, variable: &'static str, at: usize) -> PassBinding {
        let size_bytes = self.scratch[at].bytes;
        PassBinding { name: variable.into(), source: Source::Scratch(at), offset_bytes: 0, size_bytes }
    }

    /// The ranges of q, k, v, o and lse that a piece touches, and their strides.
    pub(super) fn bind_tensors(
        &self,
        piece: &Piece,
        bindings: &mut Vec<PassBinding>,
        params: &mut Vec<(Name, ParamValue)>,
    ) -> Result<(), Error> {
        let spec = self.spec;
        let ports = spec.all_ports();
        for extent in spec.extents() {
            let range = spec.range(&extent, piece, &self.adapter.limits);
            let index = ports.iter().position(|port| port.name == extent.name);
            let missing = || Error::internal("plan", format!("there is no tensor `{}`", extent.name));
            bindings.push(PassBinding {
                name: extent.name.into(),
                source: Source::Port(index.ok_or_else(missing)?),
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
