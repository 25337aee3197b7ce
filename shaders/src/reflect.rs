//! The interface of a specialised kernel, read from its final tree.

use wgsl_parse::span::Span;
use wgsl_parse::syntax::{
    AccessMode, AddressSpace, Attribute, Attributes, Declaration, DeclarationKind, GlobalDeclaration,
    TypeExpression,
};

use crate::context::Context;
use crate::error::{Error, ErrorKind};
use crate::layout::{Kind, Layout, offsets, stride, vector_align};
use crate::request::ValueType;

/// The most fields that a uniform may have once arrays and structures in it are spelled out.
const MAX_FIELDS: usize = 4096;

/// The interface of a kernel to its host.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Interface {
    /// Name of the entry point.
    pub entry: String,
    /// Invocations in a workgroup, along x, y and z.
    pub workgroup_size: [u32; 3],
    /// Workgroup memory in bytes, counted as WebGPU counts it against `maxComputeWorkgroupStorageSize`: the size of each
    /// `var<workgroup>` that is used, rounded up to 16 bytes, summed. (wgpu 30 and naga do not count it at all, so a plan
    /// must compare this with the adapter's limit.)
    pub workgroup_bytes: u32,
    /// The buffers that the kernel uses, by group and index. Unused declarations are not among them.
    pub bindings: Vec<Binding>,
    /// Whether it uses subgroup operations or built-in values.
    pub uses_subgroups: bool,
    /// Whether it uses 16-bit float types (packed formats do not count).
    pub uses_f16: bool,
    /// Whether it uses matrices that a subgroup shares (`coop_mat8x8` and `coop_mat16x16`, naga's own).
    pub uses_matrices: bool,
}

/// A buffer that a kernel uses.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Binding {
    /// `@group`.
    pub group: u32,
    /// `@binding`.
    pub index: u32,
    /// The variable's name.
    pub name: String,
    /// Storage or uniform.
    pub kind: BindingKind,
}

/// The kinds of buffers.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum BindingKind {
    /// `var<storage, ...>`.
    Storage {
        /// Whether the access mode is `read`.
        read_only: bool,
    },
    /// `var<uniform>`.
    Uniform(UniformLayout),
}

/// Where the fields of a uniform buffer lie, by WGSL's rules.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct UniformLayout {
    /// Size of the whole, padding included.
    pub size_bytes: u32,
    /// The fields, in order. Members of inner structures are named `outer.inner`, elements of arrays and columns of
    /// matrices `name[0]`; a uniform that is not a structure is one field with the variable's name.
    pub fields: Vec<Field>,
}

/// A scalar or vector in a uniform buffer.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Field {
    /// The member's name.
    pub name: String,
    /// Where it begins.
    pub offset_bytes: u32,
    /// Its scalar type, or that of its components: f32, u32 or i32.
    pub scalar: ValueType,
    /// 1 for a scalar, 2 to 4 for a vector.
    pub components: u32,
}

impl Context<'_> {
    /// The kernel's bindings among the final declarations, by group and index, and its workgroup memory.
    pub(crate) fn resources(
        &mut self,
        globals: &[(usize, GlobalDeclaration, Span)],
    ) -> Result<(Vec<Binding>, u32), Error> {
        let mut bindings: Vec<Binding> = Vec::new();
        let mut workgroup_bytes = 0_u32;
        for (file, global, span) in globals {
            let GlobalDeclaration::Declaration(d) = global else { continue };
            let DeclarationKind::Var(space) = d.kind else { continue };
            self.file = *file;
            let fail = |cx: &Self, message: &str| {
                Err(cx.error(ErrorKind::Interface, *span, format!("`{}`: {message}", d.ident)))
            };
            let Some((space, access)) = space else {
                return fail(
                    self,
                    "a kernel's variables are in private, workgroup, uniform or storage memory",
                );
            };
            let kind = match space {
                AddressSpace::Private => continue,
                AddressSpace::Workgroup => {
                    let size = self.var_layout(d, *span)?.size;
                    let total =
                        size.checked_next_multiple_of(16).and_then(|s| workgroup_bytes.checked_add(s));
                    let Some(total) = total else { return fail(self, "workgroup memory goes beyond 4 GiB") };
                    workgroup_bytes = total;
                    continue;
                }
                AddressSpace::Storage => {
                    BindingKind::Storage { read_only: access.unwrap_or(AccessMode::Read) == AccessMode::Read }
                }
                AddressSpace::Uniform => BindingKind::Uniform(self.uniform(d, *span)?),
                _ => return fail(self, "this address space is not for module-scope variables of a kernel"),
            };
            let (Some(group), Some(index)) = self.slot(&d.attributes)? else {
                return fail(self, "a buffer needs `@group(..) @binding(..)`");
            };
            let name = d.ident.to_string();
            if let Some(other) = bindings.iter().find(|b| (b.group, b.index) == (group, index)) {
                let message = format!("@group({group}) @binding({index}) is that of `{}` too", other.name);
                return Err(self.error(ErrorKind::Clash, *span, format!("`{name}`: {message}")));
            }
            bindings.push(Binding { group, index, name, kind });
        }
        bindings.sort_by_key(|b| (b.group, b.index));
        Ok((bindings, workgroup_bytes))
    }

    /// The entry point's `@workgroup_size`.
    pub(crate) fn workgroup_size(&mut self, attributes: &Attributes, span: Span) -> Result<[u32; 3], Error> {
        let size = attributes.iter().find_map(|a| match a.node() {
            Attribute::WorkgroupSize(size) => Some(size.clone()),
            _ => None,
        });
        let Some(size) = size else {
            return Err(self.error(ErrorKind::Interface, span, "the entry point has no `@workgroup_size`"));
        };
        let mut out = [1; 3];
        for (slot, e) in out.iter_mut().zip([Some(&size.x), size.y.as_ref(), size.z.as_ref()]) {
            if let Some(e) = e {
                *slot = self.constant_u32(e)?;
            }
        }
        if out.contains(&0) {
            return Err(self.error(
                ErrorKind::Interface,
                span,
                format!("the workgroup size {out:?} is empty"),
            ));
        }
        Ok(out)
    }

    fn slot(&mut self, attributes: &Attributes) -> Result<(Option<u32>, Option<u32>), Error> {
        let (mut group, mut index) = (None, None);
        for attribute in attributes {
            match attribute.node() {
                Attribute::Group(e) => group = Some(self.constant_u32(e)?),
                Attribute::Binding(e) => index = Some(self.constant_u32(e)?),
                _ => {}
            }
        }
        Ok((group, index))
    }

    fn var_layout(&mut self, d: &Declaration, span: Span) -> Result<Layout, Error> {
        match &d.ty {
            Some(ty) => self.layout(ty, span),
            None => Err(self.error(ErrorKind::Interface, span, format!("`{}` has no type", d.ident))),
        }
    }

    fn uniform(&mut self, d: &Declaration, span: Span) -> Result<UniformLayout, Error> {
        let size_bytes = self.var_layout(d, span)?.size;
        let mut fields = Vec::new();
        if let Some(ty) = &d.ty {
            let is_struct = matches!(self.kind(ty, span)?, Kind::Struct(_));
            let name = if is_struct { String::new() } else { d.ident.to_string() };
            self.fields(ty, &name, 0, span, &mut fields)?;
        }
        Ok(UniformLayout { size_bytes, fields })
    }

    fn fields(
        &mut self,
        ty: &TypeExpression,
        name: &str,
        at: u32,
        span: Span,
        out: &mut Vec<Field>,
    ) -> Result<(), Error> {
        let scalar = |cx: &Self, scalar: &str| match ValueType::from_name(scalar) {
            Some(ty) if ty != ValueType::Bool => Ok(ty),
            _ => Err(cx.error(
                ErrorKind::Interface,
                span,
                format!("`{name}`: a uniform holds f32, u32 and i32, not {scalar}"),
            )),
        };
        if out.len() >= MAX_FIELDS {
            return Err(self.error(
                ErrorKind::Limit,
                span,
                format!("a uniform of more than {MAX_FIELDS} fields"),
            ));
        }
        let field =
            |scalar, components| Field { name: name.to_owned(), offset_bytes: at, scalar, components };
        match self.kind(ty, span)? {
            Kind::Scalar(s, _) => out.push(field(scalar(self, &s)?, 1)),
            Kind::Vector(s, _, n) => out.push(field(scalar(self, &s)?, n)),
            Kind::Matrix(s, size, columns, rows) => {
                let stride = vector_align(size, rows);
                for column in 0..columns {
                    let (name, scalar) = (format!("{name}[{column}]"), scalar(self, &s)?);
                    out.push(Field { name, offset_bytes: at + column * stride, scalar, components: rows });
                }
            }
            Kind::Array(element, length) => {
                let stride = stride(self.layout(&element, span)?);
                for n in 0..length.unwrap_or(0) {
                    self.fields(&element, &format!("{name}[{n}]"), at + n * stride, span, out)?;
                }
            }
            Kind::Struct(members) => {
                for ((member, _, ty), offset) in members.iter().zip(offsets(&members)) {
                    let name = if name.is_empty() { member.clone() } else { format!("{name}.{member}") };
                    self.fields(ty, &name, at + offset, span, out)?;
                }
            }
        }
        Ok(())
    }
}

/// Whether a name is that of a 16-bit float type.
pub(crate) fn is_f16_type(name: &str) -> bool {
    let is_matrix =
        || name.len() == 7 && name.starts_with("mat") && name.ends_with('h') && name.as_bytes()[4] == b'x';
    matches!(name, "f16" | "vec2h" | "vec3h" | "vec4h") || is_matrix()
}

/// Whether a name is that of a type of matrices that a subgroup shares.
pub(crate) fn is_matrix_of_subgroup(name: &str) -> bool {
    matches!(name, "coop_mat8x8" | "coop_mat16x16")
}

/// Whether a name is that of a subgroup built-in function.
pub(crate) fn is_subgroup_function(name: &str) -> bool {
    let rest = name.strip_prefix("subgroup").or_else(|| name.strip_prefix("quad"));
    rest.is_some_and(|rest| rest.starts_with(|c: char| c.is_ascii_uppercase()))
}
