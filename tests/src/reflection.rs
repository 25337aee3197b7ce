//! Whether what a kernel says of itself is what naga sees in its text.

use anyhow::{Context, Result, ensure};
use foveal_shaders::{BindingKind, Interface, UniformLayout, ValueType};
use naga::{AddressSpace, Module, ScalarKind, StorageAccess, TypeInner};

/// Compares an interface with the module.
///
/// # Errors
/// The first difference.
pub fn agrees(interface: &Interface, module: &Module) -> Result<()> {
    let [entry] = module.entry_points.as_slice() else {
        anyhow::bail!("one entry point is expected, naga sees {}", module.entry_points.len());
    };
    ensure!(entry.name == interface.entry, "entry point {} is {} to naga", interface.entry, entry.name);
    ensure!(
        entry.workgroup_size == interface.workgroup_size,
        "workgroup size {:?} is {:?} to naga",
        interface.workgroup_size,
        entry.workgroup_size
    );
    let mut bindings = 0;
    let mut workgroup_bytes = 0;
    for (_, variable) in module.global_variables.iter() {
        let inner = &module.types[variable.ty].inner;
        if variable.space == AddressSpace::WorkGroup {
            workgroup_bytes += inner.size(module.to_ctx()).next_multiple_of(16);
        }
        let Some(slot) = &variable.binding else { continue };
        bindings += 1;
        let name = variable.name.as_deref().unwrap_or_default();
        let ours =
            interface.bindings.iter().find(|ours| (ours.group, ours.index) == (slot.group, slot.binding));
        let ours = ours.with_context(|| format!("naga sees `{name}`, the interface does not"))?;
        ensure!(ours.name == name, "`{}` is `{name}` to naga", ours.name);
        match (&ours.kind, variable.space) {
            (BindingKind::Storage { read_only }, AddressSpace::Storage { access }) => {
                ensure!(*read_only != access.contains(StorageAccess::STORE), "`{name}`: access differs");
            }
            (BindingKind::Uniform(layout), AddressSpace::Uniform) => {
                uniform_agrees(layout, inner, module).with_context(|| format!("uniform `{name}`"))?;
            }
            (ours, theirs) => anyhow::bail!("`{name}`: {ours:?} is {theirs:?} to naga"),
        }
    }
    ensure!(
        bindings == interface.bindings.len(),
        "{} bindings, naga sees {bindings}",
        interface.bindings.len()
    );
    ensure!(
        workgroup_bytes == interface.workgroup_bytes,
        "{} bytes of workgroup memory, naga sees {workgroup_bytes}",
        interface.workgroup_bytes
    );
    Ok(())
}

fn uniform_agrees(layout: &UniformLayout, inner: &TypeInner, module: &Module) -> Result<()> {
    let TypeInner::Struct { members, span } = inner else {
        anyhow::bail!("a structure is expected, naga sees {inner:?}");
    };
    ensure!(layout.size_bytes == *span, "{} bytes, naga sees {span}", layout.size_bytes);
    ensure!(
        layout.fields.len() == members.len(),
        "{} fields, naga sees {}",
        layout.fields.len(),
        members.len()
    );
    for (field, member) in layout.fields.iter().zip(members) {
        let (scalar, components) = match module.types[member.ty].inner {
            TypeInner::Scalar(scalar) => (scalar, 1),
            TypeInner::Vector { size, scalar } => (scalar, size as u32),
            ref other => anyhow::bail!("`{}` is {other:?} to naga", field.name),
        };
        let ty = match scalar.kind {
            ScalarKind::Float => ValueType::F32,
            ScalarKind::Sint => ValueType::I32,
            ScalarKind::Uint => ValueType::U32,
            other => anyhow::bail!("`{}` is {other:?} to naga", field.name),
        };
        let theirs =
            (member.name.as_deref().unwrap_or_default(), member.offset, ty, components, scalar.width);
        let ours = (field.name.as_str(), field.offset_bytes, field.scalar, field.components, 4);
        ensure!(ours == theirs, "{ours:?} is {theirs:?} to naga");
    }
    Ok(())
}
