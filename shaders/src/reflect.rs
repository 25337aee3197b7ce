//! What a specialised kernel needs from its host, read from its final tree.

use wgsl_parse::span::Span;
use wgsl_parse::syntax::{
    AccessMode, AddressSpace, Attribute, Attributes, Declaration, DeclarationKind, Expression,
    GlobalDeclaration, TypeExpression,
};

use crate::context::Context;
use crate::error::{Error, ErrorKind};
use crate::request::ValueType;

/// The most fields that a uniform may have once arrays and structures in it are spelled out.
const MAX_FIELDS: usize = 4096;

/// What a kernel needs from its host.
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
    /// The buffers that the kernel uses, by group and index. What it declares and does not use is not among them.
    pub bindings: Vec<Binding>,
    /// Whether it uses subgroup operations or built-in values.
    pub uses_subgroups: bool,
    /// Whether it uses 16-bit float types (packed formats do not count).
    pub uses_f16: bool,
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

/// Size and alignment in bytes.
#[derive(Clone, Copy)]
struct Layout {
    size: u32,
    align: u32,
}

/// A type, taken apart as far as layouts need it.
enum Kind {
    /// Name and size of the scalar.
    Scalar(String, u32),
    Vector(String, u32, u32),
    /// Scalar name, its size, columns, rows.
    Matrix(String, u32, u32, u32),
    Array(TypeExpression, Option<u32>),
    Struct(Vec<(String, Layout, TypeExpression)>),
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

    fn layout(&mut self, ty: &TypeExpression, span: Span) -> Result<Layout, Error> {
        Ok(match self.kind(ty, span)? {
            Kind::Scalar(_, size) => Layout { size, align: size },
            Kind::Vector(_, size, n) => Layout { size: size * n, align: vector_align(size, n) },
            Kind::Matrix(_, size, columns, rows) => {
                let align = vector_align(size, rows);
                Layout { size: align * columns, align }
            }
            Kind::Array(element, length) => {
                let element = self.layout(&element, span)?;
                let size = stride(element).checked_mul(length.unwrap_or(1));
                let size = size
                    .ok_or_else(|| self.error(ErrorKind::Interface, span, "an array of more than 4 GiB"))?;
                Layout { size, align: element.align }
            }
            Kind::Struct(members) => {
                let align = members.iter().map(|(_, layout, _)| layout.align).max().unwrap_or(1);
                let end = members
                    .iter()
                    .zip(offsets(&members))
                    .last()
                    .map(|((_, l, _), at)| at.saturating_add(l.size));
                let size = end.unwrap_or(0).checked_next_multiple_of(align);
                let size = size.ok_or_else(|| {
                    self.error(ErrorKind::Interface, span, "a structure of more than 4 GiB")
                })?;
                Layout { size, align }
            }
        })
    }

    /// Takes a type apart.
    fn kind(&mut self, ty: &TypeExpression, span: Span) -> Result<Kind, Error> {
        self.deeper(span, |cx| cx.kind_of(ty, span))
    }

    fn kind_of(&mut self, ty: &TypeExpression, span: Span) -> Result<Kind, Error> {
        let ty = self.resolve(ty).clone();
        let name = ty.ident.to_string();
        let arguments = ty.template_args.as_deref().unwrap_or_default();
        let inner = match arguments.first().map(|a| a.expression.node()) {
            Some(Expression::TypeOrIdentifier(ty)) => Some(ty.clone()),
            _ => None,
        };
        if let Some(size) = scalar_size(&name) {
            return Ok(Kind::Scalar(name, size));
        }
        if let Some(GlobalDeclaration::Struct(s)) = self.linked.global(&name) {
            let mut members = Vec::new();
            for member in &s.members {
                let mut layout = self.layout(&member.ty, span)?;
                for attribute in &member.attributes {
                    match attribute.node() {
                        Attribute::Align(e) => layout.align = self.constant_u32(e)?.max(1),
                        Attribute::Size(e) => layout.size = self.constant_u32(e)?,
                        _ => {}
                    }
                }
                members.push((member.ident.to_string(), layout, member.ty.clone()));
            }
            return Ok(Kind::Struct(members));
        }
        let unknown = |cx: &Self| {
            cx.error(ErrorKind::Interface, span, format!("the size of the type `{ty}` is not known"))
        };
        if name == "atomic" {
            return self.kind(&inner.ok_or_else(|| unknown(self))?, span);
        }
        if name == "array" {
            let length = match arguments.get(1) {
                Some(length) => Some(self.constant_u32(&length.expression)?),
                None => None,
            };
            return Ok(Kind::Array(inner.ok_or_else(|| unknown(self))?, length));
        }
        let element = |cx: &Self, letter: &str| -> Result<(String, u32), Error> {
            let scalar = match (letter, &inner) {
                ("f", None) => "f32".to_owned(),
                ("i", None) => "i32".to_owned(),
                ("u", None) => "u32".to_owned(),
                ("h", None) => "f16".to_owned(),
                ("", Some(inner)) => cx.resolve(inner).ident.to_string(),
                _ => return Err(unknown(cx)),
            };
            let size = scalar_size(&scalar).ok_or_else(|| unknown(cx))?;
            Ok((scalar, size))
        };
        let digit =
            |at: usize| name.get(at..=at).and_then(|d| d.parse().ok()).filter(|d| (2..=4).contains(d));
        if name.starts_with("vec")
            && let Some(n) = digit(3)
        {
            let (scalar, size) = element(self, &name[4..])?;
            return Ok(Kind::Vector(scalar, size, n));
        }
        if name.starts_with("mat")
            && name.get(4..5) == Some("x")
            && let (Some(columns), Some(rows)) = (digit(3), digit(5))
        {
            let (scalar, size) = element(self, &name[6..])?;
            return Ok(Kind::Matrix(scalar, size, columns, rows));
        }
        Err(unknown(self))
    }
}

fn scalar_size(name: &str) -> Option<u32> {
    match name {
        "f32" | "u32" | "i32" | "bool" => Some(4),
        "f16" => Some(2),
        _ => None,
    }
}

/// A vector of three is aligned as one of four.
fn vector_align(scalar: u32, components: u32) -> u32 {
    scalar * if components == 2 { 2 } else { 4 }
}

fn stride(element: Layout) -> u32 {
    element.size.checked_next_multiple_of(element.align).unwrap_or(u32::MAX)
}

/// Where the members of a structure begin.
fn offsets(members: &[(String, Layout, TypeExpression)]) -> impl Iterator<Item = u32> {
    let mut end = 0_u32;
    members.iter().map(move |(_, layout, _)| {
        let at = end.checked_next_multiple_of(layout.align).unwrap_or(u32::MAX);
        end = at.saturating_add(layout.size);
        at
    })
}

/// Whether a name is that of a 16-bit float type.
pub(crate) fn is_f16_type(name: &str) -> bool {
    let is_matrix =
        || name.len() == 7 && name.starts_with("mat") && name.ends_with('h') && name.as_bytes()[4] == b'x';
    matches!(name, "f16" | "vec2h" | "vec3h" | "vec4h") || is_matrix()
}

/// Whether a name is that of a subgroup built-in function.
pub(crate) fn is_subgroup_function(name: &str) -> bool {
    let rest = name.strip_prefix("subgroup").or_else(|| name.strip_prefix("quad"));
    rest.is_some_and(|rest| rest.starts_with(|c: char| c.is_ascii_uppercase()))
}
